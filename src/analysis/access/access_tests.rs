use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{EntityUID, SlotEnv, Value};
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::analysis::access::analyser::call_of;
use crate::analysis::access::outcome::PrincipalConditions;
use crate::analysis::fixtures::Random;
use crate::bundle;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::approval::ApprovalDecision;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::operation::OperationKind;
use crate::domain::schema;

/// The company that comes with the program.
static COMPANY: LazyLock<Bundle> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    bundle::load(&dir).expect("the shipped policies are in order")
});

fn agent(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.agent, id)
}

fn user(id: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, id)
}

/// What a residual and the engine say of each principal of one decision.
struct Compare<'a> {
    conditions: &'a [PrincipalConditions],
    /// Principal, what the residuals say, what the engine says.
    said: Mutex<Vec<(EntityUID, bool, bool)>>,
}

impl fmt::Debug for Compare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compare")
    }
}

impl EvaluationObserver for Compare<'_> {
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>) {
        let (query, principal) = (evaluation.query, evaluation.principal);
        let request = evaluation
            .snapshot
            .materialize(query, principal)
            .expect("a request");
        let evaluator = request.evaluator();
        let name = principal.to_string();
        let own = self.conditions.iter().find(|it| it.principal == name);
        let holds = |it: &outcome::Residual| {
            let value = evaluator.interpret(&it.condition, &SlotEnv::new()).ok()?;
            Some(value == Value::new(true, None))
        };
        let residuals = own.is_none_or(|own| {
            let any: Vec<_> = own.any_of.iter().map(holds).collect();
            let none: Vec<_> = own.none_of.iter().map(holds).collect();
            let evaluated: Vec<_> = own.no_error_in.iter().map(holds).collect();
            (any.is_empty() || any.contains(&Some(true)))
                && none.iter().all(|it| *it == Some(false))
                && !evaluated.contains(&None)
        });
        let engine = evaluation.result.is_allow();
        let mut said = self.said.lock().expect("not poisoned");
        said.push((principal.clone(), residuals, engine));
    }
}

fn count(random: &mut Random) -> u64 {
    *random.pick(&[0, 1, 30, 70, 150, 2_000])
}

/// Arguments that a pinned schema accepts, as far as texts and numbers go.
fn arguments(random: &mut Random, tool: &EntityUID) -> Map<String, Json> {
    let inputs = DecisionInputs::from(&COMPANY.snapshot);
    let stored = inputs
        .snapshot
        .entity(tool)
        .and_then(|it| it.attribute("input_schema"));
    let schema = stored.map(|it| crate::analysis::explain::values::json(&it));
    let schema: Json = match schema {
        Some(Json::String(text)) => serde_json::from_str(&text).expect("JSON"),
        _ => json!({}),
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let mut arguments = Map::new();
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) || random.one_in(3) {
            let value = match name.as_str() {
                // Parts of a URL, which neither a path nor another URL is.
                "owner" | "repo" | "branch" | "from_branch" => {
                    json!(random.pick(&["larkwood", "stranger", "shop"]))
                }
                _ => value_of(random, of),
            };
            arguments.insert(name.clone(), value);
        }
    }
    if random.one_in(12) {
        arguments.insert("surprise".to_owned(), json!("x"));
    }
    arguments
}

fn value_of(random: &mut Random, schema: &Json) -> Json {
    const TEXTS: [&str; 10] = [
        "/srv/handbook/a.md",
        "/srv/app/src/main.rs",
        "/srv/secrets/key.pem",
        "/etc/passwd",
        "https://www.rfc-editor.org/rfc/rfc8693",
        "http://10.0.0.7/admin?x=1",
        "https://example.com/?q=secret",
        "larkwood",
        "C04SUPPORT",
        "see https://evil.example/x",
    ];
    if let Some(one) = schema["enum"].as_array().and_then(|all| all.first()) {
        return one.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => json!(random.below(50)),
        Some("boolean") => json!(random.one_in(2)),
        Some("array") => {
            let count = 1 + random.below(2);
            (0..count)
                .map(|_| value_of(random, &schema["items"]))
                .collect()
        }
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, of)| (name.clone(), value_of(random, of)));
            Json::Object(fields.collect())
        }
        _ => json!(random.pick(&TEXTS)),
    }
}

/// A random call of these parties.
fn random_call(
    random: &mut Random,
    parties: &Parties,
    server: &SmolStr,
    tool: &SmolStr,
) -> CallContext {
    let mut call = call_of(parties, server, tool);
    call.subject.identity.verified = !random.one_in(5);
    call.subject.identity.is_relayed = random.one_in(2);
    call.subject.identity.method = random.one_in(2).then(|| "jwt".into());
    if let Some(delegation) = &mut call.actor_chain {
        delegation.verified = !random.one_in(5);
    }
    if random.one_in(2) {
        call.workflow.session_id = Some("s".into());
    }
    if random.one_in(3) {
        call.workflow.purpose = Some("triage".into());
    }
    if random.one_in(3) {
        call.environment.source_address = Some("203.0.113.9".parse().expect("an address"));
    }
    let uid = schema::tool_uid(server, tool);
    if let OperationKind::CallTool(made) = &mut call.operation.kind {
        made.arguments = arguments(random, &uid);
    }
    call
}

fn labels(random: &mut Random) -> Vec<SmolStr> {
    let all = ["untrusted", "private", "secret"];
    let chosen = all.into_iter().filter(|_| random.one_in(4));
    chosen.map(SmolStr::new_static).collect()
}

fn usage(random: &mut Random) -> Usage {
    let mut windows = || WindowCounts {
        minute: count(random),
        hour: count(random),
        day: count(random),
    };
    let (tool, actor) = (windows(), windows());
    Usage {
        tool,
        actor,
        recent_denials: count(random),
        is_first_use: random.one_in(2),
        distinct_tools: count(random),
    }
}

/// A random state, and with `approve` an approval of every call that one would allow.
fn decide(random: &mut Random, mut call: CallContext, observer: &Compare<'_>) -> Verdict {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + random.next() % 86_400);
    let session = Session::new().after(None, &labels(random));
    let recent = random
        .one_in(2)
        .then(|| Arc::new(Labels::new(labels(random))));
    let carried = CarriedLabels {
        recent,
        ..CarriedLabels::default()
    };
    let mut rights = Caller::local();
    rights.rights.people_in_person = random.one_in(3);
    let claims = ClaimMapping::default();
    let asker = Requester {
        caller: &rights,
        claims: &claims,
    };
    let named =
        (COMPANY.snapshot).entities_named_where("approval", &schema::action_uid("approve_call"));
    let mut authority = Authority::default();
    let history = History {
        session: call.workflow.session_id.as_ref().map(|_| &session),
        carried: Some(&carried),
        usage: (!random.one_in(6)).then(|| usage(random)),
        ..History::default()
    };
    let inputs = DecisionInputs {
        history,
        named_approvers: &named,
        ..DecisionInputs::from(&COMPANY.snapshot)
    };
    if random.one_in(2) {
        // First without an approval, to learn what one would have to cover.
        let first = call::decide(inputs, &call, asker, now);
        if let Some(challenge) = &first.challenge {
            let by = [user("ravi"), user("ines"), user("tara"), user("owen")];
            let mut approval = crate::analysis::explain::change::assumed_approval(challenge, now);
            approval.word = Some(ApprovalDecision {
                by: random.pick(&by).clone(),
                at: now - Duration::from_secs(random.below(8_000) as u64),
                uses: 1,
                comment: None,
                claims: Map::new(),
                identity: None,
            });
            call.approval_ids.push(approval.id.clone());
            authority.approvals.insert_mut(Arc::new(approval));
        }
    }
    let inputs = DecisionInputs {
        authority: &authority,
        history: History {
            approval_uses: &[0],
            ..history
        },
        observer: Some(observer),
        ..inputs
    };
    call::decide(inputs, &call, asker, now)
}

fn random_parties(random: &mut Random) -> Parties {
    let agents = ["support", "release", "research", "support-pilot"].map(agent);
    let users = [
        "ines", "owen", "ravi", "tara", "sam", "noor", "mika", "jonas", "stranger",
    ]
    .map(user);
    let (subject, root) = match random.below(4) {
        0 => (random.pick(&users).clone(), None),
        1 => (random.pick(&agents).clone(), None),
        _ => (
            random.pick(&agents).clone(),
            Some(random.pick(&users).clone()),
        ),
    };
    let actors = match (&root, random.one_in(4)) {
        (Some(_), true) => vec![
            agents
                .iter()
                .find(|it| **it != subject)
                .expect("another")
                .clone(),
        ],
        _ => Vec::new(),
    };
    Parties {
        subject,
        root,
        actors,
    }
}

#[test]
fn never_is_denied_always_is_allowed_and_residuals_agree_with_the_engine() {
    let mut random = Random(0x5eed);
    let strangers = [user("stranger")];
    let known = KnownEntities::new(&COMPANY.snapshot, &strangers, &[]);
    let analyser = Analyser::new(&COMPANY.snapshot, Caller::local().rights, &known);
    let mut seen: BTreeMap<(Access, bool), u32> = BTreeMap::new();
    let mut compared = 0;
    for _ in 0..3_000 {
        let parties = random_parties(&mut random);
        let summary = random.pick(&COMPANY.tools);
        let (server, tool) = (SmolStr::new(&summary.server), SmolStr::new(&summary.name));
        let outcome = analyser.outcome(&parties, &server, &tool);
        let conditions = match &outcome {
            Outcome::Conditional { principals, .. } => principals.as_slice(),
            _ => &[],
        };
        let observer = Compare {
            conditions,
            said: Mutex::default(),
        };
        let call = random_call(&mut random, &parties, &server, &tool);
        let verdict = decide(&mut random, call, &observer);
        let said = observer.said.into_inner().expect("not poisoned");
        let place = || format!("{parties:?} {server}/{tool}: {verdict:?}");
        *seen
            .entry((outcome.access(), verdict.is_allow()))
            .or_default() += 1;
        match outcome.access() {
            Access::Never => assert!(!verdict.is_allow(), "{}", place()),
            // What is denied without asking policies is evidence, or not well-formed.
            Access::Always => assert!(verdict.is_allow() || said.is_empty(), "{}", place()),
            Access::Conditional => {
                for (principal, residuals, engine) in said {
                    assert_eq!(residuals, engine, "{principal} in {}", place());
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1_000, "only {compared} residuals were compared");
    for wanted in [
        (Access::Never, false),
        (Access::Conditional, true),
        (Access::Conditional, false),
    ] {
        assert!(
            seen.get(&wanted).is_some_and(|it| *it > 50),
            "{wanted:?} of {seen:?}"
        );
    }
}

#[test]
fn what_needs_an_approval_is_never_allowed_without_one() {
    let report = company(&AccessQuery {
        who: vec![agent("release")],
        on_behalf_of: OnBehalfOf::These(vec![user("ravi")]),
        tools: vec![("github".into(), "merge_pull_request".into())],
        ..AccessQuery::default()
    });
    let cell = &report.rows[0].cells[0];
    assert_eq!(
        (cell.access, cell.needs_approval),
        (Access::Conditional, true)
    );
}

fn company(query: &AccessQuery) -> AccessReport {
    access(&COMPANY, query).expect("a report")
}

#[test]
fn everyone_is_asked() {
    // The support agent may post messages, and so may Sam of support; Lena, who builds the product, may not.
    let cell = |root: &str| {
        let report = company(&AccessQuery {
            who: vec![agent("support")],
            on_behalf_of: OnBehalfOf::These(vec![user(root)]),
            tools: vec![("slack".into(), "slack_post_message".into())],
            ..AccessQuery::default()
        });
        report.rows[0].cells[0].clone()
    };
    assert_eq!(cell("sam").access, Access::Conditional);
    let denied = cell("lena");
    assert_eq!(denied.access, Access::Never);
    let Outcome::Never { because } = &*denied.cases[0].outcome else {
        panic!("never has reasons");
    };
    assert_eq!(because[0].code, "DELEGATOR_DENIED");
    assert_eq!(because[0].principal.as_deref(), Some("Mcp::User::\"lena\""));
}

/// Whoever fulfils what is shown is allowed: of several permits, each that may fail is shown to have to be evaluated as well.
#[test]
fn an_error_in_one_of_several_permits_is_a_condition_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    let policies = r#"
        @id("free") permit (principal, action in Mcp::Action::"call_tool", resource) unless { context has purpose };
        @id("busy") permit (principal, action in Mcp::Action::"call_tool", resource)
        when { context.environment.now.offset(duration("106751991167d")) > datetime("2026-06-01") };
    "#;
    write("p.cedar", policies);
    write(
        "entities/a.json",
        r#"[{"uid": {"type": "Mcp::User", "id": "u1"}, "attrs": {}, "parents": []}]"#,
    );
    write(
        "tools/s1.json",
        r#"{"server": {"name": "s1", "owner": "u1"}, "tools": {"t": {"access": "read", "status": "confirmed", "yields": [],
            "egress": false, "sensitivity": "internal"}}}"#,
    );
    let report = |policies: &str| {
        write("p.cedar", policies);
        let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
        let query = AccessQuery {
            who: vec![user("u1")],
            ..AccessQuery::default()
        };
        access(&bundle, &query).expect("a report")
    };
    let found = report(policies);
    let Outcome::Conditional { principals, .. } = &*found.rows[0].cells[0].cases[0].outcome else {
        panic!("{found:?}");
    };
    let ids = |of: &[outcome::Residual]| {
        of.iter()
            .map(|it| it.policy.to_string())
            .collect::<Vec<_>>()
    };
    let [own] = principals.as_slice() else {
        panic!("{principals:?}");
    };
    assert_eq!(
        (ids(&own.any_of).len(), ids(&own.no_error_in)),
        (2, vec!["busy".to_owned()])
    );
    let line = csv::why(&found.rows[0].cells[0].cases[0].outcome);
    assert!(
        line.contains(", or ") && line.ends_with("), and `busy` can be evaluated"),
        "{line}"
    );
    // The only one has to hold, and so to have a value.
    let found = report(
        policies
            .split("@id(\"free\")")
            .last()
            .and_then(|it| it.split_once(';'))
            .expect("two")
            .1,
    );
    let Outcome::Conditional { principals, .. } = &*found.rows[0].cells[0].cases[0].outcome else {
        panic!("{found:?}");
    };
    assert_eq!(ids(&principals[0].no_error_in), [""; 0]);
}

#[test]
fn evidence_comes_first() {
    let alone = company(&AccessQuery {
        who: vec![agent("support")],
        on_behalf_of: OnBehalfOf::Nobody,
        tools: vec![("github".into(), "get_issue".into())],
        ..AccessQuery::default()
    });
    let Outcome::Never { because } = &*alone.rows[0].cells[0].cases[0].outcome else {
        panic!("the configuration demands a person");
    };
    assert_eq!(because[0].code, "CONTEXT_MISSING");
}

#[test]
fn a_report_says_for_whom() {
    let report = company(&AccessQuery {
        who: vec![agent("support")],
        tools: vec![("slack".into(), "slack_post_message".into())],
        ..AccessQuery::default()
    });
    let cell = &report.rows[0].cells[0];
    assert_eq!(cell.access, Access::Conditional);
    let open: Vec<&str> = cell
        .cases
        .iter()
        .filter(|case| case.outcome.access() != Access::Never)
        .flat_map(|case| case.on_behalf_of.iter().map(String::as_str))
        .collect();
    assert_eq!(open, ["Mcp::User::\"sam\"", "Mcp::User::\"tara\""]);
}

#[test]
fn groups_are_their_members_and_what_is_unknown_is_an_error() {
    let developers = schema::entity_uid(&TYPES.group, "developers");
    let report = company(&AccessQuery {
        who: vec![developers],
        servers: vec!["git".into()],
        ..AccessQuery::default()
    });
    let who: Vec<&str> = report.rows.iter().map(|row| row.who.as_str()).collect();
    assert_eq!(
        who,
        [
            "Mcp::Agent::\"release\"",
            "Mcp::User::\"jonas\"",
            "Mcp::User::\"lena\"",
            "Mcp::User::\"owen\"",
            "Mcp::User::\"ravi\""
        ]
    );
    let ask = |who: EntityUID, tools| {
        access(
            &COMPANY,
            &AccessQuery {
                who: vec![who],
                tools,
                ..AccessQuery::default()
            },
        )
        .map(|_| ())
    };
    assert_eq!(
        ask(agent("nobody"), Vec::new()),
        Err(AccessError::Unknown(agent("nobody")))
    );
    let gateway = schema::entity_uid(&TYPES.gateway, "g");
    assert_eq!(
        ask(gateway.clone(), Vec::new()),
        Err(AccessError::NoParty(gateway))
    );
    let missing = vec![("git".into(), "no_such_tool".into())];
    let unknown = || Err(AccessError::UnknownTool("git/no_such_tool".to_owned()));
    assert_eq!(ask(user("sam"), missing.clone()), unknown());
    // One that is known beside it makes it no less unknown.
    let beside = [vec![("git".into(), "git_log".into())], missing].concat();
    assert_eq!(ask(user("sam"), beside), unknown());
}

#[test]
fn each_name_is_known_or_questioned() {
    let ask = |query: AccessQuery| access(&COMPANY, &query).map(|_| ());
    let servers = |names: &[&str]| AccessQuery {
        who: vec![user("sam")],
        servers: names.iter().map(SmolStr::new).collect(),
        ..AccessQuery::default()
    };
    assert_eq!(ask(servers(&["git"])), Ok(()));
    let unknown = Err(AccessError::UnknownServer("gti".into()));
    assert_eq!(ask(servers(&["git", "gti"])), unknown);
    let through = |actor: &str| AccessQuery {
        who: vec![agent("support")],
        on_behalf_of: OnBehalfOf::These(vec![user("sam")]),
        actors: vec![agent(actor)],
        servers: vec!["git".into()],
        ..AccessQuery::default()
    };
    assert_eq!(ask(through("release")), Ok(()));
    assert_eq!(
        ask(through("relaese")),
        Err(AccessError::Unknown(agent("relaese")))
    );

    let group = |name: &str| schema::entity_uid(&TYPES.group, name);
    let query = AccessQuery {
        who: vec![user("sam"), user("sma")],
        on_behalf_of: OnBehalfOf::These(vec![user("sma"), user("sam")]),
        groups: vec![group("employees"), group("employes")],
        ..AccessQuery::default()
    };
    assert_eq!(
        not_stored(&COMPANY, &query),
        [group("employes"), user("sma")]
    );
}

/// A tool that only one of two directories has is no mistake; one that neither has is.
#[test]
fn of_two_directories_one_has_to_know_a_name() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut fewer = bundle::load(&dir).expect("the shipped policies are in order");
    fewer.tools.retain(|it| it.name != "git_status");
    let query = |tool: &str| AccessQuery {
        who: vec![user("sam")],
        tools: vec![
            ("git".into(), "git_log".into()),
            ("git".into(), tool.into()),
        ],
        ..AccessQuery::default()
    };
    assert!(access_of_both(&COMPANY, &fewer, &query("git_status")).is_ok());
    let unknown = access_of_both(&COMPANY, &fewer, &query("git_stauts")).map(|_| ());
    let said = AccessError::UnknownTool("git/git_stauts".to_owned());
    assert_eq!(unknown, Err(said));
}

#[test]
fn an_assumed_group_counts() {
    let query = |groups: Vec<EntityUID>| AccessQuery {
        who: vec![user("stranger")],
        tools: vec![("github".into(), "get_issue".into())],
        groups,
        ..AccessQuery::default()
    };
    let access_of = |query| company(&query).rows[0].cells[0].access;
    assert_eq!(access_of(query(Vec::new())), Access::Never);
    let employees = schema::entity_uid(&TYPES.group, "employees");
    assert_eq!(access_of(query(vec![employees])), Access::Conditional);
}

#[test]
fn documents_have_a_line_for_each_case_and_a_cell_for_each_pair() {
    let report = company(&AccessQuery::default());
    let cells: usize = report.rows.iter().map(|row| row.cells.len()).sum();
    let svg = svg::draw(&report);
    assert_eq!(svg.matches("<title>").count(), cells);
    let cases: usize = report
        .rows
        .iter()
        .flat_map(|row| &row.cells)
        .map(|cell| cell.cases.len())
        .sum();
    let csv = csv::write(&report);
    assert_eq!(csv.matches("\r\n").count(), cases + 1);
    assert!(diff::compare(&report, &report).is_empty());
}
