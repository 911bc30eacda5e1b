//! The language of test files, as it is written. [`prepare`](super::prepare) says what it means.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};
use serde_saphyr::Spanned;

use crate::analysis::policy_test::json;
use crate::domain::request::operation::OperationType;
use crate::domain::schema::AccessLevel;

pub use crate::analysis::policy_test::given::{Given, SessionForm};

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TestFile {
    /// What it is about, for readers.
    pub about: Option<String>,
    /// The time of every decision, as RFC 3339.
    pub now: Option<String>,
    /// The caller of every call.
    pub caller: Option<CallerForm>,
    /// What cases refer to by name.
    pub fixtures: Fixtures,
    /// Single cases.
    pub tests: Vec<Spanned<Case>>,
    /// Many subjects times many calls.
    pub tables: Vec<Spanned<Table>>,
}

/// What cases refer to by name, and entities that exist in this file's cases only.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fixtures {
    /// Groups, by name.
    pub groups: BTreeMap<String, EntityForm>,
    /// Users, by name.
    pub users: BTreeMap<String, EntityForm>,
    /// Agents, by name.
    pub agents: BTreeMap<String, EntityForm>,
    /// Servers, by name.
    pub servers: BTreeMap<String, EntityForm>,
    /// Registrations of tools, by `<server>/<tool>`.
    pub tools: BTreeMap<String, EntityForm>,
    /// Resources, by their canonical names.
    pub resources: BTreeMap<String, EntityForm>,
    /// Any other entities, in Cedar's JSON format.
    pub entities: Vec<Json>,
    /// Calls.
    pub calls: BTreeMap<String, CallForm>,
    /// Sessions.
    pub sessions: BTreeMap<String, SessionForm>,
    /// Tasks.
    pub tasks: BTreeMap<String, TaskForm>,
    /// Stored delegations.
    pub delegations: BTreeMap<String, DelegationForm>,
    /// Approvals.
    pub approvals: BTreeMap<String, ApprovalForm>,
    /// Usage counts.
    pub usage: BTreeMap<String, UsageForm>,
}

/// An entity. One that the directory defines keeps what is not named here.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntityForm {
    /// The groups it is in; for a resource, the resources that contain it.
    #[serde(rename = "in")]
    pub parents: Vec<String>,
    /// The user who owns it.
    pub owner: Option<String>,
    /// Its attributes, in Cedar's JSON format.
    pub attrs: Map<String, Json>,
    /// Its tags, in Cedar's JSON format.
    pub tags: Map<String, Json>,
}

/// The caller: the gateway that asks.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallerForm {
    /// Its name, `Mcp::Gateway` in policies.
    pub id: Option<String>,
    /// `people_in_person` of its configuration.
    pub people_in_person: bool,
    /// `require_delegation` of its configuration.
    pub require_delegation: bool,
}

/// One case: who asks for what under which circumstances, and what must come of it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The subject, a user.
    pub user: Option<String>,
    /// The subject, an agent.
    pub agent: Option<String>,
    /// The subject, a server that asks for something itself.
    pub from_server: Option<String>,
    /// The user for whom the subject acts, by an actor chain of a token.
    #[serde(rename = "for")]
    pub for_user: Option<String>,
    /// The agents between that user and the subject, nearest to the user first.
    pub via: Vec<String>,
    /// The OAuth scopes of that chain.
    pub scopes: Vec<String>,
    /// Whether the gateway has verified that chain.
    pub chain_verified: Option<bool>,
    /// The stored delegations that the call relies on, by name.
    pub delegations: Vec<String>,
    /// How the subject's identity was established.
    pub identity: Option<IdentityForm>,
    /// Claims about the subject.
    #[serde(deserialize_with = "json::served")]
    pub claims: Map<String, Json>,
    /// Claims about other parties of the chain, e.g. under `user:tara`.
    #[serde(deserialize_with = "json::served")]
    pub claims_of: BTreeMap<String, Map<String, Json>>,

    /// The operation: a call of `calls`, `<server>/<tool>`, or written out.
    pub call: Option<Given<CallForm>>,
    /// A change of authority instead of a call.
    pub govern: Option<GovernForm>,
    /// Cedar's own request instead of a call.
    pub request: Option<RequestForm>,

    /// The session it is made in; without one it is made in none.
    pub session: Option<Given<SessionForm>>,
    /// The task it belongs to.
    pub task: Option<Given<TaskForm>>,
    /// Labels of what the call carries besides its session.
    pub labels: Option<LabelsForm>,
    /// How much the subject has done of late; without it nobody has counted.
    pub usage: Option<Given<UsageForm>>,
    /// The approval given once the call was denied with a challenge.
    pub approval: Option<Given<ApprovalForm>>,
    /// What is stopped, e.g. `agent:support`.
    pub stopped: Vec<String>,
    /// The purpose, as the caller states it.
    pub purpose: Option<String>,
    /// The address of the client.
    pub source_address: Option<String>,
    /// The time of the decision, if other than the file's.
    pub now: Option<String>,

    /// The decision.
    pub want: Option<Want>,
    /// The first reason code of a deny, as in the protocol.
    pub code: Option<String>,
    /// The determining policies: all of them and no others.
    pub policies: Option<BTreeSet<String>>,
    /// The ids of the obligations: all of them and no others.
    pub obligations: Option<BTreeSet<String>>,
    /// The policies that an approval would satisfy; empty: there is no challenge.
    pub challenge: Option<BTreeSet<String>>,
    /// The shadow policies that would have changed the decision.
    pub shadow: Option<BTreeSet<String>>,
    /// The required facts that are missing.
    pub missing: Option<BTreeSet<String>>,
}

/// The wanted decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// The call is allowed.
    Allow,
    /// The call is denied.
    Deny,
}

/// Many subjects times many calls.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What all cells have in common: any fields of a case but subject, operation and what is wanted.
    pub given: Case,
    /// The columns.
    pub calls: Vec<Given<CallForm>>,
    /// Each row: a subject, then for each column `allow`, `deny` or `deny CODE`.
    pub rows: Vec<Vec<String>>,
}

/// An operation.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallForm {
    /// What is asked for; a call of `tool` if absent.
    pub kind: CallKind,
    /// `<server>/<tool>`, for calls.
    pub tool: Option<String>,
    /// The server, for other operations.
    pub server: Option<String>,
    /// The arguments of a tool call, or the names of those of a prompt.
    #[serde(deserialize_with = "json::served")]
    pub arguments: Map<String, Json>,
    /// The target that the gateway states.
    pub target: Option<String>,
    /// The digest of the definition, as the gateway saw it.
    pub definition: Option<String>,
    /// The client responses that go back with the call.
    #[serde(deserialize_with = "json::served")]
    pub answers: Vec<Map<String, Json>>,
    /// The `requestState` that goes back with the call.
    pub request_state: Option<String>,
    /// Whether a user interface of the server makes the call.
    pub from_ui: bool,
    /// By which method a connection is kept, if that is decided otherwise than `initialize`: `tasks/result`, `unawaited` …
    pub method: Option<String>,
    /// The URI of a resource.
    pub uri: Option<String>,
    /// The name of a prompt.
    pub prompt: Option<String>,
    /// The URL of an elicitation.
    pub url: Option<String>,
    /// The fields of a form.
    pub fields: Vec<String>,
    /// The most tokens of a sampling request.
    pub max_tokens: i64,
    /// The `includeContext` of a sampling request.
    pub include_context: Option<String>,
    /// The tools offered to the model in a sampling request.
    pub tools: Vec<String>,
    /// Whether a sampling request has a system prompt.
    pub system_prompt: bool,
}

/// Which operation: by its name, or `reverse_call` for a tool call of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKind(pub OperationType);

const REVERSE_CALL: &str = "reverse_call";

impl Default for CallKind {
    fn default() -> Self {
        Self(OperationType::CallTool)
    }
}

impl<'de> Deserialize<'de> for CallKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let operation = match name.as_str() {
            // Who calls is said beside it.
            REVERSE_CALL => Some(OperationType::CallTool),
            name => OperationType::from_name(name),
        };
        operation.map(Self).ok_or_else(|| {
            let known = OperationType::all().map(|it| it.description().name);
            let known: Vec<_> = known
                .chain([REVERSE_CALL])
                .map(|name| format!("`{name}`"))
                .collect();
            D::Error::custom(format!(
                "unknown variant `{name}`, expected one of {}",
                known.join(", ")
            ))
        })
    }
}

/// A change of authority.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernForm {
    /// The action in the group `govern`, e.g. `grant_delegation`.
    pub action: String,
    /// The agent that it concerns.
    #[serde(default)]
    pub to: Option<String>,
    /// The most that is delegated.
    #[serde(default)]
    pub access: Option<AccessLevel>,
    /// What single tools are for in the task that it concerns.
    #[serde(default)]
    pub uses: Vec<UseForm>,
    /// The places that this task names to read from.
    #[serde(default)]
    pub read_from: Vec<String>,
    /// Those that it names to send to.
    #[serde(default)]
    pub send_to: Vec<String>,
}

/// Cedar's own request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestForm {
    /// E.g. `User::"alice"`.
    pub principal: String,
    /// E.g. `Action::"view"`.
    pub action: String,
    /// E.g. `Photo::"trip.jpg"`.
    pub resource: String,
    /// In Cedar's JSON format.
    #[serde(default, deserialize_with = "json::served")]
    pub context: Map<String, Json>,
}

/// How the subject's identity was established.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityForm {
    /// Whether it was verified.
    pub verified: bool,
    /// `jwt`, `spiffe` …
    pub method: Option<String>,
    /// Whether a program showed the subject's credential.
    pub relayed: bool,
}

impl Default for IdentityForm {
    fn default() -> Self {
        Self {
            verified: true,
            method: Some("jwt".to_owned()),
            relayed: false,
        }
    }
}

/// A task. Agent and user are those of the case unless it says otherwise.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskForm {
    /// Its agent.
    pub agent: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// What it is about.
    pub purpose: Option<String>,
    /// The tools that belong to it, `<server>/<tool>`; with `servers` and `groups` empty: any call belongs to it.
    pub tools: Vec<String>,
    /// The servers that belong to it.
    pub servers: Vec<String>,
    /// The groups of tools and servers that belong to it.
    pub groups: Vec<String>,
    /// The most that its calls may do; `admin` if absent.
    pub access: Option<AccessLevel>,
    /// What single tools are for.
    pub uses: Vec<UseForm>,
    /// Places that the user named to read from.
    pub read_from: Vec<String>,
    /// Places that the user named to send to.
    pub send_to: Vec<String>,
    /// The name of its step at the time.
    pub step: Option<String>,
    /// How many calls of its budget are left.
    pub calls_left: Option<u64>,
    /// How many calls of this tool are left.
    pub tool_calls_left: Option<u64>,
    /// The seconds until its deadline; an hour if absent.
    pub ends_in: Option<i64>,
    /// Whether it was closed.
    pub closed: bool,
}

/// What a tool is for in a task.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UseForm {
    /// `<server>/<tool>`.
    pub tool: String,
    /// The places it may act upon.
    pub targets: Vec<String>,
    /// The values that its arguments may have.
    #[serde(deserialize_with = "json::served")]
    pub arguments: BTreeMap<String, Vec<Json>>,
    /// The most calls of it.
    pub max_calls: Option<u64>,
    /// Whether its target was left open.
    pub any_target: bool,
}

/// Labels of what a call carries besides its session.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsForm {
    /// Of its task.
    pub task: Vec<String>,
    /// Of its delegations.
    pub delegation: Vec<String>,
    /// Of those who act for the same user, of late.
    pub recent: Vec<String>,
}

/// Usage counts.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageForm {
    /// Calls of this tool by this subject in the last minute.
    pub last_minute: u64,
    /// In the last hour; at least those of the last minute.
    pub last_hour: u64,
    /// In the last day; at least those of the last hour.
    pub last_day: u64,
    /// Calls of any tool by this subject in the last minute.
    pub actor_last_minute: u64,
    /// In the last hour.
    pub actor_last_hour: u64,
    /// In the last day.
    pub actor_last_day: u64,
    /// Denied calls in the last hour.
    pub recent_denials: u64,
    /// Different tools in the last day.
    pub distinct_tools: u64,
    /// Whether this tool was never used before.
    pub first_use: bool,
}

/// A stored delegation.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DelegationForm {
    /// Who delegates, `user:tara` or `agent:support`.
    pub from: String,
    /// The agent it is delegated to.
    pub to: String,
    /// The tools it covers, `<server>/<tool>`; with `servers` and `groups` empty: everything.
    pub tools: Vec<String>,
    /// The servers it covers.
    pub servers: Vec<String>,
    /// The groups it covers.
    pub groups: Vec<String>,
    /// The most it covers; `admin` if absent.
    pub access: Option<AccessLevel>,
    /// The places it covers; all if empty.
    pub targets: Vec<String>,
    /// The delegation it is made from, by name.
    pub parent: Option<String>,
    /// How often it may be passed on.
    pub max_redelegations: u32,
    /// The seconds until it ends; an hour if absent.
    pub ends_in: Option<i64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An approval.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalForm {
    /// The user who gives it.
    pub by: String,
    /// Claims about that user.
    #[serde(deserialize_with = "json::served")]
    pub claims: Map<String, Json>,
    /// Its age in seconds.
    pub age: u64,
    /// The calls it is for; 1 if absent, 0 is a refusal.
    pub uses: Option<u32>,
    /// The calls made with it so far.
    pub used: u32,
    /// The policies that let the user approve: all of them and no others.
    pub policies: Option<BTreeSet<String>>,
}
