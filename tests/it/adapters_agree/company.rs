//! One of two equal companies: the same policies, people, tools and writes, at the same time. What one is asked
//! natively the other is asked through a door.

use std::sync::Arc;
use std::time::Duration;

use callgate::config::telemetry::{DecisionLog, TelemetryConfig};
use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use callgate::service::clock::Clock;
use callgate::telemetry::export::span_tracer::SpanSampler;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use callgate::telemetry::redact::redaction::Redaction;
use prost_types::Timestamp;
use serde_json::json;
use tonic::transport::Channel;

use crate::adapters_agree::Challenge;
use crate::adapters_agree::call::Call;
use crate::adapters_agree::record::Record;
use crate::adapters_agree::span_fixtures::KeptSpans;
use crate::control::{person, scope};
use crate::http::authzen::with_records;
use crate::support::bundle_dir::BundleDir;
use crate::support::clock::HandClock;
use crate::support::in_process::{Running, entity};
use crate::support::worlds;

const POLICIES: &str = r#"
@id("read") @owner("security") @controls("OWASP:ASI02") @obligation("log:full,redact:secrets")
permit (principal, action in Mcp::Action::"call_read", resource);

@id("write") @owner("platform") @obligation("log:full")
permit (principal, action in Mcp::Action::"call_write", resource)
when { principal in Mcp::Group::"developers" };

@id("write-by-claim") @obligation("notify")
permit (principal, action in Mcp::Action::"call_write", resource)
when { context.identity has asserted_groups && context.identity.asserted_groups.contains(Mcp::Group::"claim:writers") };

@id("write-in-a-claimed-group")
permit (principal in Mcp::Group::"claim:writers", action in Mcp::Action::"call_write", resource);

@id("admin")
permit (principal, action in Mcp::Action::"call_admin", resource)
when { principal in Mcp::Group::"developers" };

@id("look") permit (principal, action in Mcp::Action::"discover", resource);
@id("context") @obligation("log:full") permit (principal in Mcp::Group::"developers", action in Mcp::Action::"use_context", resource);

@id("never-purge") @owner("security") @reason("history is kept")
forbid (principal, action, resource == Mcp::Tool::"git/purge");

@id("push-is-approved") @owner("security") @reason("what leaves is approved")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"git/push")
unless { context has approval };

@id("nothing-private-out") @owner("security") @reason("what is private stays")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"mail/send")
unless { !context.labels.contains("private") };

@id("small") @reason("that is too much")
forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"mail/list")
when { context has input && context.input has most && context.input.most > 100 };

@id("not-too-often") @reason("that was often")
forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has usage && context.usage.last_minute >= 40 };

@id("watched") @mode("shadow")
forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context.identity.method == "header" };

@id("forms") @obligation("log:full")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_form", resource)
when { context.elicitation.secret_fields.isEmpty() };

@id("pages") permit (principal is Mcp::Server, action == Mcp::Action::"elicit_url", resource)
when { context.elicitation has domain && context.elicitation.domain == "example.org" };

@id("summaries") permit (principal == Mcp::Server::"mail", action == Mcp::Action::"sample", resource)
when { context.sampling.max_tokens <= 100 && !context.labels.contains("private") };

@id("folders") permit (principal is Mcp::Server, action == Mcp::Action::"list_roots", resource)
when { context has delegation && context.delegation has root && context.delegation.root == Mcp::User::"ana" };

@id("govern") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
"#;

const SETTINGS: &str = "[[claims.groups]]\nclaim = \"groups\"\nprefix = \"claim:\"\n";

/// For Cedar's own question, beside the company's own types.
const RECORDS_POLICIES: &str = r#"
@id("record-read") @obligation("log:full") @owner("security")
permit (principal in team::"staff", action == Action::"read", resource is record);
@id("record-write")
permit (principal == user::"alice", action == Action::"write", resource is record)
unless { resource has status && resource.status == "archived" };
@id("record-delete") @obligation("notify")
permit (principal == user::"alice", action == Action::"delete", resource is record)
when { context has soft && context.soft };
"#;

/// The office with agents of developers, tools of which more is known, and the records of AuthZEN's certification.
fn directory() -> BundleDir {
    let developers = ["developers"];
    let (inactive, in_developers) = (json!({"active": false}), [("Mcp::Group", "developers")]);
    let arguments = json!({"most": {"type": "integer"}, "folder": {"type": "string"}});
    let showing = json!({"yields": ["private"], "target_arguments": ["path"]});
    let listing = json!({"yields": ["untrusted"], "typed": true,
        "input_schema": {"type": "object", "properties": arguments}});
    let world = worlds::office()
        .config(SETTINGS)
        .policies(POLICIES)
        .file("records.cedar", RECORDS_POLICIES)
        .groups(&developers)
        .user("ana", &developers)
        .entity(("Mcp::User", "dan"), inactive, &in_developers)
        .agent("coder", "ana", &developers)
        .agent("helper", "bob", &developers)
        .server("git", "ana")
        .tool_with("show", "read", showing)
        .tool_with("push", "write", json!({"egress": true}))
        .server("mail", "bob")
        .tool_with("list", "read", listing);
    with_records(world)
}

/// What was made in the course of things, by the number under which calls know it.
#[derive(Default)]
pub struct Made {
    pub delegations: Vec<String>,
    pub tasks: Vec<String>,
    pub approvals: Vec<String>,
}

/// A company and what it has on record.
pub struct Company {
    pub server: Running,
    pub clock: Arc<HandClock>,
    pub made: Made,
    control: ControlClient<Channel>,
    spans: KeptSpans,
}

impl Company {
    /// A company that has delegated something, and works on something.
    pub async fn open(config: &str) -> Self {
        let mut company = Self::with(config, &directory()).await;
        company.begin().await;
        company
    }

    /// A company with policies, people and tools of its own, in which nothing has happened.
    pub async fn with(config: &str, directory: &BundleDir) -> Self {
        let clock = Arc::new(HandClock::new());
        let spans = KeptSpans::default();
        let redaction = Redaction::new(&[7; 32], &TelemetryConfig::default());
        let recorder = Recorder::new(RecorderParts {
            tracer: Some(spans.tracer(SpanSampler::ALWAYS_ON)),
            meter: None,
            live: Arc::default(),
            redaction: redaction.expect("a key"),
            decision_log: DecisionLog::None,
            ..RecorderParts::default()
        });
        let server = directory
            .start_recorded(config, clock.clone(), recorder)
            .await;
        let control = ControlClient::new(server.channel().await);
        Self {
            server,
            clock,
            made: Made::default(),
            control,
            spans,
        }
    }

    async fn begin(&mut self) {
        let (read, write) = (v1::AccessLevel::Read, v1::AccessLevel::Write);
        self.delegate("ana", "coder", write, 3_600).await;
        self.delegate("ana", "helper", read, 3_600).await;
        self.delegate("ana", "coder", write, 60).await;
        self.delegate("bob", "helper", write, 3_600).await;
        self.task("ana", "coder", Some(40), 3_600).await;
        self.task("bob", "helper", None, 3_600).await;
        self.task("ana", "coder", None, 60).await;
        self.task("ana", "coder", Some(2), 3_600).await;
    }

    async fn delegate(&mut self, by: &str, to: &str, access: v1::AccessLevel, seconds: u64) {
        let request = v1::GrantDelegationRequest {
            actor: person(by),
            to: entity("Agent", to),
            scope: scope(&["git", "mail"], access),
            expires_at: self.after(seconds),
            ..Default::default()
        };
        let answer = self.control.grant_delegation(request).await;
        let delegation = answer.expect("a delegation").into_inner().delegation;
        self.made
            .delegations
            .push(delegation.expect("a delegation").id);
    }

    async fn task(&mut self, of: &str, agent: &str, calls: Option<u64>, seconds: u64) {
        let request = v1::OpenTaskRequest {
            actor: person(of),
            agent: entity("Agent", agent),
            person: entity("User", of),
            purpose: "release 1.2".into(),
            scope: scope(&["git", "mail"], v1::AccessLevel::Write),
            call_budget: calls,
            deadline: self.after(seconds),
            ..Default::default()
        };
        let answer = self.control.open_task(request).await;
        let task = answer.expect("a task").into_inner().task;
        self.made.tasks.push(task.expect("a task").id);
    }

    /// Asks for an approval of a call, and with `by` has it given. Its number.
    pub async fn approve(
        &mut self,
        call: &Call,
        challenge: Option<Challenge>,
        by: Option<&str>,
    ) -> usize {
        let request = v1::RequestApprovalRequest {
            call_context: Some(call.native(&self.made)),
            challenge: challenge.map(|it| v1::ApprovalChallenge {
                digest: it.digest,
                valid_for: None,
                expires_at: Some(Timestamp {
                    seconds: it.expires_at,
                    nanos: 0,
                }),
            }),
            ..Default::default()
        };
        let answer = self.control.request_approval(request).await;
        let asked = answer.expect("an approval").into_inner().approval;
        let asked = asked.expect("an approval");
        let approvals = &mut self.made.approvals;
        let known = approvals.iter().position(|it| *it == asked.id);
        let number = known.unwrap_or_else(|| {
            approvals.push(asked.id.clone());
            approvals.len() - 1
        });
        let Some(by) = by else { return number };
        let request = v1::ApproveCallRequest {
            actor: person(by),
            id: asked.id,
            digest: asked.digest,
            ..Default::default()
        };
        self.control.approve_call(request).await.expect("a yes");
        number
    }

    /// Revokes, closes and ends something of everything.
    pub async fn revoke_some(&mut self) {
        let revoke = v1::RevokeDelegationRequest {
            actor: person("ana"),
            id: self.made.delegations[1].clone(),
            ..Default::default()
        };
        let revoked = self.control.revoke_delegation(revoke).await;
        revoked.expect("revoked");
        let close = v1::CloseTaskRequest {
            actor: person("bob"),
            id: self.made.tasks[1].clone(),
            ..Default::default()
        };
        self.control.close_task(close).await.expect("closed");
        let end = v1::EndSessionRequest {
            actor: person("ana"),
            session_id: "s-2".to_owned(),
            ..Default::default()
        };
        self.control.end_session(end).await.expect("ended");
    }

    /// What was put on record about decisions since it was last looked at.
    pub fn recorded(&self) -> Vec<Record> {
        let spans = self.spans.all();
        self.spans.clear();
        let spans = spans.iter().filter(|it| it.name.starts_with("authorize"));
        spans.map(|it| Record::of(it, &self.made)).collect()
    }

    fn after(&self, seconds: u64) -> Option<Timestamp> {
        Some(Timestamp::from(
            self.clock.now() + Duration::from_secs(seconds),
        ))
    }
}

impl Made {
    /// A text with names in the place of what only this company calls so.
    pub fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let kinds = [
            ("grant", &self.delegations),
            ("task", &self.tasks),
            ("approval", &self.approvals),
        ];
        for (kind, ids) in kinds {
            for (number, id) in ids.iter().enumerate() {
                text = text.replace(id, &format!("<{kind} {number}>"));
            }
        }
        text
    }
}
