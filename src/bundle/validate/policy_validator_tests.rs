use std::sync::Arc;

use callgate_engine::cedar::{Extensions, Fragment, ValidatorSchemaFragment, validation_errors};
use miette::Diagnostic;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::bundle::UnreadRegistrations;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{FileKind, SourceFile};
use crate::bundle::parse::policies::{self, Policies};
use crate::bundle::parse::template_links::{self, LinkPlaces};
use crate::bundle::validate::tool_types::ToolTypes;
use crate::bundle::validate::{ValidatorInputs, validate};
use crate::domain::schema::SCHEMA;

const LAB: &str = r#"
    namespace Lab {
        entity Rat in [Cage, Mcp::Group] = { weight: Long, keeper?: Mcp::User, cage: Cage, friend?: Rat } tags Rat;
        entity Cage in [Cage] = { weight: Long, owner: Rat };
        entity Mood enum ["calm", "wild"];
        action handle;
        action idle;
        action feed, weigh in [handle] appliesTo {
            principal: [Mcp::User, Rat], resource: [Rat, Cage], context: { grams: Long, by?: Mcp::User },
        };
        action free in [handle, Mcp::Action::"govern"] appliesTo {
            principal: [Mcp::Agent], resource: [Cage], context: { mood: Mood },
        };
    }
"#;

const PRINCIPALS: [&str; 16] = [
    "principal",
    "principal == Mcp::User::\"u\"",
    "principal == Mcp::Group::\"g\"",
    "principal == Lab::Rat::\"r\"",
    "principal in Mcp::Group::\"g\"",
    "principal in Lab::Cage::\"c\"",
    "principal in Mcp::Usr::\"u\"",
    "principal in Lab::Mood::\"sad\"",
    "principal in Mcp::Action::\"call_read\"",
    "principal in Mcp::Action::\"nothing\"",
    "principal is Mcp::Agent",
    "principal is Mcp::Server",
    "principal is Lab::Mouse",
    "principal is Lab::Rat in Mcp::Group::\"g\"",
    "principal is Mcp::User in Mcp::Grp::\"g\"",
    "principal is Mcp::User in Lab::Cage::\"c\"",
];

const SLOTTED_PRINCIPALS: [&str; 3] = [
    "principal == ?principal",
    "principal in ?principal",
    "principal is Lab::Rat in ?principal",
];

const ACTIONS: [&str; 19] = [
    "action",
    "action == Mcp::Action::\"call_read\"",
    "action == Mcp::Action::\"call_tool\"",
    "action == Mcp::Action::\"sample\"",
    "action == Mcp::Action::\"close_task\"",
    "action == Mcp::Action::\"call_raed\"",
    "action == Lab::Action::\"feed\"",
    "action == Lab::Action::\"idle\"",
    "action == Lab::Action::\"call_read\"",
    "action in Mcp::Action::\"call_tool\"",
    "action in Mcp::Action::\"govern\"",
    "action in Lab::Action::\"handle\"",
    "action in Lab::Action::\"idle\"",
    "action in []",
    "action in [Mcp::Action::\"call_read\", Mcp::Action::\"discover\"]",
    "action in [Mcp::Action::\"sample\", Mcp::Action::\"elicit_form\"]",
    "action in [Lab::Action::\"free\", Lab::Action::\"weigh\"]",
    "action in [Mcp::Action::\"call_read\", Lab::Action::\"feed\"]",
    "action in [Mcp::Action::\"call_read\", Mcp::Action::\"nothing\"]",
];

const RESOURCES: [&str; 9] = [
    "resource",
    "resource == Mcp::Tool::\"s/t\"",
    "resource == Mcp::Server::\"s\"",
    "resource in Mcp::Server::\"s\"",
    "resource in Lab::Cage::\"c\"",
    "resource in Mcp::Nothing::\"n\"",
    "resource is Mcp::Tool",
    "resource is Lab::Cage in Lab::Cage::\"c\"",
    "resource is Lab::Cage in Lab::Rat::\"r\"",
];

const CONDITIONS: [&str; 25] = [
    "true",
    "false",
    "1",
    "context has delegation && context.delegation.depth > 2",
    "context.delegation.depth > 2",
    "context.identity.verified",
    "context.arguments.untyped.isEmpty()",
    "context.grams > 3",
    "context has by && context.by has name && context.by.name like \"a*\"",
    "principal.active",
    "principal has owner && principal.owner has name && principal.owner.name == \"n\"",
    "resource has owner && principal == resource.owner",
    "resource has owner && resource.owner has keeper && resource.owner.keeper has name",
    "principal is Lab::Rat && principal.cage.owner.cage.owner.weight > principal.weight",
    "resource is Lab::Cage && resource.owner.cage.owner.weight > 1",
    "principal in resource",
    "action in Mcp::Action::\"call_tool\"",
    "action == Lab::Action::\"feed\" || resource.egress",
    "action == Mcp::Action::\"nothing\"",
    "action in [Mcp::Action::\"call_read\", Lab::Action::\"feed\"]",
    "Mcp::User::\"u\".name == \"n\"",
    "[1, \"a\"].contains(1)",
    "principal has \"\u{430}dmin\" || context.initiator == \"\u{202e}client\"",
    "context.mood == Lab::Mood::\"sad\"",
    "resource.hasTag(\"t\") && principal.getTag(\"t\").weight == 1",
];

fn schema() -> ValidatorSchema {
    let fragments = [SCHEMA, LAB].map(|text| {
        let (fragment, _) = Fragment::from_cedarschema_str(text, Extensions::all_available())
            .expect("the schema parses");
        ValidatorSchemaFragment::from_schema_fragment(fragment).expect("the schema is sound")
    });
    ValidatorSchema::from_schema_fragments(fragments, Extensions::all_available())
        .expect("the schemas fit together")
}

fn policy() -> impl Strategy<Value = String> {
    let principals = prop_oneof![
        4 => select(&PRINCIPALS[..]),
        1 => select(&SLOTTED_PRINCIPALS[..]),
    ];
    let resources = prop_oneof![6 => select(&RESOURCES[..]), 1 => Just("resource in ?resource")];
    let conditions = vec((any::<bool>(), select(&CONDITIONS[..])), 0..=2);
    let scope = (principals, select(&ACTIONS[..]), resources);
    (any::<bool>(), scope, conditions).prop_map(
        |(is_permit, (principal, action, resource), conditions)| {
            let access = if is_permit { "permit" } else { "forbid" };
            let mut text = format!("{access} ({principal}, {action}, {resource})");
            for (is_when, condition) in conditions {
                let word = if is_when { "when" } else { "unless" };
                text.push_str(&format!(" {word} {{ {condition} }}"));
            }
            text + ";\n"
        },
    )
}

fn source(kind: FileKind, file: &str, text: String) -> SourceFile {
    SourceFile {
        kind,
        file: Arc::from(file),
        stem: Arc::from("p"),
        text: Arc::from(text),
        digest: None,
    }
}

/// Policies `p#1`, `p#2` …, and of every template two links.
struct World {
    policies: Policies,
    links: SourceFile,
}

impl World {
    fn new(texts: &[String]) -> Self {
        let mut faults = Vec::new();
        let sources = [source(FileKind::Policies, "p.cedar", texts.concat())];
        let mut policies = policies::collect(sources.iter(), &mut faults, &mut Vec::new());
        let mut list = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            for (number, ty) in ["Mcp::Group", "Lab::Mouse"].into_iter().enumerate() {
                let id = format!("link{index}-{number}");
                let mut link = json!({"template": format!("p#{}", index + 1), "id": id});
                for slot in ["principal", "resource"] {
                    if text.contains(&format!("?{slot}")) {
                        link[slot] = json!({"type": ty, "id": "x"});
                    }
                }
                if text.contains('?') {
                    list.push(link);
                }
            }
        }
        let links = source(FileKind::Links, "l.json", json!(list).to_string());
        template_links::collect([&links].into_iter(), &mut policies, &mut faults);
        assert_eq!(faults, []);
        Self { policies, links }
    }

    fn link_places(&self) -> LinkPlaces<'_> {
        let links = self.policies.set.policies();
        let links = links.filter(|policy| !policy.is_static());
        links
            .map(|link| (link.id().to_string(), (&self.links, 0)))
            .collect()
    }
}

/// Everything Cedar says of a finding but its suggestions, which differ from one hash table to the next.
fn said(finding: &impl Diagnostic) -> String {
    let labels = finding.labels().into_iter().flatten();
    let spans: Vec<_> = labels.map(|label| (label.offset(), label.len())).collect();
    format!("{finding} {spans:?}")
}

fn sorted(errors: &[impl Diagnostic]) -> Vec<String> {
    let mut all: Vec<String> = errors.iter().map(said).collect();
    all.sort();
    all
}

fn is_too_far(error: &ValidationError) -> bool {
    use validation_errors::EntityDerefViolationKind::MaximumLevelExceeded;
    matches!(error, ValidationError::EntityDerefLevelViolation(violation)
        if matches!(violation.violation_kind, MaximumLevelExceeded { .. }))
}

/// One validator, one schema, one set.
fn plainly(schema: &ValidatorSchema, set: &PolicySet, level: u32) -> ValidationFindings {
    let validator = Validator::new(schema.clone());
    let result = validator.validate_with_level(set, ValidationMode::Strict, level);
    let (errors, warnings) = result.into_errors_and_warnings();
    ValidationFindings {
        errors: errors.collect(),
        warnings: warnings.collect(),
    }
}

/// Compares what a judge says with what Cedar says.
fn compare(schema: &ValidatorSchema, set: &PolicySet, level: u32) {
    let plain = plainly(schema, set, level);
    let judged = PolicyValidator::new(schema, set).all(level);
    assert_eq!(sorted(&judged.errors), sorted(&plain.errors), "{set}");
    assert_eq!(sorted(&judged.warnings), sorted(&plain.warnings), "{set}");
}

/// The smallest level without errors, found the plain way.
fn plain_level(schema: &ValidatorSchema, set: &PolicySet, max_level: u32) -> Option<u32> {
    (0..=max_level).find(|level| plainly(schema, set, *level).errors.is_empty())
}

fn check(schema: &ValidatorSchema, world: &World, max_level: u32) {
    let set = &world.policies.set;
    for level in 0..=max_level.min(2) {
        compare(schema, set, level);
    }
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let places = world.link_places();
    let policies = &world.policies;
    let inputs = ValidatorInputs {
        schema,
        policies,
        links: &places,
        tools: &ToolTypes::new(&[]),
        unread: &UnreadRegistrations::new(),
    };
    let level = validate(inputs, max_level, &mut faults, &mut warnings);
    assert_eq!(level, plain_level(schema, set, max_level), "{set}");
    let too_far = plainly(schema, set, max_level).errors;
    let capped: BTreeSet<String> = too_far
        .iter()
        .filter(|error| is_too_far(error))
        .filter_map(|error| error.to_string().split('`').nth(1).map(str::to_owned))
        .collect();
    let told: BTreeSet<String> = faults
        .iter()
        .filter(|fault: &&BundleDiagnostic| fault.message.contains("looks further than"))
        .filter_map(|fault| fault.message.split('`').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(told, capped, "{set}");
}

#[test]
fn every_scope_is_judged_as_by_the_whole_schema() {
    let principals = PRINCIPALS.iter().chain(&SLOTTED_PRINCIPALS);
    let scopes = principals.flat_map(|principal| ACTIONS.map(|action| (principal, action)));
    let texts = scopes.map(|(principal, action)| {
        format!("permit ({principal}, {action}, resource) when {{ principal has active }};\n")
    });
    compare_many(&texts.collect::<Vec<_>>());
}

#[test]
fn conditions_about_other_actions_than_those_of_the_scope_are_judged_as_by_the_whole_schema() {
    let pairs = ACTIONS
        .iter()
        .flat_map(|scope| CONDITIONS.map(|condition| (scope, condition)));
    let texts = pairs.map(|(scope, condition)| {
        format!("forbid (principal, {scope}, resource) when {{ {condition} }};\n")
    });
    compare_many(&texts.collect::<Vec<_>>());
}

fn compare_many(texts: &[String]) {
    assert!(texts.len() > SHARED_OUT);
    let (schema, world) = (schema(), World::new(texts));
    for level in 0..=1 {
        compare(&schema, &world.policies.set, level);
    }
}

#[test]
fn only_scopes_that_show_everything_are_judged_by_less_than_the_whole_schema() {
    let schema = schema();
    let environments = |scope: &str| {
        let world = World::new(&[format!("permit ({scope}, resource);")]);
        let judge = PolicyValidator::new(&schema, &world.policies.set);
        let batches = judge.batches(world.policies.set.all_templates());
        assert_eq!(batches.len(), 1);
        let narrow = judge.narrow(&batches[0]);
        narrow.map(|validator| {
            let environments = validator
                .schema()
                .unlinked_request_envs(ValidationMode::Strict);
            environments.count()
        })
    };
    let read = "action == Mcp::Action::\"call_read\"";
    assert_eq!(environments(&format!("principal, {read}")), Some(2));
    let of_group = format!("principal in Mcp::Group::\"g\", {read}");
    assert_eq!(environments(&of_group), Some(2));
    let governing = "principal, action in Mcp::Action::\"govern\"";
    // Those of the model, and one of the other namespace.
    assert_eq!(environments(governing), Some(36));
    assert_eq!(environments("principal, action"), None);
    assert_eq!(
        environments(&format!("principal is Mcp::Server, {read}")),
        None
    );
    let unknown = "principal in Mcp::Usr::\"u\", action == Mcp::Action::\"call_read\"";
    assert_eq!(environments(unknown), None);
    for action in ["action == Mcp::Action::\"call_raed\"", "action in []"] {
        assert_eq!(environments(&format!("principal, {action}")), None);
    }
    let mixed = "principal, action in [Mcp::Action::\"call_read\", Lab::Action::\"feed\"]";
    assert_eq!(environments(mixed), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_policies_are_judged_as_by_the_whole_schema(
        texts in vec(policy(), 1..=4),
        max_level in 0..=4_u32,
    ) {
        check(&schema(), &World::new(&texts), max_level);
    }

    #[test]
    fn a_random_policy_gets_the_level_it_needs(text in policy(), max_level in 0..=5_u32) {
        check(&schema(), &World::new(&[text]), max_level);
    }
}
