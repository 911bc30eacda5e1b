use std::cell::Cell;

use super::*;

#[test]
fn a_panic_is_an_error_with_what_it_says() {
    assert_eq!(caught("test", || 1), Ok(1));
    let said = |work: fn()| caught("test", work).map_err(|it| it.to_string());
    assert_eq!(said(|| panic!("fixed")), Err("panicked: fixed".to_owned()));
    let count = std::hint::black_box(2);
    let formatted = caught("test", || assert_eq!(count, 3, "not {count}"));
    assert!(formatted.is_err_and(|it| it.to_string().contains("not 2")));
}

#[tokio::test]
async fn a_task_that_panics_between_two_waits_is_an_error() {
    let work = async {
        tokio::task::yield_now().await;
        panic!("later");
    };
    let ended: Result<(), Panicked> = caught_task("test", work).await;
    assert_eq!(ended, Err(Panicked("later".to_owned())));
}

#[tokio::test]
async fn what_panics_begins_again_until_it_ends() {
    let begun = Cell::new(0);
    let work = || async {
        tokio::task::yield_now().await;
        begun.set(begun.get() + 1);
        assert!(begun.get() > 1, "not yet");
    };
    kept_up_task("test", work).await;
    assert_eq!(begun.get(), 2);
    let mut left = 2;
    kept_up("test", || {
        left -= 1;
        assert_eq!(left, 0, "not yet");
    });
    assert_eq!(left, 0);
}
