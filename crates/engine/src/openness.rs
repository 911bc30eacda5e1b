//! Whether something that is not known yet, such as an approval, might turn a deny into an allow.

use crate::evaluation::{Outcome, PolicyOutcome};
use crate::policy::{AttributeBloom, CompiledPolicy};

/// Whether a request might be allowed if one attribute of the context were not known: then a policy that
/// reads it may or may not apply, and all others apply as they do.
pub(crate) struct Openness<'a> {
    attribute: &'a str,
    bloom: AttributeBloom,
    has_permit: bool,
    is_denied: bool,
}

impl<'a> Openness<'a> {
    pub(crate) fn new(attribute: &'a str) -> Self {
        Self {
            attribute,
            bloom: AttributeBloom::of([attribute]),
            has_permit: false,
            is_denied: false,
        }
    }

    pub(crate) fn count(&mut self, compiled: &CompiledPolicy, outcome: &PolicyOutcome) {
        if compiled.info.is_shadow {
            return;
        }
        let is_open = || {
            let may_be = compiled.condition.is_some() && compiled.reads.may_share(self.bloom);
            may_be && compiled.context.reads(self.attribute)
        };
        match outcome {
            Ok(Outcome::Satisfied) if compiled.info.is_forbid => self.is_denied |= !is_open(),
            Err(_) => {
                let is_open = is_open();
                self.is_denied |= !is_open;
                self.has_permit |= is_open && !compiled.info.is_forbid;
            }
            Ok(Outcome::Satisfied | Outcome::Undetermined) => {
                self.has_permit |= !compiled.info.is_forbid;
            }
            Ok(Outcome::Unsatisfied) => {
                self.has_permit |= !compiled.info.is_forbid && !self.has_permit && is_open();
            }
        }
    }

    pub(crate) fn may_allow(&self) -> bool {
        self.has_permit && !self.is_denied
    }
}
