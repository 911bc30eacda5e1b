use std::collections::{BTreeMap, BTreeSet};

use crate::cedar::{Eid, EntityType, Value};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::*;

fn uid(name: &str) -> EntityUID {
    let ty: EntityType = "T".parse().expect("a type name");
    EntityUID::from_components(ty, Eid::new(name), None)
}

fn entity(name: &str, value: i64, parents: &[&str]) -> Entity {
    Entity::new_with_attr_partial_value(
        uid(name),
        [(SmolStr::new_static("v"), Value::new(value, None).into())],
        HashSet::new(),
        parents.iter().map(|parent| uid(parent)).collect(),
        [],
    )
}

fn ancestors(store: &EntityStore, name: &str) -> BTreeSet<String> {
    let entity = store.unpack(&uid(name), &[]).expect("stored");
    entity
        .ancestors()
        .map(|uid| AsRef::<str>::as_ref(uid.eid()).to_owned())
        .collect()
}

#[test]
fn ancestors_are_worked_out_through_missing_and_double_links() {
    let store = EntityStore::build([
        entity("a", 1, &["b", "c"]),
        entity("b", 2, &["d", "gone"]),
        entity("c", 3, &["d"]),
        entity("d", 4, &[]),
    ])
    .expect("no fault");
    assert_eq!(
        ancestors(&store, "a"),
        ["b", "c", "d", "gone"].map(str::to_owned).into()
    );
    assert_eq!(ancestors(&store, "d"), BTreeSet::new());
}

#[test]
fn an_entity_with_thousands_of_ancestors_gets_them_all() {
    let names: Vec<String> = (0..3_000).map(|n| format!("g{n}")).collect();
    let parents: Vec<&str> = names.iter().map(String::as_str).collect();
    let chain = names
        .windows(2)
        .map(|pair| entity(&pair[0], 0, &[&pair[1]]));
    let entities = chain.chain([entity("a", 1, &parents), entity("b", 1, &["g0"])]);
    let store = EntityStore::build(entities).expect("no fault");
    assert_eq!(ancestors(&store, "a").len(), 3_000);
    assert_eq!(ancestors(&store, "b").len(), 3_000);
}

#[test]
fn circles_are_refused_at_load_and_at_change() {
    let fault = EntityStore::build([entity("a", 1, &["b"]), entity("b", 1, &["a"])]);
    assert!(matches!(fault, Err(BuildError::EntityCycle(_))));
    let store =
        EntityStore::build([entity("a", 1, &["b"]), entity("b", 1, &[])]).expect("no fault");
    assert!(matches!(
        store.upsert([entity("b", 1, &["a"])]),
        Err(BuildError::EntityCycle(_))
    ));
    assert!(matches!(
        store.upsert([entity("c", 1, &["c"])]),
        Err(BuildError::EntityCycle(_))
    ));
}

#[test]
fn the_same_name_twice_is_refused_at_load() {
    let fault = EntityStore::build([entity("a", 1, &[]), entity("a", 1, &[])]);
    assert!(matches!(fault, Err(BuildError::DuplicateEntity(_))));
}

proptest! {
    /// A history of changes against a plain map; every earlier store stays as it was.
    #[test]
    fn a_changed_store_shares_nothing_that_changes(
        changes in proptest::collection::vec((0..20_u8, proptest::option::of(any::<i64>())), 1..60),
    ) {
        let mut store = EntityStore::build([]).expect("nothing at fault");
        let mut model: BTreeMap<u8, i64> = BTreeMap::new();
        let mut history = Vec::new();
        for (number, value) in changes {
            let name = format!("e{number}");
            match value {
                Some(value) => {
                    store = store.upsert([entity(&name, value, &[])]).expect("no circle");
                    model.insert(number, value);
                }
                None => {
                    store = store.remove([&uid(&name)]);
                    model.remove(&number);
                }
            }
            history.push((store.clone(), model.clone()));
        }
        for (store, model) in history {
            prop_assert_eq!(store.len(), model.len());
            for number in 0..20_u8 {
                let stored = store.find(&uid(&format!("e{number}")));
                let stored = stored.and_then(|packed| packed.attribute(store.interner(), "v"));
                prop_assert_eq!(stored, model.get(&number).map(|value| Value::new(*value, None)));
            }
        }
    }
}
