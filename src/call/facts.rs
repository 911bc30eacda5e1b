//! Facts: what policies may know of a call, as the `context` of its Cedar requests.
//!
//! One function for each record of the schema (`mcp.cedarschema`), in its order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use cedar_policy_core::ast::{EntityUID, Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use smol_str::{SmolStr, format_smolstr};

use crate::call::claims::Asserted;
use crate::call::context::{CallContext, Delegation, Sampling};
use crate::call::elicitation::Form;
use crate::call::input::Input;
use crate::call::model::TYPES;

/// The attributes of a context under construction.
pub type Facts = BTreeMap<SmolStr, Value>;

static DATETIME: LazyLock<Option<Name>> =
    LazyLock::new(|| Name::parse_unqualified_name("datetime").ok());
static IPADDR: LazyLock<Option<Name>> = LazyLock::new(|| Name::parse_unqualified_name("ip").ok());

/// The facts of every action.
pub fn common(
    call: &CallContext,
    asserted: &Asserted,
    gateway: &EntityUID,
    now: SystemTime,
) -> Facts {
    let mut facts = Facts::new();
    put(
        &mut facts,
        "initiator",
        SmolStr::new_static(call.operation.initiator.as_str()),
    );
    put(&mut facts, "identity", identity(call, asserted));
    put(&mut facts, "environment", environment(call, gateway, now));
    if let Some(chain) = &call.delegation {
        put(&mut facts, "delegation", delegation(chain));
    }
    if let Some(purpose) = &call.workflow.purpose {
        put(&mut facts, "purpose", purpose.clone());
    }
    facts
}

/// Adds the facts of a tool call.
pub fn add_input(facts: &mut Facts, input: Input) {
    let arguments = record([
        ("names", strings(input.names)),
        ("untyped", strings(input.untyped)),
    ]);
    put(facts, "arguments", arguments);
    if let Some(typed) = input.typed {
        put(facts, "input", typed);
    }
}

/// Adds what a call acts upon.
pub fn add_target(facts: &mut Facts, target: &EntityUID) {
    put(facts, "target", target.clone());
}

/// Adds what a form asks for.
pub fn add_form(facts: &mut Facts, form: Form) {
    let form = record([
        ("field_names", strings(form.field_names)),
        ("secret_fields", strings(form.secret_fields)),
    ]);
    put(facts, "elicitation", form);
}

/// Adds where a person is to be sent.
pub fn add_url(facts: &mut Facts, scheme: &str, host: &str) {
    let url = record([
        ("scheme", Value::new(SmolStr::new(scheme), None)),
        ("host", Value::new(SmolStr::new(host), None)),
    ]);
    put(facts, "elicitation", url);
}

/// Adds what a model is asked to write.
pub fn add_sampling(facts: &mut Facts, sampling: &Sampling) {
    let context = match sampling.include_context.as_str() {
        "" => SmolStr::new_static("none"),
        _ => sampling.include_context.clone(),
    };
    let sampling = record([
        ("max_tokens", Value::new(sampling.max_tokens, None)),
        ("include_context", Value::new(context, None)),
        ("tools", strings(sampling.tools.iter().cloned())),
        ("messages", Value::new(sampling.messages, None)),
        (
            "system_prompt",
            Value::new(sampling.has_system_prompt, None),
        ),
    ]);
    put(facts, "sampling", sampling);
}

fn identity(call: &CallContext, asserted: &Asserted) -> Value {
    let identity = &call.subject.identity;
    let method = identity
        .method
        .clone()
        .unwrap_or(SmolStr::new_static("none"));
    record([
        ("verified", Value::new(identity.verified, None)),
        ("method", Value::new(method, None)),
        ("asserted_groups", entities(asserted.groups.iter().cloned())),
        (
            "asserted_attributes",
            strings(asserted.tags.iter().map(|(name, _)| name.clone())),
        ),
    ])
}

fn environment(call: &CallContext, gateway: &EntityUID, now: SystemTime) -> Value {
    let address = call
        .environment
        .source_address
        .and_then(|address| extension_value(&IPADDR, format_smolstr!("{address}")));
    record(
        [("gateway", Value::new(gateway.clone(), None))]
            .into_iter()
            .chain(time(now).map(|now| ("now", now)))
            .chain(address.map(|address| ("source_address", address))),
    )
}

fn delegation(chain: &Delegation) -> Value {
    let is_person = *chain.root.entity_type() == TYPES.user;
    let root = if is_person { "root" } else { "root_agent" };
    let agent = |uid: &EntityUID| Value::new(uid.clone(), None);
    record(
        [
            (root, Value::new(chain.root.clone(), None)),
            ("actors", entities(chain.actors.iter().cloned())),
            ("depth", Value::new(chain.actors.len() as i64 + 1, None)),
            ("scopes", strings(chain.scopes.iter().cloned())),
            ("verified", Value::new(chain.verified, None)),
            ("source", Value::new(SmolStr::new_static("asserted"), None)),
        ]
        .into_iter()
        .chain(chain.actors.first().map(|uid| ("first", agent(uid))))
        .chain(chain.actors.last().map(|uid| ("last", agent(uid)))),
    )
}

/// The time as Cedar has it, to the second. Cedar makes it from text, so the last one is kept.
fn time(now: SystemTime) -> Option<Value> {
    thread_local! {
        static LAST: RefCell<Option<(u64, Value)>> = const { RefCell::new(None) };
    }
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    LAST.with_borrow_mut(|last| {
        if let Some((_, value)) = last.as_ref().filter(|(at, _)| *at == seconds) {
            return Some(value.clone());
        }
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let text = format_smolstr!("{}", humantime::format_rfc3339_millis(whole));
        let value = extension_value(&DATETIME, text)?;
        *last = Some((seconds, value.clone()));
        Some(value)
    })
}

fn extension_value(constructor: &Option<Name>, text: SmolStr) -> Option<Value> {
    let function = Extensions::all_available()
        .func(constructor.as_ref()?)
        .ok()?;
    match function.call(&[Value::new(text, None)]) {
        Ok(PartialValue::Value(value)) => Some(value),
        Ok(PartialValue::Residual(_)) | Err(_) => None,
    }
}

fn put(facts: &mut Facts, name: &'static str, value: impl Into<Value>) {
    facts.insert(SmolStr::new_static(name), value.into());
}

fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (SmolStr::new_static(name), value));
    Value::record_arc(Arc::new(fields.collect()), None)
}

fn strings(items: impl IntoIterator<Item = SmolStr>) -> Value {
    set(items.into_iter().map(|item| Value::new(item, None)))
}

fn entities(items: impl IntoIterator<Item = EntityUID>) -> Value {
    set(items.into_iter().map(|item| Value::new(item, None)))
}

/// Most sets are empty, and an empty one need not be made again.
fn set(items: impl Iterator<Item = Value>) -> Value {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::empty_set(None));
    let mut items = items.peekable();
    if items.peek().is_none() {
        return EMPTY.clone();
    }
    Value::set(items, None)
}
