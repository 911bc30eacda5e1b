use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

#[test]
fn the_first_names_keep_their_values_and_the_rest_is_other() {
    let names = BoundedNames::new(2);
    let value = |name| names.value(name).to_string();
    assert_eq!(value("a"), "a");
    assert_eq!(value("b"), "b");
    assert_eq!(value("c"), OTHER);
    assert_eq!(value("a"), "a");
    assert_eq!(value("c"), OTHER, "a name never changes its value");
}

#[test]
fn threads_that_add_at_once_do_not_exceed_the_limit() {
    let names = Arc::new(BoundedNames::new(50));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let names = Arc::clone(&names);
            std::thread::spawn(move || {
                let value = |number| names.value(&format!("{thread}-{number}")).to_string();
                (0..200).map(value).collect::<BTreeSet<_>>()
            })
        })
        .collect();
    let seen: BTreeSet<String> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(seen.len(), 51, "fifty names and `OTHER`");
}
