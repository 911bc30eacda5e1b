//! Warnings about files that are not read but look as if they should be.
//!
//! Start at [`remark`]. A policy in an unread file never forbids anything, without any error. So a name that differs only in
//! case from one that is read is a fault, and other similar names are warnings. Backup files of editors and of mounted
//! volumes are ignored while the original exists. A test decides nothing, so here it is a warning whatever its name is;
//! `callgate test` asks [`remark_test`] itself, and does not run without a file that is meant to be one.

use std::path::Path;

use crate::bundle::files::source::{FileKind, PROOFS_DIR};

/// Directories whose JSON files are read.
const ROOMS: [&str; 3] = ["entities", "tools", "links"];
/// Extensions used by mistake for `.json`.
const NOT_JSON: [&str; 8] = [
    "json5", "jsonc", "jsonl", "ndjson", "yaml", "yml", "toml", "csv",
];
/// Extensions used by mistake for `.toml`.
const NOT_TOML: [&str; 6] = ["tml", "conf", "cfg", "ini", "yaml", "yml"];
/// The directory of policy tests.
const TESTS: &str = "tests";
/// How the name of a test ends.
const TEST_ENDING: &str = ".yaml";
/// How the name of a property ends.
const PROPERTY_ENDING: &str = ".cedar";
/// The shortest beginning of a directory's name that stands for it.
const MIN_BEGINNING: usize = 3;
/// Largest edit distance of a misspelt extension or directory.
const SLIPS: usize = 2;
/// Words with fewer bytes are not compared: they are close to everything.
const MIN_WORD: usize = 4;

/// A diagnostic about a file that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadFile {
    /// Whether it is a fault rather than a warning: the file can only have been meant to be read.
    pub is_fault: bool,
    /// How to fix it.
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

/// Whether files and directories of this name are skipped: hidden ones, and temporary files of editors.
pub(crate) fn is_set_aside(name: &str) -> bool {
    name.starts_with(['.', '#']) || name.ends_with(['~', '#'])
}

/// The diagnostic about a file that is not read; `None` if nobody would expect it to be. `has` tells whether its
/// directory contains a file of a name.
pub(in crate::bundle) fn remark(relative: &Path, has: impl Fn(&str) -> bool) -> Option<UnreadFile> {
    let name = relative.file_name()?.to_str()?;
    let named = |name: &str| relative.with_file_name(name);
    let of_own_reader = match relative.components().count() > 1 {
        true if relative.starts_with(TESTS) => remark_test(name, &has),
        true if relative.starts_with(PROOFS_DIR) => remark_property(name, &has),
        _ => None,
    };
    // Nothing of it is served, so that a fault for its own reader is none here.
    let of_own_reader = of_own_reader.map(|it| UnreadFile {
        is_fault: false,
        ..it
    });
    if is_set_aside(name) {
        return match meant_beside(name, &has) {
            Some(meant) if FileKind::from_path(&named(meant)).is_some() => set_aside(meant),
            _ => of_own_reader,
        };
    }
    let lower = relative.to_str()?.to_lowercase();
    let is_property = || {
        let is_in_place = relative.starts_with(PROOFS_DIR);
        !is_in_place
            && Path::new(&lower).starts_with(PROOFS_DIR)
            && lower.ends_with(PROPERTY_ENDING)
    };
    if FileKind::from_path(Path::new(&lower)).is_some() || is_property() {
        return UnreadFile::fault(format!(
            "names are read in lower case only: call it `{lower}`"
        ));
    }
    let lower = Path::new(&lower);
    of_own_reader
        .or_else(|| of_place(lower))
        .or_else(|| of_name(lower))
}

/// The name that a copy of an editor or a hidden file would be read by; `None` if a file of that name is there, or the copy is
/// of no use to anybody.
fn meant_beside(name: &str, has: impl Fn(&str) -> bool) -> Option<&str> {
    let is_litter = name.starts_with(".#") || name.starts_with("._");
    let meant = name.trim_matches(['.', '#', '~']);
    (!is_litter && !meant.is_empty() && !has(meant)).then_some(meant)
}

fn set_aside(meant: &str) -> Option<UnreadFile> {
    UnreadFile::warning(format!(
        "hidden files and editors' copies are passed over: call it `{meant}`, or take it away"
    ))
}

/// The diagnostic about a file among the tests that is not read as one; `None` if it is read, or nobody would expect it to
/// be. A fault is a file that can only have been meant to be a test.
pub(crate) fn remark_test(name: &str, has: impl Fn(&str) -> bool) -> Option<UnreadFile> {
    if is_set_aside(name) {
        let meant = meant_beside(name, has)?;
        return set_aside(meant).filter(|_| meant.ends_with(TEST_ENDING));
    }
    if name.ends_with(TEST_ENDING) {
        return None;
    }
    let lower = name.to_lowercase();
    if lower.ends_with(TEST_ENDING) {
        return UnreadFile::fault(format!(
            "names are read in lower case only: call it `{lower}`"
        ));
    }
    let mut parts: Vec<&str> = lower.split('.').skip(1).collect();
    match parts.pop()? {
        "yml" => UnreadFile::fault("tests are called `*.yaml`".to_owned()),
        _ if parts.iter().any(|it| matches!(*it, "yaml" | "yml")) => UnreadFile::warning(
            "only names that end with `.yaml` are read: call it so, or take it away",
        ),
        "json" => UnreadFile::warning("tests are YAML: a test is called `*.yaml`"),
        last if strsim::osa_distance(last, "yaml") == 1 => {
            UnreadFile::warning("did you mean `.yaml`?")
        }
        _ => None,
    }
}

/// The diagnostic about a file among the properties that is not read as one; `None` if it is read, or nobody would expect it
/// to be. A fault is a file that can only have been meant to hold properties.
pub(crate) fn remark_property(name: &str, has: impl Fn(&str) -> bool) -> Option<UnreadFile> {
    if is_set_aside(name) {
        let meant = meant_beside(name, has)?;
        return set_aside(meant).filter(|_| meant.ends_with(PROPERTY_ENDING));
    }
    let lower = name.to_lowercase();
    if !name.ends_with(PROPERTY_ENDING) && lower.ends_with(PROPERTY_ENDING) {
        return UnreadFile::fault(format!(
            "names are read in lower case only: call it `{lower}`"
        ));
    }
    of_name(Path::new(&lower))
}

/// Checks the directory of a JSON or TOML file.
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
            if *first == TESTS || *first == PROOFS_DIR {
                return None;
            }
            match meant_room(first).filter(|room| ROOMS.contains(room)) {
                Some(room) => UnreadFile::warning(format!("did you mean the directory `{room}`?")),
                None => UnreadFile::warning(
                    "JSON is read in the directories `entities`, `tools` and `links` only",
                ),
            }
        }
        ("toml", []) => UnreadFile::warning("the configuration is called `callgate.toml`"),
        (other, [room, ..]) if ROOMS.contains(room) && NOT_JSON.contains(&other) => {
            UnreadFile::warning(format!(
                "in `{room}/` only JSON is read, as `*.json`: write it as that"
            ))
        }
        ("yaml" | "yml", []) if !name.starts_with("callgate.") => {
            UnreadFile::warning("tests are read in the directory `tests` only")
        }
        ("yaml" | "yml", [first, ..]) if *first != TESTS => match meant_room(first) {
            Some(room) => UnreadFile::warning(format!("did you mean the directory `{room}`?")),
            None => UnreadFile::warning("YAML is read in the directory `tests` only"),
        },
        _ => None,
    }
}

/// The directory that is meant by a name: by a slip, the beginning of its name, or another word for what is in it.
fn meant_room(name: &str) -> Option<&'static str> {
    const OTHER_WORDS: [(&str, &[&str]); 4] = [
        ("entities", &["ents", "entity", "people", "users", "groups"]),
        (
            "tools",
            &["registrations", "registration", "registry", "servers"],
        ),
        ("links", &["template_links", "templates"]),
        (TESTS, &["spec", "specs"]),
    ];
    let is_meant = |room: &&str| {
        let is_beginning = name.len() >= MIN_BEGINNING && room.starts_with(name);
        is_beginning || is_slip(name, room)
    };
    let mut rooms = ROOMS.into_iter().chain([TESTS]);
    let by_words = || OTHER_WORDS.iter().find(|(_, words)| words.contains(&name));
    rooms
        .find(is_meant)
        .or_else(|| by_words().map(|(room, _)| *room))
}

/// The diagnostic about a file in a hidden directory; `None` unless it would decide something anywhere else.
pub(in crate::bundle) fn remark_hidden(relative: &Path) -> Option<UnreadFile> {
    /// Directories of other programs, whose files are theirs.
    const OTHERS: [&str; 7] = [
        ".git", ".github", ".gitlab", ".hg", ".svn", ".vscode", ".idea",
    ];
    let extension = relative.extension()?.to_str()?;
    let mut names = relative.iter().filter_map(|name| name.to_str());
    let is_of_others = names.any(|name| OTHERS.contains(&name));
    if is_of_others || !matches!(extension, "cedar" | "cedarschema") {
        return None;
    }
    UnreadFile::warning(
        "hidden directories are passed over: name it without the dot, or take it away",
    )
}

/// Checks the extension of a file.
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
