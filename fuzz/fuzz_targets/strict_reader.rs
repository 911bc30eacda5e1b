//! Requests: whatever the strict reader accepts is the same to every lenient one.

#![no_main]

use callgate::adapters::mcp::message::{self, ClientMessage};
use callgate::config::limits::Limits;
use callgate::domain::request::arguments::ArgumentSchema;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/one_reading/panel.rs"]
#[allow(dead_code)]
mod panel;

use panel::{Known, Tree};

/// What holds names of somebody's own making: which may stand side by side, the tool's schema says.
const OWN_NAMES: [&str; 6] = [
    "_meta",
    "args",
    "arguments",
    "input",
    "inputSchema",
    "outputSchema",
];

fuzz_target!(|text: &[u8]| {
    let Ok(message) = message::read(text, &Limits::default()) else {
        return;
    };
    let tree = panel::parse(text).expect("what is read is JSON");
    let by_all = serde_json::from_slice::<serde_json::Value>(text);
    assert!(by_all.is_ok(), "what is read is JSON to serde");
    let protocol = without_own_names(&tree);
    panel::same_to_all(&protocol, &Known::default()).expect("one reading of the message");

    let ClientMessage::Request { params, .. } = message else {
        return;
    };
    let arguments = params.get("arguments").and_then(|it| it.as_object());
    if arguments.is_some_and(|arguments| ArgumentSchema::UNKNOWN.check(arguments).is_ok()) {
        let found = panel::found(&tree, &["params", "arguments"]);
        assert_eq!(found.len(), 1, "one set of arguments");
        panel::same_to_all(found[0], &Known::default()).expect("one reading of the arguments");
    }
});

fn without_own_names(tree: &Tree) -> Tree {
    match tree {
        Tree::List(items) => Tree::List(items.iter().map(without_own_names).collect()),
        Tree::Object(members) => {
            let member = |(name, value): &(String, Tree)| {
                let value = match OWN_NAMES.contains(&name.as_str()) {
                    true => Tree::Word("null"),
                    false => without_own_names(value),
                };
                (name.clone(), value)
            };
            Tree::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}
