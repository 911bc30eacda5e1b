//! The status that `grpc.health.v1` reports.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb;
use tonic_health::pb::health_server::{Health as HealthRpcs, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};

use crate::adapters::agentgateway::rpcs::ExtMcp;
use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::adapters::callgate_v1::rpcs::Authorization;
use crate::adapters::envoy::ext_authz::ExtAuthz;
use crate::adapters::envoy::ext_proc::ExtProc;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcpServer;
use crate::proto::envoy::auth_served::authorization_server::AuthorizationServer as CheckServer;
use crate::proto::envoy::processing::external_processor_server::ExternalProcessorServer;
use crate::proto::served::authorization_server::AuthorizationServer;
use crate::proto::v1::control_server::ControlServer;
use crate::server::public_services::MESSAGE_BYTES;
use crate::service::Service;
use crate::service::fleet::Fleet;

/// How often it is looked whether a replica is confirmed.
const LOOK: Duration = Duration::from_millis(200);

/// The status of the server as a whole (the empty name), of each service, and of the bundle and the store.
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    const NAMES: [&'static str; 6] = [
        "",
        AuthorizationServer::<Authorization>::NAME,
        ControlServer::<ControlApi>::NAME,
        CheckServer::<ExtAuthz>::NAME,
        ExternalProcessorServer::<ExtProc>::NAME,
        ExtMcpServer::<ExtMcp>::NAME,
    ];
    /// NOT_SERVING while the bundle on disk has faults and an older generation is in service. That is for operators; it
    /// does not affect the status of the server.
    const BUNDLE: &'static str = "callgate.bundle";
    /// NOT_SERVING while the store does not write, or its file was replaced so that a restart would read another one.
    const STORE: &'static str = "callgate.store";

    pub(super) async fn new() -> Self {
        let this = Self {
            reporter: HealthReporter::new(),
        };
        this.set(ServingStatus::NotServing).await;
        this.set_part(Self::BUNDLE, false).await;
        this.set_part(Self::STORE, true).await;
        this
    }

    pub(super) fn service(&self) -> HealthServer<PatientHealth> {
        let service = HealthService::from_health_reporter(self.reporter.clone());
        HealthServer::new(PatientHealth(service)).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) async fn set(&self, status: ServingStatus) {
        for name in Self::NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    async fn set_part(&self, part: &'static str, is_good: bool) {
        let status = match is_good {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.reporter.set_service_status(part, status).await;
    }

    /// Sets SERVING once a generation is in service, and follows the state of bundle and store. A replica that is not
    /// confirmed denies everything, so it is NOT_SERVING: others may decide.
    pub(super) async fn follow(
        &self,
        service: &Service,
        mut bundle_is_good: watch::Receiver<bool>,
    ) -> std::convert::Infallible {
        service.ready().await;
        let fleet = service.fleet().map(Fleet::state);
        let mut decides = None;
        let mut store = service.ledger().writer().health();
        // Who tells of the bundle or of the store ends only by a defect: then it is not good, and the rest is followed.
        let (mut loads, mut writes) = (true, true);
        loop {
            let now = fleet.is_none_or(|state| state.is_valid());
            if decides.replace(now) != Some(now) {
                self.set(match now {
                    true => ServingStatus::Serving,
                    false => ServingStatus::NotServing,
                })
                .await;
            }
            let is_good = *bundle_is_good.borrow_and_update();
            self.set_part(Self::BUNDLE, is_good && loads).await;
            let is_good = store.borrow_and_update().is_none();
            self.set_part(Self::STORE, is_good && writes).await;
            tokio::select! {
                told = bundle_is_good.changed(), if loads => loads = told.is_ok(),
                told = store.changed(), if writes => writes = told.is_ok(),
                () = tokio::time::sleep(LOOK), if fleet.is_some() => {}
                else => std::future::pending().await,
            }
        }
    }

    /// Ends the streams of watchers, after the last status was sent.
    pub(super) async fn end_watches(&mut self) {
        for name in Self::NAMES.into_iter().chain([Self::BUNDLE, Self::STORE]) {
            self.reporter.clear_service_status(name).await;
        }
    }
}

/// The statuses of a watch.
type Statuses = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

/// The health service. Whoever watches a name that nothing here has is told SERVICE_UNKNOWN, and the watch goes on, as the
/// protocol of health wants it.
pub(super) struct PatientHealth(HealthService);

#[tonic::async_trait]
impl HealthRpcs for PatientHealth {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    type WatchStream = Statuses;

    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<Statuses>, Status> {
        match self.0.watch(request).await {
            Ok(watched) => Ok(watched.map(|statuses| Box::pin(statuses) as Statuses)),
            Err(status) if status.code() == Code::NotFound => {
                let status = pb::health_check_response::ServingStatus::ServiceUnknown.into();
                let unknown = tokio_stream::once(Ok(pb::HealthCheckResponse { status }));
                // It ends when the watches of the server as a whole do.
                let whole = Request::new(pb::HealthCheckRequest::default());
                let whole = self.0.watch(whole).await?.into_inner();
                let statuses = unknown.chain(whole.filter(|_| false));
                Ok(Response::new(Box::pin(statuses)))
            }
            Err(status) => Err(status),
        }
    }
}
