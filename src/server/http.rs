//! The adapters over plain HTTP: routing by path and reading bodies.

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
use crate::server::error_format::ErrorFormat;
use crate::server::limited_body::{Framing, ReceivedBody};
use crate::server::load_shed::{Admission, Admitter, LoadShed};
use crate::server::parts::ServerParts;
use crate::service::server_load::ServerLoad;

/// The adapter label of a request that no adapter answers.
const NO_ADAPTER: &str = "http";

/// The future of a response.
type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// All adapters over plain HTTP, behind load shedding. The response carries the request's `x-request-id`.
#[derive(Clone)]
pub(super) struct HttpService(LoadShed<HttpAdapters>);

/// The adapters.
#[derive(Clone)]
struct HttpAdapters {
    authzen: Arc<Authzen>,
    toolhive: Arc<Toolhive>,
    message_bytes: u32,
    header_bytes: u32,
}

/// Rejections in HTTP's form.
const HTTP_ERRORS: ErrorFormat = ErrorFormat {
    encode: |shed| into_body(to_http_rejection(shed).response(NO_ADAPTER)),
    kind: |response| {
        let refused = response.extensions().get::<RejectionRecord>()?;
        Some((refused.adapter, refused.why))
    },
    message: |response| {
        let refused = response.extensions().get::<RejectionRecord>();
        refused.map_or_else(String::new, |refused| refused.said.clone())
    },
    request_id: |response| request_id(response.headers()),
    adapter: None,
};

impl HttpService {
    /// The service of a server.
    pub(super) fn new(parts: &ServerParts, limits: &Limits, load: Arc<ServerLoad>) -> Self {
        let adapter = || {
            HttpAdapter::new(
                Arc::clone(&parts.service),
                Arc::clone(&parts.authenticator),
                Arc::clone(&parts.limits),
            )
        };
        let adapters = HttpAdapters {
            authzen: Arc::new(Authzen::new(adapter(), parts.authzen.clone())),
            toolhive: Arc::new(Toolhive::new(adapter(), &parts.toolhive)),
            message_bytes: limits.message_bytes,
            header_bytes: limits.header_bytes,
        };
        let service = LoadShed::new(
            adapters.clone(),
            http_admitter(adapters),
            Arc::clone(&parts.limits),
            load,
        )
        .with_error_format(HTTP_ERRORS)
        .with_recorder(parts.service.recorder().clone());
        Self(service)
    }
}

impl<B: ReceivedBody> Service<Request<B>> for HttpService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request_id: Option<HeaderValue> = request.headers().get(&REQUEST_ID).cloned();
        let coming = self.0.call(request);
        Box::pin(async move {
            let mut response = coming.await?;
            // A request that was shed did not reach the adapter that sets the header.
            set_request_id(&mut response, request_id);
            Ok(response)
        })
    }
}

impl<B: ReceivedBody> Service<Request<B>> for HttpAdapters {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let body = Body::new(body);
            let call = head.extensions.remove::<AdmittedCall>();
            let (adapter, answer) = match call {
                Some(AdmittedCall::Authzen(admitted)) => {
                    let answer = this.authzen(&admitted, body).await;
                    (authzen::ADAPTER, answer)
                }
                Some(AdmittedCall::Toolhive(admitted)) => {
                    let answer = this.toolhive(&admitted, body).await;
                    (toolhive::ADAPTER, answer)
                }
                None => (NO_ADAPTER, Err(HttpRejection::NotFound)),
            };
            let mut response = answer.unwrap_or_else(|refusal| refusal.response(adapter));
            set_request_id(&mut response, head.headers.get(&REQUEST_ID).cloned());
            Ok(into_body(response))
        })
    }
}

/// An admitted request, by adapter.
#[derive(Clone)]
enum AdmittedCall {
    Authzen(Arc<authzen::AuthzenRequest>),
    Toolhive(Arc<toolhive::ToolhiveRequest>),
}

/// Admits by the head of a request, and answers requests that need no body.
fn http_admitter(adapters: HttpAdapters) -> Admitter {
    Arc::new(move |head| {
        let (adapter, admitted) = adapters.admit(head);
        let answered = |response| Box::new(into_body(response));
        match admitted.map_err(|refusal| answered(refusal.response(adapter)))? {
            HeadOutcome::Answered(response) => Err(answered(response)),
            HeadOutcome::Admitted(caller, call) => {
                head.extensions.insert(call);
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

/// The outcome of reading a request's head.
enum HeadOutcome {
    Admitted(Arc<Caller>, AdmittedCall),
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
                        HeadOutcome::Admitted(caller, AdmittedCall::Authzen(Arc::new(admitted)))
                    }
                })
            };
            (authzen::ADAPTER, admit())
        } else if Toolhive::is_at(path) {
            let admit = || {
                self.check_headers(head)?;
                let admitted = self.toolhive.admit(head)?;
                let caller = Arc::clone(admitted.caller());
                Ok(HeadOutcome::Admitted(
                    caller,
                    AdmittedCall::Toolhive(Arc::new(admitted)),
                ))
            };
            (toolhive::ADAPTER, admit())
        } else {
            (NO_ADAPTER, Err(HttpRejection::NotFound))
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

    /// Checks the size of the headers, which only HTTP/2 does itself.
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
            Err(error) => Err(body_rejection(&*error)),
        }
    }
}

/// The rejection for a body that could not be read.
fn body_rejection(error: &(dyn std::error::Error + 'static)) -> HttpRejection {
    let shed = std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<Status>());
    match shed.map(|status| (status.code(), status.message().to_owned())) {
        Some((Code::ResourceExhausted, said)) => HttpRejection::Overloaded(said),
        Some((Code::DeadlineExceeded, said)) => HttpRejection::LateBody(said),
        _ => HttpRejection::BrokenBody,
    }
}

/// Copies the request id to the response.
fn set_request_id<B>(response: &mut Response<B>, request_id: Option<HeaderValue>) {
    if let Some(request_id) = request_id {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
}

fn into_body(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Body::new(Full::new(bytes)))
}

/// A rejection by load shedding in HTTP's form. Other kinds do not reach this function.
fn to_http_rejection(shed: Shed) -> HttpRejection {
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
