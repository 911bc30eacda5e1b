use proptest::prelude::*;

use super::*;

fn split(pieces: &[&[u8]]) -> (Vec<Bytes>, Vec<u8>) {
    let mut splitter = EventSplitter::new(1_000);
    let mut events = Vec::new();
    for piece in pieces {
        events.extend(splitter.push(piece).expect("short"));
    }
    (events, splitter.rest.to_vec())
}

fn read(raw: &str) -> Result<ServerSentEvent, Malformed> {
    ServerSentEvent::read(raw.to_owned().into())
}

#[test]
fn an_event_is_there_as_soon_as_its_empty_line_is() {
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("id: 1{end}data: a{end}{end}data: b{end}{end}data: c{end}");
        let (events, rest) = split(&[text.as_bytes()]);
        let all: Vec<u8> = events.iter().flatten().copied().chain(rest).collect();
        assert_eq!(all, text.as_bytes(), "{end:?}");
        let mut data: Vec<_> = events
            .into_iter()
            .map(|raw| ServerSentEvent::read(raw).expect("an event").data)
            .collect();
        data.retain(|data| !data.is_empty());
        assert_eq!(data, ["a", "b"], "{end:?}");
    }
}

#[test]
fn nothing_of_an_event_is_held_back() {
    let mut splitter = EventSplitter::new(100);
    let mut push = |piece: &[u8]| splitter.push(piece).expect("short").concat();
    assert_eq!(push(b"data: a\r\n\r\n"), b"data: a\r\n\r\n");
    assert_eq!(push(b"data: b\r\n\r"), b"data: b\r\n\r");
    assert_eq!(push(b"\n"), b"\n", "readers may wait for it");
    assert_eq!(push(b"data: c"), b"");
}

#[test]
fn lines_are_read_as_the_standard_says() {
    let event = read(": hello\nid: 7\nevent:message\ndata:  a\ndata:b\ndata\nretry: 3\n\n");
    let event = event.expect("an event");
    assert_eq!(event.data, " a\nb\n");
    assert!(!event.is_plain);
    let with = event.with_data("{\"a\":\"\u{2028}\"}");
    assert_eq!(
        with,
        "id: 7\nevent:message\nretry: 3\ndata: {\"a\":\"\\u2028\"}\n\n"
    );
    let event = read("data: {\"a\":1}\r\n\r").expect("an event");
    assert_eq!((event.data.as_str(), event.is_plain), ("{\"a\":1}", true));
    let event = read("data: \"\u{85}data: evil\"\n\n").expect("an event");
    assert!(!event.is_plain, "some readers see two lines");
    for nothing in [
        "\n",
        ": only a comment\n\n",
        "id: 4\ndata: \n\n",
        "retry: 5\n\n",
    ] {
        assert_eq!(read(nothing).expect("an event").data, "", "{nothing:?}");
    }
}

#[test]
fn clients_take_events_of_one_name_for_messages() {
    for (named, expected) in [
        ("", true),
        ("event\n", true),
        ("event:\n", true),
        ("event:message\n", true),
        ("event: message\n", true),
        ("event: ping\nevent: message\n", false),
        ("event: message\nevent: ping\n", false),
        ("event: Message\n", false),
        ("event:  message\n", false),
        ("event: message \n", false),
    ] {
        let event = read(&format!("id: ping\n{named}data: {{}}\n\n"));
        assert_eq!(event.expect("an event").is_message, expected, "{named:?}");
    }
}

#[test]
fn what_readers_could_take_for_something_else_is_no_event() {
    for raw in [
        "Data: {}\n\n",
        "data : {}\n\n",
        " data: {}\n\n",
        "\u{feff}data: {}\n\n",
        "{}\n\n",
        "id: 1\u{2028}data: {}\n\n",
        ": c\u{b}data: {}\n\n",
    ] {
        assert_eq!(read(raw), Err(Malformed), "{raw:?}");
    }
    assert_eq!(
        ServerSentEvent::read(Bytes::from_static(b"data: \xff\n\n")),
        Err(Malformed)
    );
}

#[test]
fn an_event_has_an_end_or_is_too_long() {
    let mut splitter = EventSplitter::new(10);
    assert_eq!(splitter.push(b"data: 12"), Ok(vec![]));
    assert_eq!(splitter.push(b"34"), Ok(vec![]));
    assert_eq!(splitter.push(b"5"), Err(TooLong));
    let mut splitter = EventSplitter::new(10);
    let many = b"data: 1\n\n".repeat(100);
    assert_eq!(splitter.push(&many).map(|it| it.len()), Ok(100));
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_does_not_matter(
        text in "(data|id|:|a|\n|\r|\r\n|\n\n| |\u{2028}){0,40}",
        cuts in prop::collection::vec(0_usize..200, 0..20),
    ) {
        let whole = split(&[text.as_bytes()]);
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.push(&text.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(split(&pieces), whole);
        let single: Vec<_> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(split(&single), split(&[text.as_bytes()]));
    }
}

proptest! {
    #[test]
    fn whatever_bytes_come_none_is_lost_and_data_stays_what_it_is(
        noise in prop::collection::vec(any::<u8>(), 0..60),
        line in prop::sample::select(vec!["data: {}\n", "id: 1\r", "\r\n", ": c\n", "\u{feff}", "event"]),
        end in "[ -~]{0,9}(\n\n|\r\r|\r\n\r\n)",
    ) {
        let stream = [&noise, line.as_bytes(), end.as_bytes()].concat();
        let (events, rest) = split(&[&stream]);
        prop_assert_eq!([events.concat(), rest].concat(), stream);
        for raw in events {
            let Ok(event) = ServerSentEvent::read(raw) else { continue };
            if event.data.contains('\n') || event.data.is_empty() {
                continue;
            }
            let again = ServerSentEvent::read(event.with_data(&event.data)).expect("an event");
            if event.is_plain {
                prop_assert_eq!(&again.data, &event.data);
            }
            prop_assert_eq!(again.lines, event.lines);
        }
    }
}
