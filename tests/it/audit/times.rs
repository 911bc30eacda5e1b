//! What time records bear where the machine's clock is set back while the server runs.

use std::time::{Duration, SystemTime};

use callgate::audit::log::AuditLog;
use callgate::audit::reader::LogReader;
use callgate::audit::record::Record;
use callgate::audit::record::schema::notice;
use callgate::audit::record::schema::record::Kind;
use callgate::config::audit::AuditConfig;
use callgate::service::settings::ServiceSettings;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use uuid::Uuid;

use crate::live::office::{self, agent, call};
use crate::support::command::Workplace;
use crate::support::direct::Direct;

const BACK: Duration = Duration::from_secs(3 * 3_600);

/// The times of decisions, and those in their ids, in milliseconds since 1970.
fn times(records: &[Record]) -> Vec<(u64, u64)> {
    let decisions = records.iter().filter_map(|record| match &record.kind {
        Some(Kind::Decision(it)) => Some((record.at, Uuid::from_slice(&it.id).expect("an id"))),
        _ => None,
    });
    let millis = decisions.map(|(at, id)| {
        let (seconds, nanos) = id.get_timestamp().expect("a time").to_unix();
        (
            at / 1_000_000,
            seconds * 1_000 + u64::from(nanos) / 1_000_000,
        )
    });
    millis.collect()
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).expect("later");
    u64::try_from(since.as_millis()).expect("not too late")
}

#[tokio::test]
async fn a_clock_that_is_set_back_leaves_decisions_at_their_true_time() {
    let workplace = Workplace::new(&[]);
    let directory = workplace.path().join("audit");
    let log = AuditLog::open(
        &directory,
        &directory.join("capsule.key"),
        &AuditConfig::default(),
    );
    let log = log.expect("a log").expect("it is on");
    let recorder = Recorder::new(RecorderParts {
        audit: Some(log.clone()),
        ..RecorderParts::default()
    });
    let store = Box::new(SqliteStore::in_memory().expect("a store"));
    let settings = ServiceSettings::default();
    let office = Direct::with(office::strict(), store, settings, recorder);
    let made = call(&agent("one"), "files/format");
    let mut expected = vec![millis(office.now())];
    office.decide(&made).await;
    office.turn_back(BACK);
    office.service.flush();
    for _ in 0..2 {
        office.pass(Duration::from_secs(1));
        expected.push(millis(office.now()));
        office.decide(&made).await;
    }
    // What expires does so by a time that does not go back.
    assert!(office.service.now() > office.now());
    office.pass(BACK);
    office.service.flush();
    log.close();

    let reader = LogReader::open(&directory).expect("a log");
    let records = reader.iter_from(0).map(|it| it.expect("a record").decode());
    let records: Vec<_> = records.map(|it| it.expect("a message")).collect();
    let expected: Vec<_> = expected.into_iter().map(|at| (at, at)).collect();
    assert_eq!(times(&records), expected);
    let told = records.iter().filter_map(|record| match &record.kind {
        Some(Kind::Notice(it)) if it.kind() == notice::Kind::Clock => Some(it.text.as_str()),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let behind = "the clock is 10800 s behind where it was";
    assert!(told.len() == 2 && told[0].starts_with(behind), "{told:?}");
    assert_eq!(told[1], "in order");
    // So they are found in the window in which they were made.
    let begin = office.now() - BACK - Duration::from_secs(2);
    let end = begin + Duration::from_secs(10);
    let [begin, end] = [begin, end].map(|at| humantime::format_rfc3339(at).to_string());
    let words = [
        "audit", "query", "--kind", "decision", "--since", &begin, "--until", &end,
    ];
    let found = workplace.run(&words);
    assert_eq!(found.stdout.lines().count(), 2, "{}", found.transcript());
}
