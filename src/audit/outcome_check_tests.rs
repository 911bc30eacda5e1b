use super::*;

fn record(kind: record::Kind) -> Record {
    Record {
        kind: Some(kind),
        ..Record::default()
    }
}

fn decision(id: u8, verdict: Verdict) -> Decision {
    Decision {
        id: vec![id; 16].into(),
        verdict: verdict.into(),
        caller: "edge".to_owned(),
        ..Decision::default()
    }
}

fn outcome(id: u8, caller: &str, status: Status) -> Record {
    record(record::Kind::Outcome(Outcome {
        decision_id: vec![id; 16].into(),
        status: status.into(),
        caller: caller.to_owned(),
        ..Outcome::default()
    }))
}

#[test]
fn what_does_not_fit_a_decision_is_said() {
    let mut check = OutcomeCheck::default();
    let mut decide = |it: Decision| check.note(&record(record::Kind::Decision(it)));
    decide(decision(1, Verdict::Allow));
    decide(decision(2, Verdict::Deny));
    decide(Decision {
        is_dry_run: true,
        ..decision(3, Verdict::Allow)
    });
    decide(Decision {
        is_observed: true,
        ..decision(4, Verdict::Deny)
    });
    let mut doubts = |id, caller, status| check.note(&outcome(id, caller, status));
    let nothing: Vec<OutcomeDoubt> = Vec::new();
    assert_eq!(doubts(1, "edge", Status::Result), nothing);
    assert_eq!(doubts(1, "edge", Status::Result), nothing, "a retry");
    let other = OutcomeDoubt::OtherCaller("edge".to_owned());
    let before = OutcomeDoubt::Contradiction("result".to_owned());
    assert_eq!(doubts(1, "gw", Status::Withheld), [other, before]);
    assert_eq!(doubts(2, "edge", Status::Result), [OutcomeDoubt::Denied]);
    assert_eq!(doubts(3, "edge", Status::Result), [OutcomeDoubt::DryRun]);
    assert_eq!(
        doubts(4, "edge", Status::Result),
        nothing,
        "it was let pass"
    );
    assert_eq!(doubts(9, "edge", Status::Result), nothing, "not read");
}

#[test]
fn only_so_many_decisions_are_remembered() {
    let mut check = OutcomeCheck::default();
    for number in 0..=REMEMBERED {
        let decision = Decision {
            id: (number as u128).to_be_bytes().to_vec().into(),
            ..decision(0, Verdict::Deny)
        };
        check.note(&record(record::Kind::Decision(decision)));
    }
    assert_eq!(check.decisions.len(), REMEMBERED);
    assert_eq!(check.order.len(), REMEMBERED);
}
