use tonic_types::ErrorDetails;

use super::*;

#[test]
fn waits_double_and_end() {
    let mut backoff = Backoff::default();
    for expected in [100, 200, 400] {
        let wait = backoff.wait_after(Retry::After(None)).unwrap();
        let least = Duration::from_millis(expected);
        assert!(
            wait >= least && wait <= least + Duration::from_millis(JITTER_MS),
            "{wait:?}"
        );
    }
    assert_eq!(backoff.wait_after(Retry::After(None)), None);
    assert_eq!(Backoff::default().wait_after(Retry::No), None);
}

#[test]
fn a_collector_may_ask_for_time_within_reason() {
    let asking = |code, seconds| {
        let delay = Duration::from_secs(seconds);
        retry(&Status::with_error_details(
            code,
            "",
            ErrorDetails::with_retry_info(Some(delay)),
        ))
    };
    let exhausted = Code::ResourceExhausted;
    assert_eq!(
        retry(&Status::new(exhausted, "")),
        Retry::No,
        "without a time nobody expects it to pass"
    );
    let five = Backoff::default().wait_after(asking(exhausted, 5)).unwrap();
    assert!(five >= Duration::from_secs(5) && five < Duration::from_secs(6));
    let hour = Backoff::default().wait_after(asking(Code::Unavailable, 3_600));
    assert_eq!(hour, Some(LONGEST_ASKED_WAIT));
}
