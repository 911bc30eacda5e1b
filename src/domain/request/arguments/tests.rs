use serde_json::json;

use super::*;

fn check(schema: Json, arguments: Json) -> Result<ArgumentReport, ArgumentError> {
    let Json::Object(arguments) = arguments else {
        panic!("arguments are an object");
    };
    ArgumentSchema::from_schema(&schema).check(&arguments)
}

fn files() -> Json {
    json!({
        "type": "object",
        "required": ["repo", "files"],
        "properties": {
            "repo": {"type": "string"},
            "files": {"type": "array", "items": {"$ref": "#/$defs/file"}},
            "parent": {"anyOf": [{"type": "object", "required": ["page_id"], "properties": {"page_id": {"type": "string"}}}, {"type": "null"}]},
            "meta": {"type": "object"},
            "note": {"type": ["string", "null"]},
        },
        "$defs": {"file": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}, "mode": {"type": "string"}}}},
    })
}

#[test]
fn what_is_required_is_there_at_every_depth() {
    for (arguments, missing) in [
        (json!({}), vec!["arguments.repo", "arguments.files"]),
        (json!({"repo": null, "files": []}), vec!["arguments.repo"]),
        (
            json!({"repo": "r", "files": [{"path": "a"}, {"mode": "x"}]}),
            vec!["arguments.files[1].path"],
        ),
        (
            json!({"repo": "r", "files": [], "parent": {}}),
            vec!["arguments.parent.page_id"],
        ),
        (json!({"repo": "r", "files": [], "parent": null}), vec![]),
        (json!({"repo": "r", "files": []}), vec![]),
    ] {
        let checked = check(files(), arguments.clone()).expect("no name is like another");
        assert_eq!(checked.missing, missing, "{arguments}");
    }
    let twice = json!({"required": ["a"], "allOf": [{"required": ["a", "b"]}], "$ref": "#/$defs/a", "$defs": {"a": {"required": ["a"]}}});
    let checked = check(twice, json!({})).expect("no name is like another");
    assert_eq!(checked.missing, ["arguments.a", "arguments.b"]);
    let nullable =
        json!({"required": ["note"], "properties": {"note": {"type": ["string", "null"]}}});
    assert_eq!(
        check(nullable, json!({"note": null})),
        Ok(ArgumentReport::default())
    );
}

#[test]
fn what_no_schema_knows_is_told_at_every_depth() {
    for (arguments, undeclared) in [
        (
            json!({"repo": "r", "files": [{"path": "a", "owner": 1}, {"path": "b", "owner": 2}], "force": true}),
            vec!["files[].owner", "force"],
        ),
        (
            json!({"repo": "r", "files": [], "meta": {"anything": {"at": "all"}}}),
            vec![],
        ),
        (
            json!({"repo": "r", "files": [], "parent": {"page_id": "p", "kind": "x"}}),
            vec!["parent.kind"],
        ),
    ] {
        let checked = check(files(), arguments.clone()).expect("no name is like another");
        assert!(checked.undeclared.iter().eq(&undeclared), "{arguments}");
    }
    for (schema, undeclared) in [
        (json!({"type": "object"}), vec!["x"]),
        (json!({}), vec!["x"]),
        (
            json!({"type": "object", "additionalProperties": true}),
            vec![],
        ),
        (
            json!({"type": "object", "patternProperties": {"^x": {}}}),
            vec![],
        ),
        (
            json!({"allOf": [{"properties": {"x": {}}}, {"properties": {"y": {}}}]}),
            vec![],
        ),
        (
            json!({"oneOf": [{"properties": {"y": {}}}, {"properties": {"x": {}}}]}),
            vec![],
        ),
    ] {
        let checked = check(schema.clone(), json!({"x": 1})).expect("no name is like another");
        assert!(checked.undeclared.iter().eq(&undeclared), "{schema}");
    }
    let checked = ArgumentSchema::UNKNOWN
        .check(json!({"b": 1}).as_object().expect("an object"))
        .expect("no name is like another");
    assert!(
        checked.undeclared.iter().eq(&["b"]),
        "nobody has pinned a schema"
    );
}

#[test]
fn a_name_that_somebody_takes_for_another_is_refused_unless_the_schema_has_both() {
    let path = || json!({"properties": {"path": {"type": "string"}, "list": {"items": {"properties": {"id": {}}}}}});
    for arguments in [
        json!({"Path": "a"}),
        json!({"path": "a", "PATH": "b"}),
        json!({"p\u{ff41}th": "a"}),
        json!({"list": [{"Id": 1}]}),
        json!({"extra": {"a": 1, "A": 2}}),
        json!({"li\u{17f}t": []}),
    ] {
        assert!(check(path(), arguments.clone()).is_err(), "{arguments}");
    }
    for (declared, other) in [
        ("repo_path", "repoPath"),
        ("repo_path", "repo-path"),
        ("repo_path", "RepoPath"),
        ("repoPath", "repo_path"),
        ("repo-path", "REPO_PATH"),
        ("path", "_path"),
    ] {
        let schema = || json!({"properties": {declared: {}}, "additionalProperties": true});
        for arguments in [json!({other: 1}), json!({declared: 1, other: 2})] {
            assert!(check(schema(), arguments.clone()).is_err(), "{arguments}");
        }
    }
    let both = json!({"properties": {"path": {}, "Path": {}, "a_b": {}, "aB": {}}});
    assert_eq!(
        check(both, json!({"path": 1, "Path": 2, "a_b": 3, "aB": 4})),
        Ok(ArgumentReport::default())
    );
    let free = json!({"properties": {"env": {"type": "object"}}});
    assert_eq!(
        check(free, json!({"env": {"a_b": 1, "aB": 2, "a-b": 3}})),
        Ok(ArgumentReport::default()),
        "nobody declares one of them"
    );
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}, "loop": {"$ref": "#/$defs/loop"}}}, "loop": {"$ref": "#/$defs/loop"}}});
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({"next": deep});
    }
    assert!(check(schema, deep).is_ok());
    let names: Map<String, Json> = (0..20)
        .map(|n| (format!("p{n}"), json!({"$ref": "#"})))
        .collect();
    let whole = || json!({"$ref": "#"});
    for endless in [
        json!({"properties": names}),
        json!({"patternProperties": names, "additionalProperties": whole()}),
        json!({"prefixItems": vec![whole(); 20], "items": whole()}),
        json!({"anyOf": vec![whole(); 20], "additionalProperties": whole()}),
    ] {
        let endless = ArgumentSchema::from_schema(&endless);
        assert!(format!("{endless:?}").len() < 10_000_000);
    }
}

/// Takes seconds where the work grows with the square of what is sent.
#[test]
fn many_undeclared_names_are_rejected_at_once_and_none_is_left_out() {
    let names = |count: usize| (0..count).map(|it| (format!("k{it}"), json!(1)));
    let arguments = |count: usize| Json::Object(names(count).collect());
    let schema = || json!({ "properties": { "x": { "properties": { "a": {} }, "additionalProperties": false } } });
    let all = check(schema(), arguments(MAX_UNDECLARED)).unwrap();
    assert_eq!(all.undeclared.len(), MAX_UNDECLARED);
    let begun = std::time::Instant::now();
    for (schema, arguments) in [
        (schema(), arguments(MAX_UNDECLARED + 1)),
        (schema(), arguments(200_000)),
        (schema(), json!({ "x": arguments(200_000) })),
        (json!({}), arguments(200_000)),
    ] {
        assert_eq!(
            check(schema, arguments),
            Err(ArgumentError::TooManyUndeclared)
        );
    }
    // The same name in many places is one.
    let items: Vec<Json> = (0..50_000).map(|_| json!({ "b": 1 })).collect();
    let schema = json!({ "properties": { "x": { "items": { "properties": { "a": {} }, "required": ["a"] } } } });
    let checked = check(schema, json!({ "x": items })).unwrap();
    assert!(checked.undeclared.iter().eq(&["x[].b"]));
    assert_eq!(checked.missing.len(), MAX_MISSING);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn a_text_that_some_server_parses_is_refused_where_the_schema_allows_what_it_becomes() {
    let schema = || {
        json!({"properties": {
            "list": {"type": "array", "items": {"type": "string"}},
            "lists": {"type": "array", "items": {"type": "array"}},
            "one_or_more": {"anyOf": [{"type": "string"}, {"type": "array"}]},
            "record": {"$ref": "#/$defs/record"},
            "anything": {},
            "whatever": true,
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "listed": {"enum": ["a", null]},
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "both": {"allOf": [{}, {"type": "string"}]},
            "counts": {"type": "array", "items": {"type": "number"}},
            "size": {"type": ["integer", "null"]},
            "name_or_number": {"type": ["integer", "string"]},
        }, "$defs": {"record": {"type": "object", "properties": {
            "parts": {"type": "array"}, "note": {"type": ["string", "array"]}, "free": {}, "size": {"type": ["integer", "null"]},
        }}}})
    };
    let list = r#"["a"]"#;
    for arguments in [
        json!({"list": list}),
        json!({"list": r#"{"0": "a"}"#}),
        json!({"lists": [list]}),
        json!({"one_or_more": " [1]\n"}),
        json!({"record": r#"{"note": "a"}"#}),
        json!({"record": {"parts": list}}),
        json!({"record": {"size": "null"}}),
        json!({"anything": "{}"}),
        json!({"anything": "null"}),
        json!({"whatever": "[]"}),
        json!({"maybe": "null"}),
        json!({"listed": "null"}),
        json!({"count": "042"}),
        json!({"count": "42.0"}),
        json!({"counts": ["1", "1e0"]}),
        json!({"size": "4_2"}),
        json!({"size": "9007199254740993"}),
        json!({"count": ["042"]}),
        json!({"size": "null"}),
    ] {
        let checked = check(schema(), arguments.clone());
        let is_refused = matches!(checked, Err(ArgumentError::TwoReadings { .. }));
        assert!(is_refused, "{arguments}: {checked:?}");
    }
    for arguments in [
        json!({"list": ["a", list, "null"]}),
        json!({"list": "pages/[id].tsx"}),
        json!({"list": "null"}),
        json!({"lists": [[list]]}),
        json!({"one_or_more": "[draft] a"}),
        json!({"record": {"note": list, "free": list}}),
        json!({"anything": "true"}),
        json!({"maybe": list}),
        json!({"text": list}),
        json!({"text": "null"}),
        json!({"both": "{}"}),
        json!({"count": "null"}),
        json!({"count": "42"}),
        json!({"counts": ["1.5", "-7"]}),
        json!({"size": "9007199254740991"}),
        json!({"name_or_number": "042"}),
        json!({"unknown": list}),
        json!({"unknown": "042"}),
    ] {
        let checked = check(schema(), arguments.clone());
        assert!(checked.is_ok(), "{arguments}: {checked:?}");
    }
    let path = check(schema(), json!({"record": {"parts": list}}));
    assert_eq!(
        path.map_err(|fault| fault.to_string()),
        Err("`arguments.record.parts` can be read in two ways: it is a text, and some servers make a list of it: send that itself".to_owned())
    );
}

#[test]
fn a_parameter_that_the_sdk_for_python_parses_is_no_text_though_its_schema_says_so() {
    let schema = || {
        json!({"title": "readArguments", "type": "object", "required": ["path"], "properties": {
            "path": {"title": "path", "type": "string"},
            "note": {"default": "x", "title": "note", "type": "string"},
            "p2": {"default": "y", "title": "P2", "type": "string"},
        }})
    };
    for text in [r#"["/etc/passwd"]"#, r#"{"0": "a"}"#, "null"] {
        let refused = check(schema(), json!({"path": text}));
        let is_refused = matches!(refused, Err(ArgumentError::TwoReadings { .. }));
        assert!(is_refused, "{text}: {refused:?}");
        assert!(
            check(schema(), json!({"path": "a", "note": text})).is_err(),
            "{text}"
        );
        assert!(
            check(schema(), json!({"path": "a", "p2": text})).is_ok(),
            "{text}"
        );
    }
    for text in [
        "pages/[id].tsx",
        "[1, 2",
        "[section]\na = 1\n",
        "{% if x %}",
        "{}{}",
        "042",
        "true",
        "\"a\"",
    ] {
        assert!(
            check(schema(), json!({"path": text, "note": text})).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn tuples_and_maps_are_looked_into_as_members_and_items_are() {
    let whole = || json!({"type": "integer"});
    for within in [
        json!({"type": "array", "prefixItems": [{"type": "string"}, whole()]}),
        json!({"type": "array", "prefixItems": [{"type": "string"}], "items": whole()}),
        json!({"type": "array", "items": [{"type": "string"}, whole()]}),
        json!({"type": "array", "items": [{"type": "string"}], "additionalItems": whole()}),
        json!({"anyOf": [{"type": "array", "prefixItems": [{"type": "string"}, whole()]}, {"type": "null"}]}),
        json!({"allOf": [{"prefixItems": [{}, {}]}, {"prefixItems": [{"type": "string"}, whole()]}]}),
        json!({"$ref": "#/$defs/pair%20of%20two"}),
        json!({"$ref": "#/$defs/pair%20of%20two", "type": "array"}),
    ] {
        let schema = || json!({"properties": {"at": within}, "$defs": {"pair of two": {"prefixItems": [{"type": "string"}, whole()]}}});
        let refused = check(schema(), json!({"at": ["042", "042"]}));
        let refused = refused.map_err(|fault| fault.to_string());
        let refused = refused.expect_err(&format!("{within}"));
        assert!(refused.starts_with("`arguments.at[1]`"), "{refused}");
        assert!(check(schema(), json!({"at": ["042", "42"]})).is_ok());
        assert!(check(schema(), json!({"at": ["042", 42]})).is_ok());
    }
    // One part of a schema takes no check of another away, and none is made where any part allows it.
    for (within, refused, fine) in [
        (
            json!({"allOf": [{"items": whole()}, {"prefixItems": [{"title": "first"}]}]}),
            json!(["042"]),
            json!([42, "7"]),
        ),
        (
            json!({"prefixItems": [{"title": "first"}, {}], "allOf": [{"items": whole()}]}),
            json!([1, "042"]),
            json!(["1"]),
        ),
        (
            json!({"anyOf": [{"prefixItems": [{"type": "string"}, whole()]}, {"items": whole()}]}),
            json!(["a", "042"]),
            json!(["a", 7]),
        ),
        (
            json!({"anyOf": [{"prefixItems": [{"type": "string"}, whole()]}, {"type": "array", "items": {"type": "string"}}]}),
            Json::Null,
            json!(["a", "042"]),
        ),
        (
            json!({"$ref": "#/$defs/count", "type": "string"}),
            json!("042"),
            json!("42"),
        ),
        (
            json!({"allOf": [{"type": "array", "items": whole()}, {"type": "string"}]}),
            json!("[1]"),
            json!("a"),
        ),
    ] {
        let schema = json!({"properties": {"at": within}, "$defs": {"count": whole()}});
        let is_fine = |value: &Json| check(schema.clone(), json!({"at": value})).is_ok();
        assert!(
            refused.is_null() || !is_fine(&refused),
            "{within}: {refused}"
        );
        assert!(is_fine(&fine), "{within}: {fine}");
    }
    for within in [
        json!({"type": "object", "additionalProperties": whole()}),
        json!({"patternProperties": {"^[a-z]+$": whole()}}),
        json!({"patternProperties": {"^n_": whole(), "^s_": {"type": "string"}}}),
        json!({"patternProperties": {"^n_": whole()}, "additionalProperties": {"type": "string"}}),
        json!({"oneOf": [{"additionalProperties": whole()}, {"type": "null"}]}),
        json!({"allOf": [{"additionalProperties": {}}, {"additionalProperties": whole()}]}),
        json!({"$ref": "#/$defs/map"}),
    ] {
        let schema = || json!({"properties": {"by": within}, "$defs": {"map": {"additionalProperties": whole()}}});
        let refused = check(schema(), json!({"by": {"a": "42", "n_b": "042"}}));
        let refused = refused.map_err(|fault| fault.to_string());
        let refused = refused.expect_err(&format!("{within}"));
        assert!(refused.starts_with("`arguments.by.n_b`"), "{refused}");
        assert_eq!(
            check(schema(), json!({"by": {"a": "42", "n_b": 42}})),
            Ok(ArgumentReport::default())
        );
    }
    for within in [
        json!({"additionalProperties": {"type": "string"}}),
        json!({"additionalProperties": {"type": ["integer", "string"]}}),
        json!({"additionalProperties": {"anyOf": [whole(), {"type": "string"}]}}),
        json!({"additionalProperties": true}),
        json!({"additionalProperties": {}}),
        json!({"patternProperties": {"": true}}),
        json!({"additionalProperties": {"$ref": "#/$defs/map"}}),
    ] {
        let schema = json!({"properties": {"by": within}});
        let checked = check(schema, json!({"by": {"n_b": "042", "c": "[1]"}}));
        assert_eq!(checked, Ok(ArgumentReport::default()), "{within}");
    }
}

#[test]
fn names_within_tuples_and_maps_are_held_against_their_schemas() {
    let file =
        json!({"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}});
    let other =
        json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}});
    let schema = || {
        json!({"properties": {
            "by_name": {"type": "object", "additionalProperties": file},
            "pair": {"type": "array", "prefixItems": [file, other]},
            "either": {"type": "object", "patternProperties": {"^f": file, "^o": other}},
        }})
    };
    let checked = check(
        schema(),
        json!({
            "by_name": {"a": {"path": "x", "mode": 1}, "b": {}},
            "pair": [{"path": "x"}, {"path": "y"}],
            "either": {"f": {"path": "x"}, "o": {"id": "y", "z": 1}},
        }),
    );
    let checked = checked.expect("no name is like another");
    let missing = ["arguments.by_name.b.path", "arguments.pair[1].id"];
    assert_eq!(checked.missing, missing);
    let undeclared = ["by_name.a.mode", "either.o.z", "pair[].path"];
    assert!(checked.undeclared.iter().eq(&undeclared), "{checked:?}");
    let alike = check(schema(), json!({"by_name": {"a": {"Path": "x"}}}));
    assert!(
        matches!(alike, Err(ArgumentError::LookAlike { .. })),
        "{alike:?}"
    );
}

#[test]
fn a_text_that_names_a_target_and_is_json_is_refused_with_what_to_do() {
    let names = ["channel", "paths"].map(SmolStr::new_static);
    let check = |arguments: Json| {
        let arguments = arguments.as_object().expect("an object");
        ArgumentSchema::check_target_texts(names.iter(), arguments)
    };
    for (text, reading) in [
        ("null", "null"),
        ("[2024]", "a list"),
        ("{\"a\": 1}", "an object"),
    ] {
        let refused = check(json!({ "channel": text })).map_err(|fault| fault.to_string());
        let expected = format!(
            "`arguments.channel` names a target, and can be read in two ways: some servers make {reading} of such a text whatever \
             their schema says. Name the target in other words: a file with `./` before its path, anything else by its id"
        );
        assert_eq!(refused, Err(expected));
    }
    for arguments in [
        json!({"channel": "2024"}),
        json!({"channel": "true", "paths": ["null", "./[2024]"]}),
        json!({"channel": "./null", "text": "null"}),
        json!({"channel": "None", "paths": ["[id].tsx"]}),
    ] {
        assert_eq!(check(arguments.clone()), Ok(()), "{arguments}");
    }
}
