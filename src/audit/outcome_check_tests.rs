use super::*;
use crate::audit::record::schema::Notice;

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
    assert_eq!(
        doubts(1, "gw", Status::Withheld),
        std::slice::from_ref(&other)
    );
    let before = OutcomeDoubt::Contradiction("result".to_owned());
    assert_eq!(doubts(1, "edge", Status::Withheld), [before]);
    let longer = Outcome {
        decision_id: vec![1; 16].into(),
        status: Status::Result.into(),
        caller: "edge".to_owned(),
        size: 7,
        ..Outcome::default()
    };
    let before = OutcomeDoubt::Contradiction("another result".to_owned());
    let longer = check.note(&record(record::Kind::Outcome(longer)));
    assert_eq!(longer, [before]);
    let mut doubts = |id, caller, status| check.note(&outcome(id, caller, status));
    assert_eq!(
        doubts(2, "gw", Status::Result),
        [OutcomeDoubt::Denied, other]
    );
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
fn who_tells_first_of_the_call_of_another_casts_no_doubt_on_what_that_one_tells() {
    let mut check = OutcomeCheck::default();
    check.note(&record(record::Kind::Decision(decision(1, Verdict::Allow))));
    let other = OutcomeDoubt::OtherCaller("edge".to_owned());
    let forged = check.note(&outcome(1, "gw", Status::NoResponse));
    assert_eq!(forged, [other]);
    assert_eq!(check.note(&outcome(1, "edge", Status::Result)), []);
}

/// The id of a decision that was made so many seconds after 1970.
fn id_at(seconds: u64) -> Vec<u8> {
    let at = uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0);
    Uuid::new_v7(at).as_bytes().to_vec()
}

#[test]
fn an_outcome_of_no_decision_is_doubted_where_the_decision_would_have_been_read() {
    let told = |check: &mut OutcomeCheck, seconds| {
        let Some(record::Kind::Outcome(mut outcome)) = outcome(1, "edge", Status::Result).kind
        else {
            unreachable!("it is an outcome");
        };
        outcome.decision_id = id_at(seconds).into();
        check.note(&record(record::Kind::Outcome(outcome)))
    };
    let begins_with = |index, seconds: u64| {
        let mut check = OutcomeCheck::default();
        check.note(&Record {
            index: Some(index),
            at: seconds * 1_000_000_000,
            ..record(record::Kind::Notice(Default::default()))
        });
        check
    };
    let mut whole = begins_with(0, 10_000);
    assert_eq!(told(&mut whole, 5_000), [OutcomeDoubt::Unknown]);
    let mut part = begins_with(7, 10_000);
    assert_eq!(told(&mut part, 10_599), [], "it may have been before");
    assert_eq!(told(&mut part, 10_600), [OutcomeDoubt::Unknown]);
    // Where the clock was set back, those of a later time may have been before, too.
    let set_back = |check: &mut OutcomeCheck| {
        check.note(&record(record::Kind::Notice(Notice {
            kind: notice::Kind::ClockSetBack.into(),
            since: 20_000 * 1_000_000_000,
            ..Notice::default()
        })));
    };
    set_back(&mut part);
    assert_eq!(told(&mut part, 20_000), []);
    assert_eq!(told(&mut part, 20_600), [OutcomeDoubt::Unknown]);
    set_back(&mut whole);
    assert_eq!(told(&mut whole, 5_000), [OutcomeDoubt::Unknown]);
    // Once decisions are forgotten, only those after them would be known.
    for number in 0..=REMEMBERED as u64 {
        let decision = Decision {
            id: id_at(20_000 + number).into(),
            ..decision(0, Verdict::Allow)
        };
        whole.note(&record(record::Kind::Decision(decision)));
    }
    assert_eq!(told(&mut whole, 5_000), []);
    assert_eq!(told(&mut whole, 30_000), [OutcomeDoubt::Unknown]);
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
