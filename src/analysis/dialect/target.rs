//! What a policy is about.

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Calls of one tool.
    Tool {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
    /// Calls of any tool of a server.
    Server {
        /// The server.
        server: String,
    },
    /// Calls of any tool. A permit is bound to servers before it is written.
    AnyCall,
    /// For a forbid, everything.
    Anything,
    /// Lists of a server.
    List {
        /// The server.
        server: String,
        /// `list_tools`, `list_prompts` or `list_resources`.
        action: &'static str,
    },
    /// One prompt.
    Prompt {
        /// The server.
        server: String,
        /// The prompt.
        prompt: String,
    },
}

impl Target {
    /// The server, and the tool if it is about one; `None` if it is about all servers.
    pub fn place(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Tool { server, tool } => Some((server, Some(tool))),
            Self::Server { server } | Self::List { server, .. } | Self::Prompt { server, .. } => {
                Some((server, None))
            }
            Self::AnyCall | Self::Anything => None,
        }
    }
}

/// How a policy names an action.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    /// Whether what is in it is meant, too: `in` rather than `==`.
    pub may_be_in: bool,
    /// Whether the policy forbids.
    pub is_forbid: bool,
}
