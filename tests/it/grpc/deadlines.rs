//! `limits.deadline_ms` holds for what many decisions make up, too: none of these waits for anything, so that no timer
//! would stop it, and each is told that it is late instead of being answered in part.

use std::sync::Arc;
use std::time::Instant;

use callgate::authn::caller::Caller;
use callgate::config::limits::Limits;
use callgate::domain::decide::is_authorized::ParcRequest;
use callgate::domain::decide::listing::ListedItem;
use callgate::domain::request::call_context::Initiator;
use callgate::domain::request::call_context::{CallContext, Operation, Subject};
use callgate::domain::request::operation::{Listing, OperationKind};
use callgate::domain::request::trace_context::TraceContext;
use callgate::domain::schema::{TYPES, entity_uid as mcp_entity};
use callgate::proto::agentgateway::ext_mcp::McpResponse;
use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::v1;
use callgate::proto::v1::authorize_stream_response::Outcome;
use callgate::service::batch::BatchItem;
use callgate::service::deadline::{Deadline, ServiceError};
use callgate::service::request::RequestMeta;
use callgate::service::search::{SearchError, SearchRequest, SearchTarget};
use callgate_engine::cedar::Context;
use serde_json::json;
use tonic::Code;

use crate::agentgateway::ext_mcp;
use crate::http::authzen::{EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, tuple};
use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::{self, Running, call, waiting};
use crate::support::plain_http::post;
use crate::support::wire::structure;

/// Far more than can be answered in [`SHORT_MS`].
const MANY: usize = 10_000;

/// Of entries of lists, each of which takes little.
const MANY_ENTRIES: usize = 10 * MANY;

/// Long enough for a message to arrive, so that it is not the timer around all that ends it.
const SHORT_MS: u32 = 40;

const CONFIG: &str = "[limits]\nmessage_bytes = 16777216\n";

/// Every list may be long, and little time is given.
fn hurry(server: &Running) {
    let many = MANY_ENTRIES as u32;
    let limits = Limits {
        batch: many,
        tools: many,
        list_items: many,
        page_size: many,
        search_candidates: many,
        message_bytes: 16_777_216,
        deadline_ms: SHORT_MS,
        ..Limits::default()
    };
    server.doors.limits.store(Arc::new(limits));
}

/// A tool that is registered, so that policies are asked about it every time.
fn names() -> Vec<String> {
    vec!["log".to_owned(); MANY_ENTRIES]
}

#[tokio::test]
async fn native_batches_and_filters_are_late() {
    let server = in_process::start(CONFIG).await;
    hurry(&server);
    let mut client = server.client().await.max_encoding_message_size(1 << 24);
    let requests = vec![call("log"); MANY];
    let late = client.authorize_batch(v1::AuthorizeBatchRequest { requests });
    let late = late.await.expect_err("late");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    let mut asking = call("log");
    let filter = v1::FilterToolsRequest {
        call_context: asking.call_context.take(),
        server: "git".to_owned(),
        tools: names(),
        at_least_revision: 0,
    };
    let late = client.filter_tools(filter).await.expect_err("late");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
}

#[tokio::test]
async fn a_question_on_a_stream_is_late_and_the_stream_goes_on() {
    let server = in_process::start("[limits]\nstale_wait_ms = 1500\n").await;
    hurry(&server);
    let mut client = server.client().await;
    let questions = [waiting(), call("log")].map(|request| v1::AuthorizeStreamRequest {
        request: Some(request),
        ..v1::AuthorizeStreamRequest::default()
    });
    let answers = client.authorize_stream(tokio_stream::iter(questions)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut next = async || {
        let answer = answers.message().await.expect("a message");
        answer.expect("an answer").outcome.expect("an outcome")
    };
    match next().await {
        Outcome::Error(error) => assert_eq!(error.code, Code::DeadlineExceeded as i32),
        Outcome::Response(response) => panic!("{response:?}"),
    }
    assert!(matches!(next().await, Outcome::Response(_)));
}

#[tokio::test]
async fn lists_that_gateways_pass_on_are_late() {
    let server = ext_mcp::start(ext_mcp::CONFIG).await;
    hurry(&server);
    let tools = vec![json!({"name": "log"}); MANY_ENTRIES];
    let response = McpResponse {
        service_names: vec!["git".to_owned()],
        method: "tools/list".to_owned(),
        metadata_context: Some(structure(&json!({"agent": "coder"}))),
        mcp_response: json!({"tools": tools}).to_string().into(),
    };
    let mut client = ExtMcpClient::new(server.channel().await);
    let late = client.check_response(response).await.expect_err("late");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
}

/// Whoever may read all of many records.
async fn records() -> Running {
    let schema = "entity user;\nentity record;\naction read appliesTo { principal: [user], resource: [record] };\n";
    let policies: String = (0..50)
        .map(|number| {
            format!("permit (principal, action, resource) when {{ {number} == {number} }};\n")
        })
        .collect();
    let mut dir = BundleDir::new()
        .file("a.cedarschema", schema)
        .policies(&policies);
    for ty in ["user", "record"] {
        for number in 0..MANY {
            dir = dir.entity((ty, &format!("{ty}-{number}")), json!({}), &[]);
        }
    }
    let server = dir.start(CONFIG).await;
    hurry(&server);
    server
}

#[tokio::test]
async fn authzens_batches_and_searches_are_late() {
    let server = records().await;
    let question = tuple("user-1", "read", "record-1");
    let mut batch = question.clone();
    batch["evaluations"] = vec![json!({}); MANY].into();
    for (path, request) in [
        (EVALUATIONS, &batch),
        (SUBJECTS, &question),
        (RESOURCES, &question),
    ] {
        let reply = post(&server, path, request).await;
        assert_eq!(reply.status, 504, "{path}: {} bytes", reply.body.len());
        assert_eq!(reply.message(), "no answer within the deadline", "{path}");
    }
    // What is over at once is answered by the same server.
    let mut patient = Limits::clone(&server.doors.limits.load());
    patient.deadline_ms = 60_000;
    server.doors.limits.store(Arc::new(patient));
    let reply = post(&server, EVALUATION, &question).await;
    assert_eq!(reply.json()["decision"], json!(true));
    let reply = post(&server, EVALUATIONS, &batch).await;
    let answers = reply.json();
    assert_eq!(answers["evaluations"].as_array().map(Vec::len), Some(MANY));
}

#[tokio::test]
async fn nothing_of_several_is_decided_once_the_deadline_is_over() {
    let server = in_process::start("").await;
    let service = &server.service;
    let caller = Caller::local();
    let late = |deadline| RequestMeta {
        caller: &caller,
        adapter: "test",
        at_least_revision: 0,
        is_dry_run: false,
        deadline,
        request_id: None,
    };
    let over = late(Deadline::at(Instant::now()));
    let subject = Subject::verified(mcp_entity(&TYPES.agent, "coder"), "test");
    let listing = Operation::new(
        Initiator::Client,
        "git",
        OperationKind::List(Listing::Tools),
    );
    let call = CallContext::new(subject, listing);
    let offered = [ListedItem::Tool {
        name: "log".into(),
        definition: None,
    }];
    let batch = service.authorize_batch(&[(over, call.clone())]).await;
    assert_eq!(batch.expect_err("late"), ServiceError::DeadlineExceeded);
    let filtered = service.filter(over, &call, &offered).await;
    assert_eq!(filtered.expect_err("late"), ServiceError::DeadlineExceeded);
    let question = || ParcRequest {
        principal: mcp_entity(&TYPES.agent, "coder"),
        action: callgate::domain::schema::action_uid("list_tools"),
        resource: mcp_entity(&TYPES.server, "git"),
        context: Context::empty(),
        asserted: Vec::new(),
        denied: None,
        trace: TraceContext::default(),
    };
    let questions = std::iter::once(Ok::<_, ServiceError>(BatchItem::Cedar(
        Box::new(question()),
    )));
    let each = service.decide_batch(over, questions, None).await;
    assert_eq!(each.expect_err("late"), ServiceError::DeadlineExceeded);
    for sought in [
        SearchTarget::Action,
        SearchTarget::Subject(TYPES.agent.clone()),
        SearchTarget::Resource(TYPES.server.clone()),
    ] {
        let search = SearchRequest {
            target: sought,
            principal: None,
            action: None,
            resource: None,
            after: None,
            page_size: 10,
            candidates: 10,
            trace: TraceContext::default(),
        };
        let asked = std::cell::Cell::new(0);
        let ask = |_: &_, _: &_| {
            asked.set(asked.get() + 1);
            Ok::<_, ServiceError>(Some(question()))
        };
        let found = service.search(over, &search, ask).await;
        assert_eq!(
            found.expect_err("late"),
            SearchError::Service(ServiceError::DeadlineExceeded)
        );
        assert_eq!(asked.get(), 0);
        let found = service.search(late(Deadline::NONE), &search, ask).await;
        assert!(found.is_ok());
    }
}
