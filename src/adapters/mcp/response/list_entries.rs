//! Reads the entries of a list that a server returns, and whose they are.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::json::RawObject;
use crate::adapters::mcp::member_spelling::{reject_misspelled, resembles};
use crate::adapters::mcp::methods::{EntryKind, ListSpec};
use crate::adapters::mcp::response::filter::{DECISIVE, MessageFilter};
use crate::domain::decide::listing::ListedItem;
use crate::domain::request::definition::ToolDefinition;
use crate::domain::request::json_text::tolerant;

/// An entry of a list, attributed to a server.
pub(super) struct ListEntry<'a> {
    /// Its place in the list.
    pub(super) index: usize,
    pub(super) server: &'a SmolStr,
    pub(super) item: ListedItem,
    /// Whether all readers read it alike. One of a tool that they do not is there to be noticed, and is not shown.
    pub(super) is_readable: bool,
}

/// An entry as readers find it.
struct ReadEntry {
    /// The names under which some reader may find it. More than one only if the entry cannot be read.
    names: Vec<String>,
    /// Its members, if all readers read them alike.
    members: Option<Map<String, Json>>,
}

impl MessageFilter<'_> {
    /// Attributes the entries of a list to servers. An ambiguous entry appears once for each server that may offer it, and a
    /// tool that cannot be read once for each name that it may have; other unreadable or unattributable entries are left
    /// out.
    pub(super) fn entries(
        &self,
        list: &ListSpec,
        texts: &[&str],
        field: &str,
    ) -> Vec<ListEntry<'_>> {
        let mut entries = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let ReadEntry { names, members } = self.read_entry(list, text, field);
            let is_readable = members.is_some();
            if !is_readable {
                let name = names.first().cloned();
                let name = name.unwrap_or_else(|| format!("entry {index}"));
                self.log_left_out(&name, "it cannot be read");
            }
            for name in names {
                let before = entries.len();
                for (server, own) in self.origins.resolve(&name, list.identifier) {
                    let item = listed_item(list.entries, own, members.as_ref());
                    entries.extend(item.map(|item| ListEntry {
                        index,
                        server,
                        item,
                        is_readable,
                    }));
                }
                if is_readable && entries.len() == before {
                    self.log_left_out(&name, "its name does not tell whose it is");
                }
            }
        }
        entries
    }

    fn read_entry(&self, list: &ListSpec, text: &str, field: &str) -> ReadEntry {
        let read = || {
            let members = RawObject::read(text.as_bytes(), field).ok()?;
            reject_misspelled(members.names(), &DECISIVE, field).ok()?;
            let name = serde_json::from_str(members.get(list.id)?).ok()?;
            match self.parse(text, field) {
                Ok(Json::Object(members)) => Some((name, members)),
                _ => None,
            }
        };
        match read() {
            Some((name, members)) => ReadEntry {
                names: vec![name],
                members: Some(members),
            },
            None => ReadEntry {
                names: possible_names(list.id, text),
                members: None,
            },
        }
    }
}

/// The names under which some reader may find an entry that cannot be read.
fn possible_names(id: &str, text: &str) -> Vec<String> {
    let text = tolerant(text.as_bytes());
    let Ok(members) = RawObject::with_own_names(&text, "") else {
        return Vec::new();
    };
    let named = members.iter().filter(|(name, _)| resembles(name, id));
    named
        .filter_map(|(_, name)| serde_json::from_str(name).ok())
        .collect()
}

/// The entry as the decision sees it, under the server's own name. `members` is absent if it cannot be read: such a tool has
/// a definition that matches no pin, and anything else is left out.
fn listed_item(
    kind: EntryKind,
    name: SmolStr,
    members: Option<&Map<String, Json>>,
) -> Option<ListedItem> {
    Some(match (kind, members) {
        (EntryKind::Tool, members) => {
            // A definition that cannot be pinned matches no pin.
            let definition = members.and_then(|it| ToolDefinition::from_json(it, &name).ok());
            ListedItem::Tool {
                name,
                definition: Some(definition.unwrap_or_else(ToolDefinition::unreadable)),
            }
        }
        (_, None) => return None,
        (EntryKind::Prompt, _) => ListedItem::Prompt(name),
        (EntryKind::Resource, _) => ListedItem::Resource(name),
        (EntryKind::Template, _) => ListedItem::Template(name),
    })
}
