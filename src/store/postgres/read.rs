//! Reads rows into domain values.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::domain::authority::approval::Approval;
use crate::domain::authority::change::{ChangeOrigin, ChangeRecord, IdempotencyKey};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::form;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::ids::{BudgetId, SessionId};
use crate::store::backend::{
    LabelTimes, StoreError, StoredKey, StoredLabel, StoredSession, StoredState, StoredUsage,
};
use crate::store::columns;
use crate::store::postgres::errors;
use crate::store::turned_back::TurnedBack;

/// Everything in the store, as of one moment.
pub(super) async fn load(mut client: Client) -> Result<StoredState, StoreError> {
    let fail = |error: tokio_postgres::Error| errors::read(&error);
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(fail)?;
    let from = Tables(&transaction);
    let mut state = from.head().await?;
    let published = "SELECT body FROM callgate.published ORDER BY revision DESC LIMIT 1";
    let published = from.all(published, |row| body::<PublishedBundle>(row, 0));
    state.published = published.await?.into_iter().next().map(Into::into);
    state.entities = from
        .all("SELECT type, id, body FROM callgate.entities", |row| {
            Ok((uid(row, 0)?, text(row, 2)?.into()))
        })
        .await?;
    state.authority = from.authority().await?;
    let keys = "SELECT caller, text, request, revision, id, at FROM callgate.idempotency_keys";
    state.keys = from.all(keys, key).await?;
    state.approval_uses = from
        .all("SELECT id, uses FROM callgate.approval_uses", |row| {
            let uses = u32::try_from(count(row, 1)?);
            Ok((
                text(row, 0)?.into(),
                uses.map_err(|_| invalid(row, 1, "not a count of uses"))?,
            ))
        })
        .await?;
    for (id, spent, lost) in from
        .all("SELECT id, spent, lost FROM callgate.task_spent", |row| {
            Ok((
                BudgetId::from(text(row, 0)?),
                count(row, 1)?,
                count(row, 2)?,
            ))
        })
        .await?
    {
        state.task_spent.push((id.clone(), spent));
        if lost > 0 {
            state.task_lost.push((id, lost));
        }
    }
    state.unbegun = from.sessions(UNBEGUN, &[]).await?;
    state.ended_sessions = from
        .all("SELECT id FROM callgate.ended_sessions", |row| {
            Ok(text(row, 0)?.into())
        })
        .await?;
    let tools = "SELECT type, id, gateway, body FROM callgate.changed_tools WHERE body IS NOT NULL";
    state.shown_tools = from
        .all(tools, |row| {
            Ok((text(row, 2)?.into(), uid(row, 0)?, body(row, 3)?))
        })
        .await?;
    let labels = "SELECT kind, carrier, label, through, loose_through FROM callgate.labels";
    state.labels = from.all(labels, label).await?;
    let usage = "SELECT actor_type, actor_id, tool_type, tool_id, counters, at FROM callgate.usage";
    state.usage = from.all(usage, stored_usage).await?;
    Ok(state)
}

/// How the store turned back last.
fn turned_back(text: &str) -> Result<TurnedBack, StoreError> {
    let damaged = |_| StoreError::Damaged("`turned_back` in `callgate.head`".to_owned());
    serde_json::from_str(text).map_err(damaged)
}

/// The tables, within one transaction.
struct Tables<'t>(&'t Transaction<'t>);

impl Tables<'_> {
    async fn all<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.0.query_typed(sql, &[] as &[(_, Type)]).await;
        let rows = rows.map_err(|error| errors::read(&error))?;
        rows.iter().map(read).collect()
    }

    async fn head(&self) -> Result<StoredState, StoreError> {
        let sql = "SELECT revision, facts, clock, lease, bundle_digest, callgate.history(), callgate.wall_clock(),
            turned_back FROM callgate.head";
        let found = self
            .all(sql, |row| {
                Ok(StoredState {
                    revision: count(row, 0)?,
                    facts: count(row, 1)?,
                    clock: optional_moment(row, 2)?,
                    lease: optional_moment(row, 3)?,
                    bundle_digest: optional_text(row, 4)?.map(SmolStr::new),
                    history: optional_text(row, 5)?.map(SmolStr::new),
                    now: Some(moment(row, 6)?),
                    turned_back: optional_text(row, 7)?.map(turned_back).transpose()?,
                    ..StoredState::default()
                })
            })
            .await?;
        let head = found.into_iter().next();
        head.ok_or_else(|| StoreError::Damaged("`callgate.head` has no row".to_owned()))
    }

    async fn authority(&self) -> Result<Authority, StoreError> {
        let mut authority = Authority::default();
        let grants = self.all("SELECT id, body FROM callgate.grants", |row| {
            let delegation: Delegation = body(row, 1)?;
            check_key(row, delegation.id.as_str())?;
            Ok(delegation)
        });
        for delegation in grants.await? {
            authority.delegations.insert_mut(delegation.into());
        }
        let stops = self.all("SELECT type, id, body FROM callgate.stops", |row| {
            let stop: Stop = body(row, 2)?;
            match uid(row, 0)? == stop.uid {
                true => Ok(stop),
                false => Err(invalid(row, 2, columns::OTHER_KEY)),
            }
        });
        for stop in stops.await? {
            authority.stops.insert_mut(stop.uid.clone(), stop.into());
        }
        let tasks = self.all("SELECT id, body FROM callgate.tasks", |row| {
            let task: Task = body(row, 1)?;
            check_key(row, task.id.as_str())?;
            Ok(task)
        });
        for task in tasks.await? {
            authority.tasks.insert_mut(task.into());
        }
        let approvals = self.all("SELECT id, body FROM callgate.approvals", |row| {
            let approval: Approval = body(row, 1)?;
            check_key(row, approval.id.as_str())?;
            Ok(approval)
        });
        for approval in approvals.await? {
            authority.approvals.insert_mut(approval.into());
        }
        Ok(authority)
    }

    /// Sessions with their labels, by a statement that gives [`SESSIONS`] and labels as JSON.
    async fn sessions(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<StoredSession>, StoreError> {
        let rows = self.0.query_typed(sql, values).await;
        let rows = rows.map_err(|error| errors::read(&error))?;
        rows.iter().map(session_row).collect()
    }
}

/// Sessions with their labels.
const SESSIONS: &str = "SELECT id, is_ended, calls, tools, last, at, (SELECT coalesce(jsonb_agg(label ORDER BY
    session_labels.at, label COLLATE \"C\"), '[]')::text FROM callgate.session_labels WHERE session = sessions.id)
    FROM callgate.sessions";
/// Of them those that were ended before their first call.
const UNBEGUN: &str = "SELECT id, is_ended, calls, tools, last, at, '[]' FROM callgate.sessions WHERE is_ended AND calls = 0
    AND NOT EXISTS (SELECT FROM callgate.session_labels WHERE session = sessions.id)";

/// The ids of all sessions.
pub(super) async fn session_ids(mut client: Client) -> Result<Vec<SessionId>, StoreError> {
    let transaction = client.transaction().await;
    let transaction = transaction.map_err(|error| errors::read(&error))?;
    let tables = Tables(&transaction);
    tables
        .all("SELECT id FROM callgate.sessions", |row| {
            Ok(text(row, 0)?.into())
        })
        .await
}

/// One session.
pub(super) async fn session(
    mut client: Client,
    id: &SessionId,
) -> Result<Option<StoredSession>, StoreError> {
    let transaction = client.transaction().await;
    let transaction = transaction.map_err(|error| errors::read(&error))?;
    let sql = format!("{SESSIONS} WHERE id = $1");
    let (tables, values) = (Tables(&transaction), [(&id.as_str() as _, Type::TEXT)]);
    let found = tables.sessions(&sql, &values).await?;
    Ok(found.into_iter().next())
}

fn session_row(row: &Row) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        id: text(row, 0)?.into(),
        is_ended: cell(row, 1)?,
        calls: count(row, 2)?,
        labels: body(row, 6)?,
        tools: uids(row, 3)?,
        last: uids(row, 4)?,
        at: moment(row, 5)?,
    })
}

/// Checks that the body of a row is of what its first column names.
fn check_key(row: &Row, of_body: &str) -> Result<(), StoreError> {
    match text(row, 0)? == of_body {
        true => Ok(()),
        false => Err(invalid(row, 1, columns::OTHER_KEY)),
    }
}

fn key(row: &Row) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        caller: text(row, 0)?.into(),
        text: text(row, 1)?.into(),
        request: hash(text(row, 2)?)?,
        revision: count(row, 3)?,
        id: text(row, 4)?.into(),
        at: moment(row, 5)?,
    })
}

fn label(row: &Row) -> Result<StoredLabel, StoreError> {
    let carrier = columns::to_carrier(text(row, 0)?, text(row, 1)?);
    Ok(StoredLabel {
        carrier: carrier.map_err(|why| invalid(row, 1, &why))?,
        brought: LabelTimes {
            label: text(row, 2)?.into(),
            through: moment(row, 3)?,
            loose_through: optional_moment(row, 4)?,
        },
    })
}

fn stored_usage(row: &Row) -> Result<StoredUsage, StoreError> {
    let has_tool = !text(row, 2)?.is_empty();
    let counters = BASE64.decode(text(row, 4)?);
    Ok(StoredUsage {
        actor: uid(row, 0)?,
        tool: has_tool.then(|| uid(row, 2)).transpose()?,
        counters: counters.map_err(|error| invalid(row, 4, &error.to_string()))?,
        at: moment(row, 5)?,
    })
}

/// A row of `change_log`, as the functions of the schema return it.
#[derive(Debug, Deserialize)]
pub(super) struct EntryForm {
    revision: u64,
    at: u64,
    verb: SmolStr,
    caller: SmolStr,
    principal_type: Option<String>,
    principal_id: Option<String>,
    key_text: Option<SmolStr>,
    key_request: Option<String>,
    change: String,
    id: SmolStr,
}

impl EntryForm {
    /// The entry, and what was returned for it.
    pub(super) fn read(self) -> Result<(ChangeRecord, SmolStr), StoreError> {
        let damaged =
            |why: String| StoreError::Damaged(format!("revision {}: {why}", self.revision));
        let principal = match (&self.principal_type, self.principal_id) {
            (Some(ty), Some(id)) => Some(to_uid(ty, &id).map_err(damaged)?),
            _ => None,
        };
        let key = match (self.key_text, self.key_request) {
            (Some(text), Some(request)) => Some(IdempotencyKey {
                text,
                request: hash(&request)?,
            }),
            _ => None,
        };
        let at = form::from_millis(self.at).ok_or_else(|| damaged("no moment".to_owned()))?;
        let change = serde_json::from_str(&self.change).map_err(|it| damaged(it.to_string()))?;
        let entry = ChangeRecord {
            revision: self.revision,
            at,
            verb: self.verb,
            change,
            asker: ChangeOrigin {
                caller: self.caller,
                principal,
                key,
            },
        };
        Ok((entry, self.id))
    }
}

/// The entity of a type and an id.
pub(super) fn to_uid(ty: &str, id: &str) -> Result<EntityUID, String> {
    let ty = EntityType::from_normalized_str(ty).map_err(|error| error.to_string())?;
    Ok(EntityUID::from_components(ty, Eid::new(id), None))
}

fn hash(text: &str) -> Result<[u8; 32], StoreError> {
    let bytes = BASE64.decode(text).ok().and_then(|it| it.try_into().ok());
    bytes.ok_or_else(|| StoreError::Damaged("the digest of a request is not 32 bytes".to_owned()))
}

/// The error for a value that its column should not hold.
fn invalid(row: &Row, column: usize, why: &str) -> StoreError {
    let name = row.columns().get(column).map_or("?", |it| it.name());
    StoreError::Damaged(format!("column `{name}`: {why}"))
}

fn cell<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column)
        .map_err(|error| invalid(row, column, &errors::text(&error)))
}

fn text(row: &Row, column: usize) -> Result<&str, StoreError> {
    cell(row, column)
}

fn optional_text(row: &Row, column: usize) -> Result<Option<&str>, StoreError> {
    cell(row, column)
}

fn count(row: &Row, column: usize) -> Result<u64, StoreError> {
    let number: i64 = cell(row, column)?;
    u64::try_from(number).map_err(|_| invalid(row, column, "less than nothing"))
}

fn moment(row: &Row, column: usize) -> Result<SystemTime, StoreError> {
    form::from_millis(count(row, column)?).ok_or_else(|| invalid(row, column, "no moment"))
}

fn optional_moment(row: &Row, column: usize) -> Result<Option<SystemTime>, StoreError> {
    let there: Option<i64> = cell(row, column)?;
    there.map(|_| moment(row, column)).transpose()
}

fn body<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    serde_json::from_str(text(row, column)?)
        .map_err(|error| invalid(row, column, &error.to_string()))
}

fn uids(row: &Row, column: usize) -> Result<Vec<EntityUID>, StoreError> {
    columns::to_uids(text(row, column)?).map_err(|why| invalid(row, column, &why))
}

fn uid(row: &Row, column: usize) -> Result<EntityUID, StoreError> {
    let (ty, id) = (text(row, column)?, text(row, column + 1)?);
    to_uid(ty, id).map_err(|why| invalid(row, column, &why))
}
