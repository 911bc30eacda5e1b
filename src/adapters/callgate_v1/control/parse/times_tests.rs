use super::*;

fn at(seconds: u64, millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + millis)
}

fn lasting(seconds: i64, nanos: i32) -> (Option<Timestamp>, Option<WireDuration>) {
    (None, Some(WireDuration { seconds, nanos }))
}

#[test]
fn what_lasts_so_long_ends_with_a_whole_second_that_has_not_come() {
    let now = at(100, 700);
    for (wire, wanted) in [
        (lasting(1, 0), 101),
        (lasting(1, 300_000_000), 102),
        (lasting(3_600, 0), 3_700),
    ] {
        let ends = required_end(wire, "expires_at", now).expect("an end");
        assert_eq!(ends, at(wanted, 0), "{wire:?}");
        assert!(ends > now, "{wire:?}");
    }
}

#[test]
fn an_end_is_said_in_one_way_and_lies_ahead() {
    let now = at(100, 0);
    let said = |wire| end(wire, "deadline", now).map_err(|error| error.to_string());
    let time = Some(Timestamp {
        seconds: 200,
        nanos: 0,
    });
    assert_eq!(said((None, None)), Ok(None));
    assert_eq!(said((time, None)), Ok(Some(at(200, 0))));
    let both = said((time, lasting(1, 0).1)).expect_err("both");
    assert!(both.starts_with("`lasts` is there beside"), "{both}");
    let (short, long) = ("of a second at least", "of ten thousand years at most");
    let ill_formed = "with `nanos` from 0 to 999,999,999";
    for (wire, wanted) in [
        (lasting(0, 999_999_999), short),
        (lasting(-1, 0), short),
        (lasting(i64::MIN, 0), short),
        (lasting(1, -1), ill_formed),
        (lasting(1, 1_000_000_000), ill_formed),
        (lasting(315_576_000_001, 0), long),
        (lasting(1 << 62, 0), long),
        (lasting(i64::MAX, -1), long),
    ] {
        let why = said(wire).expect_err("no end");
        assert_eq!(why, format!("`lasts` must be a duration {wanted}"));
    }
    let missing = required_end((None, None), "deadline", now).expect_err("missing");
    assert_eq!(missing.to_string(), "`deadline` is required");
}
