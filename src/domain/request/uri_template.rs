//! URI templates (RFC 6570), as far as it matters which resources one stands for.
//!
//! Start at [`fixed_folder`], and at [`with_values`] for a template of which variables are completed.

use std::borrow::Cow;

use crate::domain::request::target::text;

/// The fixed part of a template up to its last slash: what its variables stand for lies there, unless the first of them is the
/// host. The slash may be one that an expression begins with, as in `files://docs{/path*}`, and a query begins where the fixed part
/// ends. The whole template if it has no such part, or is a plain URI.
pub fn fixed_folder(template: &str) -> Cow<'_, str> {
    let Some(Expression {
        before, operator, ..
    }) = expressions(template).next()
    else {
        return template.into();
    };
    match (operator, before.rfind('/')) {
        (Some('/'), _) => format!("{before}/").into(),
        (Some('?' | '&' | '#'), _) if !before.is_empty() => before.into(),
        (_, Some(slash)) => before[..=slash].into(),
        (_, None) => template.into(),
    }
}

/// The template whose variables are completed, with what has been written of them so far, by their names. A value that may lead
/// out of the folder of the template is part of what is asked for: where there is one variable it stands in its place, and is read
/// as strictly as any URI. Of several variables a value may have slashes as long as it leads further down. Values of a query lead
/// nowhere. `None` for a value that leads elsewhere, or that reads as a variable itself.
pub fn with_values(
    template: &str,
    values: impl IntoIterator<Item = (String, String)>,
) -> Option<Cow<'_, str>> {
    let (of_query, of_path): (Vec<_>, Vec<_>) =
        expressions(template).partition(Expression::is_of_query);
    let names = |all: &[Expression<'_>], name: &str| all.iter().any(|it| it.names(name));
    let leads_nowhere = |name: &str| names(&of_query, name) && !names(&of_path, name);
    let joins_dots = [".{", "{.", "}.", "}{"]
        .iter()
        .any(|it| template.contains(it));
    let leads_elsewhere = |value: &str| {
        let separates = |sign: char| matches!(sign, '/' | '\\' | '%' | ':' | '?' | '#');
        value == ".." || value == "." && joins_dots || value.contains(separates)
    };
    let values = values.into_iter().filter(|(name, _)| !leads_nowhere(name));
    let values = values.map(|(_, value)| value);
    let values: Vec<String> = values.filter(|it| leads_elsewhere(it)).collect();
    match (of_path.as_slice(), values.as_slice()) {
        ([], _) | (_, []) => Some(template.into()),
        ([only], [value]) if only.is_one_variable() => only.with(value).map(Cow::Owned),
        ([only], _) if only.is_one_variable() => None,
        _ => (values.iter().all(|it| leads_down(it))).then_some(template.into()),
    }
}

/// Whether a value leads to nothing but what is below the place where it stands, whatever stands beside it.
fn leads_down(value: &str) -> bool {
    let is_dots = |segment: &str| !segment.is_empty() && segment.bytes().all(|it| it == b'.');
    let is_plain = !value.starts_with('/') && !value.contains(['%', ':', '?', '#']);
    is_plain
        && !value.split('/').any(is_dots)
        && text::check(value).is_ok()
        && text::segments(value).is_ok()
}

/// What stands in braces in a template.
struct Expression<'t> {
    /// The template before it.
    before: &'t str,
    /// What its value begins with, but for `+`, which says that it may have any signs.
    operator: Option<char>,
    /// Its variables, with what is to become of each.
    variables: &'t str,
}

impl Expression<'_> {
    fn is_of_query(&self) -> bool {
        matches!(self.operator, Some('?' | '&' | '#'))
    }

    fn is_one_variable(&self) -> bool {
        !self.variables.contains(',')
    }

    fn names(&self, name: &str) -> bool {
        let mut variables = self.variables.split(',');
        variables.any(|it| {
            it.split([':', '*'])
                .next()
                .is_some_and(|it| it.trim() == name)
        })
    }

    /// The template up to here, with a value in the place of the expression.
    fn with(&self, value: &str) -> Option<String> {
        let begins_with = match self.operator {
            None | Some('+') => "",
            Some('/') => "/",
            Some('.') => ".",
            Some(_) => return None,
        };
        let is_fixed = !self.before.contains('{') && !value.contains(['{', '}']);
        is_fixed.then(|| format!("{}{begins_with}{value}", self.before))
    }
}

fn expressions(template: &str) -> impl Iterator<Item = Expression<'_>> {
    template.match_indices('{').map(|(brace, _)| {
        let inner = &template[brace + 1..];
        let inner = &inner[..inner.find(['{', '}']).unwrap_or(inner.len())];
        let variables = inner.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        Expression {
            before: &template[..brace],
            operator: inner
                .chars()
                .next()
                .filter(|_| variables.len() < inner.len()),
            variables,
        }
    })
}

#[cfg(test)]
#[path = "uri_template_tests.rs"]
mod tests;
