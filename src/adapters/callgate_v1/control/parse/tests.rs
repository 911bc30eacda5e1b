use std::time::SystemTime;

use super::*;
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::config::limits::Limits;
use crate::domain::request::trace_context::TraceContext;

fn named(text: &str) -> Result<String, String> {
    match place(text, "targets[0]") {
        Ok(uid) => {
            assert_eq!(*uid.entity_type(), TYPES.resource);
            Ok(AsRef::<str>::as_ref(uid.eid()).to_owned())
        }
        Err(invalid) => Err(invalid.to_string()),
    }
}

#[test]
fn places_have_one_name_and_keep_it() {
    for (text, name) in [
        ("/srv/app", "file:///srv/app"),
        ("/srv//app/", "file:///srv/app"),
        ("/", "file:///"),
        ("file:///srv/a%20b", "file:///srv/a b"),
        ("https://Example.org:443/x/", "https://example.org/x"),
        ("/srv/c#/100%?", "file:///srv/c%23/100%25%3F"),
        ("mailto:Bob@Example.org", "mailto:bob@example.org"),
        ("GitHub:acme", "GitHub:acme"),
        ("github:acme/widgets", "github:acme/widgets"),
        ("my_server:acme/widgets", "my_server:acme/widgets"),
        (
            "notion:0F4E1D2C-3B4A-5968-8776-655443322110",
            "notion:0f4e1d2c-3b4a-5968-8776-655443322110",
        ),
    ] {
        assert_eq!(named(text).as_deref(), Ok(name), "{text}");
        // What an answer says can be sent again.
        assert_eq!(named(name).as_deref(), Ok(name), "{text}");
    }
}

#[test]
fn what_could_be_anywhere_is_no_place() {
    for (text, said) in [
        ("acme/widgets", "it is neither an absolute path nor a URI"),
        (":acme", "it is neither"),
        ("/srv/../etc", "it contains a `..` segment"),
        ("my_server:a/../b", "it contains a `..` segment"),
        ("/srv\\app", "it has a backslash"),
        ("my_server:", "it is empty"),
        (
            "https://user@example.org/x",
            "it has a user before the host",
        ),
        ("https://example.org/x?customer=7", "it has a query"),
        ("https://example.org/x?", "it has a query"),
        ("https://example.org?customer=7", "it has a query"),
        ("https://example.org/x#row7", "it has a fragment"),
        ("https://example.org/x?q#f", "it has a fragment"),
        ("sftp://example.org/x?q", "it has a query"),
        ("mailto:Bob <bob@example.org>", "it has a display name"),
    ] {
        let refused = named(text).expect_err(text);
        assert!(refused.starts_with("`targets[0]` "), "{refused}");
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_tool_is_named_with_its_server() {
    for (text, is_name) in [
        ("git/log", true),
        ("git/a/b", true),
        ("git", false),
        ("git/", false),
        ("/log", false),
    ] {
        assert_eq!(is_tool_name(text), is_name, "{text}");
    }
}

#[test]
fn a_place_that_says_more_than_its_name_is_refused_by_its_field() {
    let parser = MessageParser {
        limits: &Limits::default(),
        types: &EntityTypeCache::default(),
        transport_trace: &TraceContext::default(),
        vouches_sessions: false,
    };
    let scope = |target: &str| v1::Scope {
        tools: vec!["tickets/export".into()],
        access: v1::AccessLevel::Read.into(),
        targets: vec![target.into()],
        ..Default::default()
    };
    let agent = Some(v1::EntityRef {
        r#type: "Agent".into(),
        id: "helper".into(),
    });
    let granted = |target: &str| {
        let wire = v1::GrantDelegationRequest {
            to: agent.clone(),
            scope: Some(scope(target)),
            expires_at: Some(prost_types::Timestamp::default()),
            ..Default::default()
        };
        parser
            .new_delegation(wire, SystemTime::UNIX_EPOCH)
            .map(drop)
    };
    let narrowed = |target: &str| {
        let wire = v1::NarrowDelegationRequest {
            id: "d".into(),
            scope: Some(scope(target)),
            ..Default::default()
        };
        parser.narrowing(wire, SystemTime::UNIX_EPOCH).map(drop)
    };
    let opened = |change: &dyn Fn(&mut v1::OpenTaskRequest)| {
        let mut wire = v1::OpenTaskRequest {
            agent: agent.clone(),
            person: agent.clone(),
            purpose: "what it is about".into(),
            deadline: Some(prost_types::Timestamp::default()),
            ..Default::default()
        };
        change(&mut wire);
        parser.new_task(wire, SystemTime::UNIX_EPOCH).map(drop)
    };
    let in_scope = |target: &str| opened(&|wire| wire.scope = Some(scope(target)));
    let in_step = |target: &str| {
        opened(&|wire| {
            wire.steps = vec![v1::TaskStep {
                name: "first".into(),
                scope: Some(scope(target)),
            }];
        })
    };
    let in_use = |target: &str| {
        opened(&|wire| {
            wire.tool_uses = vec![v1::ToolUse {
                tool: "tickets/export".into(),
                targets: vec![target.into()],
                ..Default::default()
            }];
        })
    };
    let place = |target: &str| {
        opened(&|wire| {
            wire.places = vec![v1::TaskPlace {
                place: target.into(),
                read: true,
                send: false,
            }];
        })
    };
    type Read<'a> = &'a dyn Fn(&str) -> Result<(), FieldError>;
    let fields: [(&str, Read<'_>); 6] = [
        ("scope.targets[0]", &granted),
        ("scope.targets[0]", &narrowed),
        ("scope.targets[0]", &in_scope),
        ("steps[0].scope.targets[0]", &in_step),
        ("tool_uses[0].targets[0]", &in_use),
        ("places[0].place", &place),
    ];
    for (field, read) in fields {
        assert!(
            read("https://tickets.example.com/export").is_ok(),
            "{field}"
        );
        let refused = read("https://tickets.example.com/export?customer=7");
        let refused = refused.expect_err(field).to_string();
        assert!(refused.starts_with(&format!("`{field}` ")), "{refused}");
        assert!(refused.contains("it has a query"), "{refused}");
    }
    // As people write hosts and addresses.
    for (text, said) in [
        ("tickets.example.com/export?customer=7", "a query"),
        ("tickets.example.com/export#row7", "a fragment"),
        ("Bob <bob@example.org>", "a display name"),
    ] {
        let refused = place(text).expect_err(text).to_string();
        assert!(refused.contains(said), "{refused}");
    }
}
