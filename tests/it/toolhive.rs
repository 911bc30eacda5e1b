//! ToolHive's decision point: what it says of questions that it cannot decide.

use serde_json::{Value as Json, json};

use crate::plain_http::post;
use crate::serving::start;

const TOOLHIVE: &str = "/toolhive/decision";

fn toolhive(subject: &str, operation: &str, resource: &str, args: &Json) -> Json {
    let (feature, verb) = operation["mcp:".len()..]
        .split_once(':')
        .expect("two words");
    let id = resource.splitn(5, ':').nth(4).expect("a name");
    json!({
        "principal": {"sub": subject, "groups": ["x"]}, "operation": operation, "resource": resource,
        "context": {"mcp": {"feature": feature, "operation": verb, "resource_id": id, "args": args}},
    })
}

#[tokio::test]
async fn toolhive_hears_no_for_what_is_not_known_and_an_error_for_what_cannot_be_read() {
    let server = start("").await;
    let mut question = toolhive("ana", "mcp:tool:call", "mrn:mcp:git:tool:log", &json!({}));
    assert_eq!(
        post(&server, TOOLHIVE, &question).await.json(),
        json!({"allow": true})
    );
    let probe = format!("{TOOLHIVE}?probe=true");
    assert_eq!(
        post(&server, &probe, &question).await.json(),
        json!({"allow": true})
    );
    for operation in ["mcp::list", "mcp:tool:delete", "sampling:create"] {
        question["operation"] = json!(operation);
        let reply = post(&server, TOOLHIVE, &question).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"allow": false})),
            "{operation}"
        );
    }
    question["operation"] = json!("mcp:tool:call");
    question["context"]["mcp"]["resource_id"] = json!("purge");
    let reply = post(&server, TOOLHIVE, &question).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .message()
            .starts_with("`context.mcp.resource_id` says something else")
    );
}
