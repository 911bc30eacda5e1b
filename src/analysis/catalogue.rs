//! The catalogue: reviewed registrations of public servers, part of the program.
//!
//! Start at [`tools`]. An entry holds for one definition of a tool, by its digest; [`crate::analysis::import`] takes an entry
//! only for a listed tool whose digest is that one. What servers do is theirs: an entry says what the tool with this
//! definition was judged to do, and nothing of who runs the server that lists it.

use std::collections::BTreeMap;

use crate::bundle::parse::registration::{Registration, ToolEntry};

/// The reviewed registrations, by the name of the server.
const REGISTRATIONS: &[(&str, &str)] = &[
    ("everything", include_str!("catalogue/everything.json")),
    ("fetch", include_str!("../../policies/tools/fetch.json")),
    (
        "filesystem",
        include_str!("../../policies/tools/filesystem.json"),
    ),
    ("git", include_str!("../../policies/tools/git.json")),
    ("github", include_str!("../../policies/tools/github.json")),
    ("memory", include_str!("catalogue/memory.json")),
    ("playwright", include_str!("catalogue/playwright.json")),
    // Not as policies/ has it: there, policies bound what its statements may say.
    ("postgres", include_str!("catalogue/postgres.json")),
    ("slack", include_str!("../../policies/tools/slack.json")),
    ("time", include_str!("catalogue/time.json")),
];

/// The names of the servers in the catalogue, in order.
pub fn servers() -> impl Iterator<Item = &'static str> {
    REGISTRATIONS.iter().map(|(name, _)| *name)
}

/// The reviewed tools of a server, by name; `None` if the catalogue does not have it. Owners, groups and tags are left out:
/// they are a company's own.
pub fn tools(server: &str) -> Option<BTreeMap<String, ToolEntry>> {
    let (_, text) = REGISTRATIONS.iter().find(|(name, _)| *name == server)?;
    // A test holds that each of them parses.
    let registration: Registration = serde_json::from_str(text).ok()?;
    let tools = registration.tools.into_iter().map(|(name, entry)| {
        let entry = ToolEntry {
            owner: None,
            groups: Vec::new(),
            tags: BTreeMap::new(),
            ..entry
        };
        (name, entry)
    });
    Some(tools.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::parse::registration::ConfirmationStatus;

    #[test]
    fn there_are_ten_servers() {
        assert_eq!(servers().count(), 10);
        assert!(servers().is_sorted());
    }

    #[test]
    fn what_a_server_downloads_is_a_target() {
        let tools = tools("everything").expect("a registration");
        let targets = &tools["gzip-file-as-resource"].target_arguments;
        assert!(targets.iter().any(|it| it.argument == "data"));
    }

    #[test]
    fn every_entry_is_confirmed_for_one_definition() {
        for name in servers() {
            let tools = tools(name).unwrap_or_else(|| panic!("{name} does not parse"));
            assert!(!tools.is_empty(), "{name}");
            for (tool, entry) in tools {
                assert!(entry.digest.is_some(), "{name}/{tool}");
                assert_eq!(entry.status, ConfirmationStatus::Confirmed, "{name}/{tool}");
            }
        }
        assert!(tools("elsewhere").is_none());
    }
}
