//! A report of `check` as SARIF 2.1.0 and as GitHub's workflow commands.

use serde_json::{Value as Json, json};

use crate::analysis::check::BundleReport;
use crate::analysis::lint::code::Code;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

/// One thing to be annotated.
struct Annotation<'a> {
    /// `error`, `warning` or `note`, as SARIF has them.
    level: &'static str,
    rule: &'static str,
    place: &'a BundleDiagnostic,
}

/// Faults, or warnings and lints, in this order.
fn all(checked: &Result<BundleReport, BundleError>) -> Vec<Annotation<'_>> {
    let plain = |level, rule| move |place| Annotation { level, rule, place };
    match checked {
        Err(faults) => faults.iter().map(plain("error", "fault")).collect(),
        Ok(report) => {
            let warnings = report.warnings.iter().map(plain("warning", "warning"));
            let lints = report.lints.iter().flat_map(|lint| {
                let rule = lint.code.as_str();
                lint.places.iter().map(plain("note", rule))
            });
            warnings.chain(lints).collect()
        }
    }
}

/// SARIF 2.1.0 (OASIS), one run. Files are as given on the command line, so relative to where the program ran.
pub fn sarif(checked: &Result<BundleReport, BundleError>) -> String {
    let mut rules = vec![
        json!({"id": "fault", "shortDescription": {"text": "the directory cannot be served"}}),
        json!({"id": "warning", "shortDescription": {"text": "something is most likely a mistake"}}),
    ];
    rules.extend(Code::ALL.map(|code| {
        json!({
            "id": code.as_str(),
            "shortDescription": {"text": code.title()},
            "fullDescription": {"text": code.page()},
        })
    }));
    let results: Vec<Json> = all(checked).iter().map(result).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "callgate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn result(it: &Annotation<'_>) -> Json {
    let text = match &it.place.help {
        Some(help) => format!("{}. {help}", it.place.message),
        None => it.place.message.clone(),
    };
    let mut location = json!({"artifactLocation": {"uri": uri(&it.place.file)}});
    if let (Some(line), Some(column)) = (it.place.line, it.place.column) {
        location["region"] = json!({"startLine": line, "startColumn": column});
    }
    json!({
        "ruleId": it.rule,
        "level": it.level,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    })
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &str) -> String {
    const KEPT: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let path = path.strip_prefix("./").unwrap_or(path);
    percent_encoding::utf8_percent_encode(path, &KEPT).to_string()
}

/// GitHub's workflow commands, one a line: `::error file=…,line=…::…`.
pub fn github(checked: &Result<BundleReport, BundleError>) -> String {
    let mut text = String::new();
    for it in all(checked) {
        let command = match it.level {
            "note" => "notice",
            level => level,
        };
        let file = property(it.place.file.strip_prefix("./").unwrap_or(&it.place.file));
        let mut place = format!("file={file}");
        if let (Some(line), Some(column)) = (it.place.line, it.place.column) {
            place.push_str(&format!(",line={line},col={column}"));
        }
        let title = it.rule;
        let said = data(&it.place.message);
        text.push_str(&format!("::{command} {place},title={title}::{said}\n"));
    }
    text
}

/// The escapes of a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The escapes of a command's properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_a_command_or_a_property() {
        assert_eq!(property("a,line=1:%\nb"), "a%2Cline=1%3A%25%0Ab");
        assert_eq!(data("a\n::error::b"), "a%0A::error::b");
        assert_eq!(uri("./a b/ü#.cedar"), "a%20b/%C3%BC%23.cedar");
    }
}
