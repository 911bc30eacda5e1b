//! What a JSON-RPC error of a server asks for: nothing, or that the user visits pages first (revision 2025-11-25).

use serde_json::Value as Json;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::{reject_misspelled, resembles};
use crate::adapters::mcp::request::intent::OperationError;
use crate::adapters::mcp::response::filter::{MessageFilter, wrong_shape};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::json_text::tolerant;

/// The code of an error that names pages to visit.
const VISIT_FIRST: f64 = -32042.0;
/// The member of `data` with these pages.
const VISITS: &str = "elicitations";
/// Members of an error that decide what a client does with it.
const DECISIVE: [&str; 2] = ["code", "data"];

impl MessageFilter<'_> {
    /// The calls that an error asks of the client. What is in `data` besides is the server's own.
    pub(super) fn visits(
        &self,
        error: &str,
        field: &str,
    ) -> Result<Vec<CallContext>, OperationError> {
        if !error.starts_with('{') {
            return Ok(Vec::new());
        }
        let text = tolerant(error.as_bytes());
        let error = RawObject::read(&text, field)?;
        reject_misspelled(error.names(), &DECISIVE, field)?;
        let code = error.get("code").map(serde_json::from_str::<f64>);
        let field = format!("{field}.data.{VISITS}");
        let visits = match error.get("data").filter(|data| data.starts_with('{')) {
            Some(data) => named_visits(data, &field)?,
            None => None,
        };
        let visits = match visits {
            None if !matches!(code, Some(Ok(VISIT_FIRST))) => return Ok(Vec::new()),
            None => Json::Null,
            Some(visits) => {
                let depth = self.limits.json_depth;
                json::value(visits.as_bytes(), depth, KeyPolicy::Protocol, &field)?
            }
        };
        let Json::Array(visits) = visits else {
            return Err(wrong_shape(&field, "a list").into());
        };
        check_count(visits.len(), self.limits.list_items, &field)?;
        let mut calls = Vec::new();
        for visit in visits {
            let Json::Object(params) = visit else {
                return Err(wrong_shape(&field, "a list of objects").into());
            };
            calls.extend(self.requested_calls("elicitation/create", params)?);
        }
        Ok(calls)
    }
}

/// The pages that the data of an error names. Two readers must not find others.
fn named_visits<'t>(data: &'t str, field: &str) -> Result<Option<&'t str>, FieldError> {
    let data = RawObject::with_own_names(data.as_bytes(), field)?;
    let mut named = data.iter().filter(|(name, _)| resembles(name, VISITS));
    let visits = match (named.next(), named.next()) {
        (None, _) => return Ok(None),
        (Some((VISITS, visits)), None) => visits,
        (Some((name, _)), other) => {
            let name = other.map_or(name, |(name, _)| name);
            let spelled = "how the protocol spells it, once";
            let problem = FieldProblem::UnknownWord(TextExcerpt::new(name), spelled);
            return Err(FieldError::new(field, problem));
        }
    };
    Ok(Some(visits).filter(|visits| *visits != "null"))
}
