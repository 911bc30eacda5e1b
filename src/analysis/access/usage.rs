//! What was used, by the decision log, and a policy that takes away what was not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;

use crate::analysis::access::svg::short;
use crate::analysis::access::usage_span::UsageSpan;
use crate::analysis::access::{AccessReport, Row};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::Record;
use crate::audit::record::schema::{Verdict, record::Kind};
use crate::domain::schema::TYPES;

/// Allowed calls of tools, counted.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// By subject and tool, `<server>/<tool>`.
    counts: BTreeMap<(String, String), u64>,
    span: UsageSpan,
}

impl Usage {
    /// Reads a decision log. What is damaged is counted and left out.
    ///
    /// # Errors
    ///
    /// If there is no log, or it cannot be read.
    pub fn from_log(directory: &Path) -> Result<Self, LogError> {
        let mut usage = Self::default();
        for record in LogReader::open(directory)?.iter_from(0) {
            match record {
                Ok(stored) => match stored.decode() {
                    Ok(record) => usage.add(&record),
                    Err(_) => usage.span.unreadable += 1,
                },
                Err(error @ LogError::Io { .. }) => return Err(error),
                Err(LogError::Lost { first, last }) => {
                    usage.span.unreadable += last.saturating_sub(first) + 1;
                }
                Err(_) => usage.span.unreadable += 1,
            }
        }
        Ok(usage)
    }

    /// Counts one record.
    pub fn add(&mut self, record: &Record) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(record.at);
        self.span.records += 1;
        self.span.from.get_or_insert(at);
        self.span.to = Some(at);
        let Some(Kind::Decision(decision)) = &record.kind else {
            return;
        };
        let is_use = decision.verdict() == Verdict::Allow
            && !decision.is_dry_run
            && decision.operation == "tools/call";
        if is_use {
            let tool = format!("{}/{}", decision.server, decision.tool);
            let key = (decision.subject.clone(), tool);
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// How often a subject was allowed a tool.
    pub fn count(&self, subject: &str, tool: &str) -> u64 {
        let key = (subject.to_owned(), tool.to_owned());
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// Marks in a report what was used.
    pub fn mark(&self, report: &mut AccessReport) {
        for Row { who, cells } in &mut report.rows {
            for cell in cells {
                cell.used = Some(self.count(who, &cell.tool));
            }
        }
        report.usage = Some(self.span.clone());
    }
}

/// Policies that take away what may be called and was not; `None` if everything was used. One forbid for each subject, so the
/// result is narrower whatever the other policies say.
pub fn propose(report: &AccessReport) -> Option<String> {
    let mut text = String::new();
    for row in &report.rows {
        let unused = row.cells.iter().filter(|cell| cell.is_unused());
        let tools: Vec<String> = unused
            .map(|cell| format!("  Mcp::Tool::\"{}\"", cell.tool.escape_debug()))
            .collect();
        // The name of a party is its Cedar form, which parses.
        let Some(uid) = row
            .who
            .parse::<EntityUID>()
            .ok()
            .filter(|_| !tools.is_empty())
        else {
            continue;
        };
        let id: String = short(&row.who)
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        // What agents do for a person is use of theirs.
        let in_person = match *uid.entity_type() == TYPES.user {
            true => "!(context has delegation) && ",
            false => "",
        };
        text.push_str(&format!(
            "\n@id(\"unused.{id}\")\n@reason(\"This tool was taken away because it was not used.\")\nforbid (\n  principal == {uid},\n  action in [Mcp::Action::\"call_tool\", Mcp::Action::\"server_initiated\"],\n  resource is Mcp::Tool\n)\nwhen {{ {in_person}[\n{}\n].contains(resource) }};\n",
            tools.join(",\n")
        ));
    }
    (!text.is_empty()).then(|| {
        format!("// What may be called and was not, by the decision log. Look at each before you keep it.\n{text}")
    })
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
