//! Whatever text a client writes: every adapter says the same of it, and what one of them allows is one call to every
//! reader.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::one_reading::hostile::{Text, list, name, object, scalar, value};
use crate::one_reading::panel::{self, Tree};
use crate::one_reading::world::{All, Doors, Said, TOOLS, known_params, start};
use crate::one_reading::{cases, hostile};

/// What is asked.
#[derive(Debug, Clone)]
enum Question {
    /// A tool with a text of arguments.
    Call(&'static str, String),
    /// With a text of all parameters.
    Params(String),
}

fn argument_names(tool: &str) -> &'static [&'static str] {
    match tool {
        "read_many" => &["files", "files", "x"],
        "pay" => &["amount", "amount", "account", "memo", "task"],
        "compare" => &["path", "Path"],
        "free" => &["path", "task", "id", "x"],
        _ => &["path", "path", "path", "head", "x"],
    }
}

/// Arguments that are mostly what the tool wants, and more.
fn arguments(tool: &'static str) -> Text {
    let files = || {
        let member = (name(&["path", "path", "mode"]), scalar());
        list(object(prop::collection::vec(member, 1..3)))
    };
    let text = || Just(r#""/a""#.to_owned());
    let wanted: BoxedStrategy<Vec<(String, String)>> = match tool {
        "read_many" => (name(&["files"]), files()).prop_map(|it| vec![it]).boxed(),
        "pay" => {
            let edge = select(&["9007199254740992", "9007199254740993", "9007199254740992.0"][..]);
            let account = prop_oneof![scalar(), edge.prop_map(str::to_owned)];
            let amount = prop_oneof![scalar(), Just("5".to_owned())];
            let account = (name(&["account"]), account);
            let amount = (name(&["amount"]), amount);
            (account, amount)
                .prop_map(|(one, other)| vec![one, other])
                .boxed()
        }
        "compare" => {
            let (one, other) = ((name(&["path"]), text()), (name(&["Path"]), text()));
            (one, other)
                .prop_map(|(one, other)| vec![one, other])
                .boxed()
        }
        _ => (name(&["path"]), text()).prop_map(|it| vec![it]).boxed(),
    };
    let names = argument_names(tool);
    let more = prop::collection::vec((name(names), value(names)), 0..2);
    let all = (wanted, more, any::<bool>()).prop_map(|(mut wanted, mut more, is_first)| {
        if is_first {
            std::mem::swap(&mut wanted, &mut more);
        }
        wanted.extend(more);
        wanted
    });
    object(all)
}

fn question() -> impl Strategy<Value = Question> {
    let call = select(&TOOLS[..]).prop_flat_map(|tool| {
        arguments(tool).prop_map(move |arguments| Question::Call(tool, arguments))
    });
    let named = select(&["read_text_file", "read_text_file", "free", "write_file"][..]);
    let named = named.prop_map(|tool| format!("\"{tool}\""));
    let member = prop_oneof![
        4 => (name(&["name"]), named.clone()),
        4 => (name(&["arguments"]), arguments("read_text_file")),
        1 => (name(&["_meta", "task", "x"]), hostile::value(&["progressToken", "x"])),
    ];
    let more = prop::collection::vec(member, 0..3);
    let first = (name(&["name"]), named);
    let second = (name(&["arguments"]), arguments("read_text_file"));
    let all = (first, second, more).prop_map(|(first, second, more)| {
        let mut all = vec![first, second];
        all.extend(more);
        all
    });
    prop_oneof![3 => call, 2 => object(all).prop_map(Question::Params)]
}

/// That nobody behind an adapter takes an allowed text for another call than was decided.
fn check_allowed(params: &str) -> Result<(), TestCaseError> {
    let tree = panel::parse(params.as_bytes());
    let tree = tree.ok_or_else(|| TestCaseError::fail(format!("allowed and no JSON: {params}")))?;
    let names = panel::found(&tree, &["name"]);
    let tool = match names.as_slice() {
        [Tree::Text(tool)] => tool.as_str(),
        other => return Err(TestCaseError::fail(format!("{other:?} in {params}"))),
    };
    prop_assert!(tool != "write_file" && TOOLS.contains(&tool), "{}", params);
    let same = panel::same_to_all(&tree, &known_params(tool));
    prop_assert!(same.is_ok(), "{:?} in {}", same, params);
    let doubles = |member| {
        let found = panel::found(&tree, &["arguments", member]);
        let literals = found.into_iter().filter_map(|it| match it {
            Tree::Number(literal) => literal.parse::<f64>().ok(),
            _ => None,
        });
        literals.collect::<Vec<_>>()
    };
    if tool == "pay" {
        let amounts = doubles("amount");
        prop_assert!(amounts.len() == 1 && amounts[0] < 100.0, "{}", params);
        prop_assert!(
            !doubles("account").contains(&9_007_199_254_740_992.0),
            "{}",
            params
        );
    }
    Ok(())
}

fn check(question: &Question, all: &All) -> Result<bool, TestCaseError> {
    let is_allowed = all.values().any(|said| *said == Said::Allowed);
    let (params, asked) = match question {
        Question::Params(params) => (params.clone(), None),
        Question::Call(tool, arguments) => {
            let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
            (params, Some(arguments))
        }
    };
    // What is no JSON by itself can be some inside a message; the native RPC gets it by itself.
    let is_whole = asked.is_none_or(|text| panel::parse(text.as_bytes()).is_some());
    if !is_whole {
        prop_assert_eq!(&all["native"], &Said::Refused);
    }
    let first = &all["ext_authz"];
    let tree = asked.and_then(|text| panel::parse(text.as_bytes()));
    let may_be_rounded = tree.is_some_and(|it| panel::may_be_rounded(&it));
    for (door, said) in all {
        if may_be_rounded && *door == "toolhive" {
            prop_assert_eq!(said, &Said::Refused);
            continue;
        }
        if is_whole || !matches!(*door, "native" | "toolhive") {
            prop_assert!(said.is_like(first), "{}: {:?} of {:?}", door, all, question);
        }
    }
    if is_allowed {
        check_allowed(&params)?;
    }
    Ok(is_allowed)
}

#[test]
fn every_adapter_reads_a_request_the_same_or_refuses_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let doors = runtime.block_on(async { Doors::open(start(&[]).await).await });
    let doors = std::cell::RefCell::new(doors);
    let cases = cases(1_000);
    let (allowed, refused) = (Cell::new(0_u32), Cell::new(0_u32));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&question(), |question| {
        let mut doors = doors.borrow_mut();
        let all = runtime.block_on(async {
            match &question {
                Question::Call(tool, arguments) => doors.call(tool, arguments.as_bytes()).await,
                Question::Params(params) => doors.params(params.as_bytes()).await,
            }
        });
        let count = match check(&question, &all)? {
            true => &allowed,
            false => &refused,
        };
        count.set(count.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // Texts that all pass, or none, show nothing.
    let least = cases / 20;
    assert!(
        allowed.get() > least && refused.get() > least,
        "{allowed:?} {refused:?}"
    );
}
