//! A report as CSV (RFC 4180): a line for each subject, tool and case.

use crate::analysis::access::AccessReport;
use crate::analysis::access::outcome::{Outcome, PrincipalConditions};

/// The first line.
const HEADER: &str = "who,for,tool,access,needs_approval,why\r\n";

/// Writes a report as CSV. Columns: the subject; for whom it acts, separated by spaces; the tool; `always`, `conditional`
/// or `never`; whether an approval is needed; why not, or the conditions in words.
///
/// A field that a spreadsheet would take for a formula is preceded by an apostrophe.
pub fn write(report: &AccessReport) -> String {
    let mut text = HEADER.to_owned();
    for row in &report.rows {
        for cell in &row.cells {
            for case in &cell.cases {
                let fields = [
                    row.who.clone(),
                    case.on_behalf_of.join(" "),
                    cell.tool.clone(),
                    case.outcome.access().as_str().to_owned(),
                    case.outcome.needs_approval().to_string(),
                    why(&case.outcome),
                ];
                let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
                text.push_str(&fields.join(","));
                text.push_str("\r\n");
            }
        }
    }
    text
}

/// Why every call is denied, or what has to hold, in one line.
pub fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Always => String::new(),
        Outcome::Never { because } => {
            let each = because.iter().map(|denial| {
                let policies = denial.policies.join(", ");
                match policies.is_empty() {
                    true => format!("{}: {}", denial.code, denial.message),
                    false => format!("{}: {} ({policies})", denial.code, denial.message),
                }
            });
            each.collect::<Vec<_>>().join("; ")
        }
        Outcome::Conditional { principals, .. } => {
            let each = principals.iter().map(conditions);
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

fn conditions(of: &PrincipalConditions) -> String {
    let mut parts = Vec::new();
    let any: Vec<&str> = of.any_of.iter().map(|it| it.words.as_str()).collect();
    match any.as_slice() {
        [] => {}
        [one] => parts.push((*one).to_owned()),
        // Those after it have to hold whichever of these does.
        several => parts.push(format!("({})", several.join(", or "))),
    }
    parts.extend(of.none_of.iter().map(|it| it.words.clone()));
    let failing = of.no_error_in.iter();
    parts.extend(failing.map(|it| format!("`{}` can be evaluated", it.policy)));
    format!("{}: {}", of.principal, parts.join(", and "))
}

/// A field in quotes, if it needs them.
fn quoted(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = match is_formula {
        true => format!("'{field}"),
        false => field.to_owned(),
    };
    match field.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
