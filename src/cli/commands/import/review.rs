//! `callgate import tools --review`: interactive review of proposals.
//!
//! It prompts on stderr, so that stdout contains only the response.

use std::io::{self, BufRead, Read, Write};

use crate::analysis::import::ToolImport;
use crate::analysis::review::{ReviewDecision, ToolReview, meant_label};
use crate::bundle::parse::registration::{AccessLevel, Sensitivity, ToolEntry};
use crate::cli::args;
use crate::cli::render::{count, printable, printables};
use crate::domain::names::check_label;
use crate::domain::request::target::argument::TargetArgumentForm;

/// Bytes of one input line.
const MAX_LINE_BYTES: u64 = 4_096;
/// Lines of a schema that are displayed initially.
const FEW_LINES: usize = 40;

const HELP: &str = "  a                       confirm it as it stands
  read, write, admin      it does this, whatever was proposed
  labels NAME,… | none    what its results bring into a session
  egress yes | no         whether it can carry data out
  holds LEVEL             public, internal, confidential or restricted: what it reads or writes
  target ARGUMENT:…       the argument names what is acted upon: kind=KIND, base=BASE, role=ROLE, optional
  target ARGUMENT none    it does not
  schema                  the whole schema of its arguments
  s                       leave it as a proposal
  q                       leave this and all others as proposals
";

/// A reviewer's command.
#[derive(Debug, PartialEq, Eq)]
enum ReviewCommand {
    Decide(ReviewDecision),
    Schema,
    Skip,
    Quit,
    Help,
    Unclear(String),
}

/// Reviews every proposal interactively. Decisions made before the input ends are kept.
pub fn review(
    imported: &mut ToolImport,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<()> {
    let reviews = ToolReview::pending(imported);
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

/// Reviews one proposal until it is confirmed or skipped. Returns `false` to end the review.
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
        write!(
            out,
            "a/read/write/admin/labels/egress/holds/target/schema/s/q/? > "
        )?;
        out.flush()?;
        let Some(line) = line(input)? else {
            return Ok(false);
        };
        match parse_command(&line) {
            ReviewCommand::Decide(decision) => {
                let is_done = decision == ReviewDecision::Confirm;
                if let ReviewDecision::Yields(labels) = &decision {
                    labels_that_resemble(labels, out)?;
                }
                if let Err(why) = imported.decide(&review.name, decision) {
                    writeln!(out, "{}", printable(&why))?;
                    continue;
                }
                if is_done {
                    writeln!(out, "confirmed")?;
                    return Ok(true);
                }
                if let Some(entry) = imported.registration.tools.get(&review.name) {
                    entry_lines(entry, out)?;
                }
            }
            ReviewCommand::Schema => print(out, "  ", &review.schema)?,
            ReviewCommand::Skip => return Ok(true),
            ReviewCommand::Quit => return Ok(false),
            ReviewCommand::Help => write!(out, "{HELP}")?,
            ReviewCommand::Unclear(why) => writeln!(out, "{why}")?,
        }
    }
}

/// Reads a line without its end; `None` at the end of input or beyond [`MAX_LINE_BYTES`].
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

fn parse_command(line: &str) -> ReviewCommand {
    let mut words = line.split_whitespace();
    let (first, rest) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
    match (first, rest.as_slice()) {
        ("a" | "accept" | "confirm", []) => ReviewCommand::Decide(ReviewDecision::Confirm),
        ("read", []) => ReviewCommand::Decide(ReviewDecision::Access(AccessLevel::Read)),
        ("write", []) => ReviewCommand::Decide(ReviewDecision::Access(AccessLevel::Write)),
        ("admin", []) => ReviewCommand::Decide(ReviewDecision::Access(AccessLevel::Admin)),
        ("labels", ["none"]) => ReviewCommand::Decide(ReviewDecision::Yields(Vec::new())),
        ("labels", [_, ..]) => labels(&rest),
        ("egress", ["yes"]) => ReviewCommand::Decide(ReviewDecision::Egress(true)),
        ("egress", ["no"]) => ReviewCommand::Decide(ReviewDecision::Egress(false)),
        ("holds", [level]) => sensitivity(level),
        ("target", [argument, "none"]) => {
            ReviewCommand::Decide(ReviewDecision::NoTarget((*argument).to_owned()))
        }
        ("target", [text]) => target(text),
        ("schema", []) => ReviewCommand::Schema,
        ("s" | "skip", []) => ReviewCommand::Skip,
        ("q" | "quit", []) => ReviewCommand::Quit,
        ("?" | "help", []) => ReviewCommand::Help,
        _ => ReviewCommand::Unclear(format!("`{}` says nothing here; try `?`", printable(line))),
    }
}

fn target(text: &str) -> ReviewCommand {
    let said = |text: String| (!text.is_empty()).then_some(text);
    match args::target_argument(text) {
        Err(why) => ReviewCommand::Unclear(printable(&why)),
        Ok(wire) => ReviewCommand::Decide(ReviewDecision::Target(TargetArgumentForm {
            argument: wire.argument,
            kind: said(wire.kind),
            base: said(wire.base),
            role: said(wire.role),
            optional: wire.optional,
        })),
    }
}

fn sensitivity(name: &str) -> ReviewCommand {
    match Sensitivity::from_name(name) {
        Some(level) => ReviewCommand::Decide(ReviewDecision::Sensitivity(level)),
        None => ReviewCommand::Unclear(format!(
            "`{}` is none of public, internal, confidential and restricted",
            printable(name)
        )),
    }
}

/// A label may be a company's own, so one that resembles another is taken, and told.
fn labels_that_resemble(labels: &[String], out: &mut impl Write) -> io::Result<()> {
    for label in labels {
        if let Some(meant) = meant_label(label) {
            writeln!(
                out,
                "`{}` is another label than `{meant}`",
                printable(label)
            )?;
        }
    }
    Ok(())
}

fn labels(words: &[&str]) -> ReviewCommand {
    let names = words.iter().flat_map(|word| word.split(','));
    let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
    let names: Vec<String> = names.collect();
    match names.iter().try_for_each(|name| check_label(name)) {
        Err(error) => ReviewCommand::Unclear(printable(&error.to_string())),
        Ok(()) => ReviewCommand::Decide(ReviewDecision::Yields(names)),
    }
}

fn show(review: &ToolReview, out: &mut impl Write) -> io::Result<()> {
    for flag in &review.flags {
        writeln!(out, "  !! {}", printable(flag))?;
    }
    match &review.status {
        Some(status) => writeln!(out, "  {}", printable(status))?,
        None => writeln!(out, "  new")?,
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
    if !entry.file_contents.is_empty() {
        let contents = printables(&entry.file_contents);
        writeln!(out, "  contents  {contents}{}", why("file_contents"))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
