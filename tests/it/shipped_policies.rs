//! The shipped policies: in order, and every row of the tables in `cases/` decided as it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use callgate::bundle::{self, Bundle};
use callgate::call::context::{
    CallContext, Delegation, Environment, Identity, Initiator, Operation, OperationKind, Sampling,
    Subject, ToolCall, TraceContext, Workflow,
};
use callgate::call::decide::{Asker, decide};
use callgate::call::decision::Decision;
use callgate::identity::caller::Caller;
use cedar_policy_core::ast::EntityUID;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

/// One row. Who asks for what, and what the answer must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    it: String,
    user: Option<String>,
    agent: Option<String>,
    from_server: Option<String>,
    for_user: Option<String>,
    #[serde(default)]
    via: Vec<String>,
    #[serde(default = "yes")]
    identity_verified: bool,
    #[serde(default = "yes")]
    delegation_verified: bool,
    server: Option<String>,
    #[serde(default = "call")]
    kind: String,
    tool: Option<String>,
    #[serde(default)]
    arguments: Map<String, Json>,
    definition_digest: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    url: Option<String>,
    uri: Option<String>,
    #[serde(default)]
    max_tokens: i64,
    #[serde(default)]
    include_context: String,
    want: String,
    reason: Option<String>,
    #[serde(default)]
    policies: BTreeSet<String>,
}

fn yes() -> bool {
    true
}

fn call() -> String {
    "call".to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Bundle {
    bundle::load(&root().join("policies")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn uid(kind: &str, id: &str) -> EntityUID {
    let text = format!("Mcp::{kind}::{}", json!(id));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl Case {
    fn subject(&self) -> EntityUID {
        match (&self.user, &self.agent, &self.from_server) {
            (Some(user), None, None) => uid("User", user),
            (None, Some(agent), None) => uid("Agent", agent),
            (None, None, Some(server)) => uid("Server", server),
            _ => panic!(
                "`{}` names one subject: user, agent or from_server",
                self.it
            ),
        }
    }

    fn operation(&self) -> OperationKind {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self.kind.as_str() {
            "call" | "reverse_call" => OperationKind::CallTool(ToolCall {
                tool: text(&self.tool).into(),
                arguments: self.arguments.clone(),
                definition_digest: self.definition_digest.clone().map(Into::into),
                target: None,
            }),
            "list_tools" => OperationKind::ListTools,
            "read_resource" => OperationKind::ReadResource {
                uri: text(&self.uri).into(),
            },
            "form" => {
                let fields = self
                    .fields
                    .iter()
                    .map(|name| (name.clone(), json!({"type": "string"})));
                let fields: Map<String, Json> = fields.collect();
                OperationKind::ElicitForm {
                    requested_schema: json!({"type": "object", "properties": fields}),
                }
            }
            "url" => OperationKind::ElicitUrl {
                url: text(&self.url),
            },
            "sample" => OperationKind::Sample(Sampling {
                max_tokens: self.max_tokens,
                include_context: self.include_context.as_str().into(),
                ..Sampling::default()
            }),
            "roots" => OperationKind::ListRoots,
            other => panic!("`{}`: no such kind `{other}`", self.it),
        }
    }

    fn context(&self) -> CallContext {
        let initiator = if self.from_server.is_some() {
            Initiator::Server
        } else {
            Initiator::Client
        };
        let server = self
            .server
            .clone()
            .or_else(|| self.from_server.clone())
            .unwrap_or_default();
        CallContext {
            subject: Subject {
                entity: self.subject(),
                identity: Identity {
                    method: Some("jwt".into()),
                    verified: self.identity_verified,
                },
                claims: Map::new(),
            },
            delegation: self.for_user.as_ref().map(|person| Delegation {
                root: Some(uid("User", person)),
                actors: self.via.iter().map(|agent| uid("Agent", agent)).collect(),
                scopes: Vec::new(),
                verified: self.delegation_verified,
                grant_ids: Vec::new(),
                expires_at: None,
            }),
            operation: Operation {
                initiator,
                server: server.into(),
                kind: self.operation(),
            },
            workflow: Workflow::default(),
            approval_ids: Vec::new(),
            environment: Environment::default(),
            trace: TraceContext::default(),
        }
    }

    /// What is not as the row says; `None` if all of it is.
    fn difference(&self, decision: &Decision) -> Option<String> {
        let outcome = decision.outcome.as_str();
        let reason = decision
            .reasons
            .first()
            .map(|reason| reason.code.as_str().to_owned());
        let policies: BTreeSet<String> = decision
            .determining
            .iter()
            .map(|policy| policy.id.to_string())
            .collect();
        let is_as_wanted =
            outcome == self.want && reason == self.reason && policies == self.policies;
        (!is_as_wanted).then(|| {
            let wanted = (&self.want, &self.reason, &self.policies);
            format!(
                "{}\n    wanted {wanted:?}\n    got    {:?}",
                self.it,
                (outcome, reason, policies)
            )
        })
    }
}

fn tables() -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(root().join("tests/it/cases")).expect("the tables") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a table");
        let table =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        tables.push((path.display().to_string(), table));
    }
    tables
}

#[test]
fn every_row_is_decided_as_it_says() {
    let bundle = shipped();
    let caller = Caller::local();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let mut differences = Vec::new();
    let mut rows = 0;
    for (file, table) in tables() {
        for case in table.case {
            rows += 1;
            let asker = Asker {
                caller: &caller,
                claims: &bundle.config.claims,
            };
            let decision = decide(&bundle.snapshot, &case.context(), asker, now);
            differences.extend(
                case.difference(&decision)
                    .map(|difference| format!("{file}: {difference}")),
            );
        }
    }
    assert!(rows > 50, "only {rows} rows were found");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_shipped_policy_decides_some_row() {
    let named: BTreeSet<String> = tables()
        .into_iter()
        .flat_map(|(_, table)| table.case)
        .flat_map(|case| case.policies)
        .collect();
    let bundle = shipped();
    let untested: Vec<_> = bundle
        .policies
        .iter()
        .map(|policy| policy.id.as_str())
        .filter(|id| !named.contains(*id))
        .collect();
    // Nothing that is shipped is restricted or suspended: their own tests are below.
    assert_eq!(untested, ["data.restricted", "kill_switch.suspended"]);
}

#[test]
fn every_policy_says_who_answers_for_it_and_why() {
    let bundle = shipped();
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
    assert!(bundle.counts.level <= 2);
    assert!(
        bundle
            .policies
            .iter()
            .all(|policy| policy.owner.is_some() && !policy.id.contains('#'))
    );
    for entry in fs::read_dir(root().join("policies")).expect("the policies") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            let text = fs::read_to_string(&path).expect("policies");
            for policy in text.split("@id(").skip(1) {
                for annotation in ["@owner(\"", "@controls(\"", "@reason(\""] {
                    assert!(
                        policy.contains(annotation),
                        "{}: no {annotation} in {policy}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// The shipped directory with one change.
fn changed(file: &str, change: impl FnOnce(String) -> String) -> Bundle {
    let dir = tempfile::tempdir().expect("a temporary directory");
    copy(&root().join("policies"), dir.path());
    let path = dir.path().join(file);
    let before = fs::read_to_string(&path).expect("a file");
    let after = change(before.clone());
    assert_ne!(before, after);
    fs::write(&path, after).expect("a file");
    bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

fn answer(bundle: &Bundle, row: &str) {
    let case: Case = toml::from_str(row).expect("a row");
    let caller = Caller::local();
    let asker = Asker {
        caller: &caller,
        claims: &bundle.config.claims,
    };
    let decision = decide(&bundle.snapshot, &case.context(), asker, SystemTime::now());
    assert_eq!(case.difference(&decision), None);
}

#[test]
fn one_word_takes_a_server_out_of_service() {
    let suspended = changed("tools/slack.json", |text| {
        text.replace("\"messaging\"", "\"messaging\", \"suspended\"")
    });
    answer(
        &suspended,
        "it = 'its tools are not called'\nuser = 'tara'\nserver = 'slack'\ntool = 'slack_list_channels'\n\
         want = 'deny'\nreason = 'FORBIDDEN'\npolicies = ['kill_switch.suspended']",
    );
    let inactive = changed("tools/github.json", |text| {
        text.replace("\"active\": true", "\"active\": false")
    });
    for row in [
        "it = 'it asks nothing'\nfrom_server = 'github'\nkind = 'sample'\n\
         want = 'deny'\nreason = 'SERVER_UNKNOWN'",
        "it = 'nobody calls it'\nuser = 'sam'\nserver = 'github'\ntool = 'get_issue'\n\
         want = 'deny'\nreason = 'SERVER_UNKNOWN'",
    ] {
        answer(&inactive, row);
    }
}
