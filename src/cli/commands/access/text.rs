//! Reports of access as text.

use std::fmt;

use serde_json::Value as Json;

use crate::analysis::access::csv;
use crate::analysis::access::diff::{Change, Direction};
use crate::analysis::access::outcome::{Access, Outcome, PrincipalConditions, Residual};
use crate::analysis::access::svg::short;
use crate::analysis::access::usage_span::UsageSpan;
use crate::analysis::access::{AccessReport, Case, Cell, Row};
use crate::cli::commands::access::Comparison;
use crate::cli::render::{count, left_aligned, printable, printables, right_aligned};

/// The report as text.
pub(super) struct AccessText<'a> {
    pub(super) report: &'a AccessReport,
    /// Whether conditions are shown.
    pub(super) is_detailed: bool,
}

/// The widest matrix, in characters; a wider one numbers its columns.
const MAX_WIDTH: usize = 120;

impl fmt::Display for AccessText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.rows.len() > 1 && self.report.tools.len() > 1 {
            self.matrix(f)?;
        } else {
            self.list(f)?;
        }
        if self.is_detailed {
            for row in &self.report.rows {
                for cell in row
                    .cells
                    .iter()
                    .filter(|it| it.access == Access::Conditional)
                {
                    details(f, row, cell)?;
                }
            }
        }
        if let Some(usage) = &self.report.usage {
            self.usage(f, usage)?;
        }
        if let Some(observed) = &self.report.observed {
            let observed = printable(observed);
            writeln!(
                f,
                "\nNOT ENFORCED, only observed (`[observe]`): {observed}. What is denied here passes there"
            )?;
        }
        if !self.report.claims.is_empty() {
            let claims = printables(&self.report.claims);
            writeln!(
                f,
                "\nClaims may add to this (`--assume-group` shows what): {claims}"
            )?;
        }
        Ok(())
    }
}

impl AccessText<'_> {
    /// Tools down, subjects across.
    fn matrix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .report
            .rows
            .iter()
            .map(|it| printable(&short(&it.who)))
            .collect();
        let tools: Vec<String> = self.report.tools.iter().map(|it| printable(it)).collect();
        let left = tools.iter().map(|it| it.chars().count()).max().unwrap_or(0);
        let widths = names.iter().map(|name| name.chars().count().max(8) + 2);
        let is_wide = left + widths.sum::<usize>() > MAX_WIDTH;
        let heads: Vec<String> = match is_wide {
            true => (1..=names.len()).map(|number| number.to_string()).collect(),
            false => names.clone(),
        };
        if is_wide {
            for (number, name) in names.iter().enumerate() {
                writeln!(f, "{:>4}  {name}", number + 1)?;
            }
            writeln!(f)?;
        }
        let width = |head: &String| {
            if is_wide {
                6
            } else {
                head.chars().count().max(8) + 2
            }
        };
        f.write_str(&" ".repeat(left))?;
        for head in &heads {
            f.write_str(&right_aligned(head, width(head)))?;
        }
        writeln!(f)?;
        for (number, tool) in tools.iter().enumerate() {
            f.write_str(&left_aligned(tool, left))?;
            for (head, row) in heads.iter().zip(&self.report.rows) {
                let cell = row.cells.get(number).map_or("", |cell| sign(cell, is_wide));
                f.write_str(&right_aligned(cell, width(head)))?;
            }
            writeln!(f)?;
        }
        match is_wide {
            true => writeln!(
                f,
                "\nA always, c under conditions, a with an approval, · never"
            ),
            false => writeln!(
                f,
                "\nif: under conditions; approval: only with a person's approval; ·: never"
            ),
        }
    }

    /// What was never used.
    fn usage(&self, f: &mut fmt::Formatter<'_>, usage: &UsageSpan) -> fmt::Result {
        let time = |at: Option<std::time::SystemTime>| match at {
            Some(at) => humantime::format_rfc3339_seconds(at).to_string(),
            None => "never".to_owned(),
        };
        let (from, to) = (time(usage.from), time(usage.to));
        writeln!(
            f,
            "\nNever used, by {} records from {from} to {to}",
            usage.records
        )?;
        if usage.unreadable > 0 {
            writeln!(f, "  ({} records are missing or damaged)", usage.unreadable)?;
        }
        for row in &self.report.rows {
            let unused = row.cells.iter().filter(|cell| cell.is_unused());
            let tools: Vec<&str> = unused.map(|cell| cell.tool.as_str()).collect();
            if !tools.is_empty() {
                let who = printable(&short(&row.who));
                writeln!(f, "  {who}: {}", printables(&tools))?;
            }
        }
        Ok(())
    }

    /// One line for each pair.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one_row = self.report.rows.len() == 1;
        let pairs = || {
            let rows = self.report.rows.iter();
            rows.flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
        };
        let name = |row: &Row, cell: &Cell| match is_one_row {
            true => printable(&cell.tool),
            false => printable(&short(&row.who)),
        };
        let title = match (
            is_one_row,
            self.report.rows.first(),
            self.report.tools.first(),
        ) {
            (true, Some(row), _) => printable(&short(&row.who)),
            (false, _, Some(tool)) => printable(tool),
            _ => String::new(),
        };
        writeln!(f, "{title}")?;
        let width = pairs().map(|(row, cell)| name(row, cell).chars().count());
        let width = width.max().unwrap_or(0);
        for (row, cell) in pairs() {
            let (name, access) = (name(row, cell), words(cell));
            let why = match (cell.cases.as_slice(), cell.access) {
                ([case], Access::Never) => printable(&csv::why(&case.outcome)),
                _ => people(cell),
            };
            let name = left_aligned(&name, width);
            writeln!(f, "  {name}  {access:13}  {why}")?;
        }
        Ok(())
    }
}

/// For how many of those for whom the subject acts something is allowed.
fn people(cell: &Cell) -> String {
    let count_of = |cases: &mut dyn Iterator<Item = &Case>| -> usize {
        cases.map(|case| case.on_behalf_of.len()).sum()
    };
    let all = count_of(&mut cell.cases.iter());
    let open = |case: &&Case| case.outcome.access() != Access::Never;
    let some = count_of(&mut cell.cases.iter().filter(open));
    match all {
        0 | 1 => String::new(),
        _ if some == all => format!("for all {all} people"),
        _ if some == 0 => format!("for none of {all} people"),
        _ => format!("for {some} of {all} people"),
    }
}

fn words(cell: &Cell) -> &'static str {
    match (cell.access, cell.needs_approval) {
        (Access::Conditional, true) => "with approval",
        (access, _) => access.as_str(),
    }
}

fn sign(cell: &Cell, is_short: bool) -> &'static str {
    match (cell.access, cell.needs_approval, is_short) {
        (Access::Always, _, true) => "A",
        (Access::Always, _, false) => "always",
        (Access::Conditional, true, true) => "a",
        (Access::Conditional, true, false) => "approval",
        (Access::Conditional, false, true) => "c",
        (Access::Conditional, false, false) => "if",
        (Access::Never, ..) => "·",
    }
}

/// The conditions of one pair.
fn details(f: &mut fmt::Formatter<'_>, row: &Row, cell: &Cell) -> fmt::Result {
    let (who, tool) = (printable(&short(&row.who)), printable(&cell.tool));
    writeln!(f, "\n{who} → {tool}")?;
    for case in &cell.cases {
        case_text(f, case, "  ")?;
    }
    Ok(())
}

fn case_text(f: &mut fmt::Formatter<'_>, case: &Case, indent: &str) -> fmt::Result {
    let names: Vec<String> = case.on_behalf_of.iter().map(|it| short(it)).collect();
    let for_whom = match names.is_empty() {
        true => String::new(),
        false => format!("for {}: ", printables(&names)),
    };
    outcome_text(f, &case.outcome, &for_whom, indent)
}

fn outcome_text(
    f: &mut fmt::Formatter<'_>,
    outcome: &Outcome,
    for_whom: &str,
    indent: &str,
) -> fmt::Result {
    match outcome {
        Outcome::Always => writeln!(f, "{indent}{for_whom}always"),
        Outcome::Never { .. } => {
            let why = printable(&csv::why(outcome));
            writeln!(f, "{indent}{for_whom}never: {why}")
        }
        Outcome::Conditional { principals, .. } => {
            writeln!(f, "{indent}{for_whom}if all of this holds")?;
            principals
                .iter()
                .try_for_each(|of| conditions_text(f, of, indent))
        }
    }
}

fn conditions_text(
    f: &mut fmt::Formatter<'_>,
    of: &PrincipalConditions,
    indent: &str,
) -> fmt::Result {
    writeln!(f, "{indent}  as to {}", printable(&short(&of.principal)))?;
    let more = format!("{indent}  ");
    if let [one] = of.any_of.as_slice() {
        residual_text(f, one, "", &more, false)?;
    } else if !of.any_of.is_empty() {
        writeln!(f, "{more}  one of these:")?;
        for it in &of.any_of {
            residual_text(f, it, "  ", &more, false)?;
        }
    }
    for it in &of.none_of {
        residual_text(f, it, "", &more, true)?;
    }
    for it in &of.no_error_in {
        let policy = printable(&it.policy);
        writeln!(
            f,
            "{more}  - `{policy}` can be evaluated: {}",
            printable(&it.cedar)
        )?;
    }
    Ok(())
}

fn residual_text(
    f: &mut fmt::Formatter<'_>,
    it: &Residual,
    shift: &str,
    indent: &str,
    is_forbid: bool,
) -> fmt::Result {
    let words = printable(&it.words);
    let (policy, cedar) = (printable(&it.policy), printable(&it.cedar));
    let effect = if is_forbid { "forbid" } else { "permit" };
    writeln!(f, "{indent}{shift}  - {words}")?;
    writeln!(
        f,
        "{indent}{shift}      {effect} {policy} when {{ {cedar} }}"
    )
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_same = self.changes.is_empty() && self.registrations.is_empty();
        if is_same && self.answers.is_empty() {
            return writeln!(f, "nothing changes");
        }
        let sections = [
            (Direction::Wider, "wider"),
            (Direction::Narrower, "narrower"),
            (Direction::Different, "other conditions"),
        ];
        for (direction, title) in sections {
            let these = || {
                self.changes
                    .iter()
                    .filter(move |it| it.direction == direction)
            };
            let registered =
                || (self.registrations.iter()).filter(move |it| it.direction == direction);
            let answered = || (self.answers.iter()).filter(move |it| it.direction == direction);
            let number = these().count() + registered().count() + answered().count();
            if number == 0 {
                continue;
            }
            writeln!(f, "{title}: {}", count(number, "change"))?;
            these().try_for_each(|change| change_text(f, change))?;
            for it in registered() {
                let of = format!("registration of {}: {}", printable(&it.of), it.part);
                part_text(f, &of, (&it.before, &it.after))?;
            }
            for it in answered() {
                let of = match &it.policy {
                    Some(policy) => format!("answers by {}: {}", printable(policy), it.part),
                    None => "only observed, so NOT ENFORCED".to_owned(),
                };
                part_text(f, &of, (&it.before, &it.after))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A part of a registration or of answers, before and after.
fn part_text(f: &mut fmt::Formatter<'_>, of: &str, (before, after): (&Json, &Json)) -> fmt::Result {
    let shown = |part: &Json| match part {
        Json::Null => "none".to_owned(),
        part => printable(&part.to_string()),
    };
    writeln!(f, "  {of}")?;
    writeln!(f, "    before: {}", shown(before))?;
    writeln!(f, "    after: {}", shown(after))
}

fn change_text(f: &mut fmt::Formatter<'_>, change: &Change) -> fmt::Result {
    let (who, tool) = (printable(&short(&change.who)), printable(&change.tool));
    let names: Vec<String> = change.on_behalf_of.iter().map(|it| short(it)).collect();
    let for_whom = match names.is_empty() {
        true => String::new(),
        false => format!(", for {}", printables(&names)),
    };
    writeln!(f, "  {who} → {tool}{for_whom}")?;
    for (outcome, label) in [(&change.before, "before: "), (&change.after, "after: ")] {
        match outcome {
            Some(outcome) => outcome_text(f, outcome, label, "    ")?,
            None => writeln!(f, "    {label}not there")?,
        }
    }
    Ok(())
}
