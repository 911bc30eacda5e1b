//! The responses of a client to a server that asked for input.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::{names_of, reject_misspelled};
use crate::adapters::mcp::message::ReplyContent;
use crate::adapters::mcp::methods::{self, DECISIVE_PARAMS};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Initiator, Operation};
use crate::domain::request::canonical;
use crate::domain::request::client_responses::{ClientResponseError, ClientResponses};
use crate::domain::request::operation::OperationKind;

/// Parses the responses to several requests of a server, each under its key.
///
/// # Errors
///
/// Returns an error if there are too many, or one is no known result.
pub fn parse(
    responses: &Map<String, Json>,
    limits: &Limits,
    field: &str,
) -> Result<Option<ClientResponses>, FieldError> {
    check_count(responses.len(), limits.list_items, field)?;
    for response in responses.values() {
        let result = response.as_object().ok_or_else(|| {
            FieldError::new(field, FieldProblem::NotOfShape("an object of results"))
        })?;
        reject_misspelled(names_of(result), &DECISIVE_PARAMS, field)?;
    }
    ClientResponses::from_json(responses).map_err(|fault| unknown_result(fault, field))
}

/// Parses a client's JSON-RPC response to a request of the server (revision 2025-11-25).
///
/// # Errors
///
/// Returns an error if the result is of no known shape.
pub fn from_reply(
    server: &SmolStr,
    content: &ReplyContent,
) -> Result<MessageIntent, OperationError> {
    let mut operation = Operation::new(
        Initiator::Client,
        server.clone(),
        OperationKind::Connect {
            method: methods::REPLY,
        },
    );
    if !content.tells_nothing() {
        operation.answers = Some(Box::new(answers_in(content)?));
    }
    Ok(MessageIntent::Authorize(vec![operation]))
}

/// What a response tells the server.
fn answers_in(content: &ReplyContent) -> Result<ClientResponses, FieldError> {
    let (ReplyContent::Result(members) | ReplyContent::Error(members)) = content;
    let mut answers = ClientResponses {
        text: canonical::object_text(members),
        ..ClientResponses::default()
    };
    match content {
        ReplyContent::Error(error) => answers.add_error(error),
        ReplyContent::Result(result) if content.is_metadata() => {
            result.values().for_each(|it| answers.add_metadata(it));
        }
        ReplyContent::Result(result) => {
            reject_misspelled(names_of(result), &DECISIVE_PARAMS, "result")?;
            let added = answers.add(result);
            added.map_err(|fault| unknown_result(fault, "result"))?;
        }
    }
    Ok(answers)
}

fn unknown_result(_: ClientResponseError, field: &str) -> FieldError {
    let known = "the result of sampling, elicitation or a look at roots";
    FieldError::new(field, FieldProblem::NotOfShape(known))
}
