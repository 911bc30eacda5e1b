//! The form of the stories. Whatever is not known here is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::Value as Json;

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    pub scenario: Vec<Scenario>,
}

/// One story, on a stage of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub title: String,
    /// What an attacker wants: `exfiltrate`, `destroy` or `escalate`; in `attacks.toml` only.
    pub aim: Option<String>,
    /// Why the attack passes, if it does.
    pub passes: Option<String>,
    /// The reason code that it is the example of; in `reasons.toml` only.
    pub reason: Option<String>,
    /// `office` (the default, `world/`) or `shipped` (`policies/`).
    pub world: Option<String>,
    /// Cedar policies in addition to those of the world.
    pub policies: Option<String>,
    #[serde(default)]
    pub limits: Limits,
    pub steps: Vec<Step>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How many sessions are remembered.
    pub sessions: Option<usize>,
    /// How long an answer waits for a demanded revision, e.g. `1ms`.
    pub wait: Option<String>,
}

/// What somebody does, and what comes of it.
pub struct Step {
    /// In words.
    pub story: Option<String>,
    pub act: Act,
    /// What else happens while the answer waits.
    pub meanwhile: Option<Act>,
    expect: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// An agent, a person or a server wants to do something.
    Call(Box<Call>),
    /// Several such at the same time.
    AtOnce(AtOnce),
    Grant(Grant),
    Narrow(Narrow),
    Revoke(Named),
    OpenTask(OpenTask),
    AdvanceTask(Advance),
    CloseTask(Named),
    RequestApproval(RequestApproval),
    Approve(Approve),
    Reject(Named),
    EndSession(EndSession),
    Stop(Stop),
    Resume(Stop),
    PutEntity(PutEntity),
    DeleteEntity(DeleteEntity),
    RegisterTool(RegisterTool),
    PinTool(PinTool),
    /// How something stands.
    Look(Look),
    /// Whether a tool would be listed for somebody.
    List(Box<Call>),
    /// The trail of changes.
    Changes(Changes),
    /// Time passes, e.g. `30m`.
    Pass(String),
    /// The machine's clock is set back.
    TurnBack(String),
    Restart(Restart),
    Store(StoreMood),
    /// What cannot be brought about from here: an answer is put into its wire form.
    Encode(Encode),
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Who: `agent:helper`, `user:ana`, `server:git`.
    pub by: String,
    /// For whom, as the caller's token says.
    #[serde(rename = "for")]
    pub for_whom: Option<String>,
    /// The agents between the two, nearest to the person first.
    #[serde(default)]
    pub via: Vec<String>,
    /// The stored delegations it relies on.
    #[serde(default)]
    pub delegations: Vec<String>,
    /// When the token ends, from now on.
    pub token_ends_in: Option<String>,
    /// The token was over that long ago.
    pub token_ended: Option<String>,
    /// `<server>/<tool>`.
    pub tool: Option<String>,
    /// Instead of a tool: the server whose tools are listed, or that is sent `connect`.
    pub server: Option<String>,
    /// The method of a message that keeps the conversation with `server` going.
    pub connect: Option<String>,
    pub arguments: Option<toml::Table>,
    pub target: Option<String>,
    /// The digest of the tool's definition as it was seen.
    pub definition: Option<String>,
    pub session: Option<String>,
    pub task: Option<String>,
    pub step: Option<String>,
    #[serde(default)]
    pub approvals: Vec<String>,
    /// The name of a revision, or a number.
    pub at_least_revision: Option<String>,
    /// Who asks Callgate.
    pub gateway: Option<String>,
    /// Nobody has verified who it is, or for whom.
    #[serde(default)]
    pub unverified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtOnce {
    pub calls: Vec<Call>,
    /// How often each.
    pub times: usize,
}

/// Which calls something covers.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Covers {
    #[serde(default)]
    pub tools: Vec<String>,
    #[serde(default)]
    pub servers: Vec<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub targets: Vec<String>,
    /// `read`, `write` or `admin`.
    pub access: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub by: String,
    pub to: String,
    pub covers: Covers,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: String,
    /// When it begins, from now on.
    pub begins_in: Option<String>,
    pub task: Option<String>,
    /// The delegation that is redelegated.
    pub from: Option<String>,
    /// How often it may be redelegated.
    #[serde(default)]
    pub max_redelegations: u32,
    #[serde(flatten)]
    pub kept: Kept,
}

/// What all writes can say of themselves.
#[derive(Deserialize, Default)]
pub struct Kept {
    /// The name of what is made.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The name of the revision.
    pub revision: Option<String>,
    /// The idempotency key.
    pub key: Option<String>,
    pub gateway: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    pub by: String,
    pub id: String,
    pub covers: Option<Covers>,
    #[serde(rename = "for")]
    pub lasts: Option<String>,
    pub max_redelegations: Option<u32>,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub by: String,
    pub id: String,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenTask {
    pub by: String,
    pub agent: String,
    pub person: String,
    pub purpose: Option<String>,
    pub covers: Option<Covers>,
    /// What single tools are for.
    #[serde(default)]
    pub uses: Vec<Use>,
    /// Places to read from, and to send to.
    #[serde(default)]
    pub reads: Vec<String>,
    #[serde(default)]
    pub sends: Vec<String>,
    pub calls: Option<u64>,
    #[serde(default)]
    pub steps: Vec<TaskStep>,
    #[serde(rename = "for")]
    pub lasts: String,
    #[serde(flatten)]
    pub kept: Kept,
}

/// What a tool of a task is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    pub tool: String,
    #[serde(default)]
    pub targets: Vec<String>,
    /// Whether its target is left open.
    #[serde(default)]
    pub any_target: bool,
    /// The value of each argument that is named.
    #[serde(default)]
    pub arguments: BTreeMap<String, Json>,
    pub calls: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStep {
    pub name: String,
    pub covers: Covers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    pub by: String,
    pub id: String,
    pub to: Option<String>,
    #[serde(flatten)]
    pub kept: Kept,
}

/// Asks for an approval of the call that was denied last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestApproval {
    /// Another call, without a challenge.
    pub call: Option<Call>,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    pub by: String,
    pub id: String,
    /// How often; once if it is not said.
    #[serde(default)]
    pub uses: u32,
    /// The approval whose call the approver has seen, if that is another one.
    pub seen: Option<String>,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSession {
    pub by: String,
    pub session: String,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    pub by: String,
    pub entity: String,
    #[serde(default)]
    pub reason: String,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutEntity {
    pub by: String,
    pub entity: String,
    #[serde(default)]
    pub attributes: toml::Table,
    #[serde(default)]
    pub parents: Vec<String>,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteEntity {
    pub by: String,
    pub entity: String,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterTool {
    pub by: String,
    pub tool: String,
    pub access: String,
    pub owner: String,
    #[serde(default)]
    pub yields: Vec<String>,
    #[serde(default)]
    pub egress: bool,
    /// The definition as the server lists it, to be pinned.
    pub definition: Option<toml::Table>,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinTool {
    pub by: String,
    pub tool: String,
    pub definition: toml::Table,
    #[serde(flatten)]
    pub kept: Kept,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    Grant(String),
    Task(String),
    Approval(String),
    Entity(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The name of a revision.
    pub after: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// In order: everything is written first.
    Stopped,
    /// Only what was acknowledged is written.
    Killed,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreMood {
    Fails,
    Works,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encode {
    pub message: String,
    pub detail: Option<String>,
    /// It is the one of a decision that cannot be put on record, and not of one that panicked.
    #[serde(default)]
    pub is_unrecorded: bool,
}

/// What is expected of the answer to a call. `"allow"` alone will do.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ToldOfCall {
    #[serde(default)]
    pub allow: bool,
    /// Policies deny it, or demand an approval.
    #[serde(default)]
    pub stopped: bool,
    /// The code of the first reason.
    pub deny: Option<String>,
    /// The codes of the others, in order.
    pub and: Option<Vec<String>>,
    /// The first reason's sentence.
    pub agent_hears: Option<String>,
    /// The policies that decided, as an administrator sees them.
    pub policies: Option<Vec<String>>,
    /// What went wrong in detail, as an administrator sees it.
    pub detail: Option<String>,
    /// The whole answer as JSON.
    pub agent_sees: Option<String>,
    pub admin_sees: Option<String>,
    /// The name of the revision that it was made at.
    pub at_revision: Option<String>,
    /// What the RPC is refused with, if it is not answered.
    pub refused: Option<String>,
}

/// What is expected of calls at the same time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldOfMany {
    pub allowed: usize,
    /// The code of the first reason of all the others.
    pub others: Option<String>,
}

/// What is expected of a write. `"done"` alone will do, and is what is expected if nothing is.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ToldOfWrite {
    #[serde(default)]
    pub done: bool,
    /// It is the very same as what was made under this name, at the same revision.
    pub repeats: Option<String>,
    /// The code of the first reason of a deny.
    pub denied: Option<String>,
    pub hears: Option<String>,
    /// The policies behind the deny, as an administrator sees them.
    pub policies: Option<Vec<String>>,
    /// The status of what cannot be done at all, and words of its message.
    pub status: Option<String>,
    pub refused: Option<String>,
}

/// How something is expected to stand. The word alone will do.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub is: String,
    pub calls_left: Option<u64>,
    pub used: Option<u32>,
    pub by: Option<String>,
    pub at_revision: Option<String>,
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(from)?;
        let story = table.remove("do").map(|text| text.try_into());
        let expect = table.remove("expect");
        let meanwhile = table.remove("meanwhile").map(|act| act.try_into());
        let shown = table.to_string();
        let place = |error: toml::de::Error| {
            D::Error::custom(format!("{}\nin the step\n{shown}", error.message()))
        };
        Ok(Self {
            story: story.transpose().map_err(place)?,
            act: toml::Value::Table(table.clone())
                .try_into()
                .map_err(place)?,
            meanwhile: meanwhile.transpose().map_err(place)?,
            expect,
        })
    }
}

impl Step {
    /// What is expected, or the value that stands for the word that is.
    pub fn expect<T: DeserializeOwned>(
        &self,
        of_word: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let unknown = |word: &str| format!("`{word}` is nothing that can be expected here");
        match &self.expect {
            None => Ok(None),
            Some(toml::Value::String(word)) => of_word(word).map(Some).ok_or_else(|| unknown(word)),
            Some(value) => {
                let read = value.clone().try_into();
                read.map(Some)
                    .map_err(|error: toml::de::Error| error.message().to_owned())
            }
        }
    }

    fn shows_both_views_of(&self, reason: &str) -> bool {
        let expect = self.expect.as_ref().and_then(toml::Value::as_table);
        expect.is_some_and(|expect| {
            expect.get("deny").and_then(toml::Value::as_str) == Some(reason)
                && expect.contains_key("agent_sees")
                && expect.contains_key("admin_sees")
        })
    }
}

impl Scenario {
    /// Whether some step shows both views of a deny for this reason.
    pub fn shows_both_views_of(&self, reason: &str) -> bool {
        self.steps
            .iter()
            .any(|step| step.shows_both_views_of(reason))
    }

    /// Whether the store has to outlive the service.
    pub fn restarts(&self) -> bool {
        let restarts = |step: &Step| matches!(step.act, Act::Restart(_));
        self.steps.iter().any(restarts)
    }
}
