//! What the name of an argument says of where something is: a path, an address, a recipient, a place to write to.
//!
//! Start at [`ArgumentPlace::from_words`]. The last word decides (`project_root`, `callback_url`), also where words are written as
//! one (`docpath`).

use crate::analysis::propose::lexicon::{
    EMAIL_WORDS, END_OF_OUTPUT, FILE_WORDS, FILTERS, HOST_WORDS, LINK_WORDS, MAIL_PARTIES, OUTPUTS,
    POINTERS, RECIPIENT_WORDS, STORING, TELLING, TO_WRITE, UPLOADING, URL_WORDS, WHERE_TO,
    WordList,
};
use crate::analysis::propose::verbs::is_verb;

/// What the name of an argument says of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ArgumentPlace {
    /// The kind of target, if the name tells it.
    pub(super) kind: Option<&'static str>,
    /// The role of the target.
    pub(super) role: Option<&'static str>,
    /// Whether a call that takes it may reach elsewhere.
    pub(super) leads_out: bool,
}

impl ArgumentPlace {
    pub(super) const fn new(kind: Option<&'static str>, leads_out: bool) -> Self {
        Self {
            kind,
            role: None,
            leads_out,
        }
    }

    /// The place that a name means; `None` if it says nothing of one.
    pub(super) fn from_words(words: &[String]) -> Option<Self> {
        let words = without_tail(words);
        let (last, before) = words.split_last()?;
        if let Some(recipient) = recipient(last, before) {
            return Some(recipient);
        }
        let is_somewhere = WHERE_TO.first(&words).is_some();
        let elsewhere = is_somewhere.then_some(Self::new(None, true));
        let place = Self::from_last(last, before)
            .or_else(|| Self::from_direction(last, before))
            .or(elsewhere)?;
        if place.role.is_some() {
            return Some(place);
        }
        // Of two kinds, the value tells which; filters are often patterns.
        let is_either = before.iter().any(|word| word == "or")
            || before.first().is_some_and(|word| FILTERS.has(word));
        Some(Self {
            kind: place.kind.filter(|_| !is_either),
            role: role(before, place.kind),
            ..place
        })
    }

    fn from_last(last: &str, before: &[String]) -> Option<Self> {
        let previous = before.last().map_or("", String::as_str);
        let says = |list: WordList| names(list, last);
        if says(EMAIL_WORDS) || is_address(last) && MAIL_PARTIES.has(previous) {
            return Some(Self::new(Some("email"), false));
        }
        if says(URL_WORDS) {
            return Some(Self::new(Some("url"), true));
        }
        if matches!(last, "uri" | "uris") || last.len() > 5 && last.ends_with("uri") {
            return Some(Self::new(None, true));
        }
        if says(FILE_WORDS) {
            let is_pointer = POINTERS.has(previous) && last.starts_with("path");
            return match matches!(last, "xpath" | "jsonpath") {
                true => None,
                false => Some(Self::new((!is_pointer).then_some("path"), false)),
            };
        }
        if says(HOST_WORDS) || LINK_WORDS.has(last) {
            return Some(Self::new(None, true));
        }
        matches!(last, "attachment" | "attachments" | "mailbox").then_some(Self::new(None, false))
    }

    /// Where something comes from or goes to: `img_src`, `upload_to`, `save_as`, `out`.
    fn from_direction(last: &str, before: &[String]) -> Option<Self> {
        let of_role = |kind, role, leads_out| Self {
            role: Some(role),
            ..Self::new(kind, leads_out)
        };
        let previous = before.last().map_or("", String::as_str);
        let is_joined = matches!(last, "to" | "as" | "into");
        if matches!(last, "src" | "srcs") {
            return Some(of_role(None, "source", true));
        }
        if is_joined && UPLOADING.has(previous) {
            return Some(of_role(None, "destination", true));
        }
        if is_joined && STORING.has(previous) {
            return Some(of_role(Some("path"), "destination", false));
        }
        let words: Vec<String> = before.iter().cloned().chain([last.to_owned()]).collect();
        is_output(&words).then_some(of_role(None, "destination", false))
    }
}

fn is_address(word: &str) -> bool {
    matches!(word, "address" | "addresses")
}

/// Whether a word is in a list, or ends with a word of the list that it is written as one with (`docpath`).
fn names(list: WordList, word: &str) -> bool {
    let is_other = || {
        ["profile", "curl", "ghost", "tauri", "redir", "fdir"]
            .iter()
            .any(|other| word.strip_suffix('s').unwrap_or(word).ends_with(other))
    };
    let ends = |own: &str| own.len() >= 3 && word.len() >= own.len() + 2 && word.ends_with(own);
    let may_end = |own: &str| {
        !matches!(
            own,
            "site" | "sites" | "origin" | "server" | "servers" | "cwd"
        )
    };
    list.has(word) || (list.words().any(|own| may_end(own) && ends(own)) && !is_other())
}

/// The words without what only tells their form: `file_name`, `path2`, `url_list`, `file_to_read`.
fn without_tail(words: &[String]) -> Vec<String> {
    let mut words: Vec<String> = words.to_vec();
    if let [.., to, verb] = words.as_slice()
        && to == "to"
        && words.len() > 2
        && is_verb(verb)
    {
        words.truncate(words.len() - 2);
    }
    while words.len() > 1
        && let [.., before, last] = words.as_slice()
    {
        let is_form = last.chars().all(|c| c.is_ascii_digit())
            || matches!(
                last.as_str(),
                "list" | "array" | "arg" | "param" | "string" | "str" | "prefix"
            )
            || matches!(last.as_str(), "name" | "names")
                && (names(FILE_WORDS, before) || names(HOST_WORDS, before))
            || matches!(last.as_str(), "number" | "numbers") && RECIPIENT_WORDS.has(before);
        if !is_form {
            break;
        }
        words.pop();
    }
    if let Some(last) = words.last_mut() {
        let bare = last.trim_end_matches(|c: char| c.is_ascii_digit());
        // `ipv4` is a word.
        if !bare.is_empty() && bare != "ipv" {
            last.truncate(bare.len());
        }
    }
    words
}

fn recipient(last: &str, before: &[String]) -> Option<ArgumentPlace> {
    let sends = |word: &String| MAIL_PARTIES.has(word) || TELLING.has(word);
    let is_to = last == "to" && before.iter().all(sends)
        || matches!(last, "to" | "with") && before.last().is_some_and(|it| TELLING.has(it))
        || last == "notify" && before.is_empty();
    let is_addressed = before
        .first()
        .is_some_and(|word| matches!(word.as_str(), "to" | "cc" | "bcc"));
    let kind = names(EMAIL_WORDS, last).then_some("email");
    let is_party = RECIPIENT_WORDS.has(last);
    let is_person = is_addressed && (kind.is_some() || is_address(last) || last == "user");
    (is_to || is_party || is_person).then_some(ArgumentPlace {
        kind,
        role: Some("recipient"),
        leads_out: last != "to" || !before.is_empty(),
    })
}

/// The part that a path or URL plays, by the words before it.
fn role(before: &[String], kind: Option<&str>) -> Option<&'static str> {
    if !matches!(kind, Some("path" | "url")) {
        return None;
    }
    match before.first()?.as_str() {
        "src" | "source" | "old" | "from" => Some("source"),
        "dst" | "dest" | "destination" | "new" | "to" | "out" | "output" => Some("destination"),
        _ => None,
    }
}

/// Whether a name says where results are written to: `out`, `output_path`, `to_dir`, `save_as`.
pub(super) fn is_output(words: &[String]) -> bool {
    let Some((last, before)) = words.split_last() else {
        return false;
    };
    let previous = before.last().map_or("", String::as_str);
    let is_end = |word: &str| END_OF_OUTPUT.has(word);
    let joined = OUTPUTS
        .words()
        .filter_map(|output| last.strip_prefix(output))
        .any(|rest| FILE_WORDS.has(rest) || matches!(rest, "to" | "as"));
    let is_file = names(FILE_WORDS, last);
    let leads = is_file && before.iter().any(|word| OUTPUTS.has(word))
        || TO_WRITE.has(last) && before.iter().any(|word| is_end(word));
    // `path_to_file` is no output.
    let is_to_file = is_file
        && match before {
            [to] => matches!(to.as_str(), "to" | "into"),
            [.., verb, to] => matches!(to.as_str(), "to" | "into") && STORING.has(verb),
            [] => false,
        };
    let is_stored_as = matches!(last.as_str(), "to" | "as" | "into") && STORING.has(previous);
    // `check_out` and `log_out` are verbs.
    let is_particle = last == "out" && is_verb(previous);
    joined || leads || is_to_file || is_stored_as || is_end(last) && !is_particle
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
