//! Targets: a canonical name is its own canonical name, and lies within everything that is said to contain it.

#![no_main]

use callgate::call::target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some((server, text)) = text.split_once(' ') else {
        return;
    };
    let Ok(place) = target::resource(server, text) else {
        return;
    };
    let name: &str = place.uid.eid().as_ref();
    for parent in &place.parents {
        assert!(
            target::contains(parent, &place.uid),
            "{name:?} lies in {parent}"
        );
    }
    // The names of a server's own things begin with the server's, and are no text that a call brings.
    if name
        .strip_prefix(server)
        .is_some_and(|rest| rest.starts_with(':'))
    {
        return;
    }
    let again = target::resource(server, name);
    let again = again.unwrap_or_else(|fault| panic!("{name:?} {fault}"));
    assert_eq!(again.uid, place.uid, "of {text:?}");
});
