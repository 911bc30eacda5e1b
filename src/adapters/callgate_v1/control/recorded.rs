//! `ExplainDecision`: a recorded decision, made again with the policies in service and explained.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::adapters::callgate_v1::control::state::ControlState;
use crate::adapters::callgate_v1::control::status::status_for;
use crate::adapters::callgate_v1::explanation;
use crate::adapters::input::ids;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::explained::{self, NotExplained};
use crate::analysis::replay::log::LogSource;
use crate::audit::find::SearchScope;
use crate::authn::caller::Rpc;
use crate::control::error::ControlError;
use crate::control::write::Control;
use crate::proto::v1;
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::generation::LoadedBundle;

/// Why a decision of the log is not explained.
#[derive(Debug, thiserror::Error)]
enum ExplainRecordedError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Late(#[from] ServiceError),
    #[error("the decision log cannot be read: {0}")]
    Log(String),
    #[error("the decision log of this server has no decision {0}")]
    NotFound(Uuid),
    #[error("decision {0} cannot be explained: {1}")]
    NotExplained(Uuid, NotExplained),
}

/// Explains a recorded decision.
pub(super) async fn explain(
    shared: &ControlState,
    request: Request<v1::ExplainDecisionRequest>,
) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
    let (admitted, message) = AdmittedRpc::take(request, Rpc::ExplainDecision)?;
    let caller = admitted.admitted.caller();
    if !caller.rights.explain {
        let caller = caller.id.to_string();
        return Err(GrpcRejection::NoExplanations { caller }.into());
    }
    let id = ids::decision(&message.decision_id, "decision_id").map_err(GrpcRejection::from)?;
    let (control, deadline) = (Arc::clone(&shared.control), admitted.deadline);
    let explained = shared
        .explanations
        .run(move || explained(&control, id, deadline));
    let explained = explained.await.map_err(status_for(caller))?;
    explained.map(Response::new).map_err(|failure| {
        let message = failure.to_string();
        match failure {
            ExplainRecordedError::Control(error) => status_for(caller)(error),
            ExplainRecordedError::Late(error) => GrpcRejection::from(error).into(),
            ExplainRecordedError::Log(_) => Status::unavailable(message),
            ExplainRecordedError::NotFound(_) => Status::not_found(message),
            ExplainRecordedError::NotExplained(..) => Status::failed_precondition(message),
        }
    })
}

fn explained(
    control: &Control,
    id: Uuid,
    deadline: Deadline,
) -> Result<v1::ExplainDecisionResponse, ExplainRecordedError> {
    // It may have waited for its turn.
    deadline.check()?;
    let log = control.decision_log()?;
    let source = LogSource::with_key(log.directory(), log.capsule_key());
    let found = source.and_then(|it| it.decision(id, SearchScope::ByItsTime));
    let record = found
        .map_err(ExplainRecordedError::Log)?
        .ok_or(ExplainRecordedError::NotFound(id))?;
    let LoadedBundle {
        snapshot,
        claims,
        policy_set_digest,
    } = control.bundle_in_service()?;
    let policies = snapshot.policy_count();
    let candidate = Candidate::new(snapshot, claims, policy_set_digest);
    deadline.check()?;
    let explained = explained::explain(&candidate, &record, explanation::limits(deadline));
    let explained = explained.map_err(|why| ExplainRecordedError::NotExplained(id, why))?;
    Ok(explanation::of_record(&record, id, explained, policies))
}
