//! COAZ-MCP mappings, by which an AuthZEN enforcement point sends the server and all arguments of a call. The default
//! mapping sends neither.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::bundle::ToolSummary;

/// The member of a tool's `inputSchema` that declares a mapping.
pub const MEMBER: &str = "x-authzen-mapping";

/// The declared mapping of each tool, by server and name.
pub type Mappings = BTreeMap<String, BTreeMap<String, Json>>;

/// The mappings of a bundle's tools, or of one server's.
pub fn mappings(tools: &[ToolSummary], server: Option<&str>) -> Mappings {
    let mut mappings = Mappings::new();
    let wanted = tools
        .iter()
        .filter(|it| server.is_none_or(|server| it.server == server));
    for tool in wanted {
        let of_server = mappings.entry(tool.server.clone()).or_default();
        of_server.insert(tool.name.clone(), json!({MEMBER: mapping(&tool.server)}));
    }
    mappings
}

/// A call without arguments is distinct from one whose arguments are not sent.
fn mapping(server: &str) -> Json {
    json!({"evaluation": {
        "subject": {"type": "identity", "id": "$token.sub"},
        "action": {"name": "tools/call"},
        "context": {"agent": "$token.?client_id"},
        "resource": {
            "type": "tool",
            "id": "$params.name",
            "properties": {
                "server": server,
                "arguments": "$has(params.arguments) ? params.arguments : {}",
            },
        },
    }})
}
