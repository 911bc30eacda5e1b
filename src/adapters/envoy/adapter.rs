//! What both filters' doors are made of: how they decide about a request.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::adapters::envoy::check::{self, CheckResult};
use crate::adapters::envoy::reader::{AuthorizationQuery, RequestReader};
use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::Caller;
use crate::config::envoy::EnvoyConfig;
use crate::config::limits::Limits;
use crate::service::deadline::Deadline;
use crate::service::decisions::Service;
use crate::service::request::RequestMeta;

/// A door over a service. Cloning is cheap.
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

    /// Decides about a request. `sees_servers` says whether this door judges what servers send, too. The
    /// question comes back with the verdict, as far as there is one.
    pub(super) async fn verdict(
        &self,
        ask: RequestMeta<'_>,
        sees_servers: bool,
        http: &HttpRequest,
    ) -> Result<(CheckResult, Option<AuthorizationQuery>), GrpcRejection> {
        let limits = self.limits.load_full();
        let settings = self.settings.load_full();
        let reading = RequestReader {
            caller: ask.caller,
            limits: &limits,
            settings: &settings,
            sees_servers,
        };
        let question = match reading.question(http) {
            Ok(question) => question,
            Err(stopped) => {
                let refused = &stopped.refused;
                let recorder = self.service.recorder();
                recorder.refusal(ask.adapter, refused.kind(), &refused.logged());
                return Ok((stopped.into(), None));
            }
        };
        let verdict = check::of(&self.service, ask, &question, settings.denied_status).await?;
        Ok((verdict, Some(question)))
    }
}

/// A question of this caller through this door.
pub(super) fn asking<'a>(
    caller: &'a Caller,
    adapter: &'static str,
    deadline: Deadline,
) -> RequestMeta<'a> {
    RequestMeta {
        caller,
        adapter,
        at_least_revision: 0,
        is_dry_run: false,
        deadline,
        request_id: None,
    }
}
