use opentelemetry::trace::{SpanId, TraceId};

use super::*;

fn span(number: u64) -> SpanIds {
    SpanIds {
        trace_id: TraceId::from(u128::from(number) + 1),
        span_id: SpanId::from(number + 1),
        parent: None,
        trace_state: String::new(),
    }
}

#[test]
fn memory_is_bounded_and_the_last_ones_are_known() {
    let spans = RecentSpans::default();
    let id = |number: u64| Uuid::from_u128(u128::from(number));
    let bound = DECISIONS * SHARDS;
    let count = (bound + bound / 2) as u64;
    for number in 0..count {
        spans.decided(id(number), None, &span(number));
    }
    let kept: usize = spans
        .decisions
        .iter()
        .map(|shard| lock(shard).ids.len())
        .sum();
    assert_eq!(kept, bound);
    let known = count - bound as u64;
    for number in known..count {
        assert_eq!(spans.decision(id(number)), Some(span(number)));
    }
    assert_eq!(spans.decision(id(known - 1)), None);
}

#[test]
fn an_approval_leads_to_the_deny_that_asked_for_it() {
    let spans = RecentSpans::default();
    let denied = Uuid::from_u128(7);
    let digest = CallDigest::from("sha256:aa");
    spans.decided(denied, Some(&digest), &span(1));
    spans.approval_written("apr-1".into(), &digest, true, &span(2));
    spans.approval_written("apr-1".into(), &digest, false, &span(3));
    let found = spans.approval(&"apr-1".into());
    assert_eq!(found.denied, Some((denied, span(1))));
    assert_eq!(found.requested, Some(span(2)));
    assert_eq!(found.decided, Some(span(3)));
    assert!(spans.approval(&"apr-2".into()).requested.is_none());
    for number in 0..3 * APPROVALS as u64 {
        spans.approval_written(
            format!("other-{number}").into(),
            &"x".into(),
            true,
            &span(number),
        );
    }
    assert!(
        spans.approval(&"apr-1".into()).requested.is_none(),
        "forgotten"
    );
}
