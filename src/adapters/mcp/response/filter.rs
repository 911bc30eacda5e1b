//! Filters what a server sends on its way to the client: lists lose the entries that the client may not use, and the
//! server's requests are decided in the server's name.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::{names_of, reject_misspelled, resembles};
use crate::adapters::mcp::methods::{self, ListSpec, Sender};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::operations;
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::subject::conversation::Conversation;
use crate::config::limits::Limits;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::{CallContext, Initiator, Operation, Told};
use crate::domain::request::json_text::tolerant;
use crate::domain::request::operation::{Listing, OperationKind, UNAWAITED};
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

/// The member in which the result of a tool says that it is the tool's error.
const IS_ERROR: &str = "isError";

/// Members of results with members that the protocol names: a created task, and the result in the state of one.
const HOLDERS: [&str; 2] = ["task", "result"];

/// Members of results that decide what a client does with them. A client that ignores case would take another spelling
/// for the same member.
pub(super) static DECISIVE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let of_lists = methods::lists().flat_map(|(_, list)| [list.member, list.id]);
    let others = [
        "task",
        "result",
        INPUT_REQUESTS,
        IS_ERROR,
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
    Denied(Response<Box<Verdict>>),
    /// It does not pass, because it cannot be decided. The text of the error is safe to send.
    Rejected(OperationError),
}

/// Why a message does not pass.
pub(super) enum FilterError {
    Denied(Response<Box<Verdict>>),
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

/// Whether the result of a tool that passes says that it is the tool's error.
pub(in crate::adapters) fn is_tool_error(result: &RawObject<'_>) -> bool {
    result.get(IS_ERROR) == Some("true")
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

    /// Filters the `error` of a response, which asks for nothing, except one that names pages to visit. `error` is its text.
    pub(in crate::adapters) async fn error(&self, error: &str) -> Result<Filtered, ServiceError> {
        Filtered::from_result(self.filter_error(error).await)
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

    /// Decides whether a reply may pass where none is awaited. It may be to any request of before, so the decision brings
    /// what that may have brought.
    ///
    /// # Errors
    /// Returns an error if the service cannot decide.
    pub async fn unawaited(&self) -> Result<Filtered, ServiceError> {
        Filtered::from_result(self.decide_unawaited().await)
    }

    /// Filters a notification of the server. One about a task may ask for input, and may bring the result of a call.
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
        self.check_names(result, "result")?;
        // What is neither is an error to some clients and none to others.
        if !matches!(result.get(IS_ERROR), None | Some("true" | "false" | "null")) {
            return Err(wrong_shape("result.isError", "true or false").into());
        }
        let calls = match method.is_none_or(methods::is_about_task) {
            true => self.task_requests(result)?,
            false => self.input_requests(result)?,
        };
        self.decide(calls).await?;
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

    async fn filter_error(&self, error: &str) -> Result<Filtered, FilterError> {
        self.decide(self.visits(error, "error")?).await?;
        Ok(Filtered::Unchanged)
    }

    async fn filter_request(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Filtered, FilterError> {
        self.decide(self.requested_calls(method, params)?).await?;
        Ok(Filtered::Unchanged)
    }

    async fn decide_unawaited(&self) -> Result<Filtered, FilterError> {
        let server = self.origins.only().ok_or_else(ambiguous_server)?;
        self.decide(self.calls(operations::connect(server, UNAWAITED)))
            .await?;
        Ok(Filtered::Unchanged)
    }

    async fn filter_notification(
        &self,
        method: &str,
        params: Option<&RawObject<'_>>,
    ) -> Result<Filtered, FilterError> {
        let server = self.origins.only().ok_or_else(ambiguous_server)?;
        let intent = operations::from_notification(Sender::Server, server, method)?;
        let mut calls = self.calls(intent);
        if let Some(params) = params {
            calls.extend(self.task_requests(params)?);
        }
        self.decide(calls).await?;
        Ok(Filtered::Unchanged)
    }

    /// Checks that no client takes a member for another one, at any depth. Members whose names the server chooses are
    /// exempt, and so are values, which need not be representable here. Lists are checked entry by entry.
    fn check_names(&self, holder: &RawObject<'_>, field: &str) -> Result<(), FieldError> {
        let is_list = |name: &str| methods::lists().any(|(_, list)| list.member == name);
        let is_whole = field == "result";
        let is_exempt = |name: &str| UNINSPECTED.contains(&name) || is_whole && is_list(name);
        let parts = holder.iter().filter(|(name, _)| !is_exempt(name));
        for (name, text) in parts {
            let field = format!("{field}.{name}");
            if is_whole && HOLDERS.contains(&name) && text.starts_with('{') {
                self.check_names(&RawObject::read(text.as_bytes(), &field)?, &field)?;
                continue;
            }
            match json::list(text).filter(|_| name == "content") {
                Some(blocks) => blocks
                    .into_iter()
                    .try_for_each(|text| self.parse(text, &field).map(drop))?,
                None => self.parse(text, &field).map(drop)?,
            }
        }
        Ok(())
    }

    /// Parses a part of a server's message for inspection alone.
    pub(super) fn parse(&self, text: &str, field: &str) -> Result<Json, FieldError> {
        let depth = self.limits.json_depth.saturating_add(LEVELS_AROUND);
        let text = tolerant(text.as_bytes());
        json::value(&text, depth, KeyPolicy::Protocol, field)
    }

    /// The calls that a result asks of the client.
    fn input_requests(&self, result: &RawObject<'_>) -> Result<Vec<CallContext>, OperationError> {
        let mut calls = self.input_requests_in(result, "result")?;
        for member in HOLDERS {
            if let Some(text) = result.get(member).filter(|text| text.starts_with('{')) {
                let field = format!("result.{member}");
                let holder = RawObject::read(text.as_bytes(), &field)?;
                calls.extend(self.input_requests_in(&holder, &field)?);
            }
        }
        Ok(calls)
    }

    /// The calls that the state of a task asks of the client. If it has failed, it holds the error of the call.
    fn task_requests(&self, state: &RawObject<'_>) -> Result<Vec<CallContext>, OperationError> {
        let mut calls = self.input_requests(state)?;
        for (_, error) in state.iter().filter(|(name, _)| resembles(name, "error")) {
            calls.extend(self.visits(error, "result.error")?);
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
    pub(super) fn requested_calls(
        &self,
        method: &str,
        params: Map<String, Json>,
    ) -> Result<Vec<CallContext>, OperationError> {
        // Results ask for input this way, requests do not: what is in here would not be decided.
        if params.contains_key(INPUT_REQUESTS) {
            let expected = "absent: a request of a server is one by itself";
            return Err(wrong_shape(&format!("params.{INPUT_REQUESTS}"), expected).into());
        }
        let server = self.origins.only().ok_or_else(ambiguous_server)?;
        let (sender, told) = (Sender::Server, Told::All);
        let intent = operations::from_request(sender, server, method, params, told, self.limits)?;
        Ok(self.calls(intent))
    }

    /// The calls of this conversation that a message stands for.
    fn calls(&self, intent: MessageIntent) -> Vec<CallContext> {
        match intent {
            MessageIntent::Exempt => Vec::new(),
            MessageIntent::Authorize(operations) => operations
                .into_iter()
                .map(|operation| self.conversation.call(operation))
                .collect(),
        }
    }

    /// Decides calls, all of which must be allowed.
    async fn decide(&self, calls: Vec<CallContext>) -> Result<(), FilterError> {
        let asks: Vec<_> = calls.into_iter().map(|call| (self.ask, call)).collect();
        let responses = self.service.authorize_message(&asks).await?;
        match responses.into_iter().find(|it| !it.value.is_allow()) {
            Some(denied) => Err(FilterError::Denied(denied)),
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
        // Of several servers one that lists more is left out by itself.
        if self.origins.only().is_some() {
            check_count(texts.len(), self.limits.tools, &field)?;
        }
        let entries = self.entries(list, &texts, &field);
        let mut is_shown = vec![true; texts.len()];
        // An entry that no server is known to offer, or that readers read differently, is hidden.
        let mut is_offered = vec![false; texts.len()];
        for entry in &entries {
            is_offered[entry.index] = entry.is_readable;
        }
        for server in self.origins.servers() {
            let its: Vec<_> = entries
                .iter()
                .filter(|entry| *entry.server == *server)
                .collect();
            if its.is_empty() {
                continue;
            }
            let is_too_long = its.len() > self.limits.tools as usize;
            if is_too_long {
                self.log_left_out(
                    server,
                    "its list has more entries than `limits.tools` allows",
                );
            }
            let call = self.list_call(list.listing, server);
            if is_too_long || !self.may_list(&call).await? {
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

    pub(super) fn log_left_out(&self, name: &str, why: &str) {
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
}

fn ambiguous_server() -> OperationError {
    let expected = "of one server, where only one could be answered";
    wrong_shape("service_names", expected).into()
}

pub(super) fn wrong_shape(field: &str, expected: &'static str) -> FieldError {
    FieldError::new(field, FieldProblem::NotOfShape(expected))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
