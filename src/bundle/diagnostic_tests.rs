use super::*;

fn origin<'a>(file: &'a Arc<str>, text: &'a str) -> SourceText<'a> {
    SourceText { file, text }
}

#[test]
fn a_span_becomes_line_column_and_caret() {
    let file = Arc::from("policies/a.cedar");
    let text = "permit (\n\tprincipal, äction,\n);";
    let offset = text.find("äction").unwrap_or_default();
    let fault = BundleDiagnostic::at(origin(&file, text), offset, "äction".len(), "unknown word")
        .with_help("write `action`");
    assert_eq!((fault.line, fault.column), (Some(2), Some(13)));
    let expected = "fault: unknown word\n --> policies/a.cedar:2:13\n  |\n2 |  principal, äction,\n  |             ^^^^^^\n  = help: write `action`\n";
    // The gutter is as wide as the line number.
    assert_eq!(fault.to_string(), expected);
}

#[test]
fn spans_outside_the_text_or_within_a_character_do_no_harm() {
    let file = Arc::from("x");
    for text in ["", "ä", "a\nb", "\n\n"] {
        for offset in 0..8 {
            for length in [0, 1, 5, usize::MAX] {
                let fault = BundleDiagnostic::at(origin(&file, text), offset, length, "m");
                assert!(fault.line.is_some_and(|line| line >= 1));
                assert!(!fault.to_string().is_empty());
            }
        }
    }
}

#[test]
fn long_lines_are_cut_around_the_caret() {
    let file = Arc::from("x");
    let text = format!("{}HERE{}", "a".repeat(5_000), "b".repeat(5_000));
    let shown = BundleDiagnostic::at(origin(&file, &text), 5_000, 4, "m").to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[3].chars().count() < 140, "{shown}");
    let caret = lines[4].chars().position(|c| c == '^').unwrap_or_default();
    let under: String = lines[3].chars().skip(caret).take(4).collect();
    assert_eq!(under, "HERE");
}

#[test]
fn what_is_about_blanks_at_the_end_of_a_line_is_displayed_at_its_end() {
    let file = Arc::from("x");
    for before in [1, MAX_SHOWN_CHARS, 5_000] {
        let text = "[".repeat(before) + &" ".repeat(100_000);
        for offset in [before, before + 1, text.len() - 1, text.len()] {
            let fault = BundleDiagnostic::at(origin(&file, &text), offset, 200_000, "m");
            let shown = fault.to_string();
            let lines: Vec<&str> = shown.lines().collect();
            assert!(lines[4].ends_with(" ^"), "{shown}");
            assert_eq!(lines[4].chars().count(), lines[3].chars().count() + 1);
            assert!(lines[4].chars().count() < 140, "{shown}");
            assert_eq!(fault.column, Some(saturate(offset + 1)));
        }
    }
}

#[test]
fn no_password_in_a_url_is_displayed() {
    let shown = |line: &str| Excerpt::new(line, 2, 3).text;
    for (line, expected) in [
        (
            r#"url = "postgresql://callgate:hunter2@db/x""#,
            r#"url = "postgresql://callgate:*******@db/x""#,
        ),
        ("a://u:p@q@h b://:ä@h", "a://u:***@h b://:*@h"),
        (
            "https://a.com:443/x me@a.com",
            "https://a.com:443/x me@a.com",
        ),
        ("https://me@a.com/x", "https://me@a.com/x"),
    ] {
        assert_eq!(shown(line), expected);
    }
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let file = Arc::from("x");
    let fault = BundleDiagnostic::at(
        origin(&file, "\u{1b}[31mred\u{7}\u{202e}"),
        0,
        3,
        "unknown field `\u{0}x`",
    )
    .with_help("\u{1b}");
    let shown = fault.to_string();
    assert!(
        !shown.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{shown:?}"
    );
}

#[test]
fn faults_are_ordered_counted_and_never_empty() {
    assert_eq!(BundleError::from_diagnostics(Vec::new()), None);
    let (a, b) = (Arc::from("a"), Arc::from("b"));
    let text = "one\ntwo\n";
    let late = BundleDiagnostic::at(origin(&a, text), 4, 1, "late");
    let early = BundleDiagnostic::at(origin(&a, text), 0, 1, "early");
    let list = vec![
        BundleDiagnostic::for_file(&b, "last"),
        late.clone(),
        early,
        late,
    ];
    let faults = BundleError::from_diagnostics(list).expect("there are faults");
    let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["early", "late", "last"]);
    assert!(faults.to_string().ends_with("3 faults"));
    let json = serde_json::to_value(&faults).expect("faults serialize");
    assert_eq!(
        json[0],
        serde_json::json!({"file": "a", "line": 1, "column": 1, "message": "early", "help": null})
    );
}

#[test]
fn too_many_faults_are_counted() {
    let file = Arc::from("a");
    let list = (0..MAX_FAULTS + 7)
        .map(|n| BundleDiagnostic::for_file(&file, format!("{n:05}")))
        .collect();
    let faults = BundleError::from_diagnostics(list).expect("there are faults");
    assert_eq!(faults.iter().count(), MAX_FAULTS);
    assert_eq!(faults.count(), MAX_FAULTS + 7);
    assert!(faults.to_string().contains("… and 7 more"));
}
