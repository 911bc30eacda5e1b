//! `callgate authorize`: one call, decided here or by a running server.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use serde_json::{Map, Value as Json};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::adapters::grpc::authorization::Authorization;
use crate::bundle::{self, Bundle};
use crate::cli::output::{Exit, Output};
use crate::config::limits::Limits;
use crate::identity::authenticate::Authenticator;
use crate::identity::doorkeeper::Doorkeeper;
use crate::proto::v1::authorization_client::AuthorizationClient;
use crate::proto::v1::authorization_server::Authorization as _;
use crate::proto::v1::operation::Kind;
use crate::proto::{json, v1};
use crate::service::decisions::{Service, Settings};
use crate::service::generation::Load;
use crate::telemetry::recorder::Recorder;

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How the address of a server may begin.
const SCHEMES: [&str; 3] = ["http://", "https://", "unix:"];
/// The largest file with a call.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Decides one call, and says why
///
/// The call comes from flags or from a JSON file. It is decided here, from a directory, or by a
/// running server (`--endpoint`). Decided here, everything the call says of itself is taken as true;
/// a server takes it as its configuration says for the token's owner.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    call: Call,
    #[command(flatten)]
    place: Place,
    /// Also tell how each person and agent involved fared
    #[arg(long, help_heading = "The answer")]
    explain: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t, help_heading = "The answer")]
    pub output: Output,
}

/// The call.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The call")]
#[command(group = clap::ArgGroup::new("who").args(["agent", "user", "file"]).required(true).multiple(true))]
struct Call {
    /// Read the call from a file in the JSON form of `callgate.v1.CallContext`; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agent", "user", "server", "tool", "purpose"])]
    file: Option<PathBuf>,
    /// The agent that acts
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// The person for whom the agent acts; without an agent, the person who acts
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// An agent between the person and the agent that acts, nearest to the person first (may be repeated)
    #[arg(long, value_name = "ID", requires_all = ["agent", "user"])]
    actor: Vec<String>,
    /// An OAuth scope that the person lent (may be repeated)
    #[arg(long, value_name = "SCOPE", requires_all = ["agent", "user"])]
    scope: Vec<String>,
    /// The MCP server
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    server: Option<String>,
    /// The tool to call; without one the question is whether the server's tools may be listed
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// An argument of the tool; the value is JSON, or else a string (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE", requires = "tool", value_parser = name_and_value)]
    args: Vec<(String, Json)>,
    /// All arguments of the tool, as one JSON object
    #[arg(long, value_name = "JSON", requires = "tool", conflicts_with = "args")]
    arguments: Option<String>,
    /// Why the call is made
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The address the call comes from
    #[arg(long, value_name = "IP")]
    source_address: Option<String>,
    /// Say that nobody verified who is calling and for whom
    #[arg(long)]
    unverified: bool,
}

/// Who decides.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who decides")]
struct Place {
    /// This directory
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./policies",
        conflicts_with = "endpoint"
    )]
    policies: PathBuf,
    /// A running server: `http://…`, `https://…` or `unix:/path`
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The bearer token to show
    #[arg(
        long,
        env = "CALLGATE_TOKEN",
        hide_env_values = true,
        requires = "endpoint"
    )]
    token: Option<String>,
    /// The certificate authority of an `https` server, PEM
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<PathBuf>,
    /// The client certificate to show, PEM
    #[arg(long, value_name = "FILE", requires_all = ["endpoint", "key"])]
    cert: Option<PathBuf>,
    /// The client certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  May the support agent, working for Sam, read an issue?
    callgate authorize --agent support --user sam --server github --tool get_issue \\
        --arg owner=acme --arg repo=shop --arg issue_number=7

  The same question to a running server:
    callgate authorize --endpoint http://127.0.0.1:50051 --agent support --user sam \\
        --server github --tool get_issue

  A call from a file, every principal explained, for a program:
    callgate authorize --file call.json --explain --output json

  where call.json is, for instance:
    {\"subject\": {\"entity\": {\"type\": \"Agent\", \"id\": \"support\"}},
     \"delegation\": {\"root\": {\"type\": \"User\", \"id\": \"sam\"}, \"verified\": true},
     \"operation\": {\"server\": \"github\",
                   \"callTool\": {\"tool\": \"get_issue\", \"arguments\": {\"repo\": \"shop\"}}}}

Exit codes: 0 allowed, 1 error, 2 denied, 3 the directory has faults.";

/// Asks, and prints the answer.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let request = v1::AuthorizeRequest {
        call_context: Some(Box::new(args.call.context()?)),
        explain: args.explain,
        ..v1::AuthorizeRequest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answered = match &args.place.endpoint {
        Some(endpoint) => runtime.block_on(ask_server(endpoint, &args.place, request))?,
        None => match bundle::load(&args.place.policies) {
            Ok(bundle) => runtime.block_on(ask_here(bundle, request)),
            Err(faults) => return args.output.faults(&faults),
        },
    };
    let response = answered.map_err(|status| worded(&status))?;
    args.output.answer(
        &Text(&response),
        &json::write("AuthorizeResponse", &response)?,
    )?;
    Ok(match response.decision() {
        v1::Decision::Allow => Exit::Done,
        v1::Decision::Deny | v1::Decision::Unspecified => Exit::Denied,
    })
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
    let unavailable = |error: &dyn std::error::Error| Status::unavailable(error.to_string());
    let service = Service::in_memory(Settings::default(), Recorder::default());
    let service = Arc::new(service.map_err(|error| unavailable(&error))?);
    let load = Load {
        snapshot,
        claims: config.claims,
        policy_set_digest: digest,
    };
    service.publish(load).map_err(|error| unavailable(&error))?;
    let doorkeeper = Arc::new(Doorkeeper::new(Authenticator::local()));
    let limits: Arc<ArcSwap<Limits>> = Arc::new(ArcSwap::from_pointee(config.limits));
    let rpcs = Authorization::new(service, doorkeeper, limits, CancellationToken::new());
    Ok(rpcs.authorize(Request::new(request)).await?.into_inner())
}

async fn ask_server(
    endpoint: &str,
    place: &Place,
    request: v1::AuthorizeRequest,
) -> anyhow::Result<Result<v1::AuthorizeResponse, Status>> {
    let channel = connect(endpoint, place).await?;
    let mut request = Request::new(request);
    request.set_timeout(TIMEOUT);
    if let Some(token) = &place.token {
        let header = format!("Bearer {token}").parse();
        request.metadata_mut().insert(
            "authorization",
            header.context("the token has characters that no header can carry")?,
        );
    }
    let answer = AuthorizationClient::new(channel).authorize(request).await;
    Ok(answer.map(tonic::Response::into_inner))
}

async fn connect(endpoint: &str, place: &Place) -> anyhow::Result<Channel> {
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))
    };
    if !SCHEMES.iter().any(|scheme| endpoint.starts_with(scheme)) {
        bail!(
            "`{endpoint}` is not an address of a server; it starts with `http://`, `https://` or `unix:`"
        );
    }
    let mut target = Endpoint::from_shared(endpoint.to_owned())
        .with_context(|| format!("`{endpoint}` is not an address of a server"))?
        .connect_timeout(TIMEOUT);
    if endpoint.starts_with("https:") {
        let Some(ca) = &place.ca else {
            bail!(
                "`{endpoint}` needs `--ca` with the authority that signed the server's certificate"
            );
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&place.cert, &place.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        target = target
            .tls_config(tls)
            .context("the certificates cannot be used")?;
    } else if place.ca.is_some() || place.cert.is_some() {
        bail!("`--ca` and `--cert` are for `https` endpoints, `{endpoint}` is not one");
    }
    target
        .connect()
        .await
        .with_context(|| format!("`{endpoint}` cannot be reached"))
}

fn worded(status: &Status) -> anyhow::Error {
    anyhow::anyhow!(
        "the question was not answered: {} ({:?})",
        status.message(),
        status.code()
    )
}

impl Call {
    fn context(&self) -> anyhow::Result<v1::CallContext> {
        match &self.file {
            Some(path) => read_call(path),
            None => self.flags_as_call(),
        }
    }

    fn flags_as_call(&self) -> anyhow::Result<v1::CallContext> {
        let person = self.user.as_deref().map(|id| entity("User", id));
        let agent = self.agent.as_deref().map(|id| entity("Agent", id));
        let (subject, root) = match (agent, person) {
            (Some(agent), root) => (agent, root),
            (None, Some(person)) => (person, None),
            (None, None) => bail!("name who acts with `--agent`, `--user` or both"),
        };
        let verified = !self.unverified;
        Ok(v1::CallContext {
            subject: Some(v1::Subject {
                entity: Some(subject),
                identity: Some(v1::Identity {
                    method: "cli".to_owned(),
                    verified,
                }),
                claims: None,
            }),
            delegation: root.map(|root| v1::Delegation {
                root: Some(root),
                actors: self.actor.iter().map(|id| entity("Agent", id)).collect(),
                scopes: self.scope.clone(),
                verified,
                ..v1::Delegation::default()
            }),
            operation: Some(v1::Operation {
                server: self.server.clone().unwrap_or_default(),
                kind: Some(self.kind()?),
                ..v1::Operation::default()
            }),
            workflow: self.purpose.clone().map(|purpose| v1::Workflow {
                purpose,
                ..v1::Workflow::default()
            }),
            environment: self
                .source_address
                .clone()
                .map(|source_address| v1::Environment { source_address }),
            ..v1::CallContext::default()
        })
    }

    fn kind(&self) -> anyhow::Result<Kind> {
        let Some(tool) = self.tool.clone() else {
            return Ok(Kind::ListTools(v1::ListTools {}));
        };
        let text = match &self.arguments {
            Some(text) => {
                serde_json::from_str::<Map<String, Json>>(text)
                    .context("`--arguments` is not a JSON object")?;
                text.clone()
            }
            None => {
                let mut arguments = Map::new();
                for (name, value) in &self.args {
                    if arguments.insert(name.clone(), value.clone()).is_some() {
                        bail!("`--arg {name}=…` is given twice");
                    }
                }
                serde_json::to_string(&arguments)?
            }
        };
        let input = Some(v1::call_tool::Input::ArgumentsJson(
            text.into_bytes().into(),
        ));
        Ok(Kind::CallTool(v1::CallTool {
            tool,
            input,
            ..v1::CallTool::default()
        }))
    }
}

fn read_call(path: &PathBuf) -> anyhow::Result<v1::CallContext> {
    let mut text = String::new();
    let is_stdin = path.as_os_str() == "-";
    let read = if is_stdin {
        std::io::stdin()
            .take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
    };
    let name = if is_stdin {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    json::read("CallContext", &text)
        .with_context(|| format!("{name} is not a `callgate.v1.CallContext`"))
}

fn entity(of_type: &str, id: &str) -> v1::EntityRef {
    v1::EntityRef {
        r#type: of_type.to_owned(),
        id: id.to_owned(),
    }
}

fn name_and_value(text: &str) -> Result<(String, Json), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// The answer for people.
struct Text<'a>(&'a v1::AuthorizeResponse);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let response = self.0;
        writeln!(f, "{}", outcome(response.decision()))?;
        for reason in &response.reasons {
            write!(f, "  because   {}", reason.message)?;
            writeln!(f, " ({})", short(reason.code().as_str_name()))?;
            if let Some(principal) = &reason.principal {
                writeln!(f, "            for {}", Entity(principal))?;
            }
            if !reason.policy_ids.is_empty() {
                writeln!(f, "            by {}", reason.policy_ids.join(", "))?;
            }
            if !reason.detail.is_empty() {
                writeln!(f, "            {}", reason.detail)?;
            }
        }
        for policy in &response.determining_policies {
            write!(f, "  policy    {}", policy.id)?;
            if !policy.owner.is_empty() {
                write!(f, ", owned by {}", policy.owner)?;
            }
            if !policy.controls.is_empty() {
                write!(f, ", for {}", policy.controls.join(", "))?;
            }
            writeln!(f)?;
        }
        for obligation in &response.obligations {
            writeln!(f, "  provided  {}", obligation.id)?;
        }
        if let Some(explanation) = &response.explanation {
            explain(f, explanation)?;
        }
        writeln!(
            f,
            "  decision  {} at revision {}",
            response.decision_id, response.revision
        )
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
            Entity(principal),
            Entity(action),
            Entity(resource),
            outcome(it.decision())
        )?;
        for (label, ids) in [("permit", &it.permits), ("forbid", &it.forbids)] {
            if !ids.is_empty() {
                writeln!(f, "            {label} by {}", ids.join(", "))?;
            }
        }
        for error in &it.errors {
            writeln!(
                f,
                "            error in {}: {}",
                error.policy_id, error.message
            )?;
        }
        let (evaluated, total) = (it.policies_evaluated, it.policies_total);
        writeln!(f, "            {evaluated} of {total} policies apply")?;
    }
    if !explanation.shadow_policy_ids.is_empty() {
        writeln!(
            f,
            "  shadow    {} would change this",
            explanation.shadow_policy_ids.join(", ")
        )?;
    }
    Ok(())
}

struct Entity<'a>(&'a v1::EntityRef);

impl fmt::Display for Entity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::\"{}\"", self.0.r#type, self.0.id.escape_debug())
    }
}

fn outcome(decision: v1::Decision) -> &'static str {
    match decision {
        v1::Decision::Allow => "allow",
        v1::Decision::Deny => "deny",
        v1::Decision::Unspecified => "no decision",
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("REASON_CODE_").unwrap_or(name)
}
