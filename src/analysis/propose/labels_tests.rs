use serde_json::{Value as Json, json};

use crate::analysis::propose::tests::{listed, propose_alone, with};
use crate::bundle::parse::registration::Sensitivity;

#[test]
fn a_server_that_calls_itself_closed_changes_nothing() {
    for name in [
        "get_mail",
        "list_comments",
        "send_mail",
        "fetch",
        "web_search",
        "frobnicate",
        "get_current_time",
    ] {
        let definition = |hint: Json| json!({"name": name, "annotations": {"openWorldHint": hint}});
        let closed = propose_alone(&listed(definition(json!(false))));
        let silent = propose_alone(&listed(definition(json!(null))));
        assert_eq!(
            (closed.egress, &closed.yields),
            (silent.egress, &silent.yields),
            "{name}"
        );
    }
}

#[test]
fn readers_of_content_bring_labels() {
    for (name, wanted) in [
        ("get_emails", &["untrusted", "private"][..]),
        ("list_comments", &["untrusted", "private"]),
        ("issue_comments", &["untrusted", "private"]),
        ("search_messages", &["untrusted", "private"]),
        ("web_search", &["untrusted"]),
        ("get_public_page", &["untrusted", "private"]),
        ("get_secret", &["untrusted", "private", "secret"]),
        ("list_api_keys", &["untrusted", "private", "secret"]),
        ("run_command", &["untrusted", "private", "secret"]),
        ("edit_file", &["untrusted", "private"]),
        ("get_current_time", &[]),
        ("send_message", &[]),
    ] {
        assert_eq!(
            propose_alone(&listed(json!({"name": name}))).yields,
            wanted,
            "{name}"
        );
    }
    let kubectl = with(
        "get_resource",
        json!({"resourceType": {"type": "string"}, "namespace": {"type": "string"}}),
    );
    assert!(kubectl.yields.contains(&"secret".to_owned()));
}

#[test]
fn what_is_asked_elsewhere_carries_out() {
    let text = || json!({"type": "string"});
    for (name, properties) in [
        ("acme_search", json!({"query": text()})),
        ("get_page", json!({"target_url": text()})),
        ("lookup", json!({"hostname": text()})),
        ("get_news", json!({})),
        ("search_images", json!({"q": text()})),
        (
            "crawl",
            json!({"startUrls": {"type": "array", "items": text()}}),
        ),
    ] {
        assert!(with(name, properties).egress, "{name}");
    }
    for (name, properties) in [
        ("search_issues", json!({"query": text()})),
        ("read_file", json!({"path": text()})),
        ("list_channels", json!({"limit": {"type": "integer"}})),
    ] {
        assert!(!with(name, properties).egress, "{name}");
    }
}

#[test]
fn labels_and_egress_err_on_the_side_of_suspicion() {
    let fetch = propose_alone(&listed(
        json!({"name": "fetch", "inputSchema": {"properties": {"url": {"type": "string"}}}}),
    ));
    assert!(fetch.egress && fetch.yields.contains(&"untrusted".to_owned()));
    let closed = json!({"name": "read_file", "annotations": {"openWorldHint": false}});
    let file = propose_alone(&listed(closed));
    assert!(!file.egress);
    assert_eq!(file.yields, ["untrusted", "private"]);
    let unknown = propose_alone(&listed(json!({"name": "frobnicate"})));
    assert!(unknown.egress && unknown.yields.contains(&"untrusted".to_owned()));
    assert_eq!(
        propose_alone(&listed(json!({"name": "get-env"}))).sensitivity,
        Sensitivity::Restricted
    );
    let post = propose_alone(&listed(
        json!({"name": "post_message", "annotations": {"openWorldHint": false}}),
    ));
    assert!(post.egress);
}
