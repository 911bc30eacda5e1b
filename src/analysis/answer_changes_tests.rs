use std::fs;

use super::*;
use crate::bundle;

/// A directory with these policies, in which the whole service is observed or nothing is.
fn directory(policies: &str, is_observed: bool) -> Bundle {
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!("[observe]\nservice = {is_observed}\n");
    fs::write(dir.path().join("callgate.toml"), config).expect("written");
    fs::write(dir.path().join("a.cedar"), policies).expect("written");
    bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn changes(before: &Bundle, after: &Bundle) -> Vec<(&'static str, Direction)> {
    let found = compare(before, after).into_iter();
    found.map(|it| (it.part, it.direction)).collect()
}

#[test]
fn an_obligation_less_a_mark_less_and_more_observed_are_wider() {
    let permit = "permit (principal, action in Mcp::Action::\"call_read\", resource);";
    let forbid = "forbid (principal, action in Mcp::Action::\"call_admin\", resource);";
    let (plain, marked) = (
        format!("@id(\"p\") {permit} @id(\"f\") {forbid}"),
        format!(
            "@id(\"p\") @obligation(\"redact\") {permit} @id(\"f\") @mode(\"enforce\") {forbid}"
        ),
    );
    let (more, less) = (directory(&marked, true), directory(&plain, true));
    assert_eq!(changes(&more, &more), []);
    let both = |direction| vec![("mode", direction), ("obligations", direction)];
    assert_eq!(changes(&more, &less), both(Direction::Wider));
    assert_eq!(changes(&less, &more), both(Direction::Narrower));

    // Where everything is enforced, a mark adds nothing.
    let (more, less) = (directory(&marked, false), directory(&plain, false));
    assert_eq!(changes(&more, &less), [("obligations", Direction::Wider)]);
    let observed = directory(&plain, true);
    assert_eq!(changes(&less, &observed), [("observe", Direction::Wider)]);
    assert_eq!(
        changes(&observed, &less),
        [("observe", Direction::Narrower)]
    );

    // A permit that goes takes its obligation with what it allows; a forbid that goes leaves what others forbid observed.
    let none = directory(&format!("@id(\"g\") {forbid}"), true);
    let gone = [
        ("mode", Direction::Wider),
        ("obligations", Direction::Different),
    ];
    assert_eq!(changes(&directory(&marked, true), &none), gone);
}

#[test]
fn an_obligation_that_keeps_its_id_and_asks_for_something_else_is_shown_whole() {
    let asks = |level: &str| {
        let mfa = json!({ "id": "mfa", "type": "step-up", "properties": { "acr_value": level } });
        let written =
            json!([mfa, { "type": "custom", "id": "log", "properties": { "name": "log" } }]);
        // A text within a text is escaped in Cedar as in JSON.
        let quoted = json!(written.to_string());
        let permit =
            format!("@id(\"p\") @obligation({quoted}) permit (principal, action, resource);");
        directory(&permit, false)
    };
    let found = compare(&asks("loa:3"), &asks("loa:1"));
    let [change] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (change.part, change.direction),
        ("obligations", Direction::Different)
    );
    let whole = |level: &str| json!([{ "id": "mfa", "type": "step-up", "properties": { "acr_value": level } }, "log"]);
    assert_eq!(change.before, whole("loa:3"));
    assert_eq!(change.after, whole("loa:1"));
    assert_eq!(compare(&asks("loa:3"), &asks("loa:3")), []);
}
