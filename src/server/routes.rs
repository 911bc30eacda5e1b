//! The services over gRPC, each behind what bounds it: the shield, or for strangers [`crate::server::public`].

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::adapters::envoy::ext_authz::{self, ExtAuthz};
use crate::adapters::envoy::ext_proc::{self, ExtProc};
use crate::adapters::ext_mcp::door::{ADAPTER as EXT_MCP, ExtMcp};
use crate::adapters::grpc::authorization::Authorization;
use crate::adapters::grpc::control::rpcs::ControlApi;
use crate::config::limits::Limits;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcpServer;
use crate::proto::envoy::auth::authorization_server::AuthorizationServer as CheckServer;
use crate::proto::envoy::processing::external_processor_server::ExternalProcessorServer;
use crate::proto::v1;
use crate::proto::v1::authorization_server::AuthorizationServer;
use crate::proto::v1::control_server::ControlServer;
use crate::server::health::Health;
use crate::server::public::{Calls, MESSAGE_BYTES};
use crate::server::shield::{Shield, over_grpc};
use crate::server::{ServeError, Setup};
use crate::service::load::Load;

/// Every service over gRPC.
pub(super) fn routes(
    setup: &Setup,
    health: &Health,
    limits: &Limits,
    load: &Arc<Load>,
    draining: CancellationToken,
) -> Result<Routes, ServeError> {
    let most = limits.message_bytes as usize;
    let service = || Arc::clone(&setup.service);
    let in_force = || Arc::clone(&setup.limits);
    let authorization = Authorization::new(service(), in_force(), draining.clone());
    let authorization = AuthorizationServer::new(authorization).max_decoding_message_size(most);
    let control = ControlApi::new(service(), in_force(), draining.clone());
    let control = control.carrying(Arc::clone(load));
    let control = ControlServer::new(control).max_decoding_message_size(most);
    let check = ExtAuthz::new(service(), in_force(), Arc::clone(&setup.envoy));
    let check = CheckServer::new(check).max_decoding_message_size(most);
    let process = ExtProc::new(service(), in_force(), Arc::clone(&setup.envoy), draining);
    let process = ExternalProcessorServer::new(process).max_decoding_message_size(most);
    let ext_mcp = ExtMcp::new(service(), in_force(), Arc::clone(&setup.ext_mcp));
    let ext_mcp = ExtMcpServer::new(ext_mcp).max_decoding_message_size(most);
    let public = Calls::new(Arc::clone(&setup.doorkeeper), in_force(), Arc::clone(load));
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
    let shielded = Shielding { setup, load };
    let mut routes = Routes::builder();
    routes
        .add_service(shielded.service(authorization))
        .add_service(shielded.service(control))
        .add_service(shielded.service(check).of_door(ext_authz::ADAPTER))
        .add_service(shielded.service(process).of_door(ext_proc::ADAPTER))
        .add_service(shielded.service(ext_mcp).of_door(EXT_MCP))
        .add_service(public.of(health.service()))
        .add_service(public.of(v1))
        .add_service(public.of(v1alpha));
    Ok(routes.routes())
}

/// What every shielded service shares.
struct Shielding<'a> {
    setup: &'a Setup,
    load: &'a Arc<Load>,
}

impl Shielding<'_> {
    fn service<S>(&self, inner: S) -> Shield<S> {
        let Setup {
            doorkeeper, limits, ..
        } = self.setup;
        let admit = over_grpc(Arc::clone(doorkeeper));
        Shield::new(inner, admit, Arc::clone(limits), Arc::clone(self.load))
            .recording(self.setup.service.recorder().clone())
    }
}
