//! Files that are not read although somebody may think so.
//!
//! Start at [`remark`]. A policy in a file that nobody reads forbids nothing, and nobody is told by any answer: so a
//! name that differs from one that is read only by its letters' case is a fault, and whatever else looks like one is
//! pointed out. What editors and mounted volumes leave beside a file says nothing while the file itself is there.

use std::path::Path;

use crate::bundle::files::walk::kind_of;

/// The directories of JSON files.
const ROOMS: [&str; 3] = ["entities", "tools", "links"];
/// Extensions of what people write instead of JSON.
const NOT_JSON: [&str; 8] = [
    "json5", "jsonc", "jsonl", "ndjson", "yaml", "yml", "toml", "csv",
];
/// Extensions of what people write instead of TOML.
const NOT_TOML: [&str; 6] = ["tml", "conf", "cfg", "ini", "yaml", "yml"];
/// How far an extension or a directory may be from one that is read and still be meant as that.
const SLIPS: usize = 2;
/// Shorter words are too close to anything.
const MIN_WORD: usize = 4;

/// What there is to say of a file that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bundle) struct UnreadFile {
    /// Whether it can only have been meant.
    pub is_fault: bool,
    /// What to do about it.
    pub help: String,
}

impl UnreadFile {
    fn fault(help: String) -> Option<Self> {
        Some(Self {
            is_fault: true,
            help,
        })
    }

    fn warning(help: impl Into<String>) -> Option<Self> {
        Some(Self {
            is_fault: false,
            help: help.into(),
        })
    }
}

/// Whether files and directories of this name are passed over: hidden ones, and what editors leave while they save.
pub(in crate::bundle) fn is_set_aside(name: &str) -> bool {
    name.starts_with(['.', '#']) || name.ends_with(['~', '#'])
}

/// What there is to say of a file that is not read; `None` if nobody would expect it to be. `has` tells whether the
/// directory around it holds a file of a name.
pub(in crate::bundle) fn remark(relative: &Path, has: impl Fn(&str) -> bool) -> Option<UnreadFile> {
    let name = relative.file_name()?.to_str()?;
    let named = |name: &str| relative.with_file_name(name);
    if is_set_aside(name) {
        let is_litter = name.starts_with(".#") || name.starts_with("._");
        let meant = name.trim_matches(['.', '#', '~']);
        if is_litter || meant.is_empty() || has(meant) || kind_of(&named(meant)).is_none() {
            return None;
        }
        return UnreadFile::warning(format!(
            "hidden files and editors' copies are passed over: call it `{meant}`, or take it away"
        ));
    }
    let lower = relative.to_str()?.to_lowercase();
    if kind_of(Path::new(&lower)).is_some() {
        return UnreadFile::fault(format!(
            "names are read in lower case only: call it `{lower}`"
        ));
    }
    let lower = Path::new(&lower);
    of_place(lower).or_else(|| of_name(lower))
}

/// What is wrong with where a JSON or TOML file lies.
fn of_place(lower: &Path) -> Option<UnreadFile> {
    let name = lower.file_name()?.to_str()?;
    let folders: Vec<&str> = lower
        .parent()?
        .iter()
        .filter_map(|folder| folder.to_str())
        .collect();
    let extension = lower.extension()?.to_str()?;
    match (extension, folders.as_slice()) {
        ("json", _) if name.ends_with(".cedarschema.json") => {
            UnreadFile::warning("write the schema in Cedar's own syntax, as `*.cedarschema`")
        }
        ("json", []) => UnreadFile::warning(
            "entities belong in `entities/`, registrations in `tools/`, template links in `links/`",
        ),
        ("json", [first, rest @ ..]) => {
            if let Some(room) = rest.iter().find(|folder| ROOMS.contains(folder)) {
                return UnreadFile::warning(format!(
                    "`{room}` is a directory at the top, not within another: put the file into `{room}/`"
                ));
            }
            let room = ROOMS.into_iter().find(|room| is_slip(first, room))?;
            UnreadFile::warning(format!("did you mean the directory `{room}`?"))
        }
        ("toml", []) => UnreadFile::warning("the configuration is called `callgate.toml`"),
        (other, [room, ..]) if ROOMS.contains(room) && NOT_JSON.contains(&other) => {
            UnreadFile::warning(format!(
                "in `{room}/` only JSON is read, as `*.json`: write it as that"
            ))
        }
        _ => None,
    }
}

/// What is wrong with an extension.
fn of_name(lower: &Path) -> Option<UnreadFile> {
    let name = lower.file_name()?.to_str()?;
    let in_room = lower
        .iter()
        .next()
        .and_then(|room| room.to_str())
        .is_some_and(|room| ROOMS.contains(&room) && room != name);
    let mut parts: Vec<&str> = name.split('.').skip(1).collect();
    let last = parts.pop()?;
    let is_read =
        |part: &str| matches!(part, "cedar" | "cedarschema") || (in_room && part == "json");
    if let Some(part) = parts.iter().find(|part| is_read(part)) {
        return UnreadFile::warning(format!(
            "only names that end with `.{part}` are read: call it so, or take it away"
        ));
    }
    let is_config = parts.contains(&"toml") || NOT_TOML.contains(&last);
    if is_config && name.starts_with("callgate.") && lower.components().count() == 1 {
        return UnreadFile::warning("the configuration is called `callgate.toml`");
    }
    let extensions = ["cedar", "cedarschema"];
    let json = in_room.then_some("json");
    let meant = extensions
        .into_iter()
        .chain(json)
        .find(|it| is_slip(last, it))?;
    UnreadFile::warning(format!("did you mean `.{meant}`?"))
}

fn is_slip(word: &str, meant: &str) -> bool {
    word != meant && word.len() >= MIN_WORD && strsim::osa_distance(word, meant) <= SLIPS
}
