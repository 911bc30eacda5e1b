use serde_json::json;

use super::*;
use crate::config::claims::{AttributeClaim, GroupClaim};

fn mapping() -> ClaimMapping {
    let group = |claim: &str, prefix: &str| GroupClaim {
        claim: claim.to_owned(),
        prefix: prefix.to_owned(),
    };
    ClaimMapping {
        groups: vec![group("groups", "idp:"), group("scope", "scope:")],
        attributes: vec![AttributeClaim {
            claim: "tenant".to_owned(),
            tag: "tenant".to_owned(),
        }],
    }
}

fn read_json(claims: Json) -> Result<Asserted, ClaimFault> {
    read(
        claims.as_object().expect("claims are an object"),
        &mapping(),
    )
}

#[test]
fn mapped_claims_become_groups_and_tags() {
    let asserted = read_json(json!({
        "groups": ["Site Reliability", "ops"], "scope": "read write", "tenant": "acme", "email": "a@b.c",
    }))
    .expect("claims");
    let groups: Vec<String> = asserted.groups.iter().map(ToString::to_string).collect();
    assert_eq!(
        groups,
        [
            "Mcp::Group::\"idp:Site Reliability\"",
            "Mcp::Group::\"idp:ops\"",
            "Mcp::Group::\"scope:read\"",
            "Mcp::Group::\"scope:write\"",
        ]
    );
    assert_eq!(asserted.tags.len(), 1);
    assert_eq!(asserted.tags[0].1.to_string(), "[\"acme\"]");
}

#[test]
fn claims_that_nobody_mapped_are_of_no_concern() {
    let asserted = read_json(json!({ "roles": { "deep": ["admin"] } })).expect("claims");
    assert!(asserted.groups.is_empty() && asserted.tags.is_empty());
}

#[test]
fn a_mapped_claim_of_another_shape_is_refused_by_name() {
    let fault = read_json(json!({ "groups": { "a": 1 } })).expect_err("not text");
    assert_eq!(fault, ClaimFault::NotText("groups".to_owned()));
    let fault = read_json(json!({ "groups": ["a", 1] })).expect_err("not text");
    assert_eq!(fault, ClaimFault::NotText("groups".to_owned()));
}

#[test]
fn too_many_values_are_refused() {
    let many: Vec<String> = (0..=MAX_CLAIM_VALUES).map(|n| n.to_string()).collect();
    assert_eq!(
        read_json(json!({ "groups": many })).expect_err("too many"),
        ClaimFault::TooMany
    );
}
