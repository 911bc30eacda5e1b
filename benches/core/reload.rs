//! From one changed policy to the new bundle in service: one of 10,000 policies in a hundred files.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use callgate::reload::loading::Loader;
use callgate::reload::{ReloadOutcome, Reloader};
use callgate::service::Service;
use callgate::service::generation::LoadedBundle;
use callgate::service::settings::ServiceSettings;
use callgate::telemetry::record::recorder::Recorder;

use crate::{median, metric, size, world};

const RELOADS: usize = 7;
/// The policy that changes is the first one of this file.
const CHANGED: &str = "rules1.cedar";
/// A reload waits until files have not been written for a while. That wait is none of its work.
const RESTED: Duration = Duration::from_millis(100);

/// Prints `reload.one_policy_of_10000`.
pub fn measure() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    world::write(dir.path(), size(10_000), size(100_000), 100);
    let path = dir.path().join(CHANGED);
    let original = fs::read_to_string(&path).expect("the file was written");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut reloader = serve(dir.path());
    let samples = (0..RELOADS).map(|round| {
        fs::write(&path, changed(&original, round)).expect("the file can be written");
        thread::sleep(RESTED);
        let start = Instant::now();
        let outcome = runtime.block_on(reloader.reload());
        let seconds = start.elapsed().as_secs_f64();
        assert!(
            matches!(outcome, ReloadOutcome::Published(_)),
            "{outcome:?}"
        );
        seconds * 1e3
    });
    metric(
        "reload.one_policy_of_10000",
        median(samples.collect()),
        "ms",
    );
}

/// A service with the directory loaded, and what reloads it. Nothing is compiled in another process first.
fn serve(dir: &Path) -> Reloader {
    let recorder = Recorder::default();
    let service = Service::in_memory(ServiceSettings::default(), recorder.clone());
    let service = Arc::new(service.expect("a service"));
    let loader = Loader::new(dir);
    let first = loader.first().expect("the world is sound").bundle;
    let digest = Arc::clone(&first.digest);
    let revision = service
        .publish(LoadedBundle {
            snapshot: first.snapshot,
            claims: first.config.claims,
            policy_set_digest: Arc::clone(&digest),
        })
        .expect("a revision");
    Reloader::new(loader, service, recorder, digest, revision).with_files(first.files)
}

/// The text with another condition of its first policy.
fn changed(original: &str, round: usize) -> String {
    let condition = format!(" unless {{ context.arguments.untyped.contains(\"round{round}\") }};");
    let changed = original.replacen(';', &condition, 1);
    assert_ne!(changed, original, "there is a policy");
    changed
}
