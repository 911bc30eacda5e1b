//! Decides a principal, action, resource and context with the generation in service.

use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::parc::{Parc, decide_parc};
use crate::domain::decide::verdict::Verdict;
use crate::service::generation::Generation;
use crate::service::request::ParcRequest;

/// Decides one request.
pub(super) fn decide(generation: &Generation, question: &ParcRequest) -> Verdict {
    if let Some(reason) = &question.denied {
        return Verdict::deny(reason.clone());
    }
    let inputs = DecisionInputs {
        authority: &generation.authority,
        ..DecisionInputs::from(&generation.snapshot)
    };
    let parc = Parc {
        principal: &question.principal,
        action: &question.action,
        resource: &question.resource,
        context: &question.context,
        asserted: &question.asserted,
    };
    decide_parc(&inputs, &parc)
}
