//! What a tool's arguments reveal: operations that an argument selects, side effects, and destinations.
//!
//! Start at [`Arguments`].

use crate::analysis::propose::formats;
use crate::analysis::propose::lexicon::{
    ARGUMENTS, ASKING, CALLED, CHOOSERS, DOCUMENTS, EITHER, FORMS_OF_TEXT, FREE_TEXT, HTTP_METHODS,
    LANGUAGES, LOOKED_UP, NOUNS, OF_DOCUMENTS, OPERATIONS, PASSED_ON, PROGRAMS, PUT, RUNS,
    SWITCHES, VAGUE_CHOOSERS, WHERE_TO, WRITTEN_OUT, WordList,
};
use crate::analysis::propose::places::{ArgumentPlace, is_output};
use crate::analysis::propose::schema_walk::SchemaWalk;
use crate::analysis::propose::verbs::{changes, is_verb};
use crate::analysis::propose::words::split;
use crate::domain::request::target::json_schema::JsonTypes;

/// One argument, at any depth. An item of a list is one of its own, with the name of the list.
#[derive(Debug)]
pub(super) struct Argument {
    /// Its name as the schema has it.
    pub(super) name: String,
    /// The words of its name.
    pub(super) words: Vec<String>,
    /// The words of the name of the argument around it.
    outer: Vec<String>,
    types: JsonTypes,
    /// The values of an `enum` of texts.
    choices: Option<Vec<String>>,
    formats: Vec<String>,
    /// Whether it may be an object without declared members.
    is_free_form: bool,
}

impl Argument {
    /// Whether it is a text, or a list, that is not one of a few.
    fn is_open(&self) -> bool {
        self.choices.is_none() && self.types.has(JsonTypes::STRING.or(JsonTypes::ARRAY))
    }

    /// Whether it is a text that is not one of a few.
    fn is_open_text(&self) -> bool {
        self.choices.is_none() && self.types.has(JsonTypes::STRING)
    }

    fn is_one_of(&self, names: WordList) -> bool {
        names.has(&self.words.join("_"))
    }

    /// The words of its name without those that only tell its form: `sql_text`.
    fn bare_words(&self) -> &[String] {
        match self.words.split_last() {
            Some((last, before)) if !before.is_empty() && FORMS_OF_TEXT.has(last) => before,
            _ => &self.words,
        }
    }

    /// Whether it holds a program or a statement, or is a text within one: `command.line`.
    fn is_program(&self) -> bool {
        let outer = self.outer.join("_");
        let is_within = !matches!(outer.as_str(), "args" | "argv" | "graph")
            && (RUNS.has(&outer) || LANGUAGES.has(&outer));
        let last = self.words.last().map_or("", String::as_str);
        let is_clause = self.words.len() > 1 && matches!(last, "clause" | "clauses");
        let bare = self.bare_words().join("_");
        let is_named = is_clause || self.is_one_of(PROGRAMS) || PROGRAMS.has(&bare);
        is_named && self.is_open() || is_within && self.is_open_text()
    }

    /// Whether what it lists are operations, though its name does not say so: `type: [GET, DELETE]`.
    fn lists_operations(&self) -> bool {
        let Some(choices) = &self.choices else {
            return false;
        };
        let choices: Vec<String> = choices.iter().map(|it| it.to_lowercase()).collect();
        let are_methods = choices.iter().all(|it| HTTP_METHODS.has(it));
        let is_sure = |word: &String| is_verb(word) && !EITHER.has(word) && !NOUNS.has(word);
        let are_verbs = self.is_one_of(VAGUE_CHOOSERS)
            && choices.iter().all(is_sure)
            && choices.iter().any(|it| changes(it));
        are_methods || are_verbs
    }
}

/// All arguments of a tool.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) list: Vec<Argument>,
    /// Whether the schema declares no argument but allows any.
    is_open: bool,
    /// What is not known of the arguments, and why.
    unknown: Option<String>,
}

/// What an argument that selects the operation allows.
#[derive(Debug)]
pub(super) enum Router<'a> {
    /// Any operation, with the reason.
    Anything(String),
    /// One of these operations: the arguments that select one, each with its values.
    OneOf(Vec<(&'a str, &'a [String])>),
}

impl Arguments {
    /// Reads what the schema of a tool describes, except for what is `unknown` of it.
    pub(super) fn new(walk: &SchemaWalk, unknown: Option<String>) -> Self {
        let list = walk.values.iter().map(|value| Argument {
            name: value.name.clone(),
            words: split(&value.name),
            outer: value.around.last().map_or_else(Vec::new, |it| split(it)),
            types: value.types,
            choices: value.choices.clone(),
            formats: value.formats.clone(),
            is_free_form: value.is_free_form,
        });
        Self {
            list: list.collect(),
            is_open: walk.is_open,
            unknown,
        }
    }

    fn named(&self, names: WordList) -> impl Iterator<Item = &Argument> {
        let mut list = self.list.iter();
        std::iter::from_fn(move || list.find(|it| it.is_one_of(names)))
    }

    /// The first argument with such a name that is a text, or a list, and not one of a few.
    fn open(&self, names: WordList) -> Option<&str> {
        let found = self.named(names).find(|it| it.is_open());
        found.map(|it| it.name.as_str())
    }

    /// The first word of an argument's name that is in a list.
    pub(super) fn word(&self, words: WordList) -> Option<&str> {
        let mut list = self.list.iter();
        list.find_map(|it| words.first(&it.words))
    }

    /// Whether arguments select the operation, the least bounded first.
    pub(super) fn router(&self) -> Option<Router<'_>> {
        let anything = |argument: &Argument, why: &str| {
            Some(Router::Anything(format!("`{}` {why}", argument.name)))
        };
        if let Some(argument) = self.list.iter().find(|it| it.is_program()) {
            return anything(argument, "can hold whatever its language says");
        }
        if self.is_open {
            let why = "the schema names no argument and allows any".to_owned();
            return Some(Router::Anything(why));
        }
        if let Some(why) = &self.unknown {
            return Some(Router::Anything(why.clone()));
        }
        let is_text = |it: &&Argument| it.types.has(JsonTypes::STRING);
        let choosers: Vec<&Argument> = self.named(CHOOSERS).filter(is_text).collect();
        if let Some(argument) = choosers.iter().find(|it| it.choices.is_none()) {
            return anything(argument, "says what the call does, and can be anything");
        }
        let called = self.called();
        if let Some(argument) = called.iter().find(|it| it.choices.is_none()) {
            return anything(
                argument,
                "says what is called, with arguments that can be anything",
            );
        }
        let others = self.list.iter().filter(|it| it.lists_operations());
        let all = choosers.into_iter().chain(called).chain(others);
        let all = all.filter_map(|it| Some((it.name.as_str(), it.choices.as_deref()?)));
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then_some(Router::OneOf(all))
    }

    /// Arguments that say which operation is called, beside one with the arguments of that operation.
    fn called(&self) -> Vec<&Argument> {
        let last = |it: &Argument, words: WordList| it.words.last().is_some_and(|it| words.has(it));
        let is_text = |it: &&Argument| it.types.has(JsonTypes::STRING);
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
        let writes_out = |it: &Argument| it.is_open_text() && last(it, WRITTEN_OUT);
        let mut called: Vec<&Argument> = Vec::new();
        if self.list.iter().any(passes_on) {
            called.extend(self.named(CALLED).filter(is_text));
        }
        let operations = self.list.iter().filter(is_operation);
        called.extend(operations.filter(|called| {
            let mut others = self.list.iter().filter(|it| it.name != called.name);
            others.any(|it| passes_on(it) || writes_out(it))
        }));
        called
    }

    /// An argument that holds a query, for a tool whose name says that it is given one.
    pub(super) fn document(&self) -> Option<&str> {
        let found = self.named(DOCUMENTS).find(|it| it.is_open_text());
        found.map(|it| it.name.as_str())
    }

    /// A text with the variables of a query beside it.
    pub(super) fn with_variables(&self) -> Option<&str> {
        self.named(OF_DOCUMENTS).next()?;
        self.document()
    }

    /// An argument with a query in an unspecified language.
    pub(super) fn query(&self) -> Option<&str> {
        let mut list = self.list.iter();
        let is_query = |it: &&Argument| it.bare_words().last().is_some_and(|it| it == "query");
        let query = list.find(|it| it.types.has(JsonTypes::STRING) && is_query(it));
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
            (puts && it.is_open_text()).then(|| format!("`{}` says where it writes", it.name))
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
        let mut named = self.named(RUNS);
        named.any(|it| it.types.has(JsonTypes::STRING.or(JsonTypes::ARRAY)))
    }

    /// Whether an argument contains content to be stored.
    pub(super) fn puts(&self) -> bool {
        self.named(PUT).next().is_some()
    }

    /// An argument with a destination.
    pub(super) fn destination(&self) -> Option<&str> {
        let leads_out = |it: &&Argument| {
            let by_name = ArgumentPlace::from_words(&it.words);
            let mut places = [by_name, formats::place(&it.formats)].into_iter().flatten();
            let is_place = it.is_open() && places.any(|it| it.leads_out);
            WHERE_TO.first(&it.words).is_some() || is_place
        };
        let mut list = self.list.iter();
        list.find(leads_out).map(|it| it.name.as_str())
    }

    /// An argument with the name of something that is looked up.
    pub(super) fn looked_up(&self) -> Option<&str> {
        self.open(LOOKED_UP)
    }

    /// Any text that is not one of a few.
    pub(super) fn any_text(&self) -> Option<&str> {
        let mut list = self.list.iter();
        let found = list.find(|it| it.is_open_text());
        found.map(|it| it.name.as_str())
    }

    /// An argument that can carry any text.
    pub(super) fn free_text(&self) -> Option<&str> {
        self.open(FREE_TEXT)
    }

    /// An argument with a text that somebody answers.
    pub(super) fn asks(&self) -> Option<&str> {
        self.open(ASKING)
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
