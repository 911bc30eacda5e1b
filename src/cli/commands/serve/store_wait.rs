//! Opens the store, and waits for a database that is away at the start: for a bounded time, told in the log and to probes.
//!
//! Nothing is decided meanwhile. An error that stays as it is (a URL, a password, another store) ends the start at once.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::commands::serve::Args;
use crate::cli::store::{self, OpenedStore};
use crate::config::Config;
use crate::config::limits::Limits;
use crate::server::listen::Listener;
use crate::server::starting::StartingProbes;
use crate::store::backend::StoreError;

/// How long after an attempt the next is made, and after how long the log tells again that there is none.
const PAUSE: Duration = Duration::from_millis(500);
const TOLD_EACH: Duration = Duration::from_secs(10);

/// What `/readyz` says meanwhile.
const WAITS: &str = "the server starts, and waits for its database, which is away";

/// Opens the store. `None` if `stop` completes before it is there.
///
/// # Errors
///
/// As [`store::open_file`] and [`store::open_shared`], if a database is away after `state.wait_seconds`, and if probes cannot be
/// answered meanwhile.
pub(super) async fn open(
    args: &Args,
    config: &Config,
    (listeners, limits): (&[Listener], &Limits),
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Option<OpenedStore>> {
    let Some(url) = args.shared(config)? else {
        if args.replica.is_some() {
            anyhow::bail!("`--replica` is for a database that several servers share");
        }
        return store::open_file(&args.database(config), args.on_loss()).map(Some);
    };
    let mut state = config.state.clone();
    state.replica = args.replica.clone().or(state.replica);
    let file = args.database(config);
    let open = || {
        let place = (file.as_path(), args.on_loss());
        tokio::task::block_in_place(|| store::open_shared(&url, args.base(), &state, place))
    };
    let longest = Duration::from_secs(state.wait_seconds.into());
    let begun = Instant::now();
    let mut probes = None;
    let mut told: Option<Instant> = None;
    loop {
        let error = match open() {
            Ok(store) => return Ok(Some(store)),
            Err(error) if !is_away(&error) => return Err(error),
            Err(error) => error,
        };
        let waited = begun.elapsed();
        if waited >= longest {
            return Err(error).with_context(|| {
                let seconds = longest.as_secs();
                format!("the start has waited {seconds} s for it (`state.wait_seconds`)")
            });
        }
        if probes.is_none() {
            probes = Some(StartingProbes::start(listeners, limits, WAITS)?);
        }
        if told.is_none_or(|at| at.elapsed() >= TOLD_EACH) {
            told = Some(Instant::now());
            tracing::warn!(
                error = format!("{error:#}"),
                waited_seconds = waited.as_secs(),
                wait_seconds = longest.as_secs(),
                "the database is away: the start waits for it, and until then no request is answered"
            );
        }
        tokio::select! {
            () = &mut stop => return Ok(None),
            () = tokio::time::sleep(PAUSE.min(longest - waited)) => {}
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Away { .. }))
}
