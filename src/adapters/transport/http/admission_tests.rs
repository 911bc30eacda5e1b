use super::*;

#[test]
fn only_a_body_that_is_sent_as_it_is_is_read() {
    let checked = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        check_content_encoding(&headers)
    };
    for plain in [
        &[][..],
        &["identity"],
        &["Identity"],
        &["identity, identity"],
        &[""],
    ] {
        assert_eq!(checked(plain), Ok(()), "{plain:?}");
    }
    for other in [
        &["gzip"][..],
        &["identity, gzip"],
        &["identity", "br"],
        &["x"],
    ] {
        assert_eq!(checked(other), Err(HttpRejection::Encoded), "{other:?}");
    }
}
