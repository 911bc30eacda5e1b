use super::*;

/// The text of a field, as its reader gets it back.
fn read(field: &str) -> String {
    let quoted = field.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let shown = quoted.map_or(field.to_owned(), |it| it.replace("\"\"", "\""));
    let mut text = String::new();
    let mut is_beginning = true;
    for char in shown.chars() {
        if !(is_beginning && char == '\'') {
            text.push(char);
        }
        is_beginning = char == ';' || is_beginning && matches!(char, '"' | ' ');
    }
    text
}

/// The cells of a line for a spreadsheet that separates by this character.
fn cells(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut chars = line.chars().peekable();
    let (mut is_start, mut is_quoted) = (true, false);
    while let Some(char) = chars.next() {
        let cell = cells.last_mut().expect("a cell");
        match char {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' if is_quoted => is_quoted = false,
            '"' if is_start => is_quoted = true,
            char if char == separator && !is_quoted => {
                cells.push(String::new());
                is_start = true;
                continue;
            }
            char => cell.push(char),
        }
        is_start = false;
    }
    cells
}

#[test]
fn no_field_is_a_formula_whatever_the_separator_and_each_is_read_back() {
    let begins = [
        "", "=", "+", "-", "@", "＝", "＋", "－", "＠", "'", "''", "'=", "x", "\"", "\"=", " ",
        " =", "\" \"=",
    ];
    let separators = [
        ";", ",", "\"", ";;", " ", ";\"", ";\"\"", ";\"\"\"", "; ", ";\" ", "\";", ",\"",
    ];
    for first in begins {
        for second in begins {
            for between in separators {
                let text = format!("{first}1{between}{second}cmd|'x'");
                let field = field(&text);
                assert_eq!(read(&field), text, "{field}");
                // Beside it there are others, with quotes and without.
                for line in [
                    field.clone(),
                    format!("1,{field},2"),
                    format!("\"a;b\",{field},\"c;d\""),
                ] {
                    for separator in [',', ';'] {
                        let cells = cells(&line, separator);
                        let is_formula = |cell: &String| cell.trim_start().starts_with(FORMULA);
                        assert!(
                            !cells.iter().any(is_formula),
                            "{line} by {separator}: {cells:?}"
                        );
                    }
                }
            }
        }
    }
    assert_eq!(field("a;=cmd|x"), "\"a;'=cmd|x\"");
    assert_eq!(field("x;\"=HYPERLINK(1);y"), "\"x;\"\"'=HYPERLINK(1);y\"");
    assert_ne!(field("=x"), field("'=x"));
}
