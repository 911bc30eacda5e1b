use super::*;

fn twice(name: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in ["1", "1"] {
        headers.append(name, value.parse().expect("a value"));
    }
    headers
}

#[test]
fn a_header_that_counts_may_not_come_twice() {
    for name in SINGLE {
        assert_eq!(repeated(&twice(name)), Some(name));
    }
    assert_eq!(repeated(&twice("x-forwarded-for")), None);
    assert_eq!(repeated(&HeaderMap::new()), None);
}

#[test]
fn two_tokens_are_refused_even_if_they_are_one() {
    assert_eq!(
        authorization(&twice("authorization")),
        Err(AuthenticationError::Repeated)
    );
    let mut headers = HeaderMap::new();
    assert_eq!(authorization(&headers), Ok(None));
    headers.insert("authorization", "Bearer t".parse().expect("a value"));
    assert_eq!(authorization(&headers).map(|it| it.is_some()), Ok(true));
}
