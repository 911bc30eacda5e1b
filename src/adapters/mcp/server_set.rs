//! The servers behind a message, and how their names are prefixed.

use smol_str::SmolStr;

/// The URI scheme of user interfaces.
const UI: &str = "ui://";

/// The servers behind a message. A gateway that merges several servers prefixes their names, as agentgateway
/// does: `<server>_<name>` for tools and prompts, `<server>+<uri>` for resources, and `ui://<server>+<rest>`
/// for user interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSet {
    servers: Vec<SmolStr>,
    naming: Naming,
}

/// Whether names are prefixed by the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Plain,
    Prefixed,
}

/// What identifies an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierKind {
    /// A name: tools and prompts.
    ByName,
    /// A URI or URI template: resources.
    ByUri,
    /// The id of a task.
    ByTaskId,
}

impl ServerSet {
    /// One server without prefixes.
    pub fn one(server: SmolStr) -> Self {
        Self::plain(vec![server])
    }

    /// Servers without prefixes. With several of them no name can be attributed.
    pub fn plain(servers: Vec<SmolStr>) -> Self {
        let naming = Naming::Plain;
        Self { servers, naming }
    }

    /// Servers with prefixes, even if there is only one.
    pub fn prefixed(servers: Vec<SmolStr>) -> Self {
        let naming = Naming::Prefixed;
        Self { servers, naming }
    }

    /// Several servers whose lists are merged; a single one has no prefix.
    pub fn merged(servers: Vec<SmolStr>) -> Self {
        match servers.len() {
            0 | 1 => Self::plain(servers),
            _ => Self::prefixed(servers),
        }
    }

    /// All servers.
    pub fn servers(&self) -> &[SmolStr] {
        &self.servers
    }

    /// The server, if there is exactly one.
    pub fn only(&self) -> Option<&SmolStr> {
        match self.servers.as_slice() {
            [server] => Some(server),
            _ => None,
        }
    }

    /// The servers that may offer an object of this name, each with its own name for it. Several if the name
    /// is ambiguous, none if no prefix matches.
    pub fn resolve(
        &self,
        name: &str,
        called: IdentifierKind,
    ) -> impl Iterator<Item = (&SmolStr, SmolStr)> {
        let plain = self.only().filter(|_| self.naming == Naming::Plain);
        let prefixed = match self.naming {
            Naming::Plain => &[],
            Naming::Prefixed => self.servers.as_slice(),
        };
        let plain = plain.map(|server| (server, SmolStr::new(name)));
        let prefixed = prefixed
            .iter()
            .filter_map(move |server| Some((server, own_name(server, name, called)?)));
        plain.into_iter().chain(prefixed)
    }
}

/// The prefixed form of a server's own name.
pub fn prefixed(server: &str, name: &str, called: IdentifierKind) -> String {
    match (called, name.strip_prefix(UI)) {
        (IdentifierKind::ByName, _) => format!("{server}_{name}"),
        (IdentifierKind::ByTaskId, _) => format!("{server}+{name}"),
        (IdentifierKind::ByUri, None) => format!("{server}+{name}"),
        (IdentifierKind::ByUri, Some(rest)) => format!("{UI}{server}+{rest}"),
    }
}

fn own_name(server: &str, name: &str, called: IdentifierKind) -> Option<SmolStr> {
    let after = |name: &str, mark| {
        let rest = name.strip_prefix(server)?.strip_prefix(mark)?;
        Some(rest.to_owned())
    };
    match (called, name.strip_prefix(UI)) {
        (IdentifierKind::ByName, _) => after(name, '_').map(SmolStr::from),
        (IdentifierKind::ByTaskId, _) => after(name, '+').map(SmolStr::from),
        (IdentifierKind::ByUri, None) => after(name, '+')
            // User interfaces have one form only.
            .filter(|own| !own.starts_with(UI))
            .map(SmolStr::from),
        (IdentifierKind::ByUri, Some(rest)) => {
            Some(smol_str::format_smolstr!("{UI}{}", after(rest, '+')?))
        }
    }
}

#[cfg(test)]
#[path = "server_set_tests.rs"]
mod tests;
