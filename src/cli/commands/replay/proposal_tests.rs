use super::*;

#[test]
fn a_proposal_is_written_to_no_directory_of_policies() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let candidate = root.join("candidate");
    // Another one, which has a configuration.
    let served = root.join("served");
    for dir in [&candidate, &served] {
        fs::create_dir_all(dir.join("team")).expect("made");
    }
    fs::write(served.join(Config::FILE_NAME), "").expect("written");
    std::os::unix::fs::symlink(&candidate, root.join("link")).expect("a link");
    for out in [
        "candidate/new",
        "candidate/team/new",
        "candidate/new/deeper",
        "link/new",
        "elsewhere/../candidate/new",
        "served/new",
        "served/team/new",
    ] {
        let refused = check_out(&root.join(out), &candidate);
        let refused = refused.expect_err(out).to_string();
        assert!(refused.contains("--out"), "{refused}");
        assert!(refused.contains("in force at once"), "{refused}");
    }
    for out in ["new", "candidate-new", "candidate/../new", "elsewhere/new"] {
        let taken = check_out(&root.join(out), &candidate);
        assert!(taken.is_ok(), "{out}: {taken:?}");
    }
    // What is there already is not written over, nor a link that leads nowhere yet.
    std::os::unix::fs::symlink(root.join("nowhere"), root.join("dangling")).expect("a link");
    for out in ["candidate", "link", "dangling"] {
        let refused = check_out(&root.join(out), &candidate);
        let refused = refused.expect_err(out).to_string();
        assert!(refused.contains("is there already"), "{refused}");
    }
}

#[test]
fn a_proposal_says_what_is_left_and_why_and_what_is_to_be_done_by_hand() {
    let left = observed::Left {
        count: 2,
        operations: [("tools/call notes/wipe".to_owned(), 2)].into(),
        why: [("a policy forbids this call".to_owned(), 2)].into(),
    };
    let by_hand = observed::ByHand {
        what: "policy `lists` (a.cedar:1)".to_owned(),
        why: "permits such calls in other circumstances".to_owned(),
        count: 3,
    };
    let proposal = Proposal {
        records: 9,
        would_be_denied: 8,
        allowed: 1,
        asks_for_approval: 1,
        not_replayed: 1,
        why_not_replayed: [("it has no capsule".to_owned(), 1)].into(),
        permits: 1,
        policies: "permit (principal, action, resource);\n".to_owned(),
        policy_file: "observed.cedar".to_owned(),
        left: [("FORBIDDEN".to_owned(), left)].into(),
        by_hand: vec![by_hand],
        ..Proposal::default()
    };
    let shown = |proposal: &Proposal| {
        ShownProposal {
            proposal,
            out: None,
        }
        .to_string()
    };
    insta::assert_snapshot!(shown(&proposal));
    let nothing = |proposal: Proposal| {
        shown(&proposal)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    let of_records = |records, would_be_denied, allowed, asks_for_approval| Proposal {
        records,
        would_be_denied,
        allowed,
        asks_for_approval,
        ..Proposal::default()
    };
    let unreplayed = Proposal {
        not_replayed: 4,
        ..of_records(5, 4, 0, 0)
    };
    for (proposal, why) in [
        (of_records(0, 0, 0, 0), "the decision log has no decision"),
        (
            of_records(5, 0, 0, 0),
            "no decision in the log was observed and would have been denied",
        ),
        (
            of_records(5, 4, 4, 0),
            "all of these calls are allowed already",
        ),
        (
            of_records(5, 4, 1, 3),
            "what is not allowed already needs an approval, which the policies ask for",
        ),
        (
            of_records(5, 4, 1, 0),
            "no permit and no registration alone would allow what is left",
        ),
        (unreplayed, "none of these calls could be replayed"),
    ] {
        assert_eq!(nothing(proposal), format!("nothing is proposed: {why}"));
    }
}
