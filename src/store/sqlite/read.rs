//! Reads rows into domain values.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rusqlite::{Connection, Row};
use smol_str::SmolStr;

use crate::domain::authority::approval::Approval;
use crate::domain::authority::change::{ChangeOrigin, ChangeRecord, IdempotencyKey};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::form;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::ids::SessionId;
use crate::store::backend::{
    LabelTimes, StoreError, StoredKey, StoredLabel, StoredSession, StoredState, StoredUsage,
};
use crate::store::columns;
use crate::store::sqlite::rows::{
    TypeNameCache, all, body, bytes, cell, count, each, hash, invalid_column, moment,
    optional_text, text, uids,
};
use crate::store::sqlite::{StoreProgress, number, published};
use crate::store::turned_back::TurnedBack;

/// The name in `meta` of what is known of a store that turned back.
pub(super) const TURNED_BACK: &str = "turned_back";

/// The progress of the file.
pub(super) fn reached(connection: &Connection) -> Result<StoreProgress, StoreError> {
    let mut reached = StoreProgress::default();
    each(
        connection,
        "SELECT coalesce(max(revision), 0) FROM change_log",
        [],
        |row| {
            reached.revision = count(row, 0)?;
            Ok(())
        },
    )?;
    if let Some(turned) = turned_back(connection)? {
        reached.revision = reached.revision.max(turned.revision());
    }
    if let Some(millis) = meta_value(connection, "clock")? {
        let millis = millis.parse().ok().and_then(form::from_millis);
        let clock = millis.ok_or_else(|| StoreError::Damaged("the time in `meta`".to_owned()))?;
        reached.clock = Some(clock);
    }
    if let Some(commits) = meta_value(connection, "commits")? {
        let damaged = |_| StoreError::Damaged("the number of commits in `meta`".to_owned());
        reached.commits = commits.parse().map_err(damaged)?;
    }
    Ok(reached)
}

/// When the store turned back last; `None` if it never did.
pub(super) fn turned_back(connection: &Connection) -> Result<Option<TurnedBack>, StoreError> {
    let found = meta_value(connection, TURNED_BACK)?;
    let damaged = |_| StoreError::Damaged(format!("`{TURNED_BACK}` in `meta`"));
    let read = found.map(|text| serde_json::from_str(&text).map_err(damaged));
    read.transpose()
}

/// Everything in the store.
pub(super) fn load(
    connection: &Connection,
    reached: StoreProgress,
) -> Result<StoredState, StoreError> {
    let mut names = TypeNameCache::default();
    Ok(StoredState {
        revision: reached.revision,
        turned_back: turned_back(connection)?,
        facts: 0,
        history: None,
        now: None,
        clock: reached.clock,
        lease: lease(connection)?,
        bundle_digest: meta_value(connection, "bundle_digest")?,
        published: published::all(connection)?
            .into_iter()
            .next()
            .map(|it| it.bundle.into()),
        entities: entities(connection, &mut names)?,
        authority: authority(connection, &mut names)?,
        keys: keys(connection)?,
        approval_uses: all(connection, "SELECT id, uses FROM approval_uses", |row| {
            let uses = u32::try_from(count(row, 1)?);
            Ok((
                text(row, 0)?.into(),
                uses.map_err(|_| invalid_column(row, 1, "not a count of uses"))?,
            ))
        })?,
        task_spent: all(connection, "SELECT id, spent FROM task_spent", |row| {
            Ok((text(row, 0)?.into(), count(row, 1)?))
        })?,
        task_lost: all(
            connection,
            "SELECT id, lost FROM task_spent WHERE lost > 0",
            |row| Ok((text(row, 0)?.into(), count(row, 1)?)),
        )?,
        unbegun: unbegun_sessions(connection)?,
        ended_sessions: all(connection, "SELECT id FROM ended_sessions", |row| {
            Ok(text(row, 0)?.into())
        })?,
        shown_tools: all(
            connection,
            "SELECT type, id, gateway, body FROM changed_tools",
            |row| Ok((text(row, 2)?.into(), names.uid(row, 0)?, body(row, 3)?)),
        )?,
        labels: labels(connection)?,
        usage: usage(connection, &mut names)?,
    })
}

/// The entries after a revision, in order.
pub(super) fn entries_after(
    connection: &Connection,
    revision: u64,
    limit: usize,
) -> Result<Vec<ChangeRecord>, StoreError> {
    let mut names = TypeNameCache::default();
    let mut found = Vec::new();
    each(
        connection,
        "SELECT revision, at, verb, caller, principal_type, principal_id, key_text, key_request,
            change FROM change_log WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        [number(revision), number(limit as u64)],
        |row| {
            found.push(entry(row, &mut names)?);
            Ok(())
        },
    )?;
    Ok(found)
}

fn entry(row: &Row<'_>, names: &mut TypeNameCache) -> Result<ChangeRecord, StoreError> {
    let principal = match optional_text(row, 4)? {
        Some(_) => Some(names.uid(row, 4)?),
        None => None,
    };
    let key = match optional_text(row, 6)? {
        Some(text) => Some(IdempotencyKey {
            text: text.into(),
            request: hash(row, 7)?,
        }),
        None => None,
    };
    Ok(ChangeRecord {
        revision: count(row, 0)?,
        at: moment(row, 1)?,
        verb: text(row, 2)?.into(),
        change: body(row, 8)?,
        asker: ChangeOrigin {
            caller: text(row, 3)?.into(),
            principal,
            key,
        },
    })
}

fn entities(
    connection: &Connection,
    names: &mut TypeNameCache,
) -> Result<Vec<(EntityUID, Arc<str>)>, StoreError> {
    all(connection, "SELECT type, id, body FROM entities", |row| {
        Ok((names.uid(row, 0)?, text(row, 2)?.into()))
    })
}

fn authority(connection: &Connection, names: &mut TypeNameCache) -> Result<Authority, StoreError> {
    let mut authority = Authority::default();
    each(connection, "SELECT id, body FROM grants", [], |row| {
        let delegation: Delegation = body(row, 1)?;
        check_key(row, delegation.id.as_str())?;
        authority.delegations.insert_mut(delegation.into());
        Ok(())
    })?;
    each(connection, "SELECT type, id, body FROM stops", [], |row| {
        let stop: Stop = body(row, 2)?;
        if names.uid(row, 0)? != stop.uid {
            return Err(invalid_column(row, 2, columns::OTHER_KEY));
        }
        authority.stops.insert_mut(stop.uid.clone(), stop.into());
        Ok(())
    })?;
    each(connection, "SELECT id, body FROM tasks", [], |row| {
        let task: Task = body(row, 1)?;
        check_key(row, task.id.as_str())?;
        authority.tasks.insert_mut(task.into());
        Ok(())
    })?;
    each(connection, "SELECT id, body FROM approvals", [], |row| {
        let approval: Approval = body(row, 1)?;
        check_key(row, approval.id.as_str())?;
        authority.approvals.insert_mut(approval.into());
        Ok(())
    })?;
    Ok(authority)
}

/// Checks that the body of a row is of what its first column names.
fn check_key(row: &Row<'_>, of_body: &str) -> Result<(), StoreError> {
    match text(row, 0)? == of_body {
        true => Ok(()),
        false => Err(invalid_column(row, 1, columns::OTHER_KEY)),
    }
}

fn keys(connection: &Connection) -> Result<Vec<StoredKey>, StoreError> {
    let sql = "SELECT caller, text, request, revision, id, at FROM idempotency_keys";
    all(connection, sql, |row| {
        Ok(StoredKey {
            caller: text(row, 0)?.into(),
            text: text(row, 1)?.into(),
            request: hash(row, 2)?,
            revision: count(row, 3)?,
            id: text(row, 4)?.into(),
            at: moment(row, 5)?,
        })
    })
}

/// The columns of a session without its labels.
macro_rules! session_columns {
    () => {
        "SELECT id, is_ended, calls, tools, last, at FROM sessions"
    };
}

/// Sessions that were ended before their first call.
fn unbegun_sessions(connection: &Connection) -> Result<Vec<StoredSession>, StoreError> {
    let sql = concat!(
        session_columns!(),
        " WHERE is_ended = 1 AND calls = 0
            AND NOT EXISTS (SELECT 1 FROM session_labels WHERE session = sessions.id)"
    );
    all(connection, sql, session_row)
}

/// Calls a function with the id of every session.
pub(super) fn session_ids(
    connection: &Connection,
    take: &mut dyn FnMut(&str),
) -> Result<(), StoreError> {
    each(connection, "SELECT id FROM sessions", [], |row| {
        take(text(row, 0)?);
        Ok(())
    })
}

/// One session.
pub(super) fn session(
    connection: &Connection,
    id: &SessionId,
) -> Result<Option<StoredSession>, StoreError> {
    let mut found = None;
    let sql = concat!(session_columns!(), " WHERE id = ?1");
    each(connection, sql, [id.as_str()], |row| {
        found = Some(session_row(row)?);
        Ok(())
    })?;
    if let Some(session) = &mut found {
        let sql = "SELECT label FROM session_labels WHERE session = ?1 ORDER BY at, label";
        each(connection, sql, [id.as_str()], |row| {
            session.labels.push(text(row, 0)?.into());
            Ok(())
        })?;
    }
    Ok(found)
}

fn session_row(row: &Row<'_>) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        id: text(row, 0)?.into(),
        is_ended: count(row, 1)? != 0,
        calls: count(row, 2)?,
        labels: Vec::new(),
        tools: uids(row, 3)?,
        last: uids(row, 4)?,
        at: moment(row, 5)?,
    })
}

fn labels(connection: &Connection) -> Result<Vec<StoredLabel>, StoreError> {
    let sql = "SELECT kind, carrier, label, through, loose_through FROM labels";
    all(connection, sql, |row| {
        let carrier = columns::to_carrier(text(row, 0)?, text(row, 1)?);
        let carrier = carrier.map_err(|why| invalid_column(row, 1, why))?;
        let loose = cell(row, 4, |value| value.as_i64_or_null())?;
        Ok(StoredLabel {
            carrier,
            brought: LabelTimes {
                label: text(row, 2)?.into(),
                through: moment(row, 3)?,
                loose_through: loose.map(|_| moment(row, 4)).transpose()?,
            },
        })
    })
}

fn usage(
    connection: &Connection,
    names: &mut TypeNameCache,
) -> Result<Vec<StoredUsage>, StoreError> {
    let sql = "SELECT actor_type, actor_id, tool_type, tool_id, counters, at FROM usage";
    all(connection, sql, |row| {
        let has_tool = !text(row, 2)?.is_empty();
        Ok(StoredUsage {
            actor: names.uid(row, 0)?,
            tool: has_tool.then(|| names.uid(row, 2)).transpose()?,
            counters: bytes(row, 4)?.to_vec(),
            at: moment(row, 5)?,
        })
    })
}

fn lease(connection: &Connection) -> Result<Option<SystemTime>, StoreError> {
    let Some(millis) = meta_value(connection, "lease")? else {
        return Ok(None);
    };
    let lease = millis.parse().ok().and_then(form::from_millis);
    lease
        .map(Some)
        .ok_or_else(|| StoreError::Damaged("the lease of time in `meta`".to_owned()))
}

/// A value of the `meta` table.
pub(super) fn meta_value(
    connection: &Connection,
    name: &str,
) -> Result<Option<SmolStr>, StoreError> {
    let mut found = None;
    each(
        connection,
        "SELECT value FROM meta WHERE name = ?1",
        [name],
        |row| {
            found = Some(text(row, 0)?.into());
            Ok(())
        },
    )?;
    Ok(found)
}
