//! Requests of both sides: what a method and its parameters ask for is decided about the server that was named, and is the
//! same whenever the message is read again from its own words.

#![no_main]

use callgate::adapters::mcp::message::{self, ClientMessage};
use callgate::adapters::mcp::methods::Sender;
use callgate::adapters::mcp::request::{intent::MessageIntent, operations};
use callgate::config::limits::Limits;
use callgate::domain::request::call_context::Told;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use smol_str::SmolStr;

fuzz_target!(|text: &[u8]| {
    let limits = Limits::default();
    let server = SmolStr::new("files");
    let Ok(message) = message::read(text, &limits) else {
        return;
    };
    match message {
        ClientMessage::Request { method, params, .. } => {
            for sender in [Sender::Client, Sender::Server] {
                let asked = |params| {
                    operations::from_request(sender, &server, &method, params, Told::All, &limits)
                };
                let first = asked(params.clone());
                check(&first, &server);
                // Written by another writer, it is the same request.
                let written =
                    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                let again = message::read(written.to_string().as_bytes(), &limits);
                let Ok(ClientMessage::Request { params, .. }) = again else {
                    panic!("what was read is no request when it is written again: {again:?}");
                };
                assert_eq!(format!("{first:?}"), format!("{:?}", asked(params)));
            }
        }
        ClientMessage::Notification { method, .. } => {
            for sender in [Sender::Client, Sender::Server] {
                check(
                    &operations::from_notification(sender, &server, &method),
                    &server,
                );
            }
        }
        ClientMessage::Reply { .. } => {}
    }
});

fn check<E>(asked: &Result<MessageIntent, E>, server: &SmolStr) {
    if let Ok(MessageIntent::Authorize(operations)) = asked {
        assert!(!operations.is_empty(), "a decision about nothing");
        assert!(operations.iter().all(|it| it.server == *server));
    }
}
