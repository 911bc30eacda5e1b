//! What was used, by the decision log, and a policy that takes away what was not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::analysis::access::usage_span::UsageSpan;
use crate::analysis::access::{AccessReport, Row};
use crate::audit::find;
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::Record;
use crate::audit::record::schema::{Verdict, record::Kind};

/// Calls of tools that were made, counted: those that were allowed, and those that were only observed.
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
        if let Some(LogError::Lost { first, last }) = find::missing_before(directory)? {
            usage.span.unreadable += last.saturating_sub(first) + 1;
        }
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
        // Times go back in a log whose clock was set back.
        self.span.from = Some(self.span.from.map_or(at, |from| from.min(at)));
        self.span.to = Some(self.span.to.map_or(at, |to| to.max(at)));
        let Some(Kind::Decision(decision)) = &record.kind else {
            return;
        };
        // A deny that was only observed was not enforced: the call was made.
        let is_made = decision.verdict() == Verdict::Allow || decision.is_observed;
        let is_use = is_made && !decision.is_dry_run && decision.operation == "tools/call";
        if is_use {
            let tool = format!("{}/{}", decision.server, decision.tool);
            let key = (decision.subject.clone(), tool);
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// How often a subject used a tool.
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

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
