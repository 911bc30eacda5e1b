//! The modules of the OpenID Foundation's conformance suite for AuthZEN, by their names: each with its request over the
//! certification scenario and with what it asserts.
//!
//! `modules.toml` is the table. The suite's batch idempotency test compares whole bodies, which `[authzen] context =
//! false` gives; all others pass with the default too.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::grpc::transport::digest;
use crate::http::authzen::{
    ACTIONS, EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, certified, tuple,
};
use crate::support::in_process::Running;
use crate::support::plain_http::{Reply, post, send};

const DISCOVERY: &str = "/.well-known/authzen-configuration";
const WITHOUT_CONTEXT: &str = "[authzen]\ncontext = false\n";

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    name: String,
    request: Option<String>,
    status: Option<u16>,
    answer: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    module: Vec<Module>,
}

fn modules() -> Vec<Module> {
    let table: Table = toml::from_str(include_str!("modules.toml")).expect("a table");
    table.module
}

impl Module {
    /// Where it asks, and what it is about there.
    fn path(&self) -> (&'static str, &str) {
        let plans = [
            ("authzen-pdp-evaluations-", EVALUATIONS),
            ("authzen-pdp-evaluation-", EVALUATION),
            ("authzen-pdp-subject-search-", SUBJECTS),
            ("authzen-pdp-resource-search-", RESOURCES),
            ("authzen-pdp-action-search-", ACTIONS),
        ];
        let found = plans.into_iter().find_map(|(prefix, path)| {
            let about = self.name.strip_prefix(prefix)?;
            Some((path, about))
        });
        found.unwrap_or_else(|| panic!("{}", self.name))
    }
}

/// A request that each endpoint answers with 200.
fn good(path: &str) -> Json {
    let mut request = tuple("alice", "read", "record-1");
    if path == EVALUATIONS {
        request["evaluations"] =
            json!([{}, {"subject": {"id": "bob"}, "action": {"name": "write"}}]);
    }
    request
}

fn texts(results: &Json) -> Vec<String> {
    let results = results.as_array().expect("results").iter();
    results
        .map(|it| {
            let mut it = it.clone();
            it.as_object_mut().expect("an object").remove("obligations");
            it.to_string()
        })
        .collect()
}

/// Decisions without what surrounds them.
fn decisions(answer: &Json) -> Vec<&Json> {
    match answer.get("evaluations") {
        Some(each) => each
            .as_array()
            .expect("an array")
            .iter()
            .map(|it| &it["decision"])
            .collect(),
        None => vec![&answer["decision"]],
    }
}

async fn raw(server: &Running, method: &str, path: &str, media: &str, body: &str) -> Reply {
    let headers = [("content-type", media)];
    send(server.http_address, method, path, &headers, body).await
}

/// What the modules about the transport assert; whether `about` is one of them.
async fn transport(server: &Running, path: &str, about: &str) -> bool {
    const JSON: &str = "application/json";
    let body = good(path).to_string();
    let (reply, wanted): (Reply, &[u16]) = match about {
        "accept-content-type-with-charset" => {
            let media = "application/json; charset=utf-8";
            (raw(server, "POST", path, media, &body).await, &[200])
        }
        "reject-empty-body" => (raw(server, "POST", path, JSON, "").await, &[400]),
        "reject-malformed-json" => {
            let broken = "{ \"subject\": { \"type\": \"user\", \"id\": \"alice\" } , broken";
            (raw(server, "POST", path, JSON, broken).await, &[400])
        }
        "reject-top-level-array" => (
            raw(server, "POST", path, JSON, &format!("[{body}]")).await,
            &[400],
        ),
        "reject-non-json-content-type" => (
            raw(server, "POST", path, "text/plain", &body).await,
            &[400, 415],
        ),
        "reject-get-method" => (
            raw(server, "GET", path, JSON, &body).await,
            &[400, 404, 405],
        ),
        "reject-put-method" => (
            raw(server, "PUT", path, JSON, &body).await,
            &[400, 404, 405],
        ),
        "x-request-id-echoed" => {
            let headers = [("content-type", JSON), ("x-request-id", "conformance-1")];
            let reply = send(server.http_address, "POST", path, &headers, &body).await;
            assert_eq!(
                reply.header("x-request-id"),
                Some("conformance-1"),
                "{path}"
            );
            (reply, &[200])
        }
        _ => return false,
    };
    assert!(wanted.contains(&reply.status), "{path} {about}: {reply:?}");
    true
}

/// The same three times over: for a batch word for word, for the others as much as the suite compares.
async fn idempotency(server: &Running, path: &str, is_whole: bool) {
    let mut first = None;
    for _ in 0..3 {
        let reply = post(server, path, &good(path)).await;
        let json = reply.json();
        let said = match path {
            EVALUATION => json["decision"].to_string(),
            EVALUATIONS if is_whole => reply.body.clone(),
            EVALUATIONS => format!("{:?}", decisions(&json)),
            _ => {
                let mut found = texts(&json["results"]);
                found.sort();
                let is_last = json["page"]["next_token"] == "";
                format!("{found:?} {is_last}")
            }
        };
        assert_eq!(*first.get_or_insert(said.clone()), said, "{path}");
    }
}

/// Walks a search to its end, as the suite does: the second request keeps the limit and adds the token.
async fn walked(server: &Running, path: &str, request: &Json) -> Vec<String> {
    let (mut request, mut found) = (request.clone(), Vec::new());
    for _ in 0..100 {
        let json = post(server, path, &request).await.json();
        // The page comes first.
        assert!(json.to_string().starts_with("{\"page\":"), "{json}");
        let results = texts(&json["results"]);
        if let Some(limit) = request["page"]["limit"].as_u64() {
            assert!(results.len() as u64 <= limit, "{json}");
        }
        found.extend(results);
        let token = json["page"]["next_token"].clone();
        if token == "" {
            return found;
        }
        request["page"]["token"] = token;
    }
    panic!("no end: {request}");
}

async fn holds(server: &Running, module: &Module) {
    let (path, _) = module.path();
    let name = &module.name;
    let request: Json = serde_json::from_str(module.request.as_deref().expect(name)).expect(name);
    let reply = post(server, path, &request).await;
    if let Some(status) = module.status {
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        return;
    }
    assert_eq!(reply.status, 200, "{name}: {reply:?}");
    let wanted: Json = serde_json::from_str(module.answer.as_deref().expect(name)).expect(name);
    let answer = reply.json();
    let Some(results) = wanted.get("results") else {
        assert_eq!(decisions(&answer), decisions(&wanted), "{name}");
        assert_eq!(
            answer.get("evaluations").is_some(),
            wanted.get("evaluations").is_some(),
            "{name}"
        );
        return;
    };
    // Those of the scenario are among what is found; there may be more, but for nobody and nothing.
    let found = walked(server, path, &request).await;
    let wanted = texts(results);
    assert!(
        wanted.iter().all(|it| found.contains(it)),
        "{name}: {found:?}"
    );
    assert!(!wanted.is_empty() || found.is_empty(), "{name}: {found:?}");
}

#[tokio::test]
async fn every_module_of_the_five_plans() {
    let modules = modules();
    let count = |prefix: &str| {
        modules
            .iter()
            .filter(|it| it.name.starts_with(prefix))
            .count()
    };
    let plans = [
        ("authzen-pdp-evaluation-", 33),
        ("authzen-pdp-evaluations-", 27),
        ("authzen-pdp-subject-search-", 25),
        ("authzen-pdp-resource-search-", 20),
        ("authzen-pdp-action-search-", 22),
    ];
    for (prefix, wanted) in plans {
        assert_eq!(count(prefix), wanted, "{prefix}");
    }
    for config in ["", WITHOUT_CONTEXT] {
        let server = certified(config).await;
        for module in &modules {
            let (path, about) = module.path();
            if about.ends_with("credentials-returns-401") {
                continue;
            }
            if about == "idempotency" {
                idempotency(&server, path, config == WITHOUT_CONTEXT).await;
            } else if !transport(&server, path, about).await {
                holds(&server, module).await;
            }
        }
    }
}

#[tokio::test]
async fn the_modules_about_credentials() {
    let config = format!(
        "[[callers]]\nid = \"pep\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"] }}\n",
        digest("secret")
    );
    let server = certified(&config).await;
    let body = good(EVALUATION).to_string();
    for (module, authorization, status) in [
        (
            "authzen-pdp-evaluation-fixture-request-permit-decision",
            Some("Bearer secret"),
            200,
        ),
        (
            "authzen-pdp-evaluation-missing-credentials-returns-401",
            None,
            401,
        ),
        (
            "authzen-pdp-evaluation-invalid-credentials-returns-401",
            Some("Bearer secret-corrupted"),
            401,
        ),
    ] {
        assert!(modules().iter().any(|it| it.name == module), "{module}");
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.map(|it| ("authorization", it)));
        let reply = send(server.http_address, "POST", EVALUATION, &headers, &body).await;
        assert_eq!(reply.status, status, "{module}: {reply:?}");
        if status == 401 {
            assert!(reply.header("www-authenticate").is_some(), "{module}");
        }
    }
}

/// What the plan for discovery asserts of the document, and RFC 9110 of how it can be asked for.
#[tokio::test]
async fn the_discovery_document() {
    let url = "https://pdp.example.com";
    let server = certified(&format!("[authzen]\nurl = \"{url}\"\n")).await;
    let get = send(server.http_address, "GET", DISCOVERY, &[], "").await;
    let document = get.json();
    assert_eq!(document["policy_decision_point"], url);
    for (name, value) in document.as_object().expect("an object") {
        assert!(
            !value.is_null() && *value != json!([]) && *value != json!(""),
            "{name}"
        );
        if name.ends_with("_endpoint") {
            assert!(
                value.as_str().is_some_and(|it| it.starts_with("https://")),
                "{name}"
            );
        }
    }
    let head = send(server.http_address, "HEAD", DISCOVERY, &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for name in ["content-type", "content-length", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(get.header("cache-control"), Some("max-age=3600"));
    assert_eq!(
        get.header("content-length"),
        Some(&*get.body.len().to_string())
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = send(server.http_address, method, DISCOVERY, &[], "").await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    // A decision is good for once.
    for path in [EVALUATION, EVALUATIONS, SUBJECTS, RESOURCES, ACTIONS] {
        let reply = post(&server, path, &good(path)).await;
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (200, Some("no-store")),
            "{path}"
        );
    }
    let head = send(server.http_address, "HEAD", EVALUATION, &[], "").await;
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
}
