//! The texts of arguments, and what the registration says of them.

use serde_json::{Map, Value as Json};

use crate::domain::request::links::disguise::{plain, without_references};
use crate::domain::request::links::{LinkFinder, Links, MAX_BYTES};
use crate::domain::request::target::argument::PathStep;

/// The remaining path to an argument of which the registration says something, and what it says.
pub(super) type Registered<'a> = (&'a [PathStep], Meaning);

/// What a registration says of an argument. What is both is a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    Target,
    Content,
}

/// Walks a value.
pub(super) struct LinkWalk {
    pub(super) links: Links,
    /// The number of bytes that may still be examined.
    left: usize,
}

impl Default for LinkWalk {
    fn default() -> Self {
        Self {
            links: Links::default(),
            left: MAX_BYTES,
        }
    }
}

impl LinkWalk {
    pub(super) fn members(&mut self, members: &Map<String, Json>, registered: &[Registered<'_>]) {
        for (name, value) in members {
            self.text(name);
            let inner: Vec<Registered<'_>> = registered
                .iter()
                .filter_map(|(steps, meaning)| match steps.split_first() {
                    Some((PathStep::Member(wanted), rest)) if *wanted == *name => {
                        Some((rest, *meaning))
                    }
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
                    Some(Meaning::Content) => self.content(text),
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

    /// Adds the links of the content of a file, as written and as whoever shows it as a page reads it. Other disguises are none
    /// to programs.
    fn content(&mut self, text: &str) {
        if !self.examines(text.len()) {
            return;
        }
        LinkFinder::new(text, true, &mut self.links).find_in_file();
        if let Some(plain) = without_references(text)
            && self.examines(plain.len())
        {
            LinkFinder::new(&plain, false, &mut self.links).find_in_file();
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
