use super::*;

#[test]
fn what_nobody_sees_is_found() {
    for c in [
        '\0',
        '\u{7}',
        '\n',
        '\u{7f}',
        '\u{85}',
        '\u{a0}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{2000}',
        '\u{200b}',
        '\u{200d}',
        '\u{202e}',
        '\u{2028}',
        '\u{2060}',
        '\u{2066}',
        '\u{2800}',
        '\u{3000}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{1d173}',
        '\u{e0041}',
        '\u{e0100}',
    ] {
        assert!(is_invisible(c), "{c:?}");
    }
    for c in [' ', 'a', '$', '_', 'é', 'ß', '日', 'ب', '👍', '\u{301}'] {
        assert!(!is_invisible(c), "{c:?}");
    }
}

#[test]
fn escapes_show_what_was_hidden_and_nothing_else() {
    assert_eq!(escaped("plain text"), "plain text");
    assert_eq!(escaped("a\u{202e}b\u{0}"), "a\\u{202e}b\\u{0}");
    assert_eq!(escaped("one\ntwo\tthree"), "one\\ntwo\\tthree");
}

#[test]
fn names_that_somebody_takes_for_one_fold_to_one() {
    for (one, other) in [
        ("path", "Path"),
        ("task", "tas\u{212a}"),
        ("arguments", "argument\u{17f}"),
        ("name", "\u{ff4e}ame"),
        ("straße", "STRASSE"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("σς", "ΣΣ"),
    ] {
        assert_eq!(folded(one), folded(other), "{one} {other}");
    }
    assert_ne!(
        folded("path"),
        folded("pаth"),
        "a Cyrillic letter is another one"
    );
}
