use std::sync::Arc;

use super::*;

fn warning(message: &str) -> BundleDiagnostic {
    BundleDiagnostic::for_file(&Arc::from("entities/people.json"), message)
}

#[test]
fn warnings_that_differ_in_names_and_numbers_are_of_one_kind() {
    let mut warnings: Vec<_> = (0..1_000)
        .map(|number| {
            warning(&format!(
                "the parent `Mcp::Group::\"g{number}\"` of `Mcp::User::\"u\"` is not defined (likewise for {number} other entities)"
            ))
        })
        .collect();
    warnings.insert(500, warning("the file `x` is not read"));
    warnings.push(warning(
        "the parent `Mcp::Group::\"g\"` of `Mcp::User::\"u\"` is not defined",
    ));
    let kinds = by_kind(&warnings);
    let sizes: Vec<usize> = kinds.iter().map(|kind| kind.warnings.len()).collect();
    assert_eq!(sizes, [1_001, 1]);
    let text = kinds[0].to_string();
    assert!(text.starts_with("1001 warnings of one kind"), "{text}");
    assert!(
        text.contains("\"g2\"") && !text.contains("\"g3\""),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn other_words_are_another_kind() {
    let warnings = [
        warning("the parent `a` of `b` is not defined"),
        warning("the attribute `a` of `b` is not defined"),
        warning("`a` is never read"),
        warning("a quote ` that does not end"),
    ];
    assert_eq!(by_kind(&warnings).len(), 4);
    assert_eq!(words("`a` is never read (2 times)"), "`` is never read");
}
