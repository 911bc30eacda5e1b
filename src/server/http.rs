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

use crate::adapters::authzen::endpoints::{self as authzen, Authzen};
use crate::adapters::toolhive::endpoint::{self as toolhive, Toolhive};
use crate::adapters::transport::grpc_rejection::GrpcRejection as Shed;
use crate::adapters::transport::http::admission::{HttpAdapter, REQUEST_ID, request_id};
use crate::adapters::transport::http::rejection::{HttpRejection, RejectionRecord};
use crate::authn::caller::Caller;
use crate::config::limits::Limits;
use crate::server::ServerParts;
use crate::server::limited_body::Framing;
use crate::server::load_shed::{Admission, Admitter, ErrorFormat, LoadShed};
use crate::service::server_load::ServerLoad;

/// How a request that no protocol has answered is called in metrics.
const NO_PROTOCOL: &str = "http";

/// A response on its way.
type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Every protocol over plain HTTP, behind the shield. An `x-request-id` comes back with whatever is
/// answered.
#[derive(Clone)]
pub(super) struct HttpService(LoadShed<HttpAdapters>);

/// The protocols.
#[derive(Clone)]
struct HttpAdapters {
    authzen: Arc<Authzen>,
    toolhive: Arc<Toolhive>,
    message_bytes: u32,
    header_bytes: u32,
}

/// How these protocols refuse.
const HTTP_ERRORS: ErrorFormat = ErrorFormat {
    refuse: |shed| finished(refusal_of(shed).response(NO_PROTOCOL)),
    refused: |response| {
        let refused = response.extensions().get::<RejectionRecord>()?;
        Some((refused.adapter, refused.why))
    },
    said: |response| {
        let refused = response.extensions().get::<RejectionRecord>();
        refused.map_or_else(String::new, |refused| refused.said.clone())
    },
    request_id: |response| request_id(response.headers()),
    door: None,
};

impl HttpService {
    /// The doors of a server.
    pub(super) fn new(setup: &ServerParts, limits: &Limits, load: Arc<ServerLoad>) -> Self {
        let door = || {
            HttpAdapter::new(
                Arc::clone(&setup.service),
                Arc::clone(&setup.doorkeeper),
                Arc::clone(&setup.limits),
            )
        };
        let protocols = HttpAdapters {
            authzen: Arc::new(Authzen::new(door(), setup.authzen.clone())),
            toolhive: Arc::new(Toolhive::new(door(), &setup.toolhive)),
            message_bytes: limits.message_bytes,
            header_bytes: limits.header_bytes,
        };
        let shield = LoadShed::new(
            protocols.clone(),
            http_admitter(protocols),
            Arc::clone(&setup.limits),
            load,
        )
        .with_error_format(HTTP_ERRORS)
        .with_recorder(setup.service.recorder().clone());
        Self(shield)
    }
}

impl Service<Request<Body>> for HttpService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

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

impl Service<Request<Body>> for HttpAdapters {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let asks = head.extensions.remove::<AdmittedCall>();
            let (adapter, answer) = match asks {
                Some(AdmittedCall::Authzen(admitted)) => {
                    let answer = this.authzen(&admitted, body).await;
                    (authzen::ADAPTER, answer)
                }
                Some(AdmittedCall::Toolhive(admitted)) => {
                    let answer = this.toolhive(&admitted, body).await;
                    (toolhive::ADAPTER, answer)
                }
                None => (NO_PROTOCOL, Err(HttpRejection::NotFound)),
            };
            let mut response = answer.unwrap_or_else(|refusal| refusal.response(adapter));
            named(&mut response, head.headers.get(&REQUEST_ID).cloned());
            Ok(finished(response))
        })
    }
}

/// What a request whose caller may ask is about.
#[derive(Clone)]
enum AdmittedCall {
    Authzen(Arc<authzen::AuthzenRequest>),
    Toolhive(Arc<toolhive::ToolhiveRequest>),
}

/// Admits by the head of a request; what needs no body is answered by it.
fn http_admitter(protocols: HttpAdapters) -> Admitter {
    Arc::new(move |head| {
        let (adapter, admitted) = protocols.admit(head);
        let answered = |response| Box::new(finished(response));
        match admitted.map_err(|refusal| answered(refusal.response(adapter)))? {
            HeadOutcome::Answered(response) => Err(answered(response)),
            HeadOutcome::Asks(caller, asks) => {
                head.extensions.insert(asks);
                let framing = Framing::Whole;
                Ok(Admission {
                    caller,
                    framing,
                    yields: true,
                })
            }
        }
    })
}

/// What becomes of a request at its head.
enum HeadOutcome {
    Asks(Arc<Caller>, AdmittedCall),
    Answered(Response<Bytes>),
}

impl HttpAdapters {
    fn admit(&self, head: &Parts) -> (&'static str, Result<HeadOutcome, HttpRejection>) {
        let path = head.uri.path();
        if self.authzen.is_at(path) {
            let admit = || {
                self.check_headers(head)?;
                Ok(match self.authzen.admit(head)? {
                    authzen::Head::Answered(response) => HeadOutcome::Answered(response),
                    authzen::Head::Asks(admitted) => {
                        let caller = Arc::clone(admitted.caller());
                        HeadOutcome::Asks(caller, AdmittedCall::Authzen(Arc::new(admitted)))
                    }
                })
            };
            (authzen::ADAPTER, admit())
        } else if Toolhive::is_at(path) {
            let admit = || {
                self.check_headers(head)?;
                let admitted = self.toolhive.admit(head)?;
                let caller = Arc::clone(admitted.caller());
                Ok(HeadOutcome::Asks(
                    caller,
                    AdmittedCall::Toolhive(Arc::new(admitted)),
                ))
            };
            (toolhive::ADAPTER, admit())
        } else {
            (NO_PROTOCOL, Err(HttpRejection::NotFound))
        }
    }

    async fn authzen(
        &self,
        admitted: &authzen::AuthzenRequest,
        body: Body,
    ) -> Result<Response<Bytes>, HttpRejection> {
        let body = self.read(body).await?;
        self.authzen.answer(admitted, &body).await
    }

    async fn toolhive(
        &self,
        admitted: &toolhive::ToolhiveRequest,
        body: Body,
    ) -> Result<Response<Bytes>, HttpRejection> {
        let body = self.read(body).await?;
        self.toolhive.answer(admitted, &body).await
    }

    /// HTTP/2 checks this itself, HTTP/1.1 does not.
    fn check_headers(&self, head: &Parts) -> Result<(), HttpRejection> {
        let headers = head.headers.iter();
        let bytes: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let limit = self.header_bytes;
        if bytes + head.uri.path().len() > limit as usize {
            return Err(HttpRejection::HeadersTooLarge { limit });
        }
        Ok(())
    }

    async fn read(&self, body: Body) -> Result<Bytes, HttpRejection> {
        let limit = self.message_bytes;
        match Limited::new(body, limit as usize).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(HttpRejection::TooLarge { limit }),
            Err(error) => Err(broken(&*error)),
        }
    }
}

/// Why a body could not be read to its end.
fn broken(error: &(dyn std::error::Error + 'static)) -> HttpRejection {
    let shed = std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<Status>());
    match shed.map(|status| (status.code(), status.message().to_owned())) {
        Some((Code::ResourceExhausted, said)) => HttpRejection::Overloaded(said),
        Some((Code::DeadlineExceeded, said)) => HttpRejection::LateBody(said),
        _ => HttpRejection::BrokenBody,
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
fn refusal_of(shed: Shed) -> HttpRejection {
    match shed {
        Shed::TooManyRequests { limit } => HttpRejection::TooManyRequests { limit },
        Shed::DeadlineExceeded => HttpRejection::DeadlineExceeded,
        Shed::Share { .. } | Shed::Overloaded { .. } => HttpRejection::Overloaded(shed.to_string()),
        _ => HttpRejection::Panicked,
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
