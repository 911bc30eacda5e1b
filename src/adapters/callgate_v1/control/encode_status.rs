//! Encodes the state of the server as a message of `callgate.v1.Control`.

use std::sync::Arc;

use crate::adapters::callgate_v1::control::encode::{count, stop, timestamp};
use crate::adapters::callgate_v1::encode::entity_ref;
use crate::audit::log::LogStatus;
use crate::config::audit::LogMode;
use crate::config::limits::Limits;
use crate::control::status::ServiceStatus;
use crate::proto::v1;
use crate::service::bundle_status::BundleStatus;
use crate::service::observe::ObserveStatus;
use crate::service::server_load::ServerLoad;
use crate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use crate::telemetry::export::losses::Loss;

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
