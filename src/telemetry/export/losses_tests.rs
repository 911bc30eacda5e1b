use super::*;

#[test]
fn every_count_has_a_place_of_its_own() {
    let losses = Losses::default();
    let mut expected = Vec::new();
    for signal in SIGNALS {
        for kind in RecordKind::ALL {
            for reason in REASONS {
                let count = expected.len() as u64 + 1;
                losses.add(signal, kind, reason, count);
                expected.push(Loss {
                    signal,
                    kind,
                    reason,
                    count,
                });
            }
        }
    }
    assert_eq!(losses.all(), expected);
    assert_eq!(expected.len(), COUNTS);
}

#[test]
fn losses_are_told_at_once_and_then_once_a_minute_and_every_one_of_them() {
    let (losses, mut teller, start) = (Losses::default(), LossReporter::default(), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut told = |seconds, at_once| {
        let before = teller.since(&losses.all());
        teller.tell(&losses, after(seconds), at_once);
        // What was told is not told again.
        let is_told = teller.since(&losses.all()).1 == 0;
        (is_told && before.1 > 0).then_some(before)
    };
    assert_eq!(told(0, false), None, "nothing is lost");
    losses.add(
        LostSignal::Log,
        RecordKind::Decision,
        LossReason::QueueFull,
        12,
    );
    losses.add(
        LostSignal::Span,
        RecordKind::Control,
        LossReason::Rejected,
        1,
    );
    let both = "log decision queue_full 12, span control rejected 1";
    assert_eq!(told(5, false), Some((both.to_owned(), 13)));
    losses.add(
        LostSignal::Log,
        RecordKind::Decision,
        LossReason::QueueFull,
        7,
    );
    assert_eq!(told(64, false), None, "not within the minute");
    losses.add(
        LostSignal::Log,
        RecordKind::Decision,
        LossReason::QueueFull,
        1,
    );
    let more = ("log decision queue_full 8".to_owned(), 8);
    assert_eq!(told(65, false), Some(more));
    assert_eq!(told(200, false), None, "nothing is new");
    losses.add(
        LostSignal::Metrics,
        RecordKind::Other,
        LossReason::Shutdown,
        1,
    );
    let last = ("metrics other shutdown 1".to_owned(), 1);
    assert_eq!(told(201, true), Some(last), "at the end there is no later");
}
