//! Filters the body of a response as it arrives.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smol_str::SmolStr;

use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::content::RepliesRead;
use crate::adapters::envoy::error_text::{ErrorText, Passing};
use crate::adapters::envoy::exchange_error::ExchangeError;
use crate::adapters::envoy::messages::{self, Awaited, MessageAction, PendingRequest, Settles};
use crate::adapters::envoy::reader::AuthorizationQuery;
use crate::adapters::envoy::sse::{EventSplitter, ServerSentEvent};
use crate::adapters::mcp::message::{self, JsonRpcId};
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
    /// Which replies clients read in its response.
    pub(super) replies: RepliesRead,
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
    /// The text of an error, forwarded as it comes up to what reads as a message. JSON goes on as [`Self::Whole`].
    ErrorText(ErrorText),
    /// Server-sent events, filtered one by one, and what they said so far of the awaited request. Once that has its reply,
    /// no other passes: what is on record is what the client was told.
    Events(EventSplitter, Settles),
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
            replies: RepliesRead::All,
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

    /// What has been filtered so far goes on to the client. Records the outcome: of MCP as soon as it is known, of plain
    /// HTTP, whose size is known at the end, only then.
    pub(super) fn hand_out(&mut self, is_over: bool) {
        let is_early = self.is_plain && !is_over;
        if let Some(outcome) = &mut self.outcome {
            outcome.hand_out();
            if !is_early {
                outcome.record_if(is_over);
            }
        }
    }

    /// The server that was asked.
    pub(super) fn server(&self) -> Option<&SmolStr> {
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
    /// Returns the bytes that may pass after this chunk, which may be the last one.
    pub(super) async fn piece_or_last(
        &self,
        way: &mut BodyMode,
        piece: Bytes,
        is_last: bool,
    ) -> Result<BytesMut, ExchangeError> {
        let mut passing = self.piece(way, piece).await?;
        if is_last {
            passing.extend(self.end(way).await?);
        }
        Ok(passing)
    }

    async fn piece(&self, way: &mut BodyMode, piece: Bytes) -> Result<BytesMut, ExchangeError> {
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
            BodyMode::ErrorText(text) => {
                let (passes, rest) = match text.read(&piece) {
                    Passing::All => return Ok(piece.into()),
                    Passing::Nothing => return Ok(BytesMut::new()),
                    Passing::UpToEvent(at) => {
                        self.see(Status::Withheld);
                        self.warn("the text of an error has a server-sent event in it");
                        return Ok(piece.slice(..at).into());
                    }
                    Passing::UpToJson(at) => (piece.slice(..at), piece.slice(at..)),
                };
                let fits = rest.len() <= limit;
                *way = BodyMode::Whole(fits.then(|| rest.into()));
                Ok(passes.into())
            }
            BodyMode::Events(splitter, settled) => {
                let mut passing = BytesMut::new();
                let events = splitter
                    .push(&piece)
                    .map_err(|_| ExchangeError::TooLong(limit))?;
                for raw in events {
                    passing.extend(self.event(raw, settled).await?);
                }
                Ok(passing)
            }
        }
    }

    /// Returns the bytes that may pass at the end of the body.
    pub(super) async fn end(&self, way: &mut BodyMode) -> Result<BytesMut, ExchangeError> {
        Ok(match way {
            BodyMode::Untouched | BodyMode::Nothing | BodyMode::ErrorText(_) => BytesMut::new(),
            BodyMode::Whole(Some(whole)) if whole.is_empty() => BytesMut::new(),
            BodyMode::Whole(Some(whole)) => self.whole(std::mem::take(whole)).await?,
            BodyMode::Whole(None) => {
                let limit = self.limits.message_bytes;
                let said = format!("the server's answer has more than {limit} bytes");
                self.rejection(&said).as_bytes().into()
            }
            // An unterminated event is discarded, as the standard says.
            BodyMode::Events(_, Settles::UnlessNamed(Status::Withheld)) => {
                let error = self.rejection("no answer of the server could be passed on");
                ServerSentEvent::default().with_data(&error).into()
            }
            BodyMode::Events(_, Settles::UnlessNamed(status)) => {
                self.see(*status);
                BytesMut::new()
            }
            BodyMode::Events(_, Settles::Nothing | Settles::Awaited(_)) => BytesMut::new(),
        })
    }

    async fn event(&self, raw: Bytes, settled: &mut Settles) -> Result<Bytes, ExchangeError> {
        let event = ServerSentEvent::read(raw).map_err(|_| ExchangeError::Malformed)?;
        if event.data.is_empty() {
            return Ok(event.raw);
        }
        if !event.is_message {
            self.warn("an event of another name than `message` is none to a client");
            return Ok(Bytes::new());
        }
        let is_answered = matches!(settled, Settles::Awaited(_));
        let awaited = match self.awaited() {
            None => Awaited::Any,
            Some(request) if is_answered => Awaited::Answered(request),
            Some(request) => Awaited::ByEvent(request),
        };
        let (action, settles) = self.action(awaited, event.data.as_bytes()).await?;
        if matches!(awaited, Awaited::ByEvent(_)) && settles != Settles::Nothing {
            *settled = settles;
        }
        Ok(match action {
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
        let is_error = |passed: &AllowedRequest| passed.replies == RepliesRead::Errors;
        if self.passed.is_none_or(is_error) && message::is_error_document(&text) {
            return Ok(text);
        }
        let awaited = self.awaited().map_or(Awaited::Any, Awaited::ByWhole);
        Ok(match self.action(awaited, &text).await?.0 {
            MessageAction::Passes => text,
            MessageAction::Instead(json) => json.as_bytes().into(),
            MessageAction::Dropped(why) => {
                self.warn(&why);
                let said = format!("the server's answer does not pass: {why}");
                self.rejection(&said).as_bytes().into()
            }
        })
    }

    fn awaited(&self) -> Option<&PendingRequest> {
        self.passed.and_then(|it| it.awaited.as_ref())
    }

    async fn action(
        &self,
        awaited: Awaited<'_>,
        text: &[u8],
    ) -> Result<(MessageAction, Settles), ExchangeError> {
        let Some(passed) = self.passed else {
            let why = "nothing was decided".to_owned();
            return Ok((MessageAction::Dropped(why), Settles::Nothing));
        };
        let filter = MessageFilter {
            service: &self.adapter.service,
            ask: self.ask,
            conversation: &passed.conversation,
            origins: &passed.origins,
            limits: &self.limits,
        };
        // In a box, as few pieces of a body are filtered, and a future is made for each.
        let filtering = Box::pin(messages::filter(&filter, awaited, passed.replies, text));
        let (action, settles) = filtering.await.map_err(GrpcRejection::from)?;
        if let Settles::Awaited(status) = settles {
            passed.see(status);
        }
        Ok((action, settles))
    }

    fn see(&self, status: Status) {
        if let Some(passed) = self.passed {
            passed.see(status);
        }
    }

    /// The JSON-RPC error that replaces a response.
    fn rejection(&self, said: &str) -> String {
        self.see(Status::Withheld);
        let id: Option<&JsonRpcId> = self.awaited().map(|it| &it.id);
        json_rpc_error::rejection(id, json_rpc_error::DENIED, said).to_string()
    }

    fn warn(&self, why: &str) {
        let server = self.passed.and_then(AllowedRequest::server);
        let server = server.map_or("", SmolStr::as_str);
        tracing::warn!(server, why, "a message of a server was dropped");
    }
}
