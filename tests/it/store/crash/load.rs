//! Clients that change, call and write down what they were told, until the server is gone.
//!
//! What a client made, no other client changes; but all of them use it.

use std::sync::{Arc, Mutex, MutexGuard};

use callgate::proto::v1;
use callgate::proto::v1::AccessLevel;
use tonic::Status;

use crate::store::crash::book::{Book, Fact, Grant, Terms};
use crate::store::crash::company::{
    Doors, actor, agent, by_delegation, is_cancelled, is_gone, moment_in, scope, user,
};

pub mod work;

/// Longer than any test runs.
const LONG: u64 = 3 * 3_600;

/// Random numbers from a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    /// One of several, if there is any.
    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let index = self.below((of.len() as u64).max(1)) as usize;
        of.get(index).cloned()
    }
}

/// One client.
pub struct Client {
    pub owner: usize,
    pub doors: Doors,
    pub book: Arc<Mutex<Book>>,
    pub dice: Dice,
}

impl Client {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn newest(&self) -> u64 {
        self.book().newest
    }

    /// A key of its own for a request. Under one a change is written even where it changes nothing, so that each has a
    /// revision of its own.
    fn key(&self) -> String {
        format!("request {}", self.book().number())
    }

    /// Does one thing after the other until the server is gone.
    pub async fn work(mut self) {
        loop {
            let done = self.act().await;
            let Err(status) = done else { continue };
            let is_dead = self.book().is_dead;
            assert!(is_dead && is_gone(&status), "{status:?}");
            return;
        }
    }

    async fn act(&mut self) -> Result<(), Status> {
        match self.dice.below(20) {
            0 => self.delegate(None).await,
            1 => self.redelegate().await,
            2 => self.narrow().await,
            3 => self.revoke().await,
            4..=6 => self.call_by_grant().await,
            7 => self.open_task().await,
            8 => self.change_task().await,
            9..=11 => self.call_in_task().await,
            12 => self.request_approval().await,
            13 => self.decide_approval().await,
            14 | 15 => self.use_approval().await,
            16 | 17 => self.call_in_session().await,
            18 => self.end_session().await,
            _ => self.put_or_delete().await,
        }
    }

    /// Delegations of this client that nobody has revoked.
    fn own_grants(&self) -> Vec<String> {
        let book = self.book();
        let delegations = book.delegations.iter().filter(|(id, delegation)| {
            delegation.owner == self.owner && delegation.terms.is_settled() && !book.is_over(id)
        });
        delegations.map(|(id, _)| id.clone()).collect()
    }

    async fn delegate(&mut self, parent: Option<String>) -> Result<(), Status> {
        let from = parent.as_ref().map_or(user("ana"), |_| agent("one"));
        let to = parent.as_ref().map_or(agent("one"), |_| agent("two"));
        let request = v1::GrantDelegationRequest {
            actor: actor(from),
            to: Some(to),
            scope: Some(scope(&["files/write", "mail/list"], AccessLevel::Write)),
            parent_id: parent.clone().unwrap_or_default(),
            max_redelegations: u32::from(parent.is_none()),
            expires_at: Some(moment_in(if parent.is_none() { LONG } else { LONG / 2 })),
            ..Default::default()
        };
        let newest = self.newest();
        let answer = self.doors.control.grant_delegation(request).await?;
        let answer = answer.into_inner();
        let stored = answer.delegation.unwrap();
        let delegation = Grant {
            owner: self.owner,
            parent,
            terms: Fact::new(Terms::of(&stored)),
        };
        let mut book = self.book();
        book.acknowledged(newest, answer.revision, "GrantDelegation", &stored.id);
        book.delegations.insert(stored.id, delegation);
        Ok(())
    }

    async fn redelegate(&mut self) -> Result<(), Status> {
        let mut parents = self.own_grants();
        {
            let book = self.book();
            // As it was delegated, or what is redelegated from it would not fit into it.
            parents.retain(|id| {
                let sure = &book.delegations[id].terms.sure;
                sure.max_redelegations == 1 && sure.access == i32::from(AccessLevel::Write)
            });
        }
        match self.dice.pick(&parents) {
            Some(parent) => self.delegate(Some(parent)).await,
            None => self.delegate(None).await,
        }
    }

    async fn narrow(&mut self) -> Result<(), Status> {
        let Some(id) = self.dice.pick(&self.own_grants()) else {
            return Ok(());
        };
        let mut next = self.book().delegations[&id].terms.sure.clone();
        let mut request = v1::NarrowDelegationRequest {
            actor: actor(user("ana")),
            idempotency_key: self.key(),
            id: id.clone(),
            ..Default::default()
        };
        match self.dice.below(3) {
            0 => {
                next.access = AccessLevel::Read.into();
                next.tools = vec!["mail/list".into()];
                request.scope = Some(scope(&["mail/list"], AccessLevel::Read));
            }
            1 => {
                next.expires -= 1;
                request.expires_at = Some(prost_types::Timestamp {
                    seconds: next.expires,
                    nanos: 0,
                });
            }
            _ => {
                next.max_redelegations = 0;
                request.max_redelegations = Some(0);
            }
        }
        let newest = self.expect_grant(&id, &next);
        let answer = self.doors.control.narrow_delegation(request).await?;
        let answer = answer.into_inner();
        self.take_grant(
            newest,
            answer.revision,
            "NarrowDelegation",
            answer.delegation,
            next,
        );
        Ok(())
    }

    async fn revoke(&mut self) -> Result<(), Status> {
        let Some(id) = self.dice.pick(&self.own_grants()) else {
            return Ok(());
        };
        let mut next = self.book().delegations[&id].terms.sure.clone();
        next.is_revoked = true;
        let request = v1::RevokeDelegationRequest {
            actor: actor(user("ana")),
            idempotency_key: self.key(),
            id: id.clone(),
        };
        let newest = self.expect_grant(&id, &next);
        let answer = self.doors.control.revoke_delegation(request).await?;
        let answer = answer.into_inner();
        self.take_grant(
            newest,
            answer.revision,
            "RevokeDelegation",
            answer.delegation,
            next,
        );
        Ok(())
    }

    fn expect_grant(&self, id: &str, next: &Terms) -> u64 {
        let mut book = self.book();
        book.delegations.get_mut(id).unwrap().terms.doubt = Some(next.clone());
        book.newest
    }

    fn take_grant(
        &self,
        newest: u64,
        revision: u64,
        verb: &str,
        stored: Option<v1::StoredDelegation>,
        next: Terms,
    ) {
        let stored = stored.unwrap();
        assert_eq!(Terms::of(&stored), next, "{verb}");
        let mut book = self.book();
        book.acknowledged(newest, revision, verb, &stored.id);
        book.delegations
            .get_mut(&stored.id)
            .unwrap()
            .terms
            .confirm(next);
    }

    async fn call_by_grant(&mut self) -> Result<(), Status> {
        let all: Vec<String> = self.book().delegations.keys().cloned().collect();
        let Some(id) = self.dice.pick(&all) else {
            return Ok(());
        };
        let (by, was_over, newest) = {
            let book = self.book();
            let by = if book.delegations[&id].parent.is_some() {
                "two"
            } else {
                "one"
            };
            (by, book.is_over(&id), book.newest)
        };
        let answer = self
            .doors
            .decide(by_delegation(by, "mail/list", &id))
            .await?;
        self.book().decided(newest, &answer);
        if was_over {
            assert!(is_cancelled(&answer), "{answer:?}");
        }
        Ok(())
    }
}
