//! How things stand, and the trail of changes.

use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::control_server::Control as _;
use tokio_stream::StreamExt;
use tonic::Status;

use crate::scenarios::play::Player;
use crate::scenarios::scope;
use crate::scenarios::stage::from;
use crate::scenarios::story::{Changes, Look, Standing, Step};
use crate::scenarios::wire::same;

/// How long a story waits for changes that it says have happened.
const PATIENCE: Duration = Duration::from_secs(5);

impl Player {
    /// How something stands.
    pub(super) async fn look(&mut self, step: &Step, look: &Look) -> Result<(), String> {
        let told: Option<Standing> = step.expect(|word| {
            Some(Standing {
                is: word.to_owned(),
                ..Standing::default()
            })
        })?;
        let told = told.ok_or("nothing is expected")?;
        let came = self.standing(look).await?;
        same("it is", &told.is, &came.is)?;
        if told.calls_left.is_some() {
            same("calls left", &told.calls_left, &came.calls_left)?;
        }
        if told.used.is_some() {
            same("used", &told.used, &came.used)?;
        }
        if told.by.is_some() {
            same("by", &told.by, &came.by)?;
        }
        match &told.at_revision {
            Some(name) => {
                let wanted = self.revision(name)?.to_string();
                same("revision", &Some(wanted), &came.at_revision)
            }
            None => Ok(()),
        }
    }

    async fn standing(&self, look: &Look) -> Result<Standing, String> {
        let control = self.stage.control();
        let failed = |status: Status| status.to_string();
        let word = |name: &str, prefix: &str| {
            let word = name.trim_start_matches(prefix);
            word.to_lowercase().replace('_', " ")
        };
        Ok(match look {
            Look::Grant(name) => {
                let request = v1::ListDelegationsRequest {
                    id: self.id(name)?,
                    ..Default::default()
                };
                let answer = control.list_delegations(from("gateway", request)).await;
                let answer = answer.map_err(failed)?.into_inner();
                let delegation = answer.delegations.first().ok_or("it is not there")?;
                Standing {
                    is: word(delegation.status().as_str_name(), "DELEGATION_STATUS_"),
                    at_revision: Some(answer.revision.to_string()),
                    ..Standing::default()
                }
            }
            Look::Task(name) => {
                let request = v1::ListTasksRequest {
                    id: self.id(name)?,
                    ..Default::default()
                };
                let answer = control.list_tasks(from("gateway", request)).await;
                let answer = answer.map_err(failed)?.into_inner();
                let task = answer.tasks.first().ok_or("it is not there")?;
                Standing {
                    is: word(task.status().as_str_name(), "TASK_STATUS_"),
                    calls_left: task.calls_left,
                    at_revision: Some(answer.revision.to_string()),
                    ..Standing::default()
                }
            }
            Look::Approval(name) => {
                let request = v1::ListApprovalsRequest {
                    id: self.id(name)?,
                    ..Default::default()
                };
                let answer = control.list_approvals(from("gateway", request)).await;
                let answer = answer.map_err(failed)?.into_inner();
                let approval = answer.approvals.first().ok_or("it is not there")?;
                Standing {
                    is: word(approval.status().as_str_name(), "APPROVAL_STATUS_"),
                    used: Some(approval.used),
                    by: approval.decided_by.as_ref().map(scope::name),
                    at_revision: Some(answer.revision.to_string()),
                    ..Standing::default()
                }
            }
            Look::Entity(name) => {
                let uid = scope::entity(name)?;
                let request = v1::GetEntityRequest { uid };
                let answer = control.get_entity(from("gateway", request)).await;
                let source = match &answer {
                    Ok(answer) => answer.get_ref().entity.clone().unwrap_or_default().source(),
                    Err(_) => v1::EntitySource::Unspecified,
                };
                Standing {
                    is: match answer {
                        Ok(_) => word(source.as_str_name(), "ENTITY_SOURCE_"),
                        Err(_) => "not there".to_owned(),
                    },
                    ..Standing::default()
                }
            }
        })
    }

    /// The trail of changes: `<verb> by <who> through <gateway>`, in order.
    pub(super) async fn changes(&mut self, step: &Step, changes: &Changes) -> Result<(), String> {
        let told: Option<Vec<String>> = step.expect(|_| None)?;
        let told = told.ok_or("nothing is expected")?;
        let request = v1::WatchChangesRequest {
            after_revision: self.revision(&changes.after)?,
        };
        let watch = self
            .stage
            .control()
            .watch_changes(from("gateway", request))
            .await;
        let watch = watch.map_err(|status| status.to_string())?.into_inner();
        let shown = |change: v1::WatchChangesResponse| {
            let who = change.actor.as_ref().map_or("nobody".into(), scope::name);
            format!("{} by {who} through {}", change.verb, change.caller)
        };
        let mut came = Vec::new();
        let mut taken = std::pin::pin!(watch.take(told.len()));
        while let Ok(Some(change)) = tokio::time::timeout(PATIENCE, taken.next()).await {
            came.push(shown(change.map_err(|status| status.to_string())?));
        }
        same("changes", &told, &came)
    }
}
