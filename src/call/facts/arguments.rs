//! Facts of the arguments of a call: their names, and the links in what they say.

use std::cell::OnceCell;

use callgate_engine::cedar::{Context, Value};

use crate::call::facts::{Ground, strings};
use crate::call::input::Input;
use crate::call::links::{self, Links};
use crate::call::live::terms::Way;
use crate::call::model;
use callgate_engine::{AttributeRef, ContextSource, collect_context};

/// What a tool or prompt is called with.
pub(super) struct ArgumentFacts<'c> {
    pub(super) input: &'c Input,
    ground: Ground<'c>,
    names: [OnceCell<Value>; 3],
    links: OnceCell<Links>,
    link_hosts: OnceCell<Value>,
    unknown_links: OnceCell<Value>,
}

impl<'c> ArgumentFacts<'c> {
    const OF_NAMES: [&'static str; 3] = ["names", "untyped", "undeclared"];

    pub(super) fn new(input: &'c Input, ground: Ground<'c>) -> Self {
        Self {
            input,
            ground,
            names: Default::default(),
            links: OnceCell::new(),
            link_hosts: OnceCell::new(),
            unknown_links: OnceCell::new(),
        }
    }

    fn links(&self) -> &Links {
        let targets = self.input.tool.as_ref();
        let targets = targets.and_then(|tool| tool.target_arguments.as_deref().ok());
        let find = |said| links::find(said, targets.unwrap_or_default());
        let find = || self.ground.said.map(find).unwrap_or_default();
        self.links.get_or_init(find)
    }

    /// The hosts of links that lead neither to a place that is known to send to nor to one that the task names so.
    fn unknown_links(&self) -> Value {
        let known = model::known_destinations();
        let (snapshot, task) = (self.ground.snapshot, self.ground.task);
        let unknown = self.links().unknown(|place| {
            snapshot.is_in(place, known)
                || task.is_some_and(|task| task.terms.knows(snapshot, Way::Send, place, &[]))
        });
        strings(unknown)
    }
}

impl ContextSource for ArgumentFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        match name {
            "link_hosts" => {
                let make = || strings(self.links().hosts());
                return Some(AttributeRef::Value(self.link_hosts.get_or_init(make)));
            }
            "unknown_links" => {
                let make = || self.unknown_links();
                return Some(AttributeRef::Value(self.unknown_links.get_or_init(make)));
            }
            _ => {}
        }
        let Input {
            names,
            untyped,
            undeclared,
            ..
        } = self.input;
        let index = Self::OF_NAMES.iter().position(|known| *known == name)?;
        let texts = [names, untyped, undeclared][index];
        let value = self.names[index].get_or_init(|| strings(texts.iter().cloned()));
        Some(AttributeRef::Value(value))
    }

    fn to_context(&self) -> Context {
        let names = Self::OF_NAMES.into_iter();
        let all: Vec<_> = names.chain(["link_hosts", "unknown_links"]).collect();
        collect_context(self, &all)
    }
}
