//! Single calls over a bundle, as they stand in test files.

use callgate::analysis::policy_test::TestedBundle;
use callgate::bundle::Bundle;
use callgate::domain::decide::verdict::Verdict;
use callgate_engine::cedar::EntityUID;
use serde_json::{Value as Json, json};

/// `Mcp::<kind>::"<id>"`.
pub fn uid(kind: &str, id: &str) -> EntityUID {
    let text = format!("Mcp::{kind}::{}", json!(id));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What the policies of a bundle say to one case, written as an item of `tests`.
pub fn decide(bundle: &Bundle, case: &Json) -> Verdict {
    // YAML reads JSON; what is not ASCII is escaped, since YAML takes some of it for a line break.
    let mut text = String::new();
    for unit in json!({ "tests": [case] }).to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    let verdicts =
        TestedBundle::verdicts(bundle, &text).unwrap_or_else(|faults| panic!("{faults}"));
    let [verdict] = &verdicts[..] else {
        panic!("one case, {} verdicts", verdicts.len());
    };
    verdict.clone()
}
