//! The state machine of one HTTP exchange: request, decision, filtered response.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost_types::Struct;

use crate::adapters::decision_metadata::RequestMutation;
use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::body_filter::{AllowedRequest, BodyMode, ResponseFilter};
use crate::adapters::envoy::check::{CheckResult, LocalReply};
use crate::adapters::envoy::content::{self, RepliesRead, ResponseContent};
use crate::adapters::envoy::error_text::ErrorText;
use crate::adapters::envoy::exchange_error::ExchangeError;
use crate::adapters::envoy::messages::Settles;
use crate::adapters::envoy::rejection::EnvoyRejection;
use crate::adapters::envoy::request::{HttpRequest, RequestError};
use crate::adapters::envoy::sse::EventSplitter;
use crate::adapters::mcp::methods::{self, MethodKind, Sender};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::adapters::outcome::PendingOutcome;
use crate::audit::outcome_record::Status;
use crate::domain::request::trace_context::TraceContext;
use crate::service::request::RequestMeta;

/// A message of Envoy.
#[derive(Debug)]
pub(super) enum ProcessorEvent {
    RequestHeaders {
        http: HttpRequest,
        /// The request has no body.
        is_all: bool,
    },
    RequestBody {
        body: Bytes,
        /// The body is complete.
        is_all: bool,
        /// Dynamic metadata of earlier filters.
        metadata: BTreeMap<String, Struct>,
    },
    RequestTrailers,
    ResponseHeaders {
        status: u16,
        headers: HeaderFields,
        /// The response has no body.
        is_all: bool,
    },
    ResponseBody {
        piece: Bytes,
        is_last: bool,
    },
    ResponseTrailers,
}

/// A reply to Envoy.
#[derive(Debug)]
pub(super) enum ProcessorReply {
    /// The headers stay unchanged until the body arrives.
    Wait,
    /// The request is allowed, at its headers or at its body.
    Allowed(Phase, RequestMutation),
    Rejected(LocalReply),
    RequestTrailers,
    /// The headers pass, without these.
    ResponseHeaders {
        without: Vec<String>,
    },
    ResponseBody {
        bytes: Bytes,
        is_last: bool,
    },
    ResponseTrailers,
}

/// The phase in which a request is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Headers,
    Body,
}

/// One exchange between a client and a server.
pub(super) struct Exchange {
    adapter: EnvoyAdapter,
    /// The trace context of Envoy's RPC.
    trace: TraceContext,
    stage: Stage,
}

enum Stage {
    Start,
    /// The headers have arrived, the body has not.
    Body(Box<HttpRequest>),
    /// The request is allowed.
    Allowed(Box<AllowedRequest>),
    /// The response's headers have passed. Without an allowed request the response is Envoy's own.
    Response(Option<Box<AllowedRequest>>, BodyMode),
    Over,
}

impl Exchange {
    pub(super) fn new(adapter: EnvoyAdapter, trace: TraceContext) -> Self {
        Self {
            adapter,
            trace,
            stage: Stage::Start,
        }
    }

    /// Whether the response has no foreseeable end.
    pub(super) fn is_endless(&self) -> bool {
        match &self.stage {
            Stage::Allowed(passed) | Stage::Response(Some(passed), _) => passed.is_endless,
            _ => false,
        }
    }

    /// Handles the next message of Envoy and returns the replies.
    pub(super) async fn handle(
        &mut self,
        ask: RequestMeta<'_>,
        event: ProcessorEvent,
    ) -> Result<Vec<ProcessorReply>, ExchangeError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let when = stage.name();
        match (event, stage) {
            (ProcessorEvent::RequestHeaders { mut http, is_all }, Stage::Start) => {
                if is_all {
                    http.body = Ok(Bytes::new());
                    return self.decide(ask, Phase::Headers, &mut http).await;
                }
                self.stage = Stage::Body(Box::new(http));
                Ok(vec![ProcessorReply::Wait])
            }
            (
                ProcessorEvent::RequestBody {
                    body,
                    is_all,
                    metadata,
                },
                Stage::Body(mut http),
            ) => {
                http.metadata.extend(metadata);
                http.body = if is_all {
                    Ok(body)
                } else {
                    Err(RequestError::Cut)
                };
                self.decide(ask, Phase::Body, &mut http).await
            }
            (ProcessorEvent::RequestTrailers, Stage::Allowed(passed)) => {
                self.stage = Stage::Allowed(passed);
                Ok(vec![ProcessorReply::RequestTrailers])
            }
            (
                ProcessorEvent::ResponseHeaders {
                    status,
                    headers,
                    is_all,
                },
                Stage::Allowed(passed),
            ) => Ok(vec![self.response(passed, status, &headers, is_all)]),
            // A response of Envoy itself to a request that was not decided. No server can send one.
            (
                ProcessorEvent::ResponseHeaders {
                    status,
                    headers,
                    is_all,
                },
                Stage::Start | Stage::Body(_),
            ) if !(200..300).contains(&status) => {
                Ok(vec![self.local_response(status, &headers, is_all)])
            }
            (ProcessorEvent::ResponseBody { piece, is_last }, Stage::Response(passed, way)) => {
                self.piece(ask, (passed, way), piece, is_last).await
            }
            (ProcessorEvent::ResponseTrailers, Stage::Response(mut passed, mut way)) => {
                let body_filter = self.body_filter(ask, passed.as_deref());
                let bytes = body_filter.end(&mut way).await?.freeze();
                if let Some(passed) = &mut passed {
                    passed.hand_out(true);
                }
                let is_last = false;
                let body = ProcessorReply::ResponseBody { bytes, is_last };
                Ok(vec![body, ProcessorReply::ResponseTrailers])
            }
            (event, _) => Err(ExchangeError::OutOfOrder(event.name(), when)),
        }
    }

    /// Handles the headers of a response that Envoy made itself.
    fn local_response(
        &mut self,
        status: u16,
        headers: &HeaderFields,
        is_all: bool,
    ) -> ProcessorReply {
        let mode = match content::from_headers(status, headers, is_all) {
            Ok(ResponseContent::Empty) => BodyMode::Untouched,
            Ok(ResponseContent::ErrorText) => BodyMode::ErrorText(ErrorText::default()),
            _ => BodyMode::Nothing,
        };
        self.stage = Stage::Response(None, mode);
        let without = Vec::new();
        ProcessorReply::ResponseHeaders { without }
    }

    async fn decide(
        &mut self,
        ask: RequestMeta<'_>,
        at: Phase,
        http: &mut HttpRequest,
    ) -> Result<Vec<ProcessorReply>, ExchangeError> {
        // In a box: the future of an exchange is made and moved for each message, and one of them is decided.
        let deciding = Box::pin(self.adapter.verdict(ask, &self.trace, true, http));
        let (verdict, question) = deciding.await?;
        Ok(vec![match (verdict, question) {
            (CheckResult::Allowed(mut passes), Some(question)) => {
                // Notifications and responses of the client have none.
                let is_request = question.id.is_some() && question.method.is_some();
                let decision = passes.decision.take();
                let decision = decision.filter(|_| is_request || question.is_plain);
                let outcome =
                    decision.map(|it| PendingOutcome::new(&self.adapter.service, ask, it));
                let method = question.method.as_deref();
                let method = method.and_then(|name| methods::request(Sender::Client, name));
                let is_subscribed = method.is_some_and(|it| it.kind == MethodKind::Listen);
                let is_endless = is_subscribed || http.method == "GET" && !question.is_plain;
                self.stage =
                    Stage::Allowed(Box::new(AllowedRequest::new(question, is_endless, outcome)));
                ProcessorReply::Allowed(at, passes)
            }
            (CheckResult::Rejected(reply), _) => ProcessorReply::Rejected(reply),
            (CheckResult::Allowed(_), None) => {
                let rejection = EnvoyRejection::new(403, "nothing was decided");
                ProcessorReply::Rejected(LocalReply::rejected(None, &rejection))
            }
        }])
    }

    fn response(
        &mut self,
        mut passed: Box<AllowedRequest>,
        status: u16,
        headers: &HeaderFields,
        is_all: bool,
    ) -> ProcessorReply {
        let limit = self.adapter.limits.load().message_bytes as usize;
        passed.replies = RepliesRead::under(status);
        let content = match status {
            // A client that follows a redirect would reach a server that was not part of the decision.
            300..400 => Err("the server sends the client elsewhere, which MCP does not have"),
            _ => content::from_headers(status, headers, is_all),
        };
        let mut without = content::own_headers(headers);
        let way = match content {
            _ if passed.is_plain => BodyMode::Untouched,
            Ok(ResponseContent::Empty) => BodyMode::Untouched,
            Ok(ResponseContent::Dropped) => {
                without.push(content::ENCODING.to_owned());
                BodyMode::Nothing
            }
            Ok(ResponseContent::Unread(why)) => {
                let server = passed.server().map_or("", |it| it.as_str());
                tracing::warn!(
                    server,
                    status,
                    why,
                    "the body of an error was dropped unread"
                );
                passed.see(Status::Withheld);
                without.push(content::ENCODING.to_owned());
                BodyMode::Nothing
            }
            Ok(ResponseContent::ErrorText) => BodyMode::ErrorText(ErrorText::default()),
            Ok(ResponseContent::Message) => BodyMode::Whole(Some(BytesMut::new())),
            Ok(ResponseContent::Events) => {
                BodyMode::Events(EventSplitter::new(limit), Settles::Nothing)
            }
            Err(said) => {
                passed.see(Status::Withheld);
                return ProcessorReply::Rejected(LocalReply::rejected(
                    passed.awaited.as_ref().map(|it| &it.id),
                    &EnvoyRejection::new(502, said),
                ));
            }
        };
        if passed.is_plain {
            passed.see(if status < 400 {
                Status::Result
            } else {
                Status::Error
            });
        }
        passed.hand_out(is_all);
        self.stage = Stage::Response(Some(passed), way);
        ProcessorReply::ResponseHeaders { without }
    }

    async fn piece(
        &mut self,
        ask: RequestMeta<'_>,
        (mut passed, mut way): (Option<Box<AllowedRequest>>, BodyMode),
        piece: Bytes,
        is_last: bool,
    ) -> Result<Vec<ProcessorReply>, ExchangeError> {
        if let Some(passed) = &mut passed {
            passed.count(piece.len());
        }
        let body_filter = self.body_filter(ask, passed.as_deref());
        let filtering = body_filter.piece_or_last(&mut way, piece, is_last);
        let bytes = filtering.await.inspect_err(|_| {
            // Nothing of the piece goes on.
            if let Some(passed) = &passed {
                passed.see(Status::Withheld);
            }
        })?;
        if let Some(passed) = &mut passed {
            passed.hand_out(is_last);
        }
        if !is_last {
            self.stage = Stage::Response(passed, way);
        }
        let bytes = bytes.freeze();
        Ok(match bytes.is_empty() && !is_last {
            true => Vec::new(),
            false => vec![ProcessorReply::ResponseBody { bytes, is_last }],
        })
    }

    fn body_filter<'a>(
        &'a self,
        ask: RequestMeta<'a>,
        passed: Option<&'a AllowedRequest>,
    ) -> ResponseFilter<'a> {
        ResponseFilter {
            adapter: &self.adapter,
            ask,
            limits: self.adapter.limits.load_full(),
            passed,
        }
    }
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "first",
            Self::Body(_) => "after a request's headers",
            Self::Allowed(_) => "after a request",
            Self::Response(..) => "after a response's headers",
            Self::Over => "after the end",
        }
    }
}

impl ProcessorEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::RequestHeaders { .. } => "a request's headers",
            Self::RequestBody { .. } => "a request's body",
            Self::RequestTrailers => "a request's trailers",
            Self::ResponseHeaders { .. } => "a response's headers",
            Self::ResponseBody { .. } => "a response's body",
            Self::ResponseTrailers => "a response's trailers",
        }
    }
}
