use super::*;
use crate::cli::control::given;

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
    let step = |text| given::step(text).expect("a step");
    let task = v1::Task {
        id: "t".to_owned(),
        agent: uid("Agent", "support"),
        person: uid("User", "sam"),
        purpose: "triage\u{7}".to_owned(),
        call_budget: Some(20),
        calls_left: Some(3),
        steps: vec![
            step("gather:effect=read,server=git,tool=a/b"),
            step("answer:effect=write,tool=a/c"),
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
         purpose   triage\u{fffd}\n  \
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
        super::approval(&approval).to_string(),
        "approval a\n  \
         status    task over\n  \
         agent     Mcp::Agent::\"support\"\n  \
         through   Mcp::Agent::\"lead\"\n  \
         tool      github/close_issue\n  \
         with      {\"issue_number\":7}\n  \
         digest    sha256:0\n  \
         used      0 of 1 time\n"
    );
    let delegation = v1::StoredDelegation {
        id: "d".to_owned(),
        status: v1::DelegationStatus::NotYet.into(),
        scope: given::step("x:effect=admin,group=g,target=/srv")
            .expect("a step")
            .scope,
        lend_depth: 2,
        ..v1::StoredDelegation::default()
    };
    assert_eq!(
        super::delegation(&delegation).to_string(),
        "delegation d\n  \
         status    not yet\n  \
         groups    g\n  \
         effect    admin at most\n  \
         targets   /srv\n  \
         lends on  2 times\n"
    );
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
