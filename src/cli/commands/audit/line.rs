//! A record as one line for people, in colours on a terminal.

use std::io::IsTerminal as _;

use crate::audit::find::FoundRecord;
use crate::audit::json;
use crate::audit::record::Record;
use crate::audit::record::schema::{
    ControlWrite, Decision, Notice, Outcome, Verdict, notice, outcome, record,
};
use crate::cli::commands::audit::names::{entity, name, names, object};
use crate::cli::render::{count, printable, printables};

/// What is told of a record that is cut.
pub const CUT: &str = "the record was too long: there may be more of each long list";

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    is_coloured: bool,
}

/// What a part of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextStyle {
    Plain,
    Faint,
    Good,
    Bad,
    Odd,
    Strong,
}

impl Paint {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub fn for_stdout() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self {
            is_coloured: is_wanted && std::io::stdout().is_terminal(),
        }
    }

    #[cfg(test)]
    pub fn coloured() -> Self {
        Self { is_coloured: true }
    }

    /// Without colours.
    pub fn plain() -> Self {
        Self { is_coloured: false }
    }

    /// The line of a record, with what is odd about it.
    pub fn found(self, found: &FoundRecord) -> String {
        let line = self.line(&found.message);
        match doubts_text(found) {
            text if text.is_empty() => line,
            text => format!(
                "{}  {}\n",
                line.trim_end(),
                self.part(TextStyle::Bad, &text)
            ),
        }
    }

    /// A line, with its end. All that comes from the record is escaped.
    pub fn line(self, record: &Record) -> String {
        let at = json::time(record.at);
        // Milliseconds are enough for people.
        let at = format!("{}Z", at.get(..23).unwrap_or(&at));
        let mut parts = vec![(TextStyle::Faint, at)];
        match &record.kind {
            Some(record::Kind::Decision(it)) => decision(&mut parts, it),
            Some(record::Kind::Write(it)) => write(&mut parts, it),
            Some(record::Kind::Outcome(it)) => outcome(&mut parts, it),
            Some(record::Kind::Notice(it)) => notice(&mut parts, it),
            None => parts.push((TextStyle::Odd, "unknown".to_owned())),
        }
        if record.is_cut {
            parts.push((TextStyle::Odd, "cut".to_owned()));
        }
        let parts = parts.iter().filter(|(_, text)| !text.is_empty());
        let parts: Vec<_> = parts
            .map(|(style, text)| self.part(*style, &printable(text)))
            .collect();
        format!("{}\n", parts.join("  "))
    }

    fn part(self, style: TextStyle, text: &str) -> String {
        let code = match style {
            TextStyle::Plain => return text.to_owned(),
            _ if !self.is_coloured => return text.to_owned(),
            TextStyle::Faint => "2",
            TextStyle::Good => "32",
            TextStyle::Bad => "1;31",
            TextStyle::Odd => "33",
            TextStyle::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

type LineParts = Vec<(TextStyle, String)>;

/// `tools/call git/git_log`, `tools/list git`; of Cedar's own request what it asks.
pub fn operation(it: &Decision) -> String {
    let named = [&it.server, &it.tool, &it.prompt];
    let named = named.into_iter().filter(|text| !text.is_empty());
    let named: Vec<_> = named.map(|text| name(text)).collect();
    let sought = match it.sought.as_str() {
        "" => String::new(),
        sought => format!("for {sought}"),
    };
    let resource = match it.cedar_resource.as_str() {
        "" => String::new(),
        resource => format!("on {}", entity(resource)),
    };
    let parts = [
        it.operation.clone(),
        named.join("/"),
        sought,
        entity(&it.cedar_action),
        resource,
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

/// `agent:support for user:sam`.
fn who(it: &Decision) -> String {
    let subject = entity(&it.subject);
    match &it.chain {
        Some(chain) if !chain.root.is_empty() => {
            format!("{subject} for {}", entity(&chain.root))
        }
        _ => subject,
    }
}

fn decision(parts: &mut LineParts, it: &Decision) {
    let style = match it.verdict() {
        Verdict::Allow => TextStyle::Good,
        Verdict::Deny => TextStyle::Bad,
        Verdict::Unspecified => TextStyle::Odd,
    };
    parts.push((style, format!("{:6}", json::verdict(it.verdict()))));
    parts.push((TextStyle::Strong, who(it)));
    parts.push((TextStyle::Plain, operation(it)));
    let codes: Vec<_> = it.reasons.iter().map(|it| &it.code).collect();
    parts.push((TextStyle::Bad, printables(&codes)));
    let policies: Vec<_> = it.determining_policies.iter().map(|it| &it.id).collect();
    if !policies.is_empty() {
        parts.push((TextStyle::Plain, format!("by {}", names(&policies))));
    }
    if !it.shadow_policies.is_empty() {
        let ids: Vec<_> = it.shadow_policies.iter().map(|it| &it.id).collect();
        parts.push((TextStyle::Odd, format!("in shadow {}", names(&ids))));
    }
    if it.is_dry_run {
        parts.push((TextStyle::Odd, "dry run".to_owned()));
    }
    if it.is_observed {
        let shown = match it.shown {
            0 => String::new(),
            shown => format!(", showing {} that would be hidden", count(shown, "entry")),
        };
        parts.push((TextStyle::Odd, format!("observed: it was allowed{shown}")));
    }
    if !it.task_id.is_empty() {
        parts.push((TextStyle::Faint, format!("task {}", name(&it.task_id))));
    }
    parts.push((TextStyle::Faint, json::uuid(&it.id)));
}

fn write(parts: &mut LineParts, it: &ControlWrite) {
    let style = match it.outcome.as_str() {
        "done" | "repeated" => TextStyle::Good,
        _ => TextStyle::Bad,
    };
    parts.push((style, format!("{:6}", printable(&it.outcome))));
    parts.push((TextStyle::Strong, entity(&it.actor)));
    parts.push((
        TextStyle::Plain,
        format!("{} {}", it.verb, object(&it.id))
            .trim_end()
            .to_owned(),
    ));
    if !it.stop_reason.is_empty() {
        let reason = format!("reason {}", name(&it.stop_reason));
        parts.push((TextStyle::Plain, reason));
    }
    let codes: Vec<_> = it.reasons.iter().map(|it| &it.code).collect();
    parts.push((TextStyle::Bad, printables(&codes)));
    if let Some(revision) = it.revision {
        parts.push((TextStyle::Faint, format!("revision {revision}")));
    }
}

/// `result, 1,234 bytes, labels untrusted`.
pub fn outcome_text(it: &Outcome) -> String {
    let status = json::status(it.status()).replace('_', " ");
    let labels = match it.labels.as_slice() {
        [] => String::new(),
        labels => format!(", labels {}", names(labels)),
    };
    format!("{status}, {}{labels}", count(it.size, "byte"))
}

/// `although the call was denied`; empty if nothing is odd.
pub fn doubts_text(found: &FoundRecord) -> String {
    let doubts: Vec<_> = found.doubts.iter().map(ToString::to_string).collect();
    match doubts.as_slice() {
        [] => String::new(),
        doubts => format!("although {}", printable(&doubts.join(", and "))),
    }
}

fn outcome(parts: &mut LineParts, it: &Outcome) {
    let style = match it.status() {
        outcome::Status::Result => TextStyle::Good,
        _ => TextStyle::Odd,
    };
    parts.push((style, "result".to_owned()));
    parts.push((TextStyle::Plain, outcome_text(it)));
    let of = match it.decision_id.is_empty() {
        false => json::uuid(&it.decision_id),
        // The adapter was not told which decision it was.
        true => format!("{} {}", it.operation, names(&it.servers)),
    };
    parts.push((TextStyle::Faint, format!("of {of}")));
    parts.push((TextStyle::Faint, told_by(it)));
}

/// `told by envoy`: who says what came of it.
pub fn told_by(it: &Outcome) -> String {
    match it.caller.as_str() {
        "" => String::new(),
        caller => format!("told by {}", name(caller)),
    }
}

fn notice(parts: &mut LineParts, it: &Notice) {
    let style = match it.kind() {
        notice::Kind::Lost
        | notice::Kind::Dropped
        | notice::Kind::Degraded
        | notice::Kind::KeyFile
        | notice::Kind::TurnedBack => TextStyle::Bad,
        notice::Kind::RepairedTail
        | notice::Kind::FoundUnsigned
        | notice::Kind::ClockSetBack
        | notice::Kind::Clock
        | notice::Kind::Refused => TextStyle::Odd,
        _ => TextStyle::Faint,
    };
    let kind = json::notice_kind(it.kind()).replace('_', " ");
    let mut text = format!("log     {kind}");
    match it.kind() {
        notice::Kind::Lost | notice::Kind::Removed | notice::Kind::FoundUnsigned => {
            text.push_str(&format!(": records {} to {}", it.first, it.last));
        }
        notice::Kind::TurnedBack => text.push_str(&format!(
            ": the state of revision {} is in service again, as revision {}",
            it.first,
            it.last.saturating_add(1)
        )),
        notice::Kind::RepairedTail => text.push_str(&format!(": {} bytes", it.count)),
        notice::Kind::Dropped => {
            text.push_str(&format!(": {} requests without a record", it.count))
        }
        notice::Kind::ClockSetBack => text.push_str(&format!(
            ": records before are of up to {}",
            json::time(it.since)
        )),
        _ => {}
    }
    match it.kind() {
        notice::Kind::Refused => text.push_str(&format!(
            ": {} requests of {} without the right to {}",
            it.count,
            name(&it.text),
            printable(&it.source)
        )),
        _ if it.text.is_empty() => {}
        _ => text.push_str(&format!(": {}", printable(&it.text))),
    }
    if it.revision > 0 {
        text.push_str(&format!(" at revision {}", it.revision));
    }
    if !it.source.is_empty() && it.kind() == notice::Kind::Policies {
        text.push_str(&format!(", {}", printable(&it.source)));
    }
    if !it.before.is_empty() {
        text.push_str(&format!(", before: {}", printable(&it.before)));
    }
    if it.since > 0 && it.kind() != notice::Kind::ClockSetBack {
        text.push_str(&format!(", since {}", json::time(it.since)));
    }
    parts.push((style, text));
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
