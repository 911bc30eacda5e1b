use super::*;

#[test]
fn a_minute_has_so_many_lines_and_the_next_tells_how_many_were_left_unsaid() {
    let log = Log::default();
    let start = SystemTime::UNIX_EPOCH;
    let said = (0..LINES + 5).filter(|_| log.may_say(start).is_some());
    assert_eq!(said.count(), 30);
    assert_eq!(log.may_say(start + WINDOW / 2), None);
    assert_eq!(log.may_say(start + WINDOW), Some(6));
    assert_eq!(log.may_say(start + WINDOW), Some(0));
    assert_eq!(log.may_say(start), Some(0), "the clock was put back");
}
