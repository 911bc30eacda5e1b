//! The worlds that tests share. A test that needs more adds it to one of them, beside itself.

use serde_json::json;

use super::bundle_dir::BundleDir;

/// The server `git`; Ana is a developer and so is her agent `coder`, Bob is none.
pub fn small() -> BundleDir {
    BundleDir::new()
        .policies(SMALL_POLICIES)
        .groups(&["developers"])
        .user("ana", &["developers"])
        .user("bob", &[])
        .agent("coder", "ana", &["developers"])
        .server("git", "ana")
        .tools(&[("log", "read"), ("commit", "write"), ("purge", "read")])
}

const SMALL_POLICIES: &str = r#"
@id("read") @owner("security") @controls("OWASP:ASI02,NIST-CSF:PR.AA-05") @obligation("log:full")
permit (principal, action in Mcp::Action::"call_read", resource);

@id("list")
permit (principal, action in Mcp::Action::"discover", resource);

@id("write-by-developers")
permit (principal, action in Mcp::Action::"call_write", resource)
when { principal in Mcp::Group::"developers" };

@id("never-purge") @reason("history is kept")
forbid (principal, action, resource == Mcp::Tool::"git/purge");
"#;

/// The server `notes`; Alice is staff and so is her agent `helper`, Bob is not. What is shipped for gateways, their recorded
/// exchanges and the programs in `tests/clients` know these names, so it is what a process serves if nothing else is said.
pub fn notes() -> BundleDir {
    BundleDir::new()
        .policies(NOTES_POLICIES)
        .groups(&["staff"])
        .user("alice", &["staff"])
        .user("bob", &[])
        .agent("helper", "alice", &["staff"])
        .server("notes", "alice")
        .tools(&[
            ("list_notes", "read"),
            ("add_note", "write"),
            ("drop_notes", "admin"),
        ])
        .tool_with("merge_notes", "write", json!({"status": "proposed"}))
}

const NOTES_POLICIES: &str = r#"
@id("notes.read")
@owner("notes-team")
@controls("OWASP:ASI02")
permit (principal, action in Mcp::Action::"call_read", resource in Mcp::Server::"notes");

@id("notes.write")
@owner("notes-team")
@controls("OWASP:ASI03,NIST-CSF:PR.AA-05")
@obligation("log:full")
permit (principal in Mcp::Group::"staff", action == Mcp::Action::"call_write", resource in Mcp::Server::"notes");

@id("notes.never-drop")
@owner("security")
@reason("notes are never dropped by an agent")
forbid (principal, action == Mcp::Action::"call_admin", resource == Mcp::Tool::"notes/drop_notes");
"#;

/// An office with the servers `git`, `files` and `mail`, whose agents act on what people delegate to them. Ana and Sam are
/// staff and have three agents each, `sec` is the security team, Bob has the servers.
pub fn office() -> BundleDir {
    BundleDir::new()
        .policies(OFFICE_POLICIES)
        .groups(&["staff", "security", "reading", "former"])
        .user("ana", &["staff"])
        .user("sam", &["staff"])
        .user("sec", &["security"])
        .user("bob", &[])
        .agents(&["one", "two", "three"], "ana")
        .agents(&["helper", "worker", "third"], "sam")
        .server("git", "ana")
        .tool_with("log", "read", json!({"groups": ["reading"]}))
        .tools(&[("commit", "write"), ("purge", "admin")])
        .server("files", "bob")
        .tool_with("read", "read", json!({"yields": ["private"]}))
        .tools(&[("write", "write"), ("format", "admin")])
        .server("mail", "bob")
        .tool("list", "read")
        .tool_with("send", "write", json!({"yields": ["sent"], "egress": true}))
}

/// Administration takes an approval. What is private and what leaves the office are kept apart in a session.
const OFFICE_POLICIES: &str = r#"
@id("govern") permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
@id("redelegate") permit (principal is Mcp::Agent, action == Mcp::Action::"grant_delegation", resource);
@id("left-the-team") forbid (principal in Mcp::Group::"former", action == Mcp::Action::"approve_call", resource);
@id("people") permit (principal is Mcp::User, action in Mcp::Action::"call_tool", resource);
@id("agents") permit (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource)
when { context has delegation };
@id("approve-admin") @reason("administration is approved")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_admin", resource)
unless { context has approval };
@id("nothing-private-out") @reason("what is private stays")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"mail/send")
when { context has session && context.session.labels.contains("private") };
@id("nothing-private-after-out") @reason("what was sent is not followed by what is private")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"files/read")
when { context has session && context.session.labels.contains("sent") };
"#;
