//! `[[envoy.routes]]`: plain HTTP requests that are calls of registered tools.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::config::request_host;

/// Plain HTTP requests that are calls of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRouteConfig {
    /// The `Host`, with its port unless that is a default one; absent means every host.
    #[serde(default)]
    pub host: Option<String>,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path.
    pub path: PathPattern,
    /// The name under which the server is registered.
    pub server: String,
    /// The name of its tool.
    pub tool: String,
    /// Allowed keys of the query, each of which is an argument.
    #[serde(default)]
    pub query: Vec<String>,
}

/// A path pattern: literal segments, and segments `{name}`, each of which is an argument.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPattern {
    segments: Vec<PathSegment>,
}

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// A literal text.
    Exact(String),
    /// Any text, which becomes the argument of this name.
    Argument(String),
}

impl PathPattern {
    /// The segments; `/` has none.
    pub fn segments(&self) -> &[PathSegment] {
        &self.segments
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            PathSegment::Exact(_) => None,
            PathSegment::Argument(name) => Some(name.as_str()),
        })
    }
}

impl TryFrom<String> for PathPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str =
            "a path consists of segments such as `/items/{id}`, without escapes, `.` or `..`";
        let rest = text.strip_prefix('/').ok_or(FORM)?;
        let parts = rest.split('/').filter(|_| !rest.is_empty());
        let segments: Option<Vec<_>> = parts.map(segment).collect();
        let pattern = Self {
            segments: segments.ok_or(FORM)?,
        };
        let names: Vec<_> = pattern.arguments().collect();
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Err("two segments of a path have one name");
        }
        Ok(pattern)
    }
}

fn segment(text: &str) -> Option<PathSegment> {
    let argument = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = argument {
        let is_name = |it: &str| {
            let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            !it.is_empty() && it.bytes().all(is_fit)
        };
        return is_name(name).then(|| PathSegment::Argument(name.to_owned()));
    }
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"{}%?#\\;".contains(&byte);
    let is_plain = !matches!(text, "" | "." | "..") && text.bytes().all(is_fit);
    is_plain.then(|| PathSegment::Exact(text.to_owned()))
}

impl HttpRouteConfig {
    /// Checks beyond the syntax: the field, and what is wrong with it.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let method = &self.method;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let said = format!("`{method}` is not a method such as `GET`, in capitals");
            faults.push(("method", said));
        }
        for (field, name) in [("server", &self.server), ("tool", &self.tool)] {
            if name.is_empty() {
                faults.push((field, "is empty".to_owned()));
            }
        }
        let mut seen: BTreeSet<&str> = self.path.arguments().collect();
        for key in &self.query {
            if key.is_empty() || !seen.insert(key) {
                faults.push((
                    "query",
                    format!("`{key}` is empty or another argument's name"),
                ));
            }
        }
        faults
    }

    /// Whether two routes match exactly the same requests.
    pub fn is_for_same(&self, other: &Self) -> bool {
        let is_same = |pair: (&PathSegment, &PathSegment)| match pair {
            (PathSegment::Exact(one), PathSegment::Exact(another)) => one == another,
            (PathSegment::Argument(_), PathSegment::Argument(_)) => true,
            _ => false,
        };
        let (one, another) = (self.path.segments(), other.path.segments());
        self.method == other.method
            && request_host::are_same(self.host.as_deref(), other.host.as_deref())
            && one.len() == another.len()
            && one.iter().zip(another).all(is_same)
    }
}

#[cfg(test)]
#[path = "http_routes_tests.rs"]
mod tests;
