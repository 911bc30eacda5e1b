//! Proposes the arguments that hold the contents of files.

use crate::analysis::propose::lexicon::FILE_WORDS;
use crate::analysis::propose::schema_walk::{DescribedValue, SchemaWalk};
use crate::analysis::propose::words::{ParsedToolName, split};
use crate::analysis::tool_list::ListedTool;
use crate::domain::request::target::check::check_text;

/// The most that one entry proposes.
const MAX_PROPOSED: usize = 256;

/// Arguments with the content of a file, beside its name.
const CONTENTS: [&str; 8] = [
    "content",
    "contents",
    "file_content",
    "file_contents",
    "file_text",
    "new_content",
    "new_contents",
    "new_text",
];
/// Arguments with the name of a file.
const FILES: [&str; 8] = [
    "absolute_path",
    "file",
    "file_name",
    "file_path",
    "filename",
    "filepath",
    "path",
    "target_file",
];

/// The texts of a tool about files that are called the content of one, and that stand beside its name or within what does.
pub(super) fn propose(tool: &ListedTool, named: &ParsedToolName, walk: &SchemaWalk) -> Vec<String> {
    let says_file =
        |word: &String| FILE_WORDS.has(word) || matches!(word.as_str(), "filesystem" | "fs");
    if !named.with_server.iter().any(says_file) {
        return Vec::new();
    }
    let is_meant = |it: &&DescribedValue| {
        CONTENTS.contains(&words(it).as_str()) && it.choices.is_none() && has_file_beside(walk, it)
    };
    let found = walk.values.iter().filter(is_meant);
    let mut paths: Vec<String> = found.filter_map(|it| it.path.clone()).collect();
    paths.dedup();
    paths.retain(|path| check_text(path, Some(&tool.shape)).is_ok());
    paths.truncate(MAX_PROPOSED);
    paths
}

fn has_file_beside(walk: &SchemaWalk, content: &DescribedValue) -> bool {
    let mut values = walk.values.iter();
    values.any(|it| content.around.starts_with(&it.around) && FILES.contains(&words(it).as_str()))
}

fn words(value: &DescribedValue) -> String {
    split(&value.name).join("_")
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;
