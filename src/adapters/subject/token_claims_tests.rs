use serde_json::json;

use super::*;

fn read(token: Json, agent_claim: Option<&str>) -> Result<ResolvedSubject, &'static str> {
    let limits = Limits {
        clock_skew_seconds: 5,
        ..Limits::default()
    };
    let Json::Object(token) = token else {
        panic!("no object");
    };
    let reading = ClaimRules {
        agent_claim,
        passes_claims: true,
        limits: &limits,
    };
    from_claims(token, reading)
}

#[test]
fn the_outermost_actor_acts_and_the_innermost_came_first() {
    let token = json!({
        "sub": "ana", "scope": "read write", "exp": 12.9, "nbf": 8,
        "act": {"sub": "last", "act": {"sub": "middle", "act": {"sub": "first"}}},
    });
    let known = read(token, None).expect("known");
    assert_eq!(known.subject.entity.to_string(), r#"Mcp::Agent::"last""#);
    let delegation = known.actor_chain.expect("somebody stands behind it");
    assert_eq!(
        delegation.root.expect("a person").to_string(),
        r#"Mcp::User::"ana""#
    );
    let actors: Vec<_> = delegation.actors.iter().map(ToString::to_string).collect();
    assert_eq!(
        actors,
        [r#"Mcp::Agent::"first""#, r#"Mcp::Agent::"middle""#]
    );
    assert_eq!(*delegation.scopes, ["read", "write"]);
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(delegation.expires_at, at(17));
    assert_eq!(delegation.not_before, at(3));
    assert!(delegation.verified);
}

#[test]
fn without_actors_a_person_acts_or_whom_a_claim_names() {
    let alone = read(json!({"sub": "ana"}), None).expect("known");
    assert_eq!(alone.subject.entity.to_string(), r#"Mcp::User::"ana""#);
    assert!(alone.actor_chain.is_none());
    let by_claim = read(json!({"sub": "ana", "azp": "bot"}), Some("azp")).expect("known");
    assert_eq!(by_claim.subject.entity.to_string(), r#"Mcp::Agent::"bot""#);
    assert!(by_claim.actor_chain.is_some());
    let actor = json!({"sub": "ana", "azp": "bot", "act": {"sub": "other"}});
    let by_actor = read(actor, Some("azp")).expect("known");
    assert_eq!(
        by_actor.subject.entity.to_string(),
        r#"Mcp::Agent::"other""#
    );
}

#[test]
fn a_token_speaks_of_its_sub_and_each_act_of_its_own_actor() {
    let token = json!({
        "sub": "ana", "groups": ["writers"],
        "act": {"sub": "last", "groups": ["bots"], "act": {"sub": "first", "team": "a"}},
    });
    let known = read(token.clone(), None).expect("known");
    let object = |value: Json| value.as_object().expect("an object").clone();
    assert_eq!(
        known.subject.claims,
        object(json!({"sub": "last", "groups": ["bots"]}))
    );
    let delegation = known.actor_chain.expect("somebody stands behind it");
    let claims = [
        (
            entity_uid(&TYPES.user, "ana"),
            object(json!({"sub": "ana", "groups": ["writers"]})),
        ),
        (
            entity_uid(&TYPES.agent, "first"),
            object(json!({"sub": "first", "team": "a"})),
        ),
    ];
    assert_eq!(delegation.claims, claims);

    // An agent that a claim names has none of its own.
    let token = json!({"sub": "ana", "azp": "bot", "groups": ["writers"]});
    let known = read(token.clone(), Some("azp")).expect("known");
    assert!(known.subject.claims.is_empty());
    let delegation = known.actor_chain.expect("somebody stands behind it");
    assert_eq!(delegation.root_claims(), Some(&object(token.clone())));

    let alone = read(token.clone(), None).expect("known");
    assert_eq!(alone.subject.claims, object(token));
}

#[test]
fn scopes_are_a_text_or_a_list() {
    for scope in [json!("read write"), json!(["read", "write"])] {
        let token = json!({"sub": "ana", "act": {"sub": "bot"}, "scope": scope});
        let known = read(token, None).expect("known");
        let delegation = known.actor_chain.expect("somebody stands behind it");
        assert_eq!(*delegation.scopes, ["read", "write"]);
    }
}

#[test]
fn what_cannot_be_read_names_nobody() {
    for (token, said) in [
        (json!({}), "no `sub`"),
        (json!({"sub": ""}), "empty"),
        (json!({"sub": null}), "no `sub`"),
        (json!({"sub": "  "}), "empty"),
        (json!({"sub": "ana\u{200b}"}), "nobody sees"),
        (json!({"sub": "ana", "act": {"sub": ""}}), "empty"),
        (json!({"sub": "ana", "act": {"sub": null}}), "has no `sub`"),
        (
            json!({"sub": "ana", "act": {"sub": "\u{202e}bot"}}),
            "nobody sees",
        ),
        // What bounds authority is there or it is not; null is neither.
        (json!({"sub": "ana", "act": null}), "no object"),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "scope": null}),
            "`scope`",
        ),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "exp": null}),
            "`exp`",
        ),
        (json!({"sub": "a\nb"}), "control character"),
        (json!({"sub": "a".repeat(5_000)}), "too long"),
        (json!({"sub": ["ana"]}), "no text"),
        (json!({"sub": "ana", "act": "bot"}), "no object"),
        (json!({"sub": "ana", "act": {}}), "has no `sub`"),
        (
            json!({"sub": "ana", "act": {"sub": "a", "act": {"sub": 1}}}),
            "no text",
        ),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "scope": ["x", 1]}),
            "`scope`",
        ),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "exp": "soon"}),
            "`exp`",
        ),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "exp": -1}),
            "`exp`",
        ),
        (
            json!({"sub": "ana", "act": {"sub": "a"}, "exp": u64::MAX}),
            "`exp`",
        ),
    ] {
        let error = read(token.clone(), None).expect_err("nobody");
        assert!(error.contains(said), "{token}: {error}");
    }
    for token in [json!({"sub": "ana"}), json!({"sub": "ana", "azp": null})] {
        let error = read(token, Some("azp")).expect_err("nobody");
        assert!(error.contains("no agent"), "{error}");
    }
    let error = read(json!({"sub": "ana", "azp": ""}), Some("azp")).expect_err("nobody");
    assert!(error.contains("empty"), "{error}");
}
