use serde_json::json;

use super::*;

/// A tool of server-filesystem, as the TypeScript SDK writes it.
const AS_SERVED: &str = r#"{"name":"read_text_file","title":"Read Text File","description":"Read the complete contents of a file.","inputSchema":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"path":{"type":"string"},"tail":{"description":"Lines from the end","type":"number","default":null}},"required":["path"]},"annotations":{"readOnlyHint":true},"execution":{"taskSupport":"forbidden"},"outputSchema":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"content":{"type":"string"}},"required":["content"],"additionalProperties":false}}"#;

/// The same as agentgateway writes it anew: without `execution`, the members in the order of its own type.
const BEHIND_AGENTGATEWAY: &str = r#"{"name":"read_text_file","title":"Read Text File","description":"Read the complete contents of a file.","inputSchema":{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"path":{"type":"string"},"tail":{"default":null,"description":"Lines from the end","type":"number"}},"required":["path"],"type":"object"},"outputSchema":{"$schema":"http://json-schema.org/draft-07/schema#","additionalProperties":false,"properties":{"content":{"type":"string"}},"required":["content"],"type":"object"},"annotations":{"readOnlyHint":true}}"#;

fn object(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).expect("an object")
}

fn of(json: Json) -> ToolDefinition {
    let Json::Object(members) = json else {
        panic!("an object")
    };
    ToolDefinition::from_json(&members, "t").expect("a definition")
}

#[test]
fn what_gateways_leave_out_is_not_pinned() {
    let served =
        ToolDefinition::from_json(&object(AS_SERVED), "read_text_file").expect("a definition");
    let mut text = BEHIND_AGENTGATEWAY.to_owned();
    for (server, prefixed) in [("", "read_text_file"), ("files_", "files_read_text_file")] {
        text = text.replace(
            r#""name":"read_text_file""#,
            &format!(r#""name":"{prefixed}""#),
        );
        let shown =
            ToolDefinition::from_json(&object(&text), "read_text_file").expect("a definition");
        assert_eq!(
            shown.digests().pinned(),
            served.digests().pinned(),
            "{server}"
        );
        assert_eq!(shown.parts(), served.parts());
    }
}

#[test]
fn a_pin_is_over_the_canonical_json_of_what_is_pinned() {
    let pinned = json!({"name": "t", "description": "d", "inputSchema": {"type": "object"}});
    let digest = canonical::digest(&pinned).expect("a digest");
    let bare = json!({"description": "d", "inputSchema": {"type": "object"}, "name": "gateway_t"});
    assert_eq!(of(bare).digests().pinned(), digest.as_str());
}

/// What a server of its own sent and agentgateway did not pass on, each beside what it did.
#[test]
fn members_that_say_nothing_are_no_difference() {
    let plain = json!({"name": "t", "description": "d", "inputSchema": {"type": "object"}});
    for (member, value) in [
        ("annotations", json!(null)),
        ("annotations", json!({})),
        ("annotations", json!({"x-vendor": true, "title": null})),
        ("outputSchema", json!(null)),
        ("title", json!(null)),
        ("execution", json!({"taskSupport": "forbidden"})),
        ("x-vendor", json!({"a": [1, 2]})),
        (
            "icons",
            json!([{"src": "https://example.org/i.png", "x": 1}]),
        ),
        ("_meta", json!({"a": 1})),
    ] {
        let mut with = plain.clone();
        with[member] = value;
        let (with, without) = (of(with), of(plain.clone()));
        assert_eq!(
            with.digests().pinned(),
            without.digests().pinned(),
            "{member}"
        );
        assert_eq!(with.parts(), without.parts(), "{member}");
        let whole = with.digests().whole();
        assert_ne!(
            whole,
            without.digests().whole(),
            "{member}: all of it differs"
        );
        assert!(
            with.digests().are(whole),
            "and an old pin of all of it is one"
        );
        assert!(!without.digests().are(whole));
    }
}

#[test]
fn everything_that_carries_meaning_is_a_difference_and_is_named() {
    let plain = || {
        json!({"name": "t", "title": "T", "description": "d", "annotations": {"readOnlyHint": true, "title": "T"},
          "inputSchema": {"type": "object", "properties": {"a": {"default": null}}}, "outputSchema": {"type": "object"}})
    };
    let pinned = of(plain());
    let cases: [(&str, &str, Json); 10] = [
        ("/title", "title", json!("U")),
        ("/title", "title", json!(null)),
        ("/description", "description", json!("d ")),
        ("/description", "description", json!(null)),
        ("/annotations/readOnlyHint", "annotations", json!(false)),
        ("/annotations/title", "annotations", json!(null)),
        ("/annotations", "annotations", json!(null)),
        ("/inputSchema/properties/a", "inputSchema", json!({})),
        ("/inputSchema/properties/a/default", "inputSchema", json!(0)),
        ("/outputSchema", "outputSchema", json!({})),
    ];
    for (at, member, value) in cases {
        let mut changed = plain();
        *changed.pointer_mut(at).expect("it is there") = value.clone();
        let changed = of(changed);
        assert!(
            !changed.digests().are(pinned.digests().pinned()),
            "{at} {value}"
        );
        assert_eq!(
            changed.differs_in(&pinned.parts()),
            [member],
            "{at} {value}"
        );
    }
    for hint in HINTS {
        let mut changed = plain();
        changed["annotations"][hint] = json!("other");
        assert_eq!(
            of(changed).differs_in(&pinned.parts()),
            ["annotations"],
            "{hint}"
        );
    }
    let mut added = plain();
    added["description"] = json!(null);
    let bare = of(added);
    assert_eq!(
        pinned.differs_in(&bare.parts()),
        ["description"],
        "one that was not there"
    );
    assert_eq!(parts_fault(&pinned.parts()), None);
}

#[test]
fn what_a_careless_reader_takes_for_a_part_cannot_be_pinned() {
    for text in [
        r#"{"name": "t", "Description": "d"}"#,
        r#"{"name": "t", "input\u017fchema": {}}"#,
        r#"{"name": "t", "annotations": {"readonlyhint": true}}"#,
        r#"{"Name": "t"}"#,
    ] {
        let fault = ToolDefinition::from_json(&object(text), "t").expect_err("a fault");
        assert!(fault.contains("no way to spell"), "{fault}");
    }
    assert!(
        !ToolDefinition::unreadable()
            .digests()
            .are(&canonical::digest(&json!({})).expect("one"))
    );
}

#[test]
fn parts_are_known_members_with_short_digests() {
    assert_eq!(parts_fault(""), None, "nothing but a name");
    for text in [
        " ",
        "description",
        "description:0123",
        "description:0123456789ABCDEF",
        "name:0123456789abcdef",
        "description:0123456789abcdef  title:0123456789abcdef",
    ] {
        assert!(parts_fault(text).is_some(), "{text}");
    }
}
