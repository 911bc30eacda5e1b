//! One server among others on the same database.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use smol_str::SmolStr;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::form;
use crate::domain::ids::{ApprovalId, BudgetId, BundleId, MemberId, SessionId};
use crate::store::backend::{
    LabelTimes, StoreError, StoredDefinition, StoredLabel, StoredSession, UsageCount,
};
use crate::store::columns;
use crate::store::postgres::connection::PgConnection;
use crate::store::postgres::read::{EntryForm, to_uid};
use crate::store::postgres::{Driver, PostgresStore, Progress, lock};
use callgate_engine::cedar::EntityUID;

/// How a server appears to the others.
#[derive(Debug, Clone)]
pub struct ReplicaName {
    /// The name that people know it by.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How long it decides without a confirmation.
    pub max_staleness: Duration,
}

/// A server's place among the others. It ends when the others take the server for dead, and a new one begins.
#[derive(Debug, Clone)]
pub struct Membership {
    id: MemberId,
    polls: PgConnection,
    sessions: PgConnection,
    runtime: Arc<Driver>,
    progress: Arc<Progress>,
    /// The id that the store's own writes carry.
    writes_as: Arc<Mutex<Option<MemberId>>>,
}

/// What a server says when it asks for a confirmation.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The revision that it decides from.
    pub revision: u64,
    /// The number of the last fact that it decides from.
    pub facts: u64,
    /// Whether its row is written: what it has applied is new, or a beat is due.
    pub is_beat: bool,
    /// The digest of its bundle.
    pub bundle_digest: String,
    /// The id of the stored archive that it has compiled last; empty if there is none.
    pub prepared: BundleId,
    /// The id of a stored archive that it cannot compile; empty if there is none.
    pub cannot: BundleId,
    /// What the clock of this machine shows.
    pub clock: SystemTime,
}

/// The answer to a request for a confirmation.
#[derive(Debug)]
pub struct Confirmation {
    /// Names the database and the history it is in: which store, which PostgreSQL system, which timeline.
    pub store: String,
    /// What the clock of the database showed.
    pub now: SystemTime,
    /// The last revision when the answer was begun.
    pub revision: u64,
    /// The number of the last fact then.
    pub facts: u64,
    /// How often this server has said what it has applied, this time included.
    pub beat: u64,
    /// The other servers.
    pub replicas: Vec<ReplicaProgress>,
    /// Sessions of this server that another one waits for.
    pub wanted: Vec<SessionId>,
    /// Changes that this server has not applied, in order, with what was returned for them.
    pub entries: Vec<(ChangeRecord, SmolStr)>,
    /// Labels that are new, and whether this server has written them last.
    pub labels: Vec<(StoredLabel, bool)>,
    /// Definitions that differ from the pinned ones, or no longer do.
    pub tools: Vec<(SmolStr, EntityUID, Option<StoredDefinition>)>,
    /// Uses of approvals, by all.
    pub uses: Vec<(ApprovalId, u32)>,
    /// Calls spent of budgets, by all, with the number of the fact.
    pub spent: Vec<(BudgetId, u64, u64)>,
    /// What others have counted.
    pub usage: Vec<UsageCount>,
    /// The archive that every server is to compile, as it may be published.
    pub staged: Option<StagedBundle>,
}

/// An archive that was stored and may be published, and how far the servers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedBundle {
    /// Its id.
    pub id: BundleId,
    /// How many of the other servers have not said yet whether they can compile it.
    pub unprepared: u64,
    /// The names of those that cannot.
    pub cannot: Vec<SmolStr>,
}

/// Another server, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// Its id.
    pub id: MemberId,
    /// How often it has been confirmed.
    pub beat: u64,
    /// The revision that it decides from.
    pub revision: u64,
    /// The number of the last fact that it decides from.
    pub facts: u64,
    /// How long it decides without a confirmation.
    pub max_staleness: Duration,
}

/// Id, beat, revision, facts and staleness in milliseconds.
type ReplicaForm = (MemberId, u64, u64, u64, u64);

/// Kind, carrier, label, the two times, and whether this server has written it last.
type LabelForm = (String, String, SmolStr, u64, Option<u64>, bool);

#[derive(Deserialize)]
struct AnswerForm {
    store: String,
    now: u64,
    revision: u64,
    facts: u64,
    /// `None` if the others have taken this server for dead in this very moment.
    beat: Option<u64>,
    replicas: Option<Vec<ReplicaForm>>,
    wanted: Option<Vec<SessionId>>,
    #[serde(default)]
    entries: Vec<EntryForm>,
    news: Option<NewsForm>,
    staged: Option<BundleId>,
    #[serde(default)]
    unprepared: u64,
    #[serde(default)]
    cannot: Vec<SmolStr>,
}

#[derive(Deserialize)]
struct NewsForm {
    labels: Vec<LabelForm>,
    tools: Vec<(SmolStr, String, String, Option<String>)>,
    uses: Vec<(ApprovalId, u32)>,
    spent: Vec<(BudgetId, u64, u64)>,
    usage: Vec<String>,
}

#[derive(Deserialize)]
struct StoredSessionForm {
    id: SessionId,
    turn: u64,
    is_ended: bool,
    calls: u64,
    tools: String,
    last: String,
    at: u64,
    labels: Vec<SmolStr>,
}

impl PostgresStore {
    /// Makes this server a member: from now on its writes count only as long as it is one. Join before
    /// [`load`](crate::store::backend::Store::load), so that nobody acknowledges what this server has not loaded.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub fn join(&mut self, name: &ReplicaName) -> Result<Membership, StoreError> {
        let membership = Membership {
            id: Uuid::now_v7().to_string().into(),
            polls: PgConnection::new(self.writes.address().clone()),
            sessions: PgConnection::new(self.writes.address().clone()),
            runtime: Arc::clone(&self.runtime),
            progress: Arc::clone(&self.progress),
            writes_as: Arc::clone(&self.me),
        };
        let limit = Duration::from_secs(5);
        let (joining, name) = (membership.clone(), name.clone());
        self.runtime
            .wait(limit, async move { joining.join(&name, limit).await })?;
        membership.write_as();
        Ok(membership)
    }
}

impl Membership {
    /// The id of the membership.
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// From now on the store writes in the name of this membership.
    pub fn write_as(&self) {
        *lock(&self.writes_as) = Some(self.id.clone());
    }

    /// How far the writes of this server have come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The runtime that drives the connections; `None` once it has ended.
    pub fn runtime(&self) -> Option<&Handle> {
        self.runtime.handle()
    }

    /// The same server under a new id, which is not joined yet.
    pub fn renewed(&self) -> Self {
        Self {
            id: Uuid::now_v7().to_string().into(),
            ..self.clone()
        }
    }

    /// Becomes a member.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub async fn join(&self, name: &ReplicaName, limit: Duration) -> Result<(), StoreError> {
        let staleness = name.max_staleness.as_millis().to_string();
        let values = [self.id.as_str(), &name.name, &name.version, &staleness];
        let values = values.map(|it| Some(it.to_owned()));
        let sql = "SELECT callgate.join($1, $2, $3, $4)";
        self.polls.call(sql, &values, limit).await.map(|_| ())
    }

    /// Asks what is new, and says what is applied.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if the others have taken this server for dead, any error of reading otherwise.
    pub async fn poll(
        &self,
        applied: &Applied,
        limit: Duration,
    ) -> Result<Confirmation, StoreError> {
        let values = [
            Some(self.id.to_string()),
            Some(applied.revision.to_string()),
            Some(applied.facts.to_string()),
            Some(applied.is_beat.to_string()),
            Some(applied.bundle_digest.clone()),
            Some(applied.prepared.to_string()),
            Some(applied.cannot.to_string()),
            Some(form::millis(applied.clock).to_string()),
        ];
        let sql = "SELECT callgate.poll($1, $2, $3, $4, $5, $6, $7, $8)";
        let answer = self.polls.call(sql, &values, limit).await?;
        let form: AnswerForm = serde_json::from_str(&answer)
            .map_err(|error| StoreError::Read(format!("the answer to a poll: {error}")))?;
        form.read()
    }

    /// Takes another server for dead if it has not been confirmed since this beat.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub async fn expel(&self, other: &ReplicaProgress, limit: Duration) -> Result<(), StoreError> {
        let values = [Some(other.id.to_string()), Some(other.beat.to_string())];
        let sql = "SELECT callgate.leave($1, $2)";
        self.sessions.call(sql, &values, limit).await.map(|_| ())
    }

    /// Names the store that the database holds, and the history that it is in.
    ///
    /// # Errors
    ///
    /// Any error of reading.
    pub async fn history(&self, limit: Duration) -> Result<String, StoreError> {
        let sql = "SELECT callgate.history()";
        self.polls.call(sql, &[], limit).await
    }

    /// The beat at which this membership was ended. `None` if the database knows of no end in the last 30 days.
    ///
    /// # Errors
    ///
    /// Any error of reading.
    pub async fn left_at(&self, limit: Duration) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT callgate.left_at($1)";
        let values = [Some(self.id.to_string())];
        let beat = self.polls.call(sql, &values, limit).await?;
        Ok(beat.parse().ok())
    }

    /// Ends the membership under which this server writes now, from any thread. Nothing may be decided after that.
    ///
    /// # Errors
    ///
    /// As [`Membership::leave`].
    pub fn leave_now(&self, limit: Duration) -> Result<(), StoreError> {
        let Some(id) = lock(&self.writes_as).clone() else {
            return Ok(());
        };
        let leaving = Self { id, ..self.clone() };
        self.runtime
            .wait(limit, async move { leaving.leave(limit).await })
    }

    /// Ends the membership. Nothing may be decided after that.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub async fn leave(&self, limit: Duration) -> Result<(), StoreError> {
        let values = [Some(self.id.to_string()), None];
        let sql = "SELECT callgate.leave($1, $2)";
        self.sessions.call(sql, &values, limit).await.map(|_| ())
    }

    /// Asks for a session, and gives it with the turn in which this server has it from now on. `None` if another living server has it, which is then asked to let it go.
    ///
    /// # Errors
    ///
    /// As [`Membership::poll`].
    pub async fn acquire(
        &self,
        session: &SessionId,
        at: SystemTime,
        limit: Duration,
    ) -> Result<Option<(StoredSession, u64)>, StoreError> {
        let values = [
            Some(self.id.to_string()),
            Some(session.to_string()),
            Some(form::millis(at).to_string()),
        ];
        let sql = "SELECT callgate.acquire($1, $2, $3)";
        let answer = self.sessions.call(sql, &values, limit).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        let damaged = |why: String| StoreError::Damaged(format!("session `{session}`: {why}"));
        let form: StoredSessionForm =
            serde_json::from_str(&answer).map_err(|error| damaged(error.to_string()))?;
        let at = form::from_millis(form.at).ok_or_else(|| damaged("no moment".to_owned()))?;
        let turn = form.turn;
        let session = StoredSession {
            id: form.id,
            is_ended: form.is_ended,
            calls: form.calls,
            labels: form.labels,
            tools: columns::to_uids(&form.tools).map_err(damaged)?,
            last: columns::to_uids(&form.last).map_err(damaged)?,
            at,
        };
        Ok(Some((session, turn)))
    }
}

impl AnswerForm {
    fn read(self) -> Result<Confirmation, StoreError> {
        let damaged = |why: String| StoreError::Damaged(format!("a fact: {why}"));
        let mut confirmation = Confirmation {
            store: self.store,
            now: form::from_millis(self.now).ok_or_else(|| damaged("no moment".to_owned()))?,
            revision: self.revision,
            facts: self.facts,
            beat: self.beat.ok_or(StoreError::Fenced)?,
            wanted: self.wanted.unwrap_or_default(),
            staged: self.staged.map(|id| StagedBundle {
                id,
                unprepared: self.unprepared,
                cannot: self.cannot,
            }),
            replicas: Vec::new(),
            entries: Vec::new(),
            labels: Vec::new(),
            tools: Vec::new(),
            uses: Vec::new(),
            spent: Vec::new(),
            usage: Vec::new(),
        };
        for (id, beat, revision, facts, staleness) in self.replicas.unwrap_or_default() {
            confirmation.replicas.push(ReplicaProgress {
                id,
                beat,
                revision,
                facts,
                max_staleness: Duration::from_millis(staleness),
            });
        }
        for entry in self.entries {
            confirmation.entries.push(entry.read()?);
        }
        let Some(news) = self.news else {
            return Ok(confirmation);
        };
        let moment =
            |millis| form::from_millis(millis).ok_or_else(|| damaged("no moment".to_owned()));
        for (kind, carrier, label, through, loose, is_own) in news.labels {
            let stored = StoredLabel {
                carrier: columns::to_carrier(&kind, &carrier).map_err(damaged)?,
                brought: LabelTimes {
                    label,
                    through: moment(through)?,
                    loose_through: loose.map(moment).transpose()?,
                },
            };
            confirmation.labels.push((stored, is_own));
        }
        for (gateway, ty, id, body) in news.tools {
            let tool = to_uid(&ty, &id).map_err(damaged)?;
            let shown = body.map(|body| serde_json::from_str(&body)).transpose();
            let shown = shown.map_err(|error| damaged(error.to_string()))?;
            confirmation.tools.push((gateway, tool, shown));
        }
        (confirmation.uses, confirmation.spent) = (news.uses, news.spent);
        for counts in news.usage {
            let counts: Vec<UsageCount> =
                serde_json::from_str(&counts).map_err(|error| damaged(error.to_string()))?;
            confirmation.usage.extend(counts);
        }
        Ok(confirmation)
    }
}

#[cfg(test)]
impl Membership {
    /// One that leads nowhere.
    pub fn unconnected() -> Result<Self, StoreError> {
        let address = crate::store::postgres::connection::Address::parse(
            "postgres://nobody@127.0.0.1:1/nothing",
            std::path::Path::new("."),
            None,
        )?;
        Ok(Self {
            id: "one".into(),
            polls: PgConnection::new(address.clone()),
            sessions: PgConnection::new(address),
            runtime: Arc::new(Driver(None)),
            progress: Arc::default(),
            writes_as: Arc::default(),
        })
    }
}
