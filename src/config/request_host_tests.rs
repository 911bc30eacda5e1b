use std::cmp::Ordering;

use super::*;

#[test]
fn one_host_has_one_name_however_it_is_written() {
    for (configured, given, expected) in [
        ("b.example", "b.example", HostMatch::Same),
        ("b.example", "B.Example:443", HostMatch::Same),
        ("b.example", "b.example:80", HostMatch::Same),
        ("b.example", "b.example.", HostMatch::Same),
        ("b.example.", "b.example.:443", HostMatch::Same),
        ("b.example:443", "b.example", HostMatch::Same),
        ("b.example", "b.example:", HostMatch::Same),
        ("b.example:8443", "b.example.:8443", HostMatch::Same),
        ("b.example", "b.example:8443", HostMatch::OtherPort),
        ("b.example:8443", "b.example", HostMatch::OtherPort),
        ("b.example", "b.example:http", HostMatch::OtherPort),
        ("b.example", "b.example:+443", HostMatch::OtherPort),
        ("b.example", "b.example:70000", HostMatch::OtherPort),
        ("b.example:x", "b.example:x", HostMatch::OtherPort),
        ("b.example", "a.b.example", HostMatch::Other),
        ("b.example", "", HostMatch::Other),
        ("[::1]", "[::1]:443", HostMatch::Same),
        ("[::1]:8443", "[::1]", HostMatch::OtherPort),
        ("[::1]", "[::2]", HostMatch::Other),
    ] {
        let matched = RequestHost::read(given).matched(Some(configured));
        assert_eq!(matched, expected, "{configured} {given}");
    }
    assert_eq!(RequestHost::read("a").matched(None), HostMatch::Any);
}

#[test]
fn an_entry_for_every_host_is_not_for_a_port_that_another_entry_does_not_name() {
    let entries = [
        (None, "any"),
        (Some("b.example"), "b"),
        (Some("c.example:8443"), "c"),
    ];
    let best = |given| {
        let host = RequestHost::read(given);
        let best = host.best(&entries, |it| it.0, |_, _| Ordering::Equal);
        best.map(|it| it.1)
    };
    for (given, expected) in [
        ("b.example", Some("b")),
        ("b.example.:443", Some("b")),
        ("b.example:8443", None),
        ("c.example:8443", Some("c")),
        ("c.example", None),
        ("d.example:8443", Some("any")),
        ("d_e.example", Some("any")),
        ("[2001:db8::1]:8443", Some("any")),
        ("", Some("any")),
        ("x@b.example", None),
        ("b.example/", None),
        ("b.example\\", None),
        (" b.example", None),
        ("b.example ", None),
        ("b.example:80:80", None),
        ("d.example:http", None),
        ("b%2eexample", None),
        ("b.example,c.example", None),
        ("b\u{ff0e}example", None),
        ("[b.example]", None),
        ("[::1]b.example", None),
        ("::1", None),
    ] {
        assert_eq!(best(given), expected, "{given}");
    }
}

#[test]
fn entries_for_one_host_in_two_spellings_are_the_same() {
    assert!(are_same(Some("b.example:443"), Some("B.example.")));
    assert!(are_same(None, None));
    assert!(!are_same(None, Some("b.example")));
    assert!(!are_same(Some("b.example:8443"), Some("b.example")));
}
