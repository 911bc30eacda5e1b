//! Why there is nothing to decide about a request.

use crate::adapters::envoy::agreement::Disagreement;
use crate::adapters::envoy::request::Unfit;
use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::{Id, Unreadable};
use crate::adapters::mcp::operations::Undecided;
use crate::adapters::mcp::repeated::Twice;
use crate::telemetry::metrics;

/// Said if no source of identities is in a request.
pub(super) const NOBODY: &str = "nobody is known to make this request";
/// Said of a reply to a server, where nobody saw what the server asked for.
pub(super) const REPLIES: &str = "replies to servers are not let through";
/// Said if neither a route nor the settings name a server.
pub(super) const NO_SERVER: &str = "no server is configured for this host and path";

/// A refusal before any decision.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// The HTTP status.
    pub(super) status: u16,
    /// The code of JSON-RPC.
    pub(super) code: i64,
    /// Safe to send.
    pub(super) message: String,
}

/// A refusal, and the id that the error goes back with.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) id: Option<Id>,
    /// Whether it was no MCP.
    pub(super) is_plain: bool,
    pub(super) refused: Refused,
}

impl Stopped {
    /// Of a request of plain HTTP.
    pub(super) fn plainly(refused: Refused) -> Self {
        Self {
            id: None,
            is_plain: true,
            refused,
        }
    }

    /// Of a message.
    pub(super) fn with_id(id: Option<Id>, refused: Refused) -> Self {
        Self {
            id,
            is_plain: false,
            refused,
        }
    }
}

impl Refused {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self {
            status,
            code: denial::DENIED,
            message: message.to_owned(),
        }
    }

    /// What the log says: more than a client needs, where it is most likely the configuration.
    pub(super) fn logged(&self) -> String {
        let advice = match self.message.as_str() {
            NOBODY => "nothing that `[[envoy.identity]]` names came from Envoy",
            NO_SERVER => "neither Envoy's route nor `envoy.servers` nor `envoy.routes` does",
            REPLIES => {
                "`ext_authz` never sees what a server asks of a client, and the server now waits for an answer; \
                 use `ext_proc`, which decides about it, or set `envoy.pass_replies`"
            }
            _ => return self.message.clone(),
        };
        format!("{}: {advice}", self.message)
    }

    /// Under which kind it is counted.
    pub(super) fn kind(&self) -> metrics::Refusal {
        match self.status {
            401 => metrics::Refusal::NotEntitled,
            _ => metrics::Refusal::Malformed,
        }
    }

    /// A message that nobody decides, with this HTTP status.
    pub(super) fn undecided(status: u16, undecided: &Undecided) -> Self {
        Self {
            status,
            code: undecided.code(),
            message: undecided.to_string(),
        }
    }
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::with_id(None, refused)
    }
}

impl From<Unreadable> for Stopped {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { id, fault } = unreadable;
        let refused = Refused {
            status: 400,
            code: fault.code(),
            message: fault.to_string(),
        };
        Self::with_id(id, refused)
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        let status = match unfit {
            Unfit::NotJson => 415,
            _ => 400,
        };
        Self::new(status, &unfit.to_string())
    }
}

impl From<Twice> for Refused {
    fn from(twice: Twice) -> Self {
        Unfit::from(twice).into()
    }
}

impl From<Disagreement> for Refused {
    fn from(disagreement: Disagreement) -> Self {
        Self {
            status: 400,
            code: denial::HEADER_MISMATCH,
            message: disagreement.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
