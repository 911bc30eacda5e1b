//! Who is let in over gRPC: by the head of a request, before a byte of its body is read.
//!
//! The server's shield calls [`admit`] and leaves the [`Entrance`] among the request's extensions, where the RPCs find
//! it. A stream asks it again at every message, so that a reload of the callers reaches streams that are open.

use std::sync::Arc;

use arc_swap::Guard;
use http::HeaderValue;
use http::request::Parts;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Extensions, Request};

use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::headers;
use crate::authn::authenticate::{Authenticator, PresentedCredentials};
use crate::authn::caller::{Caller, Rpc};
use crate::authn::capacity::{
    CallerUsage, CapacityError, CapacityLimit, CapacityPermit, UsageCount,
};
use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionRequest;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server;
use crate::proto::envoy::auth::authorization_server as ext_authz_server;
use crate::proto::envoy::processing::external_processor_server;
use crate::proto::v1::{authorization_server, control_server};

/// A caller that was let in, and what it has shown.
#[derive(Clone)]
pub struct AdmittedCaller {
    doorkeeper: Arc<ReloadableAuthenticator>,
    authenticator: Arc<Authenticator>,
    caller: Arc<Caller>,
    authorization: Option<HeaderValue>,
    peer: Option<Peer>,
    /// Keeps the connection from being taken for a silent one.
    _asked: Option<Arc<ConnectionRequest>>,
}

/// The RPC at a path.
pub fn rpc(path: &str) -> Option<Rpc> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let named = |rpcs: &[Rpc]| rpcs.iter().copied().find(|rpc| rpc.name() == method);
    match (service, method) {
        (authorization_server::SERVICE_NAME, _) => named(&Rpc::AUTHORIZATION),
        (control_server::SERVICE_NAME, _) => named(&Rpc::CONTROL),
        (ext_authz_server::SERVICE_NAME, "Check") => Some(Rpc::ExtAuthzCheck),
        (external_processor_server::SERVICE_NAME, "Process") => Some(Rpc::ExtProcProcess),
        (ext_mcp_server::SERVICE_NAME, "CheckRequest" | "CheckResponse") => Some(Rpc::ExtMcpCheck),
        _ => None,
    }
}

/// Whether the messages of an RPC come one after the other for as long as the client likes.
pub fn is_stream(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::AuthorizeStream | Rpc::ExtProcProcess)
}

/// Whether an RPC is a question, which gives way under overload. Changes do not, nor does what tells how things stand:
/// who takes a power away or looks for the cause is not kept waiting by questions.
pub fn yields(rpc: Rpc) -> bool {
    !Rpc::CONTROL.contains(&rpc)
}

/// The other end of the connection, and the certificate that it has shown.
pub fn peer(extensions: &http::Extensions) -> Option<&Peer> {
    match extensions.get::<TlsConnectInfo<Peer>>() {
        None => extensions.get(),
        Some(connection) => {
            let peer = connection.get_ref();
            if let Some(chain) = connection.peer_certs() {
                peer.names(&chain);
            }
            Some(peer)
        }
    }
}

/// Lets a caller in that may use the RPC at this path.
pub fn admit(
    doorkeeper: &Arc<ReloadableAuthenticator>,
    head: &Parts,
) -> Result<(AdmittedCaller, Rpc), GrpcRejection> {
    let rpc = rpc(head.uri.path()).ok_or(GrpcRejection::NoSuchMethod)?;
    let authorization = headers::authorization(&head.headers)?;
    let peer = peer(&head.extensions);
    let asked = peer.map(|peer| Arc::new(ConnectionRequest::new(peer.standing())));
    let mut entrance = AdmittedCaller::open(doorkeeper, authorization.cloned(), peer.cloned())?;
    entrance.may(rpc)?;
    if let Some(name) = headers::repeated(&head.headers) {
        return Err(GrpcRejection::Repeated { name });
    }
    entrance._asked = asked;
    Ok((entrance, rpc))
}

/// Lets a request in that has not come over the network.
pub fn admit_in_process<T>(
    doorkeeper: &Arc<ReloadableAuthenticator>,
    request: &mut Request<T>,
) -> Result<(), GrpcRejection> {
    let shown = request.metadata().get("authorization");
    let shown = shown.and_then(|it| HeaderValue::from_bytes(it.as_encoded_bytes()).ok());
    let entrance = AdmittedCaller::open(doorkeeper, shown, None)?;
    request.extensions_mut().insert(entrance);
    Ok(())
}

/// Who asks, as long as it may use this RPC. What has not come through [`admit`] is nobody's.
pub(in crate::adapters) fn take_admission(
    extensions: &mut Extensions,
    rpc: Rpc,
) -> Result<AdmittedCaller, GrpcRejection> {
    let entrance: AdmittedCaller = extensions.remove().ok_or(GrpcRejection::NotAdmitted)?;
    entrance.may(rpc)?;
    Ok(entrance)
}

impl AdmittedCaller {
    fn open(
        doorkeeper: &Arc<ReloadableAuthenticator>,
        authorization: Option<HeaderValue>,
        peer: Option<Peer>,
    ) -> Result<Self, GrpcRejection> {
        let authenticator = Guard::into_inner(doorkeeper.current());
        let caller = authenticator.authenticate(PresentedCredentials {
            authorization: authorization.as_ref().map(HeaderValue::as_bytes),
            names: peer.as_ref().map_or(&[], Peer::names_read),
        })?;
        Ok(Self {
            doorkeeper: Arc::clone(doorkeeper),
            authenticator,
            caller,
            authorization,
            peer,
            _asked: None,
        })
    }

    /// Who asks.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// An error if the caller has no right to this RPC.
    fn may(&self, rpc: Rpc) -> Result<(), GrpcRejection> {
        if self.caller.rights.rpcs.contains(rpc) {
            return Ok(());
        }
        let caller = self.caller.id.to_string();
        Err(GrpcRejection::NotAllowed { caller, rpc })
    }

    /// Who asks, by the callers that are in force now.
    pub(in crate::adapters) fn again(&mut self, rpc: Rpc) -> Result<&Arc<Caller>, GrpcRejection> {
        let current = self.doorkeeper.current();
        if !Arc::ptr_eq(&self.authenticator, &current) {
            let evidence = PresentedCredentials {
                authorization: self.authorization.as_ref().map(HeaderValue::as_bytes),
                names: self.peer.as_ref().map_or(&[], Peer::names_read),
            };
            self.caller = current.authenticate(evidence)?;
            self.authenticator = Guard::into_inner(current);
        }
        self.may(rpc)?;
        Ok(&self.caller)
    }

    /// One of the places that `limit` gives in all.
    pub(in crate::adapters) fn place(
        &self,
        all: &UsageCount,
        own: fn(&CallerUsage) -> &UsageCount,
        limits: &Limits,
        limit: u32,
    ) -> Result<CapacityPermit, CapacityError> {
        let held = &self.caller.held;
        let bound = CapacityLimit::new(limit as usize, limits.caller_share_percent, held);
        CapacityPermit::one(all, own(held), bound)
    }

    /// Why a caller that has its share of `limits.<of>` is refused.
    pub(in crate::adapters) fn over_share(
        &self,
        limits: &Limits,
        limit: u32,
        of: &'static str,
    ) -> GrpcRejection {
        over_share(&self.caller, limits, limit as usize, of)
    }
}

/// Why a caller that has its share of `limits.<of>` is refused.
pub fn over_share(
    caller: &Caller,
    limits: &Limits,
    limit: usize,
    of: &'static str,
) -> GrpcRejection {
    GrpcRejection::Share {
        caller: caller.id.to_string(),
        share: CapacityLimit::new(limit, limits.caller_share_percent, &caller.held).share,
        of,
    }
}

#[cfg(test)]
#[path = "grpc_admission_tests.rs"]
mod tests;
