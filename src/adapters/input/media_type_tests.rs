use super::*;

#[test]
fn json_in_utf_8_is_read_and_nothing_else() {
    for value in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json ; charset=\"utf-8\"",
        "application/json;",
    ] {
        assert_eq!(MediaType::read(value), Ok(MediaType::Json), "{value}");
    }
    assert_eq!(
        MediaType::read("text/event-stream; charset=utf-8"),
        Ok(MediaType::Events)
    );
    for value in ["text/json", "application/problem+json; charset=utf-8"] {
        assert_eq!(MediaType::read(value), Ok(MediaType::OtherJson), "{value}");
    }
    for (value, why) in [
        ("application/json; charset=utf-7", MediaError::Charset),
        ("application/json; charset=utf-16", MediaError::Charset),
        ("application/json; charset=iso-8859-1", MediaError::Charset),
        ("application/json; charset=us-ascii", MediaError::Charset),
        (
            "application/json; charset=utf-8; charset=utf-7",
            MediaError::Charset,
        ),
        ("application/json; charset=\"utf-8", MediaError::Charset),
        (
            "application/json; charset*=utf-8''utf-7",
            MediaError::Charset,
        ),
        ("application/json; charset = utf-8", MediaError::Charset),
        ("application/json; x=1; charset=utf-7", MediaError::Unclear),
        ("application/json, text/plain", MediaError::Unclear),
        ("application/json-rpc", MediaError::Unclear),
        (
            "application/problem+json; charset=utf-7",
            MediaError::Charset,
        ),
        ("text/plain", MediaError::Other),
        ("application/x-www-form-urlencoded", MediaError::Other),
        ("multipart/form-data; boundary=x", MediaError::Other),
        ("application/cbor", MediaError::Other),
        ("", MediaError::Other),
    ] {
        assert_eq!(MediaType::read(value), Err(why), "{value}");
    }
}

#[test]
fn the_letters_of_ascii_are_its_bytes_only_in_sets_that_extend_it() {
    for value in [
        "text/plain",
        "text/html; charset=UTF-8",
        "text/html;charset=\"iso-8859-1\"",
        "text/html; charset = windows-1252; x=y",
        "text/plain; charset=us-ascii",
    ] {
        assert!(extends_ascii(value), "{value}");
    }
    for value in [
        "text/plain; charset=utf-7",
        "text/plain; charset=UTF-16",
        "text/plain; charset=ebcdic-us",
        "text/plain; charset=iso-2022-jp",
        "text/plain; charset=utf-8; charset=utf-7",
        "text/plain; charset=utf-8;charset=\"utf-7\"",
        "text/plain; charset*=utf-8''utf-7",
        "text/plain; charset",
        "text/plain; x=\"; charset=utf-7\"",
    ] {
        assert!(!extends_ascii(value), "{value}");
    }
}
