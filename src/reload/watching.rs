//! Watches the directory for changes.

use std::path::Path;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// After this many debounce periods without quiet the directory is looked at nevertheless. It is not loaded before its
/// files stop changing.
const MAX_DEBOUNCES: u32 = 20;

/// Waits until nothing has changed for `debounce`, as editors write a file in several steps.
pub(super) async fn quiet(changes: &mut mpsc::Receiver<()>, debounce: Duration) {
    let patience = Instant::now() + debounce * MAX_DEBOUNCES;
    // The sender drops events that do not fit, but never the last one: the channel then holds one.
    while timeout(debounce, changes.recv())
        .await
        .is_ok_and(|change| change.is_some())
    {
        if Instant::now() >= patience {
            return;
        }
        sleep(debounce / 4).await;
    }
}

pub(super) fn start_watching(
    dir: &Path,
    changed: mpsc::Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    let dir = std::path::absolute(dir)?;
    let own_name = dir.file_name().map(ToOwned::to_owned);
    let (parent, watched) = (dir.parent().map(Path::to_owned), dir.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An event that could not be reported may have been a change.
        let matters = event.map_or(true, |event| concerns(&event, &watched));
        if matters {
            // A full channel already announces a change.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&dir, RecursiveMode::Recursive)?;
    // The directory itself may be replaced, as deployments that switch a symbolic link do.
    if let (Some(parent), Some(_)) = (parent, own_name) {
        watcher.watch(&parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading the directory causes events as well, which must not cause another load.
fn concerns(event: &Event, dir: &Path) -> bool {
    if event.need_rescan() {
        return true;
    }
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    is_change && event.paths.iter().any(|path| path.starts_with(dir))
}
