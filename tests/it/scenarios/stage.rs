//! The real service and both front doors, in this process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use callgate::adapters::callgate_v1::authorization::Authorization;
use callgate::adapters::callgate_v1::control::rpcs::ControlApi;
use callgate::adapters::transport::grpc_admission;
use callgate::authn::authenticate::{Authenticator, CallerCredentials, TokenDigest};
use callgate::authn::caller::{Caller, Rights, Rpc, RpcSet};
use callgate::authn::reloadable_authenticator::ReloadableAuthenticator;
use callgate::config::limits::Limits;
use callgate::service::clock::Clock;
use callgate::service::decisions::Service;
use callgate::service::settings::ServiceSettings;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;
use prost_types::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::scenarios::store::Moody;
use crate::scenarios::story::Scenario;
use crate::scenarios::world::{self, World};

/// When every story begins: 15 January 2027, 08:00:00 UTC.
const BEGINNING: u64 = 1_800_000_000;

/// A clock that is set by hand.
pub struct HandClock(Mutex<SystemTime>);

impl Clock for HandClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("a clock")
    }
}

/// Where a story plays.
pub struct Stage {
    pub world: World,
    pub authorization: Authorization,
    pub control: ControlApi,
    service: Arc<Service>,
    clock: Arc<HandClock>,
    store_fails: Arc<AtomicBool>,
    file: Option<PathBuf>,
    settings: ServiceSettings,
    _dir: TempDir,
}

impl Stage {
    pub fn build(scenario: &Scenario) -> Result<Self, String> {
        let mut settings = ServiceSettings {
            stale_wait: Duration::from_secs(5),
            ..ServiceSettings::default()
        };
        if let Some(sessions) = scenario.limits.sessions {
            settings.sessions = sessions;
        }
        if let Some(wait) = &scenario.limits.wait {
            settings.stale_wait = length(wait)?;
        }
        let world = world::of(scenario)?;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("callgate.db");
        let file = scenario.restarts().then_some(file);
        let beginning = SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING);
        let clock = Arc::new(HandClock(Mutex::new(beginning)));
        let store_fails = Arc::new(AtomicBool::new(false));
        let opened = open(&world, &settings, &clock, file.as_ref(), &store_fails);
        let (service, authorization, control) = opened;
        Ok(Self {
            world,
            authorization,
            control,
            service,
            clock,
            store_fails,
            file,
            settings,
            _dir: dir,
        })
    }

    /// Ends the service and starts another on what it has written.
    pub fn restart(&mut self, in_order: bool) {
        if in_order {
            self.service.close();
        } else {
            self.service.ledger().writer().close();
        }
        let (world, settings) = (&self.world, &self.settings);
        let file = self.file.as_ref();
        let opened = open(world, settings, &self.clock, file, &self.store_fails);
        (self.service, self.authorization, self.control) = opened;
    }

    pub fn set_store(&self, fails: bool) {
        self.store_fails.store(fails, Ordering::SeqCst);
    }

    pub fn pass(&self, time: Duration) {
        *self.clock.0.lock().expect("a clock") += time;
    }

    pub fn turn_back(&self, time: Duration) {
        *self.clock.0.lock().expect("a clock") -= time;
    }

    /// So long from now, as the service sees it.
    pub fn after(&self, time: &str) -> Result<Option<Timestamp>, String> {
        Ok(Some(Timestamp::from(self.service.now() + length(time)?)))
    }

    /// So long ago.
    pub fn before(&self, time: &str) -> Result<Option<Timestamp>, String> {
        Ok(Some(Timestamp::from(self.service.now() - length(time)?)))
    }

    pub fn revision(&self) -> u64 {
        self.service.live().map_or(0, |live| live.revision())
    }
}

fn open(
    world: &World,
    settings: &ServiceSettings,
    clock: &Arc<HandClock>,
    file: Option<&PathBuf>,
    store_fails: &Arc<AtomicBool>,
) -> (Arc<Service>, Authorization, ControlApi) {
    let sqlite = match file {
        Some(file) => SqliteStore::open(file),
        None => SqliteStore::in_memory(),
    };
    let store = Box::new(Moody {
        sqlite: sqlite.expect("a store"),
        fails: Arc::clone(store_fails),
    });
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let service = Service::open(settings.clone(), Recorder::default(), store, clock);
    let service = Arc::new(service.expect("a service"));
    service.publish(world.load.clone()).expect("a revision");
    // Clocks agree here: times in scenarios are to the millisecond.
    let limits = Limits {
        clock_skew_seconds: 0,
        ..Limits::default()
    };
    let limits = Arc::new(ArcSwap::from_pointee(limits));
    let stop = CancellationToken::new();
    let authorization = Authorization::new(Arc::clone(&service), Arc::clone(&limits), stop.clone());
    let control = ControlApi::new(Arc::clone(&service), limits, stop);
    (service, authorization, control)
}

/// `gateway` is what agents talk to, `reader` may only ask for decisions, and `newcomer` is not believed
/// yet. Each has a console, which may see what is behind an answer.
fn gateways() -> Vec<(Caller, CallerCredentials)> {
    let reading = RpcSet::from_iter(Rpc::AUTHORIZATION);
    let kinds = [
        ("gateway", RpcSet::all(), true),
        ("reader", reading, true),
        ("newcomer", RpcSet::all(), false),
    ];
    let both = kinds.into_iter().flat_map(|kind| {
        let console = format!("{}-console", kind.0);
        [(kind.0.to_owned(), kind, false), (console, kind, true)]
    });
    let entry = |(id, (_, rpcs, is_believed), explain): (String, (&str, RpcSet, bool), bool)| {
        let rights = Rights {
            rpcs,
            assert_identity: is_believed,
            assert_delegation: is_believed,
            assert_claims: is_believed,
            vouch_sessions: false,
            people_in_person: false,
            assert_properties: false,
            explain,
            require_delegation: false,
        };
        let credentials = CallerCredentials {
            tokens: vec![TokenDigest::from_token(id.as_bytes())],
            names: Vec::new(),
        };
        let id = id.into();
        let caller = Caller {
            id,
            rights,
            toolhive_agent: None,
            held: callgate::authn::capacity::CallerUsage::default(),
        };
        (caller, credentials)
    };
    both.map(entry).collect()
}

/// Knows the gateways.
static DOORKEEPER: LazyLock<Arc<ReloadableAuthenticator>> =
    LazyLock::new(|| Arc::new(ReloadableAuthenticator::new(Authenticator::new(gateways()))));

/// A request of a gateway.
pub fn from<T>(gateway: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {gateway}").parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    grpc_admission::admit_in_process(&DOORKEEPER, &mut request).expect("a gateway");
    request
}

/// Reads `90s`, `30m`, `2h`, `1day`.
pub fn length(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is no length of time: {error}"))
}
