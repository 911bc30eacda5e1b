//! Which server something comes from.

use smol_str::SmolStr;

/// Where user interfaces are kept; a client knows them by this.
const UI: &str = "ui://";

/// The servers behind an answer. A gateway that merges the answers of several puts their names before the
/// names in it, as agentgateway does: `<server>_<name>` for tools and prompts, `<server>+<uri>` for resources,
/// and `ui://<server>+<rest>` for user interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSet {
    servers: Vec<SmolStr>,
    naming: Naming,
}

/// Whether names have their server's in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Plain,
    Prefixed,
}

/// How something is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierKind {
    /// By a name: tools and prompts.
    ByName,
    /// By a URI or a template of it.
    ByUri,
}

impl ServerSet {
    /// One server, whose names are as they are.
    pub fn one(server: SmolStr) -> Self {
        Self::plain(vec![server])
    }

    /// Servers whose names are as they are. If they are several, nobody can tell whose a name is.
    pub fn plain(servers: Vec<SmolStr>) -> Self {
        let naming = Naming::Plain;
        Self { servers, naming }
    }

    /// Servers whose names stand before their own, even if it is one alone.
    pub fn prefixed(servers: Vec<SmolStr>) -> Self {
        let naming = Naming::Prefixed;
        Self { servers, naming }
    }

    /// Several servers whose lists are merged. One alone is as [`Origins::one`].
    pub fn merged(servers: Vec<SmolStr>) -> Self {
        match servers.len() {
            0 | 1 => Self::plain(servers),
            _ => Self::prefixed(servers),
        }
    }

    /// All of them.
    pub fn servers(&self) -> &[SmolStr] {
        &self.servers
    }

    /// The only one, if it is the only one.
    pub fn only(&self) -> Option<&SmolStr> {
        match self.servers.as_slice() {
            [server] => Some(server),
            _ => None,
        }
    }

    /// Which server offers something of this name, and what it calls it. Several if it can be read in several
    /// ways, none if in no way.
    pub fn of(
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

/// What a client calls what `server` calls `name`, where names have their server's in front.
pub fn prefixed(server: &str, name: &str, called: IdentifierKind) -> String {
    match (called, name.strip_prefix(UI)) {
        (IdentifierKind::ByName, _) => format!("{server}_{name}"),
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
        (IdentifierKind::ByUri, None) => after(name, '+')
            // Interfaces are named in one way only.
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
