use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn asked() -> v1::NarrowDelegationRequest {
    v1::NarrowDelegationRequest::default()
}

/// A delegation that ends then and may be redelegated so often.
fn answer(ends_at: u64, max_redelegations: u32) -> v1::StoredDelegation {
    v1::StoredDelegation {
        expires_at: Some(at(ends_at).into()),
        max_redelegations,
        ..Default::default()
    }
}

#[test]
fn an_answer_that_leaves_out_what_was_asked_for_is_no_success() {
    const NOW: u64 = 1_000_000;
    let lasting = v1::NarrowDelegationRequest {
        lasts: Some(prost_types::Duration {
            seconds: 600,
            nanos: 0,
        }),
        ..asked()
    };
    let until = v1::NarrowDelegationRequest {
        expires_at: Some(at(NOW + 600).into()),
        ..asked()
    };
    let fewer = v1::NarrowDelegationRequest {
        max_redelegations: Some(1),
        ..asked()
    };
    for (asked, answer, expected) in [
        (&lasting, answer(NOW + 600, 0), None),
        // Of a clock that is a little ahead, and as it was answered before under the same key.
        (&lasting, answer(NOW + 630, 0), None),
        (&lasting, answer(NOW + 10, 0), None),
        // As it was before.
        (&lasting, answer(NOW + 7_200, 0), Some("--for")),
        (&until, answer(NOW + 600, 0), None),
        (&until, answer(NOW + 7_200, 0), Some("--until")),
        (&fewer, answer(NOW + 7_200, 1), None),
        (&fewer, answer(NOW + 7_200, 2), Some("redelegated 2 times")),
    ] {
        let found = unmet(asked, Some(&answer), at(NOW));
        match expected {
            None => assert_eq!(found, None, "{asked:?} {answer:?}"),
            Some(part) => assert!(
                found.as_ref().is_some_and(|it| it.contains(part)),
                "{found:?}"
            ),
        }
    }
    let endless = v1::StoredDelegation::default();
    assert!(unmet(&lasting, Some(&endless), at(NOW)).is_some());
    assert!(unmet(&lasting, None, at(NOW)).is_some());
}
