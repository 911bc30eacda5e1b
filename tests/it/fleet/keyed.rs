//! Who writes under keys: grants, says it again and revokes, at whichever server answers.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use callgate::proto::v1;
use callgate::proto::v1::{AccessLevel, DelegationStatus};
use tonic::{Code, Status};

use crate::fleet::history::{About, Event};
use crate::fleet::run::{Client, PATIENCE};
use crate::store::crash::company::{Doors, actor, agent, is_allow, moment_in, scope, user};

/// A write that somebody asks for at any server.
trait Ask<T, F: Future<Output = Result<T, Status>>>: Fn(Doors) -> F {}

impl<T, F: Future<Output = Result<T, Status>>, A: Fn(Doors) -> F> Ask<T, F> for A {}

impl Client {
    /// Grants and revokes one delegation after the other, each under a key of its own until it is acknowledged. Others write at
    /// other servers meanwhile.
    pub async fn give_and_take(mut self, number: u64) {
        for turn in 0_u32.. {
            let key = format!("{}-{number}-{turn}", self.things.name);
            if self.give_and_take_once(&key).await.is_none() {
                return;
            }
        }
    }

    /// `None` once the run is over, or where something happened that must not.
    async fn give_and_take_once(&mut self, key: &str) -> Option<()> {
        let request = v1::GrantDelegationRequest {
            actor: actor(user("ana")),
            idempotency_key: format!("{key}-grant"),
            to: Some(agent("one")),
            scope: Some(scope(&["mail/list"], AccessLevel::Read)),
            expires_at: Some(moment_in(36_000)),
            ..Default::default()
        };
        let grant = |mut doors: Doors| {
            let request = request.clone();
            async move {
                let granted = doors.control.grant_delegation(request).await?.into_inner();
                Ok(granted.delegation.unwrap_or_default().id)
            }
        };
        let (_, id) = self.insist(grant).await?;
        if self.dice.below(3) == 0 {
            let (replica, again) = self.insist(grant).await?;
            if again != id {
                let what = format!("under `{key}` replica {replica} made {again} beside {id}");
                self.history.add_broken(what);
                return None;
            }
        }
        let request = v1::RevokeDelegationRequest {
            actor: actor(user("ana")),
            idempotency_key: format!("{key}-revoke"),
            id: id.clone(),
        };
        let revoke = |mut doors: Doors| {
            let request = request.clone();
            async move {
                let revoked = doors.control.revoke_delegation(request).await?.into_inner();
                Ok(revoked.delegation.unwrap_or_default().status())
            }
        };
        let (replica, status) = self.insist(revoke).await?;
        if status != DelegationStatus::Revoked {
            let what = format!("replica {replica} acknowledged that {id} is revoked: {status:?}");
            self.history.add_broken(what);
        }
        let about = About::Keyed(id);
        self.history.acknowledge(about.clone(), replica);
        self.ask(about).await;
        Some(())
    }

    /// Asks whether a call is allowed, at one server.
    async fn ask(&mut self, about: About) {
        let Some((replica, doors)) = self.any().await else {
            return;
        };
        let (asked, call) = (Instant::now(), self.things.call(&about));
        if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, doors.decide(call)).await {
            self.history.add(Event {
                about,
                replica,
                asked,
                answered: Instant::now(),
                is_allow: is_allow(&answer),
            });
        }
    }

    /// Asks one server after the other until one has done it, and says which. `None` once the run is over.
    async fn insist<T, F: Future<Output = Result<T, Status>>>(
        &mut self,
        ask: impl Ask<T, F>,
    ) -> Option<(usize, T)> {
        while !self.is_over.load(Ordering::SeqCst) {
            if let Some((replica, doors)) = self.any().await {
                match tokio::time::timeout(PATIENCE, ask(doors)).await {
                    Ok(Ok(done)) => return Some((replica, done)),
                    Ok(Err(status)) if is_refused(&status) => {
                        self.history
                            .add_broken(format!("replica {replica}: {status:?}"));
                        return None;
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(20))).await;
        }
        None
    }
}

/// Whether a server says of a request that is right that it is not.
fn is_refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound | Code::AlreadyExists | Code::PermissionDenied | Code::InvalidArgument
    )
}
