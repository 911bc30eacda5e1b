//! Facts: the `context` of the Cedar requests of a call.
//!
//! Start at [`Facts`]. Each attribute is computed when a policy first reads it; most policies read few. There
//! is one type for each record of the schema (`mcp.cedarschema`); `authority.rs` has those of the authority.

pub mod approval;
mod arguments;
mod authority;
pub mod inputs;
mod values;

use std::cell::{OnceCell, RefCell};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{Context, EntityUID, Name, Value};
use callgate_engine::{AttributeRef, ContextSource, collect_context};
use smol_str::{SmolStr, format_smolstr};

use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::labels::Labels;
use crate::domain::decide::facts::arguments::ArgumentFacts;
use crate::domain::decide::facts::authority::{
    RecentFacts, SessionFacts, TaskFacts, UsageFacts, value_of,
};
use crate::domain::decide::facts::inputs::{ContextInputs, OperationContext};
use crate::domain::decide::facts::values::{entities, record, strings};
use crate::domain::request::call_context::Identity;
use crate::domain::request::claims::AssertedClaims;
use crate::domain::request::client_responses::{ClientResponses, STATE};
use crate::domain::request::elicitation::ElicitationForm;
use crate::domain::request::operation::Sampling;
use crate::domain::request::target::Target;
use crate::domain::request::target::host::{Host, address_value, extension_value};
use crate::domain::schema::{self, TYPES};

/// The context of a call that acts upon one target.
pub struct Facts<'c> {
    inputs: ContextInputs<'c>,
    operation: &'c OperationContext,
    target: Option<&'c Target>,
    identity: IdentityFacts<'c>,
    delegation: Option<DelegationFacts<'c>>,
    arguments: Option<ArgumentFacts<'c>>,
    answers: Option<ClientResponseFacts<'c>>,
    task: Option<TaskFacts<'c>>,
    session: Option<SessionFacts<'c>>,
    usage: Option<UsageFacts>,
    recent: Option<RecentFacts<'c>>,
    labels: OnceCell<Arc<Labels>>,
    server: OnceCell<EntityUID>,
    environment: OnceCell<Value>,
    elicitation: OnceCell<Option<Value>>,
    sampling: OnceCell<Option<Value>>,
}

/// `context.identity`.
struct IdentityFacts<'c> {
    identity: &'c Identity,
    asserted: &'c AssertedClaims,
    through_agent: bool,
    asserted_groups: OnceCell<Value>,
    asserted_attributes: OnceCell<Value>,
}

/// `context.delegation`.
struct DelegationFacts<'c> {
    chain: &'c DelegationChain<'c>,
    labels: Option<Option<&'c Arc<Labels>>>,
    actors: OnceCell<Value>,
    scopes: OnceCell<Value>,
}

/// `context.answers`, the client responses.
struct ClientResponseFacts<'c> {
    answers: &'c ClientResponses,
    has_request_state: bool,
    cells: [OnceCell<Value>; 3],
}

impl<'c> Facts<'c> {
    const NAMES: [&'static str; 20] = [
        "answers",
        "approval",
        "arguments",
        "delegation",
        "earlier_result",
        "elicitation",
        "environment",
        "identity",
        "initiator",
        "input",
        "labels",
        "purpose",
        "recent",
        "sampling",
        "server",
        "session",
        "target",
        "target_role",
        "task",
        "usage",
    ];

    /// Creates a context with no attribute computed yet.
    pub fn new(
        inputs: ContextInputs<'c>,
        operation: &'c OperationContext,
        target: Option<&'c Target>,
    ) -> Self {
        let input = match operation {
            OperationContext::Arguments(input) => Some(input),
            _ => None,
        };
        let carried = inputs.history.carried.filter(|_| inputs.has_labels);
        Self {
            inputs,
            operation,
            target,
            identity: IdentityFacts {
                identity: inputs.identity,
                asserted: inputs.asserted,
                through_agent: inputs.through_agent,
                asserted_groups: OnceCell::new(),
                asserted_attributes: OnceCell::new(),
            },
            delegation: inputs.chain.map(|chain| DelegationFacts {
                chain,
                labels: carried.map(|carried| carried.delegation.as_ref()),
                actors: OnceCell::new(),
                scopes: OnceCell::new(),
            }),
            arguments: input.map(|input| ArgumentFacts::new(input, inputs)),
            answers: ClientResponseFacts::new(inputs.answers, inputs.has_request_state),
            task: inputs
                .task
                .map(|task| TaskFacts::new(task, inputs, target, carried)),
            session: inputs.history.session.map(|session| SessionFacts {
                session,
                recent: OnceCell::new(),
            }),
            usage: inputs.history.usage.map(UsageFacts),
            recent: carried.and_then(|it| it.recent.as_deref().map(RecentFacts)),
            labels: OnceCell::new(),
            server: OnceCell::new(),
            environment: OnceCell::new(),
            elicitation: OnceCell::new(),
            sampling: OnceCell::new(),
        }
    }

    fn environment(&self) -> &Value {
        self.environment.get_or_init(|| environment(&self.inputs))
    }

    fn elicitation(&self) -> Option<&Value> {
        let make = || match self.operation {
            OperationContext::Form(form) => Some(elicitation_form(form)),
            OperationContext::Url { scheme, host } => Some(elicitation_url(scheme, host)),
            OperationContext::Nothing
            | OperationContext::Arguments(_)
            | OperationContext::Sampling(_)
            | OperationContext::Connection { .. } => None,
        };
        self.elicitation.get_or_init(make).as_ref()
    }

    fn sampling(&self) -> Option<&Value> {
        let make = || match self.operation {
            OperationContext::Sampling(sampling) => Some(sampling_record(sampling)),
            _ => None,
        };
        self.sampling.get_or_init(make).as_ref()
    }
}

impl ContextSource for Facts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        match name {
            "answers" => self
                .answers
                .as_ref()
                .map(|answers| AttributeRef::Record(answers)),
            "approval" => self
                .inputs
                .approval
                .as_ref()
                .map(|approval| AttributeRef::Record(approval)),
            "arguments" => self
                .arguments
                .as_ref()
                .map(|arguments| AttributeRef::Record(arguments)),
            "delegation" => self
                .delegation
                .as_ref()
                .map(|delegation| AttributeRef::Record(delegation)),
            "earlier_result" => match self.operation {
                OperationContext::Connection { earlier_result } => {
                    Some(AttributeRef::Bool(*earlier_result))
                }
                _ => None,
            },
            "elicitation" => self.elicitation().map(AttributeRef::Value),
            "environment" => Some(AttributeRef::Value(self.environment())),
            "identity" => Some(AttributeRef::Record(&self.identity)),
            "initiator" => Some(AttributeRef::Text(self.inputs.initiator.as_str())),
            "input" => self
                .arguments
                .as_ref()?
                .input
                .typed
                .as_ref()
                .map(AttributeRef::Value),
            "labels" if self.inputs.has_labels => {
                let labels = self.labels.get_or_init(|| self.inputs.labels());
                Some(AttributeRef::Value(labels.value()))
            }
            "purpose" => self.inputs.purpose.map(AttributeRef::Text),
            "recent" => self
                .recent
                .as_ref()
                .map(|recent| AttributeRef::Record(recent)),
            "sampling" => self.sampling().map(AttributeRef::Value),
            "server" => {
                let name = self.inputs.server?;
                let server = self.server.get_or_init(|| schema::server_uid(name));
                Some(AttributeRef::Entity(server))
            }
            "session" => self
                .session
                .as_ref()
                .map(|session| AttributeRef::Record(session)),
            "target" => self.target.map(|target| AttributeRef::Entity(target.uid())),
            "target_role" => self.target?.role.as_deref().map(AttributeRef::Text),
            "task" => self.task.as_ref().map(|task| AttributeRef::Record(task)),
            "usage" => self.usage.as_ref().map(|usage| AttributeRef::Record(usage)),
            _ => None,
        }
    }

    fn to_context(&self) -> Context {
        collect_context(self, &Self::NAMES)
    }
}

impl ContextSource for IdentityFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        Some(match name {
            "verified" => AttributeRef::Bool(self.identity.verified),
            "method" => AttributeRef::Text(self.identity.method.as_deref().unwrap_or("none")),
            "through_agent" => AttributeRef::Bool(self.through_agent),
            "asserted_groups" => AttributeRef::Value(
                self.asserted_groups
                    .get_or_init(|| entities(self.asserted.groups.iter().cloned())),
            ),
            "asserted_attributes" => {
                AttributeRef::Value(self.asserted_attributes.get_or_init(|| {
                    strings(self.asserted.tags.iter().map(|(name, _)| name.clone()))
                }))
            }
            _ => return None,
        })
    }

    fn to_context(&self) -> Context {
        let names = [
            "verified",
            "method",
            "through_agent",
            "asserted_groups",
            "asserted_attributes",
        ];
        collect_context(self, &names)
    }
}

impl ContextSource for DelegationFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        let chain = self.chain;
        let is_person = *chain.root.entity_type() == TYPES.user;
        Some(match name {
            "root" if is_person => AttributeRef::Entity(&chain.root),
            "root_agent" if !is_person => AttributeRef::Entity(&chain.root),
            "actors" => AttributeRef::Value(
                self.actors
                    .get_or_init(|| entities(chain.actors.iter().cloned())),
            ),
            "first" => AttributeRef::Entity(chain.actors.first()?),
            "last" => AttributeRef::Entity(chain.actors.last()?),
            // The number of links from the root to the subject.
            "depth" => AttributeRef::Long(chain.depth() as i64),
            "access" => AttributeRef::Text(chain.access()?.as_str()),
            "scopes" => AttributeRef::Value(
                self.scopes
                    .get_or_init(|| strings(chain.scopes.iter().cloned())),
            ),
            "verified" => AttributeRef::Bool(chain.is_verified),
            "source" if chain.delegations.is_empty() => AttributeRef::Text("asserted"),
            "source" => AttributeRef::Text("stored"),
            "labels" => AttributeRef::Value(value_of(self.labels?)),
            _ => return None,
        })
    }

    fn to_context(&self) -> Context {
        let names = [
            "root",
            "root_agent",
            "actors",
            "first",
            "last",
            "depth",
            "access",
            "scopes",
            "verified",
            "source",
            "labels",
        ];
        collect_context(self, &names)
    }
}

impl<'c> ClientResponseFacts<'c> {
    const NAMES: [&'static str; 3] = ["kinds", "field_names", "secret_fields"];

    /// What goes back to a server; `None` if nothing does.
    fn new(answers: Option<&'c ClientResponses>, has_request_state: bool) -> Option<Self> {
        static NONE: ClientResponses = ClientResponses {
            kinds: Vec::new(),
            field_names: Vec::new(),
            secret_fields: Vec::new(),
            text: String::new(),
        };
        let state = has_request_state.then_some(&NONE);
        Some(Self {
            answers: answers.or(state)?,
            has_request_state,
            cells: Default::default(),
        })
    }
}

impl ContextSource for ClientResponseFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        let ClientResponses {
            kinds,
            field_names,
            secret_fields,
            text: _,
        } = self.answers;
        let index = Self::NAMES.iter().position(|known| *known == name)?;
        let texts = [kinds, field_names, secret_fields][index];
        // The first are the kinds.
        let state = (index == 0 && self.has_request_state).then_some(SmolStr::new_static(STATE));
        let value = self.cells[index].get_or_init(|| strings(texts.iter().cloned().chain(state)));
        Some(AttributeRef::Value(value))
    }

    fn to_context(&self) -> Context {
        collect_context(self, &Self::NAMES)
    }
}

fn elicitation_form(form: &ElicitationForm) -> Value {
    record([
        ("field_names", strings(form.field_names.iter().cloned())),
        ("secret_fields", strings(form.secret_fields.iter().cloned())),
    ])
}

fn elicitation_url(scheme: &SmolStr, host: &Host) -> Value {
    let scheme = ("scheme", Value::new(scheme.clone(), None));
    record(std::iter::once(scheme).chain(host.facts()))
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

fn environment(inputs: &ContextInputs<'_>) -> Value {
    let address = inputs.source_address.and_then(address_value);
    record(
        [("gateway", Value::new(inputs.gateway.clone(), None))]
            .into_iter()
            .chain(time(inputs.now).map(|now| ("now", now)))
            .chain(address.map(|address| ("source_address", address))),
    )
}

/// The time as a Cedar `datetime`, in whole seconds. Cedar parses it from text, so the last value is cached
/// per thread.
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
