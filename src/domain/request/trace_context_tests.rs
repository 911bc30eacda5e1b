use proptest::prelude::*;

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn read(traceparent: &str) -> Option<TraceParent> {
    TraceContext::read(Some(traceparent), []).parent().copied()
}

fn state(headers: &[&str]) -> String {
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let read = TraceContext::read(Some(&traceparent), headers.iter().copied());
    assert!(read.parent().is_some(), "{headers:?}: the parent stays");
    read.state().to_owned()
}

#[test]
fn a_parent_is_read_as_its_version_says() {
    let parent = |is_sampled| TraceParent {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(),
        span_id: 0xb7ad_6b71_6920_3331_u64.to_be_bytes(),
        is_sampled,
    };
    let usual = format!("{TRACE}-{SPAN}");
    for (text, is_sampled) in [
        (format!("00-{usual}-01"), true),
        (format!("00-{usual}-00"), false),
        // Flags that are not known here mean nothing.
        (format!("00-{usual}-ff"), true),
        (format!("00-{usual}-02"), false),
        (format!("01-{usual}-01"), true),
        (format!("cc-{usual}-01-what-the-future-will-be-like"), true),
        (format!("cc-{usual}-01-"), true),
        (format!("cc-{usual}-01-.ü"), true),
    ] {
        assert_eq!(read(&text), Some(parent(is_sampled)), "{text}");
    }
}

#[test]
fn a_parent_that_is_not_as_specified_is_none() {
    let zeros = "0".repeat(32);
    let upper = TRACE.to_uppercase();
    for text in [
        String::new(),
        "00".to_owned(),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("FE-{TRACE}-{SPAN}-01"),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-{}-01", &zeros[..16]),
        format!("00-{upper}-{SPAN}-01"),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-0A"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-"),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-011"),
        format!("cc-{TRACE}-{SPAN}-01.more"),
        format!("cc-{TRACE}-{SPAN}-011"),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        format!("cc-{TRACE}-{SPAN}-01,cc-{TRACE}-{SPAN}-01"),
        format!(" 00-{TRACE}-{SPAN}-01"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        format!("00-{}g-{SPAN}-01", &TRACE[1..]),
        format!("00-{}ü-{SPAN}-01", &TRACE[2..]),
    ] {
        assert_eq!(read(&text), None, "{text}");
    }
    let orphan = TraceContext::read(None, ["vendor=value"]);
    assert_eq!(orphan, TraceContext::default(), "a state without a parent");
}

#[test]
fn several_states_are_one_list_in_order() {
    assert_eq!(state(&["b=2", "a=1,c@d=x y"]), "b=2,a=1,c@d=x y");
    assert_eq!(state(&[" a=1 ,\t,b=2\t", ""]), "a=1,b=2");
    assert_eq!(state(&["1a-_*/@x=~!"]), "1a-_*/@x=~!");
    assert_eq!(state(&[]), "");
}

#[test]
fn a_state_that_is_not_as_specified_is_left_out_and_the_parent_stays() {
    let many: Vec<String> = (0..33).map(|number| format!("k{number}=v")).collect();
    assert_ne!(state(&[&many[..32].join(",")]), "");
    let long = "v".repeat(256);
    assert_ne!(state(&[&format!("a={long}")]), "");
    let twenty: Vec<String> = (0..20).map(|number| format!("k{number}={long}")).collect();
    for headers in [
        vec!["a"],
        vec!["a="],
        vec!["=1"],
        vec!["A=1"],
        vec!["a b=1"],
        vec!["@a=1"],
        vec!["_a=1"],
        vec!["a=1=2"],
        vec!["a=\u{7f}"],
        vec!["a=ü"],
        vec!["a=1", "b=2,a=3"],
        vec!["a=1", "nothing"],
        vec![&*many.join(",")],
        vec![&*format!("a={long}v")],
        vec![&*format!("{long}k=v")],
        vec![&*twenty.join(",")],
    ] {
        assert_eq!(state(&headers), "", "{headers:?}");
    }
}

#[test]
fn the_other_trace_counts_only_where_this_is_none() {
    let [own, other] = ["1", "2"].map(|span| {
        let traceparent = format!("00-{TRACE}-{}{span}-01", &SPAN[1..]);
        TraceContext::read(Some(&traceparent), ["vendor=value"])
    });
    assert_eq!(own.clone().or(&other), own);
    assert_eq!(TraceContext::default().or(&other), other);
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_read_is_what_was_written(text in "\\PC{0,70}", trace in 1..u128::MAX, span in 1..u64::MAX, flags: u8) {
        let _ = read(&text);
        let written = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        let expected = TraceParent {
            trace_id: trace.to_be_bytes(),
            span_id: span.to_be_bytes(),
            is_sampled: flags & 1 == 1,
        };
        prop_assert_eq!(read(&written), Some(expected));
        if flags != 0 {
            let later = format!("{flags:02x}-{trace:032x}-{span:016x}-00-{text}");
            prop_assert_eq!(read(&later).is_some(), flags != 0xff);
        }
    }
}
