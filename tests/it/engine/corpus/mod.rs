//! Decisions that Cedar's maintainers computed: the engine must agree with every one of them, in
//! decision, reasons and errors, and so must a server that is asked over gRPC.
//!
//! The cases are not part of this repository: the tests need them in the folder that `CALLGATE_SHARED` names, as
//! `data/cedar-corpus/cedar-corpus.tar.gz`; without it these tests say so and do nothing.

mod renamed;

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use callgate::bundle;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::is_authorized_request::ContextForm;
use callgate_engine::cedar::EntityUID;
use callgate_engine::cedar::api::{
    Context, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Schema,
};
use callgate_engine::{PolicyEvaluation, PolicyInfo, Query, Reach, Snapshot, SnapshotParts};
use serde::Deserialize;
use serde_json::Value as Json;
use tonic::transport::Channel;

use crate::support::parts::public_data;
use crate::support::process::{Bundle, Server, endpoint};

/// How many there are; fewer would mean that the test looks past some.
const CASES: usize = 552;
const REQUESTS: usize = 4_314;

/// Every so many generated cases are asked over gRPC. Those made by hand have types called `User`
/// without a namespace, which no schema can have beside `Mcp::User`.
const SAMPLE_EVERY: usize = 4;

/// One case: a policy set, a schema, entities, and questions about them.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub policies: PathBuf,
    pub entities: PathBuf,
    pub schema: PathBuf,
    #[serde(rename = "shouldValidate")]
    pub should_validate: bool,
    pub requests: Vec<CaseRequest>,
}

/// One question and its answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseRequest {
    pub description: String,
    pub principal: CaseEntity,
    pub action: CaseEntity,
    pub resource: CaseEntity,
    pub context: Json,
    #[serde(default = "yes")]
    pub validate_request: bool,
    pub decision: String,
    pub reason: BTreeSet<String>,
    pub errors: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
pub struct CaseEntity {
    #[serde(rename = "type")]
    pub entity_type: String,
    pub id: String,
}

fn yes() -> bool {
    true
}

/// The unpacked corpus, by path.
pub struct Corpus {
    files: HashMap<PathBuf, Vec<u8>>,
}

impl Corpus {
    /// Unpacks it into memory.
    pub fn open() -> Self {
        let path = public_data("cedar-corpus/cedar-corpus.tar.gz");
        let packed = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
        let mut files = HashMap::new();
        for entry in tar::Archive::new(packed).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry
                .path()
                .unwrap()
                .strip_prefix("cedar-corpus")
                .unwrap()
                .to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, bytes);
        }
        Self { files }
    }

    /// Every case with its name, in the order of their names.
    pub fn cases(&self) -> Vec<(PathBuf, Case)> {
        let mut names: Vec<&PathBuf> = self
            .files
            .keys()
            .filter(|path| path.starts_with("tests") || path.starts_with("corpus-tests"))
            .filter(|path| {
                let name = path.to_string_lossy();
                name.ends_with(".json") && !name.ends_with(".entities.json")
            })
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| {
                (
                    name.clone(),
                    serde_json::from_slice(&self.files[name]).unwrap(),
                )
            })
            .collect()
    }

    /// A file's text.
    pub fn text(&self, path: &Path) -> &str {
        std::str::from_utf8(&self.files[path]).unwrap()
    }
}

impl CaseEntity {
    fn uid(&self) -> EntityUid {
        EntityUid::from_type_name_and_id(
            EntityTypeName::from_str(&self.entity_type).unwrap(),
            EntityId::new(&self.id),
        )
    }
}

fn snapshot(corpus: &Corpus, case: &Case, schema: &Schema) -> Snapshot {
    let policies = PolicySet::from_str(corpus.text(&case.policies)).unwrap();
    let entities = Entities::from_json_str(corpus.text(&case.entities), Some(schema)).unwrap();
    let core: &callgate_engine::cedar::Entities = entities.as_ref();
    Snapshot::build(SnapshotParts {
        policies: AsRef::<callgate_engine::cedar::PolicySet>::as_ref(&policies).clone(),
        entities: core.iter().cloned().collect::<Vec<_>>(),
        schema: Some(Arc::new(
            AsRef::<callgate_engine::cedar::ValidatorSchema>::as_ref(schema).clone(),
        )),
        reach: Reach::Unbounded,
    })
    .unwrap()
}

fn ids<'a>(policies: impl IntoIterator<Item = &'a Arc<PolicyInfo>>) -> BTreeSet<String> {
    policies
        .into_iter()
        .map(|policy| policy.id.to_string())
        .collect()
}

/// What Cedar alone says: it skips policies that fail.
fn cedars_decision(evaluation: &PolicyEvaluation) -> &'static str {
    match (evaluation.permits.is_empty(), evaluation.forbids.is_empty()) {
        (false, true) => "allow",
        _ => "deny",
    }
}

/// Differences between an evaluation and the expected one.
fn differences(expected: &CaseRequest, evaluation: &PolicyEvaluation) -> Vec<String> {
    let decision = cedars_decision(evaluation);
    let reasons = match decision {
        "allow" => ids(&evaluation.permits),
        _ => ids(&evaluation.forbids),
    };
    let errors = ids(evaluation.errors.iter().map(|error| &error.policy));
    let mut found = Vec::new();
    if decision != expected.decision {
        found.push(format!(
            "decision {decision}, expected {}",
            expected.decision
        ));
    }
    if reasons != expected.reason {
        found.push(format!(
            "reasons {reasons:?}, expected {:?}",
            expected.reason
        ));
    }
    if errors != expected.errors {
        found.push(format!("errors {errors:?}, expected {:?}", expected.errors));
    }
    // Callgate's rule differs from Cedar's only where a policy failed, and there it denies.
    let callgates = if expected.errors.is_empty() {
        expected.decision.as_str()
    } else {
        "deny"
    };
    if evaluation.is_allow() != (callgates == "allow") {
        found.push(format!(
            "callgate allows: {}, expected {callgates}",
            evaluation.is_allow()
        ));
    }
    found
}

#[test]
#[ignore = "needs public data: data/cedar-corpus"]
fn the_engine_agrees_with_every_case() {
    let corpus = Corpus::open();
    let (mut cases, mut requests, mut failing, mut faults) = (0, 0, 0, Vec::new());
    for (name, case) in corpus.cases() {
        cases += 1;
        let schema = Schema::from_str(corpus.text(&case.schema)).unwrap();
        let snapshot = snapshot(&corpus, &case, &schema);
        for request in &case.requests {
            requests += 1;
            failing += usize::from(!request.errors.is_empty());
            let place = format!("{} `{}`", name.display(), request.description);
            let (principal, action, resource) = (
                request.principal.uid(),
                request.action.uid(),
                request.resource.uid(),
            );
            let known = Some((&schema, &action));
            let context = Context::from_json_value(request.context.clone(), known).unwrap();
            let (principal, action, resource): (EntityUID, EntityUID, EntityUID) =
                (principal.into(), action.into(), resource.into());
            let context: &callgate_engine::cedar::Context = context.as_ref();
            let query = Query {
                action: &action,
                resource: &resource,
                context,
                overlays: &[],
                unknown: &[],
            };
            if request.validate_request {
                let scope = snapshot.check_scope(&principal, &action, &resource);
                let whole = scope.and_then(|()| snapshot.check_context(&action, context));
                if let Err(fault) = whole {
                    faults.push(format!("{place}: refused: {fault}"));
                }
            }
            for difference in differences(request, &snapshot.evaluate(&query, &principal)) {
                faults.push(format!("{place}: {difference}"));
            }
        }
    }
    println!("{cases} cases, {requests} requests, {failing} of them with failing policies");
    assert!(
        faults.is_empty(),
        "{} differences:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!((cases, requests), (CASES, REQUESTS));
    assert_eq!(failing, 244);
}

/// The case's entities without its actions, which the schema declares anyway.
fn entities_for_bundle(text: &str) -> String {
    let mut entities: Vec<Json> = serde_json::from_str(text).unwrap();
    entities.retain(|entity| {
        let of_type = entity["uid"]["type"]
            .as_str()
            .or_else(|| entity["uid"]["__entity"]["type"].as_str());
        !of_type.is_some_and(|name| name == "Action" || name.ends_with("::Action"))
    });
    renamed::entities(entities.into()).to_string()
}

/// The case as a directory for the server, if it can be one: its policies have to validate.
fn directory(corpus: &Corpus, case: &Case) -> Option<Bundle> {
    let bundle = Bundle::empty();
    let policies = renamed::policies(corpus.text(&case.policies))?;
    bundle.file("case.cedar", &policies);
    let schema = renamed::schema(corpus.text(&case.schema))?;
    bundle.file("case.cedarschema", &schema);
    let entities = entities_for_bundle(corpus.text(&case.entities));
    bundle.file("entities/case.json", &entities);
    bundle.file("callgate.toml", "[schema]\nmax_dereference_level = 10\n");
    bundle::load(&bundle.policies()).is_ok().then_some(bundle)
}

/// A policy without `@id` is named after its file, counted from one; in the corpus from zero.
fn corpus_name(id: &str) -> String {
    match id.strip_prefix("case#") {
        Some(position) => format!("policy{}", position.parse::<usize>().unwrap() - 1),
        None => id.to_owned(),
    }
}

fn over_the_wire(request: &CaseRequest) -> v1::IsAuthorizedRequest {
    let entity = |entity: &CaseEntity| {
        Some(v1::EntityRef {
            r#type: entity.entity_type.clone(),
            id: renamed::id(&entity.id),
        })
    };
    let context = renamed::entities(request.context.clone());
    v1::IsAuthorizedRequest {
        principal: entity(&request.principal),
        action: entity(&request.action),
        resource: entity(&request.resource),
        context_form: Some(ContextForm::ContextJson(context.to_string().into())),
        at_least_revision: 0,
        explain: true,
    }
}

/// Differences between an answer and the expected one, by Callgate's rule.
fn wire_differences(expected: &CaseRequest, answer: &v1::IsAuthorizedResponse) -> Vec<String> {
    let is_allow = answer.decision() == v1::Decision::Allow;
    let wants_allow = expected.errors.is_empty() && expected.decision == "allow";
    let mut found = Vec::new();
    if is_allow != wants_allow {
        found.push(format!("allowed: {is_allow}, expected {wants_allow}"));
    }
    let errors: BTreeSet<String> = answer
        .errors
        .iter()
        .map(|error| corpus_name(&error.policy_id))
        .collect();
    if errors != expected.errors {
        found.push(format!("errors {errors:?}, expected {:?}", expected.errors));
    }
    let told = answer.explanation.as_ref().map(|told| &told.principals);
    let Some([principal]) = told.map(Vec::as_slice) else {
        found.push("the explanation is not about one principal".to_owned());
        return found;
    };
    let named = match expected.decision.as_str() {
        "allow" => &principal.permits,
        _ => &principal.forbids,
    };
    let reasons: BTreeSet<String> = named.iter().map(|id| corpus_name(id)).collect();
    if reasons != expected.reason {
        found.push(format!(
            "reasons {reasons:?}, expected {:?}",
            expected.reason
        ));
    }
    found
}

async fn ask_all(target: &str, case: &Case) -> Vec<String> {
    let endpoint = endpoint(format!("http://{target}"));
    let channel: Channel = endpoint.connect().await.unwrap();
    let mut client = AuthorizationClient::new(channel);
    let mut faults = Vec::new();
    for request in &case.requests {
        match client.is_authorized(over_the_wire(request)).await {
            Ok(answer) => {
                let found = wire_differences(request, &answer.into_inner());
                faults.extend(
                    found
                        .into_iter()
                        .map(|one| format!("{}: {one}", request.description)),
                );
            }
            Err(status) => faults.push(format!("{}: {status}", request.description)),
        }
    }
    faults
}

#[test]
#[ignore = "needs public data: data/cedar-corpus"]
fn a_server_agrees_with_a_sample() {
    let corpus = Corpus::open();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut asked, mut cases, mut faults) = (0, 0, Vec::new());
    let generated = |(name, _): &(PathBuf, Case)| name.starts_with("corpus-tests");
    for (name, case) in corpus
        .cases()
        .into_iter()
        .filter(generated)
        .step_by(SAMPLE_EVERY)
    {
        if !case.should_validate {
            continue;
        }
        let Some(bundle) = directory(&corpus, &case) else {
            continue;
        };
        let server = Server::start(&bundle, &[]);
        let found = runtime.block_on(ask_all(server.target(), &case));
        faults.extend(
            found
                .into_iter()
                .map(|one| format!("{} {one}", name.display())),
        );
        asked += case.requests.len();
        cases += 1;
    }
    println!("{asked} requests of {cases} cases over gRPC");
    assert!(
        faults.is_empty(),
        "{} differences:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(cases >= 80, "the sample shrank to {cases} cases");
}
