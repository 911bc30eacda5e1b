use std::fs;
use std::path::{Path, PathBuf};

use crate::audit::envelope;
use crate::audit::frame::HEADER;
use crate::audit::log::AuditLog;
use crate::audit::log_files::{self, SEGMENTS, TREE};
use crate::audit::log_output::OpenError;
use crate::audit::record::schema::Notice;
use crate::audit::tree::key_file::{PUBLIC_KEY_FILE, read_verifying_key};
use crate::audit::verify::{Report, Request, verify};
use crate::config::audit::{AuditConfig, OnLogFailure};

fn open(directory: &Path, config: &AuditConfig) -> Result<AuditLog, OpenError> {
    let key = directory.join("capsule.key");
    AuditLog::open(directory, &key, config).map(|log| log.expect("a log"))
}

/// Opens the log, writes some records and closes it.
fn live(directory: &Path, config: &AuditConfig, records: usize) {
    let log = open(directory, config).expect("a log");
    for _ in 0..records {
        let mut bytes = Vec::new();
        envelope::notice(&mut bytes, std::time::SystemTime::now(), &Notice::default());
        drop(log.append(&bytes, None));
    }
    log.close();
}

fn verified(directory: &Path) -> Report {
    let key = read_verifying_key(&directory.join(TREE).join(PUBLIC_KEY_FILE)).expect("a key");
    let request = Request {
        directory: directory.to_owned(),
        key,
        older: Vec::new(),
        from: 0,
        to: None,
    };
    verify(&request).expect("a log")
}

fn last_file(directory: &Path) -> PathBuf {
    let files = log_files::list(&directory.join(SEGMENTS)).expect("files");
    files.last().expect("a file").path.clone()
}

#[test]
fn every_record_of_every_life_is_signed_at_the_end() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig {
        origin: Some("callgate.example/eu".to_owned()),
        ..AuditConfig::default()
    };
    let mut records = 0;
    for count in [0, 1, 300, 17] {
        live(directory, &config, count);
        let report = verified(directory);
        assert!(report.ok, "{report:?}");
        assert!(report.end >= records + count as u64, "{report:?}");
        assert_eq!((report.uncovered, report.proven), (0, report.end));
        assert_eq!(report.origin, "callgate.example/eu");
        records = report.end;
    }
    // The key keeps its name.
    let other = AuditConfig {
        origin: Some("callgate.example/us".to_owned()),
        ..config
    };
    assert!(matches!(open(directory, &other), Err(OpenError::Tree(_))));
}

#[test]
fn a_log_that_was_cut_is_refused_or_goes_on_without_a_tree() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    let config = AuditConfig::default();
    live(directory, &config, 20);
    let path = last_file(directory);
    let content = fs::read(&path).expect("a file");
    fs::write(&path, &content[..content.len() - 4]).expect("written");
    let refused = open(directory, &config).map(drop);
    let Err(OpenError::Tree(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("was signed"), "{error}");
    let lenient = AuditConfig {
        on_failure: OnLogFailure::Degrade,
        ..AuditConfig::default()
    };
    let log = open(directory, &lenient).expect("a log");
    assert!(log.status().tree.fault.is_some());
    log.close();
    assert!(!verified(directory).ok);
}

#[test]
fn a_log_whose_records_were_all_taken_away_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path();
    live(directory, &AuditConfig::default(), 20);
    let path = last_file(directory);
    let header = fs::read(&path).expect("a file")[..HEADER].to_vec();
    fs::write(&path, header).expect("written");
    let opened = open(directory, &AuditConfig::default()).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
    fs::remove_file(path).expect("removed");
    let opened = open(directory, &AuditConfig::default()).map(drop);
    assert!(matches!(opened, Err(OpenError::Tree(_))), "{opened:?}");
}
