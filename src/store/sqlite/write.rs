//! Writes rows within one transaction.

use std::collections::HashMap;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};
use smol_str::SmolStr;

use crate::domain::authority::approval::Approval;
use crate::domain::authority::change::{Change, ChangeRecord};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::LabelCarrier;
use crate::domain::authority::task::Task;
use crate::domain::ids::{ApprovalId, BudgetId, SessionId, TaskId};
use crate::store::backend::{LabelTimes, StoreError, StoreWrite, StoredDefinition};
use crate::store::columns;
use crate::store::sqlite::{StoreProgress, moment, number, published, write_error};

/// Makes all writes. Returns the progress of the store after them.
pub(super) fn all(
    connection: &Connection,
    writes: &[StoreWrite],
    mut reached: StoreProgress,
) -> Result<StoreProgress, StoreError> {
    let clock = writes
        .iter()
        .filter_map(StoreWrite::at)
        .max()
        .max(reached.clock);
    let mut rows = Rows::new(connection);
    for write in writes {
        if let StoreWrite::Entry { entry, .. } = write {
            if entry.revision != reached.revision + 1 {
                return Err(StoreError::OutOfOrder {
                    last: reached.revision,
                    found: entry.revision,
                });
            }
            reached.revision = entry.revision;
        }
        rows.write(write)?;
    }
    if let Some(at) = clock.filter(|_| clock != reached.clock) {
        rows.note("clock", &moment(at).to_string())?;
        reached.clock = clock;
    }
    reached.commits += 1;
    rows.note("commits", &reached.commits.to_string())?;
    Ok(reached)
}

/// The statements of one transaction, each prepared once.
struct Rows<'c> {
    connection: &'c Connection,
    prepared: HashMap<&'static str, Statement<'c>>,
}

impl<'c> Rows<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            prepared: HashMap::new(),
        }
    }

    fn run(&mut self, sql: &'static str, values: &[&dyn ToSql]) -> Result<(), StoreError> {
        if !self.prepared.contains_key(sql) {
            let statement = self.connection.prepare(sql).map_err(write_error)?;
            self.prepared.insert(sql, statement);
        }
        if let Some(statement) = self.prepared.get_mut(sql) {
            statement.execute(values).map_err(write_error)?;
        }
        Ok(())
    }

    fn write(&mut self, write: &StoreWrite) -> Result<(), StoreError> {
        match write {
            StoreWrite::Entry { entry, id } => self.entry(entry, id),
            StoreWrite::Bundle { id, archive, at } => self.run(
                "INSERT INTO bundles (id, at, archive) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET at = excluded.at",
                params![id.as_str(), moment(*at), &archive[..]],
            ),
            StoreWrite::ApprovalUsed { id, uses } => self.run(
                "INSERT INTO approval_uses (id, uses) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET uses = max(uses, excluded.uses)",
                params![id.as_str(), uses],
            ),
            StoreWrite::ApprovalTaken { id, most } => self.approval_taken(id, *most),
            StoreWrite::BudgetTaken { id, calls, most } => self.budget_taken(id, *calls, *most),
            StoreWrite::BudgetReturned { id, calls } => self.run(
                "UPDATE task_spent SET spent = max(spent - ?2, 0) WHERE id = ?1",
                params![id.as_str(), number(*calls)],
            ),
            StoreWrite::TaskSpent {
                id,
                spent,
                is_exact,
                lost,
            } => self.run(
                "INSERT INTO task_spent (id, spent, lost) VALUES (?1, ?2, ?4)
                 ON CONFLICT (id) DO UPDATE SET
                    spent = CASE WHEN ?3 THEN excluded.spent ELSE max(spent, excluded.spent) END,
                    lost = CASE WHEN ?3 THEN excluded.lost ELSE max(lost, excluded.lost) END",
                params![id.as_str(), number(*spent), is_exact, number(*lost)],
            ),
            // There is no other server, so nothing is unseen, owned elsewhere or counted for others.
            StoreWrite::DecidedAs(_)
            | StoreWrite::LabelsSeen { .. }
            | StoreWrite::UsageCounted(_) => Ok(()),
            StoreWrite::SessionReleased {
                id, session, at, ..
            } => {
                self.session_labels(id, session.labels.items(), *at)?;
                let last: Vec<_> = session.last_tools().cloned().collect();
                self.session(id, session.calls, (session.tools.items(), &last), *at)
            }
            StoreWrite::SessionLabels { id, labels, at } => self.session_labels(id, labels, *at),
            StoreWrite::Labels {
                carrier, labels, ..
            } => self.labels(carrier, labels),
            StoreWrite::Session {
                id,
                calls,
                tools,
                last,
                at,
            } => self.session(id, *calls, (tools, last), *at),
            StoreWrite::Usage {
                actor,
                tool,
                counters,
                at,
            } => self.usage(actor, tool.as_ref(), counters, *at),
            StoreWrite::Clock(_) => Ok(()),
            StoreWrite::Lease(until) => self.note("lease", &moment(*until).to_string()),
            StoreWrite::ToolShown {
                gateway,
                tool,
                shown,
            } => self.tool_shown(gateway, tool, shown.as_ref()),
        }
    }

    /// Takes one use of an approval, if one is left.
    fn approval_taken(&mut self, id: &ApprovalId, most: u32) -> Result<(), StoreError> {
        let used = self.value("SELECT uses FROM approval_uses WHERE id = ?1", id.as_str())?;
        take(id.as_str(), used, 1, most.into())?;
        self.run(
            "INSERT INTO approval_uses (id, uses) VALUES (?1, 1)
             ON CONFLICT (id) DO UPDATE SET uses = uses + 1",
            params![id.as_str()],
        )
    }

    /// Takes calls of a budget, if as many are left.
    fn budget_taken(&mut self, id: &BudgetId, calls: u64, most: u64) -> Result<(), StoreError> {
        let used = self.value("SELECT spent FROM task_spent WHERE id = ?1", id.as_str())?;
        take(id.as_str(), used, calls, most)?;
        self.run(
            "INSERT INTO task_spent (id, spent) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET spent = spent + excluded.spent",
            params![id.as_str(), number(calls)],
        )
    }

    /// A session without its labels: all tools that it called, and the last.
    fn session(
        &mut self,
        id: &SessionId,
        calls: u64,
        (tools, last): (&[EntityUID], &[EntityUID]),
        at: SystemTime,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO sessions (id, calls, tools, last, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET calls = excluded.calls, tools = excluded.tools,
                last = excluded.last, at = max(at, excluded.at)",
            params![
                id.as_str(),
                number(calls),
                columns::of_uids(tools)?,
                columns::of_uids(last)?,
                moment(at)
            ],
        )
    }

    /// A count; 0 if there is none.
    fn value(&self, sql: &str, id: &str) -> Result<u64, StoreError> {
        let found = self
            .connection
            .query_row(sql, [id], |row| row.get::<_, i64>(0));
        let found = found.optional().map_err(write_error)?.unwrap_or_default();
        u64::try_from(found).map_err(|error| StoreError::Write(error.to_string()))
    }

    fn entry(&mut self, entry: &ChangeRecord, id: &SmolStr) -> Result<(), StoreError> {
        let asker = &entry.asker;
        let key = asker.key.as_ref();
        let principal = asker.principal.as_ref().map(columns::of_uid);
        let (ty, name) = principal.as_ref().map_or((None, None), |(ty, name)| {
            (Some(ty.as_str()), Some(name.as_str()))
        });
        let (at, revision) = (moment(entry.at), number(entry.revision));
        self.run(
            "INSERT INTO change_log (revision, at, verb, caller, principal_type, principal_id,
                key_text, key_request, change) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                revision,
                at,
                entry.verb.as_str(),
                asker.caller.as_str(),
                ty,
                name,
                key.map(|key| key.text.as_str()),
                key.map(|key| key.request),
                columns::json(&entry.change)?,
            ],
        )?;
        if let Some(key) = key {
            self.run(
                "INSERT INTO idempotency_keys (caller, text, request, revision, id, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (caller, text) DO UPDATE SET request = excluded.request,
                    revision = excluded.revision, id = excluded.id, at = excluded.at",
                params![
                    asker.caller.as_str(),
                    key.text.as_str(),
                    key.request,
                    revision,
                    id.as_str(),
                    at
                ],
            )?;
        }
        if let Change::Published(bundle) = &entry.change {
            published::write(self.connection, entry, bundle)?;
        }
        self.change(&entry.change, entry.at)
    }

    fn change(&mut self, change: &Change, at: SystemTime) -> Result<(), StoreError> {
        match change {
            Change::Bundle { digest } => self.note("bundle_digest", digest),
            Change::Published(bundle) => self.note("bundle_digest", &bundle.digest),
            Change::Entity { uid, json } => {
                let (ty, id) = columns::of_uid(uid);
                self.run(
                    "INSERT INTO entities (type, id, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT (type, id) DO UPDATE SET body = excluded.body",
                    params![ty, id, json.as_ref()],
                )
            }
            Change::EntityGone { uid } => {
                let (ty, id) = columns::of_uid(uid);
                self.run(
                    "DELETE FROM entities WHERE type = ?1 AND id = ?2",
                    params![ty, id],
                )
            }
            Change::Grant(delegation) => self.grant(delegation),
            Change::Task(task) => self.task(task),
            Change::Approval(approval) => self.approval(approval),
            Change::Stopped(stop) => {
                let (ty, id) = columns::of_uid(&stop.uid);
                self.run(
                    "INSERT INTO stops (type, id, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT (type, id) DO UPDATE SET body = excluded.body",
                    params![ty, id, columns::json(stop.as_ref())?],
                )
            }
            Change::Resumed { uid } => {
                let (ty, id) = columns::of_uid(uid);
                self.run(
                    "DELETE FROM stops WHERE type = ?1 AND id = ?2",
                    params![ty, id],
                )
            }
            // Only a repair of the clock moves the start of time back.
            Change::ClockRepaired { to, .. } => self.note("lease", &moment(*to).to_string()),
            Change::SessionEnded { session } => {
                self.run(
                    "INSERT INTO ended_sessions (id) VALUES (?1) ON CONFLICT DO NOTHING",
                    params![session.as_str()],
                )?;
                self.run(
                    "INSERT INTO sessions (id, is_ended, at) VALUES (?1, 1, ?2)
                 ON CONFLICT (id) DO UPDATE SET is_ended = 1, at = max(at, excluded.at)",
                    params![session.as_str(), moment(at)],
                )
            }
        }
    }

    fn grant(&mut self, delegation: &Delegation) -> Result<(), StoreError> {
        let ends_at = columns::earlier(delegation.revoked_at, delegation.expires_at);
        self.run(
            "INSERT INTO grants (id, task, ends_at, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET task = excluded.task, ends_at = excluded.ends_at,
                body = excluded.body",
            params![
                delegation.id.as_str(),
                delegation.task.as_ref().map(TaskId::as_str),
                moment(ends_at),
                columns::json(delegation)?
            ],
        )
    }

    fn task(&mut self, task: &Task) -> Result<(), StoreError> {
        let ends_at = columns::earlier(task.closed_at, task.deadline);
        self.run(
            "INSERT INTO tasks (id, ends_at, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, body = excluded.body",
            params![task.id.as_str(), moment(ends_at), columns::json(task)?],
        )?;
        if task.closed_at.is_none() {
            return Ok(());
        }
        self.run(
            "DELETE FROM labels WHERE kind = 'task' AND carrier = ?1",
            params![task.id.as_str()],
        )
    }

    fn approval(&mut self, approval: &Approval) -> Result<(), StoreError> {
        let refused = approval.word.as_ref().filter(|word| word.uses == 0);
        let ends_at = columns::earlier(refused.map(|word| word.at), approval.expires_at);
        self.run(
            "INSERT INTO approvals (id, task, ends_at, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET task = excluded.task, ends_at = excluded.ends_at,
                body = excluded.body",
            params![
                approval.id.as_str(),
                approval.call.task.as_ref().map(TaskId::as_str),
                moment(ends_at),
                columns::json(approval)?
            ],
        )
    }

    fn session_labels(
        &mut self,
        id: &SessionId,
        labels: &[SmolStr],
        at: SystemTime,
    ) -> Result<(), StoreError> {
        let at = moment(at);
        self.run(
            "INSERT INTO sessions (id, at) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)",
            params![id.as_str(), at],
        )?;
        for label in labels {
            self.run(
                "INSERT INTO session_labels (session, label, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (session, label) DO NOTHING",
                params![id.as_str(), label.as_str(), at],
            )?;
        }
        Ok(())
    }

    fn labels(&mut self, carrier: &LabelCarrier, labels: &[LabelTimes]) -> Result<(), StoreError> {
        let (kind, name) = columns::of_carrier(carrier)?;
        for brought in labels {
            let loose = brought.loose_through.map(moment);
            self.run(
                "INSERT INTO labels (kind, carrier, label, through, loose_through)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (kind, carrier, label) DO UPDATE SET
                    through = max(through, excluded.through),
                    loose_through = max(coalesce(loose_through, excluded.loose_through),
                        coalesce(excluded.loose_through, loose_through))",
                params![
                    kind,
                    name,
                    brought.label.as_str(),
                    moment(brought.through),
                    loose
                ],
            )?;
        }
        Ok(())
    }

    fn tool_shown(
        &mut self,
        gateway: &SmolStr,
        tool: &EntityUID,
        shown: Option<&StoredDefinition>,
    ) -> Result<(), StoreError> {
        let (ty, id) = columns::of_uid(tool);
        match shown {
            Some(shown) => self.run(
                "INSERT INTO changed_tools (gateway, type, id, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (gateway, type, id) DO UPDATE SET body = excluded.body",
                params![gateway.as_str(), ty, id, columns::json(shown)?],
            ),
            None => self.run(
                "DELETE FROM changed_tools WHERE gateway = ?1 AND type = ?2 AND id = ?3",
                params![gateway.as_str(), ty, id],
            ),
        }
    }

    fn usage(
        &mut self,
        actor: &EntityUID,
        tool: Option<&EntityUID>,
        counters: &[u8],
        at: SystemTime,
    ) -> Result<(), StoreError> {
        let (actor_type, actor_id) = columns::of_uid(actor);
        let (tool_type, tool_id) = tool.map(columns::of_uid).unwrap_or_default();
        self.run(
            "INSERT INTO usage (actor_type, actor_id, tool_type, tool_id, counters, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (actor_type, actor_id, tool_type, tool_id)
             DO UPDATE SET counters = excluded.counters, at = max(at, excluded.at)",
            params![
                actor_type,
                actor_id,
                tool_type,
                tool_id,
                counters,
                moment(at)
            ],
        )
    }

    /// Sets a value of the `meta` table.
    fn note(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, value],
        )
    }
}

/// Checks that so much is left.
fn take(id: &str, used: u64, more: u64, most: u64) -> Result<(), StoreError> {
    match used.checked_add(more) {
        Some(sum) if sum <= most => Ok(()),
        _ => Err(StoreError::Taken {
            id: id.into(),
            used,
        }),
    }
}
