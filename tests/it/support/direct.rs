//! The service and its write side without a network: what an adapter asks, a test asks here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use callgate::authn::caller::Caller;
use callgate::config::limits::Limits;
use callgate::control::requester::WriteRequester;
use callgate::control::write::Control;
use callgate::domain::decide::verdict::Verdict;
use callgate::domain::request::call_context::{CallContext, Subject};
use callgate::service::Service;
use callgate::service::clock::Clock;
use callgate::service::deadline::Deadline;
use callgate::service::generation::LoadedBundle;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::Store;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;
use callgate_engine::cedar::EntityUID;

use super::clock::HandClock;

/// A service that is asked directly, with a clock that is set by hand.
pub struct Direct {
    /// Who decides.
    pub service: Arc<Service>,
    /// Who writes.
    pub control: Arc<Control>,
    /// Who asks.
    pub caller: Arc<Caller>,
    clock: Arc<HandClock>,
}

impl Direct {
    /// A service with this bundle, over a store in memory.
    pub fn in_memory(load: LoadedBundle) -> Self {
        Self::over(load, Box::new(SqliteStore::in_memory().expect("a store")))
    }

    /// The same over a store of the test's own.
    pub fn over(load: LoadedBundle, store: Box<dyn Store>) -> Self {
        Self::with(load, store, ServiceSettings::default(), Recorder::default())
    }

    /// The same with settings and a recorder.
    pub fn with(
        load: LoadedBundle,
        store: Box<dyn Store>,
        settings: ServiceSettings,
        recorder: Recorder,
    ) -> Self {
        let clock = Arc::new(HandClock::new());
        let service = Service::open(settings, recorder, store, clock.clone());
        let service = Arc::new(service.expect("a service"));
        service.publish(load).expect("a revision");
        let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
        Self {
            control: Arc::new(Control::new(Arc::clone(&service), limits)),
            service,
            caller: Arc::new(Caller::local()),
            clock,
        }
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Sets the clock on.
    pub fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    /// Sets the clock back.
    pub fn turn_back(&self, time: Duration) {
        self.clock.turn_back(time);
    }

    /// Who asks for a write.
    pub fn author(&self, actor: &EntityUID) -> WriteRequester {
        WriteRequester {
            caller: Arc::clone(&self.caller),
            adapter: "test",
            actor: Subject::verified(actor.clone(), "jwt"),
            key: None,
            trace: Default::default(),
        }
    }

    /// What a request says of itself.
    pub fn ask(&self) -> RequestMeta<'_> {
        RequestMeta {
            caller: &self.caller,
            adapter: "test",
            at_least_revision: 0,
            is_dry_run: false,
            deadline: Deadline::NONE,
            request_id: None,
        }
    }

    /// Decides a call.
    pub async fn decide(&self, call: &CallContext) -> Verdict {
        let answer = self.service.authorize(self.ask(), call).await;
        *answer.expect("a decision").value
    }
}
