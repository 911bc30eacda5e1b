//! Where in the text of a test file something is written, for faults that are found once it was parsed.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::domain::request::json_text;

/// The most values that are looked through for one that a message quotes.
const MAX_SEARCHED: usize = 10_000;

/// The fixtures that a field of a case can name, by the field.
const NAMED: [(&str, &str); 6] = [
    ("call", "calls"),
    ("session", "sessions"),
    ("task", "tasks"),
    ("usage", "usage"),
    ("approval", "approvals"),
    ("delegations", "delegations"),
];

/// The values of a file with their places.
#[derive(Debug)]
pub(super) struct Places<'a> {
    origin: SourceText<'a>,
    lines: Vec<usize>,
    root: Option<Spanned<YamlNode>>,
}

/// A value of YAML.
#[derive(Debug)]
enum YamlNode {
    Scalar(String),
    List(Vec<Spanned<YamlNode>>),
    Map(Vec<(Spanned<String>, Spanned<YamlNode>)>),
}

/// A place in the text, with the text that is written there.
#[derive(Clone, Copy)]
struct TextPlace<'p> {
    location: Location,
    text: &'p str,
}

impl<'a> Places<'a> {
    /// Parses a text that was parsed before. Where that is not possible, no place is known.
    pub(super) fn new(origin: SourceText<'a>) -> Self {
        let root = serde_saphyr::from_str_with_options(origin.text, super::files::options());
        Self {
            origin,
            lines: line_starts(origin.text),
            root: root.ok(),
        }
    }

    /// A fault at what `path` leads to, or at the nearest thing around it that is there. Within that it is at what the
    /// message quotes first, if that is written there.
    ///
    /// A path has the fields and the places in lists: `tests[3].call.tool`, `fixtures.tools.git/git_log.attrs`.
    pub(super) fn fault(&self, path: &str, message: String) -> BundleDiagnostic {
        let Some(root) = &self.root else {
            return BundleDiagnostic::for_file(self.origin.file, message);
        };
        let (place, node) = self.walk(root, path);
        let quoted = message.split('`').skip(3).step_by(2).take(2);
        let found = node.and_then(|node| quoted.into_iter().find_map(|text| within(node, text)));
        let place = found.unwrap_or(place);
        located(
            self.origin,
            &self.lines,
            place.location,
            place.text,
            message,
        )
    }

    /// What is written in a line from a place on.
    fn written(&self, location: Location) -> &'a str {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let line = number(location.line()).checked_sub(1);
        let start = line.and_then(|line| self.lines.get(line).copied());
        let line = start.and_then(|start| self.origin.text[start..].split('\n').next());
        let line = line.unwrap_or_default();
        // The parser counts characters.
        let mut from = line
            .char_indices()
            .skip(number(location.column()).saturating_sub(1));
        from.next().map_or("", |(offset, _)| &line[offset..])
    }

    /// The place that a path leads to, and what is there, if all of the path is there.
    fn walk<'p>(
        &'p self,
        root: &'p Spanned<YamlNode>,
        path: &str,
    ) -> (TextPlace<'p>, Option<&'p Spanned<YamlNode>>) {
        let mut node = root;
        let mut place = value_place(node);
        let mut rest = path;
        let mut field = "";
        while !rest.is_empty() {
            let step = match &node.value {
                YamlNode::Map(entries) => longest(entries, rest).map(|(key, value)| {
                    field = &key.value;
                    let place = TextPlace {
                        location: key.referenced,
                        text: &key.value,
                    };
                    (place, value, &rest[key.value.len()..])
                }),
                YamlNode::List(items) => index(rest).and_then(|(index, rest)| {
                    let item = items.get(index)?;
                    Some((value_place(item), item, rest))
                }),
                // What is wrong is wrong in the fixture of this name.
                YamlNode::Scalar(name) => {
                    NAMED.iter().find(|(it, _)| *it == field).and_then(|it| {
                        let fixtures = child(child(root, "fixtures")?.1, it.1)?.1;
                        let (key, value) = child(fixtures, name)?;
                        field = "";
                        let place = TextPlace {
                            location: key.referenced,
                            text: &key.value,
                        };
                        Some((place, value, rest))
                    })
                }
            };
            let Some((next_place, next, left)) = step else {
                break;
            };
            (place, node, rest) = (next_place, next, left.strip_prefix('.').unwrap_or(left));
        }
        if !rest.is_empty() {
            return (place, None);
        }
        // What a field has is wrong rather than that it is there.
        if let YamlNode::Scalar(_) = &node.value {
            place = value_place(node);
        }
        (place, Some(node))
    }
}

/// A fault at the first number that a server refuses, since a double does not hold it as it is written.
pub(super) fn inexact_number(origin: SourceText<'_>) -> Option<BundleDiagnostic> {
    // Hardly a file has one, and to find its place is to parse the file once more.
    let mut words = origin.text.split(|c: char| !is_of_number(c));
    words.find(|word| json_text::has_too_many_digits(word))?;
    let places = Places::new(origin);
    let mut nodes = vec![places.root.as_ref()?];
    let mut first: Option<(Location, &str)> = None;
    while let Some(node) = nodes.pop() {
        match &node.value {
            YamlNode::Scalar(value) => {
                let written = places.written(node.referenced);
                let end = written.find(|c| !is_of_number(c));
                let number = &written[..end.unwrap_or(written.len())];
                // A text that begins with a number is none.
                let is_read = value.parse::<f64>().ok() == number.parse().ok();
                let place = |it: Location| (it.line(), it.column());
                let is_first = first.is_none_or(|(at, _)| place(node.referenced) < place(at));
                if is_read && is_first && json_text::has_too_many_digits(number) {
                    first = Some((node.referenced, number));
                }
            }
            YamlNode::List(items) => nodes.extend(items),
            YamlNode::Map(entries) => nodes.extend(entries.iter().map(|(_, value)| value)),
        }
    }
    let (location, number) = first?;
    let message = format!(
        "`{number}` has more digits than a double holds: a server refuses it, and programs round it each in their way"
    );
    Some(located(origin, &places.lines, location, number, message))
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || "+-.eE".contains(c)
}

/// The place of a value; of a list or map it is where that begins.
fn value_place(node: &Spanned<YamlNode>) -> TextPlace<'_> {
    let text = match &node.value {
        YamlNode::Scalar(text) => text.as_str(),
        YamlNode::List(_) | YamlNode::Map(_) => "",
    };
    TextPlace {
        location: node.referenced,
        text,
    }
}

type YamlEntry = (Spanned<String>, Spanned<YamlNode>);

/// The entry whose key the path begins with; of several the one with the longest key, since keys may have dots.
fn longest<'p>(entries: &'p [YamlEntry], path: &str) -> Option<&'p YamlEntry> {
    let begins = |(key, _): &&YamlEntry| {
        let rest = path.strip_prefix(key.value.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let entries = entries.iter().filter(begins);
    entries.max_by_key(|(key, _)| key.value.len())
}

fn child<'p>(
    node: &'p Spanned<YamlNode>,
    name: &str,
) -> Option<(&'p Spanned<String>, &'p Spanned<YamlNode>)> {
    match &node.value {
        YamlNode::Map(entries) => {
            let found = entries.iter().find(|(key, _)| key.value == name);
            found.map(|(key, value)| (key, value))
        }
        YamlNode::List(_) | YamlNode::Scalar(_) => None,
    }
}

/// `[3].call` as 3 and `.call`.
fn index(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

/// The first key or value with this text, from the outside in.
fn within<'p>(node: &'p Spanned<YamlNode>, text: &str) -> Option<TextPlace<'p>> {
    let mut level = vec![node];
    let mut searched = 0;
    while !level.is_empty() && searched < MAX_SEARCHED {
        let mut below = Vec::new();
        for node in level {
            searched += 1;
            match &node.value {
                YamlNode::Scalar(found) if found == text => return Some(value_place(node)),
                YamlNode::Scalar(_) => {}
                YamlNode::List(items) => below.extend(items),
                YamlNode::Map(entries) => {
                    if let Some((key, _)) = entries.iter().find(|(key, _)| key.value == text) {
                        return Some(TextPlace {
                            location: key.referenced,
                            text: &key.value,
                        });
                    }
                    below.extend(entries.iter().map(|(_, value)| value));
                }
            }
        }
        level = below;
    }
    None
}

/// A fault at a place of the parser, underlining `text` if that is what is written there.
pub(super) fn at(
    origin: SourceText<'_>,
    location: Location,
    text: &str,
    message: impl Into<String>,
) -> BundleDiagnostic {
    located(origin, &line_starts(origin.text), location, text, message)
}

/// Where each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.match_indices('\n');
    std::iter::once(0)
        .chain(breaks.map(|(at, _)| at + 1))
        .collect()
}

fn located(
    origin: SourceText<'_>,
    lines: &[usize],
    location: Location,
    text: &str,
    message: impl Into<String>,
) -> BundleDiagnostic {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (line, column) = (number(location.line()), number(location.column()));
    let Some(start) = line.checked_sub(1).and_then(|index| lines.get(index)) else {
        return BundleDiagnostic::for_file(origin.file, message);
    };
    let written = origin.text[*start..].split('\n').next().unwrap_or_default();
    // The parser counts characters.
    let mut from = written.char_indices().skip(column.saturating_sub(1));
    let offset = from.next().map_or(written.len(), |(offset, _)| offset);
    let here = &written[offset..];
    let quote = here.strip_prefix(['"', '\'']);
    let length = match (here.starts_with(text), quote) {
        (true, _) => text.len(),
        (false, Some(quoted)) if quoted.starts_with(text) => text.len() + 2,
        (false, _) => 1,
    };
    BundleDiagnostic::in_line(origin, (line, *start), offset, length, message)
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = YamlNode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(value.to_string()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(value.to_owned()))
            }

            fn visit_unit<E: Error>(self) -> Result<YamlNode, E> {
                Ok(YamlNode::Scalar(String::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<YamlNode, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(YamlNode::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlNode, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(YamlNode::Map(entries))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
