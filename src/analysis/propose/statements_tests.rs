use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::propose::tests::{listed, propose_alone};
use crate::bundle::parse::registration::AccessLevel;

fn access_of(definition: Json) -> AccessLevel {
    let mut whole = json!({"name": "get_item", "annotations": {"readOnlyHint": true}});
    let members = whole.as_object_mut().expect("an object");
    members.extend(definition.as_object().expect("an object").clone());
    propose_alone(&listed(whole)).access
}

#[test]
fn a_description_is_read_in_every_form_of_its_verb() {
    for (description, access) in [
        ("Delete an item", AccessLevel::Admin),
        ("Deletes an item", AccessLevel::Admin),
        ("Removes it", AccessLevel::Admin),
        ("Executes what it is given", AccessLevel::Admin),
        ("Drops a table", AccessLevel::Admin),
        ("Destroys everything", AccessLevel::Admin),
        ("Purges caches", AccessLevel::Admin),
        ("Runs a command", AccessLevel::Admin),
        ("Run SQL", AccessLevel::Admin),
        ("Purchase it", AccessLevel::Admin),
        ("Sends a message", AccessLevel::Write),
        ("Creates an item", AccessLevel::Write),
        ("Writes to disk", AccessLevel::Write),
        ("Modifies the item", AccessLevel::Write),
        ("Post a message", AccessLevel::Write),
        ("Posts the message", AccessLevel::Write),
        ("(Deprecated) Deletes it", AccessLevel::Admin),
        ("[beta] **Deletes** it", AccessLevel::Admin),
        ("DEPRECATED: deletes it", AccessLevel::Admin),
        ("\u{200b}Delete it", AccessLevel::Admin),
        ("De\u{200b}lete it", AccessLevel::Admin),
        ("\u{ff24}elete it", AccessLevel::Admin),
        ("🗑️ Deletes it", AccessLevel::Admin),
        ("Permanently deletes it", AccessLevel::Admin),
        ("This tool deletes it", AccessLevel::Admin),
        ("A tool that deletes it", AccessLevel::Admin),
        ("Tool for deleting items", AccessLevel::Admin),
        ("Use this to drop a table", AccessLevel::Admin),
        ("Allows you to delete items", AccessLevel::Admin),
        ("Gets or creates an item", AccessLevel::Write),
        ("Find and delete items", AccessLevel::Admin),
        ("Gets, updates, deletes", AccessLevel::Admin),
    ] {
        let found = access_of(json!({"description": description}));
        assert_eq!(found, access, "{description}");
    }
}

#[test]
fn a_title_counts_as_a_description_does() {
    for definition in [
        json!({"title": "Delete Item"}),
        json!({"annotations": {"title": "Delete Item"}}),
        json!({"title": "Deletes an item"}),
        json!({"title": "Item: run a shell command", "description": "Runs a shell command"}),
        json!({"title": "Execute SQL"}),
    ] {
        assert_eq!(
            access_of(definition.clone()),
            AccessLevel::Admin,
            "{definition}"
        );
    }
    for title in [
        "Get Item",
        "Item",
        "Item details",
        "Pull Request Details",
        "Web Search",
    ] {
        assert_eq!(
            access_of(json!({"title": title})),
            AccessLevel::Read,
            "{title}"
        );
    }
}

#[test]
fn what_a_description_says_of_reading_changes_nothing() {
    for description in [
        "Get mail; delete nothing",
        "Returns the item",
        "Reports an overview",
        "Issue details",
        "Comments of an issue",
        "Branch list",
        "Order status",
        "Pull request details",
        "Scripts that were used",
        "The update feed",
        "Takes an id and returns the item",
        "Gives the item",
        "Build history",
        "Views a page",
        "List open issues",
        "Deleted items",
        "",
        "(",
        "日本",
    ] {
        let found = access_of(json!({"description": description}));
        assert_eq!(found, AccessLevel::Read, "{description}");
    }
}

#[test]
fn verbs_are_found_in_a_row() {
    let found = verbs_at_beginning("This tool safely gets, creates or removes an item and more.");
    assert_eq!(found, ["get", "create", "remove"]);
}

#[test]
fn a_title_may_have_articles_that_the_name_does_not_have() {
    for title in ["Take a screenshot", "Take screenshot"] {
        let tool = json!({"name": "take_screenshot", "title": title});
        assert_eq!(
            propose_alone(&listed(tool)).access,
            AccessLevel::Read,
            "{title}"
        );
    }
}
