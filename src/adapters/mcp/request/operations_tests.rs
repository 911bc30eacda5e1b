use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::adapters::mcp::message::ReplyContent;
use crate::adapters::mcp::methods::{Era, NOTIFICATIONS, REQUESTS};

const CLIENT: Sender = Sender::Client;
const SERVER: Sender = Sender::Server;

fn ask(sender: Sender, method: &str, params: Json) -> Result<MessageIntent, OperationError> {
    let Json::Object(params) = params else {
        panic!("{params} is no object");
    };
    let server = SmolStr::new("files");
    from_request(
        sender,
        &server,
        method,
        params,
        Told::All,
        &Limits::default(),
    )
}

/// What is decided, as text: the names of the operations and what they are about.
fn decided(asked: Result<MessageIntent, OperationError>) -> String {
    let operations = match asked {
        Ok(MessageIntent::Exempt) => return "harmless".to_owned(),
        Ok(MessageIntent::Authorize(operations)) => operations,
        Err(undecided) => return format!("{} {undecided}", undecided.code()),
    };
    assert!(!operations.is_empty(), "something has to be decided");
    let shown = operations.iter().map(|operation| {
        assert_eq!(operation.server, "files");
        let about = match &operation.kind {
            OperationKind::Connect { .. } => "connect",
            OperationKind::CallTool(call) => &call.tool,
            OperationKind::OnResource { operation: _, uri } => uri,
            OperationKind::GetPrompt { name, .. } | OperationKind::OnPrompt { name, .. } => name,
            OperationKind::ElicitForm { .. } => "form",
            OperationKind::ElicitUrl { url } => url,
            OperationKind::Sample(_) => "sample",
            _ => "list",
        };
        let by = operation.initiator.as_str();
        format!("{by}: {} {about}", operation.kind.method())
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_request_of_both_eras_is_decided_or_refused_by_name() {
    let table = [
        (
            CLIENT,
            "initialize",
            json!({"protocolVersion": "2025-11-25"}),
            "client: initialize connect",
        ),
        (
            CLIENT,
            "server/discover",
            json!({}),
            "client: server/discover connect",
        ),
        (CLIENT, "ping", json!({}), "client: ping connect"),
        (
            CLIENT,
            "logging/setLevel",
            json!({"level": "debug"}),
            "client: logging/setLevel connect",
        ),
        (
            CLIENT,
            "tools/list",
            json!({"cursor": "c"}),
            "client: tools/list list",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": "read"}),
            "client: tools/call read",
        ),
        (
            CLIENT,
            "prompts/list",
            json!({}),
            "client: prompts/list list",
        ),
        (
            CLIENT,
            "prompts/get",
            json!({"name": "p"}),
            "client: prompts/get p",
        ),
        (
            CLIENT,
            "resources/list",
            json!({}),
            "client: resources/list list",
        ),
        (
            CLIENT,
            "resources/templates/list",
            json!({}),
            "client: resources/list list",
        ),
        (
            CLIENT,
            "resources/read",
            json!({"uri": "a:b"}),
            "client: resources/read a:b",
        ),
        (
            CLIENT,
            "resources/subscribe",
            json!({"uri": "a:b"}),
            "client: resources/subscribe a:b",
        ),
        (
            CLIENT,
            "resources/unsubscribe",
            json!({"uri": "a:b"}),
            "client: resources/unsubscribe connect",
        ),
        (
            CLIENT,
            "subscriptions/listen",
            json!({"notifications": {"resourceSubscriptions": ["a:b"], "toolsListChanged": true}}),
            "client: subscriptions/listen connect, client: resources/subscribe a:b, client: tools/list list",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "b"}}),
            "client: completion/complete p",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "file:///a/{p}"}, "argument": {"name": "p", "value": "b"}}),
            "client: completion/complete file:///a/{p}",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "file:///a/{p}"}, "argument": {"name": "p", "value": "../b/"}}),
            "client: completion/complete file:///a/../b/",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "file:///a/{p}/{q}"}, "argument": {"name": "q", "value": "b"}, "context": {"arguments": {"p": ".."}}}),
            "-32602 `params.argument.value` must be",
        ),
        (
            CLIENT,
            "tasks/get",
            json!({"taskId": "t"}),
            "client: tasks/get connect",
        ),
        (
            CLIENT,
            "tasks/result",
            json!({"taskId": "t"}),
            "client: tasks/result connect",
        ),
        (
            CLIENT,
            "tasks/list",
            json!({}),
            "client: tasks/list connect",
        ),
        (
            CLIENT,
            "tasks/cancel",
            json!({"taskId": "t"}),
            "client: tasks/cancel connect",
        ),
        (
            CLIENT,
            "tasks/update",
            json!({}),
            "client: tasks/update connect",
        ),
        (SERVER, "ping", json!({}), "harmless"),
        (
            SERVER,
            "sampling/createMessage",
            json!({"maxTokens": 1, "messages": []}),
            "server: sampling/createMessage sample",
        ),
        (
            SERVER,
            "elicitation/create",
            json!({"requestedSchema": {}}),
            "server: elicitation/create form",
        ),
        (SERVER, "roots/list", json!({}), "server: roots/list list"),
        (
            SERVER,
            "tools/call",
            json!({"name": "read"}),
            "server: tools/call read",
        ),
        (
            SERVER,
            "tasks/get",
            json!({}),
            "-32601 `tasks/get` is refused",
        ),
        (
            SERVER,
            "tasks/result",
            json!({}),
            "-32601 `tasks/result` is refused",
        ),
        (
            SERVER,
            "tasks/list",
            json!({}),
            "-32601 `tasks/list` is refused",
        ),
        (
            SERVER,
            "tasks/cancel",
            json!({}),
            "-32601 `tasks/cancel` is refused",
        ),
        (
            SERVER,
            "tasks/update",
            json!({}),
            "-32601 `tasks/update` is refused",
        ),
        (
            SERVER,
            "server/discover",
            json!({}),
            "-32601 `server/discover` is refused",
        ),
    ];
    let mut named = BTreeSet::new();
    for (sender, method, params, expected) in table {
        let shown = decided(ask(sender, method, params));
        assert!(shown.starts_with(expected), "{method}: {shown}");
        named.insert((sender == SERVER, method));
    }
    let known: BTreeSet<_> = REQUESTS
        .iter()
        .map(|method| (method.sender == SERVER, method.name))
        .collect();
    assert_eq!(named, known, "the table names every method");
    assert_eq!(known.len(), REQUESTS.len(), "no method has two meanings");
}

/// The lists of the two revisions themselves, so that the table cannot lose one of theirs.
#[test]
fn both_revisions_are_there_whole() {
    let of = |era: Era, sender: Sender| -> BTreeSet<&str> {
        let rows = REQUESTS.iter().filter(|row| row.sender == sender);
        rows.filter(|row| row.era == era || row.era == Era::Both)
            .filter(|row| !matches!(row.kind, MethodKind::Unsupported(_)) || row.sender == CLIENT)
            .map(|row| row.name)
            .collect()
    };
    let stateless = [
        "server/discover",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "completion/complete",
        "subscriptions/listen",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
    ];
    assert_eq!(of(Era::Stateless, CLIENT), BTreeSet::from(stateless));
    let sessions = [
        "initialize",
        "ping",
        "logging/setLevel",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
    ];
    assert_eq!(of(Era::Sessions, CLIENT), BTreeSet::from(sessions));
    let asked_by_servers = [
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tools/call",
    ];
    assert_eq!(of(Era::Stateless, SERVER), BTreeSet::from(asked_by_servers));
    let with_ping = asked_by_servers.into_iter().chain(["ping"]).collect();
    assert_eq!(of(Era::Sessions, SERVER), with_ping);
}

#[test]
fn every_notification_is_decided_or_refused_by_name() {
    let server = SmolStr::new("files");
    for row in &NOTIFICATIONS {
        let shown = decided(from_notification(row.sender, &server, row.name));
        let expected = match row.kind {
            MethodKind::Operation(OperationType::Connect) => {
                format!("client: {} connect", row.name)
            }
            MethodKind::Exempt => "harmless".to_owned(),
            _ => format!("-32601 `{}` is refused", row.name),
        };
        assert!(shown.starts_with(&expected), "{}: {shown}", row.name);
    }
    let no_id = decided(from_notification(CLIENT, &server, "tools/call"));
    assert_eq!(
        no_id,
        "-32600 `tools/call` is a request, and a request has an `id`"
    );
    for unknown in ["notifications/other", "Notifications/initialized", ""] {
        let shown = decided(from_notification(CLIENT, &server, unknown));
        assert!(shown.starts_with("-32601"), "{unknown}: {shown}");
    }
    let told = from_notification(CLIENT, &server, "notifications/message");
    assert!(told.is_err(), "only servers send it");
}

#[test]
fn a_method_is_known_by_its_exact_name_alone() {
    for unknown in [
        "tools/Call",
        "TOOLS/CALL",
        "tools/call ",
        "tools/call\0",
        "tools//call",
        "/tools/call",
        "tool\u{17f}/call",
        "tools\u{2215}call",
        "tools/c\u{430}ll",
        "tools/call/",
        "rpc.discover",
        "",
    ] {
        let shown = decided(ask(CLIENT, unknown, json!({"name": "read"})));
        assert!(shown.starts_with("-32601"), "{unknown:?}: {shown}");
    }
    for only_servers in ["sampling/createMessage", "elicitation/create", "roots/list"] {
        assert!(ask(CLIENT, only_servers, json!({})).is_err());
    }
    for only_clients in ["tools/list", "resources/read", "initialize"] {
        assert!(ask(SERVER, only_clients, json!({"uri": "a:b"})).is_err());
    }
}

#[test]
fn parameters_that_cannot_be_used_are_refused_by_their_path() {
    let long = "x".repeat(Limits::default().text_bytes as usize + 1);
    let control = "a\u{0}b";
    for (sender, method, params, said) in [
        (CLIENT, "tools/call", json!({}), "`params.name` is required"),
        (
            CLIENT,
            "tools/call",
            json!({"name": ""}),
            "`params.name` is required",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": 5}),
            "`params.name` must be a text",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": long}),
            "`params.name` has",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": control}),
            "control character",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": "a", "arguments": null}),
            "`params.arguments` must be an object",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": "a", "arguments": "{}"}),
            "`params.arguments` must be an object",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": "a", "Name": "b"}),
            "`params.name`",
        ),
        (
            CLIENT,
            "tools/call",
            json!({"name": "a", "argument\u{17f}": {}}),
            "`params.arguments`",
        ),
        (
            CLIENT,
            "prompts/get",
            json!({"name": "a", "arguments": {"path": "1", "PATH": "2"}}),
            "are one to readers that fold letters",
        ),
        (
            CLIENT,
            "resources/read",
            json!({"uri": 1}),
            "`params.uri` must be a text",
        ),
        (
            CLIENT,
            "resources/read",
            json!({"uri": long}),
            "`params.uri` has",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({}),
            "`params.ref` is required",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/other"}}),
            "`params.ref.type`",
        ),
        (
            CLIENT,
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "Name": "p"}}),
            "`params.ref.name`",
        ),
        (
            CLIENT,
            "subscriptions/listen",
            json!({"notifications": {"everything": true}}),
            "`everything`",
        ),
        (
            CLIENT,
            "subscriptions/listen",
            json!({"notifications": {"toolsListChanged": 1}}),
            "true or false",
        ),
        (
            CLIENT,
            "subscriptions/listen",
            json!({"notifications": {"resourceSubscriptions": "a:b"}}),
            "a list",
        ),
        (
            SERVER,
            "sampling/createMessage",
            json!({}),
            "`params.maxTokens` is required",
        ),
        (
            SERVER,
            "sampling/createMessage",
            json!({"maxTokens": -1}),
            "`params.maxTokens`",
        ),
        (
            SERVER,
            "sampling/createMessage",
            json!({"maxTokens": 1.5}),
            "`params.maxTokens`",
        ),
        (
            SERVER,
            "sampling/createMessage",
            json!({"maxTokens": 1, "includeContext": "some"}),
            "`params.includeContext`",
        ),
        (
            SERVER,
            "sampling/createMessage",
            json!({"maxTokens": 1, "tools": [{}]}),
            "`params.tools`",
        ),
        (
            SERVER,
            "elicitation/create",
            json!({}),
            "`params.requestedSchema` is required",
        ),
        (
            SERVER,
            "elicitation/create",
            json!({"mode": "url"}),
            "`params.url` is required",
        ),
        (
            SERVER,
            "elicitation/create",
            json!({"mode": "FORM", "requestedSchema": {}}),
            "`params.mode`",
        ),
    ] {
        let shown = decided(ask(sender, method, params));
        assert!(shown.starts_with("-32602"), "{method}: {shown}");
        assert!(shown.contains(said), "{method}: {shown}");
    }
}

#[test]
fn particulars_reach_the_operation() {
    let call = ask(
        CLIENT,
        "tools/call",
        json!({"name": "a/b.c-d", "arguments": {"n": i64::MIN}}),
    );
    let Ok(MessageIntent::Authorize(operations)) = call else {
        panic!("{call:?}");
    };
    let OperationKind::CallTool(call) = &operations[0].kind else {
        panic!("{operations:?}");
    };
    assert_eq!(call.tool, "a/b.c-d");
    assert_eq!(call.arguments["n"], json!(i64::MIN));

    let prompt = ask(
        CLIENT,
        "prompts/get",
        json!({"name": "p", "arguments": {"b": "1", "a": "2"}}),
    );
    let Ok(MessageIntent::Authorize(operations)) = prompt else {
        panic!("{prompt:?}");
    };
    let OperationKind::GetPrompt { arguments, .. } = &operations[0].kind else {
        panic!("{operations:?}");
    };
    assert_eq!(*arguments, ["a", "b"]);

    let sampling = json!({"maxTokens": 9, "messages": [{}, {}], "systemPrompt": "be brief",
        "includeContext": "allServers", "tools": [{"name": "t"}]});
    let sampling = ask(SERVER, "sampling/createMessage", sampling);
    let Ok(MessageIntent::Authorize(operations)) = sampling else {
        panic!("{sampling:?}");
    };
    let OperationKind::Sample(sampling) = &operations[0].kind else {
        panic!("{operations:?}");
    };
    assert_eq!((sampling.max_tokens, sampling.messages), (9, 2));
    assert!(sampling.has_system_prompt && sampling.include_context == "allServers");
    assert_eq!(sampling.tools, ["t"]);

    let url = ask(
        SERVER,
        "elicitation/create",
        json!({"mode": "url", "url": "https://h/a"}),
    );
    assert_eq!(decided(url), "server: elicitation/create https://h/a");
}

#[test]
fn what_the_name_header_repeats_depends_on_the_method() {
    let params = json!({"name": "n", "uri": "a:b", "taskId": "t"});
    let params = params.as_object().expect("an object");
    assert_eq!(mirrored_name("tools/call", params), Some("n"));
    assert_eq!(mirrored_name("prompts/get", params), Some("n"));
    assert_eq!(mirrored_name("resources/read", params), Some("a:b"));
    assert_eq!(mirrored_name("tasks/cancel", params), Some("t"));
    assert_eq!(mirrored_name("tools/list", params), None);
}

#[test]
fn what_goes_back_to_a_server_is_told_apart_by_its_shape() {
    let answers = |asked: Result<MessageIntent, OperationError>| match asked {
        Ok(MessageIntent::Authorize(operations)) => operations[0].answers.clone(),
        other => panic!("{other:?}"),
    };
    let sampled =
        json!({"model": "m", "role": "assistant", "content": {"type": "text", "text": "x"}});
    let filled = json!({"action": "accept", "content": {"city": "Bern", "password": "p"}});
    for (method, params) in [
        (
            "tools/call",
            json!({"name": "read", "inputResponses": {"a": sampled, "b": filled}}),
        ),
        (
            "prompts/get",
            json!({"name": "p", "inputResponses": {"a": sampled, "b": filled}}),
        ),
        (
            "resources/read",
            json!({"uri": "file:///a", "inputResponses": {"a": sampled, "b": filled}}),
        ),
        (
            "tasks/update",
            json!({"taskId": "t", "inputResponses": {"a": sampled, "b": filled}}),
        ),
    ] {
        let told = answers(ask(CLIENT, method, params)).expect(method);
        assert_eq!(told.kinds, ["sampling", "elicitation"], "{method}");
        assert_eq!(told.secret_fields, ["password"], "{method}");
    }
    let none = answers(ask(
        CLIENT,
        "tools/call",
        json!({"name": "read", "inputResponses": {}}),
    ));
    assert_eq!(none, None);

    let server = SmolStr::new("files");
    let reply = |result: &Json| {
        let members = result.as_object().expect("an object").clone();
        client_responses::from_reply(&server, &ReplyContent::Result(members))
    };
    assert_eq!(answers(reply(&json!({}))), None, "the answer to a ping");
    assert_eq!(
        answers(reply(&filled)).expect("it tells").field_names.len(),
        2
    );
    for (asked, said) in [
        (
            reply(&json!({"content": "x"})),
            "`result` must be the result of sampling",
        ),
        (
            reply(&json!({"Action": "accept"})),
            "`result.action` `Action` is not how",
        ),
        (
            ask(
                CLIENT,
                "tools/call",
                json!({"name": "read", "inputResponses": {"a": {"x": 1}}}),
            ),
            "`params.inputResponses` must be the result of sampling",
        ),
        (
            ask(
                CLIENT,
                "tools/call",
                json!({"name": "read", "inputResponses": [filled]}),
            ),
            "`params.inputResponses` must be an object",
        ),
        (
            ask(
                CLIENT,
                "tools/call",
                json!({"name": "read", "InputResponses": {}}),
            ),
            "`params.inputResponses` `InputResponses` is not how",
        ),
    ] {
        let Err(undecided) = asked else {
            panic!("{said}: decided")
        };
        assert!(undecided.to_string().starts_with(said), "{undecided}");
    }
}

#[test]
fn what_goes_back_to_a_server_is_kept_to_the_last_digit() {
    let params = json!({
        "name": "read", "requestState": "opaque",
        "inputResponses": {"q": {"content": {"n": 1_122_334_455_667_788_991_u64}, "action": "accept"}}
    });
    let Ok(MessageIntent::Authorize(operations)) = ask(Sender::Client, "tools/call", params) else {
        panic!("not decided");
    };
    let operation = &operations[0];
    assert_eq!(operation.request_state.as_deref(), Some("opaque"));
    assert_eq!(
        operation.answers.as_ref().map(|it| it.text.as_str()),
        Some(r#"{"q":{"action":"accept","content":{"n":1122334455667788991}}}"#)
    );
    for state in [json!(1), json!({}), json!(null), json!(["s"]), json!(true)] {
        let asked = ask(
            Sender::Client,
            "tools/call",
            json!({"name": "read", "requestState": state}),
        );
        let said = asked.map(|_| ()).expect_err("refused").to_string();
        assert!(
            said.contains("`params.requestState` must be a text"),
            "{said}"
        );
    }
}

#[test]
fn a_subscription_to_tasks_asks_for_them() {
    let wanted = json!({"notifications": {"taskIds": ["t"], "toolsListChanged": false}});
    assert_eq!(
        decided(ask(CLIENT, "subscriptions/listen", wanted)),
        "client: subscriptions/listen connect, client: tasks/get connect"
    );
}

#[test]
fn a_completion_is_about_where_its_values_lead() {
    const CONTENTS: &str = "repo://{owner}/{repo}/contents{/path*}";
    let ask = |uri: &str, more: Json| {
        let mut params = json!({"ref": {"type": "ref/resource", "uri": uri}});
        let more = more.as_object().expect("an object").clone();
        params.as_object_mut().expect("an object").extend(more);
        decided(ask(CLIENT, "completion/complete", params))
    };
    let context = || json!({"arguments": {"owner": "github", "repo": "x"}});
    let of_path =
        |value: &str| json!({"argument": {"name": "path", "value": value}, "context": context()});
    assert_eq!(
        ask(CONTENTS, of_path("pkg/")),
        format!("client: completion/complete {CONTENTS}")
    );
    assert_eq!(
        ask("files://docs{/path*}", of_path("secret/x")),
        "client: completion/complete files://docs/secret/x"
    );
    for value in ["../b", "/etc", "./x"] {
        let refused = ask(CONTENTS, of_path(value));
        assert!(
            refused.starts_with("-32602 `params.argument.value` must be"),
            "{refused}"
        );
    }
    let search = json!({"argument": {"name": "q", "value": "50% off: x"}});
    assert_eq!(
        ask("search://docs{?q}", search),
        "client: completion/complete search://docs{?q}"
    );
}

#[test]
fn a_value_that_is_completed_has_the_name_that_the_protocol_gives_it() {
    for (more, expected) in [
        (
            json!({"Argument": {"name": "p", "value": "../secrets/"}}),
            "params.argument",
        ),
        (
            json!({"argument": {"name": "p", "Value": "../secrets/"}}),
            "params.argument.value",
        ),
        (
            json!({"argument": {"NAME": "p", "value": "x"}}),
            "params.argument.name",
        ),
        (
            json!({"argument": {"name": "p", "value": ""}, "Context": {"arguments": {"p": ".."}}}),
            "params.context",
        ),
        (
            json!({"argument": {"name": "p", "value": ""}, "context": {"Arguments": {"p": "../secrets"}}}),
            "params.context.arguments",
        ),
    ] {
        let mut params = json!({"ref": {"type": "ref/resource", "uri": "file:///srv/a/{p}"}});
        params
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let refused = decided(ask(CLIENT, "completion/complete", params));
        assert!(
            refused.starts_with(&format!("-32602 `{expected}` ")),
            "{refused}"
        );
    }
}
