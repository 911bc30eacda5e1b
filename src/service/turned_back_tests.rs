use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::audit::fixtures as records;
use crate::audit::log::AuditLog;
use crate::audit::reader::LogReader;
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::config::audit::AuditConfig;
use crate::service::Service;
use crate::service::clock::SystemClock;
use crate::service::fixtures;
use crate::service::settings::ServiceSettings;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::record::recorder::{Recorder, RecorderParts};

/// How far a start comes before it is killed.
#[derive(Clone, Copy, PartialEq)]
enum End {
    StoreOpened,
    Published,
    LogStarted,
}

fn start(folder: &Path, end: End) {
    let directory = folder.join("audit");
    let key = folder.join("capsule.key");
    let prepared = AuditLog::prepare(&directory, &key, &AuditConfig::default());
    let prepared = prepared.expect("a log").expect("a log");
    let recorder = Recorder::new(RecorderParts {
        audit: Some(prepared.log().clone()),
        ..RecorderParts::default()
    });
    let store = SqliteStore::open(&folder.join("state.db")).expect("a store");
    let settings = ServiceSettings::default();
    let service = Service::open(settings, recorder, Box::new(store), Arc::new(SystemClock));
    let service = service.expect("a service");
    if end != End::StoreOpened {
        let load = fixtures::policies("permit (principal, action, resource);");
        service.publish(load).expect("published");
    }
    if end == End::LogStarted {
        prepared.start().expect("started").close();
    }
}

fn told(folder: &Path) -> Vec<Notice> {
    let log = LogReader::open(&folder.join("audit")).expect("a log");
    let notices = log.iter_from(0).flatten().filter_map(|it| it.notice());
    notices.filter(|it| it.kind() == Kind::TurnedBack).collect()
}

#[test]
fn that_a_store_turned_back_is_on_record_once_wherever_starts_before_were_killed() {
    for ends in [
        &[][..],
        &[End::StoreOpened],
        &[End::Published],
        &[
            End::StoreOpened,
            End::StoreOpened,
            End::Published,
            End::Published,
        ],
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let directory = folder.join("audit");
        fs::create_dir(&directory).expect("a folder");
        // They tell of revisions up to 13; the store that is begun has none of them.
        records::write_log(&directory, &records::records(), 100);
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(directory.join("tree/key"), own).expect("a key");
        for end in ends {
            start(folder, *end);
            assert_eq!(told(folder), [], "the log has not begun");
        }
        start(folder, End::LogStarted);
        start(folder, End::LogStarted);
        let told = told(folder);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].first, told[0].last), (0, 13));
    }
}
