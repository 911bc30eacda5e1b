use super::*;

#[test]
fn plain_values_stand_for_themselves() {
    for value in ["tools/call", "", "=?base65?YQ==?=", "a =?base64?YQ==?="] {
        assert_eq!(decoded(value).as_deref(), Some(value));
    }
}

#[test]
fn encoded_values_are_decoded() {
    for (value, expected) in [
        ("=?base64??=", ""),
        ("=?base64?YQ==?=", "a"),
        ("=?base64?YWI=?=", "ab"),
        ("=?base64?YWJj?=", "abc"),
        ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
    ] {
        assert_eq!(decoded(value).as_deref(), Some(expected), "{value}");
    }
}

#[test]
fn an_encoding_that_is_not_kept_to_is_no_value() {
    for value in [
        "=?base64?YQ==",
        "=?base64?YQ=?=",
        "=?base64?YQ?=",
        "=?base64?YR==?=",
        "=?base64?Y===?=",
        "=?base64?YQ==YQ==?=",
        "=?base64?Y-_=?=",
        "=?base64?YQ= =?=",
        "=?base64?/w==?=",
    ] {
        assert_eq!(decoded(value), None, "{value}");
    }
}
