//! Whatever text a server writes: every adapter makes the same of it, and what passes shows no reader a tool or a
//! request that is not allowed.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::one_reading::cases;
use crate::one_reading::hostile::{Text, list, name, object, scalar, value};
use crate::one_reading::panel::{self, Tree};
use crate::one_reading::results::{Form, Passage, passage, through_envoy};
use crate::one_reading::world::{Doors, start};

/// What is sent.
#[derive(Debug, Clone)]
enum Sent {
    /// The result of a request of this method.
    Result(&'static str, String),
    /// A message of the server's own.
    Message(String),
}

fn text_of(words: &'static [&'static str]) -> Text {
    select(words).prop_map(|word| format!("\"{word}\"")).boxed()
}

fn tool() -> Text {
    let named = (
        name(&["name"]),
        text_of(&[
            "read_text_file",
            "read_text_file",
            "free",
            "write_file",
            "write_file",
            r"write\u005ffile",
        ]),
    );
    let more = (
        name(&["name", "title", "inputSchema", "annotations"]),
        value(&["type", "title", "x"]),
    );
    let more = prop::collection::vec(more, 0..2);
    object((named, more).prop_map(|(named, mut more)| {
        more.push(named);
        more
    }))
}

fn asked() -> Text {
    let method = text_of(&[
        "elicitation/create",
        "elicitation/create",
        "sampling/createMessage",
        "roots/list",
    ]);
    let form = Just(r#"{"message":"?","requestedSchema":{"type":"object","properties":{"a":{"type":"string"}}}}"#.to_owned());
    let own = object(prop::collection::vec(
        (
            name(&["message", "mode", "url", "requestedSchema", "maxTokens"]),
            prop_oneof![scalar(), text_of(&["url", "form"]), Just("{}".to_owned())],
        ),
        0..4,
    ));
    let method = (name(&["method"]), method);
    let params = (name(&["params"]), prop_oneof![3 => form, 1 => own]);
    let more = prop::collection::vec((name(&["method", "params", "x"]), scalar()), 0..2);
    object(
        (method, params, more).prop_map(|(method, params, mut more)| {
            more.insert(0, method);
            more.push(params);
            more
        }),
    )
}

fn requests() -> Text {
    let request = (name(&["a", "b"]), asked());
    object(prop::collection::vec(request, 0..3))
}

fn result() -> Text {
    let content = Just(r#"[{"type":"text","text":"\ud800"}]"#.to_owned());
    let member = prop_oneof![
        3 => (name(&["tools"]), list(tool())),
        2 => (name(&["content"]), content),
        2 => (name(&["inputRequests"]), requests()),
        1 => (name(&["task", "result"]), object(prop::collection::vec((name(&["inputRequests", "x"]), requests()), 0..2))),
        1 => (name(&["structuredContent", "_meta"]), value(&["a", "A", "tools"])),
        1 => (name(&["isError", "nextCursor", "x"]), value(&["a", "b"])),
    ];
    object(prop::collection::vec(member, 0..4))
}

fn message() -> Text {
    let method = (
        name(&["method"]),
        text_of(&[
            "elicitation/create",
            "sampling/createMessage",
            "notifications/message",
            "notifications/tasks",
            "ping",
        ]),
    );
    let params = (
        name(&["params"]),
        prop_oneof![asked(), result(), Just("{\"data\":1e400}".to_owned())],
    );
    let id = prop_oneof![
        Just(None),
        (name(&["id"]), text_of(&["1", "x"])).prop_map(Some),
    ];
    let more = prop::collection::vec((name(&["method", "result", "id", "x"]), scalar()), 0..1);
    let members = (method, params, id, more).prop_map(|(method, params, id, mut more)| {
        more.insert(0, ("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned()));
        more.extend(id);
        more.extend([method, params]);
        more
    });
    object(members)
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = select(&["tools/list", "tools/call"][..]);
    let result = (method, result()).prop_map(|(method, result)| Sent::Result(method, result));
    prop_oneof![3 => result, 1 => message().prop_map(Sent::Message)]
}

/// That no reader finds anything in a result that is not allowed.
fn check_result(method: &str, text: &str) -> Result<(), TestCaseError> {
    let tree = panel::parse(text.as_bytes());
    let tree = tree.ok_or_else(|| TestCaseError::fail(format!("passed and no JSON: {text}")))?;
    if method == "tools/list" {
        for name in panel::found(&tree, &["tools", "*", "name"]) {
            let is_allowed =
                matches!(name, Tree::Text(name) if name == "read_text_file" || name == "free");
            prop_assert!(is_allowed, "{:?} in {}", name, text);
        }
    }
    for holder in [&[][..], &["task"], &["result"]] {
        let path = [holder, &["inputRequests", "*"]].concat();
        for request in panel::found(&tree, &path) {
            check_request(request, text)?;
        }
    }
    Ok(())
}

/// That every reader finds a form in what a server asks for.
fn check_request(request: &Tree, text: &str) -> Result<(), TestCaseError> {
    let methods = panel::found(request, &["method"]);
    let form = Tree::Text("elicitation/create".to_owned());
    prop_assert!(methods == [&form], "{:?} in {}", methods, text);
    let schemas = panel::found(request, &["params", "requestedSchema"]);
    prop_assert!(schemas.len() == 1, "{:?} in {}", schemas, text);
    let urls = panel::found(request, &["params", "url"]);
    prop_assert!(urls.is_empty(), "{:?} in {}", urls, text);
    Ok(())
}

async fn check(doors: &mut Doors, sent: &Sent) -> Result<bool, TestCaseError> {
    match sent {
        Sent::Result(method, result) => {
            if panel::parse(result.as_bytes()).is_none() {
                // Inside a message it can be something else, and `ExtMcp` gets it by itself.
                let whole = crate::one_reading::results::through_agentgateway(
                    doors,
                    method,
                    result.as_bytes(),
                )
                .await;
                prop_assert_eq!(whole, Passage::Error(serde_json::Value::Null));
                return Ok(false);
            }
            let made = passage(doors, method, result.as_bytes()).await;
            match &made {
                Passage::Unchanged => check_result(method, result)?,
                Passage::Changed(result) => check_result(method, result)?,
                Passage::Error(id) => prop_assert_eq!(id, &serde_json::json!(7)),
                other => return Err(TestCaseError::fail(format!("{other:?} of a result"))),
            }
            Ok(matches!(made, Passage::Unchanged | Passage::Changed(_)))
        }
        Sent::Message(message) => {
            let bytes = message.as_bytes();
            let json = through_envoy(doors, Form::Json, "tools/call", bytes).await;
            let events = through_envoy(doors, Form::Events, "tools/call", bytes).await;
            // What is dropped from a stream leaves nothing; a body has to say something.
            let is_dropped = events == Passage::Nothing && matches!(json, Passage::Error(_));
            prop_assert!(
                is_dropped || json == events,
                "{:?} and {:?} of {}",
                json,
                events,
                message
            );
            if json == Passage::Unchanged {
                let tree = panel::parse(bytes);
                let tree = tree
                    .ok_or_else(|| TestCaseError::fail(format!("passed and no JSON: {message}")))?;
                let methods = panel::found(&tree, &["method"]);
                prop_assert!(methods.len() == 1, "{}", message);
                match methods[0] {
                    Tree::Text(name) if name == "elicitation/create" => {
                        check_request(&tree, message)?
                    }
                    Tree::Text(name) if name == "ping" || name.starts_with("notifications/") => {
                        for request in panel::found(&tree, &["params", "inputRequests", "*"]) {
                            check_request(request, message)?;
                        }
                    }
                    other => {
                        return Err(TestCaseError::fail(format!("{other:?} passed: {message}")));
                    }
                }
            }
            Ok(json == Passage::Unchanged)
        }
    }
}

#[test]
fn every_adapter_makes_the_same_of_an_answer() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let doors = runtime.block_on(async { Doors::open(start(&[]).await).await });
    let doors = std::cell::RefCell::new(doors);
    let cases = cases(1_000);
    let (passed, stopped) = (Cell::new(0_u32), Cell::new(0_u32));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&sent(), |sent| {
        let mut doors = doors.borrow_mut();
        let count = match runtime.block_on(check(&mut doors, &sent))? {
            true => &passed,
            false => &stopped,
        };
        count.set(count.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let least = cases / 20;
    assert!(
        passed.get() > least && stopped.get() > least,
        "{passed:?} {stopped:?}"
    );
}
