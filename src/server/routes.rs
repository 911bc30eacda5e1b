//! The gRPC services, each behind its limits: load shedding, or for public services [`crate::server::public_services`].

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::adapters::agentgateway::rpcs::{ADAPTER as EXT_MCP, ExtMcp};
use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::adapters::callgate_v1::rpcs::Authorization;
use crate::adapters::envoy::ext_authz::{self, ExtAuthz};
use crate::adapters::envoy::ext_proc::{self, ExtProc};
use crate::config::limits::Limits;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcpServer;
use crate::proto::envoy::auth::authorization_server::AuthorizationServer as CheckServer;
use crate::proto::envoy::processing::external_processor_server::ExternalProcessorServer;
use crate::proto::v1;
use crate::proto::v1::authorization_server::AuthorizationServer;
use crate::proto::v1::control_server::ControlServer;
use crate::server::health::Health;
use crate::server::load_shed::{LoadShed, grpc_admitter};
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
) -> Result<Routes, ServeError> {
    let max_bytes = limits.message_bytes as usize;
    let service = || Arc::clone(&parts.service);
    let limits_in_force = || Arc::clone(&parts.limits);
    let authorization = Authorization::new(service(), limits_in_force(), draining.clone());
    let authorization =
        AuthorizationServer::new(authorization).max_decoding_message_size(max_bytes);
    let control = ControlServer::new(control).max_decoding_message_size(max_bytes);
    let check = ExtAuthz::new(service(), limits_in_force(), Arc::clone(&parts.envoy));
    let check = CheckServer::new(check).max_decoding_message_size(max_bytes);
    let process = ExtProc::new(
        service(),
        limits_in_force(),
        Arc::clone(&parts.envoy),
        draining,
    );
    let process = ExternalProcessorServer::new(process).max_decoding_message_size(max_bytes);
    let ext_mcp = ExtMcp::new(service(), limits_in_force(), Arc::clone(&parts.ext_mcp));
    let ext_mcp = ExtMcpServer::new(ext_mcp).max_decoding_message_size(max_bytes);
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
    let load_shed = LoadShedLayer { parts, load };
    let mut routes = Routes::builder();
    routes
        .add_service(load_shed.service(authorization))
        .add_service(load_shed.service(control))
        .add_service(load_shed.service(check).for_adapter(ext_authz::ADAPTER))
        .add_service(load_shed.service(process).for_adapter(ext_proc::ADAPTER))
        .add_service(load_shed.service(ext_mcp).for_adapter(EXT_MCP))
        .add_service(public.wrap(health.service()))
        .add_service(public.wrap(v1))
        .add_service(public.wrap(v1alpha));
    Ok(routes.routes())
}

/// Adds load shedding to services.
struct LoadShedLayer<'a> {
    parts: &'a ServerParts,
    load: &'a Arc<ServerLoad>,
}

impl LoadShedLayer<'_> {
    fn service<S>(&self, inner: S) -> LoadShed<S> {
        let ServerParts {
            authenticator,
            limits,
            ..
        } = self.parts;
        let fleet = self.parts.service.fleet();
        let admit = grpc_admitter(Arc::clone(authenticator));
        LoadShed::new(inner, admit, Arc::clone(limits), Arc::clone(self.load))
            .with_recorder(self.parts.service.recorder().clone())
            .in_fleet(fleet.map(|fleet| Arc::clone(fleet.state())))
    }
}
