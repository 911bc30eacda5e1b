//! Locates settings in the text of a TOML file by their path, and back.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::ConfigError;

/// A text with its parsed tree and the span of every value.
pub(super) struct TomlDocument<'a> {
    text: &'a str,
    file: Arc<str>,
    tree: Option<Spanned<DeTable<'a>>>,
}

impl<'a> TomlDocument<'a> {
    pub(super) fn new(text: &'a str, file: &str) -> Self {
        Self {
            text,
            file: Arc::from(file),
            tree: DeTable::parse(text).ok(),
        }
    }

    /// The error of a text that does not deserialize.
    pub(super) fn syntax_fault(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let field = self.path_at(span.start).unwrap_or_default();
        let said = error.message().trim_end();
        let message = if field.is_empty() {
            said.to_owned()
        } else {
            format!("`{field}`: {said}")
        };
        self.error_at(span, field, message)
    }

    /// An error located at the value at `path`, or at its nearest existing ancestor.
    pub(super) fn fault(&self, path: &str, said: impl AsRef<str>) -> ConfigError {
        let span = self.locate(path).unwrap_or(0..0);
        self.error_at(span, path.to_owned(), format!("`{path}` {}", said.as_ref()))
    }

    fn error_at(&self, span: Range<usize>, field: String, message: String) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ConfigError {
            file: Arc::clone(&self.file),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span,
            field,
            message,
        }
    }

    /// The span of the value at a path such as `callers[1].rights.rpcs`.
    fn locate(&self, path: &str) -> Option<Range<usize>> {
        let mut found = None;
        let mut table = self.tree.as_ref().map(Spanned::get_ref);
        for step in path.split('.') {
            let (name, index) = split_index(step);
            let Some((key, value)) = table.and_then(|table| table.get_key_value(name)) else {
                break;
            };
            found = Some(match value.get_ref() {
                // The span of a table is its header or empty; use the key instead.
                DeValue::Table(_) => key.span(),
                _ => value.span(),
            });
            let mut inner = value.get_ref();
            if let Some(item) =
                index.and_then(|index| inner.as_array().and_then(|items| items.get(index)))
            {
                found = Some(item.span());
                inner = item.get_ref();
            }
            table = inner.as_table();
        }
        found
    }

    /// The path of the innermost value or key around a byte.
    fn path_at(&self, at: usize) -> Option<String> {
        let mut path = String::new();
        in_table(self.tree.as_ref()?.get_ref(), at, &mut path);
        (!path.is_empty()).then_some(path)
    }
}

fn split_index(step: &str) -> (&str, Option<usize>) {
    match step.split_once('[') {
        Some((name, rest)) => (name, rest.trim_end_matches(']').parse().ok()),
        None => (step, None),
    }
}

fn in_table(table: &DeTable<'_>, at: usize, path: &mut String) -> bool {
    for (key, value) in table {
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.get_ref());
        let is_here = key.span().contains(&at) || value.span().contains(&at);
        if in_value(value.get_ref(), at, path) || is_here {
            return true;
        }
        path.truncate(length);
    }
    false
}

fn in_value(value: &DeValue<'_>, at: usize, path: &mut String) -> bool {
    match value {
        DeValue::Table(table) => in_table(table, at, path),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                if in_value(item.get_ref(), at, path) || item.span().contains(&at) {
                    return true;
                }
                path.truncate(length);
            }
            false
        }
        _ => false,
    }
}

/// Deserializes one string or a list of strings, each parsed into a `T`.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    struct OneOrMany<T>(std::marker::PhantomData<T>);

    impl<'de, T> serde::de::Visitor<'de> for OneOrMany<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![parse(text)?])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = items.next_element::<String>()? {
                all.push(parse(&text)?);
            }
            Ok(all)
        }
    }

    fn parse<T: std::str::FromStr, E: serde::de::Error>(text: &str) -> Result<T, E>
    where
        T::Err: std::fmt::Display,
    {
        text.parse()
            .map_err(|error| E::custom(format!("`{text}`: {error}")))
    }

    deserializer.deserialize_any(OneOrMany(std::marker::PhantomData))
}
