use std::fs;
use std::future::pending;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bundle;
use crate::service::settings::ServiceSettings;

const GOOD: &str = "@id(\"all\") permit (principal, action, resource);";
const OTHER: &str = "@id(\"none\") forbid (principal, action, resource);";
const BROKEN: &str = "permit (principal, action";

struct Bench {
    dir: tempfile::TempDir,
    service: Arc<Service>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let service = Service::in_memory(ServiceSettings::default(), Recorder::default());
        let bench = Self {
            dir,
            service: Arc::new(service.expect("a service")),
        };
        bench.write("a.cedar", GOOD);
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("a file");
    }

    fn start(&self) -> Reloader {
        self.start_at(self.dir.path())
    }

    fn start_at(&self, dir: &Path) -> Reloader {
        let bundle = bundle::load(dir).expect("a good directory");
        let digest = Arc::clone(&bundle.digest);
        let load = LoadedBundle {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims,
            policy_set_digest: bundle.digest,
        };
        let revision = self.service.publish(load).expect("published");
        Reloader::new(
            Loader::new(dir),
            Arc::clone(&self.service),
            Recorder::default(),
            digest,
            revision,
        )
        .with_files(bundle.files)
    }
}

#[tokio::test]
async fn an_unchanged_directory_swaps_nothing() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    let before = bench.service.live().expect("live");
    bench.write("a.cedar", GOOD);
    bench.write("notes.txt", "not part of it");
    assert_eq!(reloader.reload().await, ReloadOutcome::Unchanged);
    let after = bench.service.live().expect("live");
    assert!(Arc::ptr_eq(&before, &after));
}

#[tokio::test]
async fn a_fault_keeps_the_last_good_and_is_told() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    let status = reloader.status();
    bench.write("b.cedar", BROKEN);
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    {
        let status = status.borrow();
        assert_eq!(status.consecutive_failures, 2);
        assert_eq!(status.revision, 1);
        assert!(
            status
                .last_fault
                .as_ref()
                .is_some_and(|text| text.contains("b.cedar:1:")),
            "{status:?}"
        );
    }
    assert_eq!(
        bench.service.live().map(|live| live.snapshot.revision()),
        Some(1)
    );
    // Undoing the mistake is success, and swaps nothing.
    fs::remove_file(bench.dir.path().join("b.cedar")).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Unchanged);
    assert_eq!(status.borrow().last_fault, None);
    assert_eq!(status.borrow().consecutive_failures, 0);
}

#[tokio::test]
async fn no_blanks_however_many_end_loading() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    fs::create_dir(bench.dir.path().join("entities")).expect("a directory");
    let long = format!("[{}", " ".repeat(70_000));
    bench.write("entities/extra.json", &long);
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    let fault = reloader.status().borrow().last_fault.clone();
    assert!(fault.is_some_and(|it| it.contains("entities/extra.json:1:") && it.len() < 1_000));
    bench.write("entities/extra.json", "[]");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
}

#[tokio::test]
async fn a_panic_in_a_load_is_its_fault_and_loading_goes_on() {
    let bench = Bench::new();
    let panics = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&panics);
    let reloader = bench.start().on_publish(move |_| {
        assert!(!asked.load(Ordering::Relaxed), "as asked");
    });
    let mut status = reloader.status();
    tokio::spawn(reloader.run(Some(Duration::from_millis(20)), pending()));
    until(&mut status, |status| status.is_watching).await;
    bench.write("b.cedar", OTHER);
    let is_told = |fault: &Arc<str>| fault.contains("loading it panicked: as asked");
    until(&mut status, |status| {
        status.last_fault.as_ref().is_some_and(is_told)
    })
    .await;
    let told = bench.service.bundle_status().expect("the directory");
    assert_eq!(told.failure.as_ref().map(|it| it.count), Some(1));
    panics.store(false, Ordering::Relaxed);
    until(&mut status, |status| status.last_fault.is_none()).await;
    let now = status.borrow().revision;
    bench.write("b.cedar", &OTHER.replace("none", "more"));
    until(&mut status, |status| status.revision == now + 1).await;
}

#[tokio::test]
async fn a_reloader_that_panics_between_two_loads_says_so_and_begins_again() {
    let bench = Bench::new();
    let reloader = bench.start();
    let mut status = reloader.status();
    let mut polls = 0;
    let stop = std::future::poll_fn(move |_| {
        polls += 1;
        assert_ne!(polls, 1, "as asked");
        std::task::Poll::Pending
    });
    tokio::spawn(reloader.run(Some(Duration::from_millis(20)), stop));
    until(&mut status, |status| status.last_fault.is_some()).await;
    bench.write("b.cedar", OTHER);
    until(&mut status, |status| {
        status.revision == 2 && status.last_fault.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_emptied_leaves_its_policies_in_service_until_that_is_meant() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    bench.write("b.cedar", OTHER);
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    for nothing in ["", " \n\t\n"] {
        bench.write("b.cedar", nothing);
        assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
        let fault = reloader.status().borrow().last_fault.clone();
        let fault = fault.expect("a fault");
        assert!(
            fault.contains("b.cedar") && fault.contains("1 policy of it"),
            "{fault}"
        );
    }
    // What says why it holds none, or never held any, is taken.
    bench.write("b.cedar", "// Moved to a.cedar.\n");
    bench.write("c.cedar", "");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(3));
    bench.write("b.cedar", "");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(4));
    // And so is a file that is taken away.
    fs::remove_file(bench.dir.path().join("a.cedar")).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(5));
}

#[tokio::test]
async fn a_configuration_that_is_gone_is_a_fault_and_its_settings_stay() {
    let bench = Bench::new();
    bench.write("callgate.toml", "require_delegation = true\n");
    let mut reloader = bench.start();
    assert_eq!(reloader.reload().await, ReloadOutcome::Unchanged);
    fs::remove_file(bench.dir.path().join("callgate.toml")).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    let fault = reloader.status().borrow().last_fault.clone();
    let fault = fault.expect("a fault");
    assert!(
        fault.contains("callgate.toml") && fault.contains("was there and is gone"),
        "{fault}"
    );
    bench.write("callgate.toml", "require_delegation = false\n");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    // A directory that never had one needs none.
    let without = Bench::new();
    let mut reloader = without.start();
    without.write("b.cedar", OTHER);
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
}

#[tokio::test]
async fn the_same_fault_is_told_once_while_watching() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    bench.write("b.cedar", BROKEN);
    for _ in 0..3 {
        assert_eq!(
            reloader.attempt(ReloadTrigger::Change).await,
            ReloadOutcome::Faulty
        );
    }
    assert_eq!(reloader.status().borrow().consecutive_failures, 1);
    // Whoever asks is answered.
    assert_eq!(
        reloader.attempt(ReloadTrigger::Signal).await,
        ReloadOutcome::Faulty
    );
    assert_eq!(reloader.status().borrow().consecutive_failures, 2);
}

#[tokio::test]
async fn a_change_goes_into_service_with_its_configuration() {
    let bench = Bench::new();
    let (told, mut configs) = mpsc::unbounded_channel();
    let mut reloader = bench.start().on_publish(move |config| {
        let _ = told.send(config.claims.groups.len());
    });
    bench.write("callgate.toml", "[[claims.groups]]\nclaim = \"groups\"\n");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    assert_eq!(configs.recv().await, Some(1));
    assert_eq!(
        bench.service.live().map(|live| live.claims.groups.len()),
        Some(1)
    );
    assert_eq!(reloader.status().borrow().revision, 2);
}

#[tokio::test]
async fn files_that_come_change_and_go_are_loaded_and_told() {
    let bench = Bench::new();
    bench.write("b.cedar", OTHER);
    let mut reloader = bench.start();
    assert_eq!(reloader.status().borrow().last, FileChanges::default());
    bench.write("a.cedar", &format!("// other\n{GOOD}"));
    bench.write("c.cedar", &OTHER.replace("none", "more"));
    fs::remove_file(bench.dir.path().join("b.cedar")).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    let names = |names: &[&str]| names.iter().map(|&it| Arc::from(it)).collect();
    let changes = FileChanges {
        added: names(&["c.cedar"]),
        changed: names(&["a.cedar"]),
        removed: names(&["b.cedar"]),
    };
    assert_eq!(reloader.status().borrow().last, changes);
    // A deletion alone is a change as well.
    fs::remove_file(bench.dir.path().join("c.cedar")).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(3));
    let told = bench.service.bundle_status().expect("the directory");
    assert_eq!(told.last.removed, [Arc::from("c.cedar")]);
    assert_eq!((told.revision, told.failure.is_none()), (3, true));
}

#[tokio::test]
async fn what_does_not_rest_is_not_loaded_until_it_does() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    reloader.loader.rest = Duration::from_millis(150);
    reloader.loader.patience = Duration::from_millis(300);
    let path = bench.dir.path().join("b.cedar");
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (path, is_over) = (path.clone(), Arc::clone(&is_over));
        move || {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&path, OTHER).expect("a file");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    assert_eq!(reloader.reload().await, ReloadOutcome::Changing);
    let told = bench.service.bundle_status().expect("the directory");
    let fault = told.failure.clone().expect("a fault");
    assert!(
        fault.diagnostics[0].contains("have been changing"),
        "{fault:?}"
    );
    assert_eq!((told.revision, fault.count, fault.attempts), (1, 1, 1));
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().expect("the writer");
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    assert_eq!(
        bench
            .service
            .bundle_status()
            .expect("the directory")
            .failure,
        None
    );
}

#[tokio::test]
async fn a_link_to_the_directory_that_is_switched_is_noticed() {
    let bench = Bench::new();
    let dir = bench.dir.path();
    for (name, text) in [("one", GOOD), ("two", OTHER)] {
        fs::create_dir(dir.join(name)).expect("a directory");
        fs::write(dir.join(name).join("a.cedar"), text).expect("a file");
    }
    let now = dir.join("now");
    std::os::unix::fs::symlink("one", &now).expect("a link");
    let reloader = bench.start_at(&now);
    let mut status = reloader.status();
    tokio::spawn(reloader.run(Some(Duration::from_millis(50)), pending()));
    until(&mut status, |status| status.is_watching).await;
    for (revision, target) in [(2, "two"), (3, "one"), (4, "two")] {
        std::os::unix::fs::symlink(target, dir.join("next")).expect("a link");
        fs::rename(dir.join("next"), &now).expect("switched");
        until(&mut status, |status| status.revision == revision).await;
    }
}

#[tokio::test]
async fn a_directory_that_vanished_is_a_fault() {
    let bench = Bench::new();
    let mut reloader = bench.start();
    fs::remove_dir_all(bench.dir.path()).expect("removed");
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    assert!(bench.service.live().is_some());
}

async fn until(
    status: &mut watch::Receiver<ReloadStatus>,
    what: impl FnMut(&ReloadStatus) -> bool,
) {
    let waited = timeout(Duration::from_secs(20), status.wait_for(what)).await;
    assert!(
        waited.is_ok_and(|seen| seen.is_ok()),
        "it did not come: {:?}",
        status.borrow()
    );
}

#[tokio::test]
async fn files_saved_the_way_editors_do_are_noticed() {
    let bench = Bench::new();
    let reloader = bench.start();
    let mut status = reloader.status();
    tokio::spawn(reloader.run(Some(Duration::from_millis(50)), pending()));
    until(&mut status, |status| status.is_watching).await;
    // Written in two steps.
    bench.write("b.cedar", &OTHER[..20]);
    bench.write("b.cedar", OTHER);
    until(&mut status, |status| status.revision == 2).await;
    // Written beside and renamed over it.
    bench.write(".b.cedar.swp", "// changed\n");
    fs::rename(
        bench.dir.path().join(".b.cedar.swp"),
        bench.dir.path().join("b.cedar"),
    )
    .expect("renamed");
    until(&mut status, |status| status.revision == 3).await;
    // In a directory that was not there before.
    fs::create_dir(bench.dir.path().join("more")).expect("a directory");
    bench.write("more/c.cedar", OTHER);
    until(&mut status, |status| status.revision == 4).await;
    // A mistake, and its correction.
    bench.write("more/c.cedar", BROKEN);
    until(&mut status, |status| status.last_fault.is_some()).await;
    bench.write("more/c.cedar", GOOD.replace("all", "more").as_str());
    until(&mut status, |status| {
        status.revision == 5 && status.last_fault.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_noticed_and_watched() {
    let bench = Bench::new();
    let reloader = bench.start();
    let mut status = reloader.status();
    tokio::spawn(reloader.run(Some(Duration::from_millis(50)), pending()));
    until(&mut status, |status| status.is_watching).await;
    let dir = bench.dir.path();
    let (old, new) = (dir.with_extension("old"), dir.with_extension("new"));
    fs::create_dir(&new).expect("a directory");
    fs::write(new.join("a.cedar"), OTHER).expect("a file");
    fs::rename(dir, &old).expect("moved away");
    fs::rename(&new, dir).expect("moved in");
    until(&mut status, |status| status.revision == 2).await;
    bench.write("a.cedar", GOOD);
    until(&mut status, |status| status.revision == 3).await;
    fs::remove_dir_all(&old).expect("removed");
}

#[tokio::test]
async fn reading_does_not_cause_reading() {
    let bench = Bench::new();
    let reloader = bench.start();
    let mut status = reloader.status();
    tokio::spawn(reloader.run(Some(Duration::from_millis(20)), pending()));
    until(&mut status, |status| status.is_watching).await;
    sleep(Duration::from_millis(200)).await;
    let before = status.borrow_and_update().last_success;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(status.borrow().last_success, before);
}

#[tokio::test]
async fn after_a_change_of_policies_the_entities_are_those_that_were_there() {
    let bench = Bench::new();
    let people = r#"[{"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {}, "parents": []}]"#;
    fs::create_dir(bench.dir.path().join("entities")).expect("a directory");
    bench.write("entities/people.json", people);
    let mut reloader = bench.start();
    let snapshot = || bench.service.live().expect("live").snapshot.clone();
    let rule = |at: usize| format!("permit (principal == Mcp::User::\"u{at}\", action, resource);");
    // The loader has compiled nothing yet.
    bench.write("b.cedar", &rule(1));
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(2));
    let first = snapshot();
    bench.write("b.cedar", &rule(2));
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(3));
    let second = snapshot();
    assert!(second.shares_entities(&first));
    // A fault in between makes no difference.
    bench.write("b.cedar", BROKEN);
    assert_eq!(reloader.reload().await, ReloadOutcome::Faulty);
    bench.write("b.cedar", &rule(3));
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(4));
    assert!(snapshot().shares_entities(&second));
    bench.write("entities/people.json", &people.replace("ana", "ben"));
    assert_eq!(reloader.reload().await, ReloadOutcome::Published(5));
    assert!(!snapshot().shares_entities(&second));
}
