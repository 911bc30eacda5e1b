//! `callgate import tools --review`: the proposals one by one, and what a person decides about each.
//!
//! It speaks on stderr, so that stdout is the answer alone.

use std::io::{self, BufRead, Read, Write};

use crate::analysis::import::{ToolChange, ToolImport};
use crate::analysis::review::{ReviewDecision, ToolReview};
use crate::bundle::parse::registration::{AccessLevel, ToolEntry, label_error};
use crate::cli::render::{count, printable, printables};

/// The longest line that is listened to.
const MAX_LINE_BYTES: u64 = 4_096;
/// Lines of a schema that are shown at first.
const FEW_LINES: usize = 40;

const HELP: &str = "  a                       confirm it as it stands
  read, write, admin      it does this, whatever was proposed
  labels NAME,… | none    what its results bring into a session
  egress yes | no         whether it can carry data out
  schema                  the whole schema of its arguments
  s                       leave it as a proposal
  q                       leave this and all others as proposals
";

/// What a line of the person's means.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Decide(ReviewDecision),
    Schema,
    Skip,
    Quit,
    Help,
    Unclear(String),
}

/// Asks about every proposal. What is said before the input ends counts.
pub fn review(
    imported: &mut ToolImport,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<()> {
    let reviews = ToolReview::of(imported);
    let all = reviews.len();
    if all == 0 {
        return writeln!(out, "nothing awaits a review");
    }
    writeln!(
        out,
        "{} to review; `?` tells what can be said",
        count(all, "tool")
    )?;
    for (index, review) in reviews.iter().enumerate() {
        writeln!(out, "\n[{}/{all}] {}", index + 1, printable(&review.name))?;
        show(review, out)?;
        if !ask(imported, review, input, out)? {
            let left = all - index;
            return writeln!(out, "\n{} left as proposed", count(left, "tool"));
        }
    }
    Ok(())
}

/// Asks about one until it is confirmed or left. `false` ends the review.
fn ask(
    imported: &mut ToolImport,
    review: &ToolReview,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<bool> {
    if let Some(entry) = imported.registration.tools.get(&review.name) {
        entry_lines(entry, out)?;
    }
    loop {
        write!(out, "a/read/write/admin/labels/egress/schema/s/q/? > ")?;
        out.flush()?;
        let Some(line) = line(input)? else {
            return Ok(false);
        };
        match understood(&line) {
            Said::Decide(decision) => {
                let is_done = decision == ReviewDecision::Confirm;
                imported.decide(&review.name, decision);
                if is_done {
                    writeln!(out, "confirmed")?;
                    return Ok(true);
                }
                if let Some(entry) = imported.registration.tools.get(&review.name) {
                    entry_lines(entry, out)?;
                }
            }
            Said::Schema => print(out, "  ", &review.schema)?,
            Said::Skip => return Ok(true),
            Said::Quit => return Ok(false),
            Said::Help => write!(out, "{HELP}")?,
            Said::Unclear(why) => writeln!(out, "{why}")?,
        }
    }
}

/// One line, without its end; `None` if there is none, or it is too long to be meant.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut limited = input.take(MAX_LINE_BYTES);
    limited.read_until(b'\n', &mut bytes)?;
    let is_whole = bytes.ends_with(b"\n") || (bytes.len() as u64) < MAX_LINE_BYTES;
    if bytes.is_empty() || !is_whole {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

fn understood(line: &str) -> Said {
    let mut words = line.split_whitespace();
    let (first, rest) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
    match (first, rest.as_slice()) {
        ("a" | "accept" | "confirm", []) => Said::Decide(ReviewDecision::Confirm),
        ("read", []) => Said::Decide(ReviewDecision::Access(AccessLevel::Read)),
        ("write", []) => Said::Decide(ReviewDecision::Access(AccessLevel::Write)),
        ("admin", []) => Said::Decide(ReviewDecision::Access(AccessLevel::Admin)),
        ("labels", ["none"]) => Said::Decide(ReviewDecision::Yields(Vec::new())),
        ("labels", [_, ..]) => labels(&rest),
        ("egress", ["yes"]) => Said::Decide(ReviewDecision::Egress(true)),
        ("egress", ["no"]) => Said::Decide(ReviewDecision::Egress(false)),
        ("schema", []) => Said::Schema,
        ("s" | "skip", []) => Said::Skip,
        ("q" | "quit", []) => Said::Quit,
        ("?" | "help", []) => Said::Help,
        _ => Said::Unclear(format!("`{}` says nothing here; try `?`", printable(line))),
    }
}

fn labels(words: &[&str]) -> Said {
    let names = words.iter().flat_map(|word| word.split(','));
    let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
    let names: Vec<String> = names.collect();
    match label_error(&names) {
        Some(fault) => Said::Unclear(printable(&fault)),
        None => Said::Decide(ReviewDecision::Yields(names)),
    }
}

fn show(review: &ToolReview, out: &mut impl Write) -> io::Result<()> {
    for flag in &review.flags {
        writeln!(out, "  !! {}", printable(flag))?;
    }
    match review.change {
        ToolChange::Changed => writeln!(out, "  its server changed it since it was confirmed")?,
        _ => writeln!(out, "  new")?,
    }
    for difference in &review.differences {
        writeln!(out, "  {} is different", printable(&difference.part))?;
        print(out, "    - ", &difference.before)?;
        print(out, "    + ", &difference.after)?;
    }
    match review.description.as_slice() {
        [] => writeln!(out, "  no description")?,
        lines => print(out, "  | ", lines)?,
    }
    if review.schema.is_empty() {
        writeln!(out, "  no schema of its arguments")?;
    }
    let few = review.schema.get(..FEW_LINES).unwrap_or(&review.schema);
    print(out, "  ", few)?;
    match review.schema.len() - few.len() {
        0 => Ok(()),
        more => writeln!(out, "  … {more} more lines: `schema`"),
    }
}

fn print(out: &mut impl Write, before: &str, lines: &[String]) -> io::Result<()> {
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{before}{}", printable(line)))
}

fn entry_lines(entry: &ToolEntry, out: &mut impl Write) -> io::Result<()> {
    let why = |field: &str| match entry.why.get(field) {
        Some(why) => format!("  ({})", printable(why)),
        None => String::new(),
    };
    let labels = match entry.yields.as_slice() {
        [] => "none".to_owned(),
        labels => printables(labels),
    };
    let egress = if entry.egress { "yes" } else { "no" };
    writeln!(out, "  access    {}{}", entry.access, why("access"))?;
    writeln!(out, "  labels    {labels}{}", why("yields"))?;
    writeln!(out, "  egress    {egress}{}", why("egress"))?;
    writeln!(
        out,
        "  holds     {}{}",
        entry.sensitivity.as_str(),
        why("sensitivity")
    )?;
    for target in &entry.target_arguments {
        let kind = target.kind.as_deref().unwrap_or("by its look");
        writeln!(
            out,
            "  target    {} ({})",
            printable(&target.argument),
            printable(kind)
        )?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
