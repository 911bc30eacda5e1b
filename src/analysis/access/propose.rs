//! A policy that takes away what was never used, with its tests.
//!
//! Start at [`propose`]. The policy is compiled with the others and compared: nothing may become wider, and nothing may change
//! that was used. Every test was decided, by the policies as they are and with the new one, before it is written.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};

use crate::analysis::access::diff::{self, Change, Direction};
use crate::analysis::access::outcome::Access;
use crate::analysis::access::sample::{self, TEXTS};
use crate::analysis::access::svg::short;
use crate::analysis::access::{AccessError, AccessQuery, AccessReport, Cell, Row, access};
use crate::analysis::policy_test::TestedBundle;
use crate::bundle::diagnostic::BundleError;
use crate::bundle::files::{FileKind, SourceFile};
use crate::bundle::{self, Bundle, files};
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::visible::escaped;
use crate::domain::schema::{self, TYPES};

/// The most tests that are written.
const MAX_CASES: usize = 2_000;

/// A policy that takes away what was never used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The policies, as Cedar text.
    pub policies: String,
    /// Their tests, as a file for `callgate test`; `None` if no call was found that shows anything.
    pub tests: Option<String>,
    /// How many tests there are.
    pub cases: usize,
    /// How many pairs of party and tool have no test: no call was found that only the new policy decides.
    pub untested: usize,
    /// How many cells of the report become `never`.
    pub narrowed: usize,
}

/// Why nothing is proposed.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Everything was used.
    #[error("nothing is unused: there is nothing to propose")]
    NothingUnused,
    /// The file would not be read.
    #[error("`{file}` would not be read as a policy: {why}")]
    Place {
        /// The file that the policies should be in.
        file: String,
        /// Why not.
        why: String,
    },
    /// The policy does not compile beside the others.
    #[error("the proposed policy does not fit the others: {0}")]
    Faults(#[from] BundleError),
    /// The narrower directory has no report.
    #[error(transparent)]
    Access(#[from] Box<AccessError>),
    /// The policy would change something else.
    #[error(
        "the proposal would also change what {who} can do with {tool}: narrow the parties or tools"
    )]
    Wider {
        /// The party.
        who: String,
        /// The tool.
        tool: String,
    },
}

/// Proposes policies that take away what the report marks as unused. `name` is the file that the policies will be in.
///
/// # Errors
///
/// [`ProposeError`] if the file would not be read, nothing is unused, or if more would change than is meant.
pub fn propose(
    (dir, config): (&Path, Option<&Path>),
    before: &Bundle,
    query: &AccessQuery,
    report: &AccessReport,
    name: &Path,
) -> Result<Proposal, ProposeError> {
    files::check_place(dir, name, FileKind::Policies).map_err(|why| ProposeError::Place {
        file: escaped(&name.display().to_string()).into_owned(),
        why,
    })?;
    let text = policies(report).ok_or(ProposeError::NothingUnused)?;
    let mut files = files::read_with(dir, config)?;
    files.sources.push(SourceFile {
        kind: FileKind::Policies,
        file: Arc::from(name.display().to_string()),
        stem: Arc::from("unused"),
        text: Arc::from(text.as_str()),
        digest: None,
    });
    let after = bundle::compile(&files)?;
    let changes = diff::compare(report, &access(&after, query).map_err(Box::new)?);
    let is_meant = |change: &Change| {
        let of = report.rows.iter().find(|row| row.who == change.who);
        let cell = of.and_then(|row| row.cells.iter().find(|it| it.tool == change.tool));
        // An agent that acts for others takes part in their calls; those get narrower with it.
        change.direction == Direction::Narrower && cell.is_some_and(Cell::is_unused)
    };
    if let Some(other) = changes.iter().find(|change| !is_meant(change)) {
        return Err(ProposeError::Wider {
            who: escaped(&other.who).into_owned(),
            tool: escaped(&other.tool).into_owned(),
        });
    }
    let (tests, untested) = tests(before, &after, report)?;
    Ok(Proposal {
        policies: text,
        cases: tests.len(),
        tests: (!tests.is_empty()).then(|| file(&tests)),
        untested,
        narrowed: changes.len(),
    })
}

/// Policies that take away what may be called and was not; `None` if everything was used. One forbid for each subject, so the
/// result is narrower whatever the other policies say.
pub fn policies(report: &AccessReport) -> Option<String> {
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
        // What agents do for a person is use of theirs.
        let in_person = match *uid.entity_type() == TYPES.user {
            true => "!(context has delegation) && ",
            false => "",
        };
        text.push_str(&format!(
            "\n@id(\"{}\")\n@reason(\"This tool was taken away because it was not used.\")\nforbid (\n  principal == {uid},\n  action in [Mcp::Action::\"call_tool\", Mcp::Action::\"server_initiated\"],\n  resource is Mcp::Tool\n)\nwhen {{ {in_person}[\n{}\n].contains(resource) }};\n",
            policy_id(&row.who),
            tools.join(",\n")
        ));
    }
    (!text.is_empty()).then(|| {
        format!("// What may be called and was not, by the decision log. Look at each before you keep it.\n{text}")
    })
}

fn policy_id(who: &str) -> String {
    let kept = |c: char| match c.is_ascii_alphanumeric() || "-_".contains(c) {
        true => c,
        false => '_',
    };
    let name: String = short(who).chars().map(kept).collect();
    format!("unused.{name}")
}

/// A call that may become a test.
struct Trial {
    who: EntityUID,
    for_user: Option<EntityUID>,
    tool: String,
    /// The policy that has to deny it; `None` for a call of a tool that was used.
    policy: Option<String>,
}

/// A test.
struct Test {
    call: String,
    name: String,
    want: &'static str,
    policies: Vec<String>,
}

/// One test for each pair of party and tool, and the number of pairs without one.
fn tests(
    before: &Bundle,
    after: &Bundle,
    report: &AccessReport,
) -> Result<(Vec<Test>, usize), BundleError> {
    let trials: Vec<Trial> = report.rows.iter().flat_map(trials_of).collect();
    let mut untested = trials.len().saturating_sub(MAX_CASES);
    let trials = &trials[..trials.len() - untested];
    let mut tests: Vec<Option<Test>> = trials.iter().map(|_| None).collect();
    for text in TEXTS {
        let calls: Vec<String> = trials.iter().map(|it| it.call(before, text)).collect();
        let cases: Vec<String> = calls.iter().map(|call| case("?", call, "deny")).collect();
        let all = format!("tests:\n{}", cases.concat());
        let old = TestedBundle::verdicts(before, &all)?;
        let new = TestedBundle::verdicts(after, &all)?;
        for (((trial, call), (old, new)), test) in trials
            .iter()
            .zip(calls)
            .zip(old.iter().zip(&new))
            .zip(&mut tests)
        {
            if test.is_none() {
                *test = trial.test(call, old, new);
            }
        }
    }
    let is_shown = tests.iter().zip(trials);
    // A tool that stays needs no test if no call of it was found that is allowed.
    let lacking = is_shown.filter(|(test, trial)| test.is_none() && trial.policy.is_some());
    untested += lacking.count();
    Ok((tests.into_iter().flatten().collect(), untested))
}

/// For each tool of a party that it may call: by itself, or for the first user for whom it may.
fn trials_of(row: &Row) -> Vec<Trial> {
    let Ok(who) = row.who.parse::<EntityUID>() else {
        return Vec::new();
    };
    let may_be_called = |cell: &&Cell| cell.access != Access::Never && cell.used.is_some();
    let each = row.cells.iter().filter(may_be_called).map(|cell| {
        let mut cases = cell.cases.iter();
        let open = cases.find(|it| it.outcome.access() != Access::Never);
        let root = open.and_then(|it| it.on_behalf_of.first());
        let root = root.and_then(|it| it.parse::<EntityUID>().ok());
        Trial {
            who: who.clone(),
            for_user: root.filter(|it| *it.entity_type() == TYPES.user),
            tool: cell.tool.clone(),
            policy: cell.is_unused().then(|| policy_id(&row.who)),
        }
    });
    each.collect()
}

impl Trial {
    /// The call as fields of a test, each text argument `text`.
    fn call(&self, bundle: &Bundle, text: &str) -> String {
        let uid = schema::entity_uid(&TYPES.tool, self.tool.as_str());
        let arguments: Map<String, Json> = sample::arguments(&bundle.snapshot, &uid, text);
        let ty = self.who.entity_type();
        let (field, kind) = match (*ty == TYPES.agent, *ty == TYPES.server) {
            (true, _) => ("agent", ""),
            (_, true) => ("from_server", "kind: reverse_call, "),
            _ => ("user", ""),
        };
        let mut call = format!("    {field}: {}\n", quoted(id(&self.who)));
        if let Some(user) = &self.for_user {
            let _ = writeln!(call, "    for: {}", quoted(id(user)));
        }
        let (tool, arguments) = (quoted(&self.tool), Json::Object(arguments));
        let _ = writeln!(
            call,
            "    call: {{{kind}tool: {tool}, arguments: {arguments}}}"
        );
        call
    }

    /// The test, if the verdicts on the call show something: that the policy takes the tool away, or that one that was used
    /// stays.
    fn test(&self, call: String, old: &Verdict, new: &Verdict) -> Option<Test> {
        let who = short(&self.who.to_string()).to_owned();
        let determining = new.determining_policies.iter();
        let policies: Vec<String> = determining.map(|it| it.id.to_string()).collect();
        match &self.policy {
            Some(policy) => (!new.is_allow() && policies.contains(policy)).then(|| Test {
                name: format!("{who} does not call {}: it was never used", self.tool),
                call,
                want: "deny",
                policies,
            }),
            None => (old.is_allow() && new.is_allow()).then(|| Test {
                name: format!("{who} calls {} as before", self.tool),
                call,
                want: "allow",
                policies: Vec::new(),
            }),
        }
    }
}

fn case(name: &str, call: &str, want: &str) -> String {
    format!("  - name: {}\n{call}    want: {want}\n", quoted(name))
}

fn file(tests: &[Test]) -> String {
    let mut text = String::from(
        "about: what may be called and was not, by the decision log, and what stays\n\ntests:\n",
    );
    for test in tests {
        text.push_str(&case(&test.name, &test.call, test.want));
        if !test.policies.is_empty() {
            let policies: Vec<String> = test.policies.iter().map(|it| quoted(it)).collect();
            let _ = writeln!(text, "    policies: [{}]", policies.join(", "));
        }
    }
    text
}

fn id(uid: &EntityUID) -> &str {
    uid.eid().as_ref()
}

/// A text as JSON, which YAML reads as well.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
