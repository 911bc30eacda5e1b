//! The protocols over plain HTTP: which of them a path belongs to, and reading what was sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::adapters::authzen::door::{self as authzen, Authzen};
use crate::adapters::grpc::refusal::Refusal as Shed;
use crate::adapters::http::door::{Door, REQUEST_ID, request_id};
use crate::adapters::http::refusal::{Refusal, Refused};
use crate::adapters::toolhive::door::{self as toolhive, Toolhive};
use crate::config::limits::Limits;
use crate::identity::caller::Caller;
use crate::server::Setup;
use crate::server::body::Framing;
use crate::server::shield::{Admit, Admitted, Dialect, Shield};
use crate::service::load::Load;

/// How a request that no protocol has answered is called in metrics.
const NO_PROTOCOL: &str = "http";

/// A response on its way.
type Coming = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Every protocol over plain HTTP, behind the shield. An `x-request-id` comes back with whatever is
/// answered.
#[derive(Clone)]
pub(super) struct Doors(Shield<Protocols>);

/// The protocols.
#[derive(Clone)]
struct Protocols {
    authzen: Arc<Authzen>,
    toolhive: Arc<Toolhive>,
    message_bytes: u32,
    header_bytes: u32,
}

/// How these protocols refuse.
const PLAIN: Dialect = Dialect {
    refuse: |shed| finished(refusal_of(shed).response(NO_PROTOCOL)),
    refused: |response| {
        let refused = response.extensions().get::<Refused>()?;
        Some((refused.adapter, refused.why))
    },
    said: |response| {
        let refused = response.extensions().get::<Refused>();
        refused.map_or_else(String::new, |refused| refused.said.clone())
    },
    request_id: |response| request_id(response.headers()),
    door: None,
};

impl Doors {
    /// The doors of a server.
    pub(super) fn new(setup: &Setup, limits: &Limits, load: Arc<Load>) -> Self {
        let door = || {
            Door::new(
                Arc::clone(&setup.service),
                Arc::clone(&setup.doorkeeper),
                Arc::clone(&setup.limits),
            )
        };
        let protocols = Protocols {
            authzen: Arc::new(Authzen::new(door(), setup.authzen.clone())),
            toolhive: Arc::new(Toolhive::new(door(), &setup.toolhive)),
            message_bytes: limits.message_bytes,
            header_bytes: limits.header_bytes,
        };
        let shield = Shield::new(
            protocols.clone(),
            admitting(protocols),
            Arc::clone(&setup.limits),
            load,
        )
        .speaking(PLAIN)
        .recording(setup.service.recorder().clone());
        Self(shield)
    }
}

impl Service<Request<Body>> for Doors {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Coming;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let request_id: Option<HeaderValue> = request.headers().get(&REQUEST_ID).cloned();
        let coming = self.0.call(request);
        Box::pin(async move {
            let mut response = coming.await?;
            // A request that was shed has not come as far as to be told its name.
            named(&mut response, request_id);
            Ok(response)
        })
    }
}

impl Service<Request<Body>> for Protocols {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Coming;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let asks = head.extensions.remove::<Asks>();
            let (adapter, answer) = match asks {
                Some(Asks::Authzen(admitted)) => {
                    let answer = this.authzen(&admitted, body).await;
                    (authzen::ADAPTER, answer)
                }
                Some(Asks::Toolhive(admitted)) => {
                    let answer = this.toolhive(&admitted, body).await;
                    (toolhive::ADAPTER, answer)
                }
                None => (NO_PROTOCOL, Err(Refusal::NotFound)),
            };
            let mut response = answer.unwrap_or_else(|refusal| refusal.response(adapter));
            named(&mut response, head.headers.get(&REQUEST_ID).cloned());
            Ok(finished(response))
        })
    }
}

/// What a request whose caller may ask is about.
#[derive(Clone)]
enum Asks {
    Authzen(Arc<authzen::Admitted>),
    Toolhive(Arc<toolhive::Admitted>),
}

/// Admits by the head of a request; what needs no body is answered by it.
fn admitting(protocols: Protocols) -> Admit {
    Arc::new(move |head| {
        let (adapter, admitted) = protocols.admit(head);
        let answered = |response| Box::new(finished(response));
        match admitted.map_err(|refusal| answered(refusal.response(adapter)))? {
            Admission::Answered(response) => Err(answered(response)),
            Admission::Asks(caller, asks) => {
                head.extensions.insert(asks);
                let framing = Framing::Whole;
                Ok(Admitted {
                    caller,
                    framing,
                    yields: true,
                })
            }
        }
    })
}

/// What becomes of a request at its head.
enum Admission {
    Asks(Arc<Caller>, Asks),
    Answered(Response<Bytes>),
}

impl Protocols {
    fn admit(&self, head: &Parts) -> (&'static str, Result<Admission, Refusal>) {
        let path = head.uri.path();
        if self.authzen.is_at(path) {
            let admit = || {
                self.check_headers(head)?;
                Ok(match self.authzen.admit(head)? {
                    authzen::Head::Answered(response) => Admission::Answered(response),
                    authzen::Head::Asks(admitted) => {
                        let caller = Arc::clone(admitted.caller());
                        Admission::Asks(caller, Asks::Authzen(Arc::new(admitted)))
                    }
                })
            };
            (authzen::ADAPTER, admit())
        } else if Toolhive::is_at(path) {
            let admit = || {
                self.check_headers(head)?;
                let admitted = self.toolhive.admit(head)?;
                let caller = Arc::clone(admitted.caller());
                Ok(Admission::Asks(caller, Asks::Toolhive(Arc::new(admitted))))
            };
            (toolhive::ADAPTER, admit())
        } else {
            (NO_PROTOCOL, Err(Refusal::NotFound))
        }
    }

    async fn authzen(
        &self,
        admitted: &authzen::Admitted,
        body: Body,
    ) -> Result<Response<Bytes>, Refusal> {
        let body = self.read(body).await?;
        self.authzen.answer(admitted, &body).await
    }

    async fn toolhive(
        &self,
        admitted: &toolhive::Admitted,
        body: Body,
    ) -> Result<Response<Bytes>, Refusal> {
        let body = self.read(body).await?;
        self.toolhive.answer(admitted, &body).await
    }

    /// HTTP/2 checks this itself, HTTP/1.1 does not.
    fn check_headers(&self, head: &Parts) -> Result<(), Refusal> {
        let headers = head.headers.iter();
        let bytes: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let limit = self.header_bytes;
        if bytes + head.uri.path().len() > limit as usize {
            return Err(Refusal::HeadersTooLarge { limit });
        }
        Ok(())
    }

    async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        let limit = self.message_bytes;
        match Limited::new(body, limit as usize).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { limit }),
            Err(error) => Err(broken(&*error)),
        }
    }
}

/// Why a body could not be read to its end.
fn broken(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let shed = std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<Status>());
    match shed.map(|status| (status.code(), status.message().to_owned())) {
        Some((Code::ResourceExhausted, said)) => Refusal::Overloaded(said),
        Some((Code::DeadlineExceeded, said)) => Refusal::LateBody(said),
        _ => Refusal::BrokenBody,
    }
}

/// Tells the client which request a response answers.
fn named<B>(response: &mut Response<B>, request_id: Option<HeaderValue>) {
    if let Some(request_id) = request_id {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
}

fn finished(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Body::new(Full::new(bytes)))
}

/// What the shield says, in these protocols' words. It says nothing but these, and that it panicked.
fn refusal_of(shed: Shed) -> Refusal {
    match shed {
        Shed::TooManyRequests { limit } => Refusal::TooManyRequests { limit },
        Shed::DeadlineExceeded => Refusal::DeadlineExceeded,
        Shed::Share { .. } | Shed::Overloaded { .. } => Refusal::Overloaded(shed.to_string()),
        _ => Refusal::Panicked,
    }
}

#[cfg(test)]
mod tests;
