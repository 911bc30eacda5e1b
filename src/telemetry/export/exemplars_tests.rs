use std::time::Duration;

use opentelemetry::trace::{SpanId, TraceId};

use super::*;

const BOUNDS: [f64; 2] = [0.1, 1.0];

fn span(trace: u128) -> SpanIds {
    SpanIds {
        trace_id: TraceId::from(trace),
        span_id: SpanId::from(7),
        parent: None,
        trace_state: String::new(),
    }
}

#[test]
fn each_bucket_keeps_one_for_its_series() {
    let exemplars = Exemplars::new(&BOUNDS);
    let (allow, deny) = ([KeyValue::new("d", "allow")], [KeyValue::new("d", "deny")]);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    exemplars.note(0.1, &allow, &span(1), start);
    exemplars.note(5.0, &deny, &span(2), start);
    let first = exemplars.of(0, &allow).expect("bounds are inclusive");
    assert_eq!(first.trace_id, TraceId::from(1));
    assert_eq!(first.span_id, SpanId::from(7));
    assert_eq!(exemplars.of(0, &deny), None, "another series");
    assert_eq!(exemplars.of(1, &allow), None);
    assert_eq!(exemplars.of(2, &deny).map(|it| it.value), Some(5.0));
    let second = Duration::from_secs(1);
    let shortly = start + second - Duration::from_nanos(1);
    exemplars.note(0.05, &allow, &span(3), shortly);
    assert_eq!(exemplars.of(0, &allow), Some(first), "one a second");
    let traced = |number: u64, at: SystemTime| {
        exemplars.note(0.05, &allow, &span(number.into()), at);
        let kept = exemplars.of(0, &allow).expect("there is one");
        assert_eq!(kept.trace_id, TraceId::from(u128::from(number)));
        assert_eq!(kept.at, at);
    };
    traced(4, start + second);
    traced(5, start + 100 * second);
    // A clock that was set back far.
    traced(6, start + 2 * second);
}
