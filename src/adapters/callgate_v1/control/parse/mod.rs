//! Parses messages of `callgate.v1.Control` into requests of the write side.

mod tasks;
mod times;

use std::time::SystemTime;

use callgate_engine::cedar::{EntityType, EntityUID};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use crate::adapters::callgate_v1::control::parse::times::{end, required_end, required_time};
use crate::adapters::callgate_v1::control::same_request::{self, ComparedRequest};
use crate::adapters::callgate_v1::parse::{MessageParser, at_item, system_time};
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self as strict, BeyondDouble, KeyPolicy};
use crate::adapters::input::limits::{check_count, check_length};
use crate::authn::caller::Rpc;
use crate::control::approvals::{
    ApprovalFilter, ApprovalRequest, CallApproval, CallRejection, PresentedChallenge,
};
use crate::control::delegations::{DelegationFilter, DelegationNarrowing, NewDelegation};
use crate::control::page::PageRequest;
use crate::control::tasks::TaskFilter;
use crate::control::tools::{NewPin, NewTool, ToolDefinition};
use crate::domain::authority::approval::ApprovalStatus;
use crate::domain::authority::delegation::DelegationStatus;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::task::TaskStatus;
use crate::domain::request::argument_order;
use crate::domain::request::json_text::tolerant;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::request::target::url::{self, TextForm};
use crate::domain::request::target::{self, TargetKind};
use crate::domain::schema::{self, AccessLevel, TYPES};
use crate::proto::{codec, v1};

impl MessageParser<'_> {
    pub(super) fn new_delegation(
        &self,
        wire: v1::GrantDelegationRequest,
        now: SystemTime,
    ) -> Result<NewDelegation, FieldError> {
        let not_before = wire.not_before;
        Ok(NewDelegation {
            to: self.entity(wire.to, "to")?,
            scope: self.required_scope(wire.scope, "scope")?,
            task: self.optional_id(wire.task_id, "task_id")?,
            parent: self.optional_id(wire.parent_id, "parent_id")?,
            max_redelegations: wire.max_redelegations,
            not_before: not_before
                .map(|time| system_time(time, "not_before"))
                .transpose()?,
            expires_at: required_end((wire.expires_at, wire.lasts), "expires_at", now)?,
        })
    }

    pub(super) fn narrowing(
        &self,
        wire: v1::NarrowDelegationRequest,
        now: SystemTime,
    ) -> Result<DelegationNarrowing, FieldError> {
        let scope = wire.scope;
        Ok(DelegationNarrowing {
            id: self.required_id(wire.id, "id")?,
            scope: scope
                .map(|scope| self.scope(scope).within("scope"))
                .transpose()?,
            expires_at: end((wire.expires_at, wire.lasts), "expires_at", now)?,
            max_redelegations: wire.max_redelegations,
        })
    }

    pub(super) fn delegation_filter(
        &self,
        mut wire: v1::ListDelegationsRequest,
    ) -> Result<(DelegationFilter, PageRequest), FieldError> {
        use v1::DelegationStatus as Wire;

        let page = self.page(Rpc::ListDelegations, &mut wire)?;
        let status = match wire_status::<Wire>(wire.status)? {
            Wire::Unspecified => None,
            Wire::Active => Some(DelegationStatus::Active),
            Wire::NotYet => Some(DelegationStatus::NotYetValid),
            Wire::Expired => Some(DelegationStatus::Expired),
            Wire::Revoked => Some(DelegationStatus::Revoked),
            Wire::TaskOver => Some(DelegationStatus::TaskEnded),
            Wire::AgentGone => Some(DelegationStatus::AgentGone),
        };
        let filter = DelegationFilter {
            id: self.optional_id(wire.id, "id")?,
            from: self.optional_entity(wire.from, "from")?,
            to: self.optional_entity(wire.to, "to")?,
            task: self.optional_id(wire.task_id, "task_id")?,
            status,
        };
        Ok((filter, page))
    }

    pub(super) fn task_filter(
        &self,
        mut wire: v1::ListTasksRequest,
    ) -> Result<(TaskFilter, PageRequest), FieldError> {
        use v1::TaskStatus as Wire;

        let page = self.page(Rpc::ListTasks, &mut wire)?;
        let status = match wire_status::<Wire>(wire.status)? {
            Wire::Unspecified => None,
            Wire::Open => Some(TaskStatus::Open),
            Wire::Closed => Some(TaskStatus::Closed),
            Wire::Overdue => Some(TaskStatus::Overdue),
            Wire::AgentGone => Some(TaskStatus::AgentGone),
        };
        let filter = TaskFilter {
            id: self.optional_id(wire.id, "id")?,
            agent: self.optional_entity(wire.agent, "agent")?,
            person: self.optional_entity(wire.person, "person")?,
            status,
        };
        Ok((filter, page))
    }

    pub(super) fn approval_request(
        &self,
        wire: v1::RequestApprovalRequest,
    ) -> Result<ApprovalRequest, FieldError> {
        // It was read with its texts, so it can be read again.
        let call = wire.call_context.as_ref().map(codec::recoded).transpose();
        let call = call.map_err(|_| FieldError::new("call_context", FieldProblem::NotUtf8))?;
        Ok(ApprovalRequest {
            call: self.call_context(call.map(Box::new))?,
            challenge: wire
                .challenge
                .map(|challenge| self.challenge(challenge).within("challenge"))
                .transpose()?,
        })
    }

    fn challenge(&self, wire: v1::ApprovalChallenge) -> Result<PresentedChallenge, FieldError> {
        // The digest is over whole seconds, so that any part of one would not be the challenge's.
        if wire.expires_at.is_some_and(|at| at.nanos != 0) {
            let problem = FieldProblem::NotOfShape("0: a challenge ends with a whole second");
            return Err(FieldError::new("expires_at.nanos", problem));
        }
        Ok(PresentedChallenge {
            digest: self.required_id(wire.digest, "digest")?,
            expires_at: required_time(wire.expires_at, "expires_at")?,
        })
    }

    pub(super) fn yes(&self, wire: v1::ApproveCallRequest) -> Result<CallApproval, FieldError> {
        Ok(CallApproval {
            id: self.required_id(wire.id, "id")?,
            digest: self.required_id(wire.digest, "digest")?,
            uses: wire.uses,
            comment: self.optional_text(wire.comment, "comment")?,
        })
    }

    pub(super) fn no(&self, wire: v1::RejectCallRequest) -> Result<CallRejection, FieldError> {
        Ok(CallRejection {
            id: self.required_id(wire.id, "id")?,
            comment: self.optional_text(wire.comment, "comment")?,
        })
    }

    pub(super) fn approval_filter(
        &self,
        mut wire: v1::ListApprovalsRequest,
    ) -> Result<(ApprovalFilter, PageRequest), FieldError> {
        let page = self.page(Rpc::ListApprovals, &mut wire)?;
        let watched = v1::WatchApprovalsRequest {
            subject: wire.subject,
            root: wire.root,
            task_id: wire.task_id,
            status: wire.status,
        };
        let filter = ApprovalFilter {
            id: self.optional_id(wire.id, "id")?,
            ..self.watched_approvals(watched)?
        };
        Ok((filter, page))
    }

    pub(super) fn watched_approvals(
        &self,
        wire: v1::WatchApprovalsRequest,
    ) -> Result<ApprovalFilter, FieldError> {
        use v1::ApprovalStatus as Wire;

        let status = match wire_status::<Wire>(wire.status)? {
            Wire::Unspecified => None,
            Wire::Pending => Some(ApprovalStatus::Pending),
            Wire::Approved => Some(ApprovalStatus::Approved),
            Wire::Rejected => Some(ApprovalStatus::Rejected),
            Wire::Expired => Some(ApprovalStatus::Expired),
            Wire::Used => Some(ApprovalStatus::Used),
            Wire::TaskOver => Some(ApprovalStatus::TaskEnded),
            Wire::AgentGone => Some(ApprovalStatus::AgentGone),
        };
        Ok(ApprovalFilter {
            id: None,
            subject: self.optional_entity(wire.subject, "subject")?,
            root: self.optional_entity(wire.root, "root")?,
            task: self.optional_id(wire.task_id, "task_id")?,
            status,
        })
    }

    /// Parses a request for entities: the type, and the page.
    pub(super) fn entity_filter(
        &self,
        mut wire: v1::ListEntitiesRequest,
    ) -> Result<(Option<EntityType>, PageRequest), FieldError> {
        if let Some(whole) = self.whole_type(&wire.r#type) {
            wire.r#type = whole;
        }
        let page = self.page(Rpc::ListEntities, &mut wire)?;
        let of_type = wire.r#type;
        let of_type = (!of_type.is_empty()).then(|| self.mcp_type(&of_type.into()));
        Ok((of_type.transpose()?, page))
    }

    /// Parses a whole entity: its uid and its form in Cedar's JSON.
    pub(super) fn whole_entity(
        &self,
        wire: Option<v1::Entity>,
    ) -> Result<(EntityUID, Json), FieldError> {
        const FIELD: &str = "entity";
        let wire = wire.ok_or_else(|| FieldError::new(FIELD, FieldProblem::Missing))?;
        self.entity_form(wire).within(FIELD)
    }

    fn entity_form(&self, wire: v1::Entity) -> Result<(EntityUID, Json), FieldError> {
        let depth = self.limits.json_depth;
        let uid = self.entity(wire.uid, "uid")?;
        let beyond =
            BeyondDouble::Refused("write the entity in the directory, or the number as text");
        let reading = (KeyPolicy::Distinct, beyond);
        let fields = |wire: Option<prost_types::Struct>, field| match wire {
            Some(wire) => strict::from_struct(wire, depth, reading, field),
            None => Ok(serde_json::Map::new()),
        };
        check_count(wire.parents.len(), self.limits.list_items, "parents")?;
        let parents = wire.parents.into_iter().enumerate().map(|(index, parent)| {
            let parent = self.mcp_entity(parent);
            parent
                .map(|uid| name(&uid))
                .map_err(|inner| at_item(inner, "parents", index))
        });
        let form = json!({
            "uid": name(&uid),
            "attrs": fields(wire.attributes, "attributes")?,
            "parents": parents.collect::<Result<Vec<Json>, _>>()?,
            "tags": fields(wire.tags, "tags")?,
        });
        Ok((uid, form))
    }

    pub(super) fn new_tool(&self, wire: v1::RegisterToolRequest) -> Result<NewTool, FieldError> {
        let items = self.limits.list_items;
        let definition = wire.definition_json;
        Ok(NewTool {
            server: self.required_id(wire.server, "server")?,
            tool: self.required_id(wire.tool, "tool")?,
            access: access(wire.access)?,
            yields: self.ids(wire.yields, items, "yields")?,
            egress: wire.egress,
            sensitivity: self.required_id(wire.sensitivity, "sensitivity")?,
            owner: self.required_id(wire.owner, "owner")?,
            groups: self.ids(wire.groups, items, "groups")?,
            target_arguments: self.target_arguments(wire.target_arguments)?,
            file_contents: self.ids(wire.file_contents, items, "file_contents")?,
            definition: (!definition.is_empty())
                .then(|| self.definition(&definition, "definition_json"))
                .transpose()?,
        })
    }

    fn target_arguments(
        &self,
        wire: Vec<v1::TargetArgument>,
    ) -> Result<Vec<TargetArgumentForm>, FieldError> {
        const FIELD: &str = "target_arguments";
        check_count(wire.len(), self.limits.list_items, FIELD)?;
        let some = |text: String, field| self.optional_text(text, field);
        let each = wire.into_iter().enumerate().map(|(index, wire)| {
            let read = || {
                Ok(TargetArgumentForm {
                    argument: self.required_text(wire.argument, "argument")?.into(),
                    kind: some(wire.kind, "kind")?.map(Into::into),
                    base: some(wire.base, "base")?.map(Into::into),
                    role: some(wire.role, "role")?.map(Into::into),
                    optional: wire.optional,
                })
            };
            read().map_err(|inner| at_item(inner, FIELD, index))
        });
        each.collect()
    }

    pub(super) fn new_pin(&self, wire: v1::PinToolRequest) -> Result<NewPin, FieldError> {
        const FIELD: &str = "definition_json";
        if wire.definition_json.is_empty() {
            return Err(FieldError::new(FIELD, FieldProblem::Missing));
        }
        Ok(NewPin {
            server: self.required_id(wire.server, "server")?,
            tool: self.required_id(wire.tool, "tool")?,
            definition: self.definition(&wire.definition_json, FIELD)?,
        })
    }

    fn definition(&self, text: &[u8], field: &'static str) -> Result<ToolDefinition, FieldError> {
        Ok(ToolDefinition {
            json: strict::value(
                &tolerant(text),
                self.limits.json_depth,
                KeyPolicy::Protocol,
                field,
            )?,
            argument_order: argument_order::definition_order(text),
        })
    }

    // ------------------------------------------------------------ shared by several messages

    /// Takes the page out of a request for a list; what is left of the request is which list it is of.
    pub(super) fn page<M: ListRequest>(
        &self,
        rpc: Rpc,
        wire: &mut M,
    ) -> Result<PageRequest, FieldError> {
        const FIELD: &str = "page_token";
        let (size, token) = wire.take_page();
        check_length(&token, self.limits.text_bytes, FIELD)?;
        let list = same_request::digest(self, rpc, wire);
        PageRequest::new(size, &token, list)
            .ok_or_else(|| FieldError::new(FIELD, FieldProblem::NotAPageToken))
    }

    fn optional_entity(
        &self,
        wire: Option<v1::EntityRef>,
        field: &'static str,
    ) -> Result<Option<EntityUID>, FieldError> {
        wire.map(|wire| self.mcp_entity(wire).within(field))
            .transpose()
    }

    fn required_scope(
        &self,
        wire: Option<v1::Scope>,
        field: &'static str,
    ) -> Result<Scope, FieldError> {
        let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        self.scope(wire).within(field)
    }

    fn scope(&self, wire: v1::Scope) -> Result<Scope, FieldError> {
        let limit = self.limits.scope_items;
        let entities = |names: Vec<SmolStr>, ty| {
            let entities = names.into_iter().map(|name| schema::entity_uid(ty, name));
            entities.collect::<Vec<_>>()
        };
        let tools: Vec<SmolStr> = self.ids(wire.tools, limit, "tools")?;
        if let Some(index) = tools.iter().position(|tool| !is_tool_name(tool)) {
            let problem =
                FieldProblem::UnknownWord(TextExcerpt::new(&tools[index]), "`<server>/<tool>`");
            return Err(FieldError::new(format!("tools[{index}]"), problem));
        }
        let targets: Vec<SmolStr> = self.ids(wire.targets, limit, "targets")?;
        Ok(Scope {
            tools: entities(tools, &TYPES.tool),
            servers: entities(self.ids(wire.servers, limit, "servers")?, &TYPES.server),
            groups: entities(self.ids(wire.groups, limit, "groups")?, &TYPES.group),
            access: access(wire.access)?,
            targets: targets
                .iter()
                .enumerate()
                .map(|(index, text)| place(text, &format!("targets[{index}]")))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A request for a list.
pub(super) trait ListRequest: ComparedRequest {
    /// Takes the size and the token of the page out of the message.
    fn take_page(&mut self) -> (u32, String);
}

macro_rules! lists {
    ($($message:ident)+) => {
        $(
            impl ListRequest for v1::$message {
                fn take_page(&mut self) -> (u32, String) {
                    let (size, token) = (&mut self.page_size, &mut self.page_token);
                    (std::mem::take(size), std::mem::take(token))
                }
            }
        )+
    };
}

lists! { ListDelegationsRequest ListTasksRequest ListApprovalsRequest ListEntitiesRequest }

fn is_tool_name(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(server, tool)| !server.is_empty() && !tool.is_empty())
}

/// Parses a resource under its canonical name: an absolute path, a URI, or `<server>:<text>` for what only
/// that server understands. What the name does not keep is refused, as without it more is meant.
fn place(text: &str, path: &str) -> Result<EntityUID, FieldError> {
    let refuse = |why: String| {
        Err(FieldError::new(
            path.to_owned(),
            FieldProblem::NotAResource(TextExcerpt::new(text), why),
        ))
    };
    let parsed = if matches!(
        url::look(text),
        TextForm::Path | TextForm::Url | TextForm::Email
    ) {
        target::parse_one("", text)
    } else if let Some((server, rest)) = text.split_once(':').filter(|(it, _)| !it.is_empty()) {
        target::parse_one_as(server, TargetKind::Id, rest)
    } else {
        let why = "it is neither an absolute path nor a URI nor `<server>:<text>`";
        return refuse(why.to_owned());
    };
    match parsed {
        Ok(target) => match target::beyond_name(text, target.kind) {
            None => Ok(target.uid().clone()),
            Some(more) => refuse(format!(
                "it has {more}, which tells no places apart: without it, the whole place is meant"
            )),
        },
        Err(fault) => refuse(format!("it {fault}")),
    }
}

fn access(wire: i32) -> Result<AccessLevel, FieldError> {
    match v1::AccessLevel::try_from(wire) {
        Ok(v1::AccessLevel::Unspecified) => Err(FieldError::new("access", FieldProblem::Missing)),
        Ok(v1::AccessLevel::Read) => Ok(AccessLevel::Read),
        Ok(v1::AccessLevel::Write) => Ok(AccessLevel::Write),
        Ok(v1::AccessLevel::Admin) => Ok(AccessLevel::Admin),
        Err(_) => Err(FieldError::new("access", FieldProblem::UnknownValue(wire))),
    }
}

fn wire_status<T: TryFrom<i32>>(wire: i32) -> Result<T, FieldError> {
    T::try_from(wire).map_err(|_| FieldError::new("status", FieldProblem::UnknownValue(wire)))
}

fn name(uid: &EntityUID) -> Json {
    let id: &str = uid.eid().as_ref();
    json!({"type": uid.entity_type().to_string(), "id": id})
}

#[cfg(test)]
mod tests;
