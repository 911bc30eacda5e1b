//! `callgate serve`: runs the decision service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::log::AuditLog;
use crate::audit::log_opening::PreparedLog;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::bundle::Bundle;
use crate::bundle::diagnostic::BundleError;
use crate::cli::bundle_source::{self, BundleSource, FirstGeneration};
use crate::cli::log_format::Format;
use crate::cli::output::{Exit, Output};
use crate::cli::store::{self, JoinedStore, OpenedStore};
use crate::config::{Config, ReloadConfig};
use crate::reload::Reloader;
use crate::server::file_descriptors;
use crate::server::listen::Listener;
use crate::server::parts::ServerParts;
use crate::server::refused_requests;
use crate::server::reloadable::ReloadableConfig;
use crate::server::reloadable_tls::ReloadableTls;
use crate::server::stop_signal::stop_signal;
use crate::server::{self, tls::TlsError};
use crate::service::Service;
use crate::service::clock::SystemClock;
use crate::service::maintenance::RetentionPeriods;
use crate::service::settings::ServiceSettings;
use crate::store::sqlite::OnLoss;
use crate::supervision::kept_up_task;
use crate::telemetry::record::recorder::Recorder;
use crate::telemetry::setup::{Logging, Telemetry, start_logging};

mod shutdown;
mod store_wait;

/// Time limit for threads to end at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Stack of worker threads: evaluating deeply nested policies exceeds the default.
const STACK_BYTES: usize = 8 << 20;

/// Answers questions about calls, over gRPC
///
/// Loads a directory of policies, schema, entities and registrations, or the archive that `[bundle]` names, and
/// answers `callgate.v1.Authorization`. What it listens on, who may ask and every limit is in
/// `callgate.toml` in that directory. By default it listens on 127.0.0.1:50051, and on 127.0.0.1:8180 for
/// AuthZEN and ToolHive. Without `[[callers]]` it starts only if `without_callers = true` or
/// `--without-callers` says that everybody on this machine may ask.
///
/// SIGHUP loads the directory again, and so does a change in it. A directory with faults changes
/// nothing: the last good one stays. SIGTERM and SIGINT end it once every request is answered.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen on this TCP address, in place of what the configuration says (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// Listen for plain HTTP (AuthZEN, ToolHive) on this TCP address, in place of what the configuration
    /// says (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub http: Vec<SocketAddr>,
    /// Listen on a Unix socket at this path, in place of what the configuration says (may be repeated)
    #[arg(long, value_name = "PATH")]
    pub unix: Vec<PathBuf>,
    /// Answer probes and scrapes (`/livez`, `/readyz`, `/statusz`, `/metrics`) on this TCP address, in place of what the
    /// configuration says (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<SocketAddr>,
    /// Keep live authority in this database file, or in the PostgreSQL database of this URL, in place of what the
    /// configuration says
    #[arg(long, value_name = "FILE|URL")]
    pub state: Option<PathBuf>,
    /// What this server is called among those that share its database, in place of what the configuration says: so all of
    /// them can have one configuration
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,
    /// If the store is gone, damaged or has lost something: set aside what is there and begin with nothing. Everything that
    /// was delegated, approved, labelled, ended or stopped is forgotten. A store that is whole is opened as ever. With a
    /// database that is shared: go on with what it holds, be it another store than before, or none
    #[arg(long, conflicts_with = "store_as_it_is")]
    pub new_store: bool,
    /// If the store has lost something, or is an older copy: go on with it. What was taken away since may be allowed again
    #[arg(long)]
    pub store_as_it_is: bool,
    /// Serve although no callers are configured: every process that reaches the server may ask and change
    /// everything. `without_callers = true` in callgate.toml says the same
    #[arg(long)]
    pub without_callers: bool,
    /// What log lines look like
    #[arg(long, value_enum, default_value_t)]
    pub log_format: Format,
    /// How to report faults of the directory
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate serve                                      serve ./policies on 127.0.0.1:50051
  callgate serve policies --listen 127.0.0.1:9000     on another port
  callgate serve policies --http 127.0.0.1:9080       AuthZEN and ToolHive on another port
  callgate serve policies --unix /run/callgate.sock   on a Unix socket alone
  callgate serve --state /var/lib/callgate/state.db   with its database somewhere else
  callgate serve --state postgres://callgate@localhost/callgate     shared by several servers: docs/fleet.md
  RUST_LOG=debug callgate serve                       tell more

Ask it something from another terminal:
  callgate authorize --endpoint http://127.0.0.1:50051 --agent support --user sam \\
      --server github --tool get_issue

Exit codes: 0 stopped as asked, 1 error or lines of the log could not be written at the end, 3 the directory has faults.";

impl Args {
    fn on_loss(&self) -> OnLoss {
        match (self.new_store, self.store_as_it_is) {
            (true, _) => OnLoss::StartFresh,
            (_, true) => OnLoss::Continue,
            _ => OnLoss::Refuse,
        }
    }

    /// The database file; with a shared database, the file that would be in its place.
    fn database(&self, config: &Config) -> PathBuf {
        let configured = || config.state.path(self.base());
        let is_url = |state: &PathBuf| state.to_str().is_some_and(store::is_url);
        let given = self.state.clone().filter(|it| !is_url(it));
        given.unwrap_or_else(configured)
    }

    /// The database that several servers share.
    fn shared(&self, config: &Config) -> anyhow::Result<Option<String>> {
        store::shared_url(self.state.as_deref(), &config.state)
    }

    /// The directory that relative paths in the configuration refer to.
    fn base(&self) -> &Path {
        let beside = self.config.as_deref().and_then(Path::parent);
        beside.unwrap_or(&self.dir)
    }
}

/// Serves until stopped.
///
/// # Errors
///
/// If the server cannot start or fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let database = |config: &Config| args.database(config);
    let source = bundle_source::find(&args.dir, args.config.as_deref(), database)?;
    let loader = source.loader.clone().with_trial(&ReloadConfig::default());
    let first = match loader.first() {
        // A bundle that was published may be in service instead.
        Err(faults) if !source.settings.bundle.published => return args.output.faults(&faults),
        first => first,
    };
    let logging = start_logging(None, args.log_format.into())?;
    bundle_source::log_first_load(&first, &loader);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .context("the runtime cannot start")?;
    let first = first.map(|first| first.bundle);
    let served = runtime.block_on(serve(args, first, source, &logging));
    // Abandons a load or a write that still blocks.
    runtime.shutdown_timeout(LAST_WORDS);
    let unwritten = logging.finish();
    let given_up = served?;
    // The log has failed, so the exit status alone reports it.
    Ok(match given_up.saturating_add(unwritten) {
        0 => Exit::Done,
        _ => Exit::Error,
    })
}

/// Serves; returns the number of log lines that could not be written.
async fn serve(
    args: &Args,
    bundle: Result<Bundle, BundleError>,
    source: BundleSource,
    logging: &Logging,
) -> anyhow::Result<usize> {
    let config = match &bundle {
        Ok(bundle) => bundle.config.clone(),
        Err(_) => source.settings.clone(),
    };
    let drain = Duration::from_millis(config.limits.drain_ms.into());
    let latest = drain + 3 * shutdown::FLUSH + LAST_WORDS;
    let stop = stop_signal(latest).context("the signals to stop cannot be awaited")?;
    check_callers(args, &config)?;
    let listeners = bind(args, &config).await?;
    let tls = load_tls(args.base(), &config)?;
    let mut stop = pin!(stop);
    let probes = (listeners.as_slice(), &config.limits);
    let Some(store) = store_wait::open(args, &config, probes, stop.as_mut()).await? else {
        return Ok(0);
    };
    // Beside the store, which says first if it belongs to another server.
    let prepared = open_audit(args, &config)?;
    let audit = prepared.as_ref().map(|it| it.log().clone());
    let is_scraped = listeners.iter().any(Listener::is_admin);
    let exports = &config.telemetry;
    let telemetry = Telemetry::start(exports, args.base(), logging, audit.clone(), is_scraped)?;
    let reloadable = ReloadableConfig::new(&config);
    let open_files = fit_to_descriptors(&reloadable, &config);
    warn_of_local_caller(&reloadable);
    let stores = (store, prepared);
    let (service, first) =
        open_and_enter(&source, &config, telemetry.recorder(), stores, bundle).await?;
    log_listeners(&listeners, first.revision);
    let reloader = Reloader::new(
        source.loader.with_trial(&config.reload),
        Arc::clone(&service),
        telemetry.recorder(),
        first.digest,
        first.revision,
    );
    let reloader = first.files.into_iter().fold(reloader, Reloader::with_files);
    let bundle_is_good = is_good(&reloader);
    let started = (reloadable.clone(), open_files);
    let reloading = reload(reloader, Arc::clone(&service), &config, started);
    let callers = Arc::clone(&reloadable.authenticator);
    let setup = ServerParts {
        service: Arc::clone(&service),
        authenticator: reloadable.authenticator,
        limits: reloadable.limits,
        envoy: reloadable.envoy,
        ext_mcp: reloadable.ext_mcp,
        tls,
        metrics: telemetry.scraper(),
        authzen: config.authzen.clone(),
        toolhive: config.toolhive.clone(),
        bundle_is_good,
    };
    let keeping = keep(&service, &config);
    let counting = audit.clone().map(|audit| keep_refused(&callers, audit));
    let served = server::serve(listeners, setup, stop).await;
    reloading.abort();
    keeping.abort();
    if let (Some(counting), Some(audit)) = (counting, &audit) {
        counting.abort();
        refused_requests::put_on_record(&callers, audit);
    }
    shutdown::close(service, audit).await?;
    let given_up = shutdown::end_telemetry(telemetry, logging).await;
    served?;
    Ok(given_up)
}

/// Opens the service over a store and puts the first bundle into service.
async fn open_and_enter(
    source: &BundleSource,
    config: &Config,
    recorder: Recorder,
    (store, log): (OpenedStore, Option<PreparedLog>),
    bundle: Result<Bundle, BundleError>,
) -> anyhow::Result<(Arc<Service>, FirstGeneration)> {
    let enter = async |joined| {
        let service = Arc::new(open_service(config, recorder, joined)?);
        // Before the first request, so that none is enforced that should only be observed, or the reverse.
        service.set_observe(&config.observe);
        let first = source.enter(&service, config, bundle).await?;
        // Only now: a start that fails leaves the records as they are.
        start_audit(log)?;
        Ok((service, first))
    };
    store.join_to(enter).await
}

fn warn_of_local_caller(reloadable: &ReloadableConfig) {
    if reloadable.authenticator.current().is_local() {
        tracing::warn!(
            "no `[[callers]]` are configured: whoever reaches this server on its machine is the caller `local` with every right, names itself as it likes and may approve as anybody"
        );
    }
}

fn log_listeners(listeners: &[Listener], revision: u64) {
    for listener in listeners {
        tracing::info!(
            address = listener.address(),
            protocol = listener.protocol(),
            revision,
            "listening"
        );
    }
}

/// Raises the limit on open files and lowers `connections` to fit it.
fn fit_to_descriptors(reloadable: &ReloadableConfig, config: &Config) -> Option<u64> {
    let open_files = file_descriptors::raise_limit();
    let fitted = file_descriptors::fit_connections(&config.limits, open_files);
    if fitted.connections < config.limits.connections {
        tracing::warn!(
            open_files,
            connections = fitted.connections,
            wanted = config.limits.connections,
            "the limit on open files allows fewer connections than `limits.connections`; raise it (`ulimit -n`, `LimitNOFILE=`)"
        );
    }
    reloadable.limits.store(Arc::new(fitted));
    open_files
}

/// Rejects a configuration without callers unless that is explicit: a lost configuration must not open the server to
/// the whole machine.
fn check_callers(args: &Args, config: &Config) -> anyhow::Result<()> {
    if !config.callers.is_empty() || config.without_callers || args.without_callers {
        return Ok(());
    }
    let place = match &args.config {
        Some(file) => file.display().to_string(),
        None => args.dir.join(Config::FILE_NAME).display().to_string(),
    };
    anyhow::bail!(
        "`{place}` configures no `[[callers]]`: every process that reaches the server could ask and change everything. \
         Configure the callers; or, if that is what is meant, say so with `without_callers = true` there or with \
         `--without-callers`"
    )
}

/// Opens the decision log, beside the database unless the configuration says otherwise.
fn open_audit(args: &Args, config: &Config) -> anyhow::Result<Option<PreparedLog>> {
    let audit = &config.audit.with_signing_key_in(args.base());
    let directory = audit.path(args.base(), &args.database(config));
    let key = audit.key_path(args.base(), &directory);
    Ok(AuditLog::prepare(&directory, &key, audit)?)
}

/// Starts the decision log, which repairs it.
fn start_audit(prepared: Option<PreparedLog>) -> anyhow::Result<()> {
    let Some(prepared) = prepared else {
        tracing::warn!("`audit.mode` is `off`: decisions are not put on record");
        return Ok(());
    };
    let log = prepared.start()?;
    tracing::info!(
        directory = %log.directory().display(),
        mode = log.mode().as_str(),
        records = log.records(),
        "the decision log is open"
    );
    Ok(())
}

/// Opens the service over a store.
fn open_service(
    config: &Config,
    recorder: Recorder,
    (store, member): JoinedStore,
) -> anyhow::Result<Service> {
    let settings = ServiceSettings::from_config(config);
    let clock = Arc::new(SystemClock);
    Ok(match member {
        Some(member) => Service::open_shared(settings, recorder, store, clock, member)?,
        None => Service::open(settings, recorder, store, clock)?,
    })
}

/// Puts on record what callers have no right to until aborted.
fn keep_refused(callers: &Arc<ReloadableAuthenticator>, audit: AuditLog) -> JoinHandle<()> {
    let callers = Arc::clone(callers);
    tokio::spawn(async move {
        kept_up_task("requests without a right", || {
            refused_requests::keep_on_record(Arc::clone(&callers), audit.clone())
        })
        .await;
    })
}

/// Runs background maintenance until aborted.
fn keep(service: &Arc<Service>, config: &Config) -> JoinHandle<()> {
    let service = Arc::clone(service);
    let keep = RetentionPeriods {
        ended: hours(config.state.keep_ended_hours),
        changes: 24 * hours(config.state.keep_changes_days),
    };
    tokio::spawn(async move {
        kept_up_task("maintenance", || service.run_maintenance(keep)).await;
    })
}

fn hours(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 3_600)
}

/// Watches whether the last load succeeded.
fn is_good(reloader: &Reloader) -> watch::Receiver<bool> {
    let (good, is_good) = watch::channel(true);
    let mut status = reloader.status();
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let has_fault = status.borrow_and_update().last_fault.is_some();
            good.send_replace(!has_fault);
        }
    });
    is_good
}

/// Reloads the directory, callers and limits included, on changes and on SIGHUP.
fn reload(
    reloader: Reloader,
    service: Arc<Service>,
    config: &Config,
    (reloadable, open_files): (ReloadableConfig, Option<u64>),
) -> JoinHandle<()> {
    let debounce = Duration::from_millis(config.reload.debounce_ms);
    let started_with = config.clone();
    let reloader = reloader.on_publish(move |config| {
        if let Some(audit) = service.recorder().audit() {
            // Those of a caller that is there no more.
            refused_requests::put_on_record(&reloadable.authenticator, audit);
        }
        reloadable.apply(config);
        service.set_observe(&config.observe);
        let fitted = file_descriptors::fit_connections(&config.limits, open_files);
        reloadable.limits.store(Arc::new(fitted));
        let waiting = config.needs_restart(&started_with);
        if !waiting.is_empty() {
            tracing::warn!(
                sections = waiting.join(", "),
                "changes of these need a restart"
            );
        }
    });
    let watch = config.reload.watch.then_some(debounce);
    tokio::spawn(reloader.run(watch, std::future::pending()))
}

/// Binds the addresses of the command line, or else of the configuration.
async fn bind(args: &Args, config: &Config) -> anyhow::Result<Vec<Listener>> {
    let is_silent = args.listen.is_empty() && args.unix.is_empty();
    let (addresses, paths, https) = if is_silent && args.http.is_empty() {
        let listen = &config.listen;
        (&listen.grpc, &listen.unix, &listen.http)
    } else if is_silent {
        (&config.listen.grpc, &config.listen.unix, &args.http)
    } else {
        (&args.listen, &args.unix, &args.http)
    };
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(Listener::tcp(*address, config.tls.is_some()).await?);
    }
    for address in https {
        listeners.push(Listener::http(*address, config.tls.is_some()).await?);
    }
    let admin = if args.admin.is_empty() {
        &config.listen.admin
    } else {
        &args.admin
    };
    for address in admin {
        listeners.push(Listener::admin(*address).await?);
    }
    for path in paths {
        listeners.push(Listener::unix(path, config.listen.unix_mode).await?);
    }
    Ok(listeners)
}

fn load_tls(base: &Path, config: &Config) -> Result<Option<ReloadableTls>, TlsError> {
    let handshake = Duration::from_millis(config.limits.handshake_ms.into());
    let files = config.tls.as_ref();
    files
        .map(|files| ReloadableTls::load(files, base, handshake))
        .transpose()
}
