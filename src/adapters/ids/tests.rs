use crate::adapters::ids::{check, optional, required};
use crate::adapters::invalid::Problem;

#[test]
fn an_id_is_there_short_enough_and_visible() {
    for good in ["a", "Zoë", "小林", "a b", "-", "a\\b", "…"] {
        assert_eq!(check(good, 8), Ok(()), "{good:?}");
    }
    let too_long = Problem::TooLong { bytes: 9, limit: 8 };
    for (text, wanted) in [
        ("", Problem::Missing),
        (" ", Problem::Blank),
        ("   ", Problem::Blank),
        ("123456789", too_long),
        ("a\0", Problem::ControlCharacter),
        ("a\nb", Problem::ControlCharacter),
        ("\t", Problem::ControlCharacter),
        ("a\u{7f}", Problem::ControlCharacter),
        ("a\u{85}b", Problem::InvisibleCharacter),
        ("a\u{a0}b", Problem::InvisibleCharacter),
        ("\u{3000}", Problem::InvisibleCharacter),
        ("bob\u{200b}", Problem::InvisibleCharacter),
        ("\u{202e}bob", Problem::InvisibleCharacter),
        ("a\u{2028}b", Problem::InvisibleCharacter),
        ("\u{feff}a", Problem::InvisibleCharacter),
        ("a\u{2800}", Problem::InvisibleCharacter),
    ] {
        assert_eq!(check(text, 8), Err(wanted), "{text:?}");
    }
}

#[test]
fn only_an_empty_text_may_stand_for_none() {
    assert_eq!(optional("", 8, "session_id"), Ok(None));
    assert_eq!(optional("s", 8, "session_id"), Ok(Some("s".into())));
    let refused = optional(" ", 8, "session_id").expect_err("blank");
    assert_eq!(refused.to_string(), "`session_id` holds nothing but blanks");
    let refused = required("", 8, "subject.id").expect_err("empty");
    assert_eq!(refused.to_string(), "`subject.id` is required");
    let refused = required("a\u{200b}", 8, "id").expect_err("invisible");
    let wanted = "`id` holds a character that nobody sees";
    assert_eq!(refused.to_string(), wanted);
}
