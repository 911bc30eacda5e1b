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

/// The id of a decision of this millisecond, whose last bits are those of `random`.
fn decided_at(millis: u64, random: u64) -> Uuid {
    Uuid::from_u64_pair(millis << 16 | 0x7000, random)
}

fn shards_in_use(spans: &RecentSpans) -> usize {
    let shards = spans.decisions.iter();
    shards.filter(|it| !lock(it).spans.is_empty()).count()
}

#[test]
fn decisions_that_meet_in_one_shard_keep_their_own_spans() {
    let spans = RecentSpans::default();
    let id = |number: u64| match number % 2 {
        0 => decided_at(1_000, number << RANDOM_BITS),
        _ => decided_at(1_000 + SHARDS as u64, number << RANDOM_BITS),
    };
    let with_state = |number: u64| SpanIds {
        trace_state: format!("vendor={number}"),
        ..span(number)
    };
    let full = DECISIONS as u64;
    for number in 0..full {
        spans.decided(id(number), None, &with_state(number));
    }
    // The next ones take the places of the first: one without a state, and one with its own.
    spans.decided(id(full), None, &span(full));
    spans.decided(id(full + 1), None, &with_state(full + 1));
    assert_eq!(spans.decision(id(0)), None);
    assert_eq!(spans.decision(id(1)), None);
    assert_eq!(spans.decision(id(full)), Some(span(full)));
    for number in (2..full).chain([full + 1]) {
        assert_eq!(spans.decision(id(number)), Some(with_state(number)));
    }
}

#[test]
fn calls_at_regular_times_use_nearly_all_shards() {
    for every in [
        1, 5, 10, 16, 20, 50, 60, 64, 100, 128, 250, 500, 1_000, 60_000,
    ] {
        let spans = RecentSpans::default();
        for number in 0..4 * SHARDS as u64 {
            let at = 1_700_000_000_000 + number * every;
            spans.decided(decided_at(at, number), None, &span(number));
        }
        assert_eq!(shards_in_use(&spans), SHARDS, "every {every} ms");
    }
}

#[test]
fn calls_of_one_millisecond_do_not_all_wait_for_one_lock() {
    let spans = RecentSpans::default();
    // None of them is forgotten.
    let most = (DECISIONS << RANDOM_BITS) as u64;
    for number in 0..most {
        spans.decided(decided_at(1_000, number), None, &span(number));
    }
    assert_eq!(shards_in_use(&spans), 1 << RANDOM_BITS);
    for number in 0..most {
        let kept = spans.decision(decided_at(1_000, number));
        assert_eq!(kept, Some(span(number)));
    }
}

#[test]
fn memory_is_bounded_and_the_last_ones_are_known() {
    let spans = RecentSpans::default();
    let id = |number: u64| decided_at(number, 7);
    let bound = DECISIONS * SHARDS;
    let count = (bound + bound / 2) as u64;
    for number in 0..count {
        spans.decided(id(number), None, &span(number));
    }
    let kept: usize = spans
        .decisions
        .iter()
        .map(|shard| lock(shard).spans.len())
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
