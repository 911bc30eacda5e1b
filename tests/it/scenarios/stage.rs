//! The real service and both front doors, in this process.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use callgate::adapters::callgate_v1::control::rpcs::ControlApi;
use callgate::adapters::callgate_v1::rpcs::Authorization;
use callgate::adapters::transport::grpc_admission;
use callgate::authn::authenticate::{Authenticator, CallerCredentials, TokenDigest};
use callgate::authn::caller::{Caller, Rights, Rpc, RpcSet};
use callgate::authn::reloadable_authenticator::ReloadableAuthenticator;
use callgate::config::limits::Limits;
use callgate::service::Service;
use callgate::service::clock::Clock;
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::{Store, StoreError};
use callgate::store::postgres::PostgresStore;
use callgate::store::postgres::membership::ReplicaName;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;
use prost_types::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::scenarios::story::Scenario;
use crate::scenarios::world::{self, World};
use crate::support::clock::HandClock;
use crate::support::postgres::Cluster;
use crate::support::watched_store::WatchedStore;

/// Where a story plays.
pub struct Stage {
    pub world: World,
    /// Each is asked in its turn, which a dice decides.
    doors: Vec<Door>,
    dice: AtomicU64,
    clock: Arc<HandClock>,
    store_fails: Arc<AtomicBool>,
    place: Place,
    settings: ServiceSettings,
    _dir: TempDir,
}

/// One server.
struct Door {
    service: Arc<Service>,
    authorization: Authorization,
    control: ControlApi,
}

/// Where the store is.
enum Place {
    Memory,
    File(PathBuf),
    /// A database that three servers share.
    Shared(String),
}

thread_local! {
    /// A server for the stories of this thread to play on, and what the dice begins with.
    static CLUSTER: Cell<Option<(&'static Cluster, u64)>> = const { Cell::new(None) };
}

/// From now on the stories of this thread play on three servers that share a database, and each call goes to one that
/// a dice chooses.
pub fn play_on(cluster: &'static Cluster, seed: u64) {
    CLUSTER.set(Some((cluster, seed)));
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
        let (place, seed) = match (CLUSTER.get(), scenario.restarts()) {
            (Some((cluster, seed)), _) => {
                static NAMES: AtomicU64 = AtomicU64::new(0);
                let number = NAMES.fetch_add(1, Ordering::Relaxed);
                let name = format!("story_{}_{number}", std::process::id());
                cluster.create(&name);
                (Place::Shared(cluster.url(&name)), seed + number)
            }
            (None, true) => (Place::File(dir.path().join("callgate.db")), 0),
            (None, false) => (Place::Memory, 0),
        };
        let clock = Arc::new(HandClock::new());
        let mut stage = Self {
            world,
            doors: Vec::new(),
            dice: AtomicU64::new(seed),
            clock,
            store_fails: Arc::new(AtomicBool::new(false)),
            place,
            settings,
            _dir: dir,
        };
        stage.open();
        Ok(stage)
    }

    fn open(&mut self) {
        let count = match &self.place {
            Place::Shared(_) => 3,
            _ => 1,
        };
        for number in 0..count {
            self.doors.push(self.door(number));
        }
    }

    fn door(&self, number: usize) -> Door {
        let mut member = None;
        let store: Box<dyn Store> = match &self.place {
            Place::Memory => Box::new(SqliteStore::in_memory().expect("a store")),
            Place::File(file) => Box::new(SqliteStore::open(file).expect("a store")),
            Place::Shared(url) => {
                let store = PostgresStore::open(url, Path::new("."), None);
                let mut store = store.expect("a store");
                let name = ReplicaName {
                    name: format!("replica {number}"),
                    version: "1".to_owned(),
                    max_staleness: Duration::from_secs(4),
                };
                member = Some((store.join(&name).expect("a place"), name));
                Box::new(store)
            }
        };
        let fails = Arc::clone(&self.store_fails);
        let store = WatchedStore::new(store, move |_| match fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Write("the disk is full".to_owned())),
            false => Ok(()),
        });
        let store = Box::new(store);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let (settings, recorder) = (self.settings.clone(), Recorder::default());
        let service = match member {
            None => Service::open(settings, recorder, store, clock),
            Some(member) => Service::open_shared(settings, recorder, store, clock, member),
        };
        let service = Arc::new(service.expect("a service"));
        service
            .publish(self.world.load.clone())
            .expect("a revision");
        // Clocks agree here: times in scenarios are to the millisecond.
        let limits = Limits {
            clock_skew_seconds: 0,
            ..Limits::default()
        };
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let stop = CancellationToken::new();
        let authorization =
            Authorization::new(Arc::clone(&service), Arc::clone(&limits), stop.clone());
        let control = ControlApi::new(Arc::clone(&service), limits, stop);
        Door {
            service,
            authorization,
            control,
        }
    }

    /// One of the servers.
    fn any(&self) -> &Door {
        let thrown = self
            .dice
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (thrown ^ (thrown >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
        &self.doors[mixed as usize % self.doors.len()]
    }

    pub fn authorization(&self) -> &Authorization {
        &self.any().authorization
    }

    pub fn control(&self) -> &ControlApi {
        &self.any().control
    }

    /// Waits until what was given is known everywhere, as `at_least_revision` would, and what was counted, which takes
    /// two seconds at most. For all else nobody waits.
    pub async fn catch_up(&self) {
        if self.doors.len() == 1 {
            return;
        }
        let newest = self.doors.iter().map(|door| door.service.live());
        let newest = newest.flatten().map(|live| live.revision()).max();
        for door in &self.doors {
            let mut revisions = door.service.ledger().revisions();
            let _ = revisions.wait_for(|it| Some(*it) >= newest).await;
            door.service.flush();
            // What is written in the background comes between these.
            for _ in 0..2 {
                let (done, written) = tokio::sync::oneshot::channel();
                let access = door.service.ledger().writer().access(move |_| {
                    let _ = done.send(());
                });
                access.expect("a place in the queue");
                let _ = written.await;
            }
        }
        for door in &self.doors {
            let state = door.service.fleet().expect("a fleet").state();
            let _ = state.refreshed(Duration::from_secs(10)).await;
        }
    }

    /// Ends the service and starts another on what it has written.
    pub fn restart(&mut self, in_order: bool) {
        for door in self.doors.drain(..) {
            if in_order {
                door.service.close();
            } else {
                door.service.ledger().writer().close();
            }
        }
        self.open();
    }

    pub fn set_store(&self, fails: bool) {
        self.store_fails.store(fails, Ordering::SeqCst);
    }

    pub fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    pub fn turn_back(&self, time: Duration) {
        self.clock.turn_back(time);
    }

    /// So long from now, as the service sees it.
    pub fn after(&self, time: &str) -> Result<Option<Timestamp>, String> {
        Ok(Some(Timestamp::from(
            self.any().service.now() + length(time)?,
        )))
    }

    /// So long ago.
    pub fn before(&self, time: &str) -> Result<Option<Timestamp>, String> {
        Ok(Some(Timestamp::from(
            self.any().service.now() - length(time)?,
        )))
    }

    pub fn revision(&self) -> u64 {
        let live = self.doors.iter().filter_map(|door| door.service.live());
        live.map(|live| live.revision()).max().unwrap_or_default()
    }
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
