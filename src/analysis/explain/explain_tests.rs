use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use callgate_engine::Snapshot;
use serde_json::{Map, json};

use super::*;
use crate::analysis::explain::change::World;
use crate::analysis::explain::policies::PolicyState;
use crate::authn::caller::Caller;
use crate::bundle::{self, Bundle};
use crate::config::claims::ClaimMapping;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::CarriedLabels;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::decide::inputs::History;
use crate::domain::request::call_context::{ActorChain, Operation, Subject};
use crate::domain::schema::{self, AccessLevel};

static COMPANY: LazyLock<Bundle> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    bundle::load(&dir).expect("the shipped policies are in order")
});

fn uid(ty: &str, id: &str) -> EntityUID {
    format!("Mcp::{ty}::\"{id}\"").parse().expect("a uid")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn call_for(agent: &str, root: Option<&str>, tool: &str, arguments: Json) -> CallContext {
    let (server, tool) = tool.split_once('/').expect("server/tool");
    let arguments = arguments.as_object().cloned().unwrap_or_else(Map::new);
    let mut call = CallContext::new(
        Subject::verified(uid("Agent", agent), "jwt"),
        Operation::call_tool(server, tool, arguments),
    );
    call.actor_chain = root.map(|root| ActorChain::verified_from(uid("User", root)));
    call
}

/// A case: inputs that live as long as the test.
struct Case {
    snapshot: Snapshot,
    authority: Authority,
    named: Vec<EntityUID>,
    uses: Vec<u32>,
    carried: CarriedLabels,
    caller: Caller,
    claims: ClaimMapping,
}

impl Case {
    fn new() -> Self {
        let mut caller = Caller::local();
        caller.rights.require_delegation = true;
        let snapshot = COMPANY.snapshot.clone();
        let approve = schema::action_uid("approve_call");
        Self {
            named: snapshot.entities_named_where("approval", &approve),
            snapshot,
            authority: Authority::default(),
            uses: Vec::new(),
            carried: CarriedLabels::default(),
            caller,
            claims: ClaimMapping::default(),
        }
    }

    fn inputs(&self) -> DecisionInputs<'_> {
        DecisionInputs {
            authority: &self.authority,
            named_approvers: &self.named,
            history: History {
                approval_uses: &self.uses,
                carried: Some(&self.carried),
                ..History::default()
            },
            ..DecisionInputs::from(&self.snapshot)
        }
    }

    fn asker(&self) -> Requester<'_> {
        Requester {
            caller: &self.caller,
            claims: &self.claims,
        }
    }

    fn explain(&self, call: &CallContext) -> Explanation {
        let limits = ExplainLimits::default();
        explain(&self.inputs(), call, self.asker(), now(), limits)
    }

    /// Whether the call is allowed once these changes are made, one after the other.
    fn allows(&self, call: &CallContext, changes: &[&Change]) -> bool {
        let inputs = self.inputs();
        let mut world = World::new(&inputs, call);
        for change in changes {
            let verdict = world.decide(&inputs, self.asker(), now(), None);
            let next = world.with_challenge(&verdict);
            let Some(next) = next.with(change, &inputs, self.asker(), now()) else {
                return false;
            };
            world = next;
        }
        world.decide(&inputs, self.asker(), now(), None).is_allow()
    }

    /// All proposals allow the call, and none of them does with a part left out.
    fn check(&self, call: &CallContext, explanation: &Explanation) {
        for proposal in &explanation.proposals {
            let all: Vec<&Change> = proposal.iter().collect();
            assert!(
                self.allows(call, &all),
                "{proposal:?} does not allow {call:?}"
            );
            for left_out in 0..all.len() {
                let mut part = all.clone();
                part.remove(left_out);
                assert!(
                    !self.allows(call, &part),
                    "{part:?} of {proposal:?} allows {call:?}"
                );
            }
        }
    }
}

fn texts(explanation: &Explanation) -> Vec<String> {
    let sets = explanation.proposals.iter();
    sets.map(|set| {
        let each: Vec<String> = set.iter().map(ToString::to_string).collect();
        each.join("; ")
    })
    .collect()
}

#[test]
fn every_proposal_allows_and_no_part_of_it_does() {
    let case = Case::new();
    let repository = json!({"owner": "larkwood", "repo": "shop"});
    let with = |more: Json| {
        let mut arguments = repository.clone();
        let (Some(all), Some(more)) = (arguments.as_object_mut(), more.as_object()) else {
            unreachable!("both are objects");
        };
        all.extend(more.clone());
        arguments
    };
    let calls = [
        (
            "github/create_issue",
            with(json!({"title": "x", "body": "b"})),
        ),
        ("github/get_issue", with(json!({"issue_number": 1}))),
        ("github/merge_pull_request", with(json!({"pull_number": 7}))),
        ("github/create_repository", json!({"name": "shop"})),
        (
            "filesystem/write_file",
            json!({"path": "/srv/app/main.rs", "content": "x"}),
        ),
        ("filesystem/read_file", json!({"path": "/srv/app/main.rs"})),
        (
            "slack/slack_post_message",
            json!({"channel_id": "C04SUPPORT", "text": "hello"}),
        ),
        ("postgres/query", json!({"sql": "select 1"})),
        (
            "git/git_commit",
            json!({"repo_path": "/srv/app", "message": "m"}),
        ),
        ("git/git_status", json!({"repo_path": "/srv/app"})),
        (
            "fetch/fetch",
            json!({"url": "https://www.rfc-editor.org/rfc/rfc8693"}),
        ),
    ];
    let mut denied = Vec::new();
    let mut helped = 0;
    for (number, (tool, arguments)) in calls.iter().enumerate() {
        for (place, agent) in ["support", "release", "research", "support-pilot"]
            .into_iter()
            .enumerate()
        {
            let root = [Some("sam"), Some("ravi"), None][(number + place) % 3];
            let mut call = call_for(agent, root, tool, arguments.clone());
            call.subject.identity.verified = (number + place) % 2 == 0;
            let explanation = case.explain(&call);
            if explanation.verdict.is_allow() {
                continue;
            }
            helped += usize::from(!explanation.proposals.is_empty());
            let code = explanation.verdict.reasons.first().map(|it| it.code);
            denied.push((agent, root, *tool, code, texts(&explanation)));
            case.check(&call, &explanation);
        }
    }
    assert!(
        denied.len() > 20 && helped > 8,
        "{helped} of {} denies have a proposal: {denied:#?}",
        denied.len()
    );
}

#[test]
fn what_a_merge_needs_is_a_session_and_an_approval() {
    let case = Case::new();
    let arguments = json!({"owner": "larkwood", "repo": "shop", "pull_number": 7});
    let call = call_for(
        "release",
        Some("ravi"),
        "github/merge_pull_request",
        arguments,
    );
    let explanation = case.explain(&call);
    case.check(&call, &explanation);
    let first = explanation.proposals.first().expect("a proposal");
    let kinds: Vec<&str> = first.iter().map(Change::kind).collect();
    assert_eq!(kinds, ["session", "approval"], "{:?}", texts(&explanation));
    assert!(
        explanation
            .for_agent
            .contains("a person approved exactly this call")
    );
}

#[test]
fn a_policy_is_shown_with_its_condition_and_the_values_it_saw() {
    let case = Case::new();
    let arguments = json!({"owner": "larkwood", "repo": "shop", "pull_number": 7});
    let mut call = call_for(
        "release",
        Some("ravi"),
        "github/merge_pull_request",
        arguments,
    );
    call.subject.identity.verified = false;
    let explanation = case.explain(&call);
    let request = &explanation.requests[0];
    let verified = request
        .policies
        .iter()
        .find(|it| it.info.id == "identity.verified_to_change")
        .expect("it applies");
    assert_eq!(verified.state, PolicyState::Satisfied);
    let condition = verified.condition.as_ref().expect("its condition");
    assert_eq!(
        (condition.clause, condition.text.as_str()),
        ("unless", "context.identity.verified")
    );
    assert_eq!(
        condition.values,
        [(
            "context.identity.verified".to_owned(),
            Ok("false".to_owned())
        )]
    );
    let source = condition.source.as_ref().expect("its source");
    let marked: String = source
        .text
        .chars()
        .skip(source.column as usize - 1)
        .take(source.length as usize)
        .collect();
    assert_eq!(marked, "context.identity.verified");
    assert_eq!(source.text.trim(), "unless { context.identity.verified };");
    let facts = explanation.facts.as_ref().expect("facts");
    assert_eq!(facts["identity"]["verified"], json!(false));
}

#[test]
fn a_permit_that_misses_tells_what_it_misses() {
    let case = Case::new();
    let arguments = json!({"owner": "larkwood", "repo": "shop", "title": "x"});
    let call = call_for("support", Some("sam"), "github/create_issue", arguments);
    let explanation = case.explain(&call);
    let of_sam = explanation
        .requests
        .iter()
        .find(|it| it.principal == uid("User", "sam"));
    let missed = &of_sam.expect("Sam is asked").policies;
    let developers = missed.iter().find(|it| it.info.id == "writing.developers");
    let developers = developers.expect("a permit about writing");
    assert_eq!(
        (developers.state, &*developers.scope),
        (PolicyState::OutOfScope, &["principal"][..])
    );
}

fn scope(tool: &str, access: AccessLevel) -> Scope {
    Scope {
        tools: vec![uid("Tool", tool)],
        servers: Vec::new(),
        groups: Vec::new(),
        access,
        targets: Vec::new(),
    }
}

#[test]
fn a_delegation_and_a_task_are_widened_only_as_far_as_needed() {
    let mut case = Case::new();
    let (agent, sam) = (uid("Agent", "support"), uid("User", "sam"));
    case.authority.delegations.insert_mut(Arc::new(Delegation {
        id: "d-1".into(),
        from: sam.clone(),
        to: agent.clone(),
        scope: scope("github/list_issues", AccessLevel::Read),
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: now() - Duration::from_secs(60),
        expires_at: now() + Duration::from_secs(60),
        revoked_at: None,
        created_at: now() - Duration::from_secs(60),
        owners: Default::default(),
    }));
    case.authority.tasks.insert_mut(Arc::new(Task {
        id: "t-1".into(),
        agent: agent.clone(),
        agent_owner: None,
        person: sam,
        purpose: "triage".into(),
        scope: Some(scope("github/list_issues", AccessLevel::Read)),
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: now() - Duration::from_secs(60),
        deadline: now() + Duration::from_secs(60),
        closed_at: None,
    }));
    let arguments = json!({"owner": "larkwood", "repo": "shop", "issue_number": 1});
    let mut call = call_for("support", None, "github/get_issue", arguments);
    call.workflow.task_id = Some("t-1".into());
    call.actor_chain = Some(ActorChain {
        root: None,
        delegation_ids: vec!["d-1".into()],
        ..ActorChain::verified_from(uid("User", "sam"))
    });
    let explanation = case.explain(&call);
    case.check(&call, &explanation);
    let mut kinds: Vec<&str> = explanation.proposals[0].iter().map(Change::kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["delegation_scope", "task_scope"]);
    let links: Vec<_> = explanation
        .chain
        .iter()
        .map(|it| (it.role, it.status.as_str()))
        .collect();
    assert_eq!(links, [("root", ""), ("subject", "active")]);
}

#[test]
fn what_is_stopped_can_be_resumed() {
    let mut case = Case::new();
    let entity = uid("Agent", "support");
    case.authority.stops.insert_mut(
        entity.clone(),
        Arc::new(Stop {
            uid: entity,
            reason: "leaking".into(),
            at: now(),
            by: uid("User", "ines"),
        }),
    );
    let arguments = json!({"owner": "larkwood", "repo": "shop", "issue_number": 1});
    let call = call_for("support", Some("sam"), "github/get_issue", arguments);
    let explanation = case.explain(&call);
    case.check(&call, &explanation);
    assert_eq!(
        texts(&explanation),
        ["Mcp::Agent::\"support\" is in service again"]
    );
    assert!(explanation.requests.is_empty() && explanation.facts.is_none());
}

#[test]
fn an_allow_needs_no_change() {
    let case = Case::new();
    let arguments = json!({"owner": "larkwood", "repo": "shop", "issue_number": 1});
    let call = call_for("support", Some("sam"), "github/get_issue", arguments);
    let explanation = case.explain(&call);
    assert!(explanation.verdict.is_allow());
    assert!(explanation.proposals.is_empty() && explanation.is_exhaustive);
    assert_eq!(explanation.for_agent, "The call is allowed.");
}

#[test]
fn a_search_ends_when_its_time_is_up_and_says_so() {
    let case = Case::new();
    let arguments = json!({"owner": "larkwood", "repo": "shop", "pull_number": 7});
    let call = call_for(
        "release",
        Some("ravi"),
        "github/merge_pull_request",
        arguments,
    );
    let explained = |until: Option<std::time::Instant>| {
        let limits = ExplainLimits {
            until,
            ..ExplainLimits::default()
        };
        explain(&case.inputs(), &call, case.asker(), now(), limits)
    };
    let whole = explained(None);
    assert!(!whole.proposals.is_empty() && !whole.is_out_of_time);
    let cut = explained(Some(std::time::Instant::now()));
    assert!(cut.is_out_of_time && !cut.is_exhaustive);
    assert!(cut.proposals.is_empty(), "{:?}", cut.proposals);
    // What is no search is there all the same.
    assert_eq!(cut.verdict.outcome, whole.verdict.outcome);
    assert_eq!(cut.requests.len(), whole.requests.len());
    let later = std::time::Instant::now() + Duration::from_secs(3_600);
    let timed = explained(Some(later));
    assert_eq!(texts(&timed), texts(&whole));
    assert!(!timed.is_out_of_time);
}

/// A typed tool is called by an action of its own, which is in that of its access level: what is proposed of its registration is
/// what a directory with that registration decides.
#[test]
fn another_registration_of_a_typed_tool_is_tried_with_its_action() {
    let load = |policies: &str, access: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        write("p.cedar", policies);
        write(
            "entities/a.json",
            r#"[{"uid": {"type": "Mcp::User", "id": "u1"}, "attrs": {}, "parents": []}]"#,
        );
        let tool = json!({
            "access": access, "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal",
            "typed": true, "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
        });
        let tools = json!({"server": {"name": "s1", "owner": "u1"}, "tools": {"t": tool}});
        write("tools/s1.json", &tools.to_string());
        bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
    };
    let call = CallContext::new(
        Subject::verified(uid("User", "u1"), "jwt"),
        Operation::call_tool("s1", "t", Map::new()),
    );
    let tool = uid("Tool", "s1/t");
    let levels = [AccessLevel::Read, AccessLevel::Write, AccessLevel::Admin];
    for policies in [
        r#"permit (principal, action in Mcp::Action::"call_tool", resource) when { resource.access == "read" };
           forbid (principal, action in Mcp::Action::"call_read", resource);"#,
        r#"permit (principal, action in Mcp::Action::"call_read", resource);"#,
        r#"permit (principal, action in Mcp::Action::"call_tool", resource);
           forbid (principal, action in [Mcp::Action::"call_write", Mcp::Action::"call_admin"], resource);"#,
    ] {
        for own in levels {
            let bundle = load(policies, own.as_str());
            let case = Case {
                snapshot: bundle.snapshot.clone(),
                caller: Caller::local(),
                ..Case::new()
            };
            let explanation = case.explain(&call);
            case.check(&call, &explanation);
            for access in levels {
                let change = Change::RegisterAccess {
                    tool: tool.clone(),
                    access,
                };
                let registered = Case {
                    snapshot: load(policies, access.as_str()).snapshot,
                    ..Case {
                        caller: Caller::local(),
                        ..Case::new()
                    }
                };
                let wanted = registered.allows(&call, &[]);
                assert_eq!(
                    case.allows(&call, &[&change]),
                    wanted,
                    "{policies} {own} {access}"
                );
                let is_tried = access != AccessLevel::Admin && !case.allows(&call, &[]);
                let is_proposed = explanation.proposals.contains(&vec![change]);
                assert_eq!(is_proposed, is_tried && wanted, "{policies} {own} {access}");
            }
        }
    }
}
