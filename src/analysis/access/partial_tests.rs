use std::path::Path;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{
    Context, Entities, EntityUIDEntry, Extensions, NoEntitiesSchema, PolicySet, Request,
    TCComputation, parse_policyset, tpe,
};

use super::*;
use crate::analysis::access::known::{Parties, of_tool_calls};
use crate::bundle;
use crate::domain::schema::{self, TYPES};

fn condition(text: &str) -> Expr {
    let set = parse_policyset(&format!(
        "permit (principal, action, resource) when {{ {text} }};"
    ));
    let set = set.expect("a policy");
    let policy = set.policies().next().expect("one");
    policy.non_scope_constraints().expect("a condition").clone()
}

fn fold(text: &str, has_root: bool) -> String {
    let user = schema::entity_uid(&TYPES.user, "sam");
    let parties = Parties {
        subject: schema::entity_uid(&TYPES.agent, "support"),
        root: has_root.then(|| user.clone()),
        actors: Vec::new(),
    };
    let server = schema::server_uid(&"github".into());
    let known = of_tool_calls(&parties, Some(&server), true);
    let nobody = || EntityUIDEntry::known(user.clone(), None);
    let request = Request::new_unchecked(nobody(), nobody(), nobody(), Some(Context::empty()));
    let entities = Entities::new();
    let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
    let partial = PartialEvaluator {
        evaluator: &evaluator,
        principal: &parties.subject,
        action: &schema::action_uid("call_read"),
        resource: &schema::tool_uid("github", "get_issue"),
        known: &known,
        slots: &SlotEnv::new(),
    };
    match partial.evaluate(&condition(text)) {
        Partial::Known(value) => value.to_string(),
        Partial::Open(expr) => expr.to_string(),
        Partial::Fails => "fails".to_owned(),
    }
}

#[test]
fn what_is_known_is_put_in_and_what_is_not_is_left() {
    for (text, wanted) in [
        ("context has delegation", "true"),
        ("context has delegation.root", "true"),
        ("context.delegation has root_agent", "false"),
        ("context.delegation.root == Mcp::User::\"sam\"", "true"),
        ("context.delegation.depth > 2", "false"),
        ("context.delegation.actors.isEmpty()", "true"),
        ("context.delegation has first", "false"),
        ("context.delegation.verified", "context.delegation.verified"),
        ("context.server == Mcp::Server::\"github\"", "true"),
        (
            "context has approval && principal is Mcp::Agent",
            "context has approval",
        ),
        ("context has approval && principal is Mcp::User", "false"),
        ("context has approval || principal is Mcp::Agent", "true"),
        (
            "context.initiator == \"client\"",
            "context.initiator == \"client\"",
        ),
        (
            "if context has delegation then context.purpose == \"x\" else false",
            "context.purpose == \"x\"",
        ),
        ("context.identity has through_agent", "true"),
        ("1 + 9223372036854775807 > 0", "fails"),
    ] {
        assert_eq!(fold(text, true), wanted, "{text}");
    }
    assert_eq!(
        fold(
            "context has delegation && context.delegation.verified",
            false
        ),
        "false"
    );
    assert_eq!(fold("!(context has delegation)", false), "true");
}

#[test]
fn a_part_that_may_fail_is_not_skipped() {
    // With an overflow on the left, false on the right does not make the whole false: it may be an error.
    let text = "context.usage.last_day + 1 > 5 && principal is Mcp::User";
    assert_ne!(fold(text, true), "false");
    assert_eq!(
        fold("context.usage.last_day > 5 && principal is Mcp::User", true),
        "false"
    );
}

#[test]
fn what_may_fail_is_told() {
    for (text, wanted) in [
        ("context.usage.last_day > 5", false),
        ("context.usage.last_day + 1 > 5", true),
        ("context.target.public", false),
        ("context.target.owner.active", true),
        ("context.input.a.b.c == 1", false),
        ("principal.active", true),
        (
            "context.environment.source_address.isInRange(ip(\"10.0.0.0/8\"))",
            false,
        ),
        (
            "context.environment.now.offset(duration(\"1d\")) > datetime(\"2026-01-01\")",
            true,
        ),
        (
            "context.environment.now.toDate() > datetime(\"2026-01-01\")",
            true,
        ),
        ("context.environment.now.toTime() > duration(\"8h\")", false),
    ] {
        assert_eq!(may_fail(&condition(text)), wanted, "{text}");
    }
}

/// Cedar's own partial evaluation, with nothing of the context known, is the other way to the same.
#[test]
fn it_decides_whatever_cedars_partial_evaluation_decides() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = bundle::load(&dir).expect("in order");
    let snapshot: &Snapshot = &bundle.snapshot;
    let schema = snapshot.schema().expect("a schema");
    let entities = Entities::new().add_entities(
        snapshot.cedar_entities().into_iter().map(Arc::new),
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        Extensions::all_available(),
    );
    let entities = entities.expect("each once");
    let partial_entities =
        tpe::entities::PartialEntities::from_concrete(entities.clone(), schema).expect("they fit");
    let nothing = KnownRecord::default();
    let nobody = || EntityUIDEntry::known(schema::entity_uid(&TYPES.user, ""), None);
    let request = Request::new_unchecked(nobody(), nobody(), nobody(), Some(Context::empty()));
    let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
    let (mut decided, mut open, mut weaker) = (0, 0, 0);
    for principal in ["support", "release"].map(|id| schema::entity_uid(&TYPES.agent, id)) {
        for tool in bundle.tools.iter().step_by(5) {
            let resource = schema::tool_uid(&tool.server, &tool.name);
            let own = schema::tool_action_uid(&tool.server, &tool.name);
            let action = match snapshot.has_action(&own) {
                true => own,
                false => tool.access.call_action(),
            };
            let mut set = PolicySet::new();
            let applicable = snapshot.applicable(&principal, &action, &resource, &[]);
            for it in &applicable {
                set.add(it.policy.clone()).expect("each once");
            }
            let uid = |uid: &EntityUID| tpe::request::PartialEntityUID::from(uid.clone());
            let request = tpe::request::PartialRequest::new(
                uid(&principal),
                action.clone(),
                uid(&resource),
                None,
                schema,
            );
            let request = request.expect("a valid request");
            let response = tpe::is_authorized(&set, &request, &partial_entities, schema);
            let response = response.expect("validated policies");
            for it in &applicable {
                let partial = PartialEvaluator {
                    evaluator: &evaluator,
                    principal: &principal,
                    action: &action,
                    resource: &resource,
                    known: &nothing,
                    slots: it.policy.env(),
                };
                let ours = match it.policy.non_scope_constraints() {
                    Some(condition) => partial.evaluate(condition),
                    None => Partial::from(true),
                };
                let theirs = response.get_residual_policy(it.policy.id()).expect("one");
                let theirs = theirs.as_residual();
                match ours {
                    Partial::Known(value) if value == Value::new(true, None) => {
                        decided += 1;
                        assert!(theirs.is_true(), "{} of {resource}", it.info.id);
                    }
                    Partial::Known(_) => {
                        decided += 1;
                        assert!(!theirs.is_true(), "{} of {resource}", it.info.id);
                    }
                    Partial::Fails => assert!(theirs.is_error(), "{}", it.info.id),
                    Partial::Open(_) => {
                        open += 1;
                        // Cedar's knows types as well.
                        weaker += u32::from(!theirs.is_partial());
                    }
                }
            }
        }
    }
    assert!(decided > 20 && open > 100, "{decided} decided, {open} open");
    assert!(
        weaker * 10 < open,
        "{weaker} of {open} are decided by Cedar's alone"
    );
}
