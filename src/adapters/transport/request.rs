//! A request on its way to an adapter: as the connection received it, and once it is admitted by its head.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use tonic::Status;

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
    /// When it has to be answered; a change may get more time once it is admitted.
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

/// Receives the permit for the bytes of a body when that is dropped.
pub type PermitSlot = Arc<OnceLock<CapacityPermit>>;

/// A body whose bytes count until its request is answered. Those of a stream count until their message is read, so it has
/// nothing to hold.
pub trait CountedBody:
    http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static
{
    /// The permit for its bytes, for whoever has read it: to be held until the request is answered.
    fn into_permit(self) -> Option<CapacityPermit>;

    /// A slot for the permit, for whoever lets somebody else read and drop it: to be held until the request is answered.
    fn permit_slot(&mut self) -> PermitSlot;
}
