//! The five RPCs: what they answer, and what they refuse.

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::authorize_stream_response::Outcome;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate::proto::v1::{Decision, ReasonCode};
use tonic::Code;

use crate::support::in_process::{call, call_for, entity, start};
use crate::support::process::{Bundle, Server, endpoint};
use crate::support::worlds;

/// Which of these tools of `git` may `coder` call?
pub fn filter(tools: &[&str]) -> v1::FilterToolsRequest {
    v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: tools.iter().map(ToString::to_string).collect(),
        at_least_revision: 0,
    }
}

/// May `coder` do this with the server `git`?
pub fn question(action: &str) -> v1::IsAuthorizedRequest {
    v1::IsAuthorizedRequest {
        principal: entity("Mcp::Agent", "coder"),
        action: entity("Mcp::Action", action),
        resource: entity("Mcp::Server", "git"),
        context_form: Some(ContextForm::ContextJson(
            br#"{
                "initiator": "client",
                "identity": {"verified": true, "method": "test", "asserted_groups": [], "asserted_attributes": []},
                "environment": {"now": "2026-01-01", "gateway": {"type": "Mcp::Gateway", "id": "edge"}}
            }"#
            .as_slice()
            .into(),
        )),
        at_least_revision: 0,
        explain: true,
    }
}

#[tokio::test]
async fn authorize_answers_with_reasons_policies_and_obligations() {
    let server = start("").await;
    let mut client = server.client().await;

    let allowed = client
        .authorize(call("log"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!((allowed.decision(), allowed.revision), (Decision::Allow, 1));
    assert_eq!(
        uuid::Uuid::parse_str(&allowed.decision_id)
            .expect("a uuid")
            .get_version_num(),
        7
    );
    assert_eq!(allowed.determining_policies.len(), 1);
    assert_eq!(allowed.determining_policies[0].id, "read");
    assert_eq!(allowed.determining_policies[0].owner, "security");
    assert_eq!(
        allowed.determining_policies[0].controls,
        ["OWASP:ASI02", "NIST-CSF:PR.AA-05"]
    );
    assert_eq!(allowed.obligations[0].id, "log:full");
    assert!(allowed.reasons.is_empty() && allowed.explanation.is_none());

    let denied = client
        .authorize(call("purge"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(denied.decision(), Decision::Deny);
    assert_eq!(denied.reasons[0].code(), ReasonCode::Forbidden);
    assert_eq!(denied.reasons[0].message, "history is kept");
    assert_eq!(denied.reasons[0].policy_ids, ["never-purge"]);

    let delegated = client
        .authorize(call_for("commit", "bob"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(delegated.decision(), Decision::Deny);
    assert_eq!(delegated.reasons[0].code(), ReasonCode::DelegatorDenied);
    assert_eq!(delegated.reasons[0].principal, entity("Mcp::User", "bob"));
    let for_ana = client
        .authorize(call_for("commit", "ana"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(for_ana.decision(), Decision::Allow);
}

#[tokio::test]
async fn an_explanation_tells_how_everyone_fared() {
    let server = start("").await;
    let request = v1::AuthorizeRequest {
        explain: true,
        ..call_for("commit", "bob")
    };
    let answer = server
        .client()
        .await
        .authorize(request)
        .await
        .expect("an answer")
        .into_inner();
    let explanation = answer.explanation.expect("an explanation");
    let fared: Vec<_> = explanation
        .principals
        .iter()
        .map(|it| {
            (
                it.principal.clone(),
                it.decision(),
                it.permits.clone(),
                it.policies_total,
            )
        })
        .collect();
    assert_eq!(
        fared,
        [
            (
                entity("Mcp::Agent", "coder"),
                Decision::Allow,
                vec!["write-by-developers".to_owned()],
                4
            ),
            (entity("Mcp::User", "bob"), Decision::Deny, vec![], 4),
        ]
    );
    assert_eq!(
        explanation.principals[0].resource,
        entity("Mcp::Tool", "git/commit")
    );
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_at_one_revision() {
    let server = start("").await;
    let requests: Vec<_> = (0..50)
        .map(|n| call(if n % 3 == 0 { "purge" } else { "log" }))
        .collect();
    let batch = v1::AuthorizeBatchRequest { requests };
    let answer = server
        .client()
        .await
        .authorize_batch(batch)
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.responses.len(), 50);
    for (n, response) in answer.responses.iter().enumerate() {
        let wanted = if n % 3 == 0 {
            Decision::Deny
        } else {
            Decision::Allow
        };
        assert_eq!(
            (response.decision(), response.revision),
            (wanted, 1),
            "request {n}"
        );
    }
    let empty = server
        .client()
        .await
        .authorize_batch(v1::AuthorizeBatchRequest::default())
        .await;
    assert!(empty.expect("an answer").into_inner().responses.is_empty());
}

#[tokio::test]
async fn filter_tools_keeps_the_order_and_says_why_others_are_hidden() {
    let server = start("").await;
    let request = filter(&["purge", "commit", "unheard-of", "log"]);
    let answer = server
        .client()
        .await
        .filter_tools(request)
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.tools, ["commit", "log"]);
    let hidden: Vec<_> = answer
        .hidden
        .iter()
        .map(|it| (it.tool.as_str(), it.code()))
        .collect();
    assert_eq!(
        hidden,
        [
            ("purge", ReasonCode::Forbidden),
            ("unheard-of", ReasonCode::ToolUnknown)
        ]
    );
    assert_eq!(answer.revision, 1);
}

#[tokio::test]
async fn is_authorized_asks_cedars_own_question() {
    let server = start("").await;
    let mut client = server.client().await;
    let answer = client
        .is_authorized(question("list_tools"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
    assert_eq!(answer.determining_policies[0].id, "list");
    assert_eq!(
        answer.explanation.expect("an explanation").principals.len(),
        1
    );

    let mut missing = question("list_tools");
    missing.context_form = Some(ContextForm::ContextJson(b"{}".as_slice().into()));
    let answer = client
        .is_authorized(missing)
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.decision(), Decision::Deny);
    assert_eq!(answer.reasons[0].code(), ReasonCode::ContextMissing);
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_what_it_cannot_use() {
    let server = start("").await;
    let requests = (0..200).map(|n| v1::AuthorizeStreamRequest {
        correlation_id: format!("c{n}"),
        request: match n % 4 {
            0 => Some(call("log")),
            1 => Some(call("purge")),
            2 => Some(call("")),
            _ => None,
        },
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut answers = server
        .client()
        .await
        .authorize_stream(requests)
        .await
        .expect("a stream")
        .into_inner();
    for n in 0..200 {
        let answer = answers
            .message()
            .await
            .expect("no error")
            .expect("an answer");
        assert_eq!(answer.correlation_id, format!("c{n}"));
        match (n % 4, answer.outcome.expect("an outcome")) {
            (0, Outcome::Response(response)) => assert_eq!(response.decision(), Decision::Allow),
            (1, Outcome::Response(response)) => assert_eq!(response.decision(), Decision::Deny),
            (2, Outcome::Error(error)) => {
                assert_eq!(error.code, Code::InvalidArgument as i32);
                assert_eq!(
                    error.message,
                    "`request.call_context.operation.call_tool.tool` is required"
                );
            }
            (_, Outcome::Error(error)) => {
                assert_eq!(error.message, "`request.call_context` is required");
            }
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    assert!(answers.message().await.expect("a clean end").is_none());
}

#[test]
fn a_request_of_a_stream_that_is_rejected_is_logged_as_any_other() {
    let bundle = Bundle::of(&worlds::small());
    let server = Server::start(&bundle, &[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answered = runtime.block_on(async {
        let address = endpoint(format!("http://{}", server.target()));
        let channel = address.connect().await.expect("a connection");
        let mut client = AuthorizationClient::new(channel);
        let requests = [call("log"), call("")].map(|request| v1::AuthorizeStreamRequest {
            correlation_id: "c".into(),
            request: Some(request),
        });
        let requests = tokio_stream::iter(requests);
        let stream = client.authorize_stream(requests).await.expect("a stream");
        let mut answers = stream.into_inner();
        let mut answered = 0;
        while answers.message().await.expect("no error").is_some() {
            answered += 1;
        }
        answered
    });
    assert_eq!(answered, 2);
    let (_, log) = server.stop();
    assert_eq!(log.matches("request rejected").count(), 1, "{log}");
}
