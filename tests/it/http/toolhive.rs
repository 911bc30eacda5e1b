//! ToolHive's decision point: what it says of questions that it cannot decide.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate::service::clock::SystemClock;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use serde_json::{Value as Json, json};

use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::start;
use crate::support::plain_http::post;
use crate::support::worlds;

const TOOLHIVE: &str = "/toolhive/decision";

fn toolhive(subject: &str, operation: &str, resource: &str, args: &Json) -> Json {
    let (feature, verb) = operation["mcp:".len()..]
        .split_once(':')
        .expect("two words");
    let id = resource.splitn(5, ':').nth(4).expect("a name");
    json!({
        "principal": {"sub": subject, "groups": ["x"]}, "operation": operation, "resource": resource,
        "context": {"mcp": {"feature": feature, "operation": verb, "resource_id": id, "args": args}},
    })
}

#[tokio::test]
async fn toolhive_hears_no_for_what_is_not_known_and_an_error_for_what_cannot_be_read() {
    let server = start("").await;
    let mut question = toolhive("ana", "mcp:tool:call", "mrn:mcp:git:tool:log", &json!({}));
    assert_eq!(
        post(&server, TOOLHIVE, &question).await.json(),
        json!({"allow": true})
    );
    let probe = format!("{TOOLHIVE}?probe=true");
    assert_eq!(
        post(&server, &probe, &question).await.json(),
        json!({"allow": true})
    );
    for operation in ["mcp::list", "mcp:tool:delete", "sampling:create"] {
        question["operation"] = json!(operation);
        let reply = post(&server, TOOLHIVE, &question).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"allow": false})),
            "{operation}"
        );
    }
    question["operation"] = json!("mcp:tool:call");
    question["context"]["mcp"]["resource_id"] = json!("purge");
    let reply = post(&server, TOOLHIVE, &question).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .message()
            .starts_with("`context.mcp.resource_id` says something else")
    );
}

/// Nothing that is denied goes without a word: it is counted as other adapters count what they cannot read.
#[tokio::test]
async fn what_toolhive_asks_and_nobody_knows_is_a_rejection() {
    let kept = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(kept.clone())
        .build();
    let recorder = Recorder::new(RecorderParts {
        meter: Some(&provider.meter("callgate")),
        ..RecorderParts::default()
    });
    let server = worlds::small();
    let server = server.start_recorded("", Arc::new(SystemClock), recorder);
    let server = server.await;
    let mut question = toolhive("ana", "mcp:tool:call", "mrn:mcp:git:tool:log", &json!({}));
    for operation in ["mcp:tool:delete", "sampling:create"] {
        question["operation"] = json!(operation);
        let reply = post(&server, TOOLHIVE, &question).await;
        assert_eq!(reply.json(), json!({"allow": false}), "{operation}");
    }
    provider.force_flush().expect("metrics");
    let exported = kept.get_finished_metrics().expect("metrics").remove(0);
    let mut metrics = exported.scope_metrics().flat_map(|scope| scope.metrics());
    let rejections = metrics.find(|metric| metric.name() == "callgate.rejections");
    let Some(AggregatedMetrics::U64(MetricData::Sum(sum))) = rejections.map(|it| it.data()) else {
        panic!("no rejections");
    };
    let series = sum.data_points().map(|point| {
        let labels = point.attributes().map(|label| label.value.to_string());
        (labels.collect::<BTreeSet<_>>(), point.value())
    });
    let labels = ["toolhive", "malformed"].map(str::to_owned);
    assert_eq!(series.collect::<Vec<_>>(), [(labels.into(), 2)]);
}

/// As ToolHive sends it for each tool of a list, and for a call without arguments.
const NAMED_ALONE: &str = r#"{"context":{"mcp":{"feature":"tool","operation":"call","resource_id":"NAME"}},"operation":"mcp:tool:call","principal":{"mannotations":{},"sub":"ana"},"resource":"mrn:mcp:files:tool:NAME"}"#;

/// One tool that requires its target, one that does not, one that no policy permits.
fn files() -> BundleDir {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let mut required = schema.clone();
    required["required"] = json!(["path"]);
    let acts_on_a_path = json!({"target_arguments": ["path"], "input_schema": required});
    let optional = json!([{"argument": "path", "optional": true}]);
    let may_act = json!({"target_arguments": optional, "input_schema": schema});
    worlds::small()
        .file("files.cedar", LOOKS)
        .server("files", "ana")
        .tool_with("read_text_file", "read", acts_on_a_path.clone())
        .tool_with("list_directory", "read", may_act)
        .tool_with("write_file", "admin", acts_on_a_path)
}

const LOOKS: &str = r#"@id("looks") forbid (principal, action in Mcp::Action::"call_read", resource in Mcp::Server::"files")
unless { context has target && !(context.target in Mcp::Resource::"file:///etc") };"#;

/// Without `include_args` no arguments come at all, and a target that may be left out is then not told either.
#[tokio::test]
async fn arguments_that_are_not_told_are_not_none() {
    const ETC: &str = r#"@id("etc") forbid (principal, action in Mcp::Action::"call_read", resource)
when { context has target && context.target in Mcp::Resource::"file:///etc" };"#;
    let nothing = json!({"input_schema": {"type": "object", "properties": {}}});
    for (config, passes) in [
        ("", false),
        ("[toolhive]\nlists = true\n", false),
        ("[toolhive]\nrequire_arguments = false\n", true),
    ] {
        let world = files().file("files.cedar", ETC);
        let server = world.tool_with("roots", "read", nothing.clone());
        let server = server.start(config).await;
        for context in [
            json!({}),
            json!({"mcp": {}}),
            json!({"mcp": {"args": null}}),
        ] {
            let ask = async |name: &str| {
                let mut question: Json =
                    serde_json::from_str(&NAMED_ALONE.replace("NAME", name)).expect("JSON");
                question["context"] = context.clone();
                post(&server, TOOLHIVE, &question).await.json()["allow"] == json!(true)
            };
            assert_eq!(ask("list_directory").await, passes, "{config} {context}");
            assert!(ask("roots").await, "it takes none");
        }
    }
}

#[tokio::test]
async fn a_tool_that_requires_arguments_and_comes_without_any_is_an_entry_of_a_list_if_so_configured()
 {
    for (config, shows) in [
        // ToolHive's own default is to leave arguments out, so that every call would look like an entry.
        ("", false),
        ("[toolhive]\nlists = false\n", false),
        ("[toolhive]\nlists = true\n", true),
    ] {
        let server = files().start(config).await;
        let ask = async |name: &str, args: Option<Json>| {
            let mut question: Json =
                serde_json::from_str(&NAMED_ALONE.replace("NAME", name)).expect("JSON");
            if let Some(args) = args {
                question["context"]["mcp"]["args"] = args;
            }
            let reply = post(&server, TOOLHIVE, &question).await;
            assert_eq!(reply.status, 200);
            reply.json()["allow"] == json!(true)
        };
        assert_eq!(ask("read_text_file", None).await, shows);
        // A server may act upon something of its own choice, so the call itself is decided.
        assert!(
            !ask("list_directory", None).await,
            "the target could be left out"
        );
        assert!(!ask("write_file", None).await, "nobody may");
        assert!(
            !ask("read_text_file", Some(json!({}))).await,
            "arguments, and the target is not among them"
        );
        assert!(ask("read_text_file", Some(json!({"path": "/srv/a"}))).await);
        assert!(!ask("read_text_file", Some(json!({"path": "/etc/passwd"}))).await);
    }
}
