//! Facts: what policies may know of a call, as the `context` of its Cedar requests.
//!
//! Start at [`Facts`]: each fact is made when a policy first looks at it, and most policies look at few.
//! One function for each record of the schema (`mcp.cedarschema`).

use std::cell::{OnceCell, RefCell};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use cedar_policy_core::ast::{Context, EntityUID, Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use smol_str::{SmolStr, format_smolstr};

use crate::call::claims::Asserted;
use crate::call::context::{CallContext, Delegation, Sampling};
use crate::call::elicitation::Form;
use crate::call::input::Input;
use crate::call::model::TYPES;
use crate::engine::context::ContextSource;

/// Everything that can be known of one call acting upon one target.
pub struct Facts<'c> {
    /// What everything the call does has in common.
    pub ground: Ground<'c>,
    /// What is particular to its operation.
    pub own: &'c OwnFacts,
    /// What it acts upon.
    pub target: Option<&'c EntityUID>,
    made: [OnceCell<Option<Value>>; Fact::ALL.len()],
}

/// What facts are made from, whatever the operation.
#[derive(Clone, Copy)]
pub struct Ground<'c> {
    /// The call.
    pub call: &'c CallContext,
    /// What its claims add to the subject.
    pub asserted: &'c Asserted,
    /// The enforcement point that asks.
    pub gateway: &'c EntityUID,
    /// The time of the decision.
    pub now: SystemTime,
}

/// Facts that only some operations have.
#[derive(Debug)]
pub enum OwnFacts {
    /// None.
    Nothing,
    /// The arguments of a tool or prompt.
    Arguments(Input),
    /// What a form asks for.
    Form(Form),
    /// Where a person is to be sent.
    Url {
        /// The URL's scheme.
        scheme: SmolStr,
        /// Its host.
        host: SmolStr,
    },
    /// What a model is asked to write.
    Sampling(Sampling),
}

/// The attributes of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Arguments,
    Delegation,
    Elicitation,
    Environment,
    Identity,
    Initiator,
    Input,
    Purpose,
    Sampling,
    Target,
}

impl Fact {
    const ALL: [Self; 10] = [
        Self::Arguments,
        Self::Delegation,
        Self::Elicitation,
        Self::Environment,
        Self::Identity,
        Self::Initiator,
        Self::Input,
        Self::Purpose,
        Self::Sampling,
        Self::Target,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Delegation => "delegation",
            Self::Elicitation => "elicitation",
            Self::Environment => "environment",
            Self::Identity => "identity",
            Self::Initiator => "initiator",
            Self::Input => "input",
            Self::Purpose => "purpose",
            Self::Sampling => "sampling",
            Self::Target => "target",
        }
    }
}

impl<'c> Facts<'c> {
    /// Facts of a call, none of them made yet.
    pub fn new(ground: Ground<'c>, own: &'c OwnFacts, target: Option<&'c EntityUID>) -> Self {
        Self {
            ground,
            own,
            target,
            made: Default::default(),
        }
    }

    fn get(&self, fact: Fact) -> Option<&Value> {
        self.made[fact as usize]
            .get_or_init(|| self.make(fact))
            .as_ref()
    }

    fn make(&self, fact: Fact) -> Option<Value> {
        let Ground {
            call,
            asserted,
            gateway,
            now,
        } = self.ground;
        match (fact, self.own) {
            (Fact::Initiator, _) => Some(Value::new(
                SmolStr::new_static(call.operation.initiator.as_str()),
                None,
            )),
            (Fact::Identity, _) => Some(identity(call, asserted)),
            (Fact::Environment, _) => Some(environment(call, gateway, now)),
            (Fact::Delegation, _) => call.delegation.as_ref().map(delegation),
            (Fact::Purpose, _) => call
                .workflow
                .purpose
                .clone()
                .map(|purpose| Value::new(purpose, None)),
            (Fact::Target, _) => self.target.map(|target| Value::new(target.clone(), None)),
            (Fact::Arguments, OwnFacts::Arguments(input)) => Some(arguments(input)),
            (Fact::Input, OwnFacts::Arguments(input)) => input.typed.clone(),
            (Fact::Elicitation, OwnFacts::Form(form)) => Some(elicitation_form(form)),
            (Fact::Elicitation, OwnFacts::Url { scheme, host }) => {
                Some(elicitation_url(scheme, host))
            }
            (Fact::Sampling, OwnFacts::Sampling(sampling)) => Some(sampling_record(sampling)),
            (Fact::Arguments | Fact::Input | Fact::Elicitation | Fact::Sampling, _) => None,
        }
    }
}

impl ContextSource for Facts<'_> {
    fn attribute(&self, name: &str) -> Option<&Value> {
        let fact = Fact::ALL.into_iter().find(|fact| fact.name() == name)?;
        self.get(fact)
    }

    fn to_context(&self) -> Context {
        let made = |fact: Fact| Some((SmolStr::new_static(fact.name()), self.get(fact)?.clone()));
        Context::Value(Arc::new(Fact::ALL.into_iter().filter_map(made).collect()))
    }
}

fn arguments(input: &Input) -> Value {
    let names = strings(input.names.iter().cloned());
    let untyped = match &input.typed {
        None => names.clone(),
        Some(_) => strings(input.untyped.iter().cloned()),
    };
    record([("names", names), ("untyped", untyped)])
}

fn elicitation_form(form: &Form) -> Value {
    record([
        ("field_names", strings(form.field_names.iter().cloned())),
        ("secret_fields", strings(form.secret_fields.iter().cloned())),
    ])
}

fn elicitation_url(scheme: &SmolStr, host: &SmolStr) -> Value {
    record([
        ("scheme", Value::new(scheme.clone(), None)),
        ("host", Value::new(host.clone(), None)),
    ])
}

fn sampling_record(sampling: &Sampling) -> Value {
    let context = match sampling.include_context.as_str() {
        "" => SmolStr::new_static("none"),
        _ => sampling.include_context.clone(),
    };
    record([
        ("max_tokens", Value::new(sampling.max_tokens, None)),
        ("include_context", Value::new(context, None)),
        ("tools", strings(sampling.tools.iter().cloned())),
        ("messages", Value::new(sampling.messages, None)),
        (
            "system_prompt",
            Value::new(sampling.has_system_prompt, None),
        ),
    ])
}

static DATETIME: LazyLock<Option<Name>> =
    LazyLock::new(|| Name::parse_unqualified_name("datetime").ok());
static IPADDR: LazyLock<Option<Name>> = LazyLock::new(|| Name::parse_unqualified_name("ip").ok());

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
