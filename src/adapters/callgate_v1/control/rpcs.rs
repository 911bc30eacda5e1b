//! The RPCs of `callgate.v1.Control`.

use tonic::{Request, Response, Status};

use crate::adapters::callgate_v1::control::status::{end_of_watch, status_for};
use crate::adapters::callgate_v1::control::watch::{
    ApprovalSource, ChangeSource, WatchStream, Watcher,
};
use crate::adapters::callgate_v1::control::{bundles, encode, recorded};
use crate::adapters::input::ids;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::authn::caller::Rpc;
use crate::domain::request::trace_context::TraceContext;
use crate::proto::v1;
use crate::proto::v1::control_server;

pub use crate::adapters::callgate_v1::control::api::ControlApi;

#[tonic::async_trait]
impl control_server::Control for ControlApi {
    async fn put_entity(
        &self,
        request: Request<v1::PutEntityRequest>,
    ) -> Result<Response<v1::PutEntityResponse>, Status> {
        let (author, (uid, form)) =
            self.shared
                .write(request, Rpc::PutEntity, |parser, message| {
                    parser.whole_entity(message.entity)
                })?;
        let put = self.control().put_entity(&author, uid, form).await;
        let revision = put.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::PutEntityResponse { revision }))
    }

    async fn get_entity(
        &self,
        request: Request<v1::GetEntityRequest>,
    ) -> Result<Response<v1::GetEntityResponse>, Status> {
        let (caller, uid) = self
            .shared
            .read(request, Rpc::GetEntity, |parser, message| {
                parser.entity(message.uid, "uid")
            })?;
        let found = self.control().get_entity(&uid);
        let (entity, revision) = found.map_err(status_for(&caller))?;
        Ok(Response::new(v1::GetEntityResponse {
            entity: Some(encode::entity(entity)),
            revision,
        }))
    }

    async fn list_entities(
        &self,
        request: Request<v1::ListEntitiesRequest>,
    ) -> Result<Response<v1::ListEntitiesResponse>, Status> {
        self.list(
            request,
            Rpc::ListEntities,
            |parser, message| parser.entity_filter(message),
            |control, (of_type, page), _| {
                let listed = control.list_entities(of_type.as_ref(), page);
                listed.map(encode::entities)
            },
        )
        .await
    }

    async fn delete_entity(
        &self,
        request: Request<v1::DeleteEntityRequest>,
    ) -> Result<Response<v1::DeleteEntityResponse>, Status> {
        let (author, uid) = self
            .shared
            .write(request, Rpc::DeleteEntity, |parser, message| {
                parser.entity(message.uid, "uid")
            })?;
        let deleted = self.control().delete_entity(&author, uid).await;
        let revision = deleted.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::DeleteEntityResponse { revision }))
    }

    async fn register_tool(
        &self,
        request: Request<v1::RegisterToolRequest>,
    ) -> Result<Response<v1::RegisterToolResponse>, Status> {
        let (author, new) = self
            .shared
            .write(request, Rpc::RegisterTool, |parser, message| {
                parser.new_tool(message)
            })?;
        let done = self.control().register_tool(&author, new).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::RegisterToolResponse {
            revision: done.revision,
            digest: done.value.map(String::from).unwrap_or_default(),
        }))
    }

    async fn pin_tool(
        &self,
        request: Request<v1::PinToolRequest>,
    ) -> Result<Response<v1::PinToolResponse>, Status> {
        let (author, new) = self
            .shared
            .write(request, Rpc::PinTool, |parser, message| {
                parser.new_pin(message)
            })?;
        let done = self.control().pin_tool(&author, new).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::PinToolResponse {
            revision: done.revision,
            digest: done.value.into(),
        }))
    }

    async fn grant_delegation(
        &self,
        request: Request<v1::GrantDelegationRequest>,
    ) -> Result<Response<v1::GrantDelegationResponse>, Status> {
        let now = self.control().now();
        let (author, new) =
            self.shared
                .write(request, Rpc::GrantDelegation, |parser, message| {
                    parser.new_delegation(message, now)
                })?;
        let done = self.control().grant_delegation(&author, new).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::GrantDelegationResponse {
            delegation: Some(encode::delegation(done.value)),
            revision: done.revision,
        }))
    }

    async fn narrow_delegation(
        &self,
        request: Request<v1::NarrowDelegationRequest>,
    ) -> Result<Response<v1::NarrowDelegationResponse>, Status> {
        let now = self.control().now();
        let (author, narrowing) =
            self.shared
                .write(request, Rpc::NarrowDelegation, |parser, message| {
                    parser.narrowing(message, now)
                })?;
        let done = self.control().narrow_delegation(&author, narrowing).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::NarrowDelegationResponse {
            delegation: Some(encode::delegation(done.value)),
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn revoke_delegation(
        &self,
        request: Request<v1::RevokeDelegationRequest>,
    ) -> Result<Response<v1::RevokeDelegationResponse>, Status> {
        let (author, id) =
            self.shared
                .write(request, Rpc::RevokeDelegation, |parser, message| {
                    parser.required_id(message.id, "id")
                })?;
        let done = self.control().revoke_delegation(&author, id).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::RevokeDelegationResponse {
            delegation: Some(encode::delegation(done.value)),
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn list_delegations(
        &self,
        request: Request<v1::ListDelegationsRequest>,
    ) -> Result<Response<v1::ListDelegationsResponse>, Status> {
        self.list(
            request,
            Rpc::ListDelegations,
            |parser, message| parser.delegation_filter(message),
            |control, (filter, page), _| {
                control
                    .list_delegations(filter, page)
                    .map(encode::delegations)
            },
        )
        .await
    }

    async fn open_task(
        &self,
        request: Request<v1::OpenTaskRequest>,
    ) -> Result<Response<v1::OpenTaskResponse>, Status> {
        let now = self.control().now();
        let (author, new) = self
            .shared
            .write(request, Rpc::OpenTask, |parser, message| {
                parser.new_task(message, now)
            })?;
        let done = self.control().open_task(&author, new).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::OpenTaskResponse {
            task: Some(encode::task(done.value)),
            revision: done.revision,
        }))
    }

    async fn advance_task(
        &self,
        request: Request<v1::AdvanceTaskRequest>,
    ) -> Result<Response<v1::AdvanceTaskResponse>, Status> {
        let (author, (id, step)) =
            self.shared
                .write(request, Rpc::AdvanceTask, |parser, message| {
                    let id = parser.required_id(message.id, "id")?;
                    Ok((id, parser.optional_id(message.step, "step")?))
                })?;
        let done = self.control().advance_task(&author, id, step).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::AdvanceTaskResponse {
            task: Some(encode::task(done.value)),
            revision: done.revision,
        }))
    }

    async fn close_task(
        &self,
        request: Request<v1::CloseTaskRequest>,
    ) -> Result<Response<v1::CloseTaskResponse>, Status> {
        let (author, id) = self
            .shared
            .write(request, Rpc::CloseTask, |parser, message| {
                parser.required_id(message.id, "id")
            })?;
        let done = self.control().close_task(&author, id).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::CloseTaskResponse {
            task: Some(encode::task(done.value)),
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.list(
            request,
            Rpc::ListTasks,
            |parser, message| parser.task_filter(message),
            |control, (filter, page), _| control.list_tasks(filter, page).map(encode::tasks),
        )
        .await
    }

    async fn request_approval(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<Response<v1::RequestApprovalResponse>, Status> {
        let (author, asked) = self.shared.approval_request(request)?;
        let done = self.control().request_approval(&author, asked).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::RequestApprovalResponse {
            approval: Some(encode::approval(done.value, &author.caller.rights)),
            revision: done.revision,
        }))
    }

    async fn approve_call(
        &self,
        request: Request<v1::ApproveCallRequest>,
    ) -> Result<Response<v1::ApproveCallResponse>, Status> {
        let (author, yes) = self
            .shared
            .write(request, Rpc::ApproveCall, |parser, message| {
                parser.yes(message)
            })?;
        let done = self.control().approve_call(&author, yes).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::ApproveCallResponse {
            approval: Some(encode::approval(done.value, &author.caller.rights)),
            revision: done.revision,
        }))
    }

    async fn reject_call(
        &self,
        request: Request<v1::RejectCallRequest>,
    ) -> Result<Response<v1::RejectCallResponse>, Status> {
        let (author, no) = self
            .shared
            .write(request, Rpc::RejectCall, |parser, message| {
                parser.no(message)
            })?;
        let done = self.control().reject_call(&author, no).await;
        let done = done.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::RejectCallResponse {
            approval: Some(encode::approval(done.value, &author.caller.rights)),
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        self.list(
            request,
            Rpc::ListApprovals,
            |parser, message| parser.approval_filter(message),
            |control, (filter, page), rights| {
                let listed = control.list_approvals(filter, page)?;
                Ok(encode::approvals(listed, rights))
            },
        )
        .await
    }

    type WatchApprovalsStream = WatchStream<v1::WatchApprovalsResponse>;

    async fn watch_approvals(
        &self,
        request: Request<v1::WatchApprovalsRequest>,
    ) -> Result<Response<Self::WatchApprovalsStream>, Status> {
        let (watcher, message) = Watcher::admit(&self.shared, request, Rpc::WatchApprovals)?;
        let trace = TraceContext::default();
        let filter = self.shared.parsing(watcher.caller(), &trace, |parser| {
            parser.watched_approvals(message)
        })?;
        let watch = self.shared.control.watch_approvals(filter);
        let source = ApprovalSource(watch.map_err(status_for(watcher.caller()))?);
        Ok(Response::new(watcher.tell(source)))
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let (author, session) =
            self.shared
                .write(request, Rpc::EndSession, |parser, message| {
                    ids::required_session(&message.session_id, parser.limits, "session_id")
                })?;
        let ended = self.control().end_session(&author, session).await;
        let done = ended.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::EndSessionResponse {
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn stop_entity(
        &self,
        request: Request<v1::StopEntityRequest>,
    ) -> Result<Response<v1::StopEntityResponse>, Status> {
        let (author, (uid, reason)) =
            self.shared
                .write(request, Rpc::StopEntity, |parser, message| {
                    let uid = parser.entity(message.uid, "uid")?;
                    Ok((uid, parser.required_text(message.reason, "reason")?))
                })?;
        let stopped = self.control().stop_entity(&author, uid, reason).await;
        let done = stopped.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::StopEntityResponse {
            revision: done.revision,
            not_durable: !done.is_durable,
            not_recorded: !done.is_recorded,
        }))
    }

    async fn resume_entity(
        &self,
        request: Request<v1::ResumeEntityRequest>,
    ) -> Result<Response<v1::ResumeEntityResponse>, Status> {
        let (author, uid) = self
            .shared
            .write(request, Rpc::ResumeEntity, |parser, message| {
                parser.entity(message.uid, "uid")
            })?;
        let resumed = self.control().resume_entity(&author, uid).await;
        let revision = resumed.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::ResumeEntityResponse { revision }))
    }

    async fn repair_clock(
        &self,
        request: Request<v1::RepairClockRequest>,
    ) -> Result<Response<v1::RepairClockResponse>, Status> {
        let (author, reason) =
            self.shared
                .write(request, Rpc::RepairClock, |parser, message| {
                    parser.required_text(message.reason, "reason")
                })?;
        let repaired = self.control().repair_clock(&author, reason).await;
        let revision = repaired.map_err(status_for(&author.caller))?;
        Ok(Response::new(v1::RepairClockResponse { revision }))
    }

    async fn publish_bundle(
        &self,
        request: Request<v1::PublishBundleRequest>,
    ) -> Result<Response<v1::PublishBundleResponse>, Status> {
        bundles::publish(&self.shared, request).await
    }

    async fn rollback_bundle(
        &self,
        request: Request<v1::RollbackBundleRequest>,
    ) -> Result<Response<v1::RollbackBundleResponse>, Status> {
        bundles::rollback(&self.shared, request).await
    }

    async fn list_bundles(
        &self,
        request: Request<v1::ListBundlesRequest>,
    ) -> Result<Response<v1::ListBundlesResponse>, Status> {
        bundles::list(&self.shared, request).await
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        recorded::explain(&self.shared, request).await
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let (admitted, _) = AdmittedRpc::take(request, Rpc::GetStatus)?;
        let status = self.status().await.map(Response::new);
        status.map_err(status_for(admitted.admitted.caller()))
    }

    type WatchChangesStream = WatchStream<v1::WatchChangesResponse>;

    async fn watch_changes(
        &self,
        request: Request<v1::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (watcher, message) = Watcher::admit(&self.shared, request, Rpc::WatchChanges)?;
        let changes = self.shared.control.watch_changes(message.after_revision);
        let changes = changes.await;
        let changes = changes.map_err(|error| end_of_watch(error, watcher.caller()))?;
        Ok(Response::new(watcher.tell(ChangeSource(changes))))
    }
}
