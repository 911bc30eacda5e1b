//! What `docs/live-authority.md` tells is true: its commands are run against a server with the shipped
//! policies, in their order, and must say what it says they say.
//!
//! The guide writes `task-1` for the first task's id, and so on, because nobody can read the real ones.

use std::collections::HashMap;

use crate::docs::readme::{lines_match, shell};
use crate::support::process::{Bundle, Server};

const GUIDE: &str = include_str!("../../../docs/live-authority.md");
/// Where the guide's server listens.
const ADDRESS: &str = "127.0.0.1:50051";
/// How ids begin.
const KINDS: [&str; 3] = ["task-", "delegation-", "appr-"];
/// A UUID as text.
const UUID: usize = 36;

/// The guide's names for ids, and the ids.
#[derive(Default)]
struct Names {
    short: HashMap<String, String>,
}

impl Names {
    /// Gives every new id the next name of its kind, and puts names for ids.
    fn shortened(&mut self, text: &str) -> String {
        let mut short = text.to_owned();
        for kind in KINDS {
            for (at, _) in text.match_indices(kind) {
                let Some(id) = text.get(at..at + kind.len() + UUID) else {
                    continue;
                };
                if uuid::Uuid::parse_str(&id[kind.len()..]).is_err() {
                    continue;
                }
                let known = self.short.values().filter(|name| name.starts_with(kind));
                let next = format!("{kind}{}", known.count() + 1);
                let name = self.short.entry(id.to_owned()).or_insert(next);
                short = short.replace(id, name);
            }
        }
        short
    }

    /// Puts ids for names.
    fn spelt_out(&self, command: &str) -> String {
        let mut spelt = command.to_owned();
        for (id, name) in &self.short {
            spelt = spelt.replace(name, id);
        }
        spelt
    }
}

/// The commands of the guide with what they are to say.
fn consoles() -> Vec<(String, Vec<&'static str>)> {
    let fences = GUIDE.split("```console\n$ ").skip(1);
    let texts = fences.map(|rest| rest.split("\n```").next().unwrap_or_default());
    texts
        .map(|text| {
            let mut lines = text.lines();
            let mut command = String::new();
            for line in lines.by_ref() {
                match line.strip_suffix('\\') {
                    Some(part) => command.push_str(part),
                    None => {
                        command.push_str(line);
                        break;
                    }
                }
            }
            (command, lines.collect())
        })
        .collect()
}

#[test]
fn the_story_goes_as_told() {
    let bundle = Bundle::shipped();
    let server = Server::start(&bundle, &[]);
    let mut names = Names::default();
    let consoles = consoles();
    assert!(consoles.len() >= 12, "{} commands", consoles.len());
    for (command, expected) in consoles {
        let command = names.spelt_out(&command).replace(ADDRESS, server.target());
        let endpoint = format!("export CALLGATE_ENDPOINT=http://{}", server.target());
        let said = shell(bundle.folder(), &format!("{endpoint}\n{command}"));
        let said = names.shortened(&said);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines_match(&expected, &lines), "{command}\nsays\n{said}");
    }
}
