//! `callgate authorize`: decides one call, locally or by a running server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use arc_swap::ArcSwap;
use prost_types::value::Kind;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::adapters::callgate_v1::rpcs::Authorization;
use crate::adapters::transport::grpc_admission;
use crate::analysis::prove::question::{CedarQuestion, QuestionBundle};
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::bundle::diagnostic::BundleError;
use crate::bundle::{self, Bundle};
use crate::cli::call_args::{self, CallArgs};
use crate::cli::connect::{self, ClientCredentials, RpcError, ServerConnection};
use crate::cli::output::{Exit, Output};
use crate::cli::render::{self, printable, printables};
use crate::config::limits::Limits;
use crate::config::observe::ObserveConfig;
use crate::domain::decide::verdict::Decision;
use crate::proto::codec;
use crate::proto::served::authorization_server::Authorization as _;
use crate::proto::{json as proto_json, v1};
use crate::server::reloadable;
use crate::service::Service;
use crate::service::generation::LoadedBundle;
use crate::service::settings::ServiceSettings;
use crate::telemetry::record::recorder::Recorder;

/// Decides one call, and says why
///
/// The call comes from flags or from a JSON file. It is decided here, from a directory, or by a
/// running server (`--endpoint`, or `CALLGATE_ENDPOINT` as for every other verb). Decided here, everything the call says of itself is taken as true;
/// a server takes it as its configuration says for the token's owner. Delegations, tasks and approvals
/// are known to a server only.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_group("who", |group| group.arg("cedar")))]
pub struct Args {
    #[command(flatten)]
    call: CallArgs,
    #[command(flatten)]
    place: DecisionPointArgs,
    /// Also tell how each person and agent involved fared
    #[arg(long, help_heading = "The answer")]
    explain: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t, help_heading = "The answer")]
    pub output: Output,
}

/// Who decides.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who decides")]
pub(super) struct DecisionPointArgs {
    /// This directory, `./policies` unless a server is named; wins over `CALLGATE_ENDPOINT`
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint")]
    policies: Option<PathBuf>,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory, as `callgate serve --config`
    /// does
    #[arg(long, value_name = "FILE", conflicts_with = "endpoint")]
    pub(super) config: Option<PathBuf>,
    /// A running server: `http://…`, `https://…` or `unix:/path`; without this and `--policies`, the one
    /// that `CALLGATE_ENDPOINT` names
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    pub(super) credentials: ClientCredentials,
}

/// The default bundle directory.
const DIRECTORY: &str = "./policies";

const EXAMPLES: &str = "\
Examples:
  May the support agent, working for Sam, read an issue?
    callgate authorize --agent support --user sam --server github --tool get_issue \\
        --arg owner=acme --arg repo=shop --arg issue_number=7

  The same question to a running server:
    callgate authorize --endpoint http://127.0.0.1:50051 --agent support --user sam \\
        --server github --tool get_issue

  In a task, on the strength of a delegation, with an approval:
    callgate authorize --endpoint http://127.0.0.1:50051 --agent support --delegation delegation-1 \\
        --task task-1 --approval approval-1 --server github --tool close_issue

  A call from a file, every principal explained, for a program:
    callgate authorize --file call.json --explain --output json

  where call.json is, for instance:
    {\"subject\": {\"entity\": {\"type\": \"Agent\", \"id\": \"support\"}},
     \"delegation\": {\"root\": {\"type\": \"User\", \"id\": \"sam\"}, \"verified\": true},
     \"operation\": {\"server\": \"github\",
                   \"callTool\": {\"tool\": \"get_issue\", \"arguments\": {\"repo\": \"shop\"}}}}

Exit codes: 0 allowed, 1 error, 2 denied, 3 the directory has faults.";

/// Sends the request and prints the response.
///
/// # Errors
///
/// If the call is invalid, the bundle cannot be read, or the server does not answer.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(path) = args.call.cedar() {
        return answer_cedar(args, path);
    }
    let request = v1::AuthorizeRequest {
        call_context: Some(Box::new(args.call.context()?)),
        explain: args.explain,
        ..v1::AuthorizeRequest::default()
    };
    let answered = match ask(&args.call, &args.place, request, args.output)? {
        Ok(answered) => answered,
        Err(exit) => return Ok(exit),
    };
    let response = answered.response;
    let challenge = response.approval.as_ref();
    let text = AuthorizeText {
        response: &response,
        // Without a server there is no state to refer to.
        next: challenge.filter(|_| answered.by_server).map(next_command),
    };
    let json = proto_json::write("AuthorizeResponse", &response)?;
    args.output.answer(&text, &json)?;
    Ok(exit(&response))
}

/// A response, and who gave it.
pub(super) struct Answered {
    pub(super) response: v1::AuthorizeResponse,
    pub(super) by_server: bool,
    /// What the configuration of the directory that decided has only observed.
    pub(super) observed: ObserveConfig,
}

/// Has a call decided, by a server or from a directory. The inner error is how the process ends if the directory has
/// faults, which are printed.
///
/// # Errors
///
/// If the flags do not go together, or the server does not answer. An unanswered question is an error, not a deny.
pub(super) fn ask(
    call: &CallArgs,
    place: &DecisionPointArgs,
    request: v1::AuthorizeRequest,
    output: Output,
) -> anyhow::Result<Result<Answered, Exit>> {
    let endpoint = place.server()?;
    let mut observed = ObserveConfig::default();
    let answered = match &endpoint {
        Some(endpoint) => {
            let asked = ask_server(endpoint, &place.credentials, request);
            connect::block_on(asked)?
        }
        None => {
            no_server_needed(call, place)?;
            match bundle::load_with(place.directory(), place.config.as_deref()) {
                Ok(bundle) => {
                    observed.clone_from(&bundle.config.observe);
                    connect::block_on(async { Ok(ask_here(bundle, request).await) })?
                }
                Err(faults) => return Ok(Err(output.faults(&faults)?)),
            }
        }
    };
    Ok(Ok(Answered {
        response: answered.map_err(|status| worded(&status))?,
        by_server: endpoint.is_some(),
        observed,
    }))
}

/// How the process ends after a response.
pub(super) fn exit(response: &v1::AuthorizeResponse) -> Exit {
    match response.decision() {
        v1::Decision::Allow => Exit::Done,
        v1::Decision::Deny | v1::Decision::Unspecified => Exit::Denied,
    }
}

/// Decides Cedar's own question, by the policies and the schema of a directory over the question's entities.
fn answer_cedar(args: &Args, path: &Path) -> anyhow::Result<Exit> {
    if args.place.endpoint.is_some() {
        bail!("`--cedar` brings its own entities, so a directory decides: leave `--endpoint` out");
    }
    no_server_needed(&args.call, &args.place)?;
    let (text, name) = call_args::read_text(path)?;
    let question = match CedarQuestion::parse(&name, &text) {
        Ok(question) => question,
        Err(fault) => return args.output.faults(&BundleError::single(fault)),
    };
    let loaded =
        match QuestionBundle::load_with(args.place.directory(), args.place.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(faults) => return args.output.faults(&faults),
        };
    let verdict = loaded.answer(&question);
    let verdict = verdict.map_err(|said| anyhow::anyhow!("{name}: {said}"))?;
    let (said, exit) = match verdict.outcome {
        Decision::Allow => (outcome(v1::Decision::Allow), Exit::Done),
        Decision::Deny => (outcome(v1::Decision::Deny), Exit::Denied),
    };
    let policies = verdict.determining_policies.iter();
    let policies: Vec<&str> = policies.map(|it| it.id.as_str()).collect();
    let mut text = format!("{said}\n");
    for reason in &verdict.reasons {
        text.push_str(&format!("  because   {}\n", printable(&reason.message)));
        if !reason.policies.is_empty() {
            let by = printables(&reason.policies);
            text.push_str(&format!("            by {by}\n"));
        }
    }
    for policy in &policies {
        text.push_str(&format!("  policy    {}\n", printable(policy)));
    }
    let reasons = verdict.reasons.iter().map(|reason| {
        json!({
            "message": reason.message,
            "policies": reason.policies,
            "detail": reason.detail,
        })
    });
    let json = json!({
        "decision": said,
        "policies": policies,
        "reasons": reasons.collect::<Vec<_>>(),
    });
    args.output.answer(&text, &json)?;
    Ok(exit)
}

impl DecisionPointArgs {
    /// The server's address, if a server decides. A directory given by a flag takes precedence over the environment.
    pub(super) fn server(&self) -> anyhow::Result<Option<String>> {
        let is_here = self.policies.is_some() || self.config.is_some();
        match (&self.endpoint, is_here) {
            (Some(endpoint), _) => Ok(Some(endpoint.clone())),
            (None, true) => Ok(None),
            (None, false) => connect::endpoint_of_environment(),
        }
    }

    /// Checks that no flag is given that only a server is shown: where none is asked, it is a mistake.
    pub(super) fn no_server_is_named(&self) -> anyhow::Result<()> {
        if self.credentials.name_a_server() {
            bail!("certificates and tokens are shown to a server: name it with `--endpoint`");
        }
        Ok(())
    }

    /// The directory that decides without a server.
    pub(super) fn directory(&self) -> &Path {
        self.policies.as_deref().unwrap_or(Path::new(DIRECTORY))
    }
}

fn no_server_needed(call: &CallArgs, place: &DecisionPointArgs) -> anyhow::Result<()> {
    place.no_server_is_named()?;
    if let Some(flag) = call.needs_a_server() {
        bail!("`{flag}` names what only a running server knows: name it with `--endpoint`");
    }
    Ok(())
}

async fn ask_here(
    bundle: Bundle,
    request: v1::AuthorizeRequest,
) -> Result<v1::AuthorizeResponse, Status> {
    let Bundle {
        snapshot,
        digest,
        config,
        ..
    } = bundle;
    let reloadable = Arc::new(ReloadableAuthenticator::new(reloadable::local(&config)));
    let unavailable = |error: &dyn std::error::Error| Status::unavailable(error.to_string());
    let service = Service::in_memory(ServiceSettings::default(), Recorder::default());
    let service = Arc::new(service.map_err(|error| unavailable(&error))?);
    let load = LoadedBundle {
        snapshot,
        claims: config.claims,
        policy_set_digest: digest,
    };
    service.publish(load).map_err(|error| unavailable(&error))?;
    let limits: Arc<ArcSwap<Limits>> = Arc::new(ArcSwap::from_pointee(config.limits));
    let rpcs = Authorization::new(service, limits, CancellationToken::new());
    let request = codec::recoded(&request).map_err(|error| Status::internal(error.to_string()))?;
    let mut request = Request::new(request);
    grpc_admission::admit_in_process(&reloadable, &mut request)?;
    let answer = rpcs.authorize(request).await?.into_inner();
    let message = answer.message();
    message.map_err(|error| Status::internal(error.to_string()))
}

async fn ask_server(
    endpoint: &str,
    credentials: &ClientCredentials,
    request: v1::AuthorizeRequest,
) -> anyhow::Result<Result<v1::AuthorizeResponse, Status>> {
    let server = ServerConnection::connect(endpoint, credentials).await?;
    let request = server.request(request);
    let answer = server.authorization().authorize(request).await;
    Ok(answer.map(tonic::Response::into_inner))
}

fn worded(status: &Status) -> anyhow::Error {
    if connect::is_no_grpc(status) {
        return RpcError::question(status.clone()).into();
    }
    anyhow::anyhow!(
        "the question was not answered: {} ({:?})",
        printable(status.message()),
        status.code()
    )
}

/// The command that requests the approval: the flags of this call and the challenge.
fn next_command(challenge: &v1::ApprovalChallenge) -> String {
    let after_the_verb: Vec<String> = std::env::args().skip(2).collect();
    request_instead(&after_the_verb, challenge)
}

/// Converts the arguments of `callgate authorize` to those of `callgate approval request`.
pub(crate) fn request_instead(typed: &[String], challenge: &v1::ApprovalChallenge) -> String {
    /// Flags about the output, and flags with secrets.
    const WITH_A_VALUE: [&str; 2] = ["--output", "--token"];
    let mut command = vec!["callgate approval request".to_owned()];
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        let flag = word.split('=').next().unwrap_or_default();
        if WITH_A_VALUE.contains(&flag) {
            if flag == word {
                words.next();
            }
        } else if word != "--explain" {
            command.push(render::quoted(word));
        }
    }
    command.push(format!("--challenge {}", render::quoted(&challenge.digest)));
    if let Some(at) = &challenge.expires_at {
        command.push(format!("--expires {}", render::moment(at)));
    }
    command.join(" ")
}

/// The response as text.
struct AuthorizeText<'a> {
    response: &'a v1::AuthorizeResponse,
    /// The suggested next command.
    next: Option<String>,
}

impl fmt::Display for AuthorizeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let response = self.response;
        write!(f, "{}", outcome(response.decision()))?;
        match response.observed.then(|| response.observed_decision()) {
            None => writeln!(f)?,
            Some(v1::Decision::Deny) => {
                writeln!(
                    f,
                    ", NOT ENFORCED: it was only observed, and would be denied"
                )?;
            }
            Some(_) => writeln!(f, ", NOT ENFORCED: it was only observed")?,
        }
        for reason in &response.reasons {
            f.write_str(&render::reason(reason))?;
        }
        for policy in &response.determining_policies {
            write!(f, "  policy    {}", printable(&policy.id))?;
            if !policy.owner.is_empty() {
                write!(f, ", owned by {}", printable(&policy.owner))?;
            }
            if !policy.controls.is_empty() {
                write!(f, ", for {}", printables(&policy.controls))?;
            }
            writeln!(f)?;
        }
        for obligation in &response.obligations {
            writeln!(f, "  provided  {}", provided(obligation))?;
        }
        if let Some(challenge) = &response.approval {
            let digest = printable(&challenge.digest);
            write!(f, "  approval  would allow it: {digest}")?;
            if let Some(at) = &challenge.expires_at {
                write!(f, ", until {}", render::moment(at))?;
            }
            writeln!(f)?;
        }
        if let Some(explanation) = &response.explanation {
            explain(f, explanation)?;
        }
        writeln!(
            f,
            "  decision  {} at revision {}",
            printable(&response.decision_id),
            response.revision
        )?;
        match &self.next {
            Some(next) => writeln!(f, "\nTo ask a person for it:\n  {next}"),
            None => Ok(()),
        }
    }
}

fn explain(f: &mut fmt::Formatter<'_>, explanation: &v1::Explanation) -> fmt::Result {
    for it in &explanation.principals {
        let (Some(principal), Some(action), Some(resource)) =
            (&it.principal, &it.action, &it.resource)
        else {
            continue;
        };
        writeln!(
            f,
            "  asked     {} {} {}: {}",
            render::entity(principal),
            render::entity(action),
            render::entity(resource),
            outcome(it.decision())
        )?;
        for (label, ids) in [("permit", &it.permits), ("forbid", &it.forbids)] {
            if !ids.is_empty() {
                writeln!(f, "            {label} by {}", printables(ids))?;
            }
        }
        for error in &it.errors {
            writeln!(
                f,
                "            error in {}: {}",
                printable(&error.policy_id),
                printable(&error.message)
            )?;
        }
        let (evaluated, total) = (it.policies_evaluated, it.policies_total);
        writeln!(f, "            {evaluated} of {total} policies apply")?;
    }
    for target in &explanation.targets {
        write!(
            f,
            "  target    {}, of the kind {}",
            render::printable(&target.id),
            target.kind
        )?;
        if !target.query.is_empty() {
            write!(f, ", with the query {}", render::printable(&target.query))?;
        }
        if !target.role.is_empty() {
            write!(f, ", as {}", target.role)?;
        }
        writeln!(f)?;
    }
    if !explanation.shadow_policy_ids.is_empty() {
        writeln!(
            f,
            "  shadow    {} would change this",
            printables(&explanation.shadow_policy_ids)
        )?;
    }
    Ok(())
}

/// An obligation: its type and its properties.
fn provided(obligation: &v1::Obligation) -> String {
    let id = printable(&obligation.id);
    let properties = obligation.properties.as_ref();
    let text = |name: &str| match properties?.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    };
    if text("name").as_ref() == Some(&obligation.id) {
        return id;
    }
    let names = properties.map(|it| it.fields.keys()).into_iter().flatten();
    let said = names.map(|name| match text(name) {
        Some(text) => format!("{} {}", printable(name), printable(&text)),
        None => printable(name),
    });
    let said: Vec<String> = said.collect();
    format!(
        "{id}, {}: {}",
        printable(&obligation.r#type),
        said.join(", ")
    )
}

pub(super) fn outcome(decision: v1::Decision) -> &'static str {
    match decision {
        v1::Decision::Allow => "allow",
        v1::Decision::Deny => "deny",
        v1::Decision::Unspecified => "no decision",
    }
}
