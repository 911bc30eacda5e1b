//! What both filters' doors are made of: how they decide about a request.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::adapters::envoy::reading::{Question, Reading};
use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::envoy::verdict::{self, Verdict};
use crate::adapters::grpc::refusal::Refusal;
use crate::config::envoy::Envoy;
use crate::config::limits::Limits;
use crate::identity::caller::Caller;
use crate::service::deadline::Deadline;
use crate::service::decisions::{Ask, Service};

/// A door over a service. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) service: Arc<Service>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) settings: Arc<ArcSwap<Envoy>>,
}

impl Door {
    pub(super) fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<Envoy>>,
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
        ask: Ask<'_>,
        sees_servers: bool,
        http: &HttpRequest,
    ) -> Result<(Verdict, Option<Question>), Refusal> {
        let limits = self.limits.load_full();
        let settings = self.settings.load_full();
        let reading = Reading {
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
        let verdict = verdict::of(&self.service, ask, &question, settings.denied_status).await?;
        Ok((verdict, Some(question)))
    }
}

/// A question of this caller through this door.
pub(super) fn asking<'a>(caller: &'a Caller, adapter: &'static str, deadline: Deadline) -> Ask<'a> {
    Ask {
        caller,
        adapter,
        at_least_revision: 0,
        is_dry_run: false,
        deadline,
        request_id: None,
    }
}
