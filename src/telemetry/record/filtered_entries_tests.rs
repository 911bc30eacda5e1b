use super::*;
use crate::telemetry::record::line_window::WINDOW;

#[test]
fn a_minute_has_so_many_lines_and_the_next_tells_how_many_were_left_unsaid() {
    let log = FilteredEntryLog::default();
    let start = Instant::now();
    let said = (0..LINES + 5).filter(|_| log.admit(start).is_some());
    assert_eq!(said.count(), 30);
    assert_eq!(log.admit(start + WINDOW / 2), None);
    assert_eq!(log.admit(start + WINDOW), Some(6));
    assert_eq!(log.admit(start + WINDOW), Some(0));
    assert_eq!(log.admit(start), Some(0), "the clock was put back");
}

#[test]
fn what_is_left_unsaid_does_not_wait_for_another_entry() {
    let log = FilteredEntryLog::default();
    let start = Instant::now();
    let left = || log.0.lock().unwrap().suppressed();
    for (wait, is_end) in [(WINDOW, false), (WINDOW / 2, true)] {
        for _ in 0..LINES + 5 {
            log.admit(start);
        }
        log.flush(start + WINDOW / 2, false);
        assert_eq!(left(), 5, "the minute is not over");
        log.flush(start + wait, is_end);
        assert_eq!(left(), 0);
        *log.0.lock().unwrap() = LineWindow::default();
    }
}
