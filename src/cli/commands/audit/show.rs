//! `callgate audit show`: one decision as a story.

use serde_json::json;
use uuid::Uuid;

use crate::audit::filter::is_write_about_approval;
use crate::audit::find::{self, FoundRecord, SearchScope};
use crate::audit::json as records;
use crate::audit::outcome_check::OutcomeCheck;
use crate::audit::record::schema::record;
use crate::audit::verify;
use crate::cli::commands::audit::args::{LogArgs, RecordId, record_id};
use crate::cli::commands::audit::story::Story;
use crate::cli::output::{Exit, Output};

/// Tells one decision as a story: the chain, each principal's verdict, what it used up, its outcome
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The id of the decision, or the index of a record of any kind
    #[arg(value_name = "ID", value_parser = record_id)]
    id: RecordId,
    #[command(flatten)]
    log: LogArgs,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit show 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11
  callgate audit show 17 --log /var/lib/callgate/audit --output json

Exit codes: 0 done, 1 error.";

/// Finds what belongs together and prints it.
///
/// # Errors
///
/// If the log does not have the record, or cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let record = args.id.find(&args.log)?;
    let mut parent = None;
    let (mut approvals, mut later) = (Vec::new(), Vec::new());
    let mut check = OutcomeCheck::default();
    check.note(&record.message);
    if let Some(record::Kind::Decision(decision)) = &record.message.kind {
        if let Ok(id) = Uuid::from_slice(&decision.parent_decision_id) {
            parent = find::decision(&args.log.directory, id, SearchScope::WholeLog)?;
        }
        for id in &decision.approval_ids {
            let before = 0..record.stored.index;
            find::each_naming(&args.log.open()?, before, id.as_bytes(), |found| {
                if matches!(&found.message.kind, Some(record::Kind::Write(it)) if is_write_about_approval(it, id))
                {
                    approvals.push(found);
                }
                true
            })?;
        }
        if let Ok(id) = <[u8; 16]>::try_from(&decision.id[..]) {
            let start = record.stored.index + 1;
            find::each_naming(&args.log.open()?, start..u64::MAX, &id, |mut found| {
                if belongs(&found, &id) {
                    found.doubts = check.note(&found.message);
                    later.push(found);
                }
                true
            })?;
        }
    }
    let json = json!({
        "record": records::record(&record.message),
        "parent": parent.as_ref().map(|it| records::record(&it.message)),
        "approvals": approvals.iter().map(FoundRecord::json).collect::<Vec<_>>(),
        "later": later.iter().map(FoundRecord::json).collect::<Vec<_>>(),
    });
    let story = Story {
        record: &record,
        parent: parent.as_ref(),
        approvals: &approvals,
        later: &later,
        signed: verify::signed(&args.log.directory),
    };
    args.output.answer(&story.text(), &json)?;
    Ok(Exit::Done)
}

/// Whether a record is the outcome of the decision, or of a call that follows from it.
fn belongs(found: &FoundRecord, id: &[u8; 16]) -> bool {
    match &found.message.kind {
        Some(record::Kind::Outcome(it)) => it.decision_id == id[..],
        Some(record::Kind::Decision(it)) => it.parent_decision_id == id[..],
        _ => false,
    }
}
