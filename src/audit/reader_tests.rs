use std::fs;

use super::*;
use crate::audit::fixtures::{many, write_log};

/// What is read, and what is told of the rest. Ends, whatever is wrong.
fn read(directory: &Path) -> (Vec<u64>, Vec<LogError>) {
    let log = LogReader::open(directory).expect("a log");
    let items = log.iter_from(0).take(1_000);
    let (records, faults): (Vec<_>, Vec<_>) = items.partition(Result::is_ok);
    let records = records.into_iter().filter_map(Result::ok);
    (
        records.map(|record| record.index).collect(),
        faults.into_iter().filter_map(Result::err).collect(),
    )
}

fn path(directory: &Path, name: String) -> PathBuf {
    directory.join(SEGMENTS).join(name)
}

#[test]
fn one_file_that_cannot_be_read_hides_no_other() {
    for at in [0, 5, 20, 200] {
        let dir = tempfile::tempdir().expect("a directory");
        write_log(dir.path(), &many(300), 100);
        let plain = path(dir.path(), log_files::name(100));
        let bytes = fs::read(&plain).expect("a file");
        let mut compressed = zstd::bulk::compress(&bytes, 1).expect("compressed");
        compressed[at..at + 3].copy_from_slice(&[1, 2, 3]);
        fs::write(
            path(dir.path(), log_files::compressed_name(100)),
            compressed,
        )
        .expect("written");
        fs::remove_file(plain).expect("removed");
        let (records, faults) = read(dir.path());
        let is_there = |index: &u64| !(100..200).contains(index);
        let others = records.iter().filter(|it| is_there(it)).count();
        assert_eq!(others, 200, "{at}: {faults:?}");
        // Without a checksum a single record may be all that is damaged.
        let missing: Vec<u64> = (100..200).filter(|it| !records.contains(it)).collect();
        let told = faults.iter().filter_map(|fault| match fault {
            LogError::Lost { first, last } => Some(*first..=*last),
            _ => None,
        });
        assert_eq!(told.flatten().collect::<Vec<_>>(), missing, "{at}");
        assert!(!missing.is_empty(), "{at}");
    }
}

#[test]
fn what_is_no_file_hides_no_other_and_ends_nothing() {
    for first in [0, 100, 200] {
        let dir = tempfile::tempdir().expect("a directory");
        write_log(dir.path(), &many(300), 100);
        let file = path(dir.path(), log_files::name(first));
        fs::remove_file(&file).expect("removed");
        match first {
            100 => std::os::unix::fs::symlink("nowhere", &file).expect("linked"),
            _ => fs::create_dir(&file).expect("made"),
        }
        let (records, faults) = read(dir.path());
        assert_eq!(records.len(), 200, "{first}: {faults:?}");
        assert!(
            matches!(faults.first(), Some(LogError::File { .. })),
            "{first}: {faults:?}"
        );
    }
}
