//! What a server's texts about a tool say that it does: the verbs at the beginning of its description and its titles.
//!
//! Start at [`verbs_at_beginning`]. Such texts are written in sentences, so a verb is found in each of its forms (`Deletes`,
//! `for deleting`), behind what only leads to it (`This tool permanently …`, `(Deprecated) …`), and in a row (`Gets or creates`).

use unicode_normalization::UnicodeNormalization as _;

use crate::analysis::propose::lexicon::{EITHER, LANGUAGES, NOUNS, RUNNING, WordList};
use crate::analysis::propose::verbs::is_verb;
use crate::analysis::propose::words::split;
use crate::domain::request::visible::is_invisible;

/// The part of a text that is looked at, in characters.
const MAX_CHARS: usize = 400;

/// Words that lead to the verb of a sentence.
const OPENERS: WordList = WordList::new(
    "able ability action agent agents allow allows also alpha api beta by call called can caution command danger deprecated enable \
     enables endpoint experimental for function have help helper helps if important internal is it just lets legacy may \
     method must need needs note operation please provides should simply that this to tool use used useful user users \
     utility want wants warning when which will you your",
);

/// Articles, which make a noun of what follows unless it is a tool.
const ARTICLES: WordList = WordList::new("a an the");

/// What a tool calls itself.
const ITSELF: WordList =
    WordList::new("action api command endpoint function helper method operation tool utility");

/// Words behind which a noun comes, so that what is before them is a verb.
const DETERMINERS: WordList = WordList::new(
    "a all an another any both each every existing given it its multiple new one several some specific specified that the \
     their them these this those up your",
);

/// Verbs of what a text says of a tool that only reads: `Returns the …`, `Takes a …`.
const RETELLING: WordList = WordList::new(
    "accept answer filter follow give map measure process query quote rate receive report return review sample scan score sort take \
     trace track view wait watch",
);

/// Words of the lexicon that are nouns where they end with an `s`.
const THINGS: WordList = WordList::new(
    "credential cred delegation password payout script secret shell sql terminal token admin fire rid command",
);

/// The verbs, in their plain form, with which a text begins.
pub(super) fn verbs_at_beginning(text: &str) -> Vec<String> {
    let text = plain(text);
    let words = split(&text);
    let mut verbs = Vec::new();
    let Some((mut at, is_behind_for)) = beginning(&words) else {
        return verbs;
    };
    loop {
        let word = words.get(at).map_or("", String::as_str);
        let next = words.get(at + 1).map_or("", String::as_str);
        let Some(verb) = verb(word, next, is_behind_for) else {
            return verbs;
        };
        verbs.push(verb);
        if !matches!(next, "and" | "or" | "then") {
            return verbs;
        }
        at += 2;
    }
}

/// The text without what does not show, with commas and strokes as `and`, and without remarks in front.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    // Descriptions are kept with invisible characters as escapes.
    while let Some((before, after)) = rest.split_once("\\u{") {
        shown.push_str(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
        if shown.len() > MAX_CHARS * 4 {
            break;
        }
    }
    shown.push_str(rest);
    let shown = shown
        .replace("\\t", " ")
        .replace("\\r", " ")
        .replace("\\n", " ");
    let chars = shown
        .nfkc()
        .filter(|c| c.is_whitespace() || !is_invisible(*c));
    let shown: String = chars.take(MAX_CHARS).collect();
    let mut text = shown.as_str();
    loop {
        text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && !"([{<".contains(c));
        let close = match text.chars().next() {
            Some('(') => ')',
            Some('[') => ']',
            Some('{') => '}',
            Some('<') => '>',
            _ => break,
        };
        text = text.split_once(close).map_or_else(
            || text.trim_start_matches(|c: char| !c.is_alphanumeric()),
            |(_, after)| after,
        );
    }
    text.replace([',', '/', '&'], " and ")
        .replace(['\'', '’'], "")
}

/// Where the first word is that may be a verb, and whether a `for` or `by` is before it; `None` if a noun comes first.
fn beginning(words: &[String]) -> Option<(usize, bool)> {
    let mut is_behind_for = false;
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_adverb = word.len() > 4 && word.ends_with("ly") && !is_verb(word);
        if ARTICLES.has(word) {
            if !ITSELF.has(next) {
                return None;
            }
        } else if !OPENERS.has(word) && !is_adverb {
            return Some((at, is_behind_for));
        }
        is_behind_for = matches!(word.as_str(), "for" | "by");
    }
    None
}

/// The plain form of a word that is a verb where it stands.
fn verb(word: &str, next: &str, is_behind_for: bool) -> Option<String> {
    let before_noun = DETERMINERS.has(next);
    let is_noun = |verb: &str| {
        let is_program = LANGUAGES.has(next) || RUNNING.has(next);
        EITHER.has(verb) && !before_noun && !is_program
    };
    if is_verb(word) {
        let is_request = matches!(word, "merge" | "pull") && matches!(next, "request" | "requests");
        let is_retold = EITHER.has(word) && RETELLING.has(word);
        let is_other = NOUNS.has(word) && !before_noun;
        return (!is_request && !is_retold && !is_other && !is_noun(word)).then(|| word.to_owned());
    }
    let is_told = |verb: &String| {
        is_verb(verb) && !RETELLING.has(verb) && !THINGS.has(verb) && !is_noun(verb)
    };
    if let Some(stem) = word.strip_suffix('s') {
        let mut forms = vec![stem.to_owned()];
        forms.extend(stem.strip_suffix('e').map(str::to_owned));
        forms.extend(stem.strip_suffix("ie").map(|it| format!("{it}y")));
        return forms.into_iter().find(is_told);
    }
    let stem = word.strip_suffix("ing")?;
    if !is_behind_for && !before_noun {
        return None;
    }
    let mut forms = vec![stem.to_owned(), format!("{stem}e")];
    let mut ends = stem.chars().rev();
    if let (Some(last), Some(previous)) = (ends.next(), ends.next())
        && last == previous
    {
        forms.push(stem.chars().take(stem.chars().count() - 1).collect());
    }
    forms.into_iter().find(is_told)
}

#[cfg(test)]
#[path = "statements_tests.rs"]
mod tests;
