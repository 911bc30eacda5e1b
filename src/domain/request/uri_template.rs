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
/// of the template is part of what is asked for: the first that may stands after that folder, as a server would put it there, and
/// is read as strictly as any URI.
pub fn with_values(template: String, values: impl IntoIterator<Item = String>) -> String {
    let separates = |sign: char| matches!(sign, '/' | '\\' | '%' | ':' | '?' | '#');
    let leads_elsewhere = |value: &String| value == ".." || value.contains(separates);
    let mut values = values.into_iter().filter(leads_elsewhere);
    match values.next() {
        Some(value) if template.contains('{') => format!("{}{value}", fixed_folder(&template)),
        _ => template,
    }
}

#[cfg(test)]
#[path = "uri_template_tests.rs"]
mod tests;
