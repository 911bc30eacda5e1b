//! Proposes a tool's access level from its name, arguments and hints.
//!
//! Start at [`AccessProposal`]. The name gives the initial level; everything else can only raise it.

use unicode_security::{MixedScript as _, skeleton};

use crate::analysis::propose::arguments::{Arguments, Router};
use crate::analysis::propose::lexicon::{
    EITHER, GENTLE, JOINTS, LANGUAGES, MODIFIERS, NOUNS, PINGED, READ, SENDING, SHOWN, SILENT,
};
use crate::analysis::propose::powers::given_by;
use crate::analysis::propose::statements::verbs_at_beginning;
use crate::analysis::propose::verbs::{administers, is_verb, writes};
use crate::analysis::propose::words::{ParsedToolName, split};
use crate::analysis::tool_list::ListedTool;
use crate::bundle::parse::registration::AccessLevel;

/// The proposed access level and its reason.
#[derive(Debug)]
pub(super) struct AccessProposal {
    pub(super) access: AccessLevel,
    pub(super) reason: String,
    /// Whether an argument selects the operation.
    pub(super) is_router: bool,
    /// Whether the result carries no data.
    pub(super) is_silent: bool,
}

impl AccessProposal {
    /// Proposes the access level of a tool.
    pub(super) fn new(tool: &ListedTool, named: &ParsedToolName, arguments: &Arguments) -> Self {
        let (access, reason) = level_of_name(named);
        let mut verdict = Self {
            access,
            reason,
            is_router: false,
            is_silent: is_silent(named, arguments),
        };
        verdict.hold_against_arguments(tool, named, arguments);
        verdict.hold_against_server(tool, named);
        verdict.is_silent &= !verdict.is_router;
        verdict
    }

    fn raise(&mut self, access: AccessLevel, reason: impl FnOnce() -> String) {
        if access > self.access {
            self.access = access;
            self.reason = reason();
        }
    }

    fn hold_against_arguments(
        &mut self,
        tool: &ListedTool,
        named: &ParsedToolName,
        arguments: &Arguments,
    ) {
        match arguments.router() {
            Some(Router::Anything(why)) => {
                self.is_router = true;
                self.raise(AccessLevel::Admin, || why);
            }
            Some(Router::OneOf(choosers)) => {
                for (argument, choices) in choosers {
                    for choice in choices {
                        let (access, _) = level_of_name(&ParsedToolName::unprefixed(choice));
                        self.raise(access, || format!("`{argument}` can be `{choice}`"));
                    }
                }
            }
            None => {}
        }
        let is_queried = |word: &String| LANGUAGES.has(word) || word == "query";
        let document = match named.all.iter().any(is_queried) {
            true => arguments.document(),
            false => arguments.with_variables(),
        };
        if let Some(argument) = document {
            self.is_router = true;
            self.raise(AccessLevel::Admin, || {
                format!("`{argument}` holds a query, and the call can be whatever it says")
            });
        }
        if let Some(argument) = arguments.query() {
            let is_search =
                |word: &String| matches!(word.as_str(), "search" | "find" | "lookup" | "list");
            let is_statement = |word: &String| {
                matches!(
                    word.as_str(),
                    "sql" | "cypher" | "graphql" | "sparql" | "gremlin" | "kql"
                )
            };
            if !named.own.iter().any(is_search) || split(&tool.description).iter().any(is_statement)
            {
                self.is_router = true;
                self.raise(AccessLevel::Admin, || {
                    format!("`{argument}`: the call can be whatever its statement says")
                });
            }
        }
        if self.access == AccessLevel::Read
            && let Some(argument) = arguments.free_form()
        {
            self.is_router = true;
            self.raise(AccessLevel::Admin, || {
                format!("`{argument}` can have any members")
            });
        }
        if let Some(why) = arguments.side_effect() {
            self.raise(AccessLevel::Write, || why);
        }
    }

    /// Takes the server's hints into account, which can only raise the level.
    fn hold_against_server(&mut self, tool: &ListedTool, named: &ParsedToolName) {
        if let Some(word) = named.all.iter().find(|word| is_disguised(word)) {
            self.raise(AccessLevel::Admin, || {
                format!("`{word}` has letters that look like others")
            });
        }
        let says = self.reason.clone();
        let leader = LeadingVerb::find(&named.own);
        for title in &tool.titles {
            self.hold_against_text(&says, leader.as_ref(), "title", title);
            let mut title = ParsedToolName::unprefixed(title);
            let is_article = |word: &str| matches!(word, "a" | "an" | "the");
            title.own.retain(|word| !is_article(word));
            // A title such as `Pull Request Details` begins with a noun.
            let is_verb =
                |it: LeadingVerb<'_>| it.leads && !EITHER.has(it.word) && !NOUNS.has(it.word);
            if LeadingVerb::find(&title.own).is_some_and(is_verb) {
                let (access, _) = level_of_name(&title);
                self.raise(access, || format!("{says}, but its title says more"));
            }
        }
        self.hold_against_text(&says, leader.as_ref(), "description", &tool.description);
        if tool.read_only_hint == Some(false) {
            self.raise(AccessLevel::Write, || {
                format!("{says}, but its server says it changes something")
            });
        }
        if tool.destructive_hint == Some(true) && !leader.is_some_and(|it| GENTLE.has(it.word)) {
            self.raise(AccessLevel::Admin, || {
                format!("{says}, but its server calls it destructive")
            });
        }
        if tool.read_only_hint == Some(true) && self.access == AccessLevel::Write {
            self.reason += "; its server's claim to be read-only does not count";
        }
    }

    /// Holds it against the verbs with which a text of the server begins.
    fn hold_against_text(
        &mut self,
        says: &str,
        leader: Option<&LeadingVerb<'_>>,
        what: &str,
        text: &str,
    ) {
        for verb in verbs_at_beginning(text) {
            if leader.is_some_and(|it| it.word == verb) {
                continue;
            }
            let access = match () {
                () if administers(&verb) => AccessLevel::Admin,
                () if writes(&verb) => AccessLevel::Write,
                () => AccessLevel::Read,
            };
            self.raise(access, || {
                format!("{says}, but its {what} begins with `{verb}`")
            });
        }
    }
}

/// The first verb of a tool's name.
struct LeadingVerb<'n> {
    at: usize,
    word: &'n str,
    /// Whether only known nouns and modifiers precede it.
    leads: bool,
}

impl<'n> LeadingVerb<'n> {
    fn find(words: &'n [String]) -> Option<Self> {
        let at = words.iter().position(|word| is_verb(word))?;
        let before = words.iter().take(at);
        let mut before = before.map(String::as_str);
        let leads = before.all(|word| NOUNS.has(word) || MODIFIERS.has(word));
        let word = words.get(at)?.as_str();
        Some(Self { at, word, leads })
    }

    /// Whether the verb reads only, in the context of the words after it.
    fn reads(&self, words: &[String]) -> bool {
        let next = words.get(self.at + 1).map_or("", String::as_str);
        match self.word {
            // `show_off`.
            _ if next == "off" => false,
            "take" => next == "screenshot",
            "check" => !matches!(next, "in" | "out"),
            "show" => !words.iter().any(|word| SHOWN.has(word)),
            "ping" => next.is_empty() || PINGED.has(next),
            word => READ.has(word),
        }
    }
}

/// The level by name: `read` only if a reading verb leads and no other verb follows.
fn level_of_name(named: &ParsedToolName) -> (AccessLevel, String) {
    let words = &named.own;
    let leader = LeadingVerb::find(words);
    let reading = leader.as_ref().filter(|it| it.leads && it.reads(words));
    let is_joined = words.iter().any(|word| JOINTS.has(word));
    let is_noun = |at: usize, word: &str| {
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_request = matches!(word, "merge" | "pull") && matches!(next, "request" | "requests");
        let behind = |it: &LeadingVerb<'_>| at > it.at;
        let is_screenshot = reading.is_some_and(|it| it.word == "take" && at <= it.at + 1);
        is_request
            || is_screenshot
            || reading.is_some_and(|it| at == it.at)
            || reading.is_some_and(behind) && EITHER.has(word) && !is_joined
            || leader.as_ref().is_some_and(behind) && matches!(word, "block" | "format")
    };
    let mut verbs = words
        .iter()
        .enumerate()
        .filter(|(at, word)| !is_noun(*at, word));
    let admin = verbs
        .find(|(_, word)| administers(word))
        .map(|(_, word)| word.as_str());
    let in_front = named.all.iter().filter(|word| !words.contains(word));
    let admin = admin.or_else(|| in_front.map(String::as_str).find(|word| administers(word)));
    if let Some(word) = admin {
        return (AccessLevel::Admin, format!("the name says `{word}`"));
    }
    let mut verbs = words
        .iter()
        .enumerate()
        .filter(|(at, word)| !is_noun(*at, word));
    let write = verbs
        .find(|(_, word)| writes(word))
        .map(|(_, word)| word.as_str());
    let write = write.or_else(|| sent_as_well(words));
    match (reading, write, &leader) {
        (Some(verb), None, _) => {
            let reason = format!("`{}` leads the name, and no other verb is in it", verb.word);
            (AccessLevel::Read, reason)
        }
        (_, Some(word), _) => level_of_writing_verb(named, word),
        (None, None, Some(verb)) if verb.leads => level_of_writing_verb(named, verb.word),
        (None, None, Some(verb)) => {
            let first = words.first().map_or("", String::as_str);
            let reason = format!(
                "the name says `{}`, but nothing says what `{first}` before it does",
                verb.word
            );
            (AccessLevel::Admin, reason)
        }
        (None, None, None) => {
            let reason = "nothing in the name says what it does".to_owned();
            (AccessLevel::Admin, reason)
        }
    }
}

/// The level of a writing verb: `admin` if the name is about permissions or global settings.
fn level_of_writing_verb(named: &ParsedToolName, verb: &str) -> (AccessLevel, String) {
    let says = format!("the name says `{verb}`");
    match given_by(named, verb) {
        Some(power) => (AccessLevel::Admin, format!("{says}, and {power}")),
        None => (AccessLevel::Write, says),
    }
}

/// A word behind one that joins two verbs which is about sending: `get_items_and_mail`.
fn sent_as_well(words: &[String]) -> Option<&str> {
    let mut pairs = words.windows(2);
    pairs.find_map(|pair| match pair {
        [joint, word] if JOINTS.has(joint) && SENDING.has(word) && !READ.has(word) => {
            Some(word.as_str())
        }
        _ => None,
    })
}

/// Whether a word is written with letters that look like those of another word, or are of several scripts.
fn is_disguised(word: &str) -> bool {
    !word.is_ascii() && (!word.is_single_script() || skeleton(word).all(|c| c.is_ascii()))
}

fn is_silent(named: &ParsedToolName, arguments: &Arguments) -> bool {
    let Some(leader) = LeadingVerb::find(&named.own) else {
        return false;
    };
    let is_noun = EITHER.has(leader.word) && !arguments.puts();
    SILENT.has(leader.word) && !is_noun && !named.own.iter().any(|word| READ.has(word))
}
