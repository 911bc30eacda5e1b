//! One HTTP request and its response, step by step.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use prost_types::Struct;

use crate::adapters::envoy::content::{self, Content};
use crate::adapters::envoy::door::Door;
use crate::adapters::envoy::events::Splitter;
use crate::adapters::envoy::refused::Refused;
use crate::adapters::envoy::request::{HttpRequest, Unfit};
use crate::adapters::envoy::response::{Judging, Passed, Way};
use crate::adapters::envoy::verdict::{TurnedAway, Verdict};
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::mcp::repeated::Headers;
use crate::adapters::told::Passes;
use crate::service::decisions::Ask;

/// The request that is answered with a stream without an end (2026-07-28), as `GET` is before.
const SUBSCRIPTION: &str = "subscriptions/listen";

/// What Envoy tells.
#[derive(Debug)]
pub(super) enum Heard {
    RequestHeaders {
        http: HttpRequest,
        /// There is no body.
        is_all: bool,
    },
    RequestBody {
        body: Bytes,
        /// Nothing of the body is missing.
        is_all: bool,
        /// What filters have found out by now.
        metadata: HashMap<String, Struct>,
    },
    RequestTrailers,
    ResponseHeaders {
        status: u16,
        headers: Headers,
        /// There is no body.
        is_all: bool,
    },
    ResponseBody {
        piece: Bytes,
        is_last: bool,
    },
    ResponseTrailers,
}

/// What Envoy is told.
#[derive(Debug)]
pub(super) enum Told {
    /// The headers of the request may stay as they are until its body is here.
    Wait,
    /// The request passes, at its headers or at its body.
    Passes(At, Passes),
    TurnedAway(TurnedAway),
    RequestTrailers,
    ResponseHeaders,
    ResponseBody {
        bytes: Bytes,
        is_last: bool,
    },
    ResponseTrailers,
}

/// Where a request was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Headers,
    Body,
}

/// Why an exchange cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0} came {1}")]
    OutOfOrder(&'static str, &'static str),
    #[error(
        "an event of the server has more than {0} bytes, as many as `limits.message_bytes` allows"
    )]
    TooLong(usize),
    #[error("the server sent something that is no event, or that readers understand differently")]
    Malformed,
    #[error(transparent)]
    Refusal(#[from] Refusal),
}

/// One exchange between a client and a server.
pub(super) struct Exchange {
    door: Door,
    stage: Stage,
}

enum Stage {
    Start,
    /// The headers are here, the body is not.
    Body(Box<HttpRequest>),
    /// The request passed.
    Passed(Box<Passed>),
    /// The response's headers passed. Without a [`Passed`] it is Envoy's own.
    Response(Option<Box<Passed>>, Way),
    Over,
}

impl Exchange {
    pub(super) fn new(door: Door) -> Self {
        Self {
            door,
            stage: Stage::Start,
        }
    }

    /// Whether nobody knows when the response ends.
    pub(super) fn is_endless(&self) -> bool {
        match &self.stage {
            Stage::Passed(passed) | Stage::Response(Some(passed), _) => passed.is_endless,
            _ => false,
        }
    }

    /// Takes the next thing that Envoy tells, and says what to tell it.
    pub(super) async fn hear(&mut self, ask: Ask<'_>, heard: Heard) -> Result<Vec<Told>, Broken> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let when = stage.name();
        match (heard, stage) {
            (Heard::RequestHeaders { mut http, is_all }, Stage::Start) => {
                if is_all {
                    http.body = Ok(Bytes::new());
                    return self.decide(ask, At::Headers, &http).await;
                }
                self.stage = Stage::Body(Box::new(http));
                Ok(vec![Told::Wait])
            }
            (
                Heard::RequestBody {
                    body,
                    is_all,
                    metadata,
                },
                Stage::Body(mut http),
            ) => {
                http.metadata.extend(metadata);
                http.body = if is_all { Ok(body) } else { Err(Unfit::Cut) };
                self.decide(ask, At::Body, &http).await
            }
            (Heard::RequestTrailers, Stage::Passed(passed)) => {
                self.stage = Stage::Passed(passed);
                Ok(vec![Told::RequestTrailers])
            }
            (
                Heard::ResponseHeaders {
                    status,
                    headers,
                    is_all,
                },
                Stage::Passed(passed),
            ) => Ok(vec![self.response(passed, status, &headers, is_all)]),
            // An answer of Envoy itself to a request that has not been here. A server can send none.
            (
                Heard::ResponseHeaders {
                    status,
                    headers,
                    is_all,
                },
                Stage::Start | Stage::Body(_),
            ) if !(200..300).contains(&status) => {
                let way = match content::of(status, &headers, is_all) {
                    Ok(Content::Other) => Way::Untouched,
                    _ => Way::Nothing,
                };
                self.stage = Stage::Response(None, way);
                Ok(vec![Told::ResponseHeaders])
            }
            (Heard::ResponseBody { piece, is_last }, Stage::Response(passed, way)) => {
                self.piece(ask, (passed, way), piece, is_last).await
            }
            (Heard::ResponseTrailers, Stage::Response(passed, mut way)) => {
                let judging = self.judging(ask, passed.as_deref());
                let bytes = judging.end(&mut way).await?.freeze();
                let is_last = false;
                let body = Told::ResponseBody { bytes, is_last };
                Ok(vec![body, Told::ResponseTrailers])
            }
            (heard, _) => Err(Broken::OutOfOrder(heard.name(), when)),
        }
    }

    async fn decide(
        &mut self,
        ask: Ask<'_>,
        at: At,
        http: &HttpRequest,
    ) -> Result<Vec<Told>, Broken> {
        let (verdict, question) = self.door.verdict(ask, true, http).await?;
        Ok(vec![match (verdict, question) {
            (Verdict::Passes(passes), Some(question)) => {
                let is_subscribed = question.method.as_deref() == Some(SUBSCRIPTION);
                let is_endless = is_subscribed || http.method == "GET" && !question.is_plain;
                self.stage = Stage::Passed(Box::new(Passed::of(question, is_endless)));
                Told::Passes(at, passes)
            }
            (Verdict::TurnedAway(turned), _) => Told::TurnedAway(turned),
            (Verdict::Passes(_), None) => {
                let refused = Refused::new(403, "nothing was decided");
                Told::TurnedAway(TurnedAway::of(None, &refused))
            }
        }])
    }

    fn response(
        &mut self,
        passed: Box<Passed>,
        status: u16,
        headers: &Headers,
        is_all: bool,
    ) -> Told {
        let limit = self.door.limits.load().message_bytes as usize;
        let content = match status {
            // A client that followed would talk to a server that nobody has decided about.
            300..400 => Err("the server sends the client elsewhere, which MCP does not have"),
            _ => content::of(status, headers, is_all),
        };
        let way = match content {
            _ if passed.is_plain => Way::Untouched,
            Ok(Content::Other) => Way::Untouched,
            Ok(Content::Nothing) => Way::Nothing,
            Ok(Content::Message) => Way::Whole(Some(BytesMut::new())),
            Ok(Content::Events) => Way::Events(Splitter::new(limit)),
            Err(said) => {
                return Told::TurnedAway(TurnedAway::of(
                    passed.awaited.as_ref().map(|it| &it.id),
                    &Refused::new(502, said),
                ));
            }
        };
        self.stage = Stage::Response(Some(passed), way);
        Told::ResponseHeaders
    }

    async fn piece(
        &mut self,
        ask: Ask<'_>,
        (passed, mut way): (Option<Box<Passed>>, Way),
        piece: Bytes,
        is_last: bool,
    ) -> Result<Vec<Told>, Broken> {
        let judging = self.judging(ask, passed.as_deref());
        let mut bytes = judging.piece(&mut way, piece).await?;
        if is_last {
            bytes.extend(judging.end(&mut way).await?);
        } else {
            self.stage = Stage::Response(passed, way);
        }
        let bytes = bytes.freeze();
        Ok(match bytes.is_empty() && !is_last {
            true => Vec::new(),
            false => vec![Told::ResponseBody { bytes, is_last }],
        })
    }

    fn judging<'a>(&'a self, ask: Ask<'a>, passed: Option<&'a Passed>) -> Judging<'a> {
        Judging {
            door: &self.door,
            ask,
            limits: self.door.limits.load_full(),
            passed,
        }
    }
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "first",
            Self::Body(_) => "after a request's headers",
            Self::Passed(_) => "after a request",
            Self::Response(..) => "after a response's headers",
            Self::Over => "after the end",
        }
    }
}

impl Heard {
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
