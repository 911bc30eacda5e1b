use std::time::SystemTime;

use proptest::prelude::*;
use smol_str::format_smolstr;

use super::*;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::scope::Scope;
use crate::domain::schema::{self, AccessLevel, TYPES};

/// What a delegation is made of here: its id, who delegates, to whom, for which task.
type Made = (u8, u8, u8, Option<u8>);

fn person(number: u8) -> EntityUID {
    schema::entity_uid(&TYPES.user, format_smolstr!("u{number}"))
}

fn agent(number: u8) -> EntityUID {
    schema::entity_uid(&TYPES.agent, format_smolstr!("a{number}"))
}

fn grant((id, from, to, task): Made) -> Arc<Delegation> {
    let at = SystemTime::UNIX_EPOCH;
    Arc::new(Delegation {
        id: format!("g{id:02}").into(),
        from: person(from),
        to: agent(to),
        scope: Scope {
            tools: Vec::new(),
            servers: Vec::new(),
            groups: Vec::new(),
            access: AccessLevel::Read,
            targets: Vec::new(),
        },
        task: task.map(|task| format!("t{task}").into()),
        parent: None,
        max_redelegations: 0,
        not_before: at,
        expires_at: at,
        revoked_at: None,
        created_at: at,
        owners: Default::default(),
    })
}

fn parts() -> Vec<Option<Part>> {
    let some = (0..4_u8).flat_map(|number| {
        [
            Part::Task(format!("t{number}").into()),
            Part::Acts(agent(number)),
            Part::Behind(person(number)),
        ]
    });
    some.map(Some).chain([None]).collect()
}

proptest! {
    /// Put, put in the place of another, and taken away, in any order: what the index gives is what a look through all gives.
    #[test]
    fn the_index_gives_what_a_look_through_everything_gives(
        steps in prop::collection::vec(
            (any::<bool>(), (0..12_u8, 0..3_u8, 0..3_u8, prop::option::of(0..3_u8))),
            1..60,
        ),
        after in prop::option::of(0..12_u8),
    ) {
        let mut indexed = Indexed::default();
        let mut plain: Vec<Arc<Delegation>> = Vec::new();
        for (is_put, made) in steps {
            let delegation = grant(made);
            plain.retain(|known| known.id != delegation.id);
            if is_put {
                plain.push(Arc::clone(&delegation));
                indexed.insert_mut(delegation);
            } else {
                indexed.remove_mut(&delegation.id);
            }
        }
        plain.sort_by(|a, b| a.id.cmp(&b.id));
        let after = after.map(|id| format_smolstr!("g{id:02}"));
        for part in parts() {
            let fits = |delegation: &&Arc<Delegation>| {
                let is_behind = after.as_ref().is_none_or(|after| delegation.id.as_str() > after.as_str());
                let mut of = delegation.parts();
                is_behind && part.as_ref().is_none_or(|part| of.any(|it| it == *part))
            };
            let wanted: Vec<&Arc<Delegation>> = plain.iter().filter(fits).collect();
            let found: Vec<&Arc<Delegation>> = indexed.with(part.as_ref(), after.as_deref()).collect();
            prop_assert_eq!(found, wanted);
        }
        let parts_of_all: usize = plain.iter().map(|delegation| delegation.parts().count()).sum();
        prop_assert_eq!(indexed.by_part.size(), parts_of_all, "nothing is left of what is gone");
    }
}
