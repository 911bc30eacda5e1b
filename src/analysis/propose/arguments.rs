//! What a tool's arguments reveal: operations that an argument selects, side effects, and destinations.
//!
//! Start at [`Arguments`].

use serde_json::Value as Json;

use crate::analysis::propose::lexicon::{
    ARGUMENTS, ASKING, CALLED, CHOOSERS, DOCUMENTS, FREE_TEXT, LOOKED_UP, OF_DOCUMENTS, OPERATIONS,
    PASSED_ON, PROGRAMS, PUT, RUNS, SWITCHES, WHERE_TO, WRITTEN_OUT, WordList,
};
use crate::analysis::propose::places::{ArgumentPlace, is_output};
use crate::analysis::propose::words::split;
use crate::analysis::tool_list::ListedTool;
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};

/// Nesting depth of objects and lists that are inspected.
const MAX_DEPTH: usize = 3;
/// Arguments of one tool that are inspected.
const MAX_ARGUMENTS: usize = 512;

/// One argument, at any depth.
#[derive(Debug)]
pub(super) struct Argument {
    /// Its name as the schema has it.
    pub(super) name: String,
    /// The words of its name.
    pub(super) words: Vec<String>,
    types: JsonTypes,
    /// The values of an `enum` of texts.
    choices: Option<Vec<String>>,
    /// Whether it is an object without declared members.
    is_free_form: bool,
}

/// All arguments of a tool.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) list: Vec<Argument>,
    /// Whether the schema declares no argument but allows any.
    is_open: bool,
}

/// What an argument that selects the operation allows.
#[derive(Debug)]
pub(super) enum Router<'a> {
    /// Any operation, with the reason.
    Anything(String),
    /// One of these operations: the argument and its values.
    OneOf(&'a str, &'a [String]),
}

impl Arguments {
    /// Reads the schema of a tool.
    pub(super) fn from_tool(tool: &ListedTool) -> Self {
        let mut list = Vec::new();
        collect(&SchemaLocation::top(&tool.schema), 0, &mut list);
        let more = tool.schema.get("additionalProperties");
        let is_open = more.is_some_and(|it| *it != Json::Bool(false)) && list.is_empty();
        Self { list, is_open }
    }

    fn named(&self, names: WordList, types: JsonTypes) -> Option<&Argument> {
        let mut list = self.list.iter();
        list.find(|it| it.types.has(types) && names.has(&it.words.join("_")))
    }

    /// The first word of an argument's name that is in a list.
    pub(super) fn word(&self, words: WordList) -> Option<&str> {
        let mut list = self.list.iter();
        list.find_map(|it| words.first(&it.words))
    }

    /// Whether an argument selects the operation, the least bounded first.
    pub(super) fn router(&self) -> Option<Router<'_>> {
        let text = JsonTypes::STRING;
        let anything = |argument: &Argument, why: &str| {
            Some(Router::Anything(format!("`{}` {why}", argument.name)))
        };
        let is_program = |it: &&Argument| {
            PROGRAMS.has(&it.words.join("_"))
                && (it.types.has(text) || it.types.has(JsonTypes::ARRAY))
                && it.choices.is_none()
        };
        if let Some(argument) = self.list.iter().find(is_program) {
            return anything(argument, "can hold whatever its language says");
        }
        if self.is_open {
            let why = "the schema names no argument and allows any".to_owned();
            return Some(Router::Anything(why));
        }
        let chooser = self.named(CHOOSERS, text);
        if let Some(argument) = chooser.filter(|it| it.choices.is_none()) {
            return anything(argument, "says what the call does, and can be anything");
        }
        let called = self.called();
        if let Some(argument) = called.filter(|it| it.choices.is_none()) {
            return anything(
                argument,
                "says what is called, with arguments that can be anything",
            );
        }
        let argument = chooser.or(called)?;
        let choices = argument.choices.as_ref()?;
        Some(Router::OneOf(&argument.name, choices))
    }

    /// An argument that says which operation is called, beside one with the arguments of that operation.
    fn called(&self) -> Option<&Argument> {
        let last = |it: &Argument, words: WordList| it.words.last().is_some_and(|it| words.has(it));
        let is_text = |it: &Argument| it.types.has(JsonTypes::STRING);
        let is_operation = |it: &&Argument| {
            let bare = match it.words.split_last() {
                Some((last, before)) if matches!(last.as_str(), "name" | "id" | "slug" | "key") => {
                    before.last()
                }
                _ => it.words.last(),
            };
            is_text(it) && bare.is_some_and(|word| OPERATIONS.has(word))
        };
        let passes_on = |it: &Argument| it.is_free_form && last(it, PASSED_ON);
        let writes_out =
            |it: &Argument| is_text(it) && it.choices.is_none() && last(it, WRITTEN_OUT);
        let mut list = self.list.iter();
        if list.any(passes_on)
            && let Some(called) = self.named(CALLED, JsonTypes::STRING)
        {
            return Some(called);
        }
        let mut called = self.list.iter().filter(is_operation);
        called.find(|called| {
            let mut others = self.list.iter().filter(|it| it.name != called.name);
            others.any(|it| passes_on(it) || writes_out(it))
        })
    }

    /// An argument that holds a query, for a tool whose name says that it is given one.
    pub(super) fn document(&self) -> Option<&str> {
        let found = self.named(DOCUMENTS, JsonTypes::STRING)?;
        found.choices.is_none().then_some(found.name.as_str())
    }

    /// A text with the variables of a query beside it.
    pub(super) fn with_variables(&self) -> Option<&str> {
        self.named(OF_DOCUMENTS, JsonTypes::ANY)?;
        self.document()
    }

    /// An argument with a query in an unspecified language.
    pub(super) fn query(&self) -> Option<&str> {
        let mut list = self.list.iter();
        let query = list.find(|it| {
            it.types.has(JsonTypes::STRING) && it.words.last().is_some_and(|it| it == "query")
        });
        query.map(|it| it.name.as_str())
    }

    /// An argument that gives a reading call a side effect: a switch, or an output path.
    pub(super) fn side_effect(&self) -> Option<String> {
        self.list.iter().find_map(|it| {
            let first = it.words.first()?;
            let is_switch = it.types != JsonTypes::ANY && it.types.has(JsonTypes::BOOLEAN);
            if is_switch && SWITCHES.has(first) {
                return Some(format!("`{}` makes it change something", it.name));
            }
            let puts = is_output(&it.words);
            let is_text = it.types.has(JsonTypes::STRING) && it.choices.is_none();
            (puts && is_text).then(|| format!("`{}` says where it writes", it.name))
        })
    }

    /// A free-form object that passes arguments on.
    pub(super) fn free_form(&self) -> Option<&str> {
        let mut list = self.list.iter();
        let found = list.find(|it| {
            let is_passed_on = PASSED_ON.has(&it.words.join("_"))
                || it.words.last().is_some_and(|word| ARGUMENTS.has(word));
            it.is_free_form && is_passed_on && it.types != JsonTypes::ANY
        });
        found.map(|it| it.name.as_str())
    }

    /// Whether an argument contains a program.
    pub(super) fn runs_commands(&self) -> bool {
        self.named(RUNS, JsonTypes::STRING.or(JsonTypes::ARRAY))
            .is_some()
    }

    /// Whether an argument contains content to be stored.
    pub(super) fn puts(&self) -> bool {
        self.named(PUT, JsonTypes::ANY).is_some()
    }

    /// An argument with a destination.
    pub(super) fn destination(&self) -> Option<&str> {
        let leads_out = |it: &&Argument| {
            let is_text = it.types.has(JsonTypes::STRING.or(JsonTypes::ARRAY));
            let place =
                ArgumentPlace::from_words(&it.words).filter(|_| is_text && it.choices.is_none());
            WHERE_TO.first(&it.words).is_some() || place.is_some_and(|it| it.leads_out)
        };
        let mut list = self.list.iter();
        list.find(leads_out).map(|it| it.name.as_str())
    }

    /// An argument with the name of something that is looked up.
    pub(super) fn looked_up(&self) -> Option<&str> {
        let found = self.named(LOOKED_UP, JsonTypes::STRING.or(JsonTypes::ARRAY))?;
        found.choices.is_none().then_some(found.name.as_str())
    }

    /// Any text that is not one of a few.
    pub(super) fn any_text(&self) -> Option<&str> {
        let is_text = |it: &&Argument| it.types.has(JsonTypes::STRING) && it.choices.is_none();
        self.list.iter().find(is_text).map(|it| it.name.as_str())
    }

    /// An argument that can carry any text.
    pub(super) fn free_text(&self) -> Option<&str> {
        let found = self.named(FREE_TEXT, JsonTypes::STRING.or(JsonTypes::ARRAY))?;
        found.choices.is_none().then_some(found.name.as_str())
    }

    /// An argument with a text that somebody answers.
    pub(super) fn asks(&self) -> Option<&str> {
        let found = self.named(ASKING, JsonTypes::STRING.or(JsonTypes::ARRAY))?;
        found.choices.is_none().then_some(found.name.as_str())
    }

    /// An argument that selects among all kinds of cluster resources.
    pub(super) fn any_kind(&self) -> Option<&str> {
        let is_kind =
            |it: &&Argument| matches!(it.words.join("_").as_str(), "resource_type" | "kind");
        let is_namespace = |it: &Argument| it.words.join("_") == "namespace";
        let kind = self.list.iter().find(is_kind)?;
        self.list
            .iter()
            .any(is_namespace)
            .then_some(kind.name.as_str())
    }
}

fn collect(place: &SchemaLocation<'_>, depth: usize, list: &mut Vec<Argument>) {
    for name in place.members() {
        let Some(member) = place.member(name, depth == 0) else {
            continue;
        };
        if list.len() >= MAX_ARGUMENTS {
            return;
        }
        let types = member.types();
        let is_object = types.has(JsonTypes::OBJECT) && types != JsonTypes::ANY;
        list.push(Argument {
            name: name.to_owned(),
            words: split(name),
            types,
            choices: member.choices(),
            is_free_form: types.has(JsonTypes::OBJECT) && member.members().is_empty(),
        });
        if depth >= MAX_DEPTH {
            continue;
        }
        if is_object {
            collect(&member, depth + 1, list);
        }
        if types.has(JsonTypes::ARRAY) && types != JsonTypes::ANY {
            collect(&member.items(), depth + 1, list);
        }
    }
}
