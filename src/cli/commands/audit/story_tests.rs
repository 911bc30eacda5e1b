use super::*;
use crate::audit::fixtures::records;
use crate::audit::outcome_check::OutcomeDoubt;
use crate::audit::record::StoredRecord;
use crate::audit::record::schema::Verdict;

fn found() -> Vec<FoundRecord> {
    let found = records().into_iter().map(|message| {
        let stored = StoredRecord::from_message(&message).expect("a record");
        FoundRecord::new(stored, message)
    });
    found.collect()
}

/// A story to which nothing belongs.
fn alone(record: &FoundRecord) -> Story<'_> {
    Story {
        record,
        parent: None,
        approvals: &[],
        delegations: &[],
        stop: None,
        later: &[],
        damage: Damage::default(),
        coverage: Coverage::NoCheckpoint,
    }
}

/// A decision that is made of the one at 3, which was allowed.
fn changed(change: impl FnOnce(&mut Decision)) -> FoundRecord {
    let mut found = found().swap_remove(3);
    if let Some(record::Kind::Decision(it)) = &mut found.message.kind {
        change(it);
    }
    found
}

/// The lines of a story that begin with a label.
fn facts(story: &Story<'_>, label: &str) -> Vec<String> {
    let text = story.text();
    let facts = text.lines().filter_map(|line| line.strip_prefix("  "));
    let facts = facts.filter_map(|line| Some(line.strip_prefix(label)?.trim().to_owned()));
    facts.collect()
}

#[test]
fn a_decision_is_told_with_what_belongs_to_it() {
    let found = found();
    let story = |at: usize, parent: Option<usize>, later: &[FoundRecord]| {
        let story = Story {
            parent: parent.map(|at| &found[at]),
            later,
            coverage: Coverage::Proven(9),
            ..alone(&found[at])
        };
        story.text()
    };
    insta::assert_snapshot!(story(2, Some(1), &found[5..6]));
    insta::assert_snapshot!(story(3, None, &found[4..5]));
    let hostile = story(8, None, &[]);
    assert!(
        !hostile.contains(|c: char| c.is_control() && c != '\n'),
        "{hostile:?}"
    );
    assert!(!hostile.contains('\u{202e}'), "{hostile:?}");
    insta::assert_snapshot!(story(6, None, &[]));
}

#[test]
fn what_was_told_of_a_denied_call_is_told_as_that() {
    let found = found();
    let mut outcome = found[4].clone();
    outcome.doubts = vec![
        OutcomeDoubt::Denied,
        OutcomeDoubt::OtherCaller("gate\u{202e}way".to_owned()),
    ];
    let story = Story {
        later: &[outcome],
        ..alone(&found[2])
    };
    let told =
        "told by envoy, although the call was denied, and gate\\u{202e}way had asked for it\n";
    assert!(story.text().contains(told), "{}", story.text());
}

#[test]
fn who_gave_the_approval_is_told() {
    let mut found = found();
    if let Some(record::Kind::Write(write)) = &mut found[6].message.kind {
        (write.verb, write.id) = ("ApproveCall".to_owned(), "a-1".to_owned());
    }
    let story = Story {
        approvals: &found[6..7],
        ..alone(&found[2])
    };
    let text = story.text();
    let line = text.lines().find(|line| line.starts_with("  approval "));
    let line = line.expect("a line");
    assert!(
        line.contains("ApproveCall") && line.contains("user:sam"),
        "{text}"
    );
}

#[test]
fn who_granted_the_delegation_is_told() {
    let found = found();
    let story = Story {
        delegations: &found[6..7],
        ..alone(&found[2])
    };
    let granted = facts(&story, "delegated");
    assert!(
        granted[0].contains("user:sam  GrantDelegation d-3"),
        "{granted:?}"
    );
}

#[test]
fn of_a_dry_run_is_told_what_it_would_use() {
    let tried = changed(|it| {
        it.is_dry_run = true;
        it.would_use = it.side_effects.take();
    });
    let story = alone(&tried);
    assert!(facts(&story, "used").is_empty());
    let would = facts(&story, "would use");
    assert_eq!(would[0], "a use of the approval a-9");
    assert!(
        would.contains(&"labels it brings: untrusted".to_owned()),
        "{would:?}"
    );
    assert!(facts(&story, "outcome").is_empty());
}

#[test]
fn what_was_only_observed_of_a_list_is_told_as_what_would_have_been() {
    let listed = |change: fn(&mut Decision)| {
        let list = changed(|it| {
            (it.operation, it.kept, it.hidden) = ("tools/filter".to_owned(), 1, 3);
            change(it);
        });
        let line = Paint::plain().line(&list.message);
        let story = alone(&list);
        (facts(&story, "kept"), facts(&story, "list"), line)
    };
    let (kept, list, _) = listed(|_| ());
    assert_eq!((kept[0].as_str(), list.len()), ("1 entry, 3 hidden", 0));
    let (kept, list, line) = listed(|it| (it.is_observed, it.shown) = (true, 3));
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(
        list,
        ["would have kept 1 entry and hidden 3; 3 of those were shown"]
    );
    let told = "observed: it was allowed, showing 3 entries that would be hidden";
    assert!(line.contains(told), "{line}");
    // Of before that was on record.
    let (_, list, line) = listed(|it| it.is_observed = true);
    assert_eq!(list, ["would have kept 1 entry and hidden 3"]);
    assert!(!line.contains("showing"), "{line}");
}

#[test]
fn an_outcome_is_missed_of_calls_that_went_through_and_of_nothing_else() {
    let missing = ["nobody reported one"];
    let outcome = |change: fn(&mut Decision)| facts(&alone(&changed(change)), "outcome");
    assert_eq!(outcome(|_| ()), missing);
    let denied: fn(&mut Decision) = |it| it.verdict = Verdict::Deny.into();
    assert!(outcome(denied).is_empty());
    let observed: fn(&mut Decision) = |it| {
        it.verdict = Verdict::Deny.into();
        it.is_observed = true;
    };
    assert_eq!(outcome(observed), missing);
    for operation in ["tools/filter", "cedar", "cedar/search"] {
        let asked = changed(|it| it.operation = operation.to_owned());
        assert!(facts(&alone(&asked), "outcome").is_empty(), "{operation}");
    }
}

#[test]
fn what_cannot_be_read_is_not_told_as_what_never_was() {
    let record = changed(|it| it.parent_decision_id = vec![9; 16].into());
    let story = |is_before, is_after| Story {
        damage: Damage {
            is_before,
            is_after,
        },
        ..alone(&record)
    };
    let whole = story(false, false);
    assert!(facts(&whole, "follows")[0].ends_with(", as envoy says, which is not in the log"));
    assert!(facts(&whole, "damaged").is_empty());
    let after = story(false, true);
    assert_eq!(
        facts(&after, "outcome"),
        ["none in what can be read of the log"]
    );
    assert!(facts(&after, "damaged")[0].contains("after this record cannot be read"));
    let before = story(true, false);
    assert_eq!(facts(&before, "outcome"), ["nobody reported one"]);
    assert!(facts(&before, "follows")[0].contains("what can be read of the log"));
    assert!(facts(&story(true, true), "damaged")[0].contains("before and after"));
}

#[test]
fn what_a_caller_says_is_told_as_that() {
    let found = found();
    let mut child = found[5].clone();
    child.doubts = vec![OutcomeDoubt::OtherCaller("gateway".to_owned())];
    let story = Story {
        later: &[child],
        ..alone(&found[2])
    };
    let led_to = facts(&story, "led to");
    let said = ", as envoy says, although gateway had asked for it";
    assert!(led_to[0].ends_with(said), "{led_to:?}");
    let follows = Story {
        parent: Some(&found[2]),
        ..alone(&found[5])
    };
    let follows = facts(&follows, "follows");
    assert!(follows[0].ends_with(said), "{follows:?}");
    let same = Story {
        parent: Some(&found[3]),
        ..alone(&found[5])
    };
    assert!(facts(&same, "follows")[0].ends_with(", as envoy says"));
    let granted = facts(&alone(&found[2]), "granted");
    assert!(
        granted[0].ends_with("; verified, as the caller says"),
        "{granted:?}"
    );
}

#[test]
fn what_cedar_was_asked_and_what_was_sought_is_told() {
    let asked = changed(|it| {
        it.operation = "cedar".to_owned();
        (it.server, it.tool) = (String::new(), String::new());
        it.cedar_action = "App::Action::\"view\"".to_owned();
        it.cedar_resource = "Mcp::User::\"bob\"".to_owned();
    });
    let text = alone(&asked).text();
    assert!(
        text.starts_with("ALLOW cedar App::Action::\"view\" on user:bob\n"),
        "{text}"
    );
    let searched = changed(|it| {
        it.operation = "cedar/search".to_owned();
        (it.server, it.tool) = (String::new(), String::new());
        it.sought = "subject".to_owned();
        it.cedar_resource = "Mcp::User::\"bob\"".to_owned();
        it.hidden = 48;
    });
    let story = alone(&searched);
    let text = story.text();
    assert!(
        text.starts_with("ALLOW cedar/search for subject on user:bob\n"),
        "{text}"
    );
    assert_eq!(facts(&story, "found"), ["0 of 48 candidates"]);
}

#[test]
fn no_name_passes_for_others_in_the_chain() {
    let forged = "Mcp::User::\"ines → agent:planner\"";
    let record = changed(|it| {
        it.chain = Some(ActorChain {
            root: forged.to_owned(),
            ..ActorChain::default()
        });
        it.session_id = "s, task t".to_owned();
    });
    let story = alone(&record);
    let chain = format!("{forged} → agent:release");
    assert_eq!(facts(&story, "chain"), [chain]);
    assert_eq!(facts(&story, "session"), ["\"s, task t\""]);
    let line = Paint::plain().line(&record.message);
    let who = format!("agent:release for {forged}  ");
    assert!(line.contains(&who), "{line}");
}

#[test]
fn that_a_record_is_cut_is_told() {
    let mut record = changed(|_| ());
    assert!(facts(&alone(&record), "cut").is_empty());
    record.message.is_cut = true;
    assert_eq!(facts(&alone(&record), "cut").len(), 1);
    assert!(Paint::plain().line(&record.message).ends_with("  cut\n"));
}

#[test]
fn a_target_that_no_argument_names_is_told_without_a_role() {
    let mut found = found().swap_remove(2);
    if let Some(record::Kind::Decision(it)) = &mut found.message.kind {
        it.targets.iter_mut().for_each(|target| target.role.clear());
    }
    assert_eq!(facts(&alone(&found), "target"), ["url, cdef"]);
}
