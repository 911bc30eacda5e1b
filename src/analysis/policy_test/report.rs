//! Results for machines: JUnit XML, which build servers read, and TAP (Test Anything Protocol, version 14).

use std::fmt::Write;

use crate::analysis::policy_test::run::{CaseReport, Difference, RunReport};
use crate::domain::request::visible::escaped;

/// What was demanded of the tests besides that they pass: that they cover so much, that they notice every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What was demanded.
    pub name: String,
    /// What is lacking, a line each; nothing if it is met.
    pub lacking: Vec<String>,
}

impl Demand {
    /// Whether nothing is lacking.
    pub fn is_met(&self) -> bool {
        self.lacking.is_empty()
    }
}

/// JUnit XML: a suite a file, a test case a case; and a suite of demands, if there are any.
pub fn junit(report: &RunReport, demands: &[Demand]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let unmet = demands.iter().filter(|it| !it.is_met()).count();
    let tests = report.cases.len() + demands.len();
    let failures = report.failures().count() + unmet;
    let seconds = report.took.as_secs_f64();
    let _ = writeln!(
        xml,
        "<testsuites name=\"callgate\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.6}\">"
    );
    for cases in report.cases.chunk_by(|one, other| one.file == other.file) {
        let Some(first) = cases.first() else { continue };
        let failures = cases.iter().filter(|case| !case.is_passed()).count();
        let micros: u64 = cases.iter().map(|case| case.micros).sum();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{}\">",
            attribute(&first.file),
            cases.len(),
            seconds_of(micros),
        );
        cases.iter().for_each(|case| testcase(&mut xml, case));
        xml.push_str("  </testsuite>\n");
    }
    if !demands.is_empty() {
        let tests = demands.len();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"demands\" tests=\"{tests}\" failures=\"{unmet}\" time=\"0\">"
        );
        demands.iter().for_each(|it| demanded(&mut xml, it));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn demanded(xml: &mut String, demand: &Demand) {
    let name = attribute(&demand.name);
    let _ = write!(
        xml,
        "    <testcase name=\"{name}\" classname=\"demands\" time=\"0\""
    );
    if demand.is_met() {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n      <failure message=\"not met\">\n");
    for line in &demand.lacking {
        let _ = writeln!(xml, "{}", text(line));
    }
    xml.push_str("      </failure>\n    </testcase>\n");
}

fn testcase(xml: &mut String, case: &CaseReport) {
    let (name, file) = (attribute(&case.name), attribute(&case.file));
    let time = seconds_of(case.micros);
    let _ = write!(
        xml,
        "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{}\" time=\"{time}\"",
        case.line
    );
    if case.is_passed() {
        xml.push_str("/>\n");
        return;
    }
    let fields: Vec<&str> = case.differences.iter().map(|it| it.field).collect();
    let message = format!("not as wanted: {}", fields.join(", "));
    let _ = writeln!(
        xml,
        ">\n      <failure message=\"{}\">",
        attribute(&message)
    );
    for line in failure_lines(case) {
        let _ = writeln!(xml, "{}", text(&line));
    }
    xml.push_str("      </failure>\n    </testcase>\n");
}

/// TAP version 14, with a YAML block for each failure; demands follow the cases.
pub fn tap(report: &RunReport, demands: &[Demand]) -> String {
    let cases = report.cases.len();
    let mut tap = format!("TAP version 14\n1..{}\n", cases + demands.len());
    for (index, case) in report.cases.iter().enumerate() {
        test_point(&mut tap, case.is_passed(), index + 1, &case.name);
        if case.is_passed() {
            continue;
        }
        tap.push_str("  ---\n");
        let _ = writeln!(
            tap,
            "  at: {}",
            json(&format!("{}:{}", case.file, case.line))
        );
        tap.push_str("  differences:\n");
        for line in failure_lines(case) {
            let _ = writeln!(tap, "    - {}", json(&line));
        }
        tap.push_str("  ...\n");
    }
    for (index, demand) in demands.iter().enumerate() {
        let number = cases + index + 1;
        test_point(&mut tap, demand.is_met(), number, &demand.name);
        if !demand.is_met() {
            tap.push_str("  ---\n  lacking:\n");
            for line in &demand.lacking {
                let _ = writeln!(tap, "    - {}", json(line));
            }
            tap.push_str("  ...\n");
        }
    }
    tap
}

fn test_point(tap: &mut String, is_passed: bool, number: usize, name: &str) {
    let state = if is_passed { "ok" } else { "not ok" };
    // `#` and `\` have a meaning of their own in a description.
    let name = one_line(name).replace('\\', "\\\\").replace('#', "\\#");
    let _ = writeln!(tap, "{state} {number} - {name}");
}

/// What is not as wanted as a diff, then why.
pub fn failure_lines(case: &CaseReport) -> Vec<String> {
    let mut lines: Vec<String> = case.differences.iter().flat_map(diff).collect();
    lines.extend(case.why.iter().map(|line| format!("  {line}")));
    lines
}

fn diff(difference: &Difference) -> Vec<String> {
    let Difference { field, wanted, got } = difference;
    if let ([wanted], [got]) = (wanted.as_slice(), got.as_slice()) {
        return vec![format!("- {field}: {wanted}"), format!("+ {field}: {got}")];
    }
    let lost = wanted.iter().filter(|it| !got.contains(it));
    let new = got.iter().filter(|it| !wanted.contains(it));
    let lost = lost.map(|it| format!("- {field}: {it}"));
    lost.chain(new.map(|it| format!("+ {field}: {it}")))
        .collect()
}

fn seconds_of(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn one_line(text: &str) -> String {
    escaped(text).into_owned()
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text(text: &str) -> String {
    let escaped = escaped(text);
    escaped
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn attribute(value: &str) -> String {
    text(value).replace('"', "&quot;")
}
