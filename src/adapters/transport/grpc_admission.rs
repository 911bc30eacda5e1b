//! Admission of gRPC requests by their head, before a byte of the body is read.
//!
//! The server's load shedding calls [`admit`] and hands the [`AdmittedCaller`] on with the request; generated services find
//! it among the extensions. A stream authenticates again at every message, so that a reload of the callers
//! reaches open streams.

use std::sync::Arc;

use arc_swap::Guard;
use http::HeaderValue;
use tonic::{Extensions, Request};

use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::request::ReceivedHead;
use crate::adapters::transport::{admission, headers};
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
use crate::proto::envoy::auth_served::authorization_server as ext_authz_server;
use crate::proto::envoy::processing::external_processor_server;
use crate::proto::v1::{authorization_server, control_server};

/// An admitted caller.
#[derive(Clone)]
pub struct AdmittedCaller {
    caller: Arc<Caller>,
    /// Of what goes on after it has begun to be answered, and is authenticated again then.
    credentials: Option<Credentials>,
}

/// What a caller presented, and who checked it.
#[derive(Clone)]
struct Credentials {
    reloadable: Arc<ReloadableAuthenticator>,
    authenticator: Arc<Authenticator>,
    authorization: Option<HeaderValue>,
    /// `None` in process.
    peer: Option<Peer>,
    /// Keeps the connection from counting as idle. Until it begins to be answered, load shedding does.
    _asked: Option<Arc<ConnectionRequest>>,
}

/// The outcome of admission.
pub struct Admitted {
    /// Who asks.
    pub caller: AdmittedCaller,
    /// What for; the caller has the right to it.
    pub rpc: Rpc,
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

/// Whether an RPC is a stream of requests without a fixed end.
pub fn is_stream(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::AuthorizeStream | Rpc::ExtProcProcess)
}

/// Whether an RPC goes on after it has begun to be answered.
fn goes_on(rpc: Rpc) -> bool {
    is_stream(rpc) || matches!(rpc, Rpc::WatchApprovals | Rpc::WatchChanges)
}

/// Whether a request at this path is one decision: microseconds of work, with a short message on either side.
pub fn is_one_decision(path: &str) -> bool {
    match rpc(path) {
        Some(Rpc::Authorize | Rpc::IsAuthorized | Rpc::ExtAuthzCheck) => true,
        // Of a response, each entry of a list is decided.
        Some(Rpc::ExtMcpCheck) => path.ends_with("/CheckRequest"),
        _ => false,
    }
}

/// Whether an RPC may be shed under overload. Decisions may; writes and reads of the control API may not, so
/// that revoking authority and finding the cause of trouble do not wait for decisions.
pub fn is_sheddable(rpc: Rpc) -> bool {
    !Rpc::CONTROL.contains(&rpc)
}

/// The paths of the RPCs with one message that may be shed.
pub fn sheddable_unary_paths() -> Vec<String> {
    let of = |service: &str, method: &str| format!("/{service}/{method}");
    let authorization = Rpc::AUTHORIZATION.iter();
    let mut paths: Vec<String> = authorization
        .map(|rpc| of(authorization_server::SERVICE_NAME, rpc.name()))
        .collect();
    paths.push(of(ext_authz_server::SERVICE_NAME, "Check"));
    paths.push(of(ext_mcp_server::SERVICE_NAME, "CheckRequest"));
    paths.push(of(ext_mcp_server::SERVICE_NAME, "CheckResponse"));
    let may_be_shed = |rpc: Rpc| is_sheddable(rpc) && !is_stream(rpc);
    paths.retain(|path| rpc(path).is_some_and(may_be_shed));
    paths
}

/// Authenticates the caller and checks its right to the RPC at this path.
///
/// # Errors
///
/// Returns a rejection if the path is unknown, the caller cannot be authenticated, it lacks the right, or a
/// header is repeated.
pub fn admit(
    reloadable: &Arc<ReloadableAuthenticator>,
    head: ReceivedHead<'_>,
) -> Result<Admitted, GrpcRejection> {
    let headers = &head.parts.headers;
    let rpc = rpc(head.parts.uri.path()).ok_or(GrpcRejection::NoSuchMethod)?;
    let authorization = headers::authorization(headers)?;
    let authenticator = reloadable.current();
    let caller = authenticator.authenticate(presented(authorization, Some(head.peer)))?;
    admission::require_right(&caller, rpc)?;
    admission::check_headers(headers)?;
    let credentials = goes_on(rpc).then(|| Credentials {
        reloadable: Arc::clone(reloadable),
        authenticator: Guard::into_inner(authenticator),
        authorization: authorization.cloned(),
        peer: Some(head.peer.clone()),
        _asked: Some(Arc::new(ConnectionRequest::new(head.peer.standing()))),
    });
    let caller = AdmittedCaller {
        caller,
        credentials,
    };
    Ok(Admitted { caller, rpc })
}

/// Admits a request that did not come over the network.
///
/// # Errors
///
/// Returns a rejection if the caller cannot be authenticated.
pub fn admit_in_process<T>(
    reloadable: &Arc<ReloadableAuthenticator>,
    request: &mut Request<T>,
) -> Result<(), GrpcRejection> {
    let shown = request.metadata().get("authorization");
    let authorization = shown.and_then(|it| HeaderValue::from_bytes(it.as_encoded_bytes()).ok());
    let authenticator = Guard::into_inner(reloadable.current());
    let caller = authenticator.authenticate(presented(authorization.as_ref(), None))?;
    let credentials = Credentials {
        reloadable: Arc::clone(reloadable),
        authenticator,
        authorization,
        peer: None,
        _asked: None,
    };
    request.extensions_mut().insert(AdmittedCaller {
        caller,
        credentials: Some(credentials),
    });
    Ok(())
}

fn presented<'a>(
    authorization: Option<&'a HeaderValue>,
    peer: Option<&'a Peer>,
) -> PresentedCredentials<'a> {
    PresentedCredentials {
        authorization: authorization.map(HeaderValue::as_bytes),
        names: peer.map_or(&[], Peer::names),
    }
}

/// Takes the admitted caller of a request and checks its right to the RPC. A request that did not pass admission has none.
pub(in crate::adapters) fn take_admission(
    extensions: &mut Extensions,
    rpc: Rpc,
) -> Result<AdmittedCaller, GrpcRejection> {
    let admitted: AdmittedCaller = extensions.remove().ok_or(GrpcRejection::NotAdmitted)?;
    admission::require_right(&admitted.caller, rpc)?;
    Ok(admitted)
}

impl AdmittedCaller {
    /// The authenticated caller.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Authenticates again if the callers were reloaded since.
    pub(in crate::adapters) fn reauthenticate(
        &mut self,
        rpc: Rpc,
    ) -> Result<&Arc<Caller>, GrpcRejection> {
        let credentials = self.credentials.as_mut();
        let credentials = credentials.ok_or(GrpcRejection::NotAdmitted)?;
        let current = credentials.reloadable.current();
        if !Arc::ptr_eq(&credentials.authenticator, &current) {
            let authorization = credentials.authorization.as_ref();
            let presented = presented(authorization, credentials.peer.as_ref());
            self.caller = current.authenticate(presented)?;
            credentials.authenticator = Guard::into_inner(current);
        }
        admission::require_right(&self.caller, rpc)?;
        Ok(&self.caller)
    }

    /// Takes one of the slots that `limits.<setting>` allows, within the caller's share of them. `exhausted` is the
    /// rejection if all are taken.
    pub(in crate::adapters) fn acquire_slot(
        &self,
        slots: &UsageCount,
        own: fn(&CallerUsage) -> &UsageCount,
        limits: &Limits,
        (limit, setting): (u32, &'static str),
        exhausted: GrpcRejection,
    ) -> Result<CapacityPermit, GrpcRejection> {
        let held = &self.caller.held;
        let bound = CapacityLimit::new(limit as usize, limits.caller_share_percent, held);
        CapacityPermit::one(slots, own(held), bound).map_err(|error| match error {
            CapacityError::All => exhausted,
            CapacityError::Share => over_share(&self.caller, limits, limit as usize, setting),
        })
    }
}

/// The rejection of a caller that holds its share of `limits.<of>`.
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
