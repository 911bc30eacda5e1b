use super::*;

#[test]
fn a_target_argument_is_a_name_and_what_else_is_said() {
    let read = target_argument("files[].path:kind=path,base=repo_path,role=source,optional");
    let wanted = v1::TargetArgument {
        argument: "files[].path".into(),
        kind: "path".into(),
        base: "repo_path".into(),
        role: "source".into(),
        optional: true,
    };
    assert_eq!(read, Ok(wanted));
    let bare = target_argument("path").map(|it| (it.argument, it.kind, it.optional));
    assert_eq!(bare, Ok(("path".to_owned(), String::new(), false)));
    for text in [
        "",
        ":kind=path",
        "path:",
        "path:kind",
        "path:kind=",
        "path:sort=path",
        "path:kind=path,kind=url",
    ] {
        assert!(target_argument(text).is_err(), "{text}");
    }
}

#[test]
fn a_step_has_a_name_an_effect_and_something_it_covers() {
    let read = step("gather:access=read,tool=github/get_issue,server=git,group=a,target=/srv/app")
        .expect("a step");
    assert_eq!(read.name, "gather");
    let scope = read.scope.expect("a scope");
    assert_eq!(scope.access(), v1::AccessLevel::Read);
    assert_eq!(scope.tools, ["github/get_issue"]);
    assert_eq!(
        [scope.servers, scope.groups, scope.targets],
        [["git"], ["a"], ["/srv/app"]]
    );
    for (text, wanted) in [
        ("gather", "NAME:access"),
        (":access=read,server=git", "NAME:access"),
        ("gather:", "`` is not NAME=VALUE"),
        ("gather:access=read", "names no `tool`"),
        ("gather:server=git", "`access` is missing"),
        ("gather:access=all,server=git", "none of read, write, admin"),
        ("gather:access=read,access=write,server=git", "twice"),
        ("gather:access=read,tool=git", "SERVER/TOOL"),
        ("gather:access=read,budget=3", "`budget` is none of"),
        ("gather:access=read,server=", "`server=` is not"),
    ] {
        let said = step(text).expect_err(text);
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

#[test]
fn a_scope_says_what_is_missing_from_it() {
    let said = |args: ScopeArgs| args.scope().map_err(|error| error.to_string());
    assert_eq!(said(ScopeArgs::default()), Ok(None));
    assert!(ScopeArgs::default().required().is_err());
    let only_effect = ScopeArgs {
        access: Some(v1::AccessLevel::Read),
        ..ScopeArgs::default()
    };
    assert!(said(only_effect).is_err_and(|said| said.contains("`--tool`")));
    let only_server = ScopeArgs {
        servers: vec!["git".into()],
        ..ScopeArgs::default()
    };
    assert!(said(only_server).is_err_and(|said| said.contains("`--access`")));
}

#[test]
fn an_end_is_how_long_it_lasts_or_a_time() {
    assert_eq!(ExpiryArgs::default().end(), (None, None));
    assert!(ExpiryArgs::default().required().is_err());
    let read = |text| lasting(text).map(|lasts| (lasts.seconds, lasts.nanos));
    assert_eq!(read("2h"), Ok((7_200, 0)));
    assert_eq!(read("1500ms"), Ok((1, 500_000_000)));
    for text in ["", "0s", "999ms", "soon", "600000000000years"] {
        assert!(lasting(text).is_err(), "{text}");
    }
    let end = ExpiryArgs {
        lasting: lasting("2h").ok(),
        until: None,
    };
    // The same words are the same request, whenever they are said.
    assert_eq!(end.end().1, lasting("120m").ok());
    let read = moment("1970-01-01T00:01:00Z").expect("a time");
    assert_eq!((read.seconds, read.nanos), (60, 0));
    for text in [
        "",
        "tomorrow",
        "1970-01-01 00:01:00",
        "1970-01-01T00:01:00+01:00",
    ] {
        assert!(moment(text).is_err(), "{text}");
    }
}

#[test]
fn states_are_words_and_unspecified_is_none() {
    assert_eq!(
        delegation_status("task-over"),
        Ok(v1::DelegationStatus::TaskOver)
    );
    assert_eq!(task_status("overdue"), Ok(v1::TaskStatus::Overdue));
    assert_eq!(approval_status("pending"), Ok(v1::ApprovalStatus::Pending));
    for text in ["unspecified", "", "ACTIVE", "task_over"] {
        assert!(delegation_status(text).is_err(), "{text}");
    }
}
