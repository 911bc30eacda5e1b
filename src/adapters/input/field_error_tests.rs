use super::*;
use crate::adapters::mcp::message::MessageError;
use crate::adapters::mcp::request::intent::OperationError;
use crate::telemetry::record::recorder::without_values;

/// What a sender wrote.
const SENT: &str = "4711";

/// Whether a problem tells something that the sender wrote.
fn tells_what_was_sent(problem: &FieldProblem) -> bool {
    use FieldProblem as P;
    match problem {
        P::NotAnEntityType(_)
        | P::UnknownValue(_)
        | P::UnknownWord(..)
        | P::Json(_)
        | P::Negative(_)
        | P::NotAnAddress(_)
        | P::NotADigest(_)
        | P::NotAResource(..)
        | P::NotAContext(_) => true,
        P::Missing
        | P::TooLong { .. }
        | P::TooMany { .. }
        | P::NotUtf8
        | P::ControlCharacter
        | P::InvisibleCharacter
        | P::Blank
        | P::NotADecisionId
        | P::NotYetDecided
        | P::NotAPageToken
        | P::NotOfShape(_)
        | P::TooDeep(_)
        | P::NotFinite
        | P::BeyondDouble(_)
        | P::MayBeRounded
        | P::NoKind
        | P::NotATime
        | P::Contradiction(_) => false,
    }
}

#[test]
fn nothing_that_a_sender_wrote_is_in_what_is_logged() {
    use FieldProblem as P;
    let sent = || TextExcerpt::new(SENT);
    let problems = [
        P::NotAnEntityType(sent()),
        P::UnknownValue(4711),
        P::UnknownWord(sent(), "a word"),
        P::Json(format!("unknown key {SENT}")),
        P::Negative(-4711),
        P::NotAnAddress(sent()),
        P::NotADigest(sent()),
        P::NotAResource(sent(), format!("{SENT} has no host")),
        P::NotAContext(format!("{SENT} is no attribute")),
    ];
    assert!(problems.iter().all(tells_what_was_sent));
    let of_fields = problems.map(|problem| FieldError::new("call.field", problem).to_string());
    let of_messages = [
        OperationError::UnknownMethod(sent()).to_string(),
        MessageError::Member(sent()).to_string(),
    ];
    for said in of_fields.iter().chain(&of_messages) {
        assert!(said.contains(SENT), "{said}");
        assert!(!without_values(said).contains(SENT), "{said}");
    }
}
