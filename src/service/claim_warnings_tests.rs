use serde_json::json;

use super::*;
use crate::config::claims::{ClaimKind, GroupClaim};
use crate::domain::request::call_context::{ActorChain, Operation, Subject};
use crate::domain::schema::{TYPES, entity_uid};

fn mapping() -> ClaimMapping {
    let group = |claim: &str| GroupClaim {
        claim: claim.to_owned(),
        prefix: String::new(),
        kind: ClaimKind::Any,
    };
    ClaimMapping {
        groups: vec![group("groups"), group("realm_access.roles")],
        attributes: Vec::new(),
    }
}

fn call(claims: Json) -> CallContext {
    let subject = Subject::verified(entity_uid(&TYPES.user, "ana"), "jwt");
    let operation = Operation::call_tool("git", "log", Map::new());
    let mut call = CallContext::new(subject, operation);
    call.subject.claims = claims.as_object().expect("an object").clone();
    call
}

fn told(mapped: &ClaimWarnings) -> Vec<bool> {
    let flags = mapped.told.iter();
    flags.map(|flag| flag.load(Ordering::Relaxed)).collect()
}

#[test]
fn a_mapped_claim_that_a_token_lacks_is_told_of() {
    let mapping = mapping();
    let mapped = ClaimWarnings::new(&mapping);
    // Nobody passes claims on, so no token was seen.
    mapped.warn_missing(&mapping, &call(json!({})), "edge");
    assert_eq!(told(&mapped), [false, false]);
    let complete = json!({"groups": ["a"], "realm_access": {"roles": ["b"]}});
    mapped.warn_missing(&mapping, &call(complete), "edge");
    assert_eq!(told(&mapped), [false, false]);
    mapped.warn_missing(&mapping, &call(json!({"groups": ["a"]})), "edge");
    assert_eq!(told(&mapped), [false, true]);
}

#[test]
fn what_an_actor_lacks_is_not_told_of() {
    let mapping = mapping();
    let mapped = ClaimWarnings::new(&mapping);
    let mut call = call(json!({"iss": "https://id.example.org"}));
    let root = entity_uid(&TYPES.user, "bob");
    call.actor_chain = Some(ActorChain::verified_from(root.clone()));
    mapped.warn_missing(&mapping, &call, "edge");
    assert_eq!(told(&mapped), [false, false]);
    let token = json!({"sub": "bob", "groups": ["a"]});
    let token = token.as_object().expect("an object").clone();
    call.actor_chain = Some(ActorChain {
        claims: vec![(root.clone(), token)],
        ..ActorChain::verified_from(root)
    });
    mapped.warn_missing(&mapping, &call, "edge");
    assert_eq!(told(&mapped), [false, true]);
}
