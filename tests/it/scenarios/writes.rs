//! Writes: asked for at the front door, and held against what is expected of them.

use std::collections::BTreeSet;

use callgate::proto::v1;
use callgate::proto::v1::control_server::Control as _;
use tonic::{Response, Status};

use crate::scenarios::play::Player;
use crate::scenarios::scope;
use crate::scenarios::stage::from;
use crate::scenarios::story::{
    Act, Covers, Grant, Kept, Narrow, OpenTask, PutEntity, RegisterTool, Step, TaskStep,
    ToldOfWrite,
};
use crate::scenarios::wire::{self, differ, same};

/// What a write made.
#[derive(Clone)]
pub struct Made {
    id: String,
    revision: u64,
    digest: Option<String>,
}

type Written = Result<Made, Status>;

fn made<T>(answer: Result<Response<T>, Status>, of: impl FnOnce(T) -> Made) -> Written {
    answer.map(|answer| of(answer.into_inner()))
}

fn bare(revision: u64) -> Made {
    Made {
        id: String::new(),
        revision,
        digest: None,
    }
}

fn from_delegation(delegation: Option<v1::StoredDelegation>, revision: u64) -> Made {
    Made {
        id: delegation.unwrap_or_default().id,
        ..bare(revision)
    }
}

fn of_task(task: Option<v1::Task>, revision: u64) -> Made {
    Made {
        id: task.unwrap_or_default().id,
        ..bare(revision)
    }
}

fn of_approval(approval: Option<v1::Approval>, revision: u64) -> Made {
    let approval = approval.unwrap_or_default();
    Made {
        id: approval.id,
        revision,
        digest: Some(approval.digest),
    }
}

fn kept(act: &Act) -> Option<&Kept> {
    Some(match act {
        Act::Grant(it) => &it.kept,
        Act::Narrow(it) => &it.kept,
        Act::Revoke(it) | Act::CloseTask(it) | Act::Reject(it) => &it.kept,
        Act::OpenTask(it) => &it.kept,
        Act::AdvanceTask(it) => &it.kept,
        Act::RequestApproval(it) => &it.kept,
        Act::Approve(it) => &it.kept,
        Act::EndSession(it) => &it.kept,
        Act::Stop(it) | Act::Resume(it) => &it.kept,
        Act::PutEntity(it) => &it.kept,
        Act::DeleteEntity(it) => &it.kept,
        Act::RegisterTool(it) => &it.kept,
        Act::PinTool(it) => &it.kept,
        _ => return None,
    })
}

impl Player {
    pub(super) async fn write_and_compare(&mut self, step: &Step, act: &Act) -> Result<(), String> {
        let told = step.expect(|word| {
            (word == "done").then(|| ToldOfWrite {
                done: true,
                ..ToldOfWrite::default()
            })
        })?;
        let told = told.unwrap_or(ToldOfWrite {
            done: true,
            ..ToldOfWrite::default()
        });
        let gateway = kept(act).and_then(|kept| kept.gateway.as_deref());
        let gateway = gateway.unwrap_or("gateway");
        match self.write(act, gateway).await? {
            Ok(made) => self.compare_made(&told, act, made),
            Err(status) => {
                self.compare_status(&told, &status)?;
                let Some(policies) = &told.policies else {
                    return Ok(());
                };
                // What is denied changes nothing, so an administrator may look at it again.
                let console = format!("{gateway}-console");
                let again = self.write(act, &console).await?.err();
                let reasons = again.as_ref().and_then(wire::reasons).unwrap_or_default();
                let came: BTreeSet<_> = reasons.into_iter().flat_map(|it| it.policy_ids).collect();
                same("policies", policies, &came.into_iter().collect())
            }
        }
    }

    fn compare_made(&mut self, told: &ToldOfWrite, act: &Act, made: Made) -> Result<(), String> {
        if let Some(name) = &told.repeats {
            same("the id", &self.id(name)?, &made.id)?;
            let first = self.revision(&format!("that of {name}"))?;
            return same("the revision", &first, &made.revision);
        }
        if !told.done {
            return Err(differ("a refusal", "it was done"));
        }
        self.keep(act, made);
        Ok(())
    }

    fn compare_status(&self, told: &ToldOfWrite, status: &Status) -> Result<(), String> {
        let (code, message) = (status.code(), self.named(status.message()));
        let reasons = wire::reasons(status);
        let codes = wire::codes(reasons.as_deref().unwrap_or_default());
        let came = || format!("{code:?} {codes:?}: {message}");
        if told.done || told.repeats.is_some() {
            return Err(differ("it is done".to_owned(), came()));
        }
        if let Some(reason) = &told.denied {
            if codes.first() != Some(reason) {
                return Err(differ(format!("denied, {reason}"), came()));
            }
            for reason in reasons.iter().flatten() {
                let is_discreet = reason.policy_ids.is_empty() && reason.detail.is_empty();
                same("told no more than an agent may hear:", &true, &is_discreet)?;
            }
        } else if reasons.is_some() {
            return Err(differ("a refusal without a reason code".to_owned(), came()));
        }
        if let Some(words) = &told.hears {
            same("hears", words, &message)?;
        }
        if let Some(words) = told
            .refused
            .as_ref()
            .filter(|words| !message.contains(*words))
        {
            return Err(differ(format!("refused: … {words} …"), came()));
        }
        match &told.status {
            Some(name) => same("status", name, &format!("{code:?}")),
            None => Ok(()),
        }
    }

    /// Remembers what was made under the names that the story gives.
    pub(super) fn keep(&mut self, act: &Act, made: Made) {
        if let Some(digest) = &made.digest {
            self.digests.insert(made.id.clone(), digest.clone());
        }
        let Some(kept) = kept(act) else { return };
        if let Some(name) = &kept.revision {
            self.revisions.insert(name.clone(), made.revision);
        }
        if let Some(name) = &kept.name {
            let first = format!("that of {name}");
            self.revisions.insert(first, made.revision);
            self.ids.insert(name.clone(), made.id);
        }
    }

    pub(super) async fn write(&self, act: &Act, gateway: &str) -> Result<Written, String> {
        let control = self.stage.control();
        let key = kept(act).and_then(|kept| kept.key.clone());
        let idempotency_key = key.unwrap_or_default();
        Ok(match act {
            Act::Grant(it) => {
                let request = self.grant(it, idempotency_key)?;
                let answer = control.grant_delegation(from(gateway, request)).await;
                made(answer, |it| from_delegation(it.delegation, it.revision))
            }
            Act::Narrow(it) => {
                let request = self.narrowing(it, idempotency_key)?;
                let answer = control.narrow_delegation(from(gateway, request)).await;
                made(answer, |it| from_delegation(it.delegation, it.revision))
            }
            Act::Revoke(it) => {
                let request = v1::RevokeDelegationRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    id: self.id(&it.id)?,
                };
                let answer = control.revoke_delegation(from(gateway, request)).await;
                made(answer, |it| from_delegation(it.delegation, it.revision))
            }
            Act::OpenTask(it) => {
                let request = self.opening(it, idempotency_key)?;
                let answer = control.open_task(from(gateway, request)).await;
                made(answer, |it| of_task(it.task, it.revision))
            }
            Act::AdvanceTask(it) => {
                let request = v1::AdvanceTaskRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    id: self.id(&it.id)?,
                    step: it.to.clone().unwrap_or_default(),
                };
                let answer = control.advance_task(from(gateway, request)).await;
                made(answer, |it| of_task(it.task, it.revision))
            }
            Act::CloseTask(it) => {
                let request = v1::CloseTaskRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    id: self.id(&it.id)?,
                };
                let answer = control.close_task(from(gateway, request)).await;
                made(answer, |it| of_task(it.task, it.revision))
            }
            Act::EndSession(it) => {
                let request = v1::EndSessionRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    session_id: it.session.clone(),
                };
                let answer = control.end_session(from(gateway, request)).await;
                made(answer, |it| bare(it.revision))
            }
            Act::RequestApproval(_) | Act::Approve(_) | Act::Reject(_) => {
                self.write_approval(act, gateway, idempotency_key).await?
            }
            _ => self.write_entity(act, gateway, idempotency_key).await?,
        })
    }

    async fn write_approval(
        &self,
        act: &Act,
        gateway: &str,
        idempotency_key: String,
    ) -> Result<Written, String> {
        let control = self.stage.control();
        Ok(match act {
            Act::RequestApproval(it) => {
                let (call_context, challenge) = match &it.call {
                    Some(call) => (self.context(call)?, None),
                    None => self.denied.clone().ok_or("no call was denied before")?,
                };
                let request = v1::RequestApprovalRequest {
                    call_context: Some(*call_context),
                    idempotency_key,
                    challenge,
                };
                let answer = control.request_approval(from(gateway, request)).await;
                made(answer, |it| of_approval(it.approval, it.revision))
            }
            Act::Approve(it) => {
                let id = self.id(&it.id)?;
                let seen = self.id(it.seen.as_ref().unwrap_or(&it.id))?;
                let request = v1::ApproveCallRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    id,
                    digest: self.digests.get(&seen).cloned().unwrap_or_default(),
                    uses: it.uses,
                    comment: String::new(),
                };
                let answer = control.approve_call(from(gateway, request)).await;
                made(answer, |it| of_approval(it.approval, it.revision))
            }
            Act::Reject(it) => {
                let request = v1::RejectCallRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    id: self.id(&it.id)?,
                    comment: String::new(),
                };
                let answer = control.reject_call(from(gateway, request)).await;
                made(answer, |it| of_approval(it.approval, it.revision))
            }
            _ => return Err("this is no write about an approval".to_owned()),
        })
    }

    async fn write_entity(
        &self,
        act: &Act,
        gateway: &str,
        idempotency_key: String,
    ) -> Result<Written, String> {
        let control = self.stage.control();
        Ok(match act {
            Act::PutEntity(it) => {
                let request = v1::PutEntityRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    entity: Some(whole(it)?),
                };
                let answer = control.put_entity(from(gateway, request)).await;
                made(answer, |it| bare(it.revision))
            }
            Act::Stop(it) => {
                let request = v1::StopEntityRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    uid: scope::entity(&it.entity)?,
                    reason: it.reason.clone(),
                };
                let answer = control.stop_entity(from(gateway, request)).await;
                made(answer, |it| bare(it.revision))
            }
            Act::Resume(it) => {
                let request = v1::ResumeEntityRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    uid: scope::entity(&it.entity)?,
                };
                let answer = control.resume_entity(from(gateway, request)).await;
                made(answer, |it| bare(it.revision))
            }
            Act::DeleteEntity(it) => {
                let request = v1::DeleteEntityRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    uid: scope::entity(&it.entity)?,
                };
                let answer = control.delete_entity(from(gateway, request)).await;
                made(answer, |it| bare(it.revision))
            }
            Act::RegisterTool(it) => {
                let request = registration(it, idempotency_key)?;
                let answer = control.register_tool(from(gateway, request)).await;
                made(answer, |it| Made {
                    id: it.digest,
                    ..bare(it.revision)
                })
            }
            Act::PinTool(it) => {
                let (server, tool) = scope::tool(&it.tool)?;
                let request = v1::PinToolRequest {
                    actor: scope::actor(&it.by)?,
                    idempotency_key,
                    server,
                    tool,
                    definition_json: scope::json(&it.definition).into(),
                };
                let answer = control.pin_tool(from(gateway, request)).await;
                made(answer, |it| Made {
                    id: it.digest,
                    ..bare(it.revision)
                })
            }
            _ => return Err("this cannot happen meanwhile".to_owned()),
        })
    }

    fn grant(&self, it: &Grant, key: String) -> Result<v1::GrantDelegationRequest, String> {
        let begins = it.begins_in.as_deref().map(|time| self.stage.after(time));
        Ok(v1::GrantDelegationRequest {
            lasts: None,
            actor: scope::actor(&it.by)?,
            idempotency_key: key,
            to: scope::entity(&it.to)?,
            scope: scope::scope(&it.covers)?,
            task_id: self.maybe_id(it.task.as_ref())?,
            parent_id: self.maybe_id(it.from.as_ref())?,
            max_redelegations: it.max_redelegations,
            not_before: begins.transpose()?.flatten(),
            expires_at: self.stage.after(&it.lasts)?,
        })
    }

    fn narrowing(&self, it: &Narrow, key: String) -> Result<v1::NarrowDelegationRequest, String> {
        let lasts = it.lasts.as_deref().map(|time| self.stage.after(time));
        Ok(v1::NarrowDelegationRequest {
            lasts: None,
            actor: scope::actor(&it.by)?,
            idempotency_key: key,
            id: self.id(&it.id)?,
            scope: maybe_scope(it.covers.as_ref())?,
            expires_at: lasts.transpose()?.flatten(),
            max_redelegations: it.max_redelegations,
        })
    }

    fn opening(&self, it: &OpenTask, key: String) -> Result<v1::OpenTaskRequest, String> {
        let step = |step: &TaskStep| {
            Ok(v1::TaskStep {
                name: step.name.clone(),
                scope: scope::scope(&step.covers)?,
            })
        };
        let steps: Result<Vec<_>, String> = it.steps.iter().map(step).collect();
        let purpose = it.purpose.clone();
        Ok(v1::OpenTaskRequest {
            lasts: None,
            tool_uses: it.uses.iter().map(scope::tool_use).collect(),
            places: scope::places(&it.reads, &it.sends),
            actor: scope::actor(&it.by)?,
            idempotency_key: key,
            agent: scope::entity(&it.agent)?,
            person: scope::entity(&it.person)?,
            purpose: purpose.unwrap_or_else(|| "what the story is about".into()),
            scope: maybe_scope(it.covers.as_ref())?,
            call_budget: it.calls,
            steps: steps?,
            deadline: self.stage.after(&it.lasts)?,
        })
    }

    fn maybe_id(&self, name: Option<&String>) -> Result<String, String> {
        let id = name.map(|name| self.id(name)).transpose()?;
        Ok(id.unwrap_or_default())
    }
}

fn maybe_scope(covers: Option<&Covers>) -> Result<Option<v1::Scope>, String> {
    Ok(covers.map(scope::scope).transpose()?.flatten())
}

fn whole(it: &PutEntity) -> Result<v1::Entity, String> {
    let parents = it.parents.iter().map(|name| scope::entity(name));
    let parents = parents.collect::<Result<Vec<_>, _>>()?;
    Ok(v1::Entity {
        uid: scope::entity(&it.entity)?,
        attributes: scope::fields(&it.attributes),
        parents: parents.into_iter().flatten().collect(),
        ..v1::Entity::default()
    })
}

fn registration(it: &RegisterTool, key: String) -> Result<v1::RegisterToolRequest, String> {
    let (server, tool) = scope::tool(&it.tool)?;
    let definition = it.definition.as_ref().map(scope::json).unwrap_or_default();
    Ok(v1::RegisterToolRequest {
        actor: scope::actor(&it.by)?,
        idempotency_key: key,
        server,
        tool,
        access: scope::access(&it.access)?,
        yields: it.yields.clone(),
        egress: it.egress,
        sensitivity: "internal".to_owned(),
        owner: it.owner.clone(),
        definition_json: definition.into(),
        ..v1::RegisterToolRequest::default()
    })
}
