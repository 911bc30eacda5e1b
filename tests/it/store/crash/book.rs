//! What the clients were told, and what they asked for without hearing an answer.

use std::collections::BTreeMap;

use callgate::proto::v1;

/// A fact of the server's, as far as it is known from outside.
#[derive(Debug, Clone)]
pub struct Fact<T> {
    /// It was acknowledged.
    pub sure: T,
    /// It was asked to become this, and there was no answer yet.
    pub doubt: Option<T>,
}

impl<T: Clone + PartialEq + std::fmt::Debug> Fact<T> {
    pub fn new(sure: T) -> Self {
        Self { sure, doubt: None }
    }

    /// It is known and nobody is changing it.
    pub fn is_settled(&self) -> bool {
        self.doubt.is_none()
    }

    /// It was acknowledged that it is this now.
    pub fn confirm(&mut self, now: T) {
        self.sure = now;
        self.doubt = None;
    }

    /// What was found after a restart must be what was acknowledged, or what was asked for.
    pub fn settle(&mut self, what: &str, found: T) {
        assert!(
            found == self.sure || Some(&found) == self.doubt.as_ref(),
            "{what} is {found:?} after the restart, but was {self:?}"
        );
        self.confirm(found);
    }
}

/// A delegation, as far as it can be told before the answer comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    pub tools: Vec<String>,
    pub access: i32,
    pub max_redelegations: u32,
    pub expires: i64,
    pub is_revoked: bool,
}

impl Terms {
    pub fn of(stored: &v1::StoredDelegation) -> Self {
        let scope = stored.scope.clone().unwrap();
        Self {
            tools: scope.tools,
            access: scope.access,
            max_redelegations: stored.max_redelegations,
            expires: stored.expires_at.as_ref().unwrap().seconds,
            is_revoked: stored.revoked_at.is_some(),
        }
    }
}

/// What is known of a delegation.
#[derive(Debug, Clone)]
pub struct Grant {
    pub owner: usize,
    pub parent: Option<String>,
    pub terms: Fact<Terms>,
}

/// How a task stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Stands {
    pub step: String,
    pub is_closed: bool,
}

/// Something that can be used so many times and no more.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    pub limit: u64,
    /// Uses that were acknowledged.
    pub used: u64,
    /// Uses under way.
    pub under_way: u64,
    /// Uses that were under way when the server was killed.
    pub doubtful: u64,
    /// How often the server was killed since.
    pub crashes: u64,
}

impl Quota {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// A use is over.
    pub fn end(&mut self, is_allow: bool) {
        self.under_way -= 1;
        self.used += u64::from(is_allow);
        assert!(self.used <= self.limit, "used too often: {self:?}");
    }

    /// The server is dead.
    fn crash(&mut self) {
        self.doubtful += std::mem::take(&mut self.under_way);
        self.crashes += 1;
    }

    /// What the server says is left can be no more than what it gave away leaves.
    pub fn check(&self, what: &str, left: u64) {
        let most = self.limit - self.used;
        assert!(left <= most, "{left} are left of {what}: {self:?}");
    }
}

/// What is known of a task.
#[derive(Debug, Clone)]
pub struct Task {
    pub owner: usize,
    pub stands: Fact<Stands>,
    pub budget: Quota,
}

/// What is known of an approval. `Some(0)` is a no, and any other number a yes to so many uses.
#[derive(Debug, Clone)]
pub struct Approval {
    pub owner: usize,
    pub disk: u64,
    pub digest: String,
    pub word: Fact<Option<u32>>,
    pub uses: Quota,
}

/// What a session remembers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Memory {
    Nothing,
    /// It has read what is private, so nothing may be sent.
    Private,
    /// It has sent, so nothing private may be read.
    Sent,
    Ended,
}

/// What is known of a session.
#[derive(Debug, Clone)]
pub struct Session {
    pub owner: usize,
    pub memory: Fact<Memory>,
}

/// What is known of an entity: the version that is stored, if any.
#[derive(Debug, Clone)]
pub struct Entity {
    pub version: Fact<Option<i64>>,
}

/// What was changed: its verb and what it is about.
pub type Named = (String, String);

/// Everything the clients know, over all lives of the server.
#[derive(Debug, Default)]
pub struct Book {
    /// What was acknowledged or told under each revision.
    pub changes: BTreeMap<u64, Named>,
    /// The newest revision in any answer.
    pub newest: u64,
    pub delegations: BTreeMap<String, Grant>,
    pub tasks: BTreeMap<String, Task>,
    pub approvals: BTreeMap<String, Approval>,
    pub sessions: BTreeMap<String, Session>,
    pub entities: BTreeMap<String, Entity>,
    /// Requests under an idempotency key, and the answer if one came: the revision and the id.
    pub openings: BTreeMap<String, (v1::OpenTaskRequest, Option<(u64, String)>)>,
    /// The task of each purpose that was told of.
    pub purposes: BTreeMap<String, String>,
    /// Numbers that were given.
    pub numbers: u64,
    /// Whether the server was told to die.
    pub is_dead: bool,
    /// How many answers came.
    pub answers: u64,
    /// How many of them were allows.
    pub allows: u64,
}

impl Book {
    /// A number that nothing else has.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// A change was acknowledged, or told to a watcher.
    pub fn note(&mut self, revision: u64, verb: &str, id: &str) {
        let named = (verb.to_owned(), id.to_owned());
        let before = self
            .changes
            .entry(revision)
            .or_insert_with(|| named.clone());
        assert_eq!(*before, named, "revision {revision} is two changes");
    }

    /// A change that was asked for when `newest` was the newest revision was acknowledged.
    pub fn acknowledged(&mut self, newest: u64, revision: u64, verb: &str, id: &str) {
        self.answers += 1;
        assert!(revision > newest, "{verb}: {revision} after {newest}");
        self.note(revision, verb, id);
        self.newest = self.newest.max(revision);
    }

    /// A call was decided that was asked about when `newest` was the newest revision.
    pub fn decided(&mut self, newest: u64, answer: &v1::AuthorizeResponse) {
        self.answers += 1;
        self.allows += u64::from(answer.decision() == v1::Decision::Allow);
        let revision = answer.revision;
        assert!(revision >= newest, "decided at {revision} after {newest}");
        self.newest = self.newest.max(revision);
    }

    /// A delegation and those that it was redelegated from.
    pub fn chain<'b>(&'b self, id: &'b str) -> impl Iterator<Item = &'b Grant> {
        let parent = |delegation: &&'b Grant| {
            let parent = delegation.parent.as_deref()?;
            self.delegations.get(parent)
        };
        std::iter::successors(self.delegations.get(id), parent)
    }

    /// Whether a delegation, or one that it was redelegated from, was revoked for sure.
    pub fn is_revoked(&self, id: &str) -> bool {
        self.chain(id)
            .any(|delegation| delegation.terms.sure.is_revoked)
    }

    /// Whether it holds no longer for sure: it was revoked, or may not be redelegated any more.
    pub fn is_over(&self, id: &str) -> bool {
        let links = self.chain(id).zip(self.chain(id).skip(1));
        let may_redelegate = |(link, parent): (&Grant, &Grant)| {
            parent.terms.sure.max_redelegations > link.terms.sure.max_redelegations
        };
        self.is_revoked(id) || !links.into_iter().all(may_redelegate)
    }

    /// The server is dead: what was under way may or may not have happened.
    pub fn crash(&mut self) {
        self.tasks.values_mut().for_each(|it| it.budget.crash());
        self.approvals.values_mut().for_each(|it| it.uses.crash());
    }

    /// How many facts were acknowledged as changed or ended.
    pub fn ended(&self) -> usize {
        let revoked = self
            .delegations
            .values()
            .filter(|it| it.terms.sure.is_revoked);
        let closed = self.tasks.values().filter(|it| it.stands.sure.is_closed);
        let used = self.approvals.values().filter(|it| it.uses.used > 0);
        let labelled = self.sessions.values();
        let labelled = labelled.filter(|it| it.memory.sure != Memory::Nothing);
        revoked.count() + closed.count() + used.count() + labelled.count()
    }
}
