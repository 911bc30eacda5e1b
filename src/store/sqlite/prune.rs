//! Removes records that ended long ago, a few rows at a time.

use rusqlite::{Connection, params};
use smol_str::SmolStr;

use crate::domain::ids::TaskId;
use crate::store::backend::{Pruned, Retention};
use crate::store::sqlite::moment;

/// The most rows that one statement removes in one step.
pub(super) const ROWS: usize = 500;

/// Removes up to `rows` rows of each kind.
pub(super) fn step(
    connection: &Connection,
    before: &Retention,
    rows: usize,
) -> rusqlite::Result<Pruned> {
    let mut step = PruneStep {
        connection,
        rows,
        is_partial: false,
    };
    let ended = moment(before.ended);
    let delegations = step.expired("grants", ended)?;
    step.each(
        "DELETE FROM labels WHERE kind = 'delegation' AND carrier = ?1",
        &delegations,
    )?;
    let approvals = step.expired("approvals", ended)?;
    step.each("DELETE FROM approval_uses WHERE id = ?1", &approvals)?;
    // Tasks last: records that belong to a task are found through it.
    let tasks = step.tasks(ended)?;
    let sessions = step.take(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE at < ?1 LIMIT ?2)
         RETURNING id",
        ended,
    )?;
    step.each("DELETE FROM session_labels WHERE session = ?1", &sessions)?;
    step.unnamed(before)?;
    Ok(Pruned {
        delegations,
        tasks,
        approvals,
        sessions,
        is_partial: step.is_partial,
    })
}

struct PruneStep<'c> {
    connection: &'c Connection,
    rows: usize,
    is_partial: bool,
}

impl PruneStep<'_> {
    /// Removes delegations or approvals that have ended by themselves or with their task.
    fn expired<I: From<SmolStr>>(&mut self, table: &str, ended: i64) -> rusqlite::Result<Vec<I>> {
        let mut ids = self.take(
            &format!(
                "DELETE FROM {table} WHERE id IN
                    (SELECT id FROM {table} WHERE ends_at < ?1 LIMIT ?2) RETURNING id"
            ),
            ended,
        )?;
        ids.extend(self.take(
            &format!(
                "DELETE FROM {table} WHERE id IN
                    (SELECT {table}.id FROM tasks JOIN {table} ON {table}.task = tasks.id
                        WHERE tasks.ends_at < ?1 LIMIT ?2) RETURNING id"
            ),
            ended,
        )?);
        Ok(ids)
    }

    /// Removes tasks that have ended, with what was counted of them.
    fn tasks(&mut self, ended: i64) -> rusqlite::Result<Vec<TaskId>> {
        let tasks = self.take(
            "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE ends_at < ?1
                AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.task = tasks.id)
                AND NOT EXISTS (SELECT 1 FROM approvals WHERE approvals.task = tasks.id) LIMIT ?2)
             RETURNING id",
            ended,
        )?;
        // The counters of a task's tools, `<task>/<tool>`, go with it. `0` is the character after `/`.
        self.each(
            "DELETE FROM task_spent WHERE id = ?1 OR (id > ?1 || '/' AND id < ?1 || '0')",
            &tasks,
        )?;
        self.each(
            "DELETE FROM labels WHERE kind = 'task' AND carrier = ?1",
            &tasks,
        )?;
        Ok(tasks)
    }

    /// Removes what has no id: keys, usage, labels of pairs and resources, and the oldest changes.
    fn unnamed(&mut self, before: &Retention) -> rusqlite::Result<()> {
        let recent = moment(before.recent);
        self.delete(
            "DELETE FROM idempotency_keys WHERE rowid IN
                (SELECT rowid FROM idempotency_keys WHERE at < ?1 LIMIT ?2)",
            recent,
        )?;
        self.delete(
            "DELETE FROM usage WHERE rowid IN (SELECT rowid FROM usage WHERE at < ?1 LIMIT ?2)",
            recent,
        )?;
        self.delete(
            "DELETE FROM labels WHERE rowid IN
                (SELECT rowid FROM labels WHERE kind = 'pair' AND through < ?1 LIMIT ?2)",
            recent,
        )?;
        self.delete(
            "DELETE FROM labels WHERE rowid IN
                (SELECT rowid FROM labels WHERE kind = 'place' AND through < ?1 LIMIT ?2)",
            moment(before.places),
        )?;
        // Time increases with the revision, so the oldest come first.
        self.delete(
            "DELETE FROM change_log WHERE revision IN (SELECT revision FROM
                (SELECT revision, at FROM change_log
                    WHERE revision < (SELECT max(revision) FROM change_log)
                    ORDER BY revision LIMIT ?2)
                WHERE at < ?1)",
            moment(before.changes),
        )?;
        Ok(())
    }

    /// Removes rows and returns their ids.
    fn take<I: From<SmolStr>>(&mut self, sql: &str, before: i64) -> rusqlite::Result<Vec<I>> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query(params![before, self.rows as i64])?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            ids.push(I::from(SmolStr::new(row.get_ref(0)?.as_str()?)));
        }
        self.is_partial |= ids.len() >= self.rows;
        Ok(ids)
    }

    fn delete(&mut self, sql: &str, before: i64) -> rusqlite::Result<()> {
        let gone = self
            .connection
            .execute(sql, params![before, self.rows as i64])?;
        self.is_partial |= gone >= self.rows;
        Ok(())
    }

    fn each(&self, sql: &str, ids: &[impl AsRef<str>]) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(sql)?;
        for id in ids {
            statement.execute([id.as_ref()])?;
        }
        Ok(())
    }
}
