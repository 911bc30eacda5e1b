use std::collections::HashSet;

use smol_str::format_smolstr;

use super::*;
use crate::cedar::{Eid, EntityType};

/// An entity whose attributes have these names and values.
fn entity(numbers: &[usize]) -> Entity {
    let ty: EntityType = "T".parse().expect("a type name");
    let named = |number: &usize| {
        let value = Value::new(*number as i64, None);
        (format_smolstr!("a{number:03}"), value.into())
    };
    Entity::new_with_attr_partial_value(
        EntityUID::from_components(ty, Eid::new("e"), None),
        numbers.iter().map(named),
        HashSet::new(),
        HashSet::new(),
        [],
    )
}

#[test]
fn attributes_are_found_whatever_the_numbers_of_their_names_and_however_many() {
    let (mut interner, hasher) = (Interner::default(), KeyHasher::default());
    let mut shared = SharedParts::default();
    let all: Vec<usize> = (0..300).collect();
    // The first one gives the names their numbers.
    for numbers in [
        &all[..],
        &all[..255],
        &all[..256],
        &[7],
        &[5, 255, 256, 299],
        &[],
    ] {
        let packed = StoredPack::pack(entity(numbers), &mut interner, &hasher, &mut shared);
        let packed = packed.expect("values are known");
        for number in 0..=300 {
            let found = packed.get().attribute(&interner, &format!("a{number:03}"));
            let expected = numbers.contains(&number).then_some(number as i64);
            assert_eq!(found, expected.map(|it| Value::new(it, None)), "{number}");
        }
        let again = packed
            .get()
            .unpack(&interner, HashSet::new(), HashSet::new());
        assert!(again.deep_eq(&entity(numbers)), "{numbers:?}");
    }
}

#[test]
fn entities_with_the_same_attributes_and_parents_share_them() {
    let (mut interner, hasher) = (Interner::default(), KeyHasher::default());
    let mut shared = SharedParts::default();
    let pack = |numbers| {
        let packed = StoredPack::pack(entity(numbers), &mut interner, &hasher, &mut shared);
        packed.expect("values are known")
    };
    let [one, other, third] = [&[1, 2][..], &[1, 2], &[1]].map(pack);
    let (one, other, third) = (one.get().head(), other.get().head(), third.get().head());
    assert!(Arc::ptr_eq(&one.shape, &other.shape) && Arc::ptr_eq(&one.parents, &other.parents));
    assert!(!Arc::ptr_eq(&one.shape, &third.shape));
}
