use proptest::prelude::*;

use super::*;

/// `*` is a wildcard.
fn pattern(text: &str) -> Pattern {
    let element = |character| match character {
        '*' => PatternElem::Wildcard,
        other => PatternElem::Char(other),
    };
    text.chars().map(element).collect::<Vec<_>>().into()
}

#[test]
fn parts_match_in_their_order_and_do_not_overlap() {
    let matches = |like: &str, text: &str| LikePattern::compile(&pattern(like)).matches(text);
    for (like, text) in [
        ("", ""),
        ("*", ""),
        ("**", "any"),
        ("a*a", "aa"),
        ("a*b*c", "a-b-b-c"),
        ("*.example.com", "www.example.com"),
        ("é*", "école".replace('e', "é").as_str()),
    ] {
        assert!(matches(like, text), "{like} {text}");
    }
    for (like, text) in [
        ("", "a"),
        ("a", ""),
        ("a*a", "a"),
        ("ab*ba", "aba"),
        ("*b*a", "ab"),
        ("a*", "ba"),
        ("*.example.com", "example.com"),
    ] {
        assert!(!matches(like, text), "{like} {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Few characters, so that many match; of several lengths in UTF-8, some of which begin with the same byte.
    #[test]
    fn what_matches_is_what_cedar_says(like in "[ab\u{e9}\u{ea}\u{1f600}\u{1f601}*]{0,8}", text in "[ab\u{e9}\u{ea}\u{1f600}\u{1f601}]{0,12}") {
        let pattern = pattern(&like);
        prop_assert_eq!(LikePattern::compile(&pattern).matches(&text), pattern.wildcard_match(&text));
    }

    /// A text made for its pattern, and one that lost a character of it.
    #[test]
    fn a_text_made_for_a_pattern_matches(like in "[ab*]{0,10}", fill in "[ab]{0,3}", cut in 0_usize..12) {
        let made = like.replace('*', &fill);
        let pattern = pattern(&like);
        prop_assert!(LikePattern::compile(&pattern).matches(&made));
        let less: String = made.chars().enumerate().filter(|(at, _)| *at != cut).map(|(_, it)| it).collect();
        prop_assert_eq!(LikePattern::compile(&pattern).matches(&less), pattern.wildcard_match(&less));
    }
}
