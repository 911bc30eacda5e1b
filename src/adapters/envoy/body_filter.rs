//! The body of a response, judged as it comes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smol_str::SmolStr;

use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::exchange::ExchangeError;
use crate::adapters::envoy::messages::{self, MessageAction, PendingRequest};
use crate::adapters::envoy::reader::AuthorizationQuery;
use crate::adapters::envoy::sse::{EventSplitter, ServerSentEvent};
use crate::adapters::mcp::message::JsonRpcId;
use crate::adapters::mcp::response::filter::MessageFilter;
use crate::adapters::mcp::response::json_rpc_error;
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::config::limits::Limits;
use crate::service::request::RequestMeta;

/// A request that passed.
pub(super) struct AllowedRequest {
    conversation: Conversation,
    origins: ServerSet,
    pub(super) awaited: Option<PendingRequest>,
    /// Its response is a stream without an end.
    pub(super) is_endless: bool,
    /// It is no MCP, and so is its response.
    pub(super) is_plain: bool,
}

/// What is done with the body of a response.
pub(super) enum BodyMode {
    /// It passes.
    Untouched,
    /// It is swallowed.
    Nothing,
    /// One message. `None` once it is too long.
    Whole(Option<BytesMut>),
    /// Event after event.
    Events(EventSplitter),
}

impl AllowedRequest {
    pub(super) fn of(question: AuthorizationQuery, is_endless: bool) -> Self {
        let awaited = question.id.zip(question.method);
        Self {
            conversation: question.conversation,
            origins: ServerSet::one(question.server),
            awaited: awaited.map(|(id, method)| PendingRequest { id, method }),
            is_endless,
            is_plain: question.is_plain,
        }
    }

    fn server(&self) -> Option<&SmolStr> {
        self.origins.only()
    }
}

/// What bodies of responses are judged with.
pub(super) struct ResponseFilter<'a> {
    pub(super) door: &'a EnvoyAdapter,
    pub(super) ask: RequestMeta<'a>,
    pub(super) limits: Arc<Limits>,
    /// Absent for an answer of Envoy itself.
    pub(super) passed: Option<&'a AllowedRequest>,
}

impl ResponseFilter<'_> {
    /// What of a piece may pass now.
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

    /// What passes at the end.
    pub(super) async fn end(&self, way: &mut BodyMode) -> Result<BytesMut, ExchangeError> {
        Ok(match way {
            BodyMode::Untouched | BodyMode::Nothing => BytesMut::new(),
            BodyMode::Whole(Some(whole)) if whole.is_empty() => BytesMut::new(),
            BodyMode::Whole(Some(whole)) => self.whole(std::mem::take(whole)).await?,
            BodyMode::Whole(None) => {
                let limit = self.limits.message_bytes;
                self.refused(&format!("the server's answer has more than {limit} bytes"))
            }
            // An event that never ended is none.
            BodyMode::Events(_) => BytesMut::new(),
        })
    }

    async fn event(&self, raw: Bytes) -> Result<Bytes, ExchangeError> {
        let event = ServerSentEvent::read(raw).map_err(|_| ExchangeError::Malformed)?;
        if event.data.is_empty() {
            return Ok(event.raw);
        }
        Ok(match self.fate(event.data.as_bytes()).await? {
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
        Ok(match self.fate(&text).await? {
            MessageAction::Passes => text,
            MessageAction::Instead(json) => json.as_bytes().into(),
            MessageAction::Dropped(why) => {
                self.warn(&why);
                self.refused(&format!("the server's answer cannot be read: {why}"))
            }
        })
    }

    async fn fate(&self, text: &[u8]) -> Result<MessageAction, ExchangeError> {
        let Some(passed) = self.passed else {
            return Ok(MessageAction::Dropped("nothing was decided".to_owned()));
        };
        let judge = MessageFilter {
            service: &self.door.service,
            ask: self.ask,
            conversation: &passed.conversation,
            origins: &passed.origins,
            limits: &self.limits,
        };
        let fate = messages::judge(&judge, passed.awaited.as_ref(), text).await;
        Ok(fate.map_err(GrpcRejection::from)?)
    }

    /// The error that the client gets in place of an answer.
    fn refused(&self, said: &str) -> BytesMut {
        let awaited = self.passed.and_then(|it| it.awaited.as_ref());
        let id: Option<&JsonRpcId> = awaited.map(|it| &it.id);
        let error = json_rpc_error::refused(id, json_rpc_error::DENIED, said);
        error.to_string().as_bytes().into()
    }

    fn warn(&self, why: &str) {
        let server = self.passed.and_then(AllowedRequest::server);
        let server = server.map_or("", SmolStr::as_str);
        tracing::warn!(server, why, "a message of a server was dropped");
    }
}
