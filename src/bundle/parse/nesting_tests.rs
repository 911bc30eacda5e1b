use std::sync::Arc;

use super::*;

fn said(text: &str, language: Language) -> Option<String> {
    let file: Arc<str> = Arc::from("a.cedar");
    find_excess(SourceText { file: &file, text }, language).map(|fault| fault.to_string())
}

fn policy(condition: &str) -> String {
    format!("permit (principal, action, resource) when {{ {condition} }};")
}

/// Conditions that nest so deep, one for each way to nest.
fn nested(levels: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    vec![
        around("(", "true", ")"),
        around("[", "1", "]"),
        around("{a: ", "1", "}"),
        around("!", "true", ""),
        around("-", "1", ""),
        around("! ", "true", ""),
        around("!(", "true", ")"),
        around("if true then ", "true", " else false"),
        around("if false then false else ", "true", ""),
        around("if ", "true", " then true else true"),
        around("[1].contains(", "1", ")"),
        around("context[", "\"a\"", "]"),
        around("(1, -(", "1", "))"),
        around("ip(", "\"\"", ")"),
    ]
}

/// Conditions of so many parts that build on each other without a bracket around them.
fn chained(parts: usize) -> Vec<String> {
    let between = |part: &str, sign: &str| vec![part; parts].join(sign);
    let behind = |first: &str, part: &str| format!("{first}{}", part.repeat(parts));
    vec![
        between("true", " && "),
        between("context.x == 1", "||"),
        between("1", "+"),
        between("1", " - "),
        between("1", "*"),
        behind("context", ".a"),
        behind("context", "[\"a\"]"),
        behind("[1]", ".contains(1)"),
        format!("context has {}", between("a", ".")),
        between("principal", " in "),
        format!("true }} {} when {{ true", "unless { false } ".repeat(parts)),
        format!("[{}]", between("1", "+")),
        // What is closed counts as well: the first part of a chain is the deepest.
        format!("({}) {}", between("1", "+"), "|| true".repeat(3)),
    ]
}

#[test]
fn nesting_is_bounded_whatever_nests() {
    for condition in nested(MAX_NESTING / 4) {
        assert_eq!(
            said(&policy(&condition), Language::Policies),
            None,
            "{condition}"
        );
    }
    for levels in [MAX_NESTING + 1, 700, 20_000] {
        for condition in nested(levels) {
            let said = said(&policy(&condition), Language::Policies);
            let shown: String = condition.chars().take(40).collect();
            let said = said.unwrap_or_else(|| panic!("{levels} of {shown}"));
            let is_if = condition.starts_with("if");
            let wanted = match is_if {
                true => "more than 16 `if`",
                false => "nests deeper than 64",
            };
            assert!(said.contains(wanted), "{shown}: {said}");
            assert!(said.contains("a.cedar:1:"), "{said}");
        }
    }
}

#[test]
fn chains_are_bounded_whatever_they_are_made_of() {
    // What is between them does not add up.
    let comparisons = vec!["context.a.b.c == [1, 2]"; 900].join(" || ");
    assert_eq!(said(&policy(&comparisons), Language::Policies), None);
    for condition in chained(200) {
        assert_eq!(
            said(&policy(&condition), Language::Policies),
            None,
            "{condition}"
        );
    }
    for condition in chained(MAX_HEIGHT + 2) {
        let said = said(&policy(&condition), Language::Policies);
        let shown: String = condition.chars().take(40).collect();
        let said = said.unwrap_or_else(|| panic!("{shown}"));
        assert!(said.contains("build on each other"), "{shown}: {said}");
    }
}

#[test]
fn what_is_wide_but_not_deep_passes() {
    let many = |part: &str| vec![part; 50_000].join(", ");
    for condition in [
        format!("[{}].contains(1)", many("1")),
        format!("[{}].contains(1)", many("-1")),
        format!(
            "[{}].contains(true)",
            many("if (true) then true else false")
        ),
        format!("{{{}}} == context", many("a: [1]")),
    ] {
        assert_eq!(said(&policy(&condition), Language::Policies), None);
    }
    let short = policy("!(context.a == 1) && -1 < 2");
    assert_eq!(said(&short.repeat(10_000), Language::Policies), None);
}

#[test]
fn texts_and_comments_do_not_count() {
    let brackets = "(".repeat(1_000);
    for text in [
        policy(&format!("context.a == \"{brackets}\"")),
        policy(&format!("context.a == \"\\\"{brackets}\"")),
        format!("// {brackets}\n{}", policy("true")),
        format!("@id(\"{brackets}\") {}", policy("true")),
    ] {
        assert_eq!(said(&text, Language::Policies), None, "{text}");
    }
    let after = format!("// \"\n{}", policy(&brackets));
    assert!(said(&after, Language::Policies).is_some());
}

#[test]
fn schemas_are_bounded_too() {
    for levels in [MAX_NESTING + 1, 10_000] {
        for (open, close) in [("Set<", ">"), ("{ a: ", "}"), ("Set<{a: ", "}>")] {
            let (open, close) = (open.repeat(levels), close.repeat(levels));
            let text = format!("entity A {{ a: {open}Long{close} }};");
            let said = said(&text, Language::Schema).expect("too deep");
            assert!(said.contains("nests deeper"), "{said}");
        }
    }
    let many = "entity A in [B, C] { a: Set<Set<Long>>, b?: { c: Bool } };\n".repeat(10_000);
    assert_eq!(
        said(&format!("namespace N {{ {many} }}"), Language::Schema),
        None
    );
    assert_eq!(said(crate::domain::schema::SCHEMA, Language::Schema), None);
}
