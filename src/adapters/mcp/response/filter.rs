//! Filters what a server sends on its way to the client: lists lose the entries that the client may not use, and the
//! server's requests are decided in the server's name.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::{names_of, reject_misspelled};
use crate::adapters::mcp::methods::{self, EntryKind, ListSpec, Sender};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::operations;
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::subject::conversation::Conversation;
use crate::config::limits::Limits;
use crate::domain::decide::listing::ListedItem;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::{CallContext, Initiator, Operation, Told};
use crate::domain::request::definition::ToolDefinition;
use crate::domain::request::json_text::tolerant;
use crate::domain::request::operation::{Listing, OperationKind};
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::request::{RequestMeta, Response};
use crate::telemetry::record::filtered_entries::FilteredEntry;

/// JSON levels around the part that `limits.json_depth` bounds: a message and its result.
const LEVELS_AROUND: u32 = 2;

/// Members of results whose names the server chooses. They are not inspected.
const UNINSPECTED: [&str; 2] = ["_meta", "structuredContent"];

/// The member in which a result asks the client for input (revision 2026-07-28).
const INPUT_REQUESTS: &str = "inputRequests";

/// Members of results that decide what a client does with them. A client that ignores case would take another spelling
/// for the same member.
static DECISIVE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let of_lists = methods::lists().flat_map(|(_, list)| [list.member, list.id]);
    let others = [
        "task",
        "result",
        INPUT_REQUESTS,
        "name",
        "uri",
        "method",
        "params",
    ];
    others.into_iter().chain(of_lists).collect()
});

/// What a filter makes of a server's message.
#[derive(Debug)]
pub enum Filtered {
    /// It passes unchanged.
    Unchanged,
    /// This result passes instead, as JSON: a list without the entries that the client may not use, and the rest as it
    /// was written.
    Rewritten(String),
    /// It does not pass, because the server may not ask for this.
    Denied(Box<Response<Verdict>>),
    /// It does not pass, because it cannot be decided. The text of the error is safe to send.
    Rejected(OperationError),
}

/// Why a message does not pass.
enum FilterError {
    Denied(Box<Response<Verdict>>),
    Rejected(OperationError),
    Service(ServiceError),
}

impl From<FieldError> for FilterError {
    fn from(error: FieldError) -> Self {
        Self::Rejected(error.into())
    }
}

impl From<OperationError> for FilterError {
    fn from(error: OperationError) -> Self {
        Self::Rejected(error)
    }
}

impl From<ServiceError> for FilterError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl Filtered {
    fn from_result(result: Result<Self, FilterError>) -> Result<Self, ServiceError> {
        match result {
            Ok(filtered) => Ok(filtered),
            Err(FilterError::Denied(response)) => Ok(Self::Denied(response)),
            Err(FilterError::Rejected(error)) => Ok(Self::Rejected(error)),
            Err(FilterError::Service(error)) => Err(error),
        }
    }
}

/// Filters the messages of one server, or of several whose results a gateway has merged, in one conversation.
#[derive(Clone, Copy)]
pub struct MessageFilter<'a> {
    /// The decision service.
    pub service: &'a Service,
    /// The caller and the metadata of its request.
    pub ask: RequestMeta<'a>,
    /// The conversation that the messages belong to.
    pub conversation: &'a Conversation,
    /// The servers that the messages come from.
    pub origins: &'a ServerSet,
    /// The limits on what is parsed.
    pub limits: &'a Limits,
}

impl MessageFilter<'_> {
    /// Filters the `result` of a response. `method` is the request it answers; if that is unknown, the result is
    /// filtered by its shape, because a client may take it for the answer to any request.
    pub(in crate::adapters) async fn result(
        &self,
        method: Option<&str>,
        result: &RawObject<'_>,
    ) -> Result<Filtered, ServiceError> {
        Filtered::from_result(self.filter_result(method, result).await)
    }

    /// Filters a request of the server (revision 2025-11-25).
    ///
    /// # Errors
    /// Returns an error if the service cannot decide.
    pub async fn request(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Filtered, ServiceError> {
        Filtered::from_result(self.filter_request(method, params).await)
    }

    /// Filters a notification of the server. One about a task may ask for input.
    pub(in crate::adapters) async fn notification(
        &self,
        method: &str,
        params: Option<&RawObject<'_>>,
    ) -> Result<Filtered, ServiceError> {
        Filtered::from_result(self.filter_notification(method, params).await)
    }

    async fn filter_result(
        &self,
        method: Option<&str>,
        result: &RawObject<'_>,
    ) -> Result<Filtered, FilterError> {
        self.check_names(result)?;
        self.decide(self.input_requests(result)?).await?;
        let mut rewritten = Vec::new();
        for (lister, list) in methods::lists() {
            if method.is_none_or(|method| method == lister)
                && let Some(kept) = self.filter_list(&list, result).await?
            {
                rewritten.push((list.member, kept));
            }
        }
        if rewritten.is_empty() {
            return Ok(Filtered::Unchanged);
        }
        Ok(Filtered::Rewritten(result.with(|name| {
            let list = rewritten.iter().find(|(member, _)| *member == name);
            list.map(|(_, kept)| kept.as_str())
        })))
    }

    async fn filter_request(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Filtered, FilterError> {
        // Results ask for input this way, requests do not: what is in here would not be decided.
        if params.contains_key(INPUT_REQUESTS) {
            let expected = "absent: a request of a server is one by itself";
            return Err(wrong_shape(&format!("params.{INPUT_REQUESTS}"), expected).into());
        }
        self.decide(self.requested_calls(method, params)?).await?;
        Ok(Filtered::Unchanged)
    }

    async fn filter_notification(
        &self,
        method: &str,
        params: Option<&RawObject<'_>>,
    ) -> Result<Filtered, FilterError> {
        let server = self.origins.only().ok_or_else(ambiguous_server)?;
        match operations::from_notification(Sender::Server, server, method)? {
            MessageIntent::Exempt => {
                if let Some(params) = params {
                    self.decide(self.input_requests(params)?).await?;
                }
                Ok(Filtered::Unchanged)
            }
            // A server's notification cannot maintain the client's connection.
            MessageIntent::Authorize(_) => {
                Err(OperationError::UnknownMethod(TextExcerpt::new(method)).into())
            }
        }
    }

    /// Checks that no client takes a member for another one, at any depth. Members whose names the server chooses are
    /// exempt, and so are values, which need not be representable here. Lists are checked entry by entry.
    fn check_names(&self, result: &RawObject<'_>) -> Result<(), FieldError> {
        let is_list = |name: &str| methods::lists().any(|(_, list)| list.member == name);
        let parts = result
            .iter()
            .filter(|(name, _)| !UNINSPECTED.contains(name) && !is_list(name));
        for (name, text) in parts {
            match json::list(text).filter(|_| name == "content") {
                Some(blocks) => blocks
                    .into_iter()
                    .try_for_each(|text| self.parse(text, name).map(drop))?,
                None => self.parse(text, name).map(drop)?,
            }
        }
        Ok(())
    }

    /// Parses a part of a server's message for inspection alone.
    fn parse(&self, text: &str, name: &str) -> Result<Json, FieldError> {
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let text = tolerant(text.as_bytes());
        json::value(&text, depth, KeyPolicy::Protocol, &format!("result.{name}"))
    }

    /// The calls that a result asks of the client.
    fn input_requests(&self, result: &RawObject<'_>) -> Result<Vec<CallContext>, OperationError> {
        let mut calls = self.input_requests_in(result, "result")?;
        // A created task has a member of its own, and its state holds the result of the call.
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
        reject_misspelled(holder.names(), &DECISIVE, field)?;
        let field = format!("{field}.{INPUT_REQUESTS}");
        let Some(text) = holder.get(INPUT_REQUESTS) else {
            return Ok(Vec::new());
        };
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let requests = match json::value(text.as_bytes(), depth, KeyPolicy::Protocol, &field)? {
            Json::Null => return Ok(Vec::new()),
            Json::Object(requests) => requests,
            _ => return Err(wrong_shape(&field, "an object").into()),
        };
        check_count(requests.len(), self.limits.list_items, &field)?;
        let mut calls = Vec::new();
        for request in requests.into_iter().map(|(_, request)| request) {
            let Json::Object(mut request) = request else {
                return Err(wrong_shape(&field, "an object of requests").into());
            };
            reject_misspelled(names_of(&request), &DECISIVE, &field)?;
            let Some(Json::String(method)) = request.remove("method") else {
                return Err(wrong_shape(&field, "an object of requests with a `method`").into());
            };
            let params = match request.remove("params") {
                None => Map::new(),
                Some(Json::Object(params)) => params,
                Some(_) => {
                    return Err(wrong_shape(&field, "an object of requests with `params`").into());
                }
            };
            calls.extend(self.requested_calls(&method, params)?);
        }
        Ok(calls)
    }

    /// The calls that a request of the server stands for.
    fn requested_calls(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Vec<CallContext>, OperationError> {
        let server = self.origins.only().ok_or_else(ambiguous_server)?;
        let (sender, told) = (Sender::Server, Told::All);
        let intent = operations::from_request(sender, server, method, params, told, self.limits)?;
        Ok(match intent {
            MessageIntent::Exempt => Vec::new(),
            MessageIntent::Authorize(operations) => operations
                .into_iter()
                .map(|operation| self.conversation.call(operation))
                .collect(),
        })
    }

    /// Decides calls, all of which must be allowed.
    async fn decide(&self, calls: Vec<CallContext>) -> Result<(), FilterError> {
        let asks: Vec<_> = calls.into_iter().map(|call| (self.ask, call)).collect();
        let responses = self.service.authorize_message(&asks).await?;
        match responses.into_iter().find(|it| !it.value.is_allow()) {
            Some(denied) => Err(FilterError::Denied(Box::new(denied))),
            None => Ok(()),
        }
    }

    /// Returns a list without the entries that the client may not use, as JSON; `None` if all of them stay.
    async fn filter_list(
        &self,
        list: &ListSpec,
        result: &RawObject<'_>,
    ) -> Result<Option<String>, FilterError> {
        let field = format!("result.{}", list.member);
        let Some(text) = result.get(list.member) else {
            return Ok(None);
        };
        let texts = json::list(text).ok_or_else(|| wrong_shape(&field, "a list"))?;
        let entries = self.entries(list, &texts, &field)?;
        let mut is_shown = vec![true; texts.len()];
        // An entry that no server is known to offer is hidden.
        let mut is_offered = vec![false; texts.len()];
        for entry in &entries {
            is_offered[entry.index] = true;
        }
        for server in self.origins.servers() {
            let its: Vec<_> = entries
                .iter()
                .filter(|entry| *entry.server == *server)
                .collect();
            if its.is_empty() {
                continue;
            }
            let call = self.list_call(list.listing, server);
            if !self.may_list(&call).await? {
                its.iter().for_each(|entry| is_shown[entry.index] = false);
                continue;
            }
            let items: Vec<_> = its.iter().map(|entry| entry.item.clone()).collect();
            let hidden = self.service.filter(self.ask, &call, &items).await?;
            for (entry, hidden) in its.iter().zip(hidden.value) {
                is_shown[entry.index] &= hidden.is_none();
            }
        }
        let flags = is_shown.iter().zip(&is_offered);
        let kept: Vec<&str> = texts
            .iter()
            .zip(flags)
            .filter(|(_, (is_shown, is_offered))| **is_shown && **is_offered)
            .map(|(text, _)| *text)
            .collect();
        let is_rewritten = kept.len() != texts.len();
        Ok(is_rewritten.then(|| format!("[{}]", kept.join(","))))
    }

    /// Whether the client may list at all. Of a single server this was decided before the list came; of several whose
    /// lists are merged, perhaps not for all.
    async fn may_list(&self, call: &CallContext) -> Result<bool, ServiceError> {
        if self.origins.only().is_some() {
            return Ok(true);
        }
        let response = self.service.authorize(self.ask, call).await?;
        Ok(response.value.is_allow())
    }

    fn list_call(&self, listing: Listing, server: &SmolStr) -> CallContext {
        let kind = OperationKind::List(listing);
        let operation = Operation::new(Initiator::Client, server.clone(), kind);
        self.conversation.call(operation)
    }

    fn log_left_out(&self, name: &str, why: &str) {
        let left = FilteredEntry {
            adapter: self.ask.adapter,
            gateway: &self.ask.gateway(),
            server: self.origins.only().map(SmolStr::as_str),
            name,
            why,
            fields: &[],
        };
        let recorder = self.service.recorder();
        recorder.filtered_entry(&left);
    }

    /// Attributes the entries of a list to servers. An ambiguous entry appears once for each server that may offer it;
    /// an unreadable or unattributable one is left out.
    fn entries(
        &self,
        list: &ListSpec,
        texts: &[&str],
        field: &str,
    ) -> Result<Vec<ListEntry<'_>>, FieldError> {
        check_count(texts.len(), self.limits.tools, field)?;
        let mut entries = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            if !text.starts_with('{') {
                return Err(wrong_shape(field, "a list of objects"));
            }
            let members = RawObject::read(text.as_bytes(), field)?;
            reject_misspelled(members.names(), &DECISIVE, field)?;
            let name = members.get(list.id).filter(|name| name.starts_with('"'));
            let name = name.ok_or_else(|| wrong_shape(field, "a list of objects with names"))?;
            let (Ok(name), Ok(Json::Object(json))) = (
                serde_json::from_str::<String>(name),
                self.parse(text, list.member),
            ) else {
                self.log_left_out(&format!("entry {index}"), "it cannot be read");
                continue;
            };
            let before = entries.len();
            for (server, name) in self.origins.resolve(&name, list.identifier) {
                let item = listed_item(list.entries, name, &json);
                entries.push(ListEntry {
                    index,
                    server,
                    item,
                });
            }
            if entries.len() == before {
                self.log_left_out(&name, "its name does not tell whose it is");
            }
        }
        Ok(entries)
    }
}

/// An entry of a list, attributed to a server.
struct ListEntry<'a> {
    index: usize,
    server: &'a SmolStr,
    item: ListedItem,
}

/// The entry as the decision sees it, under the server's own name.
fn listed_item(kind: EntryKind, name: SmolStr, json: &Map<String, Json>) -> ListedItem {
    match kind {
        EntryKind::Tool => {
            // A definition that cannot be pinned matches no pin.
            let definition = ToolDefinition::from_json(json, &name);
            let definition = definition.unwrap_or_else(|_| ToolDefinition::unreadable());
            ListedItem::Tool {
                name,
                definition: Some(definition),
            }
        }
        EntryKind::Prompt => ListedItem::Prompt(name),
        EntryKind::Resource => ListedItem::Resource(name),
        EntryKind::Template => ListedItem::Template(name),
    }
}

fn ambiguous_server() -> OperationError {
    let expected = "of one server, where only one could be answered";
    wrong_shape("service_names", expected).into()
}

fn wrong_shape(field: &str, expected: &'static str) -> FieldError {
    FieldError::new(field, FieldProblem::NotOfShape(expected))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
