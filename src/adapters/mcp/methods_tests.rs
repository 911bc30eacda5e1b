use std::collections::BTreeSet;

use ResultLabels::{Nothing, OfAnyCall, OfServer};

use super::*;
use crate::domain::request::operation::{OperationKind, PromptOperation, ResultLabels};

/// Every method of a client, with the labels that its result brings. A new one is added here once somebody has looked at what
/// it returns.
const RESULTS: [(&str, Option<ResultLabels>); 27] = [
    // They say what a server offers, or that something has arrived.
    ("initialize", Some(Nothing)),
    ("server/discover", Some(Nothing)),
    ("ping", Some(Nothing)),
    ("logging/setLevel", Some(Nothing)),
    ("tools/list", Some(Nothing)),
    // The registration of the tool says it.
    ("tools/call", None),
    ("prompts/list", Some(Nothing)),
    ("prompts/get", Some(OfServer)),
    ("resources/list", Some(Nothing)),
    ("resources/templates/list", Some(Nothing)),
    ("resources/read", Some(OfServer)),
    ("resources/subscribe", Some(OfServer)),
    ("resources/unsubscribe", Some(Nothing)),
    // Each subscription brings what it asks for.
    ("subscriptions/listen", Some(Nothing)),
    ("completion/complete", Some(OfServer)),
    // The result, or a word about it, of a call that may have been made in another session.
    ("tasks/get", Some(OfAnyCall)),
    ("tasks/result", Some(OfAnyCall)),
    ("tasks/list", Some(OfAnyCall)),
    ("tasks/cancel", Some(OfAnyCall)),
    ("tasks/update", Some(OfAnyCall)),
    ("notifications/initialized", Some(Nothing)),
    ("notifications/cancelled", Some(Nothing)),
    ("notifications/progress", Some(Nothing)),
    ("notifications/roots/list_changed", Some(Nothing)),
    ("notifications/tasks/status", Some(Nothing)),
    ("GET", Some(Nothing)),
    ("DELETE", Some(Nothing)),
];

#[test]
fn somebody_has_said_of_each_method_what_its_result_brings() {
    let connect = |method| OperationKind::Connect { method }.brings();
    let brings = |row: &Method| match row.kind {
        MethodKind::Operation(OperationType::CallTool) => None,
        MethodKind::Operation(OperationType::Connect) | MethodKind::Listen => {
            Some(connect(row.name))
        }
        MethodKind::Operation(operation) => Some(operation.description().brings),
        MethodKind::Complete => {
            let of_prompt = PromptOperation::Complete.description().brings;
            let of_resource = ResourceOperation::Complete.description().brings;
            assert_eq!(of_prompt, of_resource);
            Some(of_prompt)
        }
        kind => panic!("no method of a client is {kind:?}"),
    };
    let rows = REQUESTS.iter().chain(&NOTIFICATIONS);
    let rows = rows.filter(|row| row.sender == Sender::Client);
    let all: Vec<_> = rows
        .map(|row| (row.name, brings(row)))
        .chain(STREAM.map(|name| (name, Some(connect(name)))))
        .collect();
    assert_eq!(all, RESULTS);
    // What a client answers returns nothing, and what nobody has looked at may return anything.
    assert_eq!(connect(REPLY), Nothing);
    assert_eq!(connect("tasks/peek"), OfAnyCall);
    // What a client goes on with, and what a server sends unasked.
    for method in [RESUME, UNAWAITED, "notifications/tasks"] {
        assert_eq!(connect(method), OfAnyCall, "{method}");
    }
}

#[test]
fn a_method_that_was_written_down_is_decided_as_it_was() {
    let rows = REQUESTS.iter().chain(&NOTIFICATIONS).map(|row| row.name);
    let methods = rows.filter_map(connect_method);
    let others = STREAM.into_iter().chain([REPLY, RESUME, UNAWAITED]);
    let mut apart = BTreeSet::new();
    for method in methods.chain(others) {
        let sent = OperationKind::Connect { method };
        let read = OperationKind::connecting(method);
        assert_eq!(sent.brings(), read.brings(), "{method}");
        assert_eq!(sent.access(), read.access(), "{method}");
        assert_eq!(sent.uses_budget(), read.uses_budget(), "{method}");
        assert_eq!(sent.is_unasked(), read.is_unasked(), "{method}");
        apart.insert(read.method());
    }
    let wanted = [
        "initialize",
        "notifications/tasks",
        "resume",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "unawaited",
    ];
    assert_eq!(apart, BTreeSet::from(wanted));
}

#[test]
fn parameters_may_be_absent_where_nothing_in_them_is_decided() {
    let clients = REQUESTS.iter().filter(|row| row.sender == Sender::Client);
    let may_lack: Vec<_> = clients.filter(|row| row.may_lack_params()).collect();
    let names: Vec<_> = may_lack.iter().map(|row| row.name).collect();
    assert_eq!(
        names,
        [
            "initialize",
            "server/discover",
            "ping",
            "logging/setLevel",
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "tasks/list",
        ]
    );
}
