//! Decision logs as the server writes them, with records that are the same in every run. Unit tests include this file too.

use std::fs;
use std::io;
use std::path::Path;

use callgate::audit::frame;
use callgate::audit::log_files::{self, SEGMENTS, TREE};
use callgate::audit::record::schema::{
    ActorChain, ControlWrite, Decision, Notice, Outcome, Policy, PrincipalVerdict, Reason,
    SideEffects, Target, Verdict, notice, outcome, record,
};
use callgate::audit::record::{Record, StoredRecord};
use callgate::audit::tree::hash::TreeHash;
use callgate::audit::tree::key_file::{KEY_FILE, PUBLIC_KEY_FILE};
use callgate::audit::tree::note::{SigningKey, VerifyingKey};
use callgate::audit::tree::tile_dir::TileDir;
use callgate::audit::tree::writer::{Leaves, TreeWriter};

/// 2030-01-31T15:00:00Z.
pub const START: u64 = 1_896_102_000_000_000_000;
/// The decision that has everything.
pub const FULL: &str = "0191e2a0-0000-7000-8000-000000000002";
/// The decision that follows from it.
pub const CHILD: &str = "0191e2a0-0000-7000-8000-000000000004";

/// What others would like a terminal to do.
pub const HOSTILE: &str = "x\u{1b}[2J\u{202e}evil\u{200b}\r\nallow \u{7}";

/// The id of a decision: 16 bytes.
pub fn id(number: u8) -> Vec<u8> {
    let mut id = vec![
        0x01, 0x91, 0xe2, 0xa0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0,
    ];
    id[15] = number;
    id
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn policy(id: &str, owner: &str, controls: &[&str]) -> Policy {
    Policy {
        id: id.to_owned(),
        owner: owner.to_owned(),
        controls: texts(controls),
    }
}

fn principal(name: &str, verdict: Verdict, permits: &[&str], forbids: &[&str]) -> PrincipalVerdict {
    PrincipalVerdict {
        principal: name.to_owned(),
        action: "Mcp::Action::\"call_write\"".to_owned(),
        resource: "Mcp::Tool::\"github/create_issue\"".to_owned(),
        verdict: verdict.into(),
        permits: texts(permits),
        forbids: texts(forbids),
        policies_evaluated: 4,
        ..PrincipalVerdict::default()
    }
}

/// A decision in which every field is set.
fn full_decision() -> Decision {
    Decision {
        id: id(2).into(),
        verdict: Verdict::Deny.into(),
        revision: 12,
        policy_set_digest: vec![0xab; 32].into(),
        adapter: "grpc".to_owned(),
        caller: "gateway".to_owned(),
        request_id: "req-1".to_owned(),
        is_dry_run: false,
        operation: "tools/call".to_owned(),
        initiator: "client".to_owned(),
        server: "github".to_owned(),
        tool: "create_issue".to_owned(),
        subject: "Mcp::Agent::\"support\"".to_owned(),
        chain: Some(ActorChain {
            root: "Mcp::User::\"sam\"".to_owned(),
            actors: texts(&["Mcp::Agent::\"planner\""]),
            delegation_ids: texts(&["d-1", "d-2"]),
            scopes: texts(&["issues"]),
            is_verified: true,
        }),
        parent_decision_id: id(1).into(),
        session_id: "session-1".to_owned(),
        task_id: "task-1".to_owned(),
        step: "triage".to_owned(),
        jsonrpc_id: "7".to_owned(),
        approval_ids: texts(&["a-1"]),
        purpose_hmac: "0123".to_owned(),
        address_hmac: "4567".to_owned(),
        uri_hmac: "89ab".to_owned(),
        targets: vec![Target {
            kind: "url".to_owned(),
            role: "repository".to_owned(),
            name_hmac: "cdef".to_owned(),
            ..Target::default()
        }],
        reasons: vec![Reason {
            code: "FORBIDDEN".to_owned(),
            principal: "Mcp::User::\"sam\"".to_owned(),
            missing: texts(&["approval"]),
            policies: texts(&["mcp.writes-need-approval"]),
            stop: None,
        }],
        determining_policies: vec![policy(
            "mcp.writes-need-approval",
            "security",
            &["SOC2-CC6.1", "ISO-A.5"],
        )],
        shadow_policies: vec![policy("mcp.new-rule", "platform", &[])],
        principals: vec![
            principal(
                "Mcp::Agent::\"support\"",
                Verdict::Allow,
                &["mcp.agents"],
                &[],
            ),
            principal(
                "Mcp::User::\"sam\"",
                Verdict::Deny,
                &[],
                &["mcp.writes-need-approval"],
            ),
        ],
        obligations: texts(&["log-arguments"]),
        challenge_digest: vec![0x0f; 32].into(),
        took_nanos: 85_400,
        trace_id: vec![0x0a; 16].into(),
        span_id: vec![0x0b; 8].into(),
        capsule_digest: vec![0xcd; 32].into(),
        ..Decision::default()
    }
}

fn allowed(number: u8) -> Decision {
    Decision {
        id: id(number).into(),
        verdict: Verdict::Allow.into(),
        revision: 12,
        policy_set_digest: vec![0xab; 32].into(),
        adapter: "ext_proc".to_owned(),
        caller: "envoy".to_owned(),
        operation: "tools/call".to_owned(),
        initiator: "client".to_owned(),
        server: "git".to_owned(),
        tool: "git_log".to_owned(),
        subject: "Mcp::Agent::\"release\"".to_owned(),
        session_id: "session-2".to_owned(),
        determining_policies: vec![policy("mcp.agents", "platform", &["SOC2-CC6.1"])],
        principals: vec![PrincipalVerdict {
            action: "Mcp::Action::\"call_read\"".to_owned(),
            ..principal(
                "Mcp::Agent::\"release\"",
                Verdict::Allow,
                &["mcp.agents"],
                &[],
            )
        }],
        side_effects: Some(SideEffects {
            approval_id: "a-9".to_owned(),
            budget_task_id: "task-2".to_owned(),
            added_labels: texts(&["untrusted"]),
            reads: true,
            ..SideEffects::default()
        }),
        took_nanos: 21_000,
        ..Decision::default()
    }
}

/// A question of Cedar's own, a search that found nothing, a list that was only observed, a call with all that it used up, and a
/// control write with its policy.
pub fn asked_and_used() -> [Record; 5] {
    let decision = |number, operation: &str, verdict: Verdict| Decision {
        id: id(number).into(),
        operation: operation.to_owned(),
        verdict: verdict.into(),
        caller: "pep".to_owned(),
        adapter: "authzen".to_owned(),
        ..Decision::default()
    };
    let of_cedar = |it: Decision| Decision {
        cedar_action: "Mcp::Action::\"call_read\"".to_owned(),
        cedar_resource: "Mcp::Tool::\"github/get_issue\"".to_owned(),
        ..it
    };
    let asked = Decision {
        subject: "Mcp::User::\"sam\"".to_owned(),
        reasons: vec![Reason {
            code: "FORBIDDEN".to_owned(),
            policies: texts(&["no-issues"]),
            ..Reason::default()
        }],
        ..of_cedar(decision(10, "cedar", Verdict::Deny))
    };
    let searched = Decision {
        sought: "subject".to_owned(),
        hidden: 7,
        ..of_cedar(decision(11, "cedar/search", Verdict::Allow))
    };
    let listed = Decision {
        server: "slack".to_owned(),
        subject: "Mcp::Agent::\"research\"".to_owned(),
        is_observed: true,
        kept: 1,
        hidden: 3,
        shown: 2,
        ..decision(12, "tools/filter", Verdict::Allow)
    };
    let called = Decision {
        subject: "Mcp::Agent::\"support\"".to_owned(),
        chain: Some(ActorChain {
            root: "Mcp::User::\"sam\"".to_owned(),
            actors: texts(&["Mcp::Agent::\"planner\""]),
            scopes: texts(&["issues"]),
            is_verified: true,
            ..ActorChain::default()
        }),
        jsonrpc_id: "17".to_owned(),
        approval_ids: texts(&["appr-1", "appr-2"]),
        side_effects: Some(SideEffects {
            approval_id: "appr-2".to_owned(),
            budget_task_id: "task-1".to_owned(),
            tool_budget_id: "counter-1".to_owned(),
            reads: true,
            target_labels: texts(&["secret"]),
            ..SideEffects::default()
        }),
        would_use: Some(SideEffects {
            approval_id: "appr-3".to_owned(),
            ..SideEffects::default()
        }),
        ..decision(13, "tools/call", Verdict::Allow)
    };
    let written = ControlWrite {
        verb: "GrantDelegation".to_owned(),
        actor: "Mcp::User::\"sam\"".to_owned(),
        outcome: "done".to_owned(),
        determining_policies: vec![policy("admins-may-grant", "security", &["AC-1"])],
        ..ControlWrite::default()
    };
    let decisions = [asked, searched, listed, called].map(record::Kind::Decision);
    let [asked, searched, listed, called] = decisions;
    let kinds = [
        asked,
        searched,
        listed,
        called,
        record::Kind::Write(written),
    ];
    kinds.map(|kind| Record {
        at: START,
        kind: Some(kind),
        ..Record::default()
    })
}

/// One record of each sort, hostile names included.
pub fn records() -> Vec<Record> {
    let start = Notice {
        kind: notice::Kind::Start.into(),
        text: "0.1.0".to_owned(),
        ..Notice::default()
    };
    let dropped = Notice {
        kind: notice::Kind::Dropped.into(),
        count: 3,
        since: START,
        ..Notice::default()
    };
    let outcome = Outcome {
        decision_id: id(3).into(),
        status: outcome::Status::Result.into(),
        size: 1_234,
        labels: texts(&["untrusted"]),
        caller: "envoy".to_owned(),
        adapter: "ext_proc".to_owned(),
        ..Outcome::default()
    };
    let anonymous = Outcome {
        decision_id: Vec::new().into(),
        status: outcome::Status::Withheld.into(),
        operation: "tools/call".to_owned(),
        servers: texts(&["git"]),
        session_id: "session-2".to_owned(),
        ..outcome.clone()
    };
    let grant = ControlWrite {
        verb: "GrantDelegation".to_owned(),
        caller: "cli".to_owned(),
        adapter: "grpc".to_owned(),
        actor: "Mcp::User::\"sam\"".to_owned(),
        outcome: "done".to_owned(),
        revision: Some(13),
        id: "d-3".to_owned(),
        took_nanos: 3_000_000,
        ..ControlWrite::default()
    };
    let denied = ControlWrite {
        outcome: "denied".to_owned(),
        revision: None,
        verb: "StopEntity".to_owned(),
        reasons: vec![Reason {
            code: "NO_PERMIT".to_owned(),
            ..Reason::default()
        }],
        ..grant.clone()
    };
    let hostile = Decision {
        tool: HOSTILE.to_owned(),
        server: "=cmd|' /C calc'!A0".to_owned(),
        subject: format!("Mcp::Agent::\"{}\"", HOSTILE.escape_debug()),
        task_id: HOSTILE.to_owned(),
        ..allowed(5)
    };
    let list = Decision {
        id: id(6).into(),
        operation: "tools/filter".to_owned(),
        tool: String::new(),
        kept: 3,
        hidden: 2,
        is_dry_run: true,
        side_effects: None,
        ..allowed(6)
    };
    let child = Decision {
        parent_decision_id: id(2).into(),
        ..allowed(4)
    };
    let kinds = [
        record::Kind::Notice(start),
        record::Kind::Decision(allowed(1)),
        record::Kind::Decision(full_decision()),
        record::Kind::Decision(allowed(3)),
        record::Kind::Outcome(outcome),
        record::Kind::Decision(child),
        record::Kind::Write(grant),
        record::Kind::Write(denied),
        record::Kind::Decision(hostile),
        record::Kind::Decision(list),
        record::Kind::Notice(dropped),
        record::Kind::Outcome(anonymous),
    ];
    numbered(kinds)
}

/// `count` small decisions.
pub fn many(count: usize) -> Vec<Record> {
    let decision = |number: usize| {
        let mut id = id(0);
        id[8..].copy_from_slice(&(number as u64 | 1 << 63).to_be_bytes());
        record::Kind::Decision(Decision {
            id: id.into(),
            verdict: Verdict::Allow.into(),
            tool: format!("tool-{}", number % 7),
            ..Decision::default()
        })
    };
    numbered((0..count).map(decision))
}

fn numbered(kinds: impl IntoIterator<Item = record::Kind>) -> Vec<Record> {
    let records = (0_u64..).zip(kinds).map(|(index, kind)| Record {
        index: Some(index),
        at: START + index * 1_500_000_000,
        is_cut: false,
        kind: Some(kind),
        ..Record::default()
    });
    records.collect()
}

/// The key of all these logs.
pub fn key() -> SigningKey {
    SigningKey::from_seed("callgate.example/test", [42; 32]).expect("a key")
}

/// The same, to verify.
pub fn verifying_key() -> VerifyingKey {
    key().verifying_key()
}

struct Given(Vec<TreeHash>);

impl Leaves for Given {
    fn first(&self) -> u64 {
        0
    }

    fn end(&self) -> u64 {
        self.0.len() as u64
    }

    fn each_from(&mut self, start: u64, each: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()> {
        let start = usize::try_from(start).expect("small");
        self.0.iter().skip(start).for_each(|leaf| each(Some(*leaf)));
        Ok(())
    }
}

/// Writes a log with so many records a file, and a tree whose last checkpoint covers them.
pub fn write_log(directory: &Path, records: &[Record], per_file: usize) {
    write_segments(directory, records, per_file);
    let leaves: Vec<_> = records
        .iter()
        .map(|record| TreeHash::leaf(&bytes(record)))
        .collect();
    write_tree(directory, &[], &leaves);
}

/// The envelope.
pub fn bytes(record: &Record) -> Vec<u8> {
    StoredRecord::from_message(record).expect("a record").bytes
}

/// Writes the files of a log.
pub fn write_segments(directory: &Path, records: &[Record], per_file: usize) {
    let folder = directory.join(SEGMENTS);
    fs::create_dir_all(&folder).expect("a directory");
    for records in records.chunks(per_file) {
        let first = records[0].index.expect("an index");
        let mut file = frame::header(frame::Contents::Records, first).to_vec();
        for record in records {
            frame::push(&mut file, &bytes(record));
        }
        fs::write(folder.join(log_files::name(first)), file).expect("written");
    }
}

/// Continues a tree over the leaves `before` with more, and signs it.
pub fn write_tree(directory: &Path, before: &[TreeHash], more: &[TreeHash]) {
    let tree = directory.join(TREE);
    fs::create_dir_all(&tree).expect("a directory");
    fs::write(tree.join(KEY_FILE), key().encode()).expect("written");
    fs::write(tree.join(PUBLIC_KEY_FILE), verifying_key().encode()).expect("written");
    let mut known = Given(before.to_vec());
    let mut writer = TreeWriter::open(TileDir::new(tree), key(), &mut known).expect("a tree");
    more.iter().for_each(|leaf| writer.append(*leaf));
    writer.checkpoint(|| Ok(())).expect("a checkpoint");
}
