use super::*;

#[test]
fn one_failure_of_a_minute_is_told_and_the_others_are_counted() {
    let failures = HandshakeFailures::of("127.0.0.1:1".to_owned());
    assert!(failures.tell("127.0.0.1:2", "no certificate"));
    for _ in 0..3 {
        assert!(!failures.tell("127.0.0.1:2", "no certificate"));
    }
    assert_eq!(failures.start_new_window(), 3);
    assert_eq!(failures.start_new_window(), 0);
    assert!(failures.tell("127.0.0.1:2", "no certificate"));
    assert_eq!(failures.start_new_window(), 0);
}
