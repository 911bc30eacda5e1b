//! URI templates (RFC 6570), as far as it matters which resources one stands for.

/// The fixed part of a template up to its last slash: what it expands to lies there. The whole template if it has no such part, or
/// is a plain URI.
pub fn fixed_folder(template: &str) -> &str {
    let Some((fixed, _)) = template.split_once('{') else {
        return template;
    };
    match fixed.rfind('/') {
        Some(slash) => &fixed[..=slash],
        None => template,
    }
}

/// The template whose variables are completed, with what has been written of them so far. A value that may lead out of the folder
/// of the template is part of what is asked for: it stands where the variable does, and is read as strictly as any URI. `None`
/// where it is unknown which of several variables it is, or if it reads as a variable itself.
pub fn with_values(template: String, values: impl IntoIterator<Item = String>) -> Option<String> {
    let separates = |sign: char| matches!(sign, '/' | '\\' | '%' | ':' | '?' | '#');
    let leads_elsewhere = |value: &String| value == ".." || value.contains(separates);
    let mut values = values.into_iter().filter(leads_elsewhere);
    let (Some(value), Some((fixed, variables))) = (values.next(), template.split_once('{')) else {
        return Some(template);
    };
    let is_only = values.next().is_none() && !variables.contains('{');
    (is_only && !value.contains(['{', '}'])).then(|| format!("{fixed}{value}"))
}

#[cfg(test)]
#[path = "uri_template_tests.rs"]
mod tests;
