//! The signals that stop the server.

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Completes on SIGTERM or SIGINT. The process ends `latest` after that, whatever still blocks. Has to be called in a
/// tokio runtime.
///
/// # Errors
///
/// If a signal cannot be awaited.
pub fn stop_signal(latest: Duration) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A file that may not grow (RLIMIT_FSIZE) is a full disk, and no end: with a handler the write fails instead.
    let too_large = SignalKind::from_raw(Signal::XFSZ.as_raw());
    drop(signal(too_large)?);
    let stopped = CancellationToken::new();
    let told = stopped.clone();
    // A separate task, since the one that waits for the signal may block.
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::thread::spawn(move || {
            std::thread::sleep(latest);
            tracing::error!("the end takes too long; what hangs is left behind");
            std::process::exit(1);
        });
        told.cancel();
    });
    Ok(stopped.cancelled_owned())
}
