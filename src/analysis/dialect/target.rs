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
    /// Calls of any tool.
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
