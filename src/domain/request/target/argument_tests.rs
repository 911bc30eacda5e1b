use super::*;

#[test]
fn a_path_to_an_argument_has_members_and_lists() {
    for text in [
        "path",
        "files[].path",
        "parent.page_id",
        "a[][].b",
        "x-y_z",
        "recipients[]",
    ] {
        let path = ArgumentPath::parse(text).expect(text);
        assert_eq!(path.to_string(), text);
    }
    let deep = ["a"; MAX_STEPS + 1].join(".");
    let long = "a".repeat(MAX_ARGUMENT_BYTES + 1);
    for text in [
        "", ".", "a.", ".a", "a..b", "[]", "[].a", "a[0]", "a[", "a]b", &deep, &long,
    ] {
        assert!(ArgumentPath::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_written_is_a_name_or_says_more() {
    let read = |json: Json| {
        serde_json::from_value::<TargetArgumentForm>(json).map_err(|it| it.to_string())
    };
    let full = json!({"argument": "files[].path", "kind": "path", "base": "repo_path", "role": "source", "optional": true});
    for json in [
        json!("path"),
        full.clone(),
        json!({"argument": "to", "role": "recipient"}),
    ] {
        let written = read(json.clone()).expect("it reads");
        assert_eq!(serde_json::to_value(&written).expect("JSON"), json);
    }
    assert_eq!(
        read(json!({"argument": "path"})),
        Ok(TargetArgumentForm::named("path"))
    );
    assert_eq!(read(full.clone()).expect("it reads").attribute(), full);
    for json in [
        json!(7),
        json!({"kind": "path"}),
        json!({"argument": "a", "knd": "path"}),
        json!(["a"]),
        json!(null),
    ] {
        assert!(read(json.clone()).is_err(), "{json}");
    }
}

#[test]
fn each_field_is_checked_and_named() {
    let path = || TargetArgumentForm {
        kind: Some("path".into()),
        ..TargetArgumentForm::named("files")
    };
    let faulty = [
        ("argument", TargetArgumentForm::named("a..b")),
        (
            "kind",
            TargetArgumentForm {
                kind: Some("uri".into()),
                ..path()
            },
        ),
        (
            "kind",
            TargetArgumentForm {
                kind: Some("Path".into()),
                ..path()
            },
        ),
        (
            "base",
            TargetArgumentForm {
                kind: Some("url".into()),
                base: Some("cwd".into()),
                ..path()
            },
        ),
        (
            "base",
            TargetArgumentForm {
                base: Some("cwd".into()),
                ..TargetArgumentForm::named("a")
            },
        ),
        (
            "base",
            TargetArgumentForm {
                base: Some("/srv/../x".into()),
                ..path()
            },
        ),
        (
            "base",
            TargetArgumentForm {
                base: Some("/srv/%41".into()),
                ..path()
            },
        ),
        (
            "base",
            TargetArgumentForm {
                base: Some("dirs[].path".into()),
                ..path()
            },
        ),
        (
            "base",
            TargetArgumentForm {
                base: Some("".into()),
                ..path()
            },
        ),
        (
            "role",
            TargetArgumentForm {
                role: Some("".into()),
                ..path()
            },
        ),
        (
            "role",
            TargetArgumentForm {
                role: Some("The Source".into()),
                ..path()
            },
        ),
        (
            "role",
            TargetArgumentForm {
                role: Some("a".repeat(65)),
                ..path()
            },
        ),
    ];
    for (field, written) in faulty {
        let fault = TargetArgument::read(&written).expect_err(field);
        assert_eq!(fault.field, field, "{fault:?}");
    }
    let fine = TargetArgumentForm {
        base: Some("/srv".into()),
        role: Some("x-1".into()),
        ..path()
    };
    assert!(TargetArgument::read(&fine).is_ok());
}
