//! A request on its way to an adapter: as the connection received it, and once it is admitted by its head.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use tonic::Status;
use tonic::body::Body;

use crate::authn::capacity::CapacityPermit;
use crate::authn::certificate::Peer;
use crate::service::deadline::Deadline;

/// A request, with the other end of its connection.
pub struct ReceivedRequest<B> {
    /// The request as it came.
    pub request: Request<B>,
    /// Who is at the other end.
    pub peer: Peer,
}

/// What admission knows of a request.
#[derive(Clone, Copy)]
pub struct ReceivedHead<'a> {
    /// The head as it came.
    pub parts: &'a Parts,
    /// Who is at the other end.
    pub peer: &'a Peer,
    /// When it has to be answered.
    pub deadline: Deadline,
}

/// An admitted request.
pub struct AdmittedRequest<A, B> {
    /// What the adapter has read from its head.
    pub admitted: A,
    /// Its head.
    pub head: Parts,
    /// Its body, of which nothing has been read.
    pub body: B,
    /// When it has to be answered.
    pub deadline: Deadline,
}

/// Receives the permit for the bytes of a body once that is gone.
pub type PermitSlot = Arc<OnceLock<CapacityPermit>>;

/// A body whose bytes count as long as its request is not answered.
pub trait CountedBody:
    http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static
{
    /// What its bytes count by, once it is read: to be held until the request is answered.
    fn into_permit(self) -> Option<CapacityPermit>;

    /// Where that will be, for a body that somebody else reads.
    fn permit_slot(&mut self) -> PermitSlot;
}

impl<A, B> AdmittedRequest<A, B>
where
    A: Clone + Send + Sync + 'static,
    B: CountedBody,
{
    /// The request for a generated service, which finds the admission and the deadline among the extensions. The slot is to
    /// be held until it is answered.
    pub fn into_generated(mut self) -> (Request<Body>, PermitSlot) {
        let slot = self.body.permit_slot();
        let mut request = Request::from_parts(self.head, Body::new(self.body));
        request.extensions_mut().insert(self.admitted);
        request.extensions_mut().insert(self.deadline);
        (request, slot)
    }
}
