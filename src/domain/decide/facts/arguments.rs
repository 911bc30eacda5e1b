//! `context.arguments`: the names of the arguments and the links in their values.

use std::cell::OnceCell;

use callgate_engine::cedar::{Context, Value};
use callgate_engine::{AttributeRef, ContextSource, collect_context};

use crate::domain::authority::terms::FlowDirection;
use crate::domain::decide::facts::inputs::ContextInputs;
use crate::domain::decide::facts::values::strings;
use crate::domain::decide::tool_input::ToolInput;
use crate::domain::request::links::{self, Links};
use crate::domain::request::words;
use crate::domain::schema;

/// `context.arguments`.
pub(super) struct ArgumentFacts<'c> {
    pub(super) input: &'c ToolInput,
    inputs: ContextInputs<'c>,
    names: [OnceCell<Value>; 3],
    links: OnceCell<Links>,
    link_hosts: OnceCell<Value>,
    unknown_links: OnceCell<Value>,
    words: OnceCell<Value>,
}

impl<'c> ArgumentFacts<'c> {
    const OF_NAMES: [&'static str; 3] = ["names", "untyped", "undeclared"];

    pub(super) fn new(input: &'c ToolInput, inputs: ContextInputs<'c>) -> Self {
        Self {
            input,
            inputs,
            names: Default::default(),
            links: OnceCell::new(),
            link_hosts: OnceCell::new(),
            unknown_links: OnceCell::new(),
            words: OnceCell::new(),
        }
    }

    fn links(&self) -> &Links {
        let tool = self.input.tool.as_ref();
        let targets = tool.and_then(|tool| tool.target_arguments.as_deref().ok());
        let targets = targets.unwrap_or_default();
        let contents = tool.map_or_else(Default::default, |tool| tool.file_contents.as_slice());
        let find = |said| links::find(said, targets, contents);
        let find = || self.inputs.arguments.map(find).unwrap_or_default();
        self.links.get_or_init(find)
    }

    /// The hosts of links to resources that are neither in `known-destinations` nor named by the task as
    /// destinations.
    fn unknown_links(&self) -> Value {
        let known = schema::known_destinations();
        let (snapshot, task) = (self.inputs.snapshot, self.inputs.task);
        let unknown = self.links().unknown(|place| {
            snapshot.is_in(place, known)
                || task
                    .is_some_and(|task| task.terms.knows(snapshot, FlowDirection::Send, place, &[]))
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
            "words" => {
                let make = || strings(self.inputs.arguments.map(words::find).unwrap_or_default());
                return Some(AttributeRef::Value(self.words.get_or_init(make)));
            }
            _ => {}
        }
        let ToolInput {
            names,
            untyped,
            undeclared,
            ..
        } = self.input;
        let index = Self::OF_NAMES.iter().position(|known| *known == name)?;
        let texts = match index {
            0 => names,
            1 => untyped.as_deref().unwrap_or(names),
            _ => undeclared.as_deref().unwrap_or(names),
        };
        let value = self.names[index].get_or_init(|| strings(texts.iter().cloned()));
        Some(AttributeRef::Value(value))
    }

    fn to_context(&self) -> Context {
        let names = Self::OF_NAMES.into_iter();
        let all: Vec<_> = names
            .chain(["link_hosts", "unknown_links", "words"])
            .collect();
        collect_context(self, &all)
    }
}
