//! Links in the arguments of a call.
//!
//! Start at [`find`]. Chat and mail programs turn text that looks like a link into one, and people and models
//! follow it. So all that some reader takes for a link is found: with a scheme (`https://…`, `hxxp://…`),
//! without one (`//host`, `www.…`, `bit.ly/x`, `bit.ly`), in Markdown, with unusual slashes, dots or digits,
//! or with invisible characters inside. A false positive costs an approval, a false negative may leak data.
//!
//! The contents of files ([`find`]) are read by programs, whose names of things look like hosts: there a link is only what
//! is written as one, with a scheme, `//` or `www.`.
//!
//! Work is bounded: every text is scanned a fixed number of times, at most [`MAX_LINKS`] different links,
//! [`MAX_NAMES`] names and [`MAX_BYTES`] of text are examined, with what disguises expand to. Beyond that, one more
//! link to an unknown host is assumed.

mod context;
mod disguise;

use std::collections::BTreeSet;

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::links::context::{LinkContext, is_followed};
use crate::domain::request::links::disguise::plain;
use crate::domain::request::target::argument::{ArgumentPath, PathStep, TargetArgument};
use crate::domain::request::target::host::Host;
use crate::domain::request::target::{self, TargetKind};

/// The maximum number of different links.
pub const MAX_LINKS: usize = 64;
/// The maximum amount of text examined, in bytes. A text with a disguise counts twice: as written, and without.
pub const MAX_BYTES: usize = 8 << 20;
/// The maximum length of a host name in bytes (RFC 1035).
const MAX_HOST: usize = 253;
/// The maximum length of a URL parsed as a target, in bytes.
const MAX_URL: usize = 2_048;
/// The maximum number of candidates examined, repeated ones included.
const MAX_TRIED: usize = 512;
/// The maximum number of names whose registered domain is looked up, repeated ones included.
const MAX_NAMES: usize = 16_384;

/// Schemes after which browsers accept any number of slashes, and defanged spellings of them.
const WEB: [&str; 9] = [
    "http", "https", "hxxp", "hxxps", "ftp", "fxp", "ws", "wss", "sftp",
];

/// Schemes of links that hold a program or a whole page.
const ACTIVE: [&str; 3] = ["javascript", "vbscript", "data"];

/// The links of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    links: BTreeSet<FoundLink>,
    /// The number of candidates examined.
    tried: usize,
    /// The number of names whose registered domain was looked up.
    looked_up: usize,
    /// Whether a limit was exceeded.
    is_cut: bool,
}

/// Stands in a set of hosts for the links that are not looked at.
pub const MORE: &str = "…";

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FoundLink {
    /// The host, in ASCII and lower case where possible.
    host: SmolStr,
    /// The linked resource and those that contain it; empty if parsers may read the link differently.
    places: Vec<EntityUID>,
}

impl Links {
    /// The hosts of all links, each once.
    pub fn hosts(&self) -> BTreeSet<SmolStr> {
        let hosts = self.links.iter().map(|link| link.host.clone());
        hosts.chain(self.more()).collect()
    }

    /// The hosts of links to unknown resources.
    pub fn unknown(&self, is_known: impl Fn(&EntityUID) -> bool) -> BTreeSet<SmolStr> {
        let leads_on = |link: &&FoundLink| !link.places.iter().any(&is_known);
        let unknown = self.links.iter().filter(leads_on);
        let hosts = unknown.map(|link| link.host.clone());
        hosts.chain(self.more()).collect()
    }

    /// Stands for the links beyond the limits.
    fn more(&self) -> Option<SmolStr> {
        self.is_cut.then(|| SmolStr::new_static(MORE))
    }

    fn add(&mut self, link: FoundLink) {
        if self.links.len() < MAX_LINKS || self.links.contains(&link) {
            self.links.insert(link);
        } else {
            self.is_cut = true;
        }
    }

    /// Counts a candidate; false once the limit is reached.
    fn tries(&mut self) -> bool {
        self.tried += 1;
        self.is_cut |= self.tried > MAX_TRIED;
        !self.is_cut
    }

    /// Counts a name to be looked up; false once the limit is reached.
    fn may_look_up(&mut self) -> bool {
        self.looked_up += 1;
        self.is_cut |= self.looked_up > MAX_NAMES;
        !self.is_cut
    }
}

/// The links in all strings and member names of the arguments, at any depth. Target arguments are skipped:
/// they are decided as targets. A part of a URL may be a link of its own, such as a branch called `bit.ly/x`. `contents` are
/// the arguments that hold the contents of files.
pub fn find(
    arguments: &Map<String, Json>,
    targets: &[TargetArgument],
    contents: &[ArgumentPath],
) -> Links {
    let mut walk = LinkWalk {
        links: Links::default(),
        left: MAX_BYTES,
    };
    let targets = targets.iter().filter(|it| !it.is_part_of_url());
    let targets = targets.map(|it| (it.place.steps(), Meaning::Target));
    let contents = contents.iter().map(|it| (it.steps(), Meaning::Content));
    let registered: Vec<Registered<'_>> = targets.chain(contents).collect();
    walk.members(arguments, &registered);
    walk.links
}

/// The remaining path to an argument of which the registration says something, and what it says.
type Registered<'a> = (&'a [PathStep], Meaning);

/// What a registration says of an argument. What is both is a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    Target,
    Content,
}

/// Walks a value.
struct LinkWalk {
    links: Links,
    /// The number of bytes that may still be examined.
    left: usize,
}

impl LinkWalk {
    fn members(&mut self, members: &Map<String, Json>, registered: &[Registered<'_>]) {
        for (name, value) in members {
            self.text(name);
            let inner: Vec<Registered<'_>> = registered
                .iter()
                .filter_map(|(steps, meaning)| match steps.split_first() {
                    Some((PathStep::Member(it), rest)) if *it == *name => Some((rest, *meaning)),
                    _ => None,
                })
                .collect();
            self.value(value, &inner);
        }
    }

    fn value(&mut self, value: &Json, registered: &[Registered<'_>]) {
        match value {
            Json::String(text) => {
                let here = registered.iter().filter(|(steps, _)| steps.is_empty());
                match here.map(|(_, meaning)| *meaning).min() {
                    Some(Meaning::Target) => {}
                    Some(Meaning::Content) if !self.examines(text.len()) => {}
                    Some(Meaning::Content) => {
                        LinkFinder::new(text, true, &mut self.links).find_in_file();
                    }
                    None => self.text(text),
                }
            }
            Json::Array(items) => {
                // A list of targets or contents needs no step of its own.
                let inner: Vec<Registered<'_>> = registered
                    .iter()
                    .filter_map(|(steps, meaning)| match steps.split_first() {
                        Some((PathStep::Items, rest)) => Some((rest, *meaning)),
                        None => Some((*steps, *meaning)),
                        Some(_) => None,
                    })
                    .collect();
                items.iter().for_each(|item| self.value(item, &inner));
            }
            Json::Object(members) => self.members(members, registered),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    /// Adds the links of a text, as written and with disguises undone. A link found only undisguised is to an
    /// unknown resource.
    fn text(&mut self, text: &str) {
        // Shorter than any host name with a dot.
        if !self.examines(text.len()) || text.len() < 3 {
            return;
        }
        LinkFinder::new(text, true, &mut self.links).find();
        // One character may stand for a dozen, so what is left bounds what is made of them.
        if let Some(plain) = plain(text, self.left)
            && self.examines(plain.len())
        {
            LinkFinder::new(&plain, false, &mut self.links).find();
        }
    }

    /// Counts text to be examined; false once the limit is reached.
    fn examines(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => self.links.is_cut = true,
        }
        !self.links.is_cut
    }
}

/// Scans one text.
struct LinkFinder<'t> {
    text: &'t str,
    /// Whether the text is as written, rather than undisguised.
    is_written: bool,
    links: &'t mut Links,
}

impl<'t> LinkFinder<'t> {
    fn new(text: &'t str, is_written: bool, links: &'t mut Links) -> Self {
        Self {
            text,
            is_written,
            links,
        }
    }

    fn find(&mut self) {
        // What any of these looks for has one of these characters in it, and most texts have none.
        let is_of_link = |byte| matches!(byte, b'/' | b':' | b'.' | b'\\');
        if !self.text.bytes().any(is_of_link) {
            return;
        }
        self.with_slashes();
        self.with_colon();
        self.without_slashes();
        if self.is_written {
            self.with_backslashes();
        }
    }

    /// Finds what is written as a link: with a scheme, `//` or `www.`.
    fn find_in_file(&mut self) {
        self.with_slashes();
        self.with_colon();
        let names = self.text.split(|c| !is_of_host(c));
        let names = names.map(|run| run.trim_start_matches(['.', '-', '_']));
        let is_www = |name: &&str| {
            name.get(..4)
                .is_some_and(|it| it.eq_ignore_ascii_case("www."))
        };
        names.filter(is_www).for_each(|name| self.name(name));
    }

    /// Finds links with a scheme and no slashes, whose host may have no dot: `http:2130706433`, `mailto:who@host`,
    /// `javascript:…`.
    fn with_colon(&mut self) {
        let text = self.text;
        for (colon, _) in text.match_indices(':') {
            let rest = &text[colon + 1..];
            let Some(scheme) = scheme_before(&text[..=colon]) else {
                continue;
            };
            let run = |rest: &'t str| &rest[..rest.find(|c| !is_of_host(c)).unwrap_or(rest.len())];
            if WEB.contains(&scheme.as_str()) {
                let rest = rest.strip_prefix('/').unwrap_or(rest);
                let host = run(rest).trim_end_matches(['.', '-', '_']);
                if !host.is_empty() {
                    self.add(host, None);
                }
            } else if scheme == "mailto" {
                let host = host_of_address(rest).map(run);
                if let Some(host) = host.filter(|host| !host.is_empty()) {
                    self.add(host, None);
                }
            } else if ACTIVE.contains(&scheme.as_str()) && rest.starts_with(is_of_url) {
                // `data:` is followed by a type, `image/png`, or at once by a comma.
                let after = rest.trim_start_matches(is_of_host);
                if scheme != "data" || after.starts_with(['/', ',']) {
                    self.add(&scheme, None);
                }
            }
            if self.links.is_cut {
                return;
            }
        }
    }

    /// Finds shares of another machine: `\\host\share`. The second pass sees their slashes, but not what they were.
    fn with_backslashes(&mut self) {
        let text = self.text;
        for (at, _) in text.match_indices("\\\\") {
            let rest = &text[at + 2..];
            let host = &rest[..rest.find(|c| !is_of_host(c)).unwrap_or(rest.len())];
            let before = text[..at].chars().next_back();
            let begins = before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '\\' | ':')));
            if begins && !host.is_empty() && rest[host.len()..].starts_with('\\') {
                self.add(host, None);
            }
        }
    }

    /// Finds links with slashes before the host: `https://host`, `//host`.
    fn with_slashes(&mut self) {
        let text = self.text;
        let mut from = 0;
        while let Some(found) = text[from..].find("//") {
            let slashes = from + found;
            let length = text[slashes..].bytes().take_while(|b| *b == b'/').count();
            from = slashes + length;
            let rest = &text[from..];
            let ends = |c| !is_of_url(c) || matches!(c, '/' | '?' | '#' | ',' | ')');
            let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
            let host = authority.rsplit('@').next().unwrap_or(authority);
            let name = without_port(host).trim_end_matches(['.', '_', '*', '!', ';']);
            let scheme = scheme_before(&text[..slashes]);
            let is_named = match &scheme {
                // A file URL without a host stays on the own machine.
                Some(scheme) if scheme == "file" => {
                    length == 2 && !name.is_empty() && name != "localhost"
                }
                Some(_) => !name.is_empty(),
                None => name.trim_matches('.').contains('.') || name.starts_with('['),
            };
            if is_named {
                let has_user = authority.len() > host.len();
                let scheme = scheme.as_deref().map_or("https", meant);
                self.add(name, (!has_user).then_some((scheme, rest)));
            }
            if self.links.is_cut {
                return;
            }
        }
    }

    /// Finds links without slashes before the host: examines every run of host characters.
    fn without_slashes(&mut self) {
        let text = self.text;
        let runs = text.split(|c| !is_of_host(c));
        for run in runs.filter(|run| run.contains('.')) {
            for name in run.split("..") {
                self.name(name);
                if !name.is_ascii() {
                    // Letters of another script may be adjacent to a host.
                    let parts = name.split(|c: char| !c.is_ascii());
                    parts.for_each(|part| self.name(part));
                }
            }
            if self.links.is_cut {
                return;
            }
        }
    }

    /// Examines a part of the text that may be a host.
    fn name(&mut self, part: &str) {
        let name = part.trim_matches(['.', '-', '_']);
        if name.len() > MAX_HOST || !name.contains('.') {
            return;
        }
        let start = name.as_ptr() as usize - self.text.as_ptr() as usize;
        let before = &self.text[..start];
        let after = &self.text[start + name.len()..];
        // After two slashes it was examined before; after one it is part of a path.
        let scheme = scheme_before(before.strip_suffix('/').unwrap_or(before));
        let is_web = scheme.is_some_and(|scheme| WEB.contains(&&*scheme));
        if before.ends_with('/') && !is_web {
            return;
        }
        let around = LinkContext {
            is_web,
            is_followed: is_followed(after),
            is_mail: before.ends_with('@'),
        };
        let is_link = around.make_link(name);
        if is_link.unwrap_or_else(|| self.links.may_look_up() && is_registered(name)) {
            self.add(name, Some(("https", &self.text[start..])));
        }
    }

    /// Adds a link to a host; `at` is the scheme and the text from the host on, if that may be a target.
    fn add(&mut self, name: &str, at: Option<(&str, &str)>) {
        if !self.links.tries() {
            return;
        }
        let host = ascii(name).unwrap_or_else(|| name.chars().take(MAX_HOST).collect());
        let mut link = FoundLink {
            host: host.into(),
            places: at.and_then(places).unwrap_or_default(),
        };
        if !self.is_written && !self.links.links.contains(&link) {
            link.places.clear();
        }
        self.links.add(link);
    }
}

/// Whether a name has a part that somebody registered.
fn is_registered(name: &str) -> bool {
    ascii(name).is_some_and(|name| Host::of_name(&name).domain.is_some())
}

/// What follows the `@` of a mail address, up to which the text is looked at once: the next `mailto:` looks further.
fn host_of_address(text: &str) -> Option<&str> {
    let ends = |at: usize, c: char| {
        !is_of_url(c)
            || c == '@'
            || c == ':' && scheme_before(&text[..=at]).is_some_and(|it| it == "mailto")
    };
    let (end, _) = text.char_indices().find(|(at, c)| ends(*at, *c))?;
    text[end..].strip_prefix('@')
}

/// The resource that a URL names, and those that contain it.
fn places((scheme, rest): (&str, &str)) -> Option<Vec<EntityUID>> {
    let mut ends = rest.char_indices().take_while(|(at, _)| *at <= MAX_URL);
    let end = ends.find(|(_, c)| !is_of_url(*c)).map(|(at, _)| at);
    let rest = match end {
        Some(end) => &rest[..end],
        None if rest.len() > MAX_URL => return None,
        None => rest,
    };
    let rest = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*', '_']);
    let target = target::parse_one_as("", TargetKind::Url, &format!("{scheme}://{rest}")).ok()?;
    let own = std::iter::once(target.uid().clone());
    Some(own.chain(target.overlay.parents).collect())
}

/// Whether a character may be part of a host. Registries also sell names of signs and emoji, joined or varied by
/// invisible characters.
fn is_of_host(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '-' | '.' | '_' | '\u{200d}' | '\u{fe0f}')
        || (!c.is_ascii() && is_sign(c))
}

/// Whether a character is a sign or an emoji, rather than punctuation or a space.
fn is_sign(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{20d0}'..='\u{20ff}' | '\u{2100}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a character continues a URL.
fn is_of_url(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '\'' | '`' | '|' | '{' | '}' | '^')
}

/// The scheme at the end of a text, with its colon, in lower case.
fn scheme_before(text: &str) -> Option<String> {
    let before = text.strip_suffix(':')?;
    let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let reversed: String = before.chars().rev().take(32).take_while(is_part).collect();
    let scheme: String = reversed.chars().rev().collect();
    (!scheme.is_empty()).then(|| scheme.to_ascii_lowercase())
}

/// The scheme that a defanged scheme stands for.
fn meant(scheme: &str) -> &str {
    match scheme {
        "hxxp" => "http",
        "hxxps" => "https",
        "fxp" => "ftp",
        other => other,
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split(':').next().unwrap_or_default()
}

/// A host name in its lookup form.
fn ascii(name: &str) -> Option<String> {
    match url::Host::parse(name) {
        Ok(url::Host::Domain(domain)) => Some(domain.trim_end_matches('.').to_owned()),
        Ok(address) => Some(address.to_string()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
