use super::*;

#[test]
fn a_minute_has_so_many_lines_and_the_next_tells_how_many_were_left_unsaid() {
    let log = FilteredEntryLog::default();
    let start = SystemTime::UNIX_EPOCH;
    let said = (0..LINES + 5).filter(|_| log.may_say(start).is_some());
    assert_eq!(said.count(), 30);
    assert_eq!(log.may_say(start + WINDOW / 2), None);
    assert_eq!(log.may_say(start + WINDOW), Some(6));
    assert_eq!(log.may_say(start + WINDOW), Some(0));
    assert_eq!(log.may_say(start), Some(0), "the clock was put back");
}

#[test]
fn what_is_left_unsaid_does_not_wait_for_another_entry() {
    let log = FilteredEntryLog::default();
    let start = SystemTime::UNIX_EPOCH;
    let left = || log.0.lock().unwrap().unsaid;
    for (wait, is_end) in [(WINDOW, false), (WINDOW / 2, true)] {
        for _ in 0..LINES + 5 {
            log.may_say(start);
        }
        log.tell(start + WINDOW / 2, false);
        assert_eq!(left(), 5, "the minute is not over");
        log.tell(start + wait, is_end);
        assert_eq!(left(), 0);
        *log.0.lock().unwrap() = FilteredEntryWindow::default();
    }
}
