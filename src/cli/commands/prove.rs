//! `callgate prove`: proves what holds for every request.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::analysis::access::diff::Direction;
use crate::analysis::answer_changes::AnswerChange;
use crate::analysis::prove::properties::PropertyKind;
use crate::analysis::prove::revision::Revision;
use crate::analysis::prove::{
    self, Answer, Counterexample, FindingKind, PolicyFinding, ProofError, ProofReport,
    ProofRequest, Relation, TypeComparison,
};
use crate::cli::file;
use crate::cli::output::{Exit, Output, note};
use crate::cli::render::{count, printable, quoted};
use crate::domain::request::visible::escaped_lines;

/// What `--against` begins with for a revision of git.
const GIT: &str = "git:";
/// Kinds of requests that are listed by name.
const MAX_LISTED: usize = 20;

/// Proves what holds for every request, whatever entities there are
///
/// Properties are policies in `proofs/` of the directory: a `forbid` says that no request it matches is ever allowed, a
/// `permit` that every request it matches is. Beyond that each policy is looked at: does it ever apply, can it fail, does
/// another one make it pointless? The answers are proofs by an external solver, cvc5 (`$CVC5` or the search path), over all
/// requests and entities that the schema allows. What does not hold is shown by a request that anybody can run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory, as `callgate serve --config`
    /// does
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the properties from this directory or file rather than from `proofs/` in the directory
    #[arg(long, value_name = "PATH")]
    pub proofs: Option<PathBuf>,
    /// Prove that nothing is allowed that these policies, a directory or one file, do not allow
    #[arg(long, value_name = "PATH")]
    pub ceiling: Option<PathBuf>,
    /// Compare with an older directory, or with this one at a revision: `git:REVISION`
    #[arg(long, value_name = "DIR")]
    pub against: Option<String>,
    /// Only properties and policies whose id contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Do not look at each policy
    #[arg(long)]
    pub skip_policies: bool,
    /// How many seconds to look at each policy, all together; 0: as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub limit: u64,
    /// Write counterexamples as files into this directory rather than to the terminal
    #[arg(long, value_name = "DIR")]
    pub counterexamples: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate prove                                   properties of ./policies, and each policy
  callgate prove --skip-policies --only secrets    some properties
  callgate prove --ceiling ceiling.cedar           is more allowed than the security team grants?
  callgate prove --skip-policies --against git:main
                                                   what is allowed that was not, and the other way round?

Exit codes: 0 all is proven, 1 error or no solver, 2 something does not hold or is not proven,
3 the directory or a property has faults, 4 the older directory decides otherwise.";

/// Proves and prints the answers.
///
/// # Errors
///
/// If there is no solver, the revision cannot be had, or the answers cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let revision = match args.against.as_deref().and_then(|it| it.strip_prefix(GIT)) {
        Some(revision) => {
            let checkout = Revision::checkout(&args.dir, revision);
            Some(checkout.map_err(anyhow::Error::msg)?)
        }
        None => None,
    };
    let against = match &revision {
        Some(revision) => Some(revision.path().to_owned()),
        None => args.against.as_ref().map(PathBuf::from),
    };
    let request = ProofRequest {
        dir: args.dir.clone(),
        config: args.config.clone(),
        proofs: args.proofs.clone(),
        ceiling: args.ceiling.clone(),
        against,
        only: args.only.clone(),
        with_policies: !args.skip_policies,
        limit: (args.limit > 0).then(|| Duration::from_secs(args.limit)),
    };
    let report = match prove::prove(&request) {
        Ok(report) => report,
        Err(ProofError::Faults(faults)) => return args.output.faults(&faults),
        Err(error) => return Err(error.into()),
    };
    if args.output != Output::Json {
        for warning in &report.warnings {
            note(escaped_lines(&warning.as_warning().to_string()));
        }
    }
    let mut text = ProofText::new(&args.dir, args.counterexamples.as_deref())?;
    text.report(&report)?;
    args.output.answer(&text.out, &report)?;
    Ok(match (report.is_proven(), report.is_different()) {
        (false, _) => Exit::Denied,
        (true, true) => Exit::Flips,
        (true, false) => Exit::Done,
    })
}

/// The text, as it grows.
struct ProofText<'a> {
    dir: &'a Path,
    counterexamples: Option<&'a Path>,
    written: usize,
    out: String,
}

impl<'a> ProofText<'a> {
    fn new(dir: &'a Path, counterexamples: Option<&'a Path>) -> anyhow::Result<Self> {
        if let Some(place) = counterexamples {
            file::check_name(place)?;
            fs::create_dir_all(place)?;
        }
        Ok(Self {
            dir,
            counterexamples,
            written: 0,
            out: String::new(),
        })
    }

    fn line(&mut self, line: impl fmt::Display) {
        self.out.push_str(&line.to_string());
        self.out.push('\n');
    }

    fn report(&mut self, report: &ProofReport) -> anyhow::Result<()> {
        for it in &report.properties {
            let what = match it.kind {
                PropertyKind::NeverAllowed => "never allowed",
                PropertyKind::AlwaysAllowed => "always allowed",
            };
            let place = format!("{}:{}", printable(&it.file), it.line);
            self.answer(
                &format!("{} ({what}, {place})", printable(&it.id)),
                &it.answer,
                &it.id,
            )?;
        }
        if let Some(answer) = &report.ceiling {
            self.answer("within the ceiling", answer, "ceiling")?;
        }
        for finding in &report.findings {
            self.finding(finding)?;
        }
        if let Some(comparison) = &report.comparison {
            self.comparison(comparison)?;
        }
        for it in &report.answers {
            self.answer_change(it);
        }
        self.summary(report);
        Ok(())
    }

    fn answer(&mut self, what: &str, answer: &Answer, name: &str) -> anyhow::Result<()> {
        match answer {
            Answer::Holds { vacuous: false } => self.line(format!("PROVEN    {what}")),
            Answer::Holds { vacuous: true } => {
                self.line(format!("VACUOUS   {what}"));
                self.line("          it says nothing: no request matches it");
            }
            Answer::Unproven { why } => {
                self.line(format!("UNPROVEN  {what}"));
                self.line(format!("          {}", printable(why)));
            }
            Answer::Broken { counterexample } => {
                self.line(format!("BROKEN    {what}"));
                self.counterexample(counterexample, name)?;
            }
        }
        Ok(())
    }

    fn counterexample(&mut self, it: &Counterexample, name: &str) -> anyhow::Result<()> {
        let question = &it.question;
        let parts = [&question.principal, &question.action, &question.resource];
        let parts = parts.map(|part| printable(part));
        self.line(format!("          {}", parts.join(" ")));
        let confirmed = match it.confirmed {
            true => "confirmed by the engine",
            false => "NOT confirmed by the engine",
        };
        self.line(format!("          {confirmed}: {}", printable(&it.engine)));
        let dir = quoted(&self.dir.display().to_string());
        let command = format!("callgate authorize --policies {dir} --cedar");
        let json = ascii(&serde_json::to_string_pretty(question)?);
        match self.counterexamples {
            Some(place) => {
                self.written += 1;
                let path = place.join(format!("{}-{}.json", self.written, file_name(name)));
                file::replace(&path, format!("{json}\n"))?;
                let path = quoted(&path.display().to_string());
                self.line(format!("          {command} {path}"));
            }
            None => self.line(format!("{command} - <<'EOF'\n{json}\nEOF")),
        }
        Ok(())
    }

    fn finding(&mut self, finding: &PolicyFinding) -> anyhow::Result<()> {
        let by = printable(finding.by.as_deref().unwrap_or_default());
        let (matches, forbids) = match by.contains(", ") {
            true => ("together match", "together forbid"),
            false => ("matches", "forbids"),
        };
        let (code, what) = match finding.kind {
            FindingKind::NeverApplies => ("NEVER", "no request matches it".to_owned()),
            FindingKind::AlwaysApplies => (
                "ALWAYS",
                "its conditions are true of every request within its scope".to_owned(),
            ),
            FindingKind::CanErr => (
                "CAN ERR",
                "some request makes it fail, which denies".to_owned(),
            ),
            FindingKind::Shadowed => ("SHADOWED", format!("`{by}` {matches} whatever it matches")),
            FindingKind::Overridden => (
                "OVERRIDDEN",
                format!("`{by}` {forbids} whatever it permits"),
            ),
            FindingKind::Unproven => ("UNPROVEN", by.clone()),
        };
        let place = match finding.file.as_str() {
            "" => "a template link".to_owned(),
            file => format!("{}:{}", printable(file), finding.line),
        };
        self.line(format!("{code:10}{} ({place})", printable(&finding.policy)));
        self.line(format!("          {what}"));
        if let Some(example) = &finding.counterexample {
            self.counterexample(example, &finding.policy)?;
        }
        Ok(())
    }

    fn comparison(&mut self, types: &[TypeComparison]) -> anyhow::Result<()> {
        let relations = [
            (Relation::Equal, "EQUAL", "as before"),
            (Relation::Wider, "WIDER", "more is allowed than before"),
            (
                Relation::Narrower,
                "NARROWER",
                "less is allowed than before",
            ),
            (
                Relation::Incomparable,
                "DIFFERENT",
                "both more and less is allowed than before",
            ),
            (Relation::Added, "ADDED", "there was no such request before"),
            (
                Relation::Removed,
                "REMOVED",
                "there is no such request any more",
            ),
            (Relation::Unproven, "UNPROVEN", "not compared"),
        ];
        for (relation, code, what) in relations {
            let of: Vec<_> = types.iter().filter(|it| it.relation == relation).collect();
            if of.is_empty() {
                continue;
            }
            self.line(format!(
                "{code:10}{}: {what}",
                count(of.len(), "request type")
            ));
            if relation == Relation::Equal {
                continue;
            }
            for it in of.iter().take(MAX_LISTED) {
                self.line(format!("          {}", printable(&it.request_type)));
                if let Some(why) = &it.why {
                    self.line(format!("            {}", printable(why)));
                }
            }
            if of.len() > MAX_LISTED {
                let more = of.len() - MAX_LISTED;
                self.line(format!("          and {more} more (--output json has all)"));
            }
            // One request for each way to differ; JSON has one for each kind.
            let now = of.iter().find_map(|it| it.allowed_now.as_ref());
            let before = of.iter().find_map(|it| it.allowed_before.as_ref());
            for (said, example) in [("allowed now", now), ("allowed before", before)] {
                if let Some(example) = example {
                    self.line(format!("          {said}, for example:"));
                    self.counterexample(example, &said.replace(' ', "-"))?;
                }
            }
        }
        Ok(())
    }

    /// What both directories decide, and does not hold the same way.
    fn answer_change(&mut self, it: &AnswerChange) {
        let (code, how) = match it.direction {
            Direction::Wider => ("WEAKER", "answers hold less than before"),
            Direction::Narrower => ("STRONGER", "answers hold more than before"),
            Direction::Different => ("DIFFERENT", "answers hold something else than before"),
        };
        let of = match &it.policy {
            Some(policy) => format!("`{}` of {}", it.part, printable(policy)),
            None => "what is only observed".to_owned(),
        };
        self.line(format!("{code:10}{of}: {how}"));
        let (before, after) = (it.before.to_string(), it.after.to_string());
        self.line(format!(
            "          {} -> {}",
            printable(&before),
            printable(&after)
        ));
    }

    fn summary(&mut self, report: &ProofReport) {
        if !self.out.is_empty() {
            self.line("");
        }
        let proven = report.properties.iter();
        let proven = proven
            .filter(|it| it.answer == Answer::Holds { vacuous: false })
            .count();
        self.line(format!(
            "{proven} of {} proven, over {} and {}, in {:.1} s",
            count(report.properties.len(), "property"),
            count(report.request_types, "request type"),
            count(report.policies, "policy"),
            report.millis as f64 / 1e3
        ));
        if report.looked_at_policies {
            let found = count(report.findings.len(), "finding");
            match report.policies_left_out {
                0 => self.line(format!("each policy looked at: {found}")),
                left_out => self.line(format!(
                    "CUT SHORT  {} not looked at, because the time was up: {found} so far. Choose some with `--only`, or \
                     allow more with `--limit`",
                    count(left_out, "policy")
                )),
            }
        }
        self.line(
            "What is never allowed by Cedar is never allowed by Callgate. What is always allowed need not be: Callgate\n\
             allows a call only if Cedar allows it for every principal involved, no policy fails, and the evidence of the\n\
             call holds. Proofs are about any entities that fit the schema, not only those of the directory.",
        );
    }
}

/// JSON with every character beyond ASCII escaped, so that a terminal shows and a shell passes exactly this.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// An id as part of a file's name.
fn file_name(id: &str) -> String {
    let kept = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '-',
    };
    id.chars().take(64).map(kept).collect()
}
