use super::*;

#[test]
fn what_is_said_is_understood_or_told() {
    let decided = |line: &str| match parse_command(line) {
        ReviewCommand::Decide(decision) => Some(decision),
        _ => None,
    };
    assert_eq!(decided("a"), Some(ReviewDecision::Confirm));
    assert_eq!(
        decided("  write "),
        Some(ReviewDecision::Access(AccessLevel::Write))
    );
    assert_eq!(
        decided("labels none"),
        Some(ReviewDecision::Yields(Vec::new()))
    );
    let both = vec!["untrusted".to_owned(), "private".to_owned()];
    assert_eq!(
        decided("labels untrusted, private"),
        Some(ReviewDecision::Yields(both))
    );
    assert_eq!(decided("egress no"), Some(ReviewDecision::Egress(false)));
    assert_eq!(
        decided("holds restricted"),
        Some(ReviewDecision::Sensitivity(Sensitivity::Restricted))
    );
    assert_eq!(
        decided("target files[].path:kind=path,optional"),
        Some(ReviewDecision::Target(TargetArgumentForm {
            kind: Some("path".to_owned()),
            optional: true,
            ..TargetArgumentForm::named("files[].path")
        }))
    );
    assert_eq!(
        decided("target path none"),
        Some(ReviewDecision::NoTarget("path".to_owned()))
    );
    for line in [
        "",
        "y",
        "yes",
        "a b",
        "egress maybe",
        "labels",
        "labels Bad!",
        "Read",
        "holds",
        "holds secrets",
        "target",
        "target path:knd=path",
        "target path some",
    ] {
        assert!(
            matches!(parse_command(line), ReviewCommand::Unclear(_)),
            "{line}"
        );
    }
}

#[test]
fn a_line_that_does_not_end_decides_nothing() {
    let mut endless = io::Cursor::new(vec![b'a'; 10_000]);
    assert_eq!(line(&mut endless).expect("read"), None);
    let mut last = io::Cursor::new(b"q".to_vec());
    assert_eq!(line(&mut last).expect("read").as_deref(), Some("q"));
}
