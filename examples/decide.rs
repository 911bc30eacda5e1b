//! Decides calls in process, without a server: `cargo run --example decide [DIRECTORY]`.

use std::path::PathBuf;
use std::time::SystemTime;

use callgate::authn::caller::Caller;
use callgate::config::claims::ClaimMapping;
use callgate::domain::decide::call::decide;
use callgate::domain::decide::inputs::Requester;
use callgate::domain::request::call_context::{ActorChain, Operation, Subject};
use callgate::domain::schema::{TYPES, entity_uid};
use callgate::{CallContext, Verdict, bundle};
use serde_json::{Map, Value, json};

fn main() {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("policies"), PathBuf::from);
    let snapshot = match bundle::load(&dir) {
        Ok(bundle) => bundle.snapshot,
        Err(faults) => {
            eprintln!("{faults}");
            std::process::exit(3);
        }
    };
    println!(
        "{} policies, {} entities",
        snapshot.policy_count(),
        snapshot.entity_count()
    );

    let caller = Caller::local();
    let claims = ClaimMapping::default();
    for (tool, arguments) in [
        (
            "get_issue",
            json!({ "owner": "acme", "repo": "shop", "issue_number": 4711 }),
        ),
        (
            "merge_pull_request",
            json!({ "owner": "acme", "repo": "shop", "pull_number": 7 }),
        ),
    ] {
        let call = on_behalf_of_sam(tool, arguments);
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        print(tool, &decide(&snapshot, &call, asker, SystemTime::now()));
    }
}

fn on_behalf_of_sam(tool: &str, arguments: Value) -> CallContext {
    let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
    let mut call = CallContext::new(
        Subject::verified(entity_uid(&TYPES.agent, "support"), "jwt"),
        Operation::call_tool("github", tool, arguments),
    );
    call.actor_chain = Some(ActorChain::verified_from(entity_uid(&TYPES.user, "sam")));
    call
}

fn print(tool: &str, decision: &Verdict) {
    println!("{tool}: {}", decision.outcome.as_str());
    for reason in &decision.reasons {
        let who = reason
            .principal
            .as_ref()
            .map_or(String::new(), |uid| format!(" ({uid})"));
        println!("  {}: {}{who}", reason.code.as_str(), reason.message);
    }
    for policy in &decision.determining_policies {
        println!("  decided by {}", policy.id);
    }
}
