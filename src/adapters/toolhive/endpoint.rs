//! The HTTP endpoint of ToolHive's decision point.

use std::sync::Arc;

use bytes::Bytes;
use callgate_engine::cedar::EntityType;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::adapters::decision_metadata;
use crate::adapters::input::json::KeyPolicy;
use crate::adapters::toolhive::parse::{self, CallRules, ToolhiveQuery};
use crate::adapters::transport::http::admission::{
    HttpAdapter, check_content_encoding, check_content_type, request_id,
};
use crate::adapters::transport::http::rejection::HttpRejection;
use crate::adapters::transport::http::reply::reply;
use crate::adapters::transport::request::ReceivedHead;
use crate::adapters::transport::trace::trace_context;
use crate::authn::caller::{Caller, Rpc};
use crate::config::http::ToolhiveConfig as Settings;
use crate::domain::decide::listing;
use crate::domain::request::trace_context::TraceContext;
use crate::service::deadline::Deadline;
use crate::service::request::RequestMeta;
use crate::telemetry::record::metrics::RejectionKind;

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "toolhive";

/// JSON levels around the arguments of a call: the request, its `context` and `context.mcp`.
const LEVELS_AROUND: u32 = 3;

/// The path. ToolHive is configured with all of it but the last segment.
const DECISION: &str = "/toolhive/decision";

/// ToolHive's decision point over the decision service.
pub struct Toolhive {
    adapter: HttpAdapter,
    /// `None` if the configured name is no entity type; then every request is denied.
    subject_type: Option<EntityType>,
    /// The agent for callers that have none configured.
    agent: Option<Arc<str>>,
    /// Whether absent arguments count as left out, rather than as empty.
    requires_arguments: bool,
    answers_lists: bool,
}

/// An admitted request, before its body is read.
pub struct ToolhiveRequest {
    caller: Arc<Caller>,
    trace: TraceContext,
    is_probe: bool,
    deadline: Deadline,
    request_id: Option<String>,
}

impl ToolhiveRequest {
    /// The authenticated caller.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Toolhive {
    /// Creates the adapter.
    pub fn new(adapter: HttpAdapter, settings: &Settings) -> Self {
        let subject_type = EntityType::from_normalized_str(&settings.subject_type).ok();
        Self {
            adapter,
            subject_type,
            agent: settings.agent.as_deref().map(Arc::from),
            requires_arguments: settings.require_arguments,
            answers_lists: settings.lists,
        }
    }

    /// Whether a path belongs to ToolHive.
    pub fn is_at(path: &str) -> bool {
        path == DECISION
    }

    /// Admits a request by its head.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the method is wrong, the caller cannot be authenticated or lacks the right, or
    /// a header is invalid.
    pub fn admit(&self, head: ReceivedHead<'_>) -> Result<ToolhiveRequest, HttpRejection> {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = head.parts;
        if method != Method::POST {
            return Err(HttpRejection::MethodNotAllowed { allowed: "POST" });
        }
        let caller = self.adapter.admit(head, Rpc::ToolhiveDecision)?;
        check_content_type(headers)?;
        check_content_encoding(headers)?;
        let is_probe = uri.query() == Some("probe=true");
        let trace = trace_context(headers);
        Ok(ToolhiveRequest {
            caller,
            trace,
            is_probe,
            deadline: head.deadline,
            request_id: request_id(headers).map(str::to_owned),
        })
    }

    /// Answers an admitted request.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the body is invalid or the service cannot answer.
    pub async fn answer(
        &self,
        admitted: &ToolhiveRequest,
        body: &[u8],
    ) -> Result<Response<Bytes>, HttpRejection> {
        let request = self
            .adapter
            .object(body, KeyPolicy::Protocol, LEVELS_AROUND)?;
        let limits = self.adapter.limits.load_full();
        let caller = &admitted.caller;
        let rules = CallRules {
            subject_type: self.subject_type.as_ref(),
            agent: caller.toolhive_agent.as_deref().or(self.agent.as_deref()),
            takes_claims: caller.rights.assert_claims,
            requires_arguments: self.requires_arguments,
        };
        let (call, is_named_alone) = match parse::call(&request, rules, &limits, &admitted.trace)? {
            ToolhiveQuery::Call(call) => (call, false),
            ToolhiveQuery::NamedAlone(call) => (call, true),
            ToolhiveQuery::Unknown => {
                self.adapter.service.recorder().rejection_of(
                    admitted.request_id.as_deref(),
                    ADAPTER,
                    RejectionKind::Malformed,
                    "`operation` is none that is known here",
                );
                return Ok(said(false, true));
            }
        };
        let ask = RequestMeta {
            caller: &admitted.caller,
            adapter: ADAPTER,
            at_least_revision: 0,
            is_dry_run: admitted.is_probe,
            deadline: admitted.deadline,
            request_id: admitted.request_id.as_deref(),
        };
        let service = &self.adapter.service;
        let listed = listing::as_listing(&call).filter(|_| is_named_alone && self.answers_lists);
        let (is_allow, is_enforced) = match listed {
            Some((listing, offered)) if service.requires_arguments(&call) => {
                let answer = service.filter(ask, &listing, &[offered]).await?;
                let is_shown = answer.value.iter().all(Option::is_none);
                (is_shown, answer.observed.is_none())
            }
            _ => {
                let answer = service.authorize(ask, &call).await?;
                (answer.value.is_allow(), answer.observed.is_none())
            }
        };
        Ok(said(is_allow, is_enforced))
    }
}

/// The body is fixed, so a header says what is not enforced.
fn said(is_allow: bool, is_enforced: bool) -> Response<Bytes> {
    let mut reply = reply(StatusCode::OK, &json!({"allow": is_allow}));
    if !is_enforced {
        let no = HeaderValue::from_static("false");
        reply.headers_mut().insert(decision_metadata::ENFORCED, no);
    }
    reply
}
