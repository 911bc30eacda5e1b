//! The directory that the tests of this folder observe, and calls on it.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde_json::{Value as Json, json};

use crate::analysis::replay::candidate::{Candidate, Replayer};
use crate::analysis::replay::observed::{Proposal, propose};
use crate::analysis::replay::{CutLists, RecordedCapsule, RecordedDecision};
use crate::audit::capsule_content::Capsule;
use crate::audit::capsule_content::MissingFacts;
use crate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use crate::audit::capsule_content::entities::ReachableEntities;
use crate::authn::caller::Caller;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::{self, Bundle};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::fixtures::{agent, person};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Initiator, Operation, Subject,
};
use crate::domain::request::operation::{OperationKind, ToolCall};

/// A call, and whether it is made in a session.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub call: CallContext,
    pub is_in_session: bool,
}

impl From<CallContext> for Asked {
    fn from(call: CallContext) -> Self {
        Self {
            call,
            is_in_session: false,
        }
    }
}

pub(super) fn source(kind: FileKind, file: &str, text: &str) -> SourceFile {
    let stem = file
        .rsplit('/')
        .next()
        .and_then(|name| name.split('.').next());
    SourceFile {
        kind,
        file: file.into(),
        stem: stem.unwrap_or_default().into(),
        text: text.into(),
        digest: None,
    }
}

/// Alice and Bob, Alice's agents, and the servers `notes` and `wiki`, with these policies.
pub(super) fn files(policies: &str) -> BundleFiles {
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let user =
        |id: &str| json!({ "uid": uid("User", id), "parents": [], "attrs": { "active": true } });
    let agent = |id: &str| {
        json!({ "uid": uid("Agent", id), "parents": [],
                "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } })
    };
    let entities = json!([
        user("alice"),
        user("bob"),
        agent("helper"),
        agent("planner"),
        { "uid": uid("Group", "finance"), "parents": [], "attrs": {} },
    ]);
    let mut files = BundleFiles::from_sources(vec![
        source(FileKind::Policies, "a.cedar", policies),
        source(FileKind::Entities, "entities/a.json", &entities.to_string()),
        source(
            FileKind::Registration,
            "tools/notes.json",
            &registration("notes"),
        ),
        source(
            FileKind::Registration,
            "tools/wiki.json",
            &registration("wiki"),
        ),
    ]);
    for it in files.sources.clone() {
        files.digests.insert(it.file, [0; 32]);
    }
    files
}

fn registration(server: &str) -> String {
    let tool = |access: &str, more: Json| {
        let mut tool = json!({ "access": access, "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal" });
        for (name, value) in more.as_object().into_iter().flatten() {
            tool[name] = value.clone();
        }
        tool
    };
    let path =
        json!({ "target_arguments": [{ "argument": "path", "kind": "path", "optional": true }] });
    let registration = json!({
        "server": { "name": server, "owner": "alice" },
        "tools": {
            "read": tool("read", json!({})),
            "list": tool("read", json!({})),
            "wipe": tool("write", json!({})),
            "save": tool("write", path),
            "pay": tool("write", json!({})),
        },
    });
    serde_json::to_string_pretty(&registration).expect("JSON")
}

/// `helper` calls for Alice.
pub(super) fn by_helper(operation: Operation) -> CallContext {
    let mut call = CallContext::new(Subject::verified(agent("helper"), "jwt"), operation);
    call.actor_chain = Some(ActorChain::verified_from(person("alice")));
    call
}

pub(super) fn tool(server: &str, name: &str) -> Operation {
    tool_on(server, name, json!({ "path": "/a", "deep": { "x": [1] } }))
}

pub(super) fn tool_on(server: &str, name: &str, arguments: Json) -> Operation {
    let arguments = arguments.as_object().cloned().expect("an object");
    Operation::call_tool(server, name, arguments)
}

/// A server calls a tool of the client's side, for the helper and Alice.
pub(super) fn reverse(server: &str, name: &str) -> CallContext {
    let call = ToolCall {
        tool: name.into(),
        arguments: serde_json::Map::new(),
        definition_digest: None,
        target: None,
    };
    let operation = Operation::new(Initiator::Server, server, OperationKind::CallTool(call));
    let subject = crate::domain::schema::server_uid(&server.into());
    let mut call = CallContext::new(Subject::verified(subject, "mtls"), operation);
    let mut chain = ActorChain::verified_from(person("alice"));
    chain.actors = vec![agent("helper")];
    call.actor_chain = Some(chain);
    call
}

/// A server asks something of the client's side.
pub(super) fn of_client(server: &str, kind: OperationKind) -> CallContext {
    let subject = crate::domain::schema::server_uid(&server.into());
    let operation = Operation::new(Initiator::Server, server, kind);
    CallContext::new(Subject::verified(subject, "mtls"), operation)
}

/// The records that observe mode makes of calls.
pub(super) fn observed(files: &BundleFiles, calls: &[Asked]) -> Vec<RecordedDecision> {
    let bundle = bundle::compile(files).expect("no faults");
    let asked = calls.iter().enumerate();
    asked
        .map(|(index, asked)| record(&bundle, index as u64, asked))
        .collect()
}

fn record(bundle: &Bundle, index: u64, asked: &Asked) -> RecordedDecision {
    let (caller, authority) = (Caller::local(), Authority::default());
    let (entities, session) = (ReachableEntities::default(), Session::default());
    let inputs = DecisionInputs {
        history: History {
            session: asked.is_in_session.then_some(&session),
            ..History::default()
        },
        ..DecisionInputs::from(&bundle.snapshot)
    };
    let requester = Requester {
        caller: &caller,
        claims: &bundle.config.claims,
    };
    let now = SystemTime::now();
    let verdict = call::decide(inputs, &asked.call, requester, now);
    let with = DecidedWith {
        policy_set_digest: &bundle.digest,
        caller: &caller,
        now,
        authority: &authority,
        entities: &entities,
    };
    let capsule = CallCapsule {
        with,
        call: &asked.call,
        history: inputs.history,
        missing: MissingFacts::default(),
    };
    let codes = verdict.reasons.iter().map(|it| it.code.as_str().into());
    RecordedDecision {
        index,
        decision_id: index.to_string(),
        at: now,
        is_allow: verdict.is_allow(),
        is_enforced: false,
        shown: 0,
        codes: codes.collect(),
        policies: Vec::new(),
        obligations: Vec::new(),
        cut: CutLists::default(),
        capsule: RecordedCapsule::Kept(capsule.encode().expect("it fits")),
    }
}

/// What is proposed for calls.
pub(super) fn proposal(files: &BundleFiles, calls: &[Asked]) -> Proposal {
    let records = observed(files, calls);
    propose(files, || Ok(records.clone().into_iter()), 1).expect("a proposal")
}

/// The files with a proposal, as `cp -r` puts it there.
pub(super) fn adopted(files: &BundleFiles, proposal: &Proposal) -> BundleFiles {
    let mut adopted = files.clone();
    let mut put = |kind, name: &str, text: &str| {
        adopted.sources.retain(|it| *it.file != *name);
        adopted.sources.push(source(kind, name, text));
        adopted.digests.insert(name.into(), [0; 32]);
    };
    for (name, text) in &proposal.registrations {
        put(FileKind::Registration, name, text);
    }
    if proposal.permits > 0 {
        put(
            FileKind::Policies,
            &proposal.policy_file,
            &proposal.policies,
        );
    }
    adopted
}

/// Decides calls with a directory.
pub(super) struct Decider {
    bundle: Bundle,
    candidate: Candidate,
}

impl Decider {
    pub(super) fn new(files: &BundleFiles) -> Self {
        let bundle = bundle::compile(files).expect("it compiles");
        let candidate = Candidate::from_bundle(&bundle);
        Self { bundle, candidate }
    }

    pub(super) fn verdict(&self, asked: impl Into<Asked>) -> Verdict {
        let RecordedCapsule::Kept(bytes) = record(&self.bundle, 0, &asked.into()).capsule else {
            panic!("it is kept");
        };
        let capsule = Capsule::decode(&bytes).expect("a capsule");
        let mut replayer = Replayer::new(&self.candidate);
        replayer.answer(&capsule).expect("a verdict").verdict
    }

    pub(super) fn allows(&self, asked: impl Into<Asked>) -> bool {
        self.verdict(asked).is_allow()
    }
}

/// What the directory with the proposal for calls decides.
pub(super) fn with_proposal(files: &BundleFiles, calls: &[Asked]) -> (Proposal, Decider) {
    let proposal = proposal(files, calls);
    let decider = Decider::new(&adopted(files, &proposal));
    (proposal, decider)
}

/// A chain from this root.
pub(super) fn for_whom(mut call: CallContext, root: Option<EntityUID>) -> CallContext {
    call.actor_chain = root.map(ActorChain::verified_from);
    call
}
