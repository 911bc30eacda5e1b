//! Arguments that several verbs share: where the log is, which key verifies it, and which records are meant.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use uuid::Uuid;

use crate::audit::envelope::nanos;
use crate::audit::filter::{Filter, Kind};
use crate::audit::find::{self, FoundRecord, SearchScope};
use crate::audit::json;
use crate::audit::log_files::{SEGMENTS, TREE};
use crate::audit::outcome_check::OutcomeCheck;
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::schema::Verdict;
use crate::audit::tree::key_file::{self, PUBLIC_KEY_FILE};
use crate::audit::tree::note::VerifyingKey;
use crate::audit::verify;
use crate::audit::wire::as_recorded;
use crate::cli::output::note;
use crate::cli::render::{count, printable};
use crate::cli::value_parser;
use crate::domain::reason::ReasonCode;
use crate::domain::request::canonical;
use crate::proto::v1::EntityRef;

/// The directory of the log.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The directory of the log, as `directory` of `[audit]` says
    #[arg(long = "log", value_name = "DIR", default_value = "./audit")]
    pub directory: PathBuf,
}

impl LogArgs {
    /// Opens the log.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open(&self) -> anyhow::Result<LogReader> {
        LogReader::open(&self.directory).with_context(|| self.is_not_there())
    }

    /// Checks that there is a log, or what is left of one.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn check_is_there(&self) -> anyhow::Result<()> {
        let has = |folder| self.directory.join(folder).exists();
        anyhow::ensure!(has(SEGMENTS) || has(TREE), self.is_not_there());
        Ok(())
    }

    /// The identity of the log by the key beside it; empty if that is not there.
    pub fn origin(&self) -> String {
        let key = verifying_key(None, &self.directory);
        key.map_or_else(|_| String::new(), |key| key.name().to_owned())
    }

    fn is_not_there(&self) -> String {
        let directory = self.directory.display();
        format!("there is no decision log in `{directory}`: name it with `--log`")
    }
}

/// Reads a key: its text, or the file it is in. Without one, the key beside the log.
///
/// # Errors
///
/// If it cannot be read, or is not there.
pub fn verifying_key(given: Option<&str>, log: &Path) -> anyhow::Result<VerifyingKey> {
    Ok(match given {
        Some(text) if text.contains('+') && !Path::new(text).exists() => {
            VerifyingKey::decode(text)?
        }
        Some(file) => key_file::read_verifying_key(Path::new(file))?,
        None => {
            let beside = log.join(TREE).join(PUBLIC_KEY_FILE);
            key_file::read_verifying_key(&beside).with_context(|| {
                let gone = match log.join(TREE).exists() {
                    true => "the log's own key",
                    false => "the log's tree is gone, and with it its checkpoint and its key",
                };
                format!("{gone}: `callgate audit verify --key` takes one that you kept")
            })?
        }
    })
}

/// A record, by its place in the log or by the id of its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordId {
    /// The id of a decision.
    Decision(Uuid),
    /// The index of a record of any kind.
    Index(u64),
}

/// Parses the id of a decision, or the index of a record.
///
/// # Errors
///
/// If it is neither.
pub fn record_id(text: &str) -> Result<RecordId, String> {
    if let Ok(index) = text.parse() {
        return Ok(RecordId::Index(index));
    }
    Uuid::parse_str(text).map(RecordId::Decision).map_err(|_| {
        "it is neither the id of a decision (a UUID) nor the index of a record".to_owned()
    })
}

impl RecordId {
    /// Finds the record.
    ///
    /// # Errors
    ///
    /// If the log does not have it, or cannot be read.
    pub fn find(self, log: &LogArgs) -> anyhow::Result<FoundRecord> {
        let reader = log.open()?;
        match self {
            Self::Decision(id) => find::decision(&log.directory, id, SearchScope::WholeLog)?
                .with_context(|| find::why_not_found(&log.directory, &reader, id)),
            Self::Index(index) => {
                let stored = reader.get(index)?;
                let stored =
                    stored.with_context(|| find::why_no_record(&log.directory, &reader, index))?;
                let message = stored.decode()?;
                Ok(FoundRecord::new(stored, message))
            }
        }
    }
}

/// Which records are meant.
#[derive(Debug, Default, clap::Args)]
#[command(
    next_help_heading = "Which records (all conditions must hold; of one given twice, either)"
)]
pub struct FilterArgs {
    /// Only records of a kind: decision, write, outcome or notice
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,
    /// An agent that takes part, as subject or as an actor in the chain, or that a write is about, as a stop
    #[arg(long, value_name = "NAME", value_parser = value_parser::agent)]
    agent: Vec<EntityRef>,
    /// A user who takes part, asked for a write, or whom one is about
    #[arg(long, value_name = "NAME", value_parser = value_parser::user)]
    user: Vec<EntityRef>,
    /// The MCP server, also of writes about it
    #[arg(long, value_name = "NAME", value_parser = name)]
    server: Vec<String>,
    /// The tool: its name, or SERVER/TOOL
    #[arg(long, value_name = "TOOL", value_parser = tool)]
    tool: Vec<String>,
    /// Only what was decided so: allow or deny
    #[arg(long, value_name = "DECISION", value_parser = decision)]
    decision: Option<Verdict>,
    /// A reason code, e.g. NO_PERMIT
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Vec<String>,
    /// A policy that had a part in it, in shadow too
    #[arg(long, value_name = "ID", value_parser = name)]
    policy: Vec<String>,
    /// Only decisions that a policy in shadow mode would have changed
    #[arg(long)]
    shadow: bool,
    /// The owner of such a policy
    #[arg(long, value_name = "OWNER", value_parser = name)]
    owner: Vec<String>,
    /// A control that such a policy implements
    #[arg(long, value_name = "CONTROL", value_parser = name)]
    control: Vec<String>,
    /// The session, by its name or by the digest that stands for a long one
    #[arg(long, value_name = "ID", value_parser = name)]
    session: Vec<String>,
    /// The task
    #[arg(long, value_name = "ID", value_parser = name)]
    task: Vec<String>,
    /// The approval: calls that name it, and who asked for it, gave it or took it away
    #[arg(long, value_name = "ID", value_parser = name)]
    approval: Vec<String>,
    /// The delegation: calls under it, and who granted, narrowed or revoked it
    #[arg(long, value_name = "ID", value_parser = name)]
    delegation: Vec<String>,
    /// The decision, with its outcome
    #[arg(long = "decision-id", value_name = "UUID", value_parser = Uuid::parse_str)]
    decision_id: Vec<Uuid>,
    /// The trace (W3C Trace Context): 32 hexadecimal digits
    #[arg(long = "trace-id", value_name = "HEX", value_parser = trace_id)]
    trace_id: Vec<u128>,
    /// Not before: a time in UTC such as `2030-01-31T15:00:00Z`, or so long ago, e.g. `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Before: a time in UTC, or so long ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
}

impl FilterArgs {
    /// The filter. Texts are held against those of records, where long ones are cut.
    pub fn filter(&self) -> Filter {
        let group = |entities: &[EntityRef]| {
            let group = entities.iter().map(|it| as_recorded(&as_cedar(it)));
            let group: Vec<_> = group.collect();
            (!group.is_empty()).then_some(group)
        };
        let tool = |text: &String| match text.split_once('/') {
            Some((server, tool)) => (Some(as_recorded(server)), as_recorded(tool)),
            None => (None, as_recorded(text)),
        };
        let texts = |of: &[String]| of.iter().map(|it| as_recorded(it)).collect::<Vec<_>>();
        Filter {
            kinds: self.kind.clone(),
            principals: [group(&self.agent), group(&self.user)]
                .into_iter()
                .flatten()
                .collect(),
            servers: texts(&self.server),
            tools: self.tool.iter().map(tool).collect(),
            decision: self.decision,
            codes: self.code.clone(),
            policies: texts(&self.policy),
            is_shadow: self.shadow,
            owners: texts(&self.owner),
            controls: texts(&self.control),
            sessions: self.session.iter().flat_map(|it| sessions(it)).collect(),
            tasks: texts(&self.task),
            approvals: texts(&self.approval),
            delegations: texts(&self.delegation),
            decision_ids: self
                .decision_id
                .iter()
                .map(|id| id.as_bytes().to_vec())
                .collect(),
            trace_ids: self
                .trace_id
                .iter()
                .map(|id| id.to_be_bytes().to_vec())
                .collect(),
            since: self.since.map(nanos),
            until: self.until.map(nanos),
        }
    }

    /// Passes each matching record to `each`, in order, until it returns `false`. Returns what of the log could not be
    /// read.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or `each` fails.
    pub fn each(
        &self,
        log: &LogArgs,
        mut each: impl FnMut(FoundRecord) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Vec<LogError>> {
        let reader = self.check(log)?;
        let filter = self.filter();
        let start = match filter.since {
            Some(since) => find::start_at(&log.directory, since)?,
            None => 0,
        };
        let mut faults = Vec::new();
        let first = reader.first_index()?;
        let mut removed = None;
        if start <= first {
            faults.extend(find::missing_before(&log.directory)?);
            removed = Some(first).filter(|first| *first > 0 && faults.is_empty());
        }
        let mut check = OutcomeCheck::default();
        let (without_lists, mut cut) = (filter.without_lists(), 0);
        // Before the log is read, which may grow meanwhile.
        let signed = verify::signed(&log.directory);
        let mut next = start;
        for item in reader.iter_from(start) {
            let stored = match item {
                Ok(stored) => stored,
                Err(error @ LogError::Io { .. }) => return Err(error.into()),
                Err(error) => {
                    keep(&mut faults, error);
                    continue;
                }
            };
            let message = match stored.decode() {
                Ok(message) => message,
                Err(error) => {
                    keep(&mut faults, error.into());
                    continue;
                }
            };
            next = stored.index.saturating_add(1);
            if let Some(first) = removed.take()
                && filter.since.is_none_or(|since| since < message.at)
            {
                note(format_args!(
                    "note: the log begins with record {first}, of {}: older ones were removed by their age or size",
                    json::time(message.at)
                ));
            }
            let doubts = check.note(&message);
            let found = FoundRecord {
                doubts,
                ..FoundRecord::new(stored, message)
            };
            if filter.matches(&found.message) {
                if !each(found)? {
                    return Ok(faults);
                }
            } else if found.message.is_cut
                && (without_lists.as_ref()).is_some_and(|it| it.matches(&found.message))
            {
                cut += 1;
            }
        }
        if cut > 0 {
            let cut = count(cut, "record");
            note(format_args!(
                "warning: {cut} with lists that are cut may belong to these, too: `is_cut` in JSON"
            ));
        }
        if let Some(fault) = find::cut_off(next, signed) {
            keep(&mut faults, fault);
        }
        Ok(faults)
    }

    /// Why nothing may have been found, apart from that nothing is there.
    pub fn why_nothing(&self) -> &'static str {
        match self.filter().asks_for_what_none_has() {
            true => {
                "of outcomes and notices they never hold: look for the decision, and for its outcome with `--decision-id`"
            }
            false => "names are taken as they are, so one that is misspelt finds nothing",
        }
    }

    /// Checks what can be checked before the log is read.
    ///
    /// # Errors
    ///
    /// If there is no log, or no time in the range.
    pub fn check(&self, log: &LogArgs) -> anyhow::Result<LogReader> {
        if let Some((since, until)) = self.since.zip(self.until) {
            anyhow::ensure!(since < until, "`--until` is not after `--since`");
        }
        log.open()
    }
}

fn keep(faults: &mut Vec<LogError>, fault: LogError) {
    const MOST: usize = 100;
    if faults.len() < MOST {
        faults.push(fault);
    }
}

/// Warns of what of the log could not be read.
pub fn warn_of<'f>(faults: impl IntoIterator<Item = &'f LogError>) {
    let mut is_damaged = false;
    for fault in faults {
        is_damaged = true;
        note(format_args!("warning: {}", printable(&fault.to_string())));
    }
    if is_damaged {
        note("warning: the log is damaged: see `callgate audit verify`");
    }
}

/// The ids that records may have of a session: its own, or its digest if it is long.
fn sessions(id: &str) -> [String; 2] {
    [as_recorded(id), canonical::digest_of_text(id)]
}

/// An entity as records have it.
fn as_cedar(entity: &EntityRef) -> String {
    format!("{}::\"{}\"", entity.r#type, entity.id.escape_debug())
}

/// A name or an id. Without one, records that have none would match.
fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn tool(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some(("", _) | (_, "")) => Err("it is neither a tool nor SERVER/TOOL".to_owned()),
        _ => name(text),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "decision" => Ok(Kind::Decision),
        "write" => Ok(Kind::Write),
        "outcome" => Ok(Kind::Outcome),
        "notice" => Ok(Kind::Notice),
        _ => Err("it is none of decision, write, outcome, notice".to_owned()),
    }
}

fn decision(text: &str) -> Result<Verdict, String> {
    match text {
        "allow" => Ok(Verdict::Allow),
        "deny" => Ok(Verdict::Deny),
        _ => Err("it is neither allow nor deny".to_owned()),
    }
}

fn code(text: &str) -> Result<String, String> {
    let known = ReasonCode::ALL.map(ReasonCode::as_str);
    match known.iter().find(|known| known.eq_ignore_ascii_case(text)) {
        Some(code) => Ok((*code).to_owned()),
        None => Err(format!("it is no reason code: {}", known.join(", "))),
    }
}

fn trace_id(text: &str) -> Result<u128, String> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    parsed.ok_or_else(|| "it is not a trace id of 32 hexadecimal digits".to_owned())
}

fn time(text: &str) -> Result<SystemTime, String> {
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    let lasting = humantime::parse_duration(text).ok().and_then(ago);
    lasting
        .or_else(|| humantime::parse_rfc3339(text).ok())
        .ok_or_else(|| {
            "it is neither a time in UTC such as `2030-01-31T15:00:00Z` nor a duration such as `2h`"
                .to_owned()
        })
}
