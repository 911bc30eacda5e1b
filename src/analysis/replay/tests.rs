use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde_json::json;
use smallvec::smallvec;

use super::*;
use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::fixtures::Random;
use crate::analysis::replay::explained::NotExplained;
use crate::audit::capsule_content::MissingFacts;
use crate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use crate::audit::capsule_content::entities::{AddedByBundle, ReachableEntities, StoredLookup};
use crate::authn::caller::Caller;
use crate::config::claims::{ClaimKind, ClaimMapping, GroupClaim};
use crate::domain::authority::approval::{Approval, ApprovalDecision};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::scope::Scope;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::authority::terms::TaskTerms;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DEFAULT_VALIDITY, DecisionInputs, History, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::entity_json::parse_entity;
use crate::domain::fixtures::{agent, person, tool_call, world};
use crate::domain::registration::RegisteredTools;
use crate::domain::request::call_context::{
    ActorChain, CallContext, Initiator, Operation, Subject,
};
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::operation::{Listing, OperationKind, ResourceOperation, Sampling};
use crate::domain::schema::{self, AccessLevel};

const POLICIES: [&str; 12] = [
    r#"@id("staff_read") permit (principal in Mcp::Group::"staff", action in Mcp::Action::"call_read", resource);"#,
    r#"@id("staff_write") permit (principal in Mcp::Group::"staff", action in Mcp::Action::"call_write", resource)
       when { context has approval || context has task };"#,
    r#"@id("admin_by_approval") permit (principal, action == Mcp::Action::"call_admin", resource) when { context has approval };"#,
    r#"@id("alice_approves") permit (principal == Mcp::User::"alice", action == Mcp::Action::"approve_call", resource);"#,
    r#"@id("claimed") permit (principal in Mcp::Group::"claim:ops", action, resource);"#,
    r#"@id("no_leaks") @reason("secrets stay here") forbid (principal, action in Mcp::Action::"call_write", resource)
       when { context has labels && context.labels.contains("secret") };"#,
    r#"@id("calm") forbid (principal is Mcp::Agent, action, resource)
       when { context has usage && context.usage.last_minute > 5 };"#,
    r#"@id("inactive") forbid (principal is Mcp::Agent, action, resource) when { !principal.owner.active };"#,
    r#"@id("servers_sample") permit (principal is Mcp::Server, action == Mcp::Action::"sample", resource)
       when { context.sampling.max_tokens < 500 };"#,
    r#"@id("lists") permit (principal, action in Mcp::Action::"discover", resource);"#,
    r#"@id("watching") @mode("shadow") forbid (principal, action, resource)
       when { context has session && context.session.calls > 3 };"#,
    r#"@id("budgets") forbid (principal, action in Mcp::Action::"call_write", resource)
       when { context has task && context.task has calls_left && context.task.calls_left < 2 };"#,
];

/// Entities put over the API: agents and a tool that no directory defines.
struct Stored(BTreeMap<EntityUID, Arc<str>>);

impl Stored {
    fn new() -> Self {
        let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
        let owner = json!({ "__entity": uid("User", "carol") });
        let entities = [
            json!({ "uid": uid("Agent", "late"), "parents": [uid("Group", "night")], "attrs": { "owner": owner, "active": true } }),
            json!({ "uid": uid("Group", "night"), "parents": [uid("Group", "staff")], "attrs": {} }),
            json!({ "uid": uid("Group", "claim:dev"), "parents": [uid("Group", "night")], "attrs": {} }),
            json!({ "uid": uid("User", "carol"), "parents": [], "attrs": { "active": true } }),
            json!({ "uid": uid("Tool", "github/added"), "parents": [uid("Server", "github")], "attrs": {
                "access": "write", "confirmed": true, "yields": ["untrusted"], "egress": false, "sensitivity": "internal", "owner": owner } }),
        ];
        let named = entities.into_iter().map(|entity| {
            let text = entity.to_string();
            let parsed = parse_entity(None, &text).expect("an entity");
            (parsed.uid().clone(), Arc::from(text))
        });
        Self(named.collect())
    }

    fn put_into(&self, snapshot: &Snapshot) -> Snapshot {
        let schema = snapshot.schema().map(Arc::as_ref);
        let in_force = self.0.iter().filter(|(uid, _)| !snapshot.contains(uid));
        let entities = in_force.map(|(_, json)| parse_entity(schema, json).expect("it fits"));
        snapshot.upsert(entities).expect("no fault")
    }
}

impl StoredLookup for Stored {
    fn stored(&self, uid: &EntityUID) -> Option<&Arc<str>> {
        self.0.get(uid)
    }

    fn resources(&self, _: usize) -> Option<Vec<EntityUID>> {
        Some(Vec::new())
    }
}

/// Everything that one random decision is made from.
struct Case {
    call: CallContext,
    caller: Caller,
    authority: Authority,
    session: Option<Session>,
    carried: CarriedLabels,
    usage: Option<Usage>,
    calls_left: Option<u64>,
    definition: Option<DefinitionDigests>,
    approval_uses: Vec<u32>,
    now: SystemTime,
}

impl Case {
    fn history(&self) -> History<'_> {
        History {
            session: self.session.as_ref(),
            carried: Some(&self.carried),
            usage: self.usage,
            calls_left: self.calls_left,
            tool_calls_left: None,
            spent_tools: &[],
            definition: self.definition.as_ref(),
            approval_uses: &self.approval_uses,
        }
    }

    fn decide(&self, bundle: &Bundle) -> Verdict {
        let inputs = DecisionInputs {
            snapshot: &bundle.live,
            tools: Some(&bundle.tools),
            authority: &self.authority,
            history: self.history(),
            named_approvers: &bundle.approvers,
            valid_for: DEFAULT_VALIDITY,
            observer: None,
        };
        let requester = Requester {
            caller: &self.caller,
            claims: &bundle.claims,
        };
        call::decide(inputs, &self.call, requester, self.now)
    }

    fn capsule(&self, bundle: &Bundle, stored: &Stored) -> Vec<u8> {
        let who = (&self.call, &self.caller);
        let entities = ReachableEntities::from_call(
            stored,
            &bundle.live,
            &self.authority,
            AddedByBundle {
                approvers: &bundle.approvers,
                claims: &bundle.claims,
            },
            who,
        );
        let capsule = CallCapsule {
            with: DecidedWith {
                policy_set_digest: "sha256:recorded",
                caller: &self.caller,
                now: self.now,
                authority: &self.authority,
                entities: &entities,
            },
            call: &self.call,
            history: self.history(),
            missing: MissingFacts::default(),
        };
        capsule.encode().expect("it fits")
    }
}

/// A bundle as the service has it: with the stored entities in it.
struct Bundle {
    candidate: Candidate,
    live: Snapshot,
    tools: RegisteredTools,
    approvers: Vec<EntityUID>,
    claims: ClaimMapping,
}

impl Bundle {
    fn new(policies: &str, stored: &Stored) -> Self {
        Self::from_directory(world(policies), stored)
    }

    fn from_directory(directory: Snapshot, stored: &Stored) -> Self {
        let claims = ClaimMapping {
            groups: vec![GroupClaim {
                claim: "groups".into(),
                prefix: "claim:".into(),
                kind: ClaimKind::Any,
            }],
            attributes: Vec::new(),
        };
        let live = stored.put_into(&directory);
        Self {
            candidate: Candidate::new(directory, claims.clone(), "sha256:candidate".into()),
            tools: RegisteredTools::from_snapshot(&live),
            approvers: live.entities_named_where("approval", &schema::action_uid("approve_call")),
            live,
            claims,
        }
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123)
}

fn scope() -> Scope {
    Scope {
        tools: Vec::new(),
        servers: vec![schema::server_uid(&"github".into())],
        groups: Vec::new(),
        access: AccessLevel::Write,
        targets: Vec::new(),
    }
}

fn delegation(id: &str, from: EntityUID, to: EntityUID, random: &mut Random) -> Delegation {
    let left = random.below(3) as u64;
    Delegation {
        id: id.into(),
        from,
        to,
        scope: scope(),
        task: random.one_in(4).then(|| "task-1".into()),
        parent: None,
        max_redelegations: 1,
        not_before: start() - Duration::from_secs(60),
        expires_at: start() + Duration::from_secs(3_600) * u32::try_from(left).expect("small"),
        revoked_at: random.one_in(8).then(start),
        created_at: start() - Duration::from_secs(60),
        owners: Default::default(),
    }
}

fn task(random: &mut Random) -> Task {
    Task {
        id: "task-1".into(),
        agent: agent("helper"),
        agent_owner: None,
        person: person("alice"),
        purpose: "tidy up".into(),
        scope: random.one_in(2).then(scope),
        terms: TaskTerms::default(),
        call_budget: Some(10),
        steps: Vec::new(),
        at_step: 0,
        opened_at: start() - Duration::from_secs(60),
        deadline: start() + Duration::from_secs(random.below(2) as u64 * 600),
        closed_at: random.one_in(6).then(start),
    }
}

fn labels(random: &mut Random) -> Option<Arc<Labels>> {
    let all = ["untrusted", "private", "secret", "own:label"];
    let chosen = all.into_iter().filter(|_| random.one_in(4));
    let chosen: Vec<SmolStr> = chosen.map(SmolStr::new_static).collect();
    (!chosen.is_empty()).then(|| Arc::new(Labels::new(chosen)))
}

fn random_call(random: &mut Random) -> CallContext {
    let tools = [
        "github/get_issue",
        "github/create_issue",
        "github/merge",
        "github/odd",
        "github/added",
        "github/nowhere",
        "files/read",
        "retired/read",
    ];
    let (server, tool) = random.pick(&tools).split_once('/').expect("two parts");
    let arguments = match random.below(4) {
        0 => json!({}),
        1 => json!({ "path": "/home/alice/notes.txt" }),
        2 => json!({ "title": "a title", "labels": ["x", "y"], "number": 12, "odd": 1.25e300 }),
        _ => json!({ "title": "see https://example.org/x", "milestone": { "name": "ü" } }),
    };
    let mut call = tool_call(server, tool, arguments);
    let agents = [
        "helper", "helper", "helper", "planner", "late", "stray", "unknown",
    ];
    call.subject = Subject::verified(agent(random.pick::<&str>(&agents)), "jwt");
    match random.below(12) {
        0 => {
            call.operation = Operation::new(
                Initiator::Client,
                "github",
                OperationKind::List(Listing::Tools),
            );
        }
        1 => {
            call.subject.entity = schema::server_uid(&"github".into());
            call.actor_chain = None;
            let sampling = Sampling {
                max_tokens: random.below(1_000) as i64,
                include_context: "none".into(),
                tools: vec!["a".into()],
                messages: 2,
                has_system_prompt: true,
            };
            call.operation =
                Operation::new(Initiator::Server, "github", OperationKind::Sample(sampling));
        }
        2 => {
            let uri = "file:///srv/data.csv".into();
            let kind = OperationKind::OnResource {
                operation: ResourceOperation::Read,
                uri,
            };
            call.operation = Operation::new(Initiator::Client, "files", kind);
        }
        _ => {}
    }
    if random.one_in(3) {
        let groups = json!({ "groups": ["ops", "dev"], "n": 1 });
        call.subject.claims = groups.as_object().cloned().expect("an object");
    }
    if random.one_in(10) {
        call.subject.identity.expires_at = Some(start() + Duration::from_nanos(1));
    }
    call
}

fn random_chain(random: &mut Random, call: &mut CallContext, authority: &mut Authority) {
    let users = ["alice", "alice", "alice", "mallory", "carol"];
    match random.below(5) {
        0 => call.actor_chain = None,
        1 => {
            call.actor_chain = Some(ActorChain::verified_from(person(
                random.pick::<&str>(&users),
            )));
            let chain = call.actor_chain.as_mut().expect("just set");
            chain.actors = vec![agent("planner")];
            chain.scopes = smallvec!["repo".into()];
        }
        2 | 3 => {
            let first = delegation("d1", person("alice"), agent("planner"), random);
            let mut second = delegation("d2", agent("planner"), agent("helper"), random);
            (second.parent, second.max_redelegations) = (Some("d1".into()), 0);
            authority.delegations.insert_mut(Arc::new(first));
            authority.delegations.insert_mut(Arc::new(second));
            call.actor_chain = Some(ActorChain::from_delegation_ids(vec!["d2".into()]));
        }
        _ => {
            call.actor_chain = Some(ActorChain::verified_from(person(
                random.pick::<&str>(&users),
            )))
        }
    }
}

fn random_case(random: &mut Random) -> Case {
    let mut authority = Authority::default();
    let mut call = random_call(random);
    if call.operation.initiator == Initiator::Client {
        random_chain(random, &mut call, &mut authority);
    }
    if random.one_in(2) {
        authority.tasks.insert_mut(Arc::new(task(random)));
        call.workflow.task_id = random.one_in(2).then(|| "task-1".into());
    }
    if random.one_in(8) {
        let uid = match random.below(3) {
            0 => agent("helper"),
            1 => schema::server_uid(&"files".into()),
            _ => schema::tool_uid("github", "get_issue"),
        };
        let stop = Stop {
            uid: uid.clone(),
            reason: "odd".into(),
            at: start(),
            by: person("alice"),
        };
        authority.stops.insert_mut(uid, Arc::new(stop));
    }
    let session = random.one_in(2).then(|| {
        let mut session = Session::new();
        for _ in 0..random.below(6) {
            let tool = schema::tool_uid(
                "github",
                random.pick::<&str>(&["get_issue", "merge", "odd"]),
            );
            let yields = labels(random);
            session = session.after(Some(&tool), yields.iter().flat_map(|it| it.items()));
        }
        session.is_ended = random.one_in(10);
        session
    });
    call.workflow.session_id = session.as_ref().map(|_| "s-1".into());
    call.workflow.is_session_vouched = random.one_in(2);
    let count = |random: &mut Random| WindowCounts {
        minute: random.below(8) as u64,
        hour: random.below(50) as u64,
        day: random.next(),
    };
    Case {
        call,
        caller: Caller::local(),
        authority,
        session,
        carried: CarriedLabels {
            task: labels(random),
            delegation: labels(random),
            recent: labels(random),
        },
        usage: Some(Usage {
            tool: count(random),
            actor: count(random),
            recent_denials: random.next(),
            is_first_use: random.one_in(2),
            distinct_tools: random.next(),
        }),
        calls_left: random.one_in(2).then(|| random.below(4) as u64),
        definition: random
            .one_in(6)
            .then(|| DefinitionDigests::new("sha256:a".into(), "sha256:b".into())),
        approval_uses: Vec::new(),
        now: start() + Duration::from_nanos(random.next() % 1_000_000_000),
    }
}

/// Approves the call, if an approval would help.
fn approve(case: &mut Case, verdict: &Verdict, random: &mut Random) -> bool {
    let Some(challenge) = &verdict.challenge else {
        return false;
    };
    let approval = Approval {
        id: "a1".into(),
        digest: challenge.digest.clone(),
        call: challenge.call.clone(),
        circumstances: challenge.circumstances.clone(),
        requested_at: start(),
        expires_at: challenge.expires_at,
        word: Some(ApprovalDecision {
            by: person("alice"),
            at: start() - Duration::from_secs(5),
            uses: 1,
            comment: None,
            claims: serde_json::Map::default(),
            identity: None,
        }),
    };
    case.authority.approvals.insert_mut(Arc::new(approval));
    case.call.approval_ids = vec!["a1".into()];
    case.approval_uses = vec![u32::from(random.one_in(5))];
    true
}

fn record(index: u64, verdict: &Verdict, capsule: Vec<u8>) -> RecordedDecision {
    let policies = verdict.determining_policies.iter();
    RecordedDecision {
        index,
        decision_id: format!("decision-{index}"),
        at: start(),
        is_allow: verdict.is_allow(),
        is_enforced: true,
        shown: 0,
        codes: (verdict.reasons.iter())
            .map(|it| SmolStr::new_static(it.code.as_str()))
            .collect(),
        policies: policies.map(|it| it.id.clone()).collect(),
        obligations: verdict
            .obligations()
            .map(|it| SmolStr::new(&it.id))
            .collect(),
        cut: CutLists::default(),
        capsule: RecordedCapsule::Kept(capsule),
    }
}

/// Those of so many decisions that allow.
fn allowed(count: usize, bundle: &Bundle, stored: &Stored) -> Vec<(Case, RecordedDecision)> {
    let mut made = decisions(count, bundle, stored);
    made.retain(|(_, record)| record.is_allow);
    made
}

/// Random decisions of a bundle, with what they were made from.
fn decisions(count: usize, bundle: &Bundle, stored: &Stored) -> Vec<(Case, RecordedDecision)> {
    let mut random = Random(7);
    let mut made = Vec::with_capacity(count);
    let mut approved = 0;
    while made.len() < count {
        let mut case = random_case(&mut random);
        let mut verdict = case.decide(bundle);
        if approve(&mut case, &verdict, &mut random) {
            approved += 1;
            verdict = case.decide(bundle);
        }
        let capsule = case.capsule(bundle, stored);
        let record = record(made.len() as u64, &verdict, capsule);
        made.push((case, record));
    }
    // The random calls reach what the test is about.
    let allowed = made.iter().filter(|(_, it)| it.is_allow).count();
    assert!(approved > count / 200, "{approved} approved");
    assert!(
        allowed > count / 20 && allowed < count * 9 / 10,
        "{allowed} allowed"
    );
    made
}

fn records(made: &[(Case, RecordedDecision)]) -> impl Iterator<Item = RecordedDecision> {
    made.iter().map(|(_, record)| record.clone())
}

#[test]
fn ten_thousand_decisions_flip_nothing_on_the_same_policies_and_exactly_what_brute_force_finds_on_others()
 {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let made = decisions(10_000, &bundle, &stored);

    let report = replay(&bundle.candidate, records(&made), 2, |_| {});
    assert_eq!(report.records, 10_000);
    assert_eq!(
        (report.same, report.flipped, report.other_reason),
        (10_000, 0, 0),
        "{report:#?}"
    );
    assert_eq!(report.not_replayed, report::NotReplayed::default());

    let made = &made[..2_000];
    let mut flipped = 0;
    for (without, policy) in POLICIES.iter().enumerate() {
        let mut left = POLICIES.to_vec();
        left.remove(without);
        let other = Bundle::new(&left.join("\n"), &stored);
        let report = replay(&other.candidate, records(made), 2, |_| {});
        let mut flips: BTreeMap<(&str, Vec<String>), u64> = BTreeMap::new();
        for (case, record) in made {
            let verdict = case.decide(&other);
            if verdict.is_allow() != record.is_allow {
                let mut policies: Vec<String> = (verdict.determining_policies.iter())
                    .map(|it| it.id.to_string())
                    .collect();
                policies.sort();
                let to = if record.is_allow { "deny" } else { "allow" };
                *flips.entry((to, policies)).or_default() += 1;
            }
        }
        let mut found: BTreeMap<(&str, Vec<String>), u64> = BTreeMap::new();
        for group in &report.flips {
            let policies = group.becomes.policies.iter().map(ToString::to_string);
            let key = (group.becomes.decision, policies.collect());
            *found.entry(key).or_default() += group.count;
        }
        assert_eq!(found, flips, "without {policy}");
        assert_eq!(report.same + report.flipped + report.other_reason, 2_000);
        flipped += report.flipped;
    }
    assert!(flipped > 100, "{flipped} flips in all");
}

#[test]
fn an_explanation_of_a_record_comes_to_the_verdict_of_its_replay() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let other = Bundle::new(&POLICIES[..5].join("\n"), &stored);
    let limits = ExplainLimits {
        decisions: 0,
        proposals: 0,
        policies: 16,
        until: None,
    };
    let mut others = 0;
    for (case, record) in decisions(200, &bundle, &stored) {
        for with in [&bundle, &other] {
            let found = explained::explain(&with.candidate, &record, limits);
            let found = found.expect("nothing is missing");
            let direct = case.decide(with);
            let verdict = &found.explanation.verdict;
            assert_eq!(format!("{verdict:?}"), format!("{direct:?}"));
            let code = |codes: &[SmolStr]| codes.first().cloned();
            let is_same = (record.is_allow, code(&record.codes))
                == (
                    direct.is_allow(),
                    code(&self::record(0, &direct, Vec::new()).codes),
                );
            assert_eq!(found.is_same_decision, is_same);
            others += usize::from(!is_same);
            let asked = found.explanation.requests.len();
            assert!(!direct.is_allow() || asked > 0, "an allow was asked for");
        }
    }
    assert!(others > 0, "the other policies decide something otherwise");
}

#[test]
fn what_a_capsule_lacks_is_not_explained() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let (_, record) = decisions(1_000, &bundle, &stored).swap_remove(0);
    let failure = |changed: RecordedDecision| {
        let found = explained::explain(&bundle.candidate, &changed, ExplainLimits::default());
        found.map(drop).expect_err("it is not explained")
    };
    let mut gone = record.clone();
    gone.capsule = RecordedCapsule::Gone;
    assert!(matches!(failure(gone), NotExplained::NoCapsule));
    let mut list = record.clone();
    list.capsule = RecordedCapsule::List;
    assert!(matches!(failure(list), NotExplained::List));
    let mut stale = record.clone();
    stale.codes = vec!["STALE".into()];
    assert!(matches!(failure(stale), NotExplained::NotEvaluated(code) if code == "STALE"));
    let mut damaged = record;
    damaged.capsule = RecordedCapsule::Kept(vec![9, 9]);
    assert!(matches!(failure(damaged), NotExplained::Obstacle(_)));
}

#[test]
fn a_capsule_comes_back_as_it_was_and_damage_is_an_error() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let mut random = Random(11);
    for (case, record) in decisions(200, &bundle, &stored) {
        let RecordedCapsule::Kept(bytes) = &record.capsule else {
            unreachable!("every one has a capsule");
        };
        let capsule = Capsule::decode(bytes).expect("it decodes");
        let mut replayer = Replayer::new(&bundle.candidate);
        let again = replayer
            .answer(&capsule)
            .expect("nothing is missing")
            .verdict;
        let direct = case.decide(&bundle);
        assert_eq!(format!("{again:?}"), format!("{direct:?}"));
        for _ in 0..50 {
            let mut damaged = bytes.clone();
            match random.below(3) {
                0 => damaged.truncate(random.below(bytes.len())),
                1 => damaged.push(0),
                _ => {
                    let at = random.below(bytes.len());
                    damaged[at] ^= 1 << random.below(8);
                    // A changed byte may be another valid capsule; reading it never panics.
                    let _ = Capsule::decode(&damaged);
                    continue;
                }
            }
            assert!(Capsule::decode(&damaged).is_err());
        }
    }
}

#[test]
fn what_a_capsule_lacks_is_counted_and_not_guessed() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let mut made = decisions(300, &bundle, &stored);
    made[0].1.capsule = RecordedCapsule::Gone;
    made[1].1.codes = vec!["STALE".into()];
    made[1].1.is_allow = false;
    made[2].1.capsule = RecordedCapsule::Kept(vec![9, 9]);
    let report = replay(&bundle.candidate, records(&made), 1, |_| {});
    assert_eq!(report.not_replayed.no_capsule, 1);
    assert_eq!(report.not_replayed.not_evaluated, 1);
    assert_eq!(report.not_replayed.failed, 1);
    assert_eq!((report.replayed, report.flipped), (297, 0));
}

#[test]
fn of_a_list_that_a_record_does_not_hold_in_full_what_it_holds_is_compared() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let mut made = allowed(100, &bundle, &stored);
    let all = made.len() as u64;
    let replayed = |made: &mut [(Case, RecordedDecision)], cut| {
        made.iter_mut().for_each(|(_, record)| record.cut = cut);
        let report = replay(&bundle.candidate, records(made), 1, |_| {});
        (report.same, report.other_reason, report.weakened)
    };
    let (whole, cut) = (
        CutLists::default(),
        CutLists {
            policies: true,
            obligations: true,
        },
    );
    // It held more than is recorded.
    let lost: u64 = (made.iter_mut())
        .map(|(_, record)| u64::from(record.policies.pop().is_some()))
        .sum();
    assert!(lost > 0);
    assert_eq!(replayed(&mut made, whole), (all - lost, lost, 0));
    assert_eq!(replayed(&mut made, cut), (all, 0, 0));
    // It is recorded to have held more than it does now.
    made.iter_mut()
        .for_each(|(_, record)| record.obligations.push("one_less".into()));
    assert_eq!(replayed(&mut made, whole), (0, 0, all));
    assert_eq!(replayed(&mut made, cut), (0, 0, all));
    // What flips shows what there is.
    let none = Bundle::new("", &stored);
    let report = replay(&none.candidate, records(&made), 1, |_| {});
    assert_eq!(report.flipped, all);
    assert_eq!(report.flips[0].was.obligations, ["one_less"]);
}

#[test]
fn what_was_only_observed_is_without_a_word_of_configuration() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let mut made = allowed(100, &bundle, &stored);
    let other = Bundle::new("", &stored);
    for is_enforced in [true, false] {
        made.iter_mut()
            .for_each(|(_, record)| record.is_enforced = is_enforced);
        let report = replay(&other.candidate, records(&made), 1, |_| {});
        assert_eq!(report.flipped, made.len() as u64);
        let group = report.flips.first().expect("a group");
        assert_eq!((group.was.decision, group.was.enforced), ("allow", true));
        assert_eq!(group.becomes.enforced, is_enforced);
    }
}

#[test]
fn facts_that_were_not_looked_up_are_told() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let (case, mut record) = decisions(1_000, &bundle, &stored).swap_remove(0);
    let entities = ReachableEntities::default();
    let with = DecidedWith {
        policy_set_digest: "sha256:recorded",
        caller: &case.caller,
        now: case.now,
        authority: &case.authority,
        entities: &entities,
    };
    let told = |missing: MissingFacts, record: &mut RecordedDecision| {
        let capsule = CallCapsule {
            with,
            call: &case.call,
            history: case.history(),
            missing,
        };
        record.capsule = RecordedCapsule::Kept(capsule.encode().expect("it fits"));
        let records = std::iter::once(record.clone());
        replay(&bundle.candidate, records, 1, |_| {})
            .not_replayed
            .incomplete
    };
    for missing in [
        MissingFacts {
            usage: true,
            ..MissingFacts::default()
        },
        MissingFacts {
            labels: true,
            ..MissingFacts::default()
        },
        MissingFacts {
            entities: true,
            ..MissingFacts::default()
        },
    ] {
        let incomplete = told(missing, &mut record);
        assert_eq!(
            incomplete.values().sum::<u64>(),
            1,
            "{missing:?}: {incomplete:?}"
        );
    }
}

#[test]
fn a_connection_whose_method_an_older_capsule_does_not_say_is_counted_and_not_guessed() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let (case, mut record) = decisions(1_000, &bundle, &stored).swap_remove(0);
    let method = "tasks/result";
    let mut call = case.call.clone();
    call.operation.kind = OperationKind::Connect { method };
    let capsule = CallCapsule {
        with: DecidedWith {
            policy_set_digest: "sha256:recorded",
            caller: &case.caller,
            now: case.now,
            authority: &case.authority,
            entities: &ReachableEntities::default(),
        },
        call: &call,
        history: case.history(),
        missing: MissingFacts::default(),
    };
    let newest = capsule.encode().expect("it fits");
    // Version 5 is the same without the method, a text after its length.
    let mut before = newest.clone();
    let place = newest
        .windows(method.len())
        .position(|it| it == method.as_bytes());
    let place = place.expect("its method");
    before.drain(place - 1..place + method.len());
    before[0] = 5;
    for (bytes, counted) in [(newest, 0), (before, 1)] {
        record.capsule = RecordedCapsule::Kept(bytes);
        let report = replay(
            &bundle.candidate,
            std::iter::once(record.clone()),
            1,
            |_| {},
        );
        let incomplete = report.not_replayed.incomplete;
        let found = incomplete.get(&Obstacle::NoMethod.to_string());
        assert_eq!(
            found.copied().unwrap_or_default(),
            counted,
            "{incomplete:?}"
        );
    }
}

#[test]
#[ignore = "measures"]
fn measured() {
    let stored = Stored::new();
    let bundle = Bundle::new(&POLICIES.join("\n"), &stored);
    let made = decisions(20_000, &bundle, &stored);
    let begun = Instant::now();
    let bytes: usize = made
        .iter()
        .map(|(case, _)| case.capsule(&bundle, &stored).len())
        .sum();
    eprintln!(
        "encode {:?} each, {} bytes each",
        begun.elapsed() / 20_000,
        bytes / 20_000
    );
    for workers in [1, 2] {
        let begun = Instant::now();
        let report = replay(&bundle.candidate, records(&made), workers, |_| {});
        let rate = 20_000.0 / begun.elapsed().as_secs_f64();
        eprintln!(
            "replay {rate:.0} decisions/s on {workers} threads, {} flips",
            report.flipped
        );
    }
}

#[path = "reached_tests.rs"]
mod reached;
