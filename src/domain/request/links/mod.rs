//! Links in the arguments of a call.
//!
//! Start at [`find`]. Chat and mail programs turn text that looks like a link into one, and people and models
//! follow it. So all that some reader takes for a link is found: with a scheme (`https://…`, `hxxp://…`),
//! without one (`//host`, `www.…`, `bit.ly/x`, `bit.ly`), in Markdown, with unusual slashes, dots or digits,
//! or with invisible characters inside. A false positive costs an approval, a false negative may leak data.
//!
//! The contents of files (`contents` of [`find`]) are read by programs, whose names of things look like hosts: there a link is only what
//! is written as one, with a scheme, `//` or `www.`, be it in the character references of a page (`&sol;`).
//!
//! Work is bounded: every text is scanned a fixed number of times, at most [`MAX_LINKS`] different links,
//! [`MAX_NAMES`] names and [`MAX_BYTES`] of text are examined, with what disguises expand to. Beyond that, one more
//! link to an unknown host is assumed.

mod characters;
mod context;
mod disguise;
mod hosts;
mod places;
mod walk;

use std::collections::BTreeSet;
use std::ops::Range;

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::links::characters::{is_of_host, is_of_url, length_for_any};
use crate::domain::request::links::context::{Before, LinkContext, path_after};
use crate::domain::request::links::hosts::{ascii, authority, is_registered, meant, without_port};
use crate::domain::request::links::places::{WrittenLink, places};
use crate::domain::request::links::walk::{LinkWalk, Meaning, Registered};
use crate::domain::request::target::argument::{ArgumentPath, TargetArgument};

/// The maximum number of different links.
pub const MAX_LINKS: usize = 64;
/// The maximum amount of text examined, in bytes. A text with a disguise counts twice: as written, and without.
pub const MAX_BYTES: usize = 8 << 20;
/// The maximum length of a host name in bytes (RFC 1035).
const MAX_HOST: usize = 253;
/// The maximum number of candidates examined, repeated ones included: in texts as written, and again in those with a disguise,
/// where those as written come a second time.
const MAX_TRIED: usize = 512;
/// The maximum number of names whose registered domain is looked up, repeated ones included.
const MAX_NAMES: usize = 16_384;

/// Schemes after which browsers accept any number of slashes, and defanged spellings of them.
const WEB: [&str; 9] = [
    "http", "https", "hxxp", "hxxps", "ftp", "fxp", "ws", "wss", "sftp",
];

/// Schemes of links that hold a program or a whole page.
const ACTIVE: [&str; 3] = ["javascript", "vbscript", "data"];

/// What browsers take for a slash.
const SLASHES: [char; 2] = ['/', '\\'];

/// What browsers leave out of an address.
const LEFT_OUT: [char; 3] = ['\t', '\r', '\n'];

/// The links of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    links: BTreeSet<FoundLink>,
    /// The number of candidates examined in texts as written.
    tried: usize,
    /// The number of candidates examined in texts without their disguises.
    tried_undisguised: usize,
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
    fn tries(&mut self, is_written: bool) -> bool {
        let tried = match is_written {
            true => &mut self.tried,
            false => &mut self.tried_undisguised,
        };
        *tried += 1;
        self.is_cut |= *tried > MAX_TRIED;
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
    let targets = targets.iter().filter(|it| !it.is_part_of_url());
    let targets = targets.map(|it| (it.place.steps(), Meaning::Target));
    let contents = contents.iter().map(|it| (it.steps(), Meaning::Content));
    let registered: Vec<Registered<'_>> = targets.chain(contents).collect();
    let mut walk = LinkWalk::default();
    walk.members(arguments, &registered);
    walk.links
}

/// Scans one text.
struct LinkFinder<'t> {
    text: &'t str,
    /// Whether the text is as written, rather than undisguised.
    is_written: bool,
    links: &'t mut Links,
    /// Where links with slashes are, in order, from the host on: a name in the path of one is a part of it. One without a
    /// path ends after a byte.
    with_slashes: Vec<Range<usize>>,
    /// Where the last link without slashes that has a path ends.
    end: usize,
}

impl<'t> LinkFinder<'t> {
    fn new(text: &'t str, is_written: bool, links: &'t mut Links) -> Self {
        Self {
            text,
            is_written,
            links,
            with_slashes: Vec::new(),
            end: 0,
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
        self.with_slashes_of_browsers();
        let names = names_in(self.text).map(|name| name.trim_start_matches(['.', '-', '_']));
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
                // What has two slashes is found by them.
                let rest = match rest.starts_with("//") {
                    true => &rest[1..],
                    false if rest.trim_start_matches(LEFT_OUT).starts_with(SLASHES) => {
                        rest.trim_start_matches(may_be_slashes)
                    }
                    false => rest,
                };
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

    /// Finds hosts behind what browsers take for `//`, where an address begins: slashes and backslashes, with tabs and line
    /// breaks between them. `[a](/\host)`, `href="\\host"`.
    fn with_slashes_of_browsers(&mut self) {
        let text = self.text;
        let mut from = 0;
        while let Some((slashes, rest)) = behind_slashes(&text[from..]) {
            let before = &text[..self.place_of(slashes)];
            from = self.place_of(rest);
            let is_plain = slashes.bytes().all(|b| b == b'/');
            let few = slashes.matches(SLASHES).nth(1).is_none();
            if is_plain || few || !begins_address(before, slashes) {
                continue;
            }
            let host = &rest[..rest.find(|c| !is_of_host(c)).unwrap_or(rest.len())];
            let host = host.trim_end_matches(['.', '-', '_']);
            if host.contains('.') && self.links.may_look_up() && is_registered(host) {
                self.add(host, None);
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
            let authority = authority(rest);
            let scheme = scheme_before(&text[..slashes]);
            let length_of_scheme = scheme.as_ref().map_or(0, |scheme| scheme.len() + 1);
            let link = WrittenLink {
                before: text[..slashes - length_of_scheme].chars().next_back(),
                scheme: scheme.as_deref().map_or("https", meant),
                rest,
            };
            if self.authority(authority, scheme.as_deref(), length, link) {
                let end = self.end_of_url(without_port(authority));
                self.with_slashes.push(from..end.unwrap_or(from + 1));
            }
            if self.links.is_cut {
                return;
            }
        }
    }

    /// Adds what readers may take for the host of an authority that stands after this many slashes; whether there is any.
    /// What stands before an `@` is a host for those that find none after it, or know no users.
    fn authority(
        &mut self,
        authority: &str,
        scheme: Option<&str>,
        slashes: usize,
        link: WrittenLink<'_>,
    ) -> bool {
        let mut has_host = false;
        for host in authority.rsplit('@') {
            let name = without_port(host).trim_end_matches(['.', '_', '*', '!', ';']);
            let is_named = match scheme {
                // A file URL without a host stays on the own machine.
                Some("file") => slashes == 2 && !name.is_empty() && name != "localhost",
                Some(_) if !has_host => !name.is_empty(),
                _ => name.trim_matches('.').contains('.') || name.starts_with('['),
            };
            if is_named && !self.links.is_cut {
                let has_user = authority.len() > host.len();
                self.add(name, (!has_user).then_some(link));
                has_host = true;
            }
        }
        has_host
    }

    /// Where the path or query behind a host ends for the reader that stops first, if all readers go on there.
    fn end_of_url(&self, host: &str) -> Option<usize> {
        let path = path_after(&self.text[self.place_of(host) + host.len()..])?;
        is_registered(host).then(|| self.place_of(path) + length_for_any(path))
    }

    /// Where a part of the text begins in it.
    fn place_of(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.text.as_ptr() as usize
    }

    /// Finds links without slashes before the host: examines all that may be a host.
    fn without_slashes(&mut self) {
        for name in names_in(self.text) {
            self.name(name);
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
        let start = self.place_of(name);
        let before = &self.text[..start];
        let after = &self.text[start + name.len()..];
        let before = self.before(before);
        if before == Before::Slash && self.is_in_url(start) {
            return;
        }
        let is_link = LinkContext { before, after }.make_link(name);
        if is_link.unwrap_or_else(|| self.links.may_look_up() && is_registered(name)) {
            let link = WrittenLink {
                before: self.text[..start].chars().next_back(),
                scheme: "https",
                rest: &self.text[start..],
            };
            let begins_alone = link
                .before
                .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | '<' | '"' | '\''));
            // Of a name with a sign in it some readers leave the sign out.
            let stands_alone = begins_alone && name.is_ascii();
            self.add(name, Some(link));
            if stands_alone && let Some(end) = self.end_of_url(name) {
                self.end = end;
            }
        }
    }

    /// What stands before a name.
    fn before(&self, text: &str) -> Before {
        let scheme = scheme_before(text.strip_suffix('/').unwrap_or(text));
        if scheme.is_some_and(|scheme| WEB.contains(&&*scheme)) {
            Before::Scheme
        } else if text.ends_with('/') {
            Before::Slash
        } else if let Some(local) = text.strip_suffix('@') {
            match local.ends_with(char::is_alphanumeric) {
                true => Before::Local,
                false => Before::At,
            }
        } else {
            Before::Other
        }
    }

    /// Whether what is here is part of a link that was found.
    fn is_in_url(&self, at: usize) -> bool {
        let begun = self.with_slashes.partition_point(|url| url.start <= at);
        let last = begun
            .checked_sub(1)
            .and_then(|last| self.with_slashes.get(last));
        at < self.end || last.is_some_and(|url| at < url.end)
    }

    /// Adds a link to a host, with where it stands if it may be a target.
    fn add(&mut self, name: &str, written: Option<WrittenLink<'_>>) {
        if !self.links.tries(self.is_written) {
            return;
        }
        let host = ascii(name).unwrap_or_else(|| name.chars().take(MAX_HOST).collect());
        let mut link = FoundLink {
            host: host.into(),
            places: written.as_ref().and_then(places).unwrap_or_default(),
        };
        if !self.is_written && !self.links.links.contains(&link) {
            link.places.clear();
        }
        self.links.add(link);
    }
}

/// The parts of a text that may be hosts, between two dots as well: runs of characters of hosts, and what of one is ASCII, as letters
/// of another script may be adjacent to a host.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|c| !is_of_host(c));
    let names = (runs.filter(|run| run.contains('.'))).flat_map(|run| run.split(".."));
    names.flat_map(|name| {
        let parts = (!name.is_ascii()).then(|| name.split(|c: char| !c.is_ascii()));
        std::iter::once(name).chain(parts.into_iter().flatten())
    })
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

/// The next slashes of browsers, with what they leave out between and behind them, and the text after that.
fn behind_slashes(text: &str) -> Option<(&str, &str)> {
    let run = &text[text.find(SLASHES)?..];
    let rest = run.trim_start_matches(may_be_slashes);
    Some((&run[..run.len() - rest.len()], rest))
}

fn may_be_slashes(c: char) -> bool {
    SLASHES.contains(&c) || LEFT_OUT.contains(&c)
}

/// Whether an address begins behind this text, with these slashes.
fn begins_address(before: &str, slashes: &str) -> bool {
    const QUOTES: [char; 2] = ['"', '\''];
    // Browsers leave out blanks in front.
    let trimmed = before.trim_end();
    let Some(before_quote) = trimmed.strip_suffix(QUOTES) else {
        return before.ends_with(['(', '=', '<']);
    };
    // In the texts of programs these are one sign. In the attributes of a page they are two.
    let is_escape = matches!(slashes, "\\/" | "\\\\");
    !is_escape || before_quote.trim_end().ends_with('=')
}

/// The scheme at the end of a text, with its colon, in lower case.
fn scheme_before(text: &str) -> Option<String> {
    let before = text.strip_suffix(':')?;
    let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let reversed: String = before.chars().rev().take(32).take_while(is_part).collect();
    let scheme: String = reversed.chars().rev().collect();
    (!scheme.is_empty()).then(|| scheme.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
