//! What both Envoy filters share: how a request is decided.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::adapters::envoy::check::{self, CheckResult};
use crate::adapters::envoy::reader::{AuthorizationQuery, RequestReader};
use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::config::envoy::EnvoyConfig;
use crate::config::limits::Limits;
use crate::domain::request::trace_context::TraceContext;
use crate::service::Service;
use crate::service::request::RequestMeta;

/// The state of an Envoy adapter. Cloning is cheap.
#[derive(Clone)]
pub(super) struct EnvoyAdapter {
    pub(super) service: Arc<Service>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) settings: Arc<ArcSwap<EnvoyConfig>>,
}

impl EnvoyAdapter {
    pub(super) fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<EnvoyConfig>>,
    ) -> Self {
        Self {
            service,
            limits,
            settings,
        }
    }

    /// Decides a request. `sees_servers` says whether the adapter filters responses too, and `transport_trace` is the trace
    /// of Envoy's RPC. The parsed query comes back unless the request was rejected before a decision.
    pub(super) async fn verdict(
        &self,
        ask: RequestMeta<'_>,
        transport_trace: &TraceContext,
        sees_servers: bool,
        http: &mut HttpRequest,
    ) -> Result<(CheckResult, Option<AuthorizationQuery>), GrpcRejection> {
        let limits = self.limits.load_full();
        let settings = self.settings.load_full();
        let reading = RequestReader {
            caller: ask.caller,
            limits: &limits,
            settings: &settings,
            transport_trace,
            sees_servers,
        };
        let question = match reading.question(http) {
            Ok(question) => question,
            Err(stopped) => {
                let rejection = &stopped.rejection;
                let recorder = self.service.recorder();
                recorder.rejection(ask.adapter, rejection.kind(), &rejection.logged());
                return Ok((stopped.into(), None));
            }
        };
        let verdict = check::check(&self.service, ask, &question, settings.denied_status).await?;
        Ok((verdict, Some(question)))
    }
}
