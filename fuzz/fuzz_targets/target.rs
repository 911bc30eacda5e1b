//! Targets: a canonical name is its own canonical name, and lies within everything that is said to contain it.

#![no_main]

use callgate::domain::request::target::{self, Target, TargetKind};
use libfuzzer_sys::fuzz_target;

const SERVER: &str = "files";

fuzz_target!(|text: &str| {
    let kinds = TargetKind::NAMED.map(Some);
    for kind in kinds.into_iter().chain([None]) {
        for base in [None, Some("/srv/app")] {
            let found = target::parse(SERVER, kind, text, base);
            found.iter().flatten().for_each(check);
        }
    }
});

fn check(target: &Target) {
    let name: &str = target.uid().eid().as_ref();
    for parent in &target.overlay.parents {
        assert!(
            target::contains(parent, target.uid()),
            "{name:?} lies in {parent}"
        );
    }
    let again = match target.kind {
        TargetKind::Path | TargetKind::Url | TargetKind::Email | TargetKind::Uri => {
            target::parse_one(SERVER, name)
        }
        // The name of a server's own thing begins with the server's.
        TargetKind::Uuid | TargetKind::Id => {
            let own = name
                .strip_prefix(SERVER)
                .and_then(|it| it.strip_prefix(':'));
            let own = own.unwrap_or_else(|| panic!("{name:?} is none of {SERVER}"));
            target::parse_one_as(SERVER, target.kind, own)
        }
    };
    let again = again.unwrap_or_else(|fault| panic!("{name:?} {fault}"));
    assert_eq!(again.uid(), target.uid());
}
