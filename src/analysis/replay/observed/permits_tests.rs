use std::sync::Arc;

use callgate_engine::Overlay;
use callgate_engine::cedar::{Context, Value};
use smol_str::SmolStr;

use super::*;
use crate::analysis::replay::observed::circumstances::AskedOf;
use crate::domain::fixtures::agent;
use crate::domain::schema::{entity_uid, tool_uid};

/// A call of a tool on a file in `/work`.
fn call(tool: &str, file: &str) -> (PermitKey, EntityUID, Circumstances) {
    let (principal, resource) = (agent("helper"), tool_uid("notes", tool));
    let target = entity_uid(&TYPES.resource, format!("file:///work/{file}"));
    let place = |name: &str| entity_uid(&TYPES.resource, name);
    let overlay = Overlay {
        parents: vec![place("file:///work"), place("file:///")],
        ..Overlay::bare(target.clone())
    };
    let attributes = [(SmolStr::new("target"), Value::new(target, None))];
    let context = Context::Value(Arc::new(attributes.into_iter().collect()));
    let asked = AskedOf {
        principal: &principal,
        resource: &resource,
        context: &context,
        overlays: &[&overlay],
        declares: &|_| false,
    };
    let key = PermitKey {
        principal: principal.clone(),
        action: PermittedAction::Is(schema::action_uid("call_read")),
        resource_type: resource.entity_type().clone(),
        kind: CallKind::from_context(asked),
    };
    let circumstances = Circumstances::from_context(asked, false);
    (key, resource, circumstances)
}

fn missing(
    calls: impl IntoIterator<Item = (PermitKey, EntityUID, Circumstances)>,
) -> MissingPermits {
    let mut missing = MissingPermits::default();
    for (key, resource, circumstances) in calls {
        missing.add(key, resource, circumstances);
    }
    missing
}

#[test]
fn workers_find_together_what_one_would_find() {
    let all = || (0..9).map(|it| call(&format!("read{}", it % 3), &format!("{}", it % 4)));
    let together = missing(all());
    let mut apart = MissingPermits::default();
    for it in all() {
        apart.merge(missing([it]));
    }
    assert_eq!(apart.named, together.named);
    assert_eq!(apart.to_permits(7), together.to_permits(7));
    let (permits, _) = together.to_permits(7);
    assert_eq!(permits[0].id, "observed.0007");
}

#[test]
fn the_place_of_many_targets_is_named_and_not_permitted() {
    let of = |files: usize| missing((0..files).map(|it| call("read", &it.to_string())));
    let text = |files| of(files).to_permits(1).0[0].text.clone();
    assert!(!text(3).contains("// All of these"), "{}", text(3));
    let said = "// All of these targets are in Mcp::Resource::\"file:///work\".\n";
    assert!(text(4).contains(said), "{}", text(4));
    assert_eq!(text(4).matches("file:///work\"").count(), 1);
}

#[test]
fn what_is_too_much_for_a_permit_or_for_a_proposal_is_told() {
    let of = |tools: usize, files: usize| {
        missing((0..tools).flat_map(|tool| {
            (0..files).map(move |file| call(&format!("t{tool}"), &file.to_string()))
        }))
    };
    let too_wide = of(1, MAX_TARGETS + 1);
    let (permits, too_many) = too_wide.to_permits(1);
    assert!(permits.is_empty());
    assert_eq!(too_many, [&tool_uid("notes", "t0")]);
    let too_large = of(11, MAX_TARGETS);
    assert!(too_large.left_out > 0 && too_large.named <= MAX_NAMED + 1);
}
