//! The shape of the source: which room may import which, how long a file may be, what must be said at
//! its top. The text is read, not compiled: what it says is what a reader sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms right below it. It may use those and whatever lies below them.
const EDGES: [(&str, &[&str]); 17] = [
    ("main", &["cli"]),
    ("cli", &["server", "analysis"]),
    ("server", &["adapters", "control", "reload"]),
    ("adapters", &["control", "service", "analysis"]),
    ("control", &["service"]),
    ("reload", &["service", "bundle"]),
    ("service", &["telemetry", "store"]),
    ("telemetry", &["audit"]),
    ("audit", &["domain"]),
    ("store", &["domain"]),
    ("analysis", &["bundle", "audit"]),
    ("bundle", &["domain"]),
    ("domain", &[]),
    ("config", &["authn"]),
    ("authn", &[]),
    ("supervision", &[]),
    ("proto", &[]),
];

/// Leaves that every room may use; among each other only as the table says.
const LEAVES: [&str; 3] = ["config", "authn", "supervision"];

/// The rooms that speak a wire format; records of the decision log have one too, and so have exported spans.
const SPEAK_PROTO: [&str; 6] = ["adapters", "control", "server", "cli", "audit", "telemetry"];

/// What the top of the repository may hold.
const TOP_LEVEL: [&str; 30] = [
    ".ci",
    ".editorconfig",
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "benches",
    "build.rs",
    "crates",
    "deny.toml",
    "deploy",
    "docs",
    "examples",
    "fuzz",
    "justfile",
    "policies",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "scripts",
    "src",
    "tests",
];

const FORBIDDEN_NAMES: [&str; 5] = ["utils", "common", "types", "helpers", "prelude"];

const MAX_LINES: usize = 500;

/// A source file that is not a test.
struct Source {
    path: PathBuf,
    /// The room it belongs to; `lib` for the crate root.
    room: String,
    text: String,
}

impl Source {
    fn place(&self, line: usize) -> String {
        format!("src/{}:{}", self.path.display(), line + 1)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    files_below(&src, &mut paths);
    let sources: Vec<Source> = paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(&src).unwrap().to_owned();
            let first = path
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let room = first.strip_suffix(".rs").unwrap_or(first).to_owned();
            Source { path, room, text }
        })
        .filter(|source| !is_test(source))
        .collect();
    assert!(
        sources.len() > 20,
        "the walk found only {} files",
        sources.len()
    );
    sources
}

/// Whether a file holds tests or what only tests use. They may build on any room.
fn is_test(source: &Source) -> bool {
    let stem = source.path.file_stem().unwrap().to_str().unwrap();
    stem == "tests"
        || stem.ends_with("_tests")
        || stem == "fixtures"
        || source.path.components().any(|c| c.as_os_str() == "tests")
}

/// The rooms that each room may use.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let below: BTreeMap<_, _> = EDGES.into_iter().collect();
    let close = |room: &'static str| {
        let mut reached = BTreeSet::from([room]);
        let mut open = vec![room];
        while let Some(next) = open.pop() {
            for lower in below[next] {
                if reached.insert(lower) {
                    open.push(lower);
                }
            }
        }
        if !LEAVES.contains(&room) && room != "proto" {
            reached.extend(LEAVES);
        }
        if SPEAK_PROTO.contains(&room) {
            reached.insert("proto");
        }
        reached
    };
    EDGES
        .into_iter()
        .map(|(room, _)| (room, close(room)))
        .collect()
}

/// The rooms named by paths from the crate's root in a line of code.
fn rooms_used(line: &str) -> Vec<String> {
    // What stands between quotes is text, e.g. the target of a log line.
    let code: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let mut rooms = Vec::new();
    for start in ["crate::", "callgate::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + start.len()..];
            let names = match rest.strip_prefix('{') {
                // `use crate::{a::b, c}`: the names at the outermost level.
                Some(group) => outermost(group),
                None => vec![leading_name(rest)],
            };
            rooms.extend(
                names
                    .into_iter()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    rooms
}

fn leading_name(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

fn outermost(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut names = vec![leading_name(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(leading_name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// The text with comments blanked, line by line as it was.
fn code_of(text: &str) -> String {
    text.lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_point_down() {
    let allowed = allowed();
    let mut faults = Vec::new();
    let sources = sources();
    for source in &sources {
        // The root declares every room and re-exports the library's three types.
        if source.room == "lib" {
            continue;
        }
        let Some(may_use) = allowed.get(source.room.as_str()) else {
            faults.push(format!(
                "{}: `{}` is not a room",
                source.place(0),
                source.room
            ));
            continue;
        };
        for (number, line) in code_of(&source.text).lines().enumerate() {
            for used in rooms_used(line) {
                if !may_use.contains(used.as_str()) {
                    let place = source.place(number);
                    faults.push(format!("{place}: `{}` must not use `{used}`", source.room));
                }
            }
            if line.contains("super::super::") {
                faults.push(format!(
                    "{}: `super::super` hides where it leads",
                    source.place(number)
                ));
            }
        }
    }
    report(faults);
}

/// The paths at the outermost level of a group of imports, each up to a group of its own.
fn paths_of_group(group: &str) -> Vec<&str> {
    let leading = |text: &'_ str| -> usize {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        end.unwrap_or(text.len())
    };
    let mut depth = 0;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    let paths = starts.into_iter().map(|at| group[at..].trim_start());
    paths.map(|path| &path[..leading(path)]).collect()
}

/// The modules of a source file's own room that it imports, besides those above and below it.
fn siblings_used(
    own: &[String],
    text: &str,
    modules: &BTreeSet<Vec<String>>,
) -> BTreeSet<Vec<String>> {
    let code = code_of(text);
    let mut used = BTreeSet::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let (path, group) = rest.split_at(end.unwrap_or(rest.len()));
        let names = match path.ends_with("::") && group.starts_with('{') {
            true => paths_of_group(group[1..].split(';').next().unwrap_or_default()),
            false => vec![""],
        };
        for name in names {
            let whole = format!("{path}{name}");
            let parts = whole.split("::").map(str::to_owned);
            let mut module: Vec<String> = parts.filter(|it| !it.is_empty()).collect();
            while !module.is_empty() && !modules.contains(&module) {
                module.pop();
            }
            let is_family = own.starts_with(&module) || module.starts_with(own);
            if !module.is_empty() && !is_family && module.first() == own.first() {
                used.insert(module);
            }
        }
    }
    used
}

/// A file that comes back to itself through what it imports, with the way.
fn circle(edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Option<String> {
    for start in edges.keys() {
        let mut came_from: BTreeMap<&Vec<String>, &Vec<String>> = BTreeMap::new();
        let mut next = vec![start];
        while let Some(module) = next.pop() {
            for other in &edges[module] {
                if other == start {
                    let mut way = vec![start.join("::"), module.join("::")];
                    let mut at = module;
                    while let Some(before) = came_from.get(at) {
                        at = before;
                        way.push(at.join("::"));
                    }
                    return Some(way.join(" <- "));
                }
                if edges.contains_key(other) && !came_from.contains_key(other) {
                    came_from.insert(other, module);
                    next.push(other);
                }
            }
        }
    }
    None
}

/// Files of a room do not import each other in a circle. A parent declares its children, and they may use its items.
#[test]
fn files_of_a_room_import_each_other_one_way() {
    let sources = sources();
    let module = |source: &Source| -> Vec<String> {
        let below = source.path.with_extension("");
        let parts = below.iter().map(|it| it.to_str().unwrap().to_owned());
        parts
            .filter(|it| !["mod", "lib", "main"].contains(&it.as_str()))
            .collect()
    };
    let modules: BTreeSet<Vec<String>> = sources.iter().map(module).collect();
    let edges: BTreeMap<_, _> = sources
        .iter()
        .map(|it| (module(it), siblings_used(&module(it), &it.text, &modules)))
        .collect();
    assert!(
        edges.values().map(BTreeSet::len).sum::<usize>() > 500,
        "imports are not seen"
    );
    assert_eq!(circle(&edges), None);
}

#[test]
fn a_circle_between_files_is_found() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let modules: BTreeSet<_> = ["a", "a::b", "a::c", "a::c::d"].map(module).into();
    let of_b = siblings_used(&module("a::b"), "use crate::a::c::{D, d::E};", &modules);
    assert_eq!(of_b, [module("a::c"), module("a::c::d")].into());
    let of_d = siblings_used(&module("a::c::d"), "use crate::a::{b::B, c::C};", &modules);
    assert_eq!(of_d, [module("a::b")].into());
    let one_way = BTreeMap::from([
        (module("a::b"), of_b.clone()),
        (module("a::c::d"), BTreeSet::new()),
    ]);
    assert_eq!(circle(&one_way), None);
    let around = BTreeMap::from([(module("a::b"), of_b), (module("a::c::d"), of_d)]);
    assert!(circle(&around).is_some());
}

#[test]
fn groups_of_imports_name_the_room_they_come_from() {
    // The check above reads line by line, so no import may start at the root and go on below.
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in code_of(&source.text).lines().enumerate() {
            if line.contains("use crate::{") && !line.contains('}') {
                faults.push(format!(
                    "{}: an import of several rooms",
                    source.place(number)
                ));
            }
        }
    }
    report(faults);
}

#[test]
fn the_check_of_imports_sees_what_it_should() {
    assert_eq!(rooms_used("use crate::domain::decide::decide;"), ["domain"]);
    assert_eq!(
        rooms_used("use crate::{domain::{a, b}, bundle, Verdict};"),
        ["domain", "bundle", "Verdict"]
    );
    assert_eq!(
        rooms_used("let x = crate::bundle::load::Loaded::Empty;"),
        ["bundle"]
    );
    assert_eq!(rooms_used("pub(in crate::bundle) fn f()"), ["bundle"]);
    assert_eq!(rooms_used("use callgate::cli;"), ["cli"]);
    assert_eq!(
        rooms_used(r#"f("callgate::cli", crate::domain::f)"#),
        ["domain"]
    );
    assert_eq!(rooms_used("mycrate::x::y()"), Vec::<String>::new());
    let allowed = allowed();
    assert!(allowed["adapters"].contains("domain") && allowed["adapters"].contains("proto"));
    assert!(!allowed["domain"].contains("service") && !allowed["domain"].contains("bundle"));
    assert!(allowed["adapters"].contains("control") && !allowed["control"].contains("adapters"));
    assert!(!allowed["adapters"].contains("server") && !allowed["adapters"].contains("reload"));
    assert!(allowed["config"].contains("authn"));
    assert!(!allowed["authn"].contains("config"));
    assert!(!allowed["service"].contains("proto") && !allowed["service"].contains("bundle"));
}

#[test]
fn the_domain_decides_without_waiting() {
    let mut faults = Vec::new();
    for source in sources() {
        let forbidden: &[&str] = match source.room.as_str() {
            "domain" => &[
                "tokio::",
                "tonic::",
                "async fn",
                ".await",
                "std::fs",
                "SystemTime::now",
            ],
            "service" => &["tonic::", "prost::"],
            _ => continue,
        };
        for (number, line) in code_of(&source.text).lines().enumerate() {
            for word in forbidden {
                if line.contains(word) {
                    faults.push(format!(
                        "{}: `{word}` in `{}`",
                        source.place(number),
                        source.room
                    ));
                }
            }
        }
    }
    report(faults);
}

/// The sources of the engine. Its manifest lists what it may depend on, and its `clippy.toml` forbids clocks.
fn engine_sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join("crates/engine/src"), &mut paths);
    assert!(paths.len() > 10, "the walk found only {}", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = Path::new("../crates/engine/src").join(path.file_name().unwrap());
            let room = "engine".to_owned();
            Source { path, room, text }
        })
        .filter(|source| !is_test(source))
        .collect()
}

#[test]
fn the_engine_knows_nothing_of_mcp() {
    let forbidden = ["Mcp", "async fn", ".await", "std::fs", "SystemTime"];
    let mut faults = Vec::new();
    for source in engine_sources() {
        for (number, line) in code_of(&source.text).lines().enumerate() {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}: `{word}`", source.place(number)));
            }
        }
    }
    report(faults);
}

#[test]
fn cedar_is_named_in_one_file() {
    // Written in two parts, so that this file does not find itself.
    let name = ["cedar_policy_", "core"].concat();
    let folders = ["src", "crates", "tests", "benches", "examples", "fuzz"];
    let mut faults = Vec::new();
    for folder in folders.map(|folder| root().join(folder)) {
        let mut paths = Vec::new();
        files_below(&folder, &mut paths);
        for path in paths {
            let is_built = path.components().any(|c| c.as_os_str() == "target");
            let is_allowed = is_built || path.ends_with("crates/engine/src/cedar.rs");
            if !is_allowed && fs::read_to_string(&path).unwrap().contains(&name) {
                faults.push(format!("{}: `{name}`", path.display()));
            }
        }
    }
    report(faults);
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for source in sources().into_iter().chain(engine_sources()) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!(
                "{}: {lines} lines, more than {MAX_LINES}",
                source.place(0)
            ));
        }
        if !source.text.starts_with("//!") {
            faults.push(format!("{}: does not begin with `//!`", source.place(0)));
        }
    }
    report(faults);
}

#[test]
fn no_name_says_nothing() {
    let mut paths = Vec::new();
    files_below(&root().join("src"), &mut paths);
    files_below(&root().join("tests"), &mut paths);
    let faults = paths
        .iter()
        .map(|path| path.strip_prefix(root()).unwrap())
        .filter(|path| {
            path.iter().any(|part| {
                let name = part.to_str().unwrap();
                FORBIDDEN_NAMES.contains(&name.strip_suffix(".rs").unwrap_or(name))
            })
        })
        .map(|path| format!("{}: a name that says nothing", path.display()))
        .collect();
    report(faults);
}

#[test]
fn the_top_level_holds_what_a_reader_expects() {
    // What git ignores is nobody's concern.
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let faults = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .filter(|name| !ignored.lines().any(|line| line.trim_matches('/') == name))
        .map(|name| format!("`{name}` is not expected at the top level"))
        .collect();
    report(faults);
}

#[test]
fn nothing_prints_in_a_way_that_can_panic() {
    let mut found = Vec::new();
    for source in sources() {
        for (line, text) in source.text.lines().enumerate() {
            let code = text.split("//").next().unwrap_or_default();
            let prints = ["println!(", "print!("].iter().any(|it| code.contains(it));
            if prints {
                found.push(source.place(line));
            }
        }
    }
    assert!(
        found.is_empty(),
        "`print!` and `eprint!` panic where nobody reads: print with `cli::output`: {found:?}"
    );
}

#[test]
fn no_width_of_what_is_printed_comes_from_data() {
    let mut found = Vec::new();
    for source in sources() {
        for (line, text) in code_of(&source.text).lines().enumerate() {
            let mut ends = text.match_indices("$}").map(|(at, _)| &text[..at]);
            let mut stars = text.match_indices("*}").map(|(at, _)| &text[..at]);
            let is_width = |before: &str| {
                let begun = before.rfind(['{', '}', '"']);
                begun.is_some_and(|at| before[at..].starts_with('{') && before[at..].contains(':'))
            };
            if ends.any(is_width) || stars.any(is_width) {
                found.push(source.place(line));
            }
        }
    }
    assert!(
        found.is_empty(),
        "a width beyond 65,535 panics: use `cli::render::left_aligned` or `str::repeat`: {found:?}"
    );
}
