//! What reaches a client without being asked for in that exchange may be the result of any call of before, and is known to
//! have been read.

use callgate::proto::envoy::processing::processing_response::Response;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::{CONFIG, Exchange, POST, event, request};
use crate::support::in_process::Running;
use crate::support::worlds;

/// Nothing is written once something private was read.
const KEPT: &str = r#"
@id("kept")
forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"git/commit")
when { context.labels.contains("private") };
"#;

async fn start() -> Running {
    let world = worlds::small().file("kept.cedar", KEPT).tool_with(
        "read",
        "read",
        json!({"yields": ["private"]}),
    );
    world.start(CONFIG).await
}

/// Asks in the session `s-1`.
async fn ask(server: &Running, message: &Json) -> (Exchange, Response) {
    let mut exchange = Exchange::open(server).await;
    let headers = [&POST[..], &[("mcp-session-id", "s-1")]].concat();
    let told = exchange.ask(&headers, message.to_string().as_bytes()).await;
    (exchange, told.expect("an answer"))
}

/// Whether the session may still write.
async fn may_write(server: &Running) -> bool {
    let call = request("tools/call", json!({"name": "commit"}));
    matches!(ask(server, &call).await.1, Response::RequestBody(_))
}

/// What passes of an answer to the request that the session has sent, or on its stream.
async fn passed(
    server: &Running,
    asked: Option<&Json>,
    (status, of_type): (&str, &str),
    sent: &Json,
) -> String {
    let mut exchange = match asked {
        Some(asked) => {
            let (exchange, told) = ask(server, asked).await;
            assert!(matches!(told, Response::RequestBody(_)), "{told:?}");
            exchange
        }
        None => {
            let mut exchange = Exchange::open(server).await;
            exchange.listen().await;
            exchange
        }
    };
    let told = exchange.answered_under(status, of_type).await;
    assert!(matches!(told, Ok(Response::ResponseHeaders(_))), "{told:?}");
    let sent = match of_type {
        "text/event-stream" => event(sent),
        _ => sent.to_string(),
    };
    let passed = exchange.body(&[sent.as_bytes()]).await.expect("a body");
    String::from_utf8(passed).expect("text")
}

#[tokio::test]
async fn what_comes_unawaited_is_known_to_have_been_read() {
    const EVENTS: (&str, &str) = ("200", "text/event-stream");
    const FAILED: (&str, &str) = ("405", "application/json");
    let reply = |member: &str, value: Json| json!({"jsonrpc": "2.0", "id": 5, member: value});
    let notice =
        |method: &str, params: Json| json!({"jsonrpc": "2.0", "method": method, "params": params});
    let result = reply(
        "result",
        json!({"content": [{"type": "text", "text": "what is private"}]}),
    );
    let error = reply("error", json!({"code": -1, "message": "what is private"}));
    let task = notice(
        "notifications/tasks",
        json!({"taskId": "t", "status": "completed", "result": {"content": []}}),
    );
    let listed = request("tools/list", json!({}));
    let subscribed = request(
        "subscriptions/listen",
        json!({"notifications": {"toolsListChanged": true}}),
    );
    let noticed = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    for (asked, how, sent, is_read) in [
        // On the stream of a session.
        (None, EVENTS, &result, true),
        (None, EVENTS, &error, true),
        (None, EVENTS, &task, true),
        (None, ("200", "application/json"), &result, true),
        // In answer to a notification.
        (Some(&noticed), EVENTS, &result, true),
        // On streams that are for something else.
        (Some(&listed), EVENTS, &task, true),
        (Some(&subscribed), EVENTS, &task, true),
        // What else a server says brings nothing, nor does that there is no stream.
        (
            None,
            EVENTS,
            &notice(
                "notifications/message",
                json!({"level": "info", "data": "x"}),
            ),
            false,
        ),
        (
            None,
            EVENTS,
            &notice("notifications/tools/list_changed", json!({})),
            false,
        ),
        (
            None,
            EVENTS,
            &json!({"jsonrpc": "2.0", "id": 5, "method": "ping"}),
            false,
        ),
        (
            None,
            FAILED,
            &reply("error", json!({"code": -1, "message": "no"})),
            false,
        ),
        (
            None,
            EVENTS,
            &json!({"jsonrpc": "2.0", "error": {"code": -1, "message": "no"}}),
            false,
        ),
    ] {
        let server = start().await;
        assert!(may_write(&server).await);
        let passed = passed(&server, asked, how, sent).await;
        assert!(
            passed.contains(&sent.to_string()),
            "{sent} became {passed:?}"
        );
        assert_eq!(may_write(&server).await, !is_read, "{asked:?}: {sent}");
    }
    // A result does not come where none can.
    let server = start().await;
    let passed = passed(&server, None, FAILED, &result).await;
    assert!(!passed.contains("what is private"), "{passed}");
    assert!(may_write(&server).await);
}

#[tokio::test]
async fn who_may_not_meet_a_server_gets_no_result_of_before() {
    let stopped = r#"@id("none") forbid (principal, action == Mcp::Action::"connect", resource)
when { context.labels.contains("private") };"#;
    let world = worlds::small().file("none.cedar", stopped).tool_with(
        "read",
        "read",
        json!({"yields": ["private"]}),
    );
    let server = world.start(CONFIG).await;
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    let read = request("tools/call", json!({"name": "read"}));
    assert!(matches!(
        ask(&server, &read).await.1,
        Response::RequestBody(_)
    ));
    let told = exchange.answered_with("text/event-stream").await;
    told.expect("go on");
    let result = json!({"jsonrpc": "2.0", "id": 5, "result": {"content": ["what is private"]}});
    let passed = exchange.body(&[event(&result).as_bytes()]).await;
    let passed = String::from_utf8(passed.expect("a body")).expect("text");
    assert!(
        passed.contains("FORBIDDEN") && !passed.contains("what is private"),
        "{passed}"
    );
}

#[tokio::test]
async fn what_a_server_sends_unasked_uses_up_nothing_of_its_client() {
    // The stream and the calls below are counted, and nothing else.
    let bursts = r#"@id("bursts") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has usage && (context.usage.actor_last_minute > 3 || context.usage.recent_denials > 0) };
@id("sessions") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has session && context.session.calls > 2 };"#;
    let world = worlds::small().file("bursts.cedar", bursts);
    let server = world.start(CONFIG).await;
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    let told = exchange.answered_with("text/event-stream").await;
    told.expect("go on");
    assert!(may_write(&server).await);
    let sent: Vec<String> = (0..20)
        .map(|id| event(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}})))
        .collect();
    let passed = exchange.body(&[sent.concat().as_bytes()]).await;
    assert_eq!(
        passed.expect("a body"),
        sent.concat().as_bytes(),
        "each is decided, and passes"
    );
    assert!(may_write(&server).await);
    assert!(may_write(&server).await);
    assert!(!may_write(&server).await, "calls are counted");
}
