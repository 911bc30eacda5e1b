//! The gRPC services, each behind its limits: load shedding, or for public services [`crate::server::public_services`].
//!
//! Start at [`GrpcRoutes`], which finds the service of a request by its path.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::adapters::agentgateway::rpcs::{ADAPTER as EXT_MCP, ExtMcp};
use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::adapters::callgate_v1::rpcs::Authorization;
use crate::adapters::envoy::ext_authz::{self, ExtAuthz};
use crate::adapters::envoy::ext_proc::{self, ExtProc};
use crate::adapters::transport::grpc_admission::Admitted;
use crate::adapters::transport::grpc_generated::{Answer, Generated};
use crate::adapters::transport::grpc_unary::DirectUnary;
use crate::adapters::transport::request::ReceivedRequest;
use crate::adapters::transport::response_body::ResponseBody;
use crate::config::limits::Limits;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::{self, ExtMcpServer};
use crate::proto::envoy::auth_served::authorization_server::{
    self as authorization_check, AuthorizationServer as CheckServer,
};
use crate::proto::envoy::processing::external_processor_server::{self, ExternalProcessorServer};
use crate::proto::served::authorization_server::{self, AuthorizationServer};
use crate::proto::v1;
use crate::proto::v1::control_server::{self, ControlServer};
use crate::server::health::Health;
use crate::server::limited_body::ReceivedBody;
use crate::server::load_shed::{LoadShed, LoadShedFuture, grpc_admitter};
use crate::server::parts::{ServeError, ServerParts};
use crate::server::public_services::{MESSAGE_BYTES, PublicCalls};
use crate::service::server_load::ServerLoad;

/// All gRPC services.
pub(super) fn routes(
    parts: &ServerParts,
    health: &Health,
    limits: &Limits,
    load: &Arc<ServerLoad>,
    draining: CancellationToken,
    control: ControlApi,
) -> Result<GrpcRoutes, ServeError> {
    let max_bytes = limits.message_bytes as usize;
    let service = || Arc::clone(&parts.service);
    let limits_in_force = || Arc::clone(&parts.limits);
    let authorization = Authorization::new(service(), limits_in_force(), draining.clone());
    let generated =
        AuthorizationServer::new(authorization.clone()).max_decoding_message_size(max_bytes);
    let authorization = DirectUnary::new(authorization, generated, max_bytes);
    let control = ControlServer::new(control).max_decoding_message_size(max_bytes);
    let check = ExtAuthz::new(service(), limits_in_force(), Arc::clone(&parts.envoy));
    let generated = CheckServer::new(check.clone()).max_decoding_message_size(max_bytes);
    let check = DirectUnary::new(check, generated, max_bytes);
    let process = ExtProc::new(
        service(),
        limits_in_force(),
        Arc::clone(&parts.envoy),
        draining,
    );
    let process = ExternalProcessorServer::new(process).max_decoding_message_size(max_bytes);
    let ext_mcp = ExtMcp::new(service(), limits_in_force(), Arc::clone(&parts.ext_mcp));
    let generated = ExtMcpServer::new(ext_mcp.clone()).max_decoding_message_size(max_bytes);
    let ext_mcp = DirectUnary::new(ext_mcp, generated, max_bytes);
    let public = PublicCalls::new(
        Arc::clone(&parts.authenticator),
        limits_in_force(),
        Arc::clone(load),
    );
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection()
        .build_v1()?
        .max_decoding_message_size(MESSAGE_BYTES);
    let v1alpha = reflection()
        .build_v1alpha()?
        .max_decoding_message_size(MESSAGE_BYTES);
    let load_shed = LoadShedLayer {
        parts,
        load,
        message_bytes: limits.message_bytes,
    };
    let mut public_routes = Routes::builder();
    public_routes
        .add_service(public.wrap(health.service()))
        .add_service(public.wrap(v1))
        .add_service(public.wrap(v1alpha));
    Ok(GrpcRoutes {
        authorization: load_shed.service(authorization),
        control: load_shed.service(Generated(control)),
        check: load_shed.service(check).for_adapter(ext_authz::ADAPTER),
        process: load_shed
            .service(Generated(process))
            .for_adapter(ext_proc::ADAPTER),
        ext_mcp: load_shed.service(ext_mcp).for_adapter(EXT_MCP),
        public: public_routes.routes().prepare(),
    })
}

/// All gRPC services.
#[derive(Clone)]
pub(super) struct GrpcRoutes {
    authorization: Admitting<DirectUnary<Authorization, AuthorizationServer<Authorization>>>,
    control: Admitting<Generated<ControlServer<ControlApi>>>,
    check: Admitting<DirectUnary<ExtAuthz, CheckServer<ExtAuthz>>>,
    process: Admitting<Generated<ExternalProcessorServer<ExtProc>>>,
    ext_mcp: Admitting<DirectUnary<ExtMcp, ExtMcpServer<ExtMcp>>>,
    /// Those that need no authentication, and the answer to what no service is named like.
    public: Routes,
}

/// A service that answers callers.
type Admitting<S> = LoadShed<S, Admitted>;

/// The answer of one of them.
pub(super) enum GrpcResponse {
    Admitted(LoadShedFuture<Answer>),
    Public(<Routes as Service<http::Request<Body>>>::Future),
}

impl<B: ReceivedBody> Service<ReceivedRequest<B>> for GrpcRoutes {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = GrpcResponse;

    /// Always: what there is too much of is refused, and waits for nothing.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, received: ReceivedRequest<B>) -> GrpcResponse {
        let path = received.request.uri().path();
        let path = path.strip_prefix('/').unwrap_or_default();
        let name = path.split_once('/').map_or("", |(name, _)| name);
        GrpcResponse::Admitted(match name {
            authorization_server::SERVICE_NAME => self.authorization.call(received),
            authorization_check::SERVICE_NAME => self.check.call(received),
            ext_mcp_server::SERVICE_NAME => self.ext_mcp.call(received),
            external_processor_server::SERVICE_NAME => self.process.call(received),
            control_server::SERVICE_NAME => self.control.call(received),
            _ => {
                let mut request = received.request.map(Body::new);
                // Between the routes and the services lies what knows nothing of peers.
                request.extensions_mut().insert(received.peer);
                return GrpcResponse::Public(self.public.call(request));
            }
        })
    }
}

impl Future for GrpcResponse {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Admitted(answer) => Pin::new(answer).poll(context),
            Self::Public(answer) => {
                let response = ready!(Pin::new(answer).poll(context))?;
                Poll::Ready(Ok(response.map(ResponseBody::from)))
            }
        }
    }
}

/// Adds load shedding to services.
struct LoadShedLayer<'a> {
    parts: &'a ServerParts,
    load: &'a Arc<ServerLoad>,
    message_bytes: u32,
}

impl LoadShedLayer<'_> {
    fn service<S>(&self, inner: S) -> Admitting<S> {
        let ServerParts {
            authenticator,
            limits,
            ..
        } = self.parts;
        let fleet = self.parts.service.fleet();
        let admit = grpc_admitter(Arc::clone(authenticator), self.message_bytes);
        LoadShed::new(inner, admit, Arc::clone(limits), Arc::clone(self.load))
            .with_recorder(self.parts.service.recorder().clone())
            .in_fleet(fleet.map(|fleet| Arc::clone(fleet.state())))
    }
}
