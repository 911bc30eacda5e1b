use super::*;
use crate::proto::v1;

/// A message whose text makes it as long as that.
fn reason(length: usize) -> v1::Reason {
    v1::Reason {
        code: v1::ReasonCode::Forbidden.into(),
        message: "x".repeat(length),
        missing: vec![String::new(), "task".to_owned()],
        ..v1::Reason::default()
    }
}

#[test]
fn what_is_written_is_what_the_message_encodes_to() {
    for length in [0, 1, 100, 127, 128, 200, 16_383, 16_384, 70_000, 2_100_000] {
        let message = reason(length);
        let whole = v1::AuthorizeResponse {
            revision: 7,
            decision_id: "id".to_owned(),
            reasons: vec![message.clone(), reason(3)],
            ..v1::AuthorizeResponse::default()
        };
        let mut out = vec![9];
        text(&mut out, 2, "id");
        number(&mut out, 3, 7);
        nested(&mut out, 4, |out| {
            number(out, 1, v1::ReasonCode::Forbidden as u64);
            text(out, 2, &message.message);
            bytes(out, 4, b"");
            bytes(out, 4, b"task");
        });
        super::message(&mut out, 4, &reason(3));
        number(&mut out, 9, 0);
        text(&mut out, 2, "");
        assert_eq!(out[1..], whole.encode_to_vec()[..], "{length}");
    }
}
