//! Filters the body of a response as it arrives.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smol_str::SmolStr;

use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::exchange_error::ExchangeError;
use crate::adapters::envoy::messages::{self, MessageAction, PendingRequest};
use crate::adapters::envoy::reader::AuthorizationQuery;
use crate::adapters::envoy::sse::{EventSplitter, ServerSentEvent};
use crate::adapters::mcp::message::JsonRpcId;
use crate::adapters::mcp::response::filter::MessageFilter;
use crate::adapters::mcp::response::json_rpc_error;
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::outcome::PendingOutcome;
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::audit::outcome_record::Status;
use crate::config::limits::Limits;
use crate::service::request::RequestMeta;

/// An allowed request whose response is awaited.
pub(super) struct AllowedRequest {
    conversation: Conversation,
    origins: ServerSet,
    pub(super) awaited: Option<PendingRequest>,
    /// Its response is a stream without an end.
    pub(super) is_endless: bool,
    /// It is plain HTTP, not MCP, and so is its response.
    pub(super) is_plain: bool,
    /// What became of it. Notifications and responses of the client have no outcome.
    pub(super) outcome: Option<PendingOutcome>,
}

/// How the body of a response is handled.
pub(super) enum BodyMode {
    /// Forwarded unchanged.
    Untouched,
    /// Dropped.
    Nothing,
    /// One JSON message, buffered up to its end; `None` once it exceeds `limits.message_bytes`.
    Whole(Option<BytesMut>),
    /// Server-sent events, filtered one by one.
    Events(EventSplitter),
}

impl AllowedRequest {
    pub(super) fn new(
        query: AuthorizationQuery,
        is_endless: bool,
        outcome: Option<PendingOutcome>,
    ) -> Self {
        let awaited = query.id.zip(query.method);
        Self {
            conversation: query.conversation,
            origins: ServerSet::one(query.server),
            is_endless,
            is_plain: query.is_plain,
            outcome,
            awaited: awaited.map(|(id, method)| PendingRequest { id, method }),
        }
    }

    /// Counts bytes of the response.
    pub(super) fn count(&mut self, bytes: usize) {
        if let Some(outcome) = &mut self.outcome {
            outcome.add(bytes);
        }
    }

    /// Notes what the response says.
    pub(super) fn see(&self, status: Status) {
        if let Some(outcome) = &self.outcome {
            outcome.see(status);
        }
    }

    /// Records the outcome: of MCP as soon as it is known, of plain HTTP, whose size is known at the end, only then.
    pub(super) fn record_outcome(&mut self, is_over: bool) {
        let is_early = self.is_plain && !is_over;
        if let Some(outcome) = self.outcome.as_mut().filter(|_| !is_early) {
            outcome.record_if(is_over);
        }
    }

    fn server(&self) -> Option<&SmolStr> {
        self.origins.only()
    }
}

/// Filters the bodies of responses.
pub(super) struct ResponseFilter<'a> {
    pub(super) adapter: &'a EnvoyAdapter,
    pub(super) ask: RequestMeta<'a>,
    pub(super) limits: Arc<Limits>,
    /// Absent for a response of Envoy itself.
    pub(super) passed: Option<&'a AllowedRequest>,
}

impl ResponseFilter<'_> {
    /// Returns the bytes that may pass after this chunk.
    pub(super) async fn piece(
        &self,
        way: &mut BodyMode,
        piece: Bytes,
    ) -> Result<BytesMut, ExchangeError> {
        let limit = self.limits.message_bytes as usize;
        match way {
            BodyMode::Untouched => Ok(piece.into()),
            BodyMode::Nothing => Ok(BytesMut::new()),
            BodyMode::Whole(whole) => {
                *whole = whole.take().filter(|it| it.len() + piece.len() <= limit);
                if let Some(whole) = whole {
                    whole.extend_from_slice(&piece);
                }
                Ok(BytesMut::new())
            }
            BodyMode::Events(splitter) => {
                let mut passing = BytesMut::new();
                let events = splitter
                    .push(&piece)
                    .map_err(|_| ExchangeError::TooLong(limit))?;
                for raw in events {
                    passing.extend(self.event(raw).await?);
                }
                Ok(passing)
            }
        }
    }

    /// Returns the bytes that may pass at the end of the body.
    pub(super) async fn end(&self, way: &mut BodyMode) -> Result<BytesMut, ExchangeError> {
        Ok(match way {
            BodyMode::Untouched | BodyMode::Nothing => BytesMut::new(),
            BodyMode::Whole(Some(whole)) if whole.is_empty() => BytesMut::new(),
            BodyMode::Whole(Some(whole)) => self.whole(std::mem::take(whole)).await?,
            BodyMode::Whole(None) => {
                let limit = self.limits.message_bytes;
                self.rejection(&format!("the server's answer has more than {limit} bytes"))
            }
            // An unterminated event is discarded, as the standard says.
            BodyMode::Events(_) => BytesMut::new(),
        })
    }

    async fn event(&self, raw: Bytes) -> Result<Bytes, ExchangeError> {
        let event = ServerSentEvent::read(raw).map_err(|_| ExchangeError::Malformed)?;
        if event.data.is_empty() {
            return Ok(event.raw);
        }
        Ok(match self.action(event.data.as_bytes()).await? {
            MessageAction::Passes if event.is_plain => event.raw,
            MessageAction::Passes => event.with_data(&event.data),
            MessageAction::Instead(json) => event.with_data(&json),
            MessageAction::Dropped(why) => {
                self.warn(&why);
                Bytes::new()
            }
        })
    }

    async fn whole(&self, text: BytesMut) -> Result<BytesMut, ExchangeError> {
        Ok(match self.action(&text).await? {
            MessageAction::Passes => text,
            MessageAction::Instead(json) => json.as_bytes().into(),
            MessageAction::Dropped(why) => {
                self.warn(&why);
                self.rejection(&format!("the server's answer cannot be read: {why}"))
            }
        })
    }

    async fn action(&self, text: &[u8]) -> Result<MessageAction, ExchangeError> {
        let Some(passed) = self.passed else {
            return Ok(MessageAction::Dropped("nothing was decided".to_owned()));
        };
        let filter = MessageFilter {
            service: &self.adapter.service,
            ask: self.ask,
            conversation: &passed.conversation,
            origins: &passed.origins,
            limits: &self.limits,
        };
        // In a box, as few pieces of a body are filtered, and a future is made for each.
        let filtering = Box::pin(messages::filter(&filter, passed.awaited.as_ref(), text));
        let filtered = filtering.await;
        let (action, outcome) = filtered.map_err(GrpcRejection::from)?;
        if let Some(status) = outcome {
            passed.see(status);
        }
        Ok(action)
    }

    /// The JSON-RPC error that replaces a response.
    fn rejection(&self, said: &str) -> BytesMut {
        if let Some(passed) = self.passed {
            passed.see(Status::Withheld);
        }
        let awaited = self.passed.and_then(|it| it.awaited.as_ref());
        let id: Option<&JsonRpcId> = awaited.map(|it| &it.id);
        let error = json_rpc_error::rejection(id, json_rpc_error::DENIED, said);
        error.to_string().as_bytes().into()
    }

    fn warn(&self, why: &str) {
        let server = self.passed.and_then(AllowedRequest::server);
        let server = server.map_or("", SmolStr::as_str);
        tracing::warn!(server, why, "a message of a server was dropped");
    }
}
