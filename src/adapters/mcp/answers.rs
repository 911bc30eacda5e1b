//! What a client sends back to a server that has asked for something.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::invalid::{Invalid, Problem};
use crate::adapters::mcp::methods;
use crate::adapters::mcp::operations::{Asked, Undecided, check_count};
use crate::adapters::mcp::spelling::{DECISIVE, names_of, no_look_alikes};
use crate::call::answers::{Answers, UnknownAnswer};
use crate::call::canonical;
use crate::call::context::{Initiator, Operation, OperationKind};
use crate::config::limits::Limits;

/// What several results tell a server that has asked for them, each under a key of its own.
pub fn read(
    responses: &Map<String, Json>,
    limits: &Limits,
    field: &str,
) -> Result<Option<Answers>, Invalid> {
    check_count(responses.len(), limits.list_items, field)?;
    for response in responses.values() {
        let result = response
            .as_object()
            .ok_or_else(|| Invalid::new(field, Problem::NotOfShape("an object of results")))?;
        no_look_alikes(names_of(result), &DECISIVE, field)?;
    }
    Answers::of(responses).map_err(|fault| of_no_shape(fault, field))
}

/// What the `result` of a client's reply to a request of the server tells that server (revision 2025-11-25).
pub fn of_reply(server: &SmolStr, result: &Map<String, Json>) -> Result<Asked, Undecided> {
    no_look_alikes(names_of(result), &DECISIVE, "result")?;
    let mut operation = Operation::new(
        Initiator::Client,
        server.clone(),
        OperationKind::Connect {
            method: methods::REPLY,
        },
    );
    // The answer to a ping, or an error, tells nothing.
    if result.keys().any(|name| name != "_meta") {
        let mut answers = Answers {
            text: canonical::object_text(result),
            ..Answers::default()
        };
        answers
            .add(result)
            .map_err(|fault| of_no_shape(fault, "result"))?;
        operation.answers = Some(Box::new(answers));
    }
    Ok(Asked::Decide(vec![operation]))
}

fn of_no_shape(_: UnknownAnswer, field: &str) -> Invalid {
    let known = "the result of sampling, elicitation or a look at roots";
    Invalid::new(field, Problem::NotOfShape(known))
}
