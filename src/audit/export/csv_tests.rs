use super::*;

/// The text of a field, as its reader gets it back.
fn read(field: &str) -> String {
    let quoted = field.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let shown = quoted.map_or(field.to_owned(), |it| it.replace("\"\"", "\""));
    let parts = shown.split(';');
    let parts: Vec<_> = parts
        .map(|part| part.strip_prefix('\'').unwrap_or(part))
        .collect();
    parts.join(";")
}

#[test]
fn no_field_is_a_formula_whatever_the_separator_and_each_is_read_back() {
    let begins = [
        "", "=", "+", "-", "@", "＝", "＋", "－", "＠", "'", "''", "'=", "x",
    ];
    for first in begins {
        for second in begins {
            for separator in [";", ",", "\"", ";;", " "] {
                let text = format!("{first}1{separator}{second}cmd|'x'");
                let field = field(&text);
                assert_eq!(read(&field), text, "{field}");
                let cells = field.trim_start_matches('"').split([';', '"']);
                let cells: Vec<_> = cells.collect();
                assert!(
                    !cells.iter().any(|cell| cell.starts_with(FORMULA)) || separator == "\"",
                    "{field}"
                );
            }
        }
    }
    assert_eq!(field("a;=cmd|x"), "\"a;'=cmd|x\"");
    assert_ne!(field("=x"), field("'=x"));
}
