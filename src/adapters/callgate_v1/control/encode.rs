//! Encodes views of the write side as messages of `callgate.v1.Control`.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use prost_types::Timestamp;
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::adapters::callgate_v1::control::bundles;
use crate::adapters::callgate_v1::encode::entity_ref;
use crate::adapters::input::json;
use crate::authn::caller::Rights;
use crate::control::entities::{EntitySource, EntityView};
use crate::control::historical_view::{self, HistoricalView};
use crate::control::live_view::{ApprovalView, DelegationView, TaskView};
use crate::control::page::ListPage;
use crate::control::tasks::OPEN_TASK;
use crate::domain::authority::approval::{
    Approval, ApprovalContext, ApprovalPolicy, ApprovalStatus,
};
use crate::domain::authority::change::{Change, ChangeRecord};
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::scope::Scope;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::{Task, TaskStatus, TaskStep};
use crate::domain::authority::terms::{AllowedValues, KnownResource, ToolUse};
use crate::domain::request::call_context::Initiator;
use crate::domain::schema::AccessLevel;
use crate::proto::v1;
use crate::service::generation::Generation;

pub(super) fn delegation(view: DelegationView) -> v1::StoredDelegation {
    let delegation: &Delegation = &view.delegation;
    v1::StoredDelegation {
        id: delegation.id.to_string(),
        from: Some(entity_ref(&delegation.from)),
        to: Some(entity_ref(&delegation.to)),
        scope: Some(scope(&delegation.scope)),
        task_id: text(delegation.task.as_ref()),
        parent_id: text(delegation.parent.as_ref()),
        max_redelegations: delegation.max_redelegations,
        not_before: Some(timestamp(delegation.not_before)),
        expires_at: Some(timestamp(delegation.expires_at)),
        created_at: Some(timestamp(delegation.created_at)),
        revoked_at: delegation.revoked_at.map(timestamp),
        status: match view.status {
            DelegationStatus::Active => v1::DelegationStatus::Active,
            DelegationStatus::NotYetValid => v1::DelegationStatus::NotYet,
            DelegationStatus::Expired => v1::DelegationStatus::Expired,
            DelegationStatus::Revoked => v1::DelegationStatus::Revoked,
            DelegationStatus::TaskEnded => v1::DelegationStatus::TaskOver,
            DelegationStatus::AgentGone => v1::DelegationStatus::AgentGone,
        }
        .into(),
    }
}

pub(super) fn delegations(listed: ListPage<DelegationView>) -> v1::ListDelegationsResponse {
    v1::ListDelegationsResponse {
        delegations: listed.items.into_iter().map(delegation).collect(),
        next_page_token: text(listed.next.as_ref()),
        revision: listed.revision,
    }
}

pub(super) fn task(view: TaskView) -> v1::Task {
    let task: &Task = &view.task;
    let step = |step: &TaskStep| v1::TaskStep {
        name: step.name.to_string(),
        scope: Some(scope(&step.scope)),
    };
    v1::Task {
        id: task.id.to_string(),
        agent: Some(entity_ref(&task.agent)),
        person: Some(entity_ref(&task.person)),
        purpose: task.purpose.to_string(),
        scope: task.scope.as_ref().map(scope),
        call_budget: task.call_budget,
        calls_left: view.calls_left,
        steps: task.steps.iter().map(step).collect(),
        tool_uses: {
            let left = view.tool_calls_left.iter().copied();
            let uses = task.terms.uses.iter().zip(left);
            uses.map(|(it, left)| tool_use(it, left)).collect()
        },
        places: task.terms.places.iter().map(task_place).collect(),
        step: text(task.step().map(|step| &step.name)),
        opened_at: Some(timestamp(task.opened_at)),
        deadline: Some(timestamp(task.deadline)),
        closed_at: task.closed_at.map(timestamp),
        status: match view.status {
            TaskStatus::Open => v1::TaskStatus::Open,
            TaskStatus::Closed => v1::TaskStatus::Closed,
            TaskStatus::Overdue => v1::TaskStatus::Overdue,
            TaskStatus::AgentGone => v1::TaskStatus::AgentGone,
        }
        .into(),
    }
}

pub(super) fn tasks(listed: ListPage<TaskView>) -> v1::ListTasksResponse {
    v1::ListTasksResponse {
        tasks: listed.items.into_iter().map(task).collect(),
        next_page_token: text(listed.next.as_ref()),
        revision: listed.revision,
    }
}

fn tool_use(it: &ToolUse, calls_left: Option<u64>) -> v1::ToolUse {
    let values = |it: &AllowedValues| v1::ArgumentValues {
        argument: it.argument.to_string(),
        values_json: it.values.iter().map(ToString::to_string).collect(),
    };
    v1::ToolUse {
        tool: id(&it.tool),
        targets: ids(&it.targets),
        arguments: it.arguments.iter().map(values).collect(),
        max_calls: it.max_calls,
        calls_left,
        any_target: it.any_target,
    }
}

fn task_place(it: &KnownResource) -> v1::TaskPlace {
    v1::TaskPlace {
        place: id(&it.place),
        read: it.read,
        send: it.send,
    }
}

/// Policies that require the approval are shown to callers with the right `explain`.
pub(super) fn approval(view: ApprovalView, rights: &Rights) -> v1::Approval {
    let Approval {
        id,
        digest,
        call,
        circumstances: it,
        requested_at,
        expires_at,
        word,
    } = &*view.approval;
    v1::Approval {
        id: id.to_string(),
        digest: digest.to_string(),
        subject: Some(entity_ref(&call.subject)),
        root: call.root.as_ref().map(entity_ref),
        actors: call.actors.iter().map(entity_ref).collect(),
        server: call.server.to_string(),
        tool: call.tool.to_string(),
        arguments_json: call.arguments.clone().into(),
        definition_digest: text(call.definition.as_ref()),
        target: text(call.target.as_ref()),
        task_id: text(call.task.as_ref()),
        requested_at: Some(timestamp(*requested_at)),
        expires_at: Some(timestamp(*expires_at)),
        status: match view.status {
            ApprovalStatus::Pending => v1::ApprovalStatus::Pending,
            ApprovalStatus::Approved => v1::ApprovalStatus::Approved,
            ApprovalStatus::Rejected => v1::ApprovalStatus::Rejected,
            ApprovalStatus::Expired => v1::ApprovalStatus::Expired,
            ApprovalStatus::Used => v1::ApprovalStatus::Used,
            ApprovalStatus::TaskEnded => v1::ApprovalStatus::TaskOver,
            ApprovalStatus::AgentGone => v1::ApprovalStatus::AgentGone,
        }
        .into(),
        decided_by: word.as_ref().map(|word| entity_ref(&word.by)),
        decided_at: word.as_ref().map(|word| timestamp(word.at)),
        comment: word
            .as_ref()
            .and_then(|word| word.comment.clone())
            .unwrap_or_default(),
        uses: word.as_ref().map_or(0, |word| word.uses),
        used: view.used,
        initiator: match call.initiator {
            Initiator::Client => v1::Initiator::Client,
            Initiator::Server => v1::Initiator::Server,
            Initiator::Ui => v1::Initiator::Ui,
        }
        .into(),
        input_responses_json: call.responses.clone().unwrap_or_default().into(),
        request_state: call.request_state.clone().unwrap_or_default(),
        circumstances: Some(circumstances(it, rights)),
    }
}

fn circumstances(it: &ApprovalContext, rights: &Rights) -> v1::ApprovalCircumstances {
    let entitled = |text: &str| match rights.explain {
        true => text.to_owned(),
        false => String::new(),
    };
    let policy = |policy: &ApprovalPolicy| v1::AskingPolicy {
        id: entitled(&policy.id),
        owner: entitled(policy.owner.as_deref().unwrap_or_default()),
        reason: policy.reason.as_deref().unwrap_or_default().to_owned(),
    };
    let texts = |list: &[SmolStr]| list.iter().map(ToString::to_string).collect();
    v1::ApprovalCircumstances {
        policies: it.policies.iter().map(policy).collect(),
        session_labels: texts(&it.labels),
        purpose: text(it.purpose.as_ref()),
        targets: it.targets.iter().map(entity_ref).collect(),
        access: it
            .access
            .map_or(v1::AccessLevel::Unspecified, access)
            .into(),
        argument_order: texts(&it.argument_order),
    }
}

fn access(access: AccessLevel) -> v1::AccessLevel {
    match access {
        AccessLevel::Read => v1::AccessLevel::Read,
        AccessLevel::Write => v1::AccessLevel::Write,
        AccessLevel::Admin => v1::AccessLevel::Admin,
    }
}

pub(super) fn approvals(
    listed: ListPage<ApprovalView>,
    rights: &Rights,
) -> v1::ListApprovalsResponse {
    let approval = |it| approval(it, rights);
    v1::ListApprovalsResponse {
        approvals: listed.items.into_iter().map(approval).collect(),
        next_page_token: text(listed.next.as_ref()),
        revision: listed.revision,
    }
}

pub(super) fn entity(view: EntityView) -> v1::Entity {
    let part = |name: &str| match view.json.get(name) {
        Some(Json::Object(fields)) if !fields.is_empty() => Some(json::to_struct(fields)),
        _ => None,
    };
    let parents = view.json.get("parents").and_then(Json::as_array);
    v1::Entity {
        uid: Some(entity_ref(&view.uid)),
        attributes: part("attrs"),
        parents: parents.into_iter().flatten().filter_map(parent).collect(),
        tags: part("tags"),
        source: match view.source {
            EntitySource::Bundle => v1::EntitySource::Bundle,
            EntitySource::Stored => v1::EntitySource::Stored,
            EntitySource::Shadowed => v1::EntitySource::Shadowed,
        }
        .into(),
    }
}

pub(super) fn entities(listed: ListPage<EntityView>) -> v1::ListEntitiesResponse {
    v1::ListEntitiesResponse {
        entities: listed.items.into_iter().map(entity).collect(),
        next_page_token: text(listed.next.as_ref()),
        revision: listed.revision,
    }
}

/// Encodes a stop of an agent, a user, a server or a tool.
pub(super) fn stop(stop: &Stop) -> v1::Stop {
    v1::Stop {
        uid: Some(entity_ref(&stop.uid)),
        reason: stop.reason.to_string(),
        stopped_at: Some(timestamp(stop.at)),
        stopped_by: Some(entity_ref(&stop.by)),
    }
}

/// Encodes a change as of its revision. `generation` is that state or a later one.
pub(super) fn change(
    generation: &Generation,
    entry: &ChangeRecord,
    rights: &Rights,
) -> v1::WatchChangesResponse {
    use v1::watch_changes_response::Change as Wire;

    let past = HistoricalView {
        at: entry.at,
        authority: &generation.authority,
    };
    let change = match &entry.change {
        Change::Bundle { digest } => Wire::BundleDigest(digest.to_string()),
        Change::Published(it) => Wire::Published(bundles::published(it)),
        Change::Entity { uid, json } => Wire::Entity(match historical_view::entity(uid, json) {
            Some(view) => entity(view),
            None => v1::Entity {
                uid: Some(entity_ref(uid)),
                ..v1::Entity::default()
            },
        }),
        Change::EntityGone { uid } => Wire::EntityDeleted(entity_ref(uid)),
        Change::Grant(it) => Wire::Delegation(delegation(past.delegation(it))),
        Change::Task(it) => Wire::Task(task(past.task(it, entry.verb == OPEN_TASK))),
        Change::Approval(it) => Wire::Approval(approval(past.approval(it), rights)),
        Change::SessionEnded { session } => Wire::SessionEnded(session.to_string()),
        Change::Stopped(it) => Wire::Stopped(stop(it)),
        Change::Resumed { uid } => Wire::Resumed(entity_ref(uid)),
        Change::ClockRepaired { from, to, reason } => Wire::ClockRepaired(v1::ClockRepair {
            from: Some(timestamp(*from)),
            to: Some(timestamp(*to)),
            reason: reason.to_string(),
        }),
    };
    v1::WatchChangesResponse {
        revision: entry.revision,
        at: Some(timestamp(entry.at)),
        verb: entry.verb.to_string(),
        caller: entry.asker.caller.to_string(),
        actor: entry.asker.principal.as_ref().map(entity_ref),
        change: Some(change),
    }
}

fn scope(scope: &Scope) -> v1::Scope {
    v1::Scope {
        tools: ids(&scope.tools),
        servers: ids(&scope.servers),
        groups: ids(&scope.groups),
        access: access(scope.access).into(),
        targets: ids(&scope.targets),
    }
}

fn ids(uids: &[EntityUID]) -> Vec<String> {
    uids.iter().map(id).collect()
}

fn id(uid: &EntityUID) -> String {
    AsRef::<str>::as_ref(uid.eid()).to_owned()
}

fn text(text: Option<&impl ToString>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::from(at)
}

pub(super) fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn parent(json: &Json) -> Option<v1::EntityRef> {
    let part = |name: &str| json.get(name)?.as_str().map(str::to_owned);
    Some(v1::EntityRef {
        r#type: part("type")?,
        id: part("id")?,
    })
}
