//! The adapters over plain HTTP: routing by path and reading bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::adapters::authzen::endpoints::{self as authzen, Authzen};
use crate::adapters::toolhive::endpoint::{self as toolhive, Toolhive};
use crate::adapters::transport::grpc_rejection::GrpcRejection as Shed;
use crate::adapters::transport::http::admission::{HttpAdapter, REQUEST_ID, request_id};
use crate::adapters::transport::http::rejection::{HttpRejection, RejectionRecord};
use crate::adapters::transport::request::{
    AdmittedRequest, CountedBody, ReceivedHead, ReceivedRequest,
};
use crate::adapters::transport::response_body::ResponseBody;
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
type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

/// All adapters over plain HTTP, behind load shedding. The response carries the request's `x-request-id`.
#[derive(Clone)]
pub(super) struct HttpService(LoadShed<HttpAdapters, AdmittedCall>);

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

impl<B: ReceivedBody> Service<ReceivedRequest<B>> for HttpService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<ReceivedRequest<B>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, received: ReceivedRequest<B>) -> Self::Future {
        let headers = received.request.headers();
        let request_id: Option<HeaderValue> = headers.get(&REQUEST_ID).cloned();
        let coming = self.0.call(received);
        Box::pin(async move {
            let mut response = coming.await?;
            // A request that was shed did not reach the adapter that sets the header.
            set_request_id(&mut response, request_id);
            Ok(response)
        })
    }
}

impl<B: CountedBody> Service<AdmittedRequest<AdmittedCall, B>> for HttpAdapters {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AdmittedRequest<AdmittedCall, B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let AdmittedRequest {
                admitted,
                head,
                mut body,
                ..
            } = request;
            let read = this.read(&mut body).await;
            // Its bytes count until the answer is there.
            let _permit = body.into_permit();
            let answer = match (&admitted, read) {
                (_, Err(rejection)) => Err(rejection),
                (AdmittedCall::Authzen(admitted), Ok(body)) => {
                    this.authzen.answer(admitted, &body).await
                }
                (AdmittedCall::Toolhive(admitted), Ok(body)) => {
                    this.toolhive.answer(admitted, &body).await
                }
            };
            let adapter = admitted.adapter();
            let mut response = answer.unwrap_or_else(|refusal| refusal.response(adapter));
            set_request_id(&mut response, head.headers.get(&REQUEST_ID).cloned());
            Ok(into_body(response))
        })
    }
}

/// An admitted request, by adapter.
enum AdmittedCall {
    Authzen(authzen::AuthzenRequest),
    Toolhive(toolhive::ToolhiveRequest),
}

/// Admits by the head of a request, and answers requests that need no body.
fn http_admitter(adapters: HttpAdapters) -> Admitter<AdmittedCall> {
    Arc::new(move |head| {
        let (adapter, admitted) = adapters.admit(head);
        let answered = |response| Box::new(into_body(response));
        match admitted.map_err(|refusal| answered(refusal.response(adapter)))? {
            HeadOutcome::Answered(response) => Err(answered(response)),
            HeadOutcome::Admitted(admitted) => Ok(Admission {
                caller: Arc::clone(admitted.caller()),
                admitted,
                framing: Framing::Whole,
                yields: true,
            }),
        }
    })
}

/// The outcome of reading a request's head.
enum HeadOutcome {
    Admitted(AdmittedCall),
    Answered(Response<Bytes>),
}

impl AdmittedCall {
    fn caller(&self) -> &Arc<Caller> {
        match self {
            Self::Authzen(admitted) => admitted.caller(),
            Self::Toolhive(admitted) => admitted.caller(),
        }
    }

    fn adapter(&self) -> &'static str {
        match self {
            Self::Authzen(_) => authzen::ADAPTER,
            Self::Toolhive(_) => toolhive::ADAPTER,
        }
    }
}

impl HttpAdapters {
    fn admit(&self, head: ReceivedHead<'_>) -> (&'static str, Result<HeadOutcome, HttpRejection>) {
        let path = head.parts.uri.path();
        if self.authzen.is_at(path) {
            let admit = || {
                self.check_headers(head.parts)?;
                Ok(match self.authzen.admit(head)? {
                    authzen::Head::Answered(response) => HeadOutcome::Answered(response),
                    authzen::Head::Asks(admitted) => {
                        HeadOutcome::Admitted(AdmittedCall::Authzen(admitted))
                    }
                })
            };
            (authzen::ADAPTER, admit())
        } else if Toolhive::is_at(path) {
            let admit = || {
                self.check_headers(head.parts)?;
                let admitted = self.toolhive.admit(head)?;
                Ok(HeadOutcome::Admitted(AdmittedCall::Toolhive(admitted)))
            };
            (toolhive::ADAPTER, admit())
        } else {
            (NO_ADAPTER, Err(HttpRejection::NotFound))
        }
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

    async fn read(&self, body: &mut impl CountedBody) -> Result<Bytes, HttpRejection> {
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

fn into_body(response: Response<Bytes>) -> Response<ResponseBody> {
    response.map(|bytes| Body::new(Full::new(bytes)).into())
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
