use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::audit::batch::BatchCapsules;
use crate::audit::find;
use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::log_lock::LogLock;
use crate::audit::log_output::OutputSettings;
use crate::audit::reader::LogReader;

const MINUTE: u64 = 60_000_000_000;

/// What happens to a log and its clock.
#[derive(Debug, Clone)]
enum Step {
    /// The clock goes on by so many minutes, or back.
    Jump(i32),
    /// So many records are written at once, each a second after the one before.
    Write(u64),
    /// The process ends without a word, and another goes on.
    Restart,
    /// Somebody removes the open file.
    Remove,
    /// It is looked after the files while there is nothing to write.
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (-3_000..3_000_i32).prop_map(Step::Jump),
        6 => (1..6_u64).prop_map(Step::Write),
        1 => Just(Step::Restart),
        1 => Just(Step::Remove),
        1 => Just(Step::Tick),
    ]
}

/// Opens a log with a few records a file.
fn open(directory: &Path) -> LogOutput {
    let settings = OutputSettings {
        segment_bytes: 200,
        segment_age: Duration::from_secs(3_600),
        is_synced: false,
    };
    let lock = LogLock::acquire(directory).expect("locked");
    let mut output = LogOutput::open(directory, settings, None, lock).expect("a log");
    output.repair().expect("repaired");
    output
}

fn write(output: &mut LogOutput, times: impl Iterator<Item = u64>) {
    let mut frames = Vec::new();
    let mut count = 0;
    for time in times {
        let mut bytes = Vec::new();
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(time);
        envelope::notice(&mut bytes, at, &Notice::default());
        push_unfinished(&mut frames, &bytes, false);
        count += 1;
    }
    let written = output.write(&mut frames, count, &BatchCapsules::default());
    written.expect("written");
}

/// The indices and times of all records.
fn read(directory: &Path) -> Vec<(u64, u64)> {
    let log = LogReader::open(directory).expect("a log");
    let records = log.iter_from(0).flatten();
    let records = records.map(|it| (it.index, time_of(&it.bytes).unwrap_or_default()));
    records.collect()
}

proptest! {
    #[test]
    fn no_record_since_a_time_is_passed_over_whatever_the_clock_did(steps in vec(step(), 1..60)) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut output = open(directory.path());
        let mut now = envelope::nanos(SystemTime::now());
        for step in steps {
            match step {
                Step::Jump(minutes) => now = now.saturating_add_signed(i64::from(minutes) * MINUTE as i64),
                Step::Write(count) => {
                    write(&mut output, (0..count).map(|second| now + second * 1_000_000_000));
                    now += count * 1_000_000_000;
                }
                Step::Restart => {
                    drop(output);
                    output = open(directory.path());
                }
                Step::Remove => {
                    let files = log_files::list(&directory.path().join(SEGMENTS)).expect("files");
                    if let Some(last) = files.last() {
                        fs::remove_file(&last.path).expect("removed");
                    }
                }
                Step::Tick => output.tick().expect("written"),
            }
        }
        let records = read(directory.path());
        for (_, time) in &records {
            for since in [time - 1, *time, time + 1] {
                let start = find::start_at(directory.path(), since).expect("readable");
                let missed = records.iter().find(|(index, time)| *index < start && *time >= since);
                prop_assert_eq!(missed, None, "since {}", since);
            }
        }
    }
}

#[test]
fn files_are_passed_over_though_a_clock_was_ahead_in_one_before_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut output = open(directory.path());
    let now = envelope::nanos(SystemTime::now());
    let hour = 60 * MINUTE;
    let mut begin = Vec::new();
    for ahead in [0, 5 * hour, hour, 2 * hour, 3 * hour, 6 * hour] {
        begin.push(output.next());
        write(&mut output, (0..8).map(|second| now + ahead + second));
    }
    let start = |since| find::start_at(directory.path(), since).expect("readable");
    // What the second one begins with does not say that none before it is of that time.
    assert_eq!(start(now + 2 * hour), begin[0]);
    assert_eq!(start(now + 5 * hour), begin[0]);
    assert_eq!(start(now + 5 * hour + hour / 2), begin[4]);
    assert_eq!(start(now + 7 * hour), begin[5]);
    let told = LogReader::open(directory.path()).expect("a log");
    let told = told.iter_from(0).flatten().filter_map(|it| it.notice());
    let told: Vec<_> = told.filter(|it| it.kind() == Kind::ClockSetBack).collect();
    let since: Vec<_> = told.iter().map(|it| it.since).collect();
    assert_eq!(
        since,
        [now + 5 * hour + 7; 3],
        "until the clock has caught up"
    );
}
