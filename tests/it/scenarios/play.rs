//! Plays a scenario step by step.

use std::collections::BTreeMap;

use callgate::adapters::callgate_v1::encode::{self, Disclosure};
use callgate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use callgate::proto::codec::{self, EncodedMessage};
use callgate::proto::served::authorization_server::Authorization as _;
use callgate::proto::v1;
use callgate::service::request::Response;
use prost_types::Timestamp;
use serde_json::Value as Json;
use tokio::task::JoinSet;
use tonic::Status;
use uuid::Uuid;

use crate::scenarios::scope;
use crate::scenarios::stage::{Stage, from, length};
use crate::scenarios::story::{
    Act, AtOnce, Call, Encode, Restart, Scenario, Step, StoreMood, ToldOfCall, ToldOfMany,
};
use crate::scenarios::wire::{self, differ, same};

/// A scenario under way.
pub struct Player {
    pub(super) stage: Stage,
    /// What was made, by the names that the story gave.
    pub(super) ids: BTreeMap<String, String>,
    pub(super) revisions: BTreeMap<String, u64>,
    /// The digests of approvals, by their ids.
    pub(super) digests: BTreeMap<String, String>,
    /// The call that was denied last, and its challenge.
    pub(super) denied: Option<(Box<v1::CallContext>, Option<v1::ApprovalChallenge>)>,
}

/// An answer, or the status instead of one.
type Answered = Result<v1::AuthorizeResponse, Status>;

impl Player {
    pub fn enter(scenario: &Scenario) -> Result<Self, String> {
        let stage = Stage::build(scenario)?;
        let mut revisions = BTreeMap::new();
        revisions.insert("beginning".to_owned(), stage.revision());
        Ok(Self {
            stage,
            ids: BTreeMap::new(),
            revisions,
            digests: BTreeMap::new(),
            denied: None,
        })
    }

    pub async fn play(&mut self, step: &Step) -> Result<(), String> {
        self.stage.catch_up().await;
        match &step.act {
            Act::Call(call) => self.call(step, call).await,
            Act::AtOnce(calls) => self.at_once(step, calls).await,
            Act::List(call) => self.list(step, call).await,
            Act::Look(look) => self.look(step, look).await,
            Act::Changes(changes) => self.changes(step, changes).await,
            Act::Encode(reason) => self.encode(step, reason),
            Act::Pass(time) => {
                self.stage.pass(length(time)?);
                Ok(())
            }
            Act::TurnBack(time) => {
                self.stage.turn_back(length(time)?);
                Ok(())
            }
            Act::Restart(how) => {
                self.stage.restart(matches!(how, Restart::Stopped));
                Ok(())
            }
            Act::Store(mood) => {
                self.stage.set_store(matches!(mood, StoreMood::Fails));
                Ok(())
            }
            write => self.write_and_compare(step, write).await,
        }
    }

    /// The id of what the story calls by this name. A name with `=` in front is the id itself.
    pub(super) fn id(&self, name: &str) -> Result<String, String> {
        if let Some(id) = name.strip_prefix('=') {
            return Ok(id.to_owned());
        }
        let known = self.ids.get(name);
        known
            .cloned()
            .ok_or_else(|| format!("the story has made nothing by the name `{name}`"))
    }

    fn all_ids(&self, names: &[String]) -> Result<Vec<String>, String> {
        names.iter().map(|name| self.id(name)).collect()
    }

    pub(super) fn revision(&self, name: &str) -> Result<u64, String> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let (name, more) = match name.strip_suffix(" + 1") {
            Some(name) => (name, 1),
            None => (name, 0),
        };
        let known = self.revisions.get(name);
        known
            .map(|revision| revision + more)
            .ok_or_else(|| format!("`{name}` is no revision of this story"))
    }

    /// A text with the story's names in the place of ids.
    pub(super) fn named(&self, text: &str) -> String {
        let named = self.ids.iter();
        named.fold(text.to_owned(), |text, (name, id)| {
            text.replace(id, &format!("{{{name}}}"))
        })
    }

    pub(super) fn context(&self, call: &Call) -> Result<Box<v1::CallContext>, String> {
        let expires_at: Option<Timestamp> = match (&call.token_ends_in, &call.token_ended) {
            (Some(time), _) => self.stage.after(time)?,
            (None, Some(time)) => self.stage.before(time)?,
            (None, None) => None,
        };
        let root = call.for_whom.as_deref().map(scope::entity).transpose()?;
        let actors = call.via.iter().map(|name| scope::entity(name));
        let actors = actors.collect::<Result<Vec<_>, _>>()?;
        let is_delegated = root.is_some() || !call.delegations.is_empty();
        let delegation = v1::Delegation {
            root: root.flatten(),
            actors: actors.into_iter().flatten().collect(),
            verified: !call.unverified,
            delegation_ids: self.all_ids(&call.delegations)?,
            expires_at,
            ..v1::Delegation::default()
        };
        let task = call.task.as_deref().map(|name| self.id(name)).transpose()?;
        Ok(Box::new(v1::CallContext {
            subject: Some(v1::Subject {
                entity: scope::entity(&call.by)?,
                identity: scope::identity(call.unverified),
                claims: None,
            }),
            delegation: is_delegated.then_some(delegation),
            operation: Some(operation(call)?),
            workflow: Some(v1::Workflow {
                session_id: call.session.clone().unwrap_or_default(),
                task_id: task.unwrap_or_default(),
                step: call.step.clone().unwrap_or_default(),
                ..v1::Workflow::default()
            }),
            approval_ids: self.all_ids(&call.approvals)?,
            ..v1::CallContext::default()
        }))
    }

    async fn ask(&self, call: &Call, for_admin: bool, dry_run: bool) -> Result<Answered, String> {
        let revision = call.at_least_revision.as_deref();
        let revision = revision.map(|name| self.revision(name)).transpose()?;
        let request = v1::AuthorizeRequest {
            call_context: Some(self.context(call)?),
            at_least_revision: revision.unwrap_or_default(),
            explain: for_admin,
            dry_run,
        };
        let gateway = call.gateway.as_deref().unwrap_or("gateway");
        let gateway = match for_admin {
            true => format!("{gateway}-console"),
            false => gateway.to_owned(),
        };
        let answer = self
            .stage
            .authorization()
            .authorize(from(&gateway, served(&request)));
        Ok(answer.await.map(decoded))
    }

    /// The agent asks. The administrator has asked the same just before, to no effect, and does once more
    /// after a deny, which has none.
    async fn call(&mut self, step: &Step, call: &Call) -> Result<(), String> {
        let told = step.expect(|word| {
            let (allow, stopped) = (word == "allow", word == "stopped");
            (allow || stopped).then(|| ToldOfCall {
                allow,
                stopped,
                ..ToldOfCall::default()
            })
        })?;
        let told = told.ok_or("nothing is expected of this call")?;
        let (agent, rehearsed) = match &step.meanwhile {
            None => {
                let rehearsed = self.ask(call, true, true).await?;
                (self.ask(call, false, false).await?, rehearsed)
            }
            Some(act) => {
                let (agent, admin, made) = tokio::join!(
                    self.ask(call, false, false),
                    self.ask(call, true, true),
                    self.write(act, "gateway"),
                );
                let made = made?.map_err(|status| status.to_string())?;
                self.keep(act, made);
                (agent?, admin?)
            }
        };
        let agent = match (agent, &told.refused) {
            (Err(status), Some(words)) if status.message().contains(words) => return Ok(()),
            (Err(status), _) => return Err(differ("an answer", status.message())),
            (Ok(_), Some(words)) => return Err(differ(words.as_str(), "an answer")),
            (Ok(answer), None) => answer,
        };
        self.check_discretion(&agent)?;
        let is_allow = agent.decision() == v1::Decision::Allow;
        let admin = match is_allow || step.meanwhile.is_some() {
            true => rehearsed,
            false => self.ask(call, true, false).await?,
        };
        let admin = admin.map_err(|status| status.to_string())?;
        if !is_allow {
            self.denied = Some((self.context(call)?, agent.approval.clone()));
        }
        self.compare(&told, &agent, &admin)
    }

    fn compare(
        &self,
        told: &ToldOfCall,
        agent: &v1::AuthorizeResponse,
        admin: &v1::AuthorizeResponse,
    ) -> Result<(), String> {
        let codes = wire::codes(&agent.reasons);
        let (expected, came) = (outcome_told(told), outcome_came(agent, &codes));
        let first_only = told.and.is_none().then(|| codes.first()).flatten();
        let is_same = match (&told.deny, first_only) {
            _ if told.stopped => codes.first().is_some_and(|code| is_by_policy(code)),
            (Some(code), Some(first)) if !told.allow => code == first,
            _ => expected == came,
        };
        if !is_same {
            let why = agent.reasons.first().map_or("", |it| &it.message);
            let detail = admin
                .reasons
                .iter()
                .map(|it| &*it.detail)
                .collect::<Vec<_>>();
            return Err(format!(
                "{}\n  because  {why} {detail:?}",
                differ(expected, came)
            ));
        }
        let first = admin.reasons.first();
        let needs_approval = codes.first().is_some_and(|it| it == "APPROVAL_REQUIRED");
        same("a challenge:", &needs_approval, &agent.approval.is_some())?;
        if let Some(words) = &told.agent_hears {
            let came = agent.reasons.first().map(|it| self.named(&it.message));
            same("the agent hears", words, &came.unwrap_or_default())?;
        }
        if let Some(policies) = &told.policies {
            let came = admin.determining_policies.iter();
            let mut came: Vec<String> = came.map(|it| it.id.clone()).collect();
            came.sort();
            same("policies", policies, &came)?;
        }
        if let Some(detail) = &told.detail {
            let came = first.map(|it| self.named(&it.detail)).unwrap_or_default();
            same("detail", detail, &came)?;
        }
        if let Some(name) = &told.at_revision {
            same("revision", &self.revision(name)?, &agent.revision)?;
        }
        self.compare_view("the agent sees", told.agent_sees.as_deref(), agent)?;
        self.compare_view("the administrator sees", told.admin_sees.as_deref(), admin)
    }

    fn compare_view(
        &self,
        who: &str,
        told: Option<&str>,
        came: &v1::AuthorizeResponse,
    ) -> Result<(), String> {
        let Some(told) = told else { return Ok(()) };
        let came = self.named(&format!("{:#}", wire::shown(came)));
        let came: Json = serde_json::from_str(&came).expect("JSON");
        let told: Json = serde_json::from_str(told).map_err(|error| format!("{who}: {error}"))?;
        if told == came {
            return Ok(());
        }
        Err(differ(
            format!("{who}\n{told:#}"),
            format!("{who}\n{came:#}"),
        ))
    }

    /// What an agent's answer never says, whatever was asked.
    fn check_discretion(&self, answer: &v1::AuthorizeResponse) -> Result<(), String> {
        let text = wire::shown(answer).to_string();
        let policies = self.stage.world.policies.iter();
        let delegations = self.ids.values().filter(|id| id.starts_with("delegation-"));
        if let Some(name) = policies
            .chain(delegations)
            .find(|name| text.contains(&***name))
        {
            let name = self.named(name);
            return Err(format!(
                "  the agent's answer names `{name}`: {}",
                self.named(&text)
            ));
        }
        let shows_details = answer.explanation.is_some()
            || !answer.determining_policies.is_empty()
            || answer.obligations.iter().any(|it| !it.policy_id.is_empty())
            || (answer.reasons.iter()).any(|it| !it.detail.is_empty() || !it.policy_ids.is_empty());
        match shows_details {
            true => Err(format!("  the agent's answer shows details: {text}")),
            false => Ok(()),
        }
    }

    async fn at_once(&mut self, step: &Step, at_once: &AtOnce) -> Result<(), String> {
        let told: Option<ToldOfMany> = step.expect(|_| None)?;
        let told = told.ok_or("nothing is expected of these calls")?;
        let mut running = JoinSet::new();
        for call in &at_once.calls {
            let context = self.context(call)?;
            for _ in 0..at_once.times {
                let request = v1::AuthorizeRequest {
                    call_context: Some(context.clone()),
                    ..v1::AuthorizeRequest::default()
                };
                let authorization = self.stage.authorization().clone();
                running.spawn(async move {
                    authorization
                        .authorize(from("gateway", served(&request)))
                        .await
                });
            }
        }
        let (mut allowed, mut others) = (0, Vec::new());
        while let Some(answer) = running.join_next().await {
            let answer = answer.map_err(|error| error.to_string())?;
            let answer = decoded(answer.map_err(|status| status.to_string())?);
            self.check_discretion(&answer)?;
            match wire::codes(&answer.reasons).first() {
                None => allowed += 1,
                Some(code) => others.push(code.clone()),
            }
        }
        same("allowed", &told.allowed, &allowed)?;
        if let Some(code) = &told.others {
            let all = vec![code.clone(); at_once.calls.len() * at_once.times - allowed];
            same("the others", &all, &others)?;
        }
        Ok(())
    }

    /// Which of a server's tools somebody gets to see: `"shown"` or the code why not.
    async fn list(&mut self, step: &Step, call: &Call) -> Result<(), String> {
        let told: Option<String> = step.expect(|word| Some(word.to_owned()))?;
        let name = call.tool.as_deref().unwrap_or_default();
        let (server, tool) = scope::tool(name)?;
        let request = v1::FilterToolsRequest {
            call_context: Some(self.context(call)?),
            server,
            tools: vec![tool],
            at_least_revision: 0,
        };
        let answer = self
            .stage
            .authorization()
            .filter_tools(from("gateway", served(&request)));
        let answer = decoded(answer.await.map_err(|status| status.to_string())?);
        let hidden = answer.hidden.first().map(|it| it.code().as_str_name());
        let came = hidden.map_or("shown", |it| it.trim_start_matches("REASON_CODE_"));
        same("the tool is", &told.unwrap_or_default(), &came.to_owned())
    }

    /// An answer that cannot be brought about from a story, in its wire form.
    fn encode(&self, step: &Step, encode: &Encode) -> Result<(), String> {
        let told: Option<ToldOfCall> = step.expect(|_| None)?;
        let told = told.ok_or("nothing is expected")?;
        let code = match encode.is_unrecorded {
            true => ReasonCode::AuditUnavailable,
            false => ReasonCode::Internal,
        };
        let reason = Reason {
            detail: encode.detail.clone(),
            ..Reason::new(code, &*encode.message)
        };
        let view = |is_entitled| {
            let answer = Response {
                value: Box::new(Verdict::deny(reason.clone())),
                decision_id: Uuid::nil(),
                revision: self.stage.revision(),
                policies_total: 0,
                observed: None,
            };
            let is_wanted = is_entitled;
            let detail = Disclosure {
                is_entitled,
                is_wanted,
            };
            let encoded = encode::authorize(&answer, detail);
            encoded.message().expect("a message")
        };
        let (agent, admin) = (view(false), view(true));
        self.check_discretion(&agent)?;
        self.compare(&told, &agent, &admin)
    }
}

/// A request as the service gets it.
fn served<U: prost::Message + Default>(request: &impl prost::Message) -> U {
    codec::recoded(request).expect("the same message")
}

/// The message of an answer.
fn decoded<M: prost::Message + Default>(answer: tonic::Response<EncodedMessage<M>>) -> M {
    answer.into_inner().message().expect("a message")
}

fn operation(call: &Call) -> Result<v1::Operation, String> {
    use v1::operation::Kind;
    let (server, kind) = match (&call.tool, &call.server, &call.connect) {
        (Some(tool), None, None) => {
            let (server, tool) = scope::tool(tool)?;
            let input = call.arguments.as_ref().map(scope::json);
            let input = input.map(|json| v1::call_tool::Input::ArgumentsJson(json.into()));
            let kind = Kind::CallTool(v1::CallTool {
                tool,
                input,
                definition_digest: call.definition.clone().unwrap_or_default(),
                target: call.target.clone().unwrap_or_default(),
            });
            (server, kind)
        }
        (None, Some(server), None) => (server.clone(), Kind::ListTools(v1::ListTools {})),
        (None, Some(server), Some(method)) => {
            let method = method.clone();
            (server.clone(), Kind::Connect(v1::Connect { method }))
        }
        _ => return Err("a call has either a `tool` or a `server`".to_owned()),
    };
    Ok(v1::Operation {
        server,
        kind: Some(kind),
        ..v1::Operation::default()
    })
}

/// Whether a deny for this reason is one of policies, not of a call that is made wrongly.
fn is_by_policy(code: &str) -> bool {
    ["FORBIDDEN", "APPROVAL_REQUIRED"].contains(&code)
}

fn outcome_told(told: &ToldOfCall) -> String {
    match &told.deny {
        _ if told.stopped => "deny by policy".to_owned(),
        Some(code) if !told.allow => {
            let more = told.and.iter().flatten().map(|code| format!(", {code}"));
            format!("deny, {code}{}", more.collect::<String>())
        }
        _ => "allow".to_owned(),
    }
}

fn outcome_came(answer: &v1::AuthorizeResponse, codes: &[String]) -> String {
    match answer.decision() {
        v1::Decision::Allow => "allow".to_owned(),
        _ => format!("deny, {}", codes.join(", ")),
    }
}
