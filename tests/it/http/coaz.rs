//! COAZ-MCP over AuthZEN: every method is decided as the call that it is, and what is not clear is denied.

use serde_json::{Value as Json, json};

use crate::grpc::transport::digest;
use crate::http::authzen::{EVALUATION, EVALUATIONS};
use crate::support::in_process::Running;
use crate::support::plain_http::{post, post_as};
use crate::support::worlds;

const MORE: &str = r#"
@id("context") permit (principal, action in Mcp::Action::"use_context", resource);
@id("etc") @reason("the system's own files") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has target && context.target in Mcp::Resource::"file:///etc" };
"#;

/// With a tool whose schema is pinned and has a target, one without arguments, one that nobody knows the arguments of.
async fn server(config: &str) -> Running {
    let config = config.replace("MCP", "[[authzen.mcp]]");
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let optional = json!([{"argument": "path", "optional": true}]);
    let reading = json!({"target_arguments": optional, "input_schema": schema});
    let mut stating = json!({"target_arguments": ["path"], "input_schema": schema});
    stating["input_schema"]["required"] = json!(["path"]);
    let nothing = json!({"input_schema": {"type": "object", "properties": {}}});
    let pair =
        json!({"input_schema": {"type": "object", "properties": {"a": {}, "A": {}, "x": {}}}});
    let world = worlds::small()
        .file("more.cedar", MORE)
        .server("files", "ana")
        .tool_with("read_text_file", "read", reading)
        .tool_with("stat", "read", stating)
        .tool_with("roots", "read", nothing)
        .tool_with("pair", "read", pair);
    world.start(&config).await
}

fn question(method: &str, ty: &str, id: &str) -> Json {
    json!({
        "subject": {"type": "identity", "id": "ana"},
        "context": {"agent": "coder"},
        "action": {"name": method},
        "resource": {"type": ty, "id": id},
    })
}

fn call(tool: &str, properties: Json) -> Json {
    let mut question = question("tools/call", "tool", tool);
    question["resource"]["properties"] = properties;
    question
}

async fn answer(server: &Running, question: &Json) -> Json {
    let reply = post(server, EVALUATION, question).await;
    assert_eq!(reply.status, 200, "{question}: {reply:?}");
    reply.json()
}

/// `allow`, or the code of the first reason.
async fn said(server: &Running, question: &Json) -> String {
    let answer = answer(server, question).await;
    match answer["decision"].as_bool().expect("a boolean") {
        true => "allow".to_owned(),
        false => answer["context"]["reason"]
            .as_str()
            .expect("a reason")
            .to_owned(),
    }
}

const METHODS: [(&str, &str, &str); 16] = [
    ("initialize", "mcp_server", "https://mcp.example.com"),
    ("tools/list", "mcp_server", "https://mcp.example.com"),
    ("tools/call", "tool", "log"),
    ("resources/list", "mcp_server", "https://mcp.example.com"),
    ("resources/read", "resource", "file:///a"),
    ("resources/subscribe", "resource", "file:///a"),
    ("resources/unsubscribe", "resource", "file:///a"),
    ("prompts/list", "mcp_server", "https://mcp.example.com"),
    ("prompts/get", "prompt", "hello"),
    ("completion/complete", "prompt", "hello"),
    ("completion/complete", "resource", "file:///{a}"),
    ("logging/setLevel", "mcp_server", "https://mcp.example.com"),
    ("tasks/list", "mcp_server", "https://mcp.example.com"),
    ("tasks/get", "task", "t-1"),
    ("tasks/result", "task", "t-1"),
    ("tasks/cancel", "task", "t-1"),
];

#[tokio::test]
async fn every_method_of_the_binding_is_decided_as_a_call() {
    let fixed = server("MCP\nserver = \"git\"\nrequire_arguments = false\n").await;
    let foreign = server("MCP\nserver = \"nowhere\"\nrequire_arguments = false\n").await;
    for (method, ty, id) in METHODS {
        let question = question(method, ty, id);
        assert_eq!(said(&fixed, &question).await, "allow", "{method} {ty}");
        // What only a call can be: about a server that is not registered, by somebody who is not known.
        assert_eq!(
            said(&foreign, &question).await,
            "SERVER_UNKNOWN",
            "{method} {ty}"
        );
        let mut unknown = question.clone();
        unknown["context"]["agent"] = json!("ghost");
        assert_eq!(
            said(&fixed, &unknown).await,
            "SUBJECT_UNKNOWN",
            "{method} {ty}"
        );
        for other in [
            "tool",
            "resource",
            "prompt",
            "task",
            "mcp_server",
            "Mcp::Tool",
        ] {
            if METHODS.iter().any(|it| it.0 == method && it.1 == other) {
                continue;
            }
            let mut wrong = question.clone();
            wrong["resource"]["type"] = json!(other);
            assert_eq!(
                said(&fixed, &wrong).await,
                "CONTEXT_INVALID",
                "{method} {other}"
            );
        }
    }
    // None of the binding, and so Cedar's own question, about actions that nobody declares.
    for method in [
        "ping",
        "notifications/cancelled",
        "tools/Call",
        "subscriptions/listen",
        "tasks/update",
        "roots/list",
    ] {
        let said = said(&fixed, &question(method, "mcp_server", "x")).await;
        assert_eq!(said, "CONTEXT_INVALID", "{method}");
    }
    // And without the entry all of them are.
    let plain = server("").await;
    for (method, ty, id) in METHODS {
        assert_eq!(
            said(&plain, &question(method, ty, id)).await,
            "CONTEXT_INVALID",
            "{method}"
        );
    }
}

#[tokio::test]
async fn the_same_deny_rules_hold_with_everything_that_a_deny_has() {
    let server = server("MCP\nserver = \"git\"\n").await;
    let given = json!({"arguments": {}});
    let denied = answer(&server, &call("purge", given.clone())).await;
    assert_eq!(
        denied["context"]["reasons"][0]["message"],
        "history is kept"
    );
    assert_eq!(said(&server, &call("log", given.clone())).await, "allow");
    assert_eq!(
        said(&server, &call("LOG", given.clone())).await,
        "TOOL_UNKNOWN"
    );
    // The person may not, and so the agent may not for it.
    let mut commit = call("commit", given.clone());
    assert_eq!(said(&server, &commit).await, "allow");
    commit["subject"]["id"] = json!("bob");
    assert_eq!(said(&server, &commit).await, "DELEGATOR_DENIED");
    // By itself a person is the subject.
    commit["context"] = json!({});
    assert_eq!(said(&server, &commit).await, "NO_PERMIT");
    let obliged = answer(&server, &call("log", given)).await;
    let wanted = json!([{"id": "log:full", "type": "custom", "properties": {"name": "log:full"}}]);
    assert_eq!(obliged["context"]["obligations"], wanted);
}

#[tokio::test]
async fn arguments_that_are_not_told_are_not_none() {
    let server = server("MCP\nserver = \"files\"\n").await;
    for (tool, properties, wanted) in [
        (
            "read_text_file",
            json!({"arguments": {"path": "/srv/a"}}),
            "allow",
        ),
        (
            "read_text_file",
            json!({"arguments": {"path": "/etc/passwd"}}),
            "FORBIDDEN",
        ),
        ("read_text_file", json!({"arguments": {}}), "allow"),
        ("read_text_file", json!({}), "CONTEXT_MISSING"),
        (
            "read_text_file",
            json!({"arguments": null}),
            "CONTEXT_MISSING",
        ),
        ("read_text_file", Json::Null, "CONTEXT_MISSING"),
        (
            "read_text_file",
            json!({"arguments": {"_truncated": true}}),
            "CONTEXT_MISSING",
        ),
        (
            "read_text_file",
            json!({"arguments": {"path": "***redacted***"}}),
            "CONTEXT_MISSING",
        ),
        ("roots", json!({}), "allow"),
        ("stat", json!({"arguments": {}}), "CONTEXT_MISSING"),
        ("unknown", json!({}), "TOOL_UNKNOWN"),
    ] {
        assert_eq!(
            said(&server, &call(tool, properties.clone())).await,
            wanted,
            "{tool} {properties}"
        );
    }
    let reply = post(
        &server,
        EVALUATION,
        &call("stat", json!({"arguments": "x"})),
    )
    .await;
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .message()
            .starts_with("`resource.properties.arguments`"),
        "{reply:?}"
    );
    let denied = answer(&server, &call("read_text_file", json!({}))).await;
    assert_eq!(
        denied["context"]["reasons"][0]["missing"],
        json!(["arguments"])
    );
}

#[tokio::test]
async fn arguments_are_read_as_everywhere_and_what_is_read_beside_them_in_one_way() {
    let server = server("MCP\nserver = \"files\"\nsession_key = \"session\"\n").await;
    let nested = |levels: usize| {
        let deep = (1..levels).fold(json!({}), |inner, _| json!({"x": inner}));
        json!({"arguments": deep})
    };
    for (tool, properties, wanted) in [
        ("pair", json!({"arguments": {"a": "x", "A": "y"}}), "allow"),
        (
            "read_text_file",
            json!({"arguments": {"path": "/srv", "Path": "/etc"}}),
            "CONTEXT_INVALID",
        ),
        ("pair", nested(32), "allow"),
        ("pair", json!({"arguments": {}, "z": 1, "Z": 2}), "allow"),
    ] {
        let question = call(tool, properties);
        assert_eq!(said(&server, &question).await, wanted, "{question}");
        let mut batch = question.clone();
        batch["evaluations"] = json!([question]);
        let reply = post(&server, EVALUATIONS, &batch).await.json();
        let is_allowed = wanted == "allow";
        assert_eq!(reply["evaluations"][0]["decision"], is_allowed, "{batch}");
    }
    let with_context = |context: Json| {
        let mut question = call("pair", json!({"arguments": {}}));
        question["context"] = context;
        question
    };
    let ignored = with_context(json!({"agent": "coder", "z": 1, "Z": 2}));
    assert_eq!(said(&server, &ignored).await, "allow");
    for (question, wanted) in [
        (
            call("pair", nested(33)),
            "`resource.properties.arguments` is nested deeper than 32 levels",
        ),
        (
            call("pair", json!({"arguments": {"a\u{200b}": 1}})),
            "`resource.properties.arguments` is not JSON that can be used",
        ),
        (
            call("pair", json!({"arguments": {}, "Arguments": {}})),
            "`resource.properties` is not JSON that can be used",
        ),
        (
            with_context(json!({"agent": "coder", "Agent": "other"})),
            "`context` is not JSON that can be used",
        ),
        (
            with_context(json!({"agent": "coder", "session": "s", "Session": "t"})),
            "`context` is not JSON that can be used",
        ),
    ] {
        let reply = post(&server, EVALUATION, &question).await;
        assert_eq!(reply.status, 400, "{question}: {reply:?}");
        assert!(reply.message().starts_with(wanted), "{reply:?}");
    }
}

#[tokio::test]
async fn an_entry_of_a_list_is_asked_about_like_a_call_without_arguments() {
    for (lists, wanted) in [("true", "allow"), ("false", "CONTEXT_MISSING")] {
        let server = server(&format!("MCP\nserver = \"files\"\nlists = {lists}\n")).await;
        let bare = call("stat", json!({"arguments": {}}));
        assert_eq!(said(&server, &bare).await, wanted);
        let full = call("stat", json!({"arguments": {"path": "/etc/passwd"}}));
        assert_eq!(said(&server, &full).await, "FORBIDDEN");
        let mut batch = bare.clone();
        batch["evaluations"] =
            json!([{}, {"resource": full["resource"]}, {"resource": {"id": "roots"}}]);
        let answers = post(&server, EVALUATIONS, &batch).await.json();
        let decided = answers["evaluations"].as_array().expect("answers").iter();
        let decided: Vec<bool> = decided.map(|it| it["decision"] == true).collect();
        assert_eq!(decided, [lists == "true", false, true]);
    }
}

#[tokio::test]
async fn the_server_is_where_the_configuration_says_and_all_else_agrees() {
    const AUD: &str = "MCP\nserver_from = \"aud\"\n[authzen.mcp.audiences]\n\"https://git.example.com\" = \"git\"\n\"https://files.example.com\" = \"files\"\n";
    let tool = |id: &str, properties: Json| {
        let mut properties = properties;
        properties["arguments"] = json!({});
        call(id, properties)
    };
    let with = |mut question: Json, path: &[&str], value: Json| {
        let mut at = &mut question;
        for name in path {
            at = &mut at[*name];
        }
        *at = value;
        question
    };
    let (git, files) = ("https://git.example.com", "https://files.example.com");
    let list = |id: &str| question("tools/list", "mcp_server", id);
    let rows: [(&str, Json, &str); 24] = [
        ("MCP\nserver = \"git\"\n", tool("log", json!({})), "allow"),
        (
            "MCP\nserver = \"git\"\n",
            tool("log", json!({"server": "git"})),
            "allow",
        ),
        (
            "MCP\nserver = \"git\"\n",
            tool("log", json!({"server": "files"})),
            "CONTEXT_INVALID",
        ),
        (
            "MCP\nserver = \"git\"\n",
            tool("git/log", json!({})),
            "TOOL_UNKNOWN",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("git/log", json!({})),
            "allow",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("log", json!({})),
            "CONTEXT_INVALID",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("/log", json!({})),
            "CONTEXT_INVALID",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("git/", json!({})),
            "CONTEXT_INVALID",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("other/log", json!({})),
            "SERVER_UNKNOWN",
        ),
        (
            "MCP\nserver_from = \"id\"\n",
            tool("git/log", json!({"server": "files"})),
            "CONTEXT_INVALID",
        ),
        ("MCP\nserver_from = \"id\"\n", list("git"), "allow"),
        (
            "MCP\nserver_from = \"id\"\n",
            question("resources/read", "resource", "file:///a"),
            "CONTEXT_INVALID",
        ),
        (
            "MCP\nserver_from = \"properties\"\n",
            tool("log", json!({"server": "git"})),
            "allow",
        ),
        (
            "MCP\nserver_from = \"properties\"\n",
            tool("log", json!({})),
            "CONTEXT_INVALID",
        ),
        (
            AUD,
            with(tool("log", json!({})), &["context", "aud"], json!(git)),
            "allow",
        ),
        (
            AUD,
            with(
                tool("log", json!({})),
                &["subject", "properties"],
                json!({"aud": [git, "https://else.example"]}),
            ),
            "allow",
        ),
        (AUD, tool("log", json!({"aud": git})), "allow"),
        (AUD, tool("log", json!({})), "CONTEXT_INVALID"),
        (
            AUD,
            tool("log", json!({"aud": "https://else.example"})),
            "CONTEXT_INVALID",
        ),
        (
            AUD,
            tool("log", json!({"aud": [git, files]})),
            "CONTEXT_INVALID",
        ),
        (
            AUD,
            with(
                tool("log", json!({"aud": git})),
                &["context", "aud"],
                json!(files),
            ),
            "CONTEXT_INVALID",
        ),
        (
            AUD,
            tool("log", json!({"aud": git, "server": "files"})),
            "CONTEXT_INVALID",
        ),
        (AUD, list(git), "allow"),
        (AUD, list("https://else.example"), "CONTEXT_INVALID"),
    ];
    for (config, question, wanted) in rows {
        let server = server(config).await;
        assert_eq!(
            said(&server, &question).await,
            wanted,
            "{config} {question}"
        );
    }
}

#[tokio::test]
async fn who_it_is_has_to_be_clear() {
    let server =
        server("MCP\nserver = \"git\"\nagent = \"coder\"\nsubject_types = [\"user\"]\n").await;
    let ask = |subject: Json, context: Json| {
        let mut question = call("log", json!({"arguments": {}}));
        question["subject"] = subject;
        question["context"] = context;
        question
    };
    let ana = || json!({"type": "user", "id": "ana"});
    for (question, wanted) in [
        (ask(ana(), json!({})), "allow"),
        (ask(ana(), json!({"agent": "coder"})), "allow"),
        (ask(ana(), json!({"agent": null})), "allow"),
        (ask(ana(), json!({"agent": "other"})), "CONTEXT_INVALID"),
        (
            ask(json!({"type": "workload", "id": "ana"}), json!({})),
            "CONTEXT_INVALID",
        ),
        (
            ask(json!({"type": "identity", "id": "ana"}), json!({})),
            "CONTEXT_INVALID",
        ),
    ] {
        assert_eq!(said(&server, &question).await, wanted, "{question}");
    }
    for (question, field) in [
        (ask(json!({"type": "user"}), json!({})), "`subject.id`"),
        (ask(ana(), json!({"agent": ""})), "`context.agent`"),
        (ask(ana(), json!({"agent": 7})), "`context.agent`"),
        (
            ask(ana(), json!({"agent": "co\u{200b}der"})),
            "`context.agent`",
        ),
    ] {
        let reply = post(&server, EVALUATION, &question).await;
        assert_eq!(reply.status, 400, "{question}");
        assert!(reply.message().starts_with(field), "{reply:?}");
    }
}

#[tokio::test]
async fn each_caller_has_its_own_server_and_its_word_counts_as_its_rights_say() {
    let caller = |id: &str, rights: &str| {
        format!(
            "[[callers]]\nid = \"{id}\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"]{rights} }}\n",
            digest(id)
        )
    };
    let config = [
        caller("one", ", assert_identity = true, assert_delegation = true"),
        caller("two", ", assert_identity = true, assert_delegation = true"),
        caller("three", ""),
        caller("four", ", assert_identity = true, assert_delegation = true"),
        "[[authzen.mcp]]\ncallers = [\"one\", \"three\"]\nserver = \"git\"\n".to_owned(),
        "[[authzen.mcp]]\ncallers = [\"two\"]\nserver = \"files\"\n".to_owned(),
    ];
    let server = server(&config.concat()).await;
    let log = call("log", json!({"arguments": {}}));
    for (caller, wanted) in [
        ("one", json!(null)),
        ("two", json!("TOOL_UNKNOWN")),
        ("three", json!("CALLER_NOT_TRUSTED")),
        // Nothing says that its questions are about calls.
        ("four", json!("CONTEXT_INVALID")),
    ] {
        let answer = post_as(&server, caller, EVALUATION, &log).await.json();
        assert_eq!(answer["context"]["reason"], wanted, "{caller}: {answer}");
    }
}

#[tokio::test]
async fn a_batch_has_calls_and_other_questions_in_order_and_stops_where_it_is_told_to() {
    let server = server("MCP\nserver = \"git\"\n").await;
    let mut batch = call("log", json!({"arguments": {}}));
    let other = json!({"subject": {"type": "Mcp::Agent", "id": "coder"}, "action": {"name": "Mcp::Action::\"nothing\""}});
    batch["evaluations"] = json!([
        {},
        {"resource": {"type": "tool", "id": "purge", "properties": {"arguments": {}}}},
        other,
        {"resource": {"type": "tool"}},
        {},
    ]);
    for (semantic, wanted) in [
        ("execute_all", &[true, false, false, false, true][..]),
        ("deny_on_first_deny", &[true, false]),
        ("permit_on_first_permit", &[true]),
    ] {
        batch["options"] = json!({"evaluations_semantic": semantic});
        let answers = post(&server, EVALUATIONS, &batch).await.json();
        let decided = answers["evaluations"].as_array().expect("answers").iter();
        let decided: Vec<bool> = decided.map(|it| it["decision"] == true).collect();
        assert_eq!(decided, wanted, "{semantic}: {answers}");
    }
}
