use super::*;

/// What passes of a text that comes in one piece, and what if each byte comes by itself.
fn passed(text: &[u8]) -> [(Vec<u8>, bool); 2] {
    let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut state = ErrorText::default();
        let mut passed = Vec::new();
        for piece in pieces {
            match state.read(piece) {
                Passing::All => passed.extend_from_slice(piece),
                Passing::UpToEvent(at) => passed.extend_from_slice(&piece[..at]),
                Passing::Nothing => {}
                Passing::UpToJson(at) => {
                    passed.extend_from_slice(&piece[..at]);
                    return (passed, true);
                }
            }
        }
        (passed, false)
    };
    [of(&mut [text].into_iter()), of(&mut text.chunks(1))]
}

#[test]
fn pages_and_sentences_pass_whole() {
    for text in [
        "",
        "Jwt is missing",
        "<!doctype html>\n<body style=\"background: url(data:image/png;base64,AAAA)\">data: none",
        "no data: the\n metadata: of\ndatabase: dat: a\r\ndatadata: it",
        "\n\t not found {\"jsonrpc\":\"2.0\"}",
        "Ошибка: {}",
        "Ошибка [404]",
        "エラー {x}",
        "\u{feff}\u{a0}é[]",
        "\u{1f6ab} {\"error\": 404}",
    ] {
        let whole = (text.as_bytes().to_vec(), false);
        assert_eq!(passed(text.as_bytes()), [whole.clone(), whole], "{text}");
    }
}

#[test]
fn what_may_be_json_is_found_behind_all_that_readers_leave_out() {
    for blank in [
        &b""[..],
        b" \t\r\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf \xef\xbb\xbf\x0b\x0c\x00",
        b"\xc2\xa0\xe2\x80\xa8",
        b"\xff\xfe",
        b"\x00",
        b"\xef\xbb",
        b"\xce",
        b"\xe2\x80 \xf0\x9f",
        b"\xc0\xaf\x9e",
        "\u{3000}\u{1680}\u{2060}\u{e0001}\u{85}".as_bytes(),
    ] {
        for json in ["{\"a\":1}", "[{}]", "{", "["] {
            let text = [blank, json.as_bytes()].concat();
            let found = (blank.to_vec(), true);
            assert_eq!(passed(&text), [found.clone(), found], "{text:?}");
        }
    }
}

#[test]
fn no_event_passes_wherever_it_begins() {
    for (before, behind) in [
        ("data", ": {\"jsonrpc\":\"2.0\"}\n\n"),
        ("\u{feff}data", ":{}\n\ndata:{}\n\n"),
        ("  data", ":{}\n\n"),
        ("event: message\nid: 7\nDATA", ":{}\n\n"),
        ("Not found\r\ndata", ": {}\r\n\r\n"),
        ("Not found\rdata", ":\rdata:{}"),
        ("Not found\n\u{feff}data", ": {}"),
        ("Not found\u{2028}data", ": {}"),
        ("Not found\u{85}data", ": {}"),
        ("Not found\u{1e}data", ": {}"),
        ("data\ndata", ": {}\n\nhello"),
    ] {
        let cut = (before.as_bytes().to_vec(), false);
        let text = format!("{before}{behind}");
        assert_eq!(passed(text.as_bytes()), [cut.clone(), cut], "{text:?}");
    }
}
