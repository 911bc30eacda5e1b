use serde_json::json;

use super::*;

fn parse(request: Json) -> Result<ToolhiveQuery, FieldError> {
    let ty = EntityType::from_normalized_str("Mcp::User").expect("a type");
    let request = request.as_object().expect("an object");
    let who = SubjectRules {
        subject_type: Some(&ty),
        agent: None,
        takes_claims: true,
    };
    call(request, who, &Limits::default(), &TraceContext::default())
}

fn asked(operation: &str, resource: &str, mcp: Json) -> Json {
    json!({
        "principal": {"sub": "ana", "groups": ["a"]},
        "operation": operation,
        "resource": resource,
        "context": {"mcp": mcp},
    })
}

#[test]
fn every_operation_becomes_its_call() {
    for (operation, resource, method, server) in [
        ("mcp:tool:call", "mrn:mcp:git:tool:log", "tools/call", "git"),
        ("mcp:tool:list", "mrn:mcp:git:tool:", "tools/list", "git"),
        (
            "mcp:prompt:get",
            "mrn:mcp:git:prompt:p:q",
            "prompts/get",
            "git",
        ),
        (
            "mcp:prompt:list",
            "mrn:mcp:git:prompt:",
            "prompts/list",
            "git",
        ),
        (
            "mcp:resource:read",
            "mrn:mcp:git:resource:file:///a",
            "resources/read",
            "git",
        ),
        (
            "mcp:resource:list",
            "mrn:mcp:git:resource:",
            "resources/list",
            "git",
        ),
    ] {
        let call = match parse(asked(operation, resource, json!({}))) {
            Ok(ToolhiveQuery::Call(call)) if operation != "mcp:tool:call" => call,
            // Without arguments it may be an entry of a list.
            Ok(ToolhiveQuery::NamedAlone(call)) if operation == "mcp:tool:call" => call,
            other => panic!("{operation}: {other:?}"),
        };
        assert_eq!(call.operation.kind.method(), method);
        assert_eq!(call.operation.server, server);
        assert_eq!(call.subject.entity.to_string(), "Mcp::User::\"ana\"");
        assert_eq!(call.subject.claims["groups"], json!(["a"]));
    }
}

#[test]
fn arguments_and_names_arrive_whole() {
    let mcp = json!({
        "feature": "tool", "operation": "call", "resource_id": "a:b", "args": {"n": 3},
    });
    let Ok(ToolhiveQuery::Call(call)) = parse(asked("mcp:tool:call", "mrn:mcp:git:tool:a:b", mcp))
    else {
        panic!("no call")
    };
    let OperationKind::CallTool(tool) = call.operation.kind else {
        panic!("no tool")
    };
    assert_eq!(
        (tool.tool.as_str(), &tool.arguments["n"]),
        ("a:b", &json!(3))
    );
}

#[test]
fn an_operation_that_is_not_known_is_no_call() {
    for operation in [
        "mcp::list",
        "mcp:tool:delete",
        "MCP:tool:call",
        "mcp:tool:call ",
        "",
    ] {
        let parsed = parse(asked(operation, "mrn:mcp:git:tool:log", json!({})));
        assert!(
            matches!(parsed, Ok(ToolhiveQuery::Unknown)),
            "{operation}: {parsed:?}"
        );
    }
}

#[test]
fn what_does_not_fit_together_names_its_field() {
    let tool = "mrn:mcp:git:tool:log";
    let fine = || asked("mcp:tool:call", tool, json!({}));
    let without = |field: &str| {
        let mut request = fine();
        request.as_object_mut().expect("an object").remove(field);
        request
    };
    let with = |field: &str, value: Json| {
        let mut request = fine();
        request[field] = value;
        request
    };
    for (request, wanted) in [
        (without("principal"), "`principal` is required"),
        (without("operation"), "`operation` is required"),
        (without("resource"), "`resource` is required"),
        (with("principal", json!({})), "`principal.sub` is required"),
        (
            with("principal", json!({"sub": ""})),
            "`principal.sub` is required",
        ),
        (
            with("principal", json!({"sub": 7})),
            "`principal.sub` must be a string",
        ),
        (
            with("principal", json!({"sub": "a\nb"})),
            "`principal.sub` holds a control",
        ),
        (with("operation", json!(1)), "`operation` must be a string"),
        (
            with("resource", json!("mrn:mcp:git:tool:")),
            "`resource` is required",
        ),
        (
            with("resource", json!("mrn:mcp::tool:log")),
            "`resource` is required",
        ),
        (
            with("resource", json!("mrn:mcp:git:prompt:log")),
            "`resource` `mrn:mcp:git:prompt:log`",
        ),
        (
            with("resource", json!("git:tool:log")),
            "`resource` `git:tool:log`",
        ),
        (with("context", json!([])), "`context` must be an object"),
        (
            with("context", json!({"mcp": 1})),
            "`context.mcp` must be an object",
        ),
        (
            with("context", json!({"mcp": {"resource_id": "other"}})),
            "`context.mcp.resource_id` says something else",
        ),
        (
            with("context", json!({"mcp": {"feature": "prompt"}})),
            "`context.mcp.feature` says something else",
        ),
        (
            with("context", json!({"mcp": {"operation": "list"}})),
            "`context.mcp.operation` says something else",
        ),
        (
            with("context", json!({"mcp": {"args": [1]}})),
            "`context.mcp.args` must be an object",
        ),
    ] {
        let said = parse(request.clone()).expect_err("refused").to_string();
        assert!(said.starts_with(wanted), "{request}: {said}");
    }
}

#[test]
fn a_number_that_toolhive_may_have_rounded_is_refused_wherever_it_is() {
    let ask = |args: Json| {
        let mcp =
            json!({"feature": "tool", "operation": "call", "resource_id": "log", "args": args});
        parse(asked("mcp:tool:call", "mrn:mcp:git:tool:log", mcp))
    };
    let safe = 9_007_199_254_740_991_i64;
    for good in [
        json!(safe),
        json!(-safe),
        json!(0.1),
        json!("9007199254740993"),
    ] {
        assert!(ask(json!({"id": good})).is_ok(), "{good}");
    }
    for bad in [
        json!(safe + 1),
        json!(-safe - 1),
        json!(1e300),
        json!(u64::MAX),
    ] {
        for args in [json!({"id": bad}), json!({"a": [{"b": bad}]})] {
            let refused = ask(args.clone()).expect_err("refused");
            let said = refused.to_string();
            assert!(
                said.contains("context.mcp.args") && said.contains("2^53"),
                "{args}: {said}"
            );
        }
    }
}
