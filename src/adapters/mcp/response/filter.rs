//! What a server sends, judged on its way to the client: lists lose what the client may not use, and what
//! the server asks for is decided in the server's name.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::adapters::mcp::member_spelling::{names_of, no_look_alikes};
use crate::adapters::mcp::methods::Sender;
use crate::adapters::mcp::request::operations::{self, MessageIntent, OperationError};
use crate::adapters::mcp::server_set::{IdentifierKind, ServerSet};
use crate::adapters::subject::conversation::Conversation;
use crate::config::limits::Limits;
use crate::domain::decide::listing::{HiddenReason, ListedItem};
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::{CallContext, Initiator, Operation, OperationKind};
use crate::domain::request::definition::ToolDefinition;
use crate::domain::request::json_text::tolerant;
use crate::service::deadline::ServiceError;
use crate::service::decisions::Service;
use crate::service::request::{RequestMeta, Response};
use crate::telemetry::record::filtered_entries::FilteredEntry;

/// Levels around what a limit on nesting is about: a message and its result.
const LEVELS_AROUND: u32 = 2;

/// Members of results whose names are the server's own. Nothing in them is judged.
const UNREAD: [&str; 2] = ["_meta", "structuredContent"];

/// Where a server that cannot wait for an answer asks for it (revision 2026-07-28).
const INPUT_REQUESTS: &str = "inputRequests";

/// Members of results that decide what a client does with them. A reader that does not mind the case of
/// letters would take another spelling for the same member.
const DECISIVE: [&str; 12] = [
    "task",
    "result",
    "tools",
    "prompts",
    "resources",
    "resourceTemplates",
    INPUT_REQUESTS,
    "name",
    "uri",
    "uriTemplate",
    "method",
    "params",
];

/// What becomes of something that a server has sent.
#[derive(Debug)]
pub enum Filtered {
    /// It passes.
    Unchanged,
    /// This result passes instead, as JSON: a list without what the client may not use, and the rest as it was written.
    Rewritten(String),
    /// It does not pass, because the server may not ask for this.
    Denied(Box<Response<Verdict>>),
    /// It does not pass, because it cannot be judged. The text is safe to send.
    Rejected(OperationError),
}

/// Judges what one server, or several whose answers a gateway has merged, send in one conversation.
#[derive(Clone, Copy)]
pub struct MessageFilter<'a> {
    /// Who decides.
    pub service: &'a Service,
    /// Who asks.
    pub ask: RequestMeta<'a>,
    /// Who talks to whom.
    pub conversation: &'a Conversation,
    /// Which server it comes from.
    pub origins: &'a ServerSet,
    /// The limits on what is read.
    pub limits: &'a Limits,
}

/// One kind of list, and how its entries are called.
struct List {
    method: &'static str,
    member: &'static str,
    name: &'static str,
    called: IdentifierKind,
    kind: OperationKind,
    offered: fn(SmolStr, Option<ToolDefinition>) -> ListedItem,
}

const LISTS: [List; 4] = [
    List {
        method: "tools/list",
        member: "tools",
        name: "name",
        called: IdentifierKind::ByName,
        kind: OperationKind::ListTools,
        offered: |name, definition| ListedItem::Tool { name, definition },
    },
    List {
        method: "prompts/list",
        member: "prompts",
        name: "name",
        called: IdentifierKind::ByName,
        kind: OperationKind::ListPrompts,
        offered: |name, _| ListedItem::Prompt(name),
    },
    List {
        method: "resources/list",
        member: "resources",
        name: "uri",
        called: IdentifierKind::ByUri,
        kind: OperationKind::ListResources,
        offered: |name, _| ListedItem::Resource(name),
    },
    List {
        method: "resources/templates/list",
        member: "resourceTemplates",
        name: "uriTemplate",
        called: IdentifierKind::ByUri,
        kind: OperationKind::ListResources,
        offered: |name, _| ListedItem::Template(name),
    },
];

impl MessageFilter<'_> {
    /// Judges the `result` of a reply, as it was written. `method` is what it answers; if nobody knows, the result is
    /// judged by its shape, as a client might take it for an answer to anything.
    pub(in crate::adapters) async fn result(
        &self,
        method: Option<&str>,
        result: &RawObject<'_>,
    ) -> Result<Filtered, ServiceError> {
        if let Err(invalid) = self.check_names(result) {
            return Ok(Filtered::Rejected(invalid.into()));
        }
        if let Some(passage) = self.input_requests(result).await? {
            return Ok(passage);
        }
        let mut changed = Vec::new();
        for list in &LISTS {
            if method.is_some_and(|method| method != list.method) {
                continue;
            }
            match self.filter(list, result).await? {
                Ok(None) => {}
                Ok(Some(kept)) => changed.push((list.member, kept)),
                Err(invalid) => return Ok(Filtered::Rejected(invalid.into())),
            }
        }
        if changed.is_empty() {
            return Ok(Filtered::Unchanged);
        }
        Ok(Filtered::Rewritten(result.with(|name| {
            let list = changed.iter().find(|(member, _)| *member == name);
            list.map(|(_, kept)| kept.as_str())
        })))
    }

    /// No reader takes a member for another, at any depth. What holds names of the server's own making is its client's
    /// business, and so are the values: they need not even be ones that Callgate could hold. Lists are read entry by
    /// entry.
    fn check_names(&self, result: &RawObject<'_>) -> Result<(), FieldError> {
        let is_list = |name: &str| LISTS.iter().any(|list| list.member == name);
        let parts = result
            .iter()
            .filter(|(name, _)| !UNREAD.contains(name) && !is_list(name));
        for (name, text) in parts {
            match json::list(text).filter(|_| name == "content") {
                Some(blocks) => blocks
                    .into_iter()
                    .try_for_each(|text| self.read(text, name).map(drop))?,
                None => self.read(text, name).map(drop)?,
            }
        }
        Ok(())
    }

    /// Reads something of a server for judging alone.
    fn read(&self, text: &str, name: &str) -> Result<Json, FieldError> {
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let text = tolerant(text.as_bytes());
        json::value(&text, depth, KeyPolicy::Protocol, &format!("result.{name}"))
    }

    /// Judges a request of the server (revision 2025-11-25).
    pub async fn request(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Filtered, ServiceError> {
        // Only what answers a client asks so: a request that does would be judged by nobody.
        if params.contains_key(INPUT_REQUESTS) {
            let known = "absent: a request of a server is one by itself";
            let invalid = not(&format!("params.{INPUT_REQUESTS}"), known);
            return Ok(Filtered::Rejected(invalid.into()));
        }
        match self.asked(method, params) {
            Ok(calls) => self.decide(calls).await,
            Err(undecided) => Ok(Filtered::Rejected(undecided)),
        }
    }

    /// Judges a notification of the server. One about a task may ask for something, too.
    pub(in crate::adapters) async fn notification(
        &self,
        method: &str,
        params: Option<&RawObject<'_>>,
    ) -> Result<Filtered, ServiceError> {
        let Some(server) = self.origins.only() else {
            return Ok(Filtered::Rejected(whose()));
        };
        match operations::from_notification(Sender::Server, server, method) {
            Ok(MessageIntent::Exempt) => {
                let asked = match params {
                    Some(params) => self.input_requests(params).await?,
                    None => None,
                };
                Ok(asked.unwrap_or(Filtered::Unchanged))
            }
            // Nothing that a server tells keeps a conversation of its client going.
            Ok(MessageIntent::Authorize(_)) => {
                let unknown = OperationError::UnknownMethod(TextExcerpt::new(method));
                Ok(Filtered::Rejected(unknown))
            }
            Err(undecided) => Ok(Filtered::Rejected(undecided)),
        }
    }

    /// Decides everything that a result asks of the client; `None` if all of it may be asked.
    async fn input_requests(
        &self,
        result: &RawObject<'_>,
    ) -> Result<Option<Filtered>, ServiceError> {
        let calls = match self.all_input_requests(result) {
            Ok(calls) => calls,
            Err(undecided) => return Ok(Some(Filtered::Rejected(undecided))),
        };
        Ok(match self.decide(calls).await? {
            Filtered::Unchanged => None,
            other => Some(other),
        })
    }

    fn all_input_requests(
        &self,
        result: &RawObject<'_>,
    ) -> Result<Vec<CallContext>, OperationError> {
        let mut calls = self.input_requests_in(result, "result")?;
        // A task that was made has a member of its own, and its state holds the result of the call.
        for (member, field) in [("task", "result.task"), ("result", "result.result")] {
            if let Some(text) = result.get(member).filter(|text| text.starts_with('{')) {
                let holder = RawObject::read(text.as_bytes(), field)?;
                calls.extend(self.input_requests_in(&holder, field)?);
            }
        }
        Ok(calls)
    }

    fn input_requests_in(
        &self,
        holder: &RawObject<'_>,
        field: &str,
    ) -> Result<Vec<CallContext>, OperationError> {
        no_look_alikes(holder.names(), &DECISIVE, field)?;
        let field = format!("{field}.{INPUT_REQUESTS}");
        let Some(text) = holder.get(INPUT_REQUESTS) else {
            return Ok(Vec::new());
        };
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let requests = match json::value(text.as_bytes(), depth, KeyPolicy::Protocol, &field)? {
            Json::Null => return Ok(Vec::new()),
            Json::Object(requests) => requests,
            _ => return Err(not(&field, "an object").into()),
        };
        operations::check_count(requests.len(), self.limits.list_items, &field)?;
        let mut calls = Vec::new();
        for request in requests.into_iter().map(|(_, request)| request) {
            let Json::Object(mut request) = request else {
                return Err(not(&field, "an object of requests").into());
            };
            no_look_alikes(names_of(&request), &DECISIVE, &field)?;
            let Some(Json::String(method)) = request.remove("method") else {
                return Err(not(&field, "an object of requests with a `method`").into());
            };
            let params = match request.remove("params") {
                None => Map::new(),
                Some(Json::Object(params)) => params,
                Some(_) => return Err(not(&field, "an object of requests with `params`").into()),
            };
            calls.extend(self.asked(&method, params)?);
        }
        Ok(calls)
    }

    /// The calls that a request of the server comes to.
    fn asked(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Vec<CallContext>, OperationError> {
        let server = self.origins.only().ok_or_else(whose)?;
        let asked = operations::from_request(Sender::Server, server, method, params, self.limits)?;
        Ok(match asked {
            MessageIntent::Exempt => Vec::new(),
            MessageIntent::Authorize(operations) => operations
                .into_iter()
                .map(|operation| self.conversation.call(operation))
                .collect(),
        })
    }

    async fn decide(&self, calls: Vec<CallContext>) -> Result<Filtered, ServiceError> {
        let asks: Vec<_> = calls.into_iter().map(|call| (self.ask, call)).collect();
        let answers = self.service.authorize_batch(&asks).await?;
        let denied = answers.into_iter().find(|answer| !answer.value.is_allow());
        Ok(denied.map_or(Filtered::Unchanged, |denied| {
            Filtered::Denied(Box::new(denied))
        }))
    }

    /// A list without what the client may not use, as JSON; `None` if nothing is taken out.
    async fn filter(
        &self,
        list: &List,
        result: &RawObject<'_>,
    ) -> Result<Result<Option<String>, FieldError>, ServiceError> {
        let field = format!("result.{}", list.member);
        let Some(text) = result.get(list.member) else {
            return Ok(Ok(None));
        };
        let Some(entries) = json::list(text) else {
            return Ok(Err(not(&field, "a list")));
        };
        let named = match self.names(list, &entries, &field) {
            Ok(named) => named,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let mut shown = vec![true; entries.len()];
        // What no server is known to offer is not shown.
        let mut is_offered = vec![false; entries.len()];
        named
            .iter()
            .for_each(|named| is_offered[named.entry] = true);
        for server in self.origins.servers() {
            let mine: Vec<_> = named
                .iter()
                .filter(|named| *named.server == *server)
                .collect();
            if mine.is_empty() {
                continue;
            }
            if !self.may_list(list, server).await? {
                mine.iter().for_each(|named| shown[named.entry] = false);
                continue;
            }
            let offered: Vec<_> = mine.iter().map(|it| it.offered.clone()).collect();
            let hidden = self.hidden(list, server, &offered).await?;
            for (named, hidden) in mine.iter().zip(hidden) {
                shown[named.entry] &= hidden.is_none();
            }
        }
        let each = entries.iter().zip(shown.iter().zip(&is_offered));
        let kept: Vec<&str> = each
            .filter(|(_, (shown, is_offered))| **shown && **is_offered)
            .map(|(entry, _)| *entry)
            .collect();
        let is_changed = kept.len() != entries.len();
        Ok(Ok(is_changed.then(|| format!("[{}]", kept.join(",")))))
    }

    /// Whether the client may look at a server's list at all. Of one server it was asked before the list came;
    /// of several whose lists are merged, perhaps not all.
    async fn may_list(&self, list: &List, server: &SmolStr) -> Result<bool, ServiceError> {
        if self.origins.only().is_some() {
            return Ok(true);
        }
        let call = self.looks(list, server);
        let answer = self.service.authorize(self.ask, &call).await?;
        Ok(answer.value.is_allow())
    }

    async fn hidden(
        &self,
        list: &List,
        server: &SmolStr,
        offered: &[ListedItem],
    ) -> Result<Vec<HiddenReason>, ServiceError> {
        let call = self.looks(list, server);
        let answer = self.service.filter(self.ask, &call, offered).await?;
        Ok(answer.value)
    }

    fn looks(&self, list: &List, server: &SmolStr) -> CallContext {
        self.conversation.call(Operation::new(
            Initiator::Client,
            server.clone(),
            list.kind.clone(),
        ))
    }

    fn left_out(&self, name: &str, why: &str) {
        let left = FilteredEntry {
            adapter: self.ask.adapter,
            gateway: &self.ask.gateway(),
            server: self.origins.only().map(SmolStr::as_str),
            name,
            why,
            fields: &[],
        };
        let recorder = self.service.recorder();
        recorder.left_out(&left);
    }

    /// Who offers each entry of a list under which name. An entry that could be read as an offer of several
    /// servers appears once for each, one that cannot be read not at all.
    fn names(
        &self,
        list: &List,
        entries: &[&str],
        field: &str,
    ) -> Result<Vec<Named<'_>>, FieldError> {
        operations::check_count(entries.len(), self.limits.tools, field)?;
        let mut named = Vec::with_capacity(entries.len());
        for (entry, text) in entries.iter().enumerate() {
            if !text.starts_with('{') {
                return Err(not(field, "a list of objects"));
            }
            let members = RawObject::read(text.as_bytes(), field)?;
            no_look_alikes(members.names(), &DECISIVE, field)?;
            let name = members.get(list.name).filter(|name| name.starts_with('"'));
            let name = name.ok_or_else(|| not(field, "a list of objects with names"))?;
            let (Ok(name), Ok(Json::Object(json))) = (
                serde_json::from_str::<String>(name),
                self.read(text, list.member),
            ) else {
                self.left_out(&format!("entry {entry}"), "it cannot be read");
                continue;
            };
            let before = named.len();
            for (server, name) in self.origins.of(&name, list.called) {
                let is_tool = list.member == "tools";
                // Pinned under the server's own name. What cannot be pinned is nothing that anybody did.
                let definition = is_tool.then(|| {
                    ToolDefinition::of(&json, &name)
                        .unwrap_or_else(|_| ToolDefinition::unreadable())
                });
                let offered = (list.offered)(name, definition);
                named.push(Named {
                    entry,
                    server,
                    offered,
                });
            }
            if named.len() == before {
                self.left_out(&name, "its name does not tell whose it is");
            }
        }
        Ok(named)
    }
}

/// One reading of one entry of a list.
struct Named<'a> {
    entry: usize,
    server: &'a SmolStr,
    offered: ListedItem,
}

fn whose() -> OperationError {
    let said = "of one server, where only one could be answered";
    not("service_names", said).into()
}

fn not(field: &str, expected: &'static str) -> FieldError {
    FieldError::new(field, FieldProblem::NotOfShape(expected))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
