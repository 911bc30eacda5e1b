//! What servers send: cut into parts without a change, and made fit for judging without one that matters.

#![no_main]

use std::borrow::Cow;

use callgate::adapters::mcp::message::{self, ServerMessage};
use callgate::config::limits::Limits;
use callgate::domain::request::json_text::{inexact_number, tolerant};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/one_reading/panel.rs"]
#[allow(dead_code)]
mod panel;

use panel::Tree;

fuzz_target!(|text: &[u8]| {
    let held = tolerant(text);
    if let Cow::Borrowed(same) = held {
        assert_eq!(same, text);
    }
    // What is JSON stays JSON, of the same shape; what is none becomes none.
    let before = panel::parse(text);
    let after = panel::parse(&held);
    if let Some(before) = &before {
        let after = after.as_ref().expect("what was JSON is JSON");
        assert!(is_alike(before, after), "{before:?} became {after:?}");
        assert!(
            matches!(tolerant(&held), Cow::Borrowed(_)),
            "nothing is left to replace"
        );
        assert_eq!(inexact_number(&held), None);
    }
    let Ok(message) = message::read_server(text, &Limits::default()) else {
        return;
    };
    let tree = before.expect("what is cut is JSON");
    let member = |name| {
        let found = panel::found(&tree, &[name]);
        assert!(found.len() <= 1, "one {name} to every reader");
        found.into_iter().next()
    };
    let has_method = member("method").is_some();
    assert_eq!(
        has_method,
        matches!(
            message,
            ServerMessage::Request { .. } | ServerMessage::Notification { .. }
        )
    );
    if let ServerMessage::Result { result, .. } = message {
        let Some(Tree::Object(members)) = member("result") else {
            panic!("no result");
        };
        let cut = result.iter().map(|(name, text)| {
            let value = panel::parse(text.as_bytes()).expect("a part is JSON");
            (name.to_owned(), value)
        });
        assert_eq!(*members, cut.collect::<Vec<_>>());
        for (name, _) in members {
            let found = panel::found(&tree, &["result", name]);
            assert_eq!(found.len(), 1, "one {name} to every reader");
        }
    }
});

/// Whether two values are the same but for numbers that became texts.
fn is_alike(before: &Tree, after: &Tree) -> bool {
    match (before, after) {
        (Tree::Number(number), Tree::Text(text)) => text.strip_prefix("\0number ") == Some(number),
        (Tree::List(before), Tree::List(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .zip(after)
                    .all(|(one, other)| is_alike(one, other))
        }
        (Tree::Object(before), Tree::Object(after)) => {
            let is_same =
                |((name, one), (other_name, other)): (&(String, Tree), &(String, Tree))| {
                    name == other_name && is_alike(one, other)
                };
            before.len() == after.len() && before.iter().zip(after).all(is_same)
        }
        (one, other) => one == other,
    }
}
