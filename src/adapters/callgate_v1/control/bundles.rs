//! `PublishBundle`, `RollbackBundle` and `ListBundles`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::adapters::callgate_v1::control::state::ControlState;
use crate::adapters::callgate_v1::control::status::status_for;
use crate::adapters::callgate_v1::encode::entity_ref;
use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::authn::caller::Rpc;
use crate::domain::authority::published::PublishedBundle;
use crate::proto::v1;
use crate::store::backend::PublishedRevision;

/// Publishes a bundle.
pub(super) async fn publish(
    shared: &ControlState,
    request: Request<v1::PublishBundleRequest>,
) -> Result<Response<v1::PublishBundleResponse>, Status> {
    let (author, archive) =
        shared.write(request, Rpc::PublishBundle, |_, message| {
            match message.archive.is_empty() {
                true => Err(FieldError::new("archive", FieldProblem::Missing)),
                false => Ok(Arc::<[u8]>::from(&*message.archive)),
            }
        })?;
    let done = shared.control.publish_bundle(&author, archive).await;
    let done = done.map_err(status_for(&author.caller))?;
    Ok(Response::new(v1::PublishBundleResponse {
        bundle: Some(published(&done.value)),
        revision: done.revision,
    }))
}

/// Puts an earlier bundle back into service.
pub(super) async fn rollback(
    shared: &ControlState,
    request: Request<v1::RollbackBundleRequest>,
) -> Result<Response<v1::RollbackBundleResponse>, Status> {
    let (author, revision) =
        shared.write(request, Rpc::RollbackBundle, |_, message| {
            match message.to_revision {
                0 => Err(FieldError::new("to_revision", FieldProblem::Missing)),
                revision => Ok(revision),
            }
        })?;
    let done = shared.control.rollback_bundle(&author, revision).await;
    let done = done.map_err(status_for(&author.caller))?;
    Ok(Response::new(v1::RollbackBundleResponse {
        bundle: Some(published(&done.value)),
        revision: done.revision,
    }))
}

/// Lists the revisions of published bundles.
pub(super) async fn list(
    shared: &ControlState,
    request: Request<v1::ListBundlesRequest>,
) -> Result<Response<v1::ListBundlesResponse>, Status> {
    let (admitted, _) = AdmittedRpc::take(request, Rpc::ListBundles)?;
    let listed = shared.control.list_bundles().await;
    let listed = listed.map_err(status_for(admitted.admitted.caller()))?;
    let live = listed.live.as_ref();
    let revision = |it: &PublishedRevision| v1::BundleRevision {
        revision: it.revision,
        at: Some(it.at.into()),
        bundle: Some(published(&it.bundle)),
        caller: it.caller.to_string(),
        actor: it.principal.as_ref().map(entity_ref),
        in_service: live == Some(&it.bundle.id),
    };
    Ok(Response::new(v1::ListBundlesResponse {
        bundles: listed.revisions.iter().map(revision).collect(),
        revision: listed.revision,
    }))
}

/// Encodes a published bundle.
pub(super) fn published(it: &PublishedBundle) -> v1::PublishedBundle {
    v1::PublishedBundle {
        id: it.id.to_string(),
        digest: it.digest.to_string(),
        version: it.version,
        signed_by: it.signed_by.as_deref().unwrap_or_default().to_owned(),
        back_to_revision: it.back_to.unwrap_or_default(),
    }
}
