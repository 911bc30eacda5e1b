use std::time::{Duration, SystemTime};

use smol_str::SmolStr;
use uuid::{NoContext, Timestamp, Uuid};

use crate::adapters::input::field_error::FieldProblem;
use crate::adapters::input::ids::{
    check, describe_problem, optional, past_decision, required, required_session, session,
};
use crate::config::limits::Limits;

#[test]
fn an_id_is_there_short_enough_and_visible() {
    for good in ["a", "Zoë", "小林", "a b", "-", "a\\b", "…"] {
        assert_eq!(check(good, 8), Ok(()), "{good:?}");
    }
    let too_long = FieldProblem::TooLong { bytes: 9, limit: 8 };
    for (text, wanted) in [
        ("", FieldProblem::Missing),
        (" ", FieldProblem::Blank),
        ("   ", FieldProblem::Blank),
        ("123456789", too_long),
        ("a\0", FieldProblem::ControlCharacter),
        ("a\nb", FieldProblem::ControlCharacter),
        ("\t", FieldProblem::ControlCharacter),
        ("a\u{7f}", FieldProblem::ControlCharacter),
        ("a\u{85}b", FieldProblem::InvisibleCharacter),
        ("a\u{a0}b", FieldProblem::InvisibleCharacter),
        ("\u{3000}", FieldProblem::InvisibleCharacter),
        ("bob\u{200b}", FieldProblem::InvisibleCharacter),
        ("\u{202e}bob", FieldProblem::InvisibleCharacter),
        ("a\u{2028}b", FieldProblem::InvisibleCharacter),
        ("\u{feff}a", FieldProblem::InvisibleCharacter),
        ("a\u{2800}", FieldProblem::InvisibleCharacter),
        (" \u{2003}", FieldProblem::InvisibleCharacter),
        ("\u{a0}\n", FieldProblem::ControlCharacter),
    ] {
        assert_eq!(check(text, 8), Err(wanted), "{text:?}");
    }
}

#[test]
fn only_an_empty_text_may_stand_for_none() {
    let optional = |text| optional::<SmolStr>(text, 8, "session_id");
    let required = |text, field| required::<SmolStr>(text, 8, field);
    assert_eq!(optional(""), Ok(None));
    assert_eq!(optional("s"), Ok(Some("s".into())));
    let refused = optional(" ").expect_err("blank");
    assert_eq!(refused.to_string(), "`session_id` holds nothing but blanks");
    let refused = required("", "subject.id").expect_err("empty");
    assert_eq!(refused.to_string(), "`subject.id` is required");
    let refused = required("a\u{200b}", "id").expect_err("invisible");
    let wanted = "`id` holds a character that nobody sees";
    assert_eq!(refused.to_string(), wanted);
}

#[test]
fn a_long_name_of_a_session_stands_for_itself_by_its_digest() {
    let limits = Limits::default();
    let name = |bytes: usize| "s".repeat(bytes);
    let of = |text: &str| session(text, &limits, "session");
    assert_eq!(of(""), Ok(None));
    assert_eq!(of(&name(1_024)), Ok(Some(name(1_024).into())));
    // What agentgateway makes of 14 targets.
    let long = of(&name(1_036)).expect("a session").expect("one");
    let digest = long.as_str();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{long}"
    );
    assert_eq!(of(&name(1_036)), Ok(Some(long.clone())), "always the same");
    assert_ne!(of(&name(1_037)), Ok(Some(long)), "of another one another");
    let fault = of(&name(16_385)).expect_err("too long");
    assert_eq!(
        *fault.problem(),
        FieldProblem::TooLong {
            bytes: 16_385,
            limit: 16_384
        }
    );
    assert!(
        of(&format!("{}\n", name(1_036))).is_err(),
        "and is looked at as a whole"
    );
}

#[test]
fn what_a_name_of_a_session_means_depends_on_no_limit() {
    for bytes in [17, 300, 1_024, 1_025, 1_500, 16_384] {
        let name = "s".repeat(bytes);
        let of = |id_bytes| {
            let limits = Limits {
                id_bytes,
                ..Limits::default()
            };
            session(&name, &limits, "session").expect("a session")
        };
        let before = of(Limits::default().id_bytes);
        for id_bytes in [16, 300, 4_096, 65_536] {
            assert_eq!(of(id_bytes), before, "{bytes} bytes, up to {id_bytes}");
        }
    }
}

#[test]
fn a_session_is_named_alike_where_it_is_required() {
    let limits = Limits::default();
    let long = "s".repeat(1_036);
    let one = required_session(&long, &limits, "session_id").expect("one");
    assert_eq!(session(&long, &limits, "session_id"), Ok(Some(one.clone())));
    // Its digest names it as well: that is what records show.
    let by_digest = required_session(one.as_str(), &limits, "session_id");
    assert_eq!(by_digest, Ok(one));
    let refused = required_session("", &limits, "session_id").expect_err("none");
    assert_eq!(refused.to_string(), "`session_id` is required");
}

#[test]
fn a_limit_is_told_by_its_name() {
    let problem = FieldProblem::TooLong { bytes: 9, limit: 8 };
    assert_eq!(
        describe_problem(&problem),
        "has 9 bytes, but at most 8 are allowed (`limits.id_bytes`)"
    );
    assert_eq!(
        describe_problem(&FieldProblem::Blank),
        FieldProblem::Blank.to_string()
    );
}

#[test]
fn a_decision_that_is_yet_to_be_made_has_no_outcome() {
    let second = |at: u64| {
        let at = Timestamp::from_unix(NoContext, at, 0);
        Uuid::new_v7(at).to_string()
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = |id: &str| past_decision(id, now, "decision_id").map_err(|it| it.to_string());
    for good in [0, 1_799_999_999, 1_800_000_020] {
        assert!(told(&second(good)).is_ok(), "{good}");
    }
    let early = told(&second(1_800_000_021)).expect_err("early");
    assert_eq!(
        early,
        "`decision_id` is the id of a decision that is yet to be made"
    );
    let odd = told("01a22a77-f72c-7795-02c6-b178af72b1a5").expect_err("another variant");
    assert!(odd.contains("is not the id of a decision"), "{odd}");
}
