//! Encodes views of the write side as messages of `callgate.v1.Control`.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use prost_types::Timestamp;
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::adapters::callgate_v1::control::bundles;
use crate::adapters::callgate_v1::encode::entity_ref;
use crate::adapters::input::json;
use crate::audit::log::LogStatus;
use crate::authn::caller::Rights;
use crate::config::audit::LogMode;
use crate::config::limits::Limits;
use crate::control::entities::{EntitySource, EntityView};
use crate::control::historical_view::{self, HistoricalView};
use crate::control::live_view::{ApprovalView, DelegationView, TaskView};
use crate::control::page::ListPage;
use crate::control::status::ServiceStatus;
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
use crate::service::bundle_status::BundleStatus;
use crate::service::generation::Generation;
use crate::service::observe::ObserveStatus;
use crate::service::server_load::ServerLoad;
use crate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use crate::telemetry::export::losses::Loss;

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

pub(super) fn status(
    status: ServiceStatus,
    load: &ServerLoad,
    limits: &Limits,
) -> v1::GetStatusResponse {
    v1::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: status.revision,
        policy_set_digest: status.policy_set_digest.to_string(),
        policies: count(status.policies),
        entities: count(status.entities),
        stored_entities: count(status.stored_entities),
        shadowed_entities: status.shadowed_entities.iter().map(entity_ref).collect(),
        delegations: count(status.delegations),
        open_tasks: count(status.open_tasks),
        pending_approvals: count(status.pending_approvals),
        sessions: count(status.sessions),
        carriers: count(status.carriers),
        now: Some(timestamp(status.now)),
        store_fault: status.store_fault.unwrap_or_default(),
        changed_tools: status.changed_tools.iter().map(changed_tool).collect(),
        telemetry_losses: status.losses.iter().map(telemetry_loss).collect(),
        load: Some(server_load(load, limits)),
        stopped: status.stopped.iter().map(|it| stop(it)).collect(),
        directory: status.directory.as_deref().map(directory),
        unwritten: count(status.unwritten),
        clock_fault: status.clock_fault.unwrap_or_default(),
        overload: Some(overload(load, limits)),
        audit: Some(audit(status.audit)),
        observe: Some(observe(&status.observe)),
    }
}

fn observe(it: &ObserveStatus) -> v1::ObserveStatus {
    v1::ObserveStatus {
        service: it.config.service,
        callers: it.config.callers.clone(),
        servers: it.config.servers.clone(),
        waived: it.waived.denies,
        shown_entries: it.waived.entries,
    }
}

fn audit(log: Option<LogStatus>) -> v1::AuditStatus {
    let Some(log) = log else {
        return v1::AuditStatus {
            mode: LogMode::Off.as_str().to_owned(),
            ..v1::AuditStatus::default()
        };
    };
    let failure = log.failure.map(|it| (timestamp(it.since), it.error));
    let (failing_since, fault) = failure.unzip();
    v1::AuditStatus {
        mode: log.mode.as_str().to_owned(),
        records: log.records,
        bytes: log.bytes,
        capsule_bytes: log.capsule_bytes,
        unrecorded: log.unrecorded,
        signed_records: log.tree.signed,
        tree_fault: log.tree.fault.unwrap_or_default(),
        queued: log.queued,
        failing_since,
        fault: fault.unwrap_or_default(),
        lost_records: log.lost.records,
        lost_capsules: log.lost.capsules,
        key_troubles: log.key_troubles,
    }
}

fn server_load(load: &ServerLoad, limits: &Limits) -> v1::ServerLoad {
    let turned_away = load.rejections();
    v1::ServerLoad {
        requests: count(load.requests.get()),
        most_requests: limits.concurrent_requests.into(),
        body_bytes: count(load.body_bytes.get()),
        most_body_bytes: count(limits.body_bytes()),
        connections: count(load.connections.get()),
        most_connections: limits.connections.into(),
        stranger_connections: count(load.strangers.get()),
        most_stranger_connections: count(limits.stranger_connections()),
        refused_requests: turned_away.requests,
        not_entitled_requests: turned_away.not_entitled,
        refused_bodies: turned_away.bodies,
        late_bodies: turned_away.late_bodies,
        refused_connections: turned_away.connections,
        pushed_out_connections: turned_away.pushed_out,
        silent_connections: turned_away.silent,
        refused_public_calls: turned_away.public_calls,
    }
}

fn overload(load: &ServerLoad, limits: &Limits) -> v1::Overload {
    let configured = limits.concurrent_requests as usize;
    let turned_away = load.rejections();
    v1::Overload {
        limit: count(load.pressure.limit(configured)),
        is_limited: load.pressure.is_reduced(configured),
        shed_requests: turned_away.shed,
        expired_requests: turned_away.expired,
    }
}

fn telemetry_loss(loss: &Loss) -> v1::TelemetryLoss {
    v1::TelemetryLoss {
        signal: loss.signal.as_str().to_owned(),
        kind: loss.kind.as_str().to_owned(),
        reason: loss.reason.as_str().to_owned(),
        count: loss.count,
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

fn directory(directory: &BundleStatus) -> v1::DirectoryStatus {
    let names = |names: &[Arc<str>]| names.iter().map(|it| it.to_string()).collect();
    let fault = directory.failure.as_ref();
    v1::DirectoryStatus {
        faults: fault.map_or_else(Vec::new, |fault| fault.diagnostics.clone()),
        fault_count: fault.map_or(0, |fault| count(fault.count)),
        failed_at: fault.map(|fault| timestamp(fault.at)),
        failures: fault.map_or(0, |fault| fault.attempts),
        looked_at: Some(timestamp(directory.valid_at)),
        revision: directory.revision,
        is_watched: directory.is_watched,
        came: names(&directory.last.added),
        changed: names(&directory.last.changed),
        went: names(&directory.last.removed),
    }
}

fn changed_tool((place, changed): &(GatewayTool, ChangedDefinition)) -> v1::ChangedTool {
    let id: &str = place.tool.eid().as_ref();
    // A server's name has no slash.
    let (server, tool) = id.split_once('/').unwrap_or(("", id));
    v1::ChangedTool {
        server: server.to_owned(),
        tool: tool.to_owned(),
        gateway: place.gateway.to_string(),
        fields: changed.fields.iter().map(|&it| it.to_owned()).collect(),
        shown_at: Some(timestamp(changed.at)),
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

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn parent(json: &Json) -> Option<v1::EntityRef> {
    let part = |name: &str| json.get(name)?.as_str().map(str::to_owned);
    Some(v1::EntityRef {
        r#type: part("type")?,
        id: part("id")?,
    })
}
