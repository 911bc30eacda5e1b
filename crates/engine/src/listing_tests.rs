use std::collections::{BTreeSet, HashSet};

use crate::cedar::{Entity, PolicySet};

use super::*;
use crate::reach::Reach;
use crate::snapshot::SnapshotParts;

fn uid(ty: &str, id: usize) -> EntityUID {
    EntityUID::with_eid_and_type(ty, &id.to_string()).expect("a uid")
}

fn snapshot(entities: impl IntoIterator<Item = EntityUID>) -> Snapshot {
    Snapshot::build(SnapshotParts {
        policies: PolicySet::new(),
        entities: entities.into_iter().map(Entity::with_uid),
        schema: None,
        reach: Reach::Unbounded,
    })
    .expect("a snapshot")
}

/// Walks to the end and gives the size of each piece.
fn all(snapshot: &Snapshot, ty: &str, most: usize) -> (Vec<EntityUID>, Vec<usize>) {
    let ty = EntityType::from_normalized(ty);
    let (mut found, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let piece = snapshot.list_entities(&ty, after, most).expect("a place");
        sizes.push(piece.entities.len());
        found.extend(piece.entities.into_iter().map(|(uid, _)| uid));
        match piece.next {
            Some(next) => after = Some(next),
            None => return (found, sizes),
        }
    }
}

trait FromNormalized {
    fn from_normalized(text: &str) -> EntityType;
}

impl FromNormalized for EntityType {
    fn from_normalized(text: &str) -> EntityType {
        EntityType::from_normalized_str(text).expect("a type")
    }
}

#[test]
fn every_entity_of_the_type_turns_up_once_whatever_the_size_of_a_piece() {
    let wanted: BTreeSet<EntityUID> = (0..300).map(|id| uid("user", id)).collect();
    let others = (0..200).map(|id| uid("record", id));
    let snapshot = snapshot(wanted.iter().cloned().chain(others));
    for most in [1, 2, 7, 100, 300, 1_000] {
        let (found, sizes) = all(&snapshot, "user", most);
        assert_eq!(found.len(), wanted.len(), "{most}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
        assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
    }
    assert!(all(&snapshot, "spaceship", 10).0.is_empty());
}

#[test]
fn a_rare_type_among_many_entities_comes_in_bounded_pieces() {
    let others = (0..20_000).map(|id| uid("record", id));
    let snapshot = snapshot(others.chain([uid("user", 1)]));
    let (found, sizes) = all(&snapshot, "user", 10);
    assert_eq!(found, [uid("user", 1)]);
    assert!(sizes.len() > 10, "{} pieces", sizes.len());
}

#[test]
fn changes_meanwhile_do_not_disturb_what_stays() {
    let ty = EntityType::from_normalized("user");
    let first = snapshot((0..100).map(|id| uid("user", id)));
    let piece = first.list_entities(&ty, None, 40).expect("a piece");
    let added = (100..200).map(|id| Entity::with_uid(uid("user", id)));
    let changed = first.upsert(added).expect("a snapshot");
    let gone = uid("user", 7);
    let changed = changed.remove([&gone]);
    let rest = changed
        .list_entities(&ty, piece.next, 1_000)
        .expect("a piece");
    let mut seen: Vec<EntityUID> = Vec::new();
    seen.extend(piece.entities.into_iter().map(|(uid, _)| uid));
    seen.extend(rest.entities.into_iter().map(|(uid, _)| uid));
    let once: HashSet<&EntityUID> = seen.iter().collect();
    assert_eq!(once.len(), seen.len());
    assert!(
        (0..100)
            .filter(|id| *id != 7)
            .all(|id| once.contains(&uid("user", id)))
    );
}

#[test]
fn a_place_of_another_load_is_refused() {
    let ty = EntityType::from_normalized("user");
    let build = || snapshot((0..100).map(|id| uid("user", id)));
    let place = build().list_entities(&ty, None, 10).expect("a piece").next;
    assert!(place.is_some());
    assert_eq!(
        build().list_entities(&ty, place, 10).err(),
        Some(StaleCursorError)
    );
}
