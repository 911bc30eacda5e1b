use super::*;
use crate::cli::args;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn uid(kind: &str, id: &str) -> Option<v1::EntityRef> {
    Some(v1::EntityRef {
        r#type: format!("Mcp::{kind}"),
        id: id.to_owned(),
    })
}

#[test]
fn a_task_says_what_is_left_and_where_it_is() {
    let step = |text| args::step(text).expect("a step");
    let task = v1::Task {
        id: "t".to_owned(),
        agent: uid("Agent", "support"),
        person: uid("User", "sam"),
        purpose: "triage\u{7}".to_owned(),
        call_budget: Some(20),
        calls_left: Some(3),
        steps: vec![
            step("gather:access=read,server=git,tool=a/b"),
            step("answer:access=write,tool=a/c"),
        ],
        step: "answer".to_owned(),
        deadline: at(60),
        status: v1::TaskStatus::Open.into(),
        ..v1::Task::default()
    };
    assert_eq!(
        super::task(&task).to_string(),
        "task t\n  \
         status    open\n  \
         agent     Mcp::Agent::\"support\"\n  \
         for       Mcp::User::\"sam\"\n  \
         purpose   triage\\u{7}\n  \
         calls     3 of 20 left\n  \
         step      gather: read at most, a/b, git\n  \
         step      answer: write at most, a/c, it is here\n  \
         until     1970-01-01T00:01:00Z\n"
    );
}

#[test]
fn an_approval_shows_the_call_and_a_delegation_its_scope() {
    let approval = v1::Approval {
        id: "a".to_owned(),
        digest: "sha256:0".to_owned(),
        subject: uid("Agent", "support"),
        actors: uid("Agent", "lead").into_iter().collect(),
        server: "github".to_owned(),
        tool: "close_issue".to_owned(),
        arguments_json: br#"{"issue_number":7}"#.as_slice().into(),
        status: v1::ApprovalStatus::TaskOver.into(),
        uses: 1,
        ..v1::Approval::default()
    };
    assert_eq!(
        super::approval(&approval, false).to_string(),
        "approval a\n  \
         status    task over\n  \
         agent     Mcp::Agent::\"support\"\n  \
         through   Mcp::Agent::\"lead\"\n  \
         tool      github/close_issue\n  \
         argument  issue_number: 7\n  \
         digest    sha256:0\n  \
         used      0 of 1 time\n"
    );
    let delegation = v1::StoredDelegation {
        id: "d".to_owned(),
        status: v1::DelegationStatus::NotYet.into(),
        scope: args::step("x:access=admin,group=g,target=/srv")
            .expect("a step")
            .scope,
        max_redelegations: 2,
        ..v1::StoredDelegation::default()
    };
    assert_eq!(
        super::delegation(&delegation).to_string(),
        "delegation d\n  \
         status    not yet\n  \
         groups    g\n  \
         access    admin at most\n  \
         targets   /srv\n  \
         delegable 2 times\n"
    );
}

/// Everything that a person reads before an approval, from a caller who would like some of it overlooked.
fn hostile() -> v1::Approval {
    let policy = |id: &str, owner: &str, reason: &str| v1::AskingPolicy {
        id: id.to_owned(),
        owner: owner.to_owned(),
        reason: reason.to_owned(),
    };
    let arguments = format!(
        r#"{{"a: b":1,"body":"{}","id":1122334455667788991,"note\u200b":"one\ntwo {}done\u001b[2J","to":["x@acme.example"]}}"#,
        "y".repeat(300),
        '\u{202e}'
    );
    v1::Approval {
        id: "a\n  status    approved".to_owned(),
        digest: "sha256:0".to_owned(),
        subject: uid("Agent", "support\u{202e}\" ::"),
        root: uid("User", "sam"),
        initiator: v1::Initiator::Server.into(),
        server: "mail".to_owned(),
        tool: "send\u{200b}".to_owned(),
        arguments_json: arguments.into_bytes().into(),
        input_responses_json: br#"{"q":{"action":"accept","content":{"pin":1}}}"#.as_slice().into(),
        request_state: "s\u{2066}\n".to_owned(),
        status: v1::ApprovalStatus::Pending.into(),
        circumstances: Some(v1::ApprovalCircumstances {
            policies: vec![
                policy("mail.ask", "security", "A person reads what leaves.\u{7}"),
                policy("", "", "Not without a word."),
                policy("bare", "", ""),
            ],
            session_labels: vec!["untrusted".to_owned(), "pri\u{feff}vate".to_owned()],
            purpose: "help\r\n  digest    sha256:1".to_owned(),
            targets: uid("Resource", "mail:x@acme.example").into_iter().collect(),
            access: v1::AccessLevel::Write.into(),
            argument_order: ["to", "gone", "body"].map(str::to_owned).into(),
        }),
        ..v1::Approval::default()
    }
}

#[test]
fn a_person_sees_what_decides_and_nothing_hides() {
    let shown = super::approval(&hostile(), false).to_string();
    let body = "y".repeat(199);
    assert_eq!(
        shown,
        format!(
            "approval a\\n  status    approved\n  \
             status    pending\n  \
             agent     Mcp::Agent::\"support\\u{{202e}}\\\" ::\"\n  \
             for       Mcp::User::\"sam\"\n  \
             set off   by a server\n  \
             tool      mail/send\\u{{200b}}\n  \
             access    write\n  \
             argument  to: [\"x@acme.example\"]\n  \
             argument  body: \"{body}… (102 more characters: `--full` shows all)\n  \
             argument  \"a: b\": 1\n  \
             argument  id: 1122334455667788991\n  \
             argument  \"note\\u{{200b}}\": \"one\\ntwo \\u{{202e}}done\\u001b[2J\"\n  \
             answer    q: {{\"action\":\"accept\",\"content\":{{\"pin\":1}}}}\n  \
             state     \"s\\u{{2066}}\\n\"\n  \
             acts on   Mcp::Resource::\"mail:x@acme.example\"\n  \
             asks      mail.ask, owned by security: A person reads what leaves.\\u{{7}}\n  \
             asks      Not without a word.\n  \
             asks      bare\n  \
             labels    untrusted, pri\\u{{feff}}vate\n  \
             purpose   help\\r\\n  digest    sha256:1\n  \
             digest    sha256:0\n"
        )
    );
    let full = super::approval(&hostile(), true).to_string();
    assert!(
        full.contains(&"y".repeat(300)) && !full.contains("--full"),
        "{full}"
    );
}

#[test]
fn arguments_that_cannot_be_read_are_shown_all_the_same() {
    for (json, wanted) in [
        ("{\"a\":", "argument  {\"a\":"),
        ("[1]", "argument  [1]"),
        ("\u{1b}[2J", "argument  \\u{1b}[2J"),
        ("{\"\":0}", "argument  \"\": 0"),
    ] {
        let approval = v1::Approval {
            arguments_json: json.as_bytes().to_vec().into(),
            ..v1::Approval::default()
        };
        let shown = super::approval(&approval, false).to_string();
        assert!(shown.contains(wanted), "{wanted} not in {shown}");
    }
}

#[test]
fn a_list_says_how_many_there_are_and_whether_there_are_more() {
    assert_eq!(
        list(&["a"; 1], "entity", false, 7),
        "a\n1 entity at revision 7\n"
    );
    assert_eq!(
        list(&[""; 0], "entity", true, 7),
        "0 entities at revision 7, and there are more: raise `--limit`\n"
    );
}
