//! Everything that is decided, changed or seen is on record before its answer is there, whichever adapter it came through.

use callgate::audit::outcome_record::Status;
use callgate::audit::record::schema::Verdict;
use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::{
    AttributeContext, CheckRequest, HttpRequest, Request as CheckedRequest,
};
use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use serde_json::{Value as Json, json};
use tokio_stream::StreamExt;
use tonic::Code;
use uuid::Uuid;

use crate::replay::stage::Stage;
use crate::support::in_process::{call, context, entity};
use crate::support::plain_http::post;

const CONFIG: &str = r#"
without_callers = true

[envoy]
servers = [{ path = "/mcp", server = "git" }]

[[envoy.identity]]
from = "header"
agent = "x-agent"
verified = true

[ext_mcp]

[[ext_mcp.identity]]
from = "keys"
agent = "agent"
verified = true
"#;

const GOVERN: &str = r#"
@id("govern") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
"#;

/// A server with a log.
pub(super) async fn start() -> Stage {
    Stage::new(CONFIG, &[("govern.cedar", GOVERN)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_of_every_rpc_are_on_record_when_their_answers_are_there() {
    let stage = start().await;
    let mut client = stage.server.client().await;

    let mut asked = call("purge");
    let parent = Uuid::now_v7();
    let workflow = v1::Workflow {
        session_id: "session".into(),
        task_id: String::new(),
        parent_decision_id: parent.to_string(),
        ..Default::default()
    };
    context(&mut asked).workflow = Some(workflow);
    let denied = client.authorize(asked).await.unwrap().into_inner();
    let contents = stage.contents();
    let record = contents.decision(&denied.decision_id);
    assert_eq!(record.verdict(), Verdict::Deny);
    assert_eq!((&*record.server, &*record.tool), ("git", "purge"));
    assert_eq!(record.subject, r#"Mcp::Agent::"coder""#);
    assert_eq!((&*record.session_id, &*record.adapter), ("session", "grpc"));
    assert_eq!(&*record.parent_decision_id, parent.as_bytes());
    assert_eq!(record.determining_policies[0].id, "never-purge");
    assert_eq!(record.reasons[0].code, "FORBIDDEN");
    assert_eq!(record.revision, denied.revision);

    let mut asked = call("log");
    context(&mut asked).workflow = Some(v1::Workflow {
        parent_decision_id: "no id".into(),
        ..Default::default()
    });
    let refused = client.authorize(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused
            .message()
            .contains("call_context.workflow.parent_decision_id"),
        "{refused:?}"
    );

    let requests: Vec<_> = (0..20).map(|_| call("log")).collect();
    let batch = client
        .authorize_batch(v1::AuthorizeBatchRequest { requests })
        .await
        .unwrap();
    let batch = batch.into_inner().responses;
    let contents = stage.contents();
    let indices: Vec<u64> = batch
        .iter()
        .map(|it| contents.decisions[&it.decision_id].0)
        .collect();
    assert!(indices.is_sorted(), "{indices:?}");

    let requests = (0..3).map(|count: u32| v1::AuthorizeStreamRequest {
        correlation_id: count.to_string(),
        request: Some(call("commit")),
    });
    let stream = client
        .authorize_stream(tokio_stream::iter(requests))
        .await
        .unwrap();
    let mut stream = stream.into_inner();
    while let Some(Ok(answer)) = stream.next().await {
        let Some(v1::authorize_stream_response::Outcome::Response(answer)) = answer.outcome else {
            panic!("{answer:?}");
        };
        stage.contents().decision(&answer.decision_id);
    }

    let listed = v1::FilterToolsRequest {
        call_context: call("log").call_context,
        server: "git".into(),
        tools: vec!["log".into(), "purge".into()],
        ..Default::default()
    };
    let listed = client.filter_tools(listed).await.unwrap().into_inner();
    let contents = stage.contents();
    let record = contents.decision(&listed.decision_id);
    assert_eq!((record.kept, record.hidden), (1, 1));
    assert_eq!(record.operation, "tools/filter");

    let cedar = v1::IsAuthorizedRequest {
        principal: entity("Mcp::User", "ana"),
        action: entity("Mcp::Action", "govern"),
        resource: entity("Mcp::User", "bob"),
        ..Default::default()
    };
    let cedar = client.is_authorized(cedar).await.unwrap().into_inner();
    let contents = stage.contents();
    assert_eq!(contents.decision(&cedar.decision_id).operation, "cedar");
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluations_and_searches_of_authzen_are_on_record() {
    let stage = start().await;
    let evaluation = json!({
        "subject": {"type": "Mcp::User", "id": "ana"},
        "action": {"name": "govern"},
        "resource": {"type": "Mcp::User", "id": "bob"},
    });
    let reply = post(&stage.server, "/access/v1/evaluation", &evaluation).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(stage.contents().decisions.len(), 1);
    let several = json!({"evaluations": [evaluation, evaluation, evaluation]});
    let reply = post(&stage.server, "/access/v1/evaluations", &several).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(stage.contents().decisions.len(), 4);
    let search = json!({
        "subject": {"type": "Mcp::User"},
        "action": {"name": "govern"},
        "resource": {"type": "Mcp::User", "id": "bob"},
    });
    let reply = post(&stage.server, "/access/v1/search/subject", &search).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let contents = stage.contents();
    let searched = contents
        .decisions
        .values()
        .filter(|(_, it)| it.sought == "subject");
    assert_eq!(searched.count(), 1);
    assert_eq!(contents.decisions.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_writes_are_in_the_same_log_denied_or_not() {
    let stage = start().await;
    let mut control = ControlClient::new(stage.server.channel().await);
    let stop = |by: &str, of: &str| v1::StopEntityRequest {
        actor: Some(v1::Actor {
            entity: entity("Mcp::User", by),
            identity: Some(v1::Identity {
                method: "test".into(),
                verified: true,
            }),
            claims: None,
        }),
        uid: entity("Mcp::Agent", of),
        reason: "a test".into(),
        ..Default::default()
    };
    // Only people may, in these policies.
    let mut by_agent = stop("ana", "coder");
    by_agent.actor.as_mut().unwrap().entity = entity("Mcp::Agent", "coder");
    by_agent.uid = entity("Mcp::User", "bob");
    let denied = control.stop_entity(by_agent).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let stopped = control
        .stop_entity(stop("ana", "coder"))
        .await
        .unwrap()
        .into_inner();
    let contents = stage.contents();
    let [_, write] = contents.writes.as_slice() else {
        panic!("{:?}", contents.writes);
    };
    assert_eq!((&*write.verb, &*write.outcome), ("StopEntity", "done"));
    assert_eq!(write.revision, Some(stopped.revision));
    assert_eq!(write.actor, r#"Mcp::User::"ana""#);
    let refused = control
        .stop_entity(stop("ana", "nobody"))
        .await
        .unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
    // What was attempted is told, whatever became of it.
    let contents = stage.contents();
    let about = contents.writes.iter().map(|it| (&*it.outcome, &*it.id));
    assert_eq!(
        about.collect::<Vec<_>>(),
        [
            ("denied", r#"Mcp::User::"bob""#),
            ("done", r#"Mcp::Agent::"coder""#),
            ("refused", r#"Mcp::Agent::"nobody""#),
        ]
    );
    let status = control
        .get_status(v1::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let audit = status.audit.unwrap();
    assert_eq!((&*audit.mode, audit.unrecorded), ("written", 0));
    assert_eq!(audit.records, stage.contents().next);
    assert!(audit.bytes > 0 && audit.failing_since.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_reports_of_a_call_is_on_record() {
    let stage = start().await;
    let mut client = stage.server.client().await;
    let allowed = client.authorize(call("log")).await.unwrap().into_inner();
    let report = v1::ReportOutcomeRequest {
        decision_id: allowed.decision_id.clone(),
        status: v1::OutcomeStatus::ToolError.into(),
        size: 1_234,
        labels: vec!["untrusted".into()],
    };
    client.report_outcome(report.clone()).await.unwrap();
    let contents = stage.contents();
    let [outcome] = contents.outcomes.as_slice() else {
        panic!("{:?}", contents.outcomes);
    };
    assert_eq!(
        Uuid::from_slice(&outcome.decision_id).unwrap().to_string(),
        allowed.decision_id
    );
    assert_eq!((outcome.status(), outcome.size), (Status::ToolError, 1_234));
    assert_eq!(
        (&*outcome.labels, &*outcome.caller),
        (&["untrusted".to_owned()][..], "local")
    );
    for (wrong, field) in [
        (
            v1::ReportOutcomeRequest {
                decision_id: String::new(),
                ..report.clone()
            },
            "decision_id",
        ),
        (
            v1::ReportOutcomeRequest {
                status: 0,
                ..report.clone()
            },
            "status",
        ),
        (
            v1::ReportOutcomeRequest {
                status: 77,
                ..report.clone()
            },
            "status",
        ),
        (
            v1::ReportOutcomeRequest {
                labels: vec!["a".into(), " ".into()],
                ..report.clone()
            },
            "`labels[1]` holds nothing but blanks",
        ),
        (
            v1::ReportOutcomeRequest {
                // Of the year 4147.
                decision_id: "3fffffff-ffff-7795-92c6-b178af72b1a5".into(),
                ..report.clone()
            },
            "`decision_id` is the id of a decision that is yet to be made",
        ),
        (
            v1::ReportOutcomeRequest {
                labels: vec!["x".into(); 100_000],
                ..report
            },
            "labels",
        ),
    ] {
        let refused = client.report_outcome(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused:?}");
    }
    assert_eq!(stage.contents().outcomes.len(), 1);
}

/// A message that stands for several operations passes as a whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_denied_leaves_records_of_what_denied_it_alone() {
    let stage = start().await;
    let mut client = AuthorizationClient::new(stage.server.channel().await);
    let mut listen = async |wanted: Json| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
            "params": {"notifications": wanted}});
        let headers = [("x-agent", "coder"), ("content-type", "application/json")];
        let http = HttpRequest {
            method: "POST".into(),
            path: "/mcp".into(),
            host: "gateway.example.org".into(),
            size: -1,
            headers: headers
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            raw_body: message.to_string().into_bytes().into(),
            ..HttpRequest::default()
        };
        let attributes = AttributeContext {
            request: Some(CheckedRequest { http: Some(http) }),
            ..AttributeContext::default()
        };
        let attributes = Some(attributes);
        let answer = client.check(CheckRequest { attributes }).await.unwrap();
        answer.into_inner().status.unwrap().code == 0
    };
    let verdicts = || {
        let contents = stage.contents();
        let decisions = contents.decisions.values();
        let mut decisions: Vec<_> = decisions.map(|(at, it)| (*at, it.verdict())).collect();
        decisions.sort_by_key(|(at, _)| *at);
        let verdicts: Vec<_> = decisions.into_iter().map(|(_, verdict)| verdict).collect();
        verdicts
    };
    let lists = json!({"toolsListChanged": true});
    let both =
        json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a", "file:///b"]});
    assert!(!listen(both).await);
    assert_eq!(verdicts(), [Verdict::Deny, Verdict::Deny]);
    assert!(listen(lists).await);
    assert_eq!(verdicts()[2..], [Verdict::Allow, Verdict::Allow]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_stored_delegations_name_the_user_however_they_are_denied() {
    let stage = start().await;
    let mut control = ControlClient::new(stage.server.channel().await);
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let ana = v1::Actor {
        entity: entity("Mcp::User", "ana"),
        identity: Some(v1::Identity {
            method: "test".into(),
            verified: true,
        }),
        claims: None,
    };
    let grant = v1::GrantDelegationRequest {
        actor: Some(ana.clone()),
        to: entity("Mcp::Agent", "coder"),
        scope: Some(v1::Scope {
            tools: vec!["git/log".into()],
            access: v1::AccessLevel::Read.into(),
            ..Default::default()
        }),
        expires_at: Some(in_an_hour.into()),
        ..Default::default()
    };
    let granted = control.grant_delegation(grant).await.unwrap().into_inner();
    let id = granted.delegation.unwrap().id;
    let mut client = stage.server.client().await;
    let on_it = |tool: &str, agent: &str| {
        let mut request = call(tool);
        context(&mut request).subject.as_mut().unwrap().entity = entity("Agent", agent);
        context(&mut request).delegation = Some(v1::Delegation {
            delegation_ids: vec![id.clone()],
            ..Default::default()
        });
        request
    };
    let mut asked = Vec::new();
    for (tool, agent, code) in [
        ("log", "coder", None),
        ("commit", "coder", Some("DELEGATION_OUT_OF_SCOPE")),
        ("made-up", "coder", Some("TOOL_UNKNOWN")),
        // It is not another's, so she has no part in what that tries.
        ("log", "another", Some("SUBJECT_UNKNOWN")),
    ] {
        let answer = client.authorize(on_it(tool, agent)).await.unwrap();
        asked.push((answer.into_inner().decision_id, code));
    }
    let revoke = v1::RevokeDelegationRequest {
        actor: Some(ana),
        id: id.clone(),
        ..Default::default()
    };
    control.revoke_delegation(revoke).await.unwrap();
    let answer = client.authorize(on_it("log", "coder")).await.unwrap();
    asked.push((answer.into_inner().decision_id, Some("DELEGATION_REVOKED")));
    let contents = stage.contents();
    for (id, code) in &asked {
        let record = contents.decision(id);
        let first = record.reasons.first().map(|it| &*it.code);
        assert_eq!(first, *code, "{record:?}");
        let chain = record.chain.as_ref().expect("a chain");
        let root = match code {
            Some("SUBJECT_UNKNOWN") => "",
            _ => r#"Mcp::User::"ana""#,
        };
        assert_eq!(chain.root, root, "{code:?}");
    }
}
