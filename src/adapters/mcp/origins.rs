//! Which server something comes from.

use smol_str::SmolStr;

/// The servers behind an answer. Where a gateway merges the lists of several, it puts a server's name and an
/// underscore before each name of that server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<SmolStr>);

impl Origins {
    /// One server, whose names are as they are.
    pub fn one(server: SmolStr) -> Self {
        Self(vec![server])
    }

    /// Several servers whose lists are merged. One alone is as [`Origins::one`].
    pub fn merged(servers: Vec<SmolStr>) -> Self {
        Self(servers)
    }

    /// All of them.
    pub fn servers(&self) -> &[SmolStr] {
        &self.0
    }

    /// The only one, if it is the only one.
    pub fn only(&self) -> Option<&SmolStr> {
        match self.0.as_slice() {
            [server] => Some(server),
            _ => None,
        }
    }

    /// Which server offers something of this name, and what it calls it. Several if it can be read in several
    /// ways, none if in no way.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&SmolStr, SmolStr)> {
        let is_only = self.0.len() == 1;
        self.0.iter().filter_map(move |server| {
            let own = match is_only {
                true => name,
                false => name.strip_prefix(server.as_str())?.strip_prefix('_')?,
            };
            Some((server, SmolStr::new(own)))
        })
    }
}
