use std::path::Path;

use crate::audit::log::AuditLog;
use crate::audit::reader::LogReader;
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::config::audit::AuditConfig;
use crate::config::observe::ObserveConfig;
use crate::service::Service;
use crate::service::fixtures;
use crate::service::settings::ServiceSettings;
use crate::telemetry::record::recorder::{Recorder, RecorderParts};

fn notices(directory: &Path, kind: Kind) -> Vec<Notice> {
    let log = LogReader::open(directory).expect("a log");
    let notices = log.iter_from(0).flatten().filter_map(|it| it.notice());
    notices.filter(|it| it.kind() == kind).collect()
}

#[test]
fn the_log_says_by_which_policies_is_decided_and_what_is_enforced_from_when_on() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    let key = directory.join("capsule.key");
    let prepared = AuditLog::prepare(directory, &key, &config).expect("a log");
    let prepared = prepared.expect("a log");
    let recorder = Recorder::new(RecorderParts {
        audit: Some(prepared.log().clone()),
        ..RecorderParts::default()
    });
    let service = Service::in_memory(ServiceSettings::default(), recorder).expect("a service");
    let set = |service_wide: bool, callers: &[&str]| {
        service.set_observe(&ObserveConfig {
            service: service_wide,
            callers: callers.iter().map(|it| (*it).to_owned()).collect(),
            servers: Vec::new(),
        });
    };
    let one = fixtures::policies("permit (principal, action, resource);");
    let other = fixtures::policies("forbid (principal, action, resource);");
    let digests = [
        one.policy_set_digest.clone(),
        other.policy_set_digest.clone(),
    ];
    set(false, &[]);
    service.publish(one.clone()).expect("published");
    let log = prepared.start().expect("started");
    let revision = service.publish(other.clone()).expect("published");
    // Neither is a change.
    service.publish(other).expect("published");
    set(false, &[]);
    set(false, &["edge"]);
    set(true, &["edge"]);
    set(true, &["edge"]);
    set(false, &[]);
    log.close();

    let policies = notices(directory, Kind::Policies);
    let told: Vec<_> = policies
        .iter()
        .map(|it| [it.text.as_str(), it.before.as_str(), it.source.as_str()])
        .collect();
    let [one, other] = digests.each_ref().map(|it| &**it);
    assert_eq!(told, [[one, "", "local"], [other, one, "local"]]);
    assert_eq!(policies[1].revision, revision);
    let observed = notices(directory, Kind::Observed);
    let told: Vec<_> = observed
        .iter()
        .map(|it| [it.text.as_str(), it.before.as_str()])
        .collect();
    let wanted = [
        ["nothing", ""],
        ["caller edge", "nothing"],
        ["the whole service", "caller edge"],
        ["nothing", "the whole service"],
    ];
    assert_eq!(told, wanted);
}
