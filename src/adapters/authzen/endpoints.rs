//! The HTTP endpoints of AuthZEN.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value as Json, json};
use url::Url;

use crate::adapters::authzen::coaz::CoazReader;
use crate::adapters::authzen::encode;
use crate::adapters::authzen::parse::{self, EvaluationParser, TypeAliases};
use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::KeyPolicy;
use crate::adapters::input::json_fields::optional_object;
use crate::adapters::input::limits::check_count;
use crate::adapters::transport::http::admission::{
    HttpAdapter, check_content_encoding, check_content_type, host, is_loopback, request_id,
};
use crate::adapters::transport::http::rejection::HttpRejection;
use crate::adapters::transport::http::reply::reply;
use crate::adapters::transport::request::ReceivedHead;
use crate::adapters::transport::trace::trace_context;
use crate::authn::caller::{Caller, Rpc};
use crate::config::http::AuthzenConfig as Settings;
use crate::config::limits::Limits;
use crate::domain::decide::verdict::Decision;
use crate::domain::request::trace_context::TraceContext;
use crate::service::batch::BatchItem;
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::generation::Generation;
use crate::service::request::RequestMeta;
use crate::telemetry::record::metrics::RejectionKind;
use callgate_engine::obligation;

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "authzen";

/// JSON levels around the part that `limits.json_depth` bounds: the request, `evaluations`, one of its items,
/// a party in it, and its `properties`. What is less deep in a request is checked by itself.
const LEVELS_AROUND: u32 = 5;

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SEARCH_SUBJECT: &str = "/access/v1/search/subject";
const SEARCH_RESOURCE: &str = "/access/v1/search/resource";
const SEARCH_ACTION: &str = "/access/v1/search/action";
/// How long a client may cache the discovery document, which changes only with a restart.
const FRESH_FOR: &str = "max-age=3600";

const DISCOVERY: &str = "/.well-known/authzen-configuration";

/// AuthZEN over the decision service.
pub struct Authzen {
    pub(super) adapter: HttpAdapter,
    settings: Settings,
    /// Entity types under the names that the configuration gives them.
    named_types: TypeAliases,
    /// The path of the discovery document beside [`DISCOVERY`], if the configured URL has a path.
    discovery: Option<String>,
}

/// The endpoint that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Evaluation,
    Evaluations,
    SearchSubject,
    SearchResource,
    SearchAction,
    Discovery,
}

/// An admitted request, before its body is read.
pub struct AuthzenRequest {
    pub(super) endpoint: Endpoint,
    pub(super) caller: Arc<Caller>,
    pub(super) trace: TraceContext,
    deadline: Deadline,
    request_id: Option<String>,
}

impl AuthzenRequest {
    /// The authenticated caller.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

/// The result of admitting a request by its head.
pub enum Head {
    /// The body is needed to answer it.
    Asks(AuthzenRequest),
    /// It is answered without a body.
    Answered(Response<Bytes>),
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            EVALUATION => Self::Evaluation,
            EVALUATIONS => Self::Evaluations,
            SEARCH_SUBJECT => Self::SearchSubject,
            SEARCH_RESOURCE => Self::SearchResource,
            SEARCH_ACTION => Self::SearchAction,
            DISCOVERY => Self::Discovery,
            _ => return None,
        })
    }

    fn right(self) -> Rpc {
        match self {
            Self::Evaluation | Self::Evaluations | Self::Discovery => Rpc::AuthzenEvaluation,
            Self::SearchSubject | Self::SearchResource | Self::SearchAction => Rpc::AuthzenSearch,
        }
    }
}

impl Authzen {
    /// Creates the adapter.
    pub fn new(adapter: HttpAdapter, settings: Settings) -> Self {
        let named_types = TypeAliases::of(&settings.types);
        let url = settings.url.as_ref().and_then(|it| Url::parse(it).ok());
        let path = url.as_ref().map_or("/", Url::path);
        let discovery = (path != "/").then(|| format!("{DISCOVERY}{path}"));
        Self {
            adapter,
            settings,
            named_types,
            discovery,
        }
    }

    /// Whether a path belongs to AuthZEN.
    pub fn is_at(&self, path: &str) -> bool {
        self.endpoint(path).is_some()
    }

    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        match self.discovery.as_deref() == Some(path) {
            true => Some(Endpoint::Discovery),
            false => Endpoint::of(path),
        }
    }

    /// Admits a request by its head.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the path or method is unknown, the caller cannot be authenticated or lacks the
    /// right, or a header is invalid.
    pub fn admit(&self, head: ReceivedHead<'_>) -> Result<Head, HttpRejection> {
        let Parts { method, uri, .. } = head.parts;
        let endpoint = self.endpoint(uri.path()).ok_or(HttpRejection::NotFound)?;
        if endpoint == Endpoint::Discovery {
            if method != Method::GET && method != Method::HEAD {
                let allowed = "GET, HEAD";
                return Err(HttpRejection::MethodNotAllowed { allowed });
            }
            // The document is public: it tells a client nothing that reaching the server does not.
            let document = self.discovery(head)?;
            return Ok(Head::Answered(match method == Method::HEAD {
                true => head_of(document),
                false => document,
            }));
        }
        if method != Method::POST {
            return Err(HttpRejection::MethodNotAllowed { allowed: "POST" });
        }
        let caller = self.adapter.admit(head, endpoint.right())?;
        let headers = &head.parts.headers;
        check_content_type(headers)?;
        check_content_encoding(headers)?;
        let trace = trace_context(headers);
        Ok(Head::Asks(AuthzenRequest {
            endpoint,
            caller,
            trace,
            deadline: head.deadline,
            request_id: request_id(headers).map(str::to_owned),
        }))
    }

    /// Answers an admitted request.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the body is invalid or the service cannot answer.
    pub async fn answer(
        &self,
        admitted: &AuthzenRequest,
        body: &[u8],
    ) -> Result<Response<Bytes>, HttpRejection> {
        let request = self
            .adapter
            .object(body, KeyPolicy::Authzen, LEVELS_AROUND)?;
        let answer = match admitted.endpoint {
            Endpoint::Evaluation => self.evaluation(admitted, &request).await?,
            Endpoint::Evaluations => self.evaluations(admitted, &request).await?,
            _ => self.search(admitted, &request).await?,
        };
        Ok(reply(StatusCode::OK, &answer))
    }

    pub(super) fn ask<'a>(&self, admitted: &'a AuthzenRequest) -> RequestMeta<'a> {
        RequestMeta {
            caller: &admitted.caller,
            adapter: ADAPTER,
            at_least_revision: 0,
            is_dry_run: false,
            deadline: admitted.deadline,
            request_id: admitted.request_id.as_deref(),
        }
    }

    pub(super) fn parser<'a>(
        &'a self,
        limits: &'a Limits,
        admitted: &'a AuthzenRequest,
    ) -> EvaluationParser<'a> {
        EvaluationParser {
            limits,
            types: &self.adapter.types,
            named_types: &self.named_types,
            properties_count: admitted.caller.rights.assert_properties,
            trace: &admitted.trace,
        }
    }

    /// Parses one evaluation: an MCP call where the caller's entry in `[[authzen.mcp]]` says so, otherwise
    /// plain Cedar.
    fn question(
        &self,
        admitted: &AuthzenRequest,
        request: &Map<String, Json>,
        limits: &Limits,
        live: &Generation,
    ) -> Result<BatchItem, FieldError> {
        let parser = self.parser(limits, admitted);
        let schema = live.snapshot.schema().map(Arc::as_ref);
        let caller = &admitted.caller.id;
        let mut entries = self.settings.mcp.iter();
        let entry = entries.find(|it| it.counts_for(caller));
        let read = match entry {
            Some(entry) => {
                let reader = CoazReader {
                    entry,
                    parser,
                    generation: live,
                };
                reader.asked(request)?
            }
            None => None,
        };
        let may_be_listed = entry.is_some_and(|it| it.lists);
        Ok(match read.map(Box::new) {
            Some(call) if may_be_listed && call.denied.is_none() => BatchItem::CallOrEntry(call),
            Some(call) => BatchItem::Call(call),
            None => BatchItem::Cedar(Box::new(parser.question(request, schema)?)),
        })
    }

    async fn evaluation(
        &self,
        admitted: &AuthzenRequest,
        request: &Map<String, Json>,
    ) -> Result<Json, HttpRejection> {
        let question = {
            let limits = self.adapter.limits.load();
            let live = self.adapter.service.live().ok_or(ServiceError::NotReady)?;
            self.question(admitted, request, &limits, &live)?
        };
        let ask = self.ask(admitted);
        let answer = self.adapter.service.decide_item(ask, question).await?;
        let may_explain = admitted.caller.rights.explain;
        Ok(encode::decision(
            &answer,
            self.settings.context,
            may_explain,
        ))
    }

    async fn evaluations(
        &self,
        admitted: &AuthzenRequest,
        request: &Map<String, Json>,
    ) -> Result<Json, HttpRejection> {
        const FIELD: &str = "evaluations";
        let items = match request.get(FIELD) {
            Some(Json::Array(items)) if !items.is_empty() => items,
            None | Some(Json::Null | Json::Array(_)) => {
                return self.evaluation(admitted, request).await;
            }
            Some(_) => {
                return Err(FieldError::new(FIELD, FieldProblem::NotOfShape("an array")).into());
            }
        };
        let limits = self.adapter.limits.load_full();
        check_count(items.len(), limits.batch, FIELD)?;
        let until = semantic(request)?;
        let defaults = parse::Defaults::of(request)?;
        let live = self.adapter.service.live().ok_or(ServiceError::NotReady)?;
        let questions = items
            .iter()
            .map(|item| self.question(admitted, &defaults.fill(item)?, &limits, &live));
        let ask = self.ask(admitted);
        let service = &self.adapter.service;
        let answers = service.decide_batch(ask, questions, until).await?;
        let request_id = admitted.request_id.as_deref();
        for invalid in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let (why, said) = (RejectionKind::Malformed, invalid.to_string());
            let recorder = service.recorder();
            recorder.rejection_of(request_id, ADAPTER, why, &said);
        }
        let may_explain = admitted.caller.rights.explain;
        let answers: Vec<Json> = answers
            .iter()
            .map(|answer| match answer {
                Ok(answer) => encode::decision(answer, self.settings.context, may_explain),
                Err(invalid) => encode::item_error(invalid),
            })
            .collect();
        Ok(json!({ FIELD: answers }))
    }

    fn discovery(&self, head: ReceivedHead<'_>) -> Result<Response<Bytes>, HttpRejection> {
        let base = match &self.settings.url {
            Some(url) => url.clone(),
            None => {
                let scheme = if head.peer.is_encrypted() {
                    "https"
                } else {
                    "http"
                };
                let host = host(head.parts)
                    .ok_or_else(|| FieldError::new("host", FieldProblem::Missing))?;
                // A client that can be made to ask under another host would take that host for the decision
                // point.
                if !is_loopback(&host) {
                    return Err(HttpRejection::NoIdentifier);
                }
                format!("{scheme}://{host}")
            }
        };
        let at = |path: &str| format!("{base}{path}");
        let document = json!({
            "policy_decision_point": base,
            "access_evaluation_endpoint": at(EVALUATION),
            "access_evaluations_endpoint": at(EVALUATIONS),
            "search_subject_endpoint": at(SEARCH_SUBJECT),
            "search_resource_endpoint": at(SEARCH_RESOURCE),
            "search_action_endpoint": at(SEARCH_ACTION),
            "supported_obligations": obligation::TYPES,
        });
        let mut response = reply(StatusCode::OK, &document);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(FRESH_FOR));
        Ok(response)
    }
}

/// The response to HEAD: no body, and the length it would have.
fn head_of(response: Response<Bytes>) -> Response<Bytes> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    Response::from_parts(head, Bytes::new())
}

/// The decision at which a batch stops early.
fn semantic(request: &Map<String, Json>) -> Result<Option<Decision>, FieldError> {
    const FIELD: &str = "evaluations_semantic";
    const WORDS: &str = "`execute_all`, `deny_on_first_deny` or `permit_on_first_permit`";
    let Some(options) = optional_object(request, "options")? else {
        return Ok(None);
    };
    let problem = match options.get(FIELD) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(word)) => match word.as_str() {
            "execute_all" => return Ok(None),
            "deny_on_first_deny" => return Ok(Some(Decision::Deny)),
            "permit_on_first_permit" => return Ok(Some(Decision::Allow)),
            _ => FieldProblem::UnknownWord(TextExcerpt::new(word), WORDS),
        },
        Some(_) => FieldProblem::NotOfShape("a string"),
    };
    Err(FieldError::new(FIELD, problem).inside("options"))
}
