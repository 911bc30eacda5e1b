use serde_json::json;

use super::*;
use crate::config::claims::{AttributeClaim, ClaimKind, GroupClaim};

fn mapping() -> ClaimMapping {
    let group = |claim: &str, prefix: &str| GroupClaim {
        claim: claim.to_owned(),
        prefix: prefix.to_owned(),
        kind: ClaimKind::Any,
    };
    ClaimMapping {
        groups: vec![group("groups", "idp:"), group("scope", "scope:")],
        attributes: vec![AttributeClaim {
            claim: "tenant".to_owned(),
            tag: "tenant".to_owned(),
            kind: ClaimKind::Any,
        }],
    }
}

fn read_json(claims: Json) -> Result<AssertedClaims, ClaimError> {
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
fn only_scope_is_a_list_of_words() {
    let groups = |claims: Json| -> Vec<String> {
        let asserted = read_json(claims).expect("claims");
        let ids = asserted.groups.iter().map(|uid| uid.eid().escaped());
        ids.map(|id| id.to_string()).collect()
    };
    assert_eq!(groups(json!({"groups": "not admins"})), ["idp:not admins"]);
    assert_eq!(groups(json!({"groups": [" admins "]})), ["idp: admins "]);
    assert_eq!(
        groups(json!({"scope": " read  write "})),
        ["scope:read", "scope:write"]
    );
    // A list is a list, whatever it is called.
    assert_eq!(
        groups(json!({"scope": ["read write"]})),
        ["scope:read write"]
    );
    for nothing in [json!(""), json!([]), json!([""]), json!(null)] {
        assert!(groups(json!({"groups": nothing})).is_empty());
    }
}

#[test]
fn a_claim_in_an_object_is_named_by_its_path() {
    let claims = json!({
        "realm_access": {"roles": ["a"]},
        "resource_access": {"my.client": {"roles": ["b"]}},
        "https://id.example.org/roles": ["c"],
        "https://id.example.org/app": {"roles": ["d"]},
        "x.y": "whole", "x": {"y": "part"},
        "nothing.here": null, "nothing": {"here": "e"},
    });
    let claims = claims.as_object().expect("an object");
    for (name, found) in [
        ("realm_access.roles", Some(json!(["a"]))),
        ("resource_access.my.client.roles", Some(json!(["b"]))),
        ("https://id.example.org/roles", Some(json!(["c"]))),
        ("https://id.example.org/app.roles", Some(json!(["d"]))),
        ("x.y", Some(json!("whole"))),
        ("nothing.here", Some(json!("e"))),
        ("realm_access.groups", None),
        ("realm_access.roles.a", None),
        ("roles", None),
        (".realm_access", None),
        ("realm_access.", None),
    ] {
        assert_eq!(find(claims, name), found.as_ref(), "{name}");
    }
}

#[test]
fn claims_that_nobody_mapped_are_of_no_concern() {
    let asserted = read_json(json!({ "roles": { "deep": ["admin"] } })).expect("claims");
    assert!(asserted.groups.is_empty() && asserted.tags.is_empty());
}

#[test]
fn a_mapped_claim_of_another_shape_is_refused_by_name() {
    let fault = read_json(json!({ "groups": { "a": 1 } })).expect_err("not text");
    assert_eq!(fault, ClaimError::NotText("groups".to_owned()));
    let fault = read_json(json!({ "groups": ["a", 1] })).expect_err("not text");
    assert_eq!(fault, ClaimError::NotText("groups".to_owned()));
}

#[test]
fn too_many_values_are_refused() {
    let many: Vec<String> = (0..=MAX_CLAIM_VALUES).map(|n| n.to_string()).collect();
    assert_eq!(
        read_json(json!({ "groups": many })).expect_err("too many"),
        ClaimError::TooMany
    );
}

#[test]
fn a_claim_of_another_kind_than_is_said_denies_and_an_empty_one_counts() {
    let of = |kind: ClaimKind, value: Json| {
        let mapping = ClaimMapping {
            groups: vec![GroupClaim {
                claim: "it".to_owned(),
                prefix: "g:".to_owned(),
                kind,
            }],
            attributes: vec![AttributeClaim {
                claim: "it".to_owned(),
                tag: "it".to_owned(),
                kind,
            }],
        };
        let claims = json!({"it": value});
        let read = read(claims.as_object().expect("an object"), &mapping);
        read.map(|it| {
            (
                it.groups.len(),
                it.tags.first().map(|(_, tag)| tag.to_string()),
            )
        })
    };
    let said = |kind: ClaimKind, value: Json| of(kind, value).expect("claims").1;
    assert_eq!(
        said(ClaimKind::Text, json!("a")).as_deref(),
        Some(r#"["a"]"#)
    );
    assert_eq!(said(ClaimKind::Text, json!("")).as_deref(), Some(r#"[""]"#));
    assert_eq!(
        said(ClaimKind::List, json!(["a"])).as_deref(),
        Some(r#"["a"]"#)
    );
    assert_eq!(said(ClaimKind::List, json!([])).as_deref(), Some("[]"));
    for kind in [ClaimKind::Any, ClaimKind::Text, ClaimKind::List] {
        assert_eq!(of(kind, Json::Null), Ok((0, None)));
    }
    // Where no kind is said they are the same, and what is empty says nothing.
    assert_eq!(
        said(ClaimKind::Any, json!("a")),
        said(ClaimKind::Any, json!(["a"]))
    );
    assert_eq!(of(ClaimKind::Any, json!("")), Ok((0, None)));
    assert_eq!(of(ClaimKind::Any, json!([])), Ok((0, None)));
    for value in [json!(["a"]), json!([]), json!(5), json!(true), json!({})] {
        assert!(of(ClaimKind::Text, value.clone()).is_err(), "{value}");
    }
    for value in [
        json!("a"),
        json!(""),
        json!(5),
        json!(true),
        json!({}),
        json!([5]),
    ] {
        assert!(of(ClaimKind::List, value.clone()).is_err(), "{value}");
    }
}

#[test]
fn a_number_that_may_have_been_rounded_is_no_value_and_nobody_cares_about_one_that_is_not_mapped() {
    let mapping = ClaimMapping {
        attributes: vec![AttributeClaim {
            claim: "it".to_owned(),
            tag: "it".to_owned(),
            kind: ClaimKind::Any,
        }],
        ..ClaimMapping::default()
    };
    let of = |claims: Json| read(claims.as_object().expect("an object"), &mapping);
    let safe = of(json!({"it": 9_007_199_254_740_991_i64})).expect("claims");
    assert_eq!(safe.tags[0].1.to_string(), r#"["9007199254740991"]"#);
    for number in [
        json!(9_007_199_254_740_992_i64),
        json!(1.1e18),
        json!(-1e300),
    ] {
        let said = of(json!({"it": number})).expect_err("rounded").to_string();
        assert!(
            said.starts_with("claim `it` is a whole number beyond 2^53 - 1"),
            "{said}"
        );
        assert!(
            of(json!({"other": number}))
                .expect("claims")
                .tags
                .is_empty()
        );
    }
}
