//! Services that are generated from their definition, which answer whatever gRPC allows.
//!
//! They know nothing of admission: the caller and the deadline lie among the extensions of what they are given.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower::Service;

use crate::adapters::transport::grpc_admission::Admitted;
use crate::adapters::transport::request::{AdmittedRequest, CountedBody};
use crate::adapters::transport::response_body::ResponseBody;

/// The response to come.
pub type Answer = BoxFuture<Response<ResponseBody>, Infallible>;

/// What is generated from the definition of a service.
pub trait GeneratedService:
    Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future = BoxFuture<Response<Body>, Infallible>,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GeneratedService for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A generated service that answers admitted requests. What is read of their bodies counts until it has.
#[derive(Clone)]
pub struct Generated<S>(pub S);

impl<S: GeneratedService, B: CountedBody> Service<AdmittedRequest<Admitted, B>> for Generated<S> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer;

    /// Always, as what is generated is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AdmittedRequest<Admitted, B>) -> Answer {
        let AdmittedRequest {
            admitted,
            head,
            mut body,
            deadline,
        } = request;
        let permit = body.permit_slot();
        let mut request = Request::from_parts(head, Body::new(body));
        request.extensions_mut().insert(admitted.caller);
        request.extensions_mut().insert(deadline);
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?.map(ResponseBody::from);
            drop(permit);
            Ok(response)
        })
    }
}
