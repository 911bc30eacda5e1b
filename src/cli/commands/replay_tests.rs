use super::*;

#[test]
fn times_and_shares_are_read_or_refused() {
    assert!(moment("24h").is_ok() && moment("2026-11-27T08:00:00Z").is_ok());
    assert!(moment("yesterday").is_err());
    assert_eq!(share("0.25"), Ok(0.25));
    for bad in ["0", "1.5", "-1", "NaN", "much"] {
        assert!(share(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_bar_never_overflows() {
    assert_eq!(bar(0, 0, 0.0).len(), bar(9, 9, 1.0).len());
    assert!(bar(50, 10, 1.0).starts_with(&format!("[{}] 100%", "#".repeat(BAR))));
    assert!(bar(5, 10, 1.0).contains(" 50%"));
}
