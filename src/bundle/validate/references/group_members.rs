//! The types of the entities that are within others: a policy for the agents of a group that only has servers never applies.
//!
//! Start at [`MemberTypes::refusal`].

use callgate_engine::cedar::{EntityType, EntityUID};

use crate::bundle::validate::references::canonical_text::Refusal;
use crate::bundle::validate::references::entity_facts::TypesWithin;
use crate::bundle::validate::references::known_entities::KnownEntities;

/// The types of the entities within each entity, by what the files say.
pub(super) struct MemberTypes<'a> {
    known: &'a KnownEntities<'a>,
    types: &'a TypesWithin,
}

impl<'a> MemberTypes<'a> {
    pub(super) fn new(types: &'a TypesWithin, known: &'a KnownEntities<'a>) -> Self {
        Self { known, types }
    }

    /// Why no entity of these types is in another one; `None` if one may be: the other is of one of them itself, has a member
    /// of one at any depth, or has no members that files tell of.
    pub(super) fn refusal(&self, types: &[&EntityType], uid: &EntityUID) -> Option<Refusal> {
        let within = self.types.get(uid)?;
        let fits = |ty: &EntityType| types.contains(&ty);
        if types.is_empty()
            || fits(uid.entity_type())
            || within.iter().any(fits)
            || self.known.may_have_other_members(uid)
        {
            return None;
        }
        let wanted = listed(types.iter().copied());
        let there = listed(within.iter());
        Some(Refusal {
            message: format!("no {wanted} is in `{uid}`"),
            help: format!(
                "what is in it is {there}; if others come from elsewhere, name it in `bundle.known.entities`"
            ),
        })
    }
}

fn listed<'t>(types: impl Iterator<Item = &'t EntityType>) -> String {
    let names: Vec<String> = types.map(|ty| format!("`{ty}`")).collect();
    names.join(" or ")
}
