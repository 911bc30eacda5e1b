//! Reloading under load: every answer belongs to exactly one of the generations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use callgate::authn::caller::Caller;
use callgate::bundle;
use callgate::domain::decide::is_authorized::ParcRequest;
use callgate::domain::request::trace_context::TraceContext;
use callgate::reload::loading::Loader;
use callgate::reload::{ReloadOutcome, Reloader};
use callgate::service::Service;
use callgate::service::deadline::Deadline;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::telemetry::record::recorder::Recorder;
use callgate_engine::cedar::Context;

use crate::support::bundle_dir::{BundleDir, loaded};

/// Two directories that answer alike but for different reasons, so that a mixture would show: in each,
/// the policy names the group that only its own entities have.
fn write(dir: &Path, side: &str) {
    let policy = format!(
        "@id(\"{side}\")\npermit (principal in Mcp::Group::\"{side}\", action in Mcp::Action::\"discover\", resource);\n\
         @id(\"{side}.not\")\nforbid (principal, action, resource)\nunless {{ principal in Mcp::Group::\"{side}\" }};\n"
    );
    let files = BundleDir::new().policies(&policy).groups(&[side]);
    files.user("u", &[side]).write_into(dir);
}

fn question() -> ParcRequest {
    let uid = |text: &str| text.parse().expect("a uid");
    let facts = serde_json::json!({
        "initiator": "client",
        "labels": [],
        "identity": {"verified": true, "method": "jwt", "asserted_groups": [], "asserted_attributes": []},
        "environment": {
            "now": {"__extn": {"fn": "datetime", "arg": "2026-01-01T00:00:00Z"}},
            "gateway": {"__entity": {"type": "Mcp::Gateway", "id": "g"}},
        },
    });
    let parser = callgate_engine::cedar::ContextJsonParser::new(
        None::<&callgate_engine::cedar::NullContextSchema>,
        callgate_engine::cedar::Extensions::all_available(),
    );
    ParcRequest {
        principal: uid("Mcp::User::\"u\""),
        action: uid("Mcp::Action::\"list_tools\""),
        resource: uid("Mcp::Server::\"s\""),
        context: parser
            .from_json_value(facts)
            .unwrap_or_else(|_| Context::empty()),
        asserted: Vec::new(),
        denied: None,
        trace: TraceContext::default(),
    }
}

/// Notes which side a revision is; it can be only one.
fn note(seen: &Mutex<BTreeMap<u64, String>>, revision: u64, side: &str) {
    let mut seen = seen.lock().expect("no asker has failed");
    let known = seen.entry(revision).or_insert_with(|| side.to_owned());
    assert_eq!(known, side, "two generations under revision {revision}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_belongs_to_exactly_one_generation() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), "left");
    let first = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    let service = Service::in_memory(ServiceSettings::default(), Recorder::default());
    let service = Arc::new(service.expect("a service"));
    let digest = Arc::clone(&first.digest);
    let revision = service.publish(loaded(first)).expect("published");
    let mut reloader = Reloader::new(
        Loader::new(dir.path()),
        Arc::clone(&service),
        Recorder::default(),
        digest,
        revision,
    );
    let stop = Arc::new(AtomicBool::new(false));
    // Which side each revision is, as far as answers have shown.
    let seen: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (service, stop, seen) =
                (Arc::clone(&service), Arc::clone(&stop), Arc::clone(&seen));
            tokio::spawn(async move {
                let caller = Caller::local();
                let mut asked = 0u64;
                let mut newest = 0;
                while !stop.load(Ordering::Relaxed) {
                    let ask = RequestMeta {
                        caller: &caller,
                        adapter: "test",
                        at_least_revision: newest,
                        is_dry_run: false,
                        deadline: Deadline::NONE,
                        request_id: None,
                    };
                    let answer = service
                        .is_authorized(ask, question())
                        .await
                        .expect("something is loaded");
                    assert!(
                        answer.revision >= newest,
                        "revision {} after {newest}",
                        answer.revision
                    );
                    newest = answer.revision;
                    // A policy of one generation over entities of the other would deny.
                    assert!(answer.value.is_allow(), "{:?}", answer.value);
                    let ids: Vec<_> = answer
                        .value
                        .determining_policies
                        .iter()
                        .map(|policy| policy.id.to_string())
                        .collect();
                    assert_eq!(ids.len(), 1);
                    note(&seen, answer.revision, &ids[0]);
                    asked += 1;
                    if asked.is_multiple_of(64) {
                        tokio::task::yield_now().await;
                    }
                }
                asked
            })
        })
        .collect();
    let mut expected = BTreeMap::from([(1, "left".to_owned())]);
    for round in 0..40u64 {
        let side = if round % 2 == 0 { "right" } else { "left" };
        write(dir.path(), side);
        let outcome = reloader.reload().await;
        let ReloadOutcome::Published(revision) = outcome else {
            panic!("{outcome:?}")
        };
        expected.insert(revision, side.to_owned());
        assert_eq!(reloader.reload().await, ReloadOutcome::Unchanged);
    }
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for asker in askers {
        asked += asker.await.expect("no answer was wrong");
    }
    let seen = seen.lock().expect("no asker has failed");
    assert!(asked > 1_000, "only {asked} answers");
    assert!(seen.len() > 10, "only {} generations were seen", seen.len());
    for (revision, side) in seen.iter() {
        assert_eq!(expected.get(revision), Some(side), "revision {revision}");
    }
}
