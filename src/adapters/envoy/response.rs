//! The body of a response, judged as it comes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smol_str::SmolStr;

use crate::adapters::envoy::door::Door;
use crate::adapters::envoy::events::{Event, Splitter};
use crate::adapters::envoy::exchange::Broken;
use crate::adapters::envoy::messages::{self, Awaited, Fate};
use crate::adapters::envoy::reading::Question;
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::mcp::conversation::Conversation;
use crate::adapters::mcp::denial;
use crate::adapters::mcp::judge::Judge;
use crate::adapters::mcp::message::Id;
use crate::adapters::mcp::origins::Origins;
use crate::config::limits::Limits;
use crate::service::decisions::Ask;

/// A request that passed.
pub(super) struct Passed {
    conversation: Conversation,
    origins: Origins,
    pub(super) awaited: Option<Awaited>,
    /// Its response is a stream without an end.
    pub(super) is_endless: bool,
    /// It is no MCP, and so is its response.
    pub(super) is_plain: bool,
}

/// What is done with the body of a response.
pub(super) enum Way {
    /// It passes.
    Untouched,
    /// It is swallowed.
    Nothing,
    /// One message. `None` once it is too long.
    Whole(Option<BytesMut>),
    /// Event after event.
    Events(Splitter),
}

impl Passed {
    pub(super) fn of(question: Question, is_endless: bool) -> Self {
        let awaited = question.id.zip(question.method);
        Self {
            conversation: question.conversation,
            origins: Origins::one(question.server),
            awaited: awaited.map(|(id, method)| Awaited { id, method }),
            is_endless,
            is_plain: question.is_plain,
        }
    }

    fn server(&self) -> Option<&SmolStr> {
        self.origins.only()
    }
}

/// What bodies of responses are judged with.
pub(super) struct Judging<'a> {
    pub(super) door: &'a Door,
    pub(super) ask: Ask<'a>,
    pub(super) limits: Arc<Limits>,
    /// Absent for an answer of Envoy itself.
    pub(super) passed: Option<&'a Passed>,
}

impl Judging<'_> {
    /// What of a piece may pass now.
    pub(super) async fn piece(&self, way: &mut Way, piece: Bytes) -> Result<BytesMut, Broken> {
        let limit = self.limits.message_bytes as usize;
        match way {
            Way::Untouched => Ok(piece.into()),
            Way::Nothing => Ok(BytesMut::new()),
            Way::Whole(whole) => {
                *whole = whole.take().filter(|it| it.len() + piece.len() <= limit);
                if let Some(whole) = whole {
                    whole.extend_from_slice(&piece);
                }
                Ok(BytesMut::new())
            }
            Way::Events(splitter) => {
                let mut passing = BytesMut::new();
                let events = splitter.push(&piece).map_err(|_| Broken::TooLong(limit))?;
                for raw in events {
                    passing.extend(self.event(raw).await?);
                }
                Ok(passing)
            }
        }
    }

    /// What passes at the end.
    pub(super) async fn end(&self, way: &mut Way) -> Result<BytesMut, Broken> {
        Ok(match way {
            Way::Untouched | Way::Nothing => BytesMut::new(),
            Way::Whole(Some(whole)) if whole.is_empty() => BytesMut::new(),
            Way::Whole(Some(whole)) => self.whole(std::mem::take(whole)).await?,
            Way::Whole(None) => {
                let limit = self.limits.message_bytes;
                self.refused(&format!("the server's answer has more than {limit} bytes"))
            }
            // An event that never ended is none.
            Way::Events(_) => BytesMut::new(),
        })
    }

    async fn event(&self, raw: Bytes) -> Result<Bytes, Broken> {
        let event = Event::read(raw).map_err(|_| Broken::Malformed)?;
        if event.data.is_empty() {
            return Ok(event.raw);
        }
        Ok(match self.fate(event.data.as_bytes()).await? {
            Fate::Passes if event.is_plain => event.raw,
            Fate::Passes => event.with_data(&event.data),
            Fate::Instead(json) => event.with_data(&json),
            Fate::Dropped(why) => {
                self.warn(&why);
                Bytes::new()
            }
        })
    }

    async fn whole(&self, text: BytesMut) -> Result<BytesMut, Broken> {
        Ok(match self.fate(&text).await? {
            Fate::Passes => text,
            Fate::Instead(json) => json.as_bytes().into(),
            Fate::Dropped(why) => {
                self.warn(&why);
                self.refused(&format!("the server's answer cannot be read: {why}"))
            }
        })
    }

    async fn fate(&self, text: &[u8]) -> Result<Fate, Broken> {
        let Some(passed) = self.passed else {
            return Ok(Fate::Dropped("nothing was decided".to_owned()));
        };
        let judge = Judge {
            service: &self.door.service,
            ask: self.ask,
            conversation: &passed.conversation,
            origins: &passed.origins,
            limits: &self.limits,
        };
        let fate = messages::judge(&judge, passed.awaited.as_ref(), text).await;
        Ok(fate.map_err(Refusal::from)?)
    }

    /// The error that the client gets in place of an answer.
    fn refused(&self, said: &str) -> BytesMut {
        let awaited = self.passed.and_then(|it| it.awaited.as_ref());
        let id: Option<&Id> = awaited.map(|it| &it.id);
        let error = denial::refused(id, denial::DENIED, said);
        error.to_string().as_bytes().into()
    }

    fn warn(&self, why: &str) {
        let server = self.passed.and_then(Passed::server);
        let server = server.map_or("", SmolStr::as_str);
        tracing::warn!(server, why, "a message of a server was dropped");
    }
}
