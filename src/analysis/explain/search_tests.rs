use callgate_engine::cedar::EntityUID;

use super::*;

fn uid(ty: &str, id: &str) -> EntityUID {
    format!("Mcp::{ty}::\"{id}\"").parse().expect("a uid")
}

#[test]
fn an_approval_comes_last() {
    let approve = Change::Approve {
        by: uid("User", "ines"),
    };
    let set = with(std::slice::from_ref(&approve), Change::VerifyIdentity);
    assert_eq!(set, [Change::VerifyIdentity, approve]);
}

#[test]
fn who_approves_makes_no_other_proposal() {
    let by = |id: &str| Change::Approve {
        by: uid("User", id),
    };
    let known = vec![vec![Change::NameSession, by("ines")]];
    assert!(is_repeated(&known, &[Change::NameSession, by("ravi")]));
    assert!(!is_repeated(&known, &[Change::StatePurpose, by("ravi")]));
    assert!(!is_repeated(&known, &[by("ravi")]));
}
