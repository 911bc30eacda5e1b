//! Shared arguments of the control commands, and their client of `callgate.v1.Control`.
//!
//! Start at [`ControlArgs`], which every control command has, and [`WriteArgs`], which those have that write.
//!
//! Invariant: no decisions; the server checks everything again.

use std::fmt::Display;
use std::sync::OnceLock;

use prost::Message;
use tonic::codec::Streaming;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::cli::connect::{self, ClientCredentials, DEFAULT_ENDPOINT, RpcError, ServerConnection};
use crate::cli::output::{Exit, Output, note};
use crate::cli::value_parser;
use crate::proto::v1::control_client::ControlClient;
use crate::proto::{json, v1};

/// Warns that a revocation is in force but not yet durable, or that who made it is not on record. `key` is that of the request.
pub fn warn_if(not_durable: bool, not_recorded: bool, key: &IdempotencyArgs) {
    if not_durable {
        note(
            "warning: this is in force but NOT DURABLE: the store does not write. It is written as soon as it can be; \
             see `callgate status`",
        );
    }
    if not_recorded {
        let again = match key.key().as_str() {
            "" => "ask again".to_owned(),
            key => format!("ask again with the same words and `--key {key}`"),
        };
        note(format_args!(
            "warning: this is in force but NOT ON RECORD: the decision log cannot be written, see `callgate status`. Once it can \
             be, {again}: that is put on record"
        ));
    }
}

/// A client of `callgate.v1.Control`.
type Control = ControlClient<Channel>;

/// The server to contact, and the output format.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The server")]
pub struct ControlArgs {
    /// The server: `http://…`, `https://…` or `unix:/path`
    #[arg(
        long,
        value_name = "URL",
        env = connect::ENDPOINT_VARIABLE,
        default_value = DEFAULT_ENDPOINT,
        global = true,
        display_order = 900
    )]
    endpoint: String,
    #[command(flatten)]
    credentials: ClientCredentials,
    /// How to answer
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        help_heading = "The answer",
        display_order = 910
    )]
    pub output: Output,
}

/// The author of a write, and its idempotency key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who asks")]
pub struct WriteArgs {
    /// On whose behalf the change is asked for: `user:sam`, `agent:support` or a whole name
    #[arg(long = "as", value_name = "NAME", value_parser = value_parser::entity)]
    actor: v1::EntityRef,
    #[command(flatten)]
    pub(crate) once: IdempotencyArgs,
}

/// The idempotency key of a request.
#[derive(Debug, clap::Args)]
pub struct IdempotencyArgs {
    /// Names this request: the same words under the same key change once; an empty key names none [default: a new one]
    #[arg(long = "key", value_name = "KEY")]
    given: Option<String>,
    /// The key if none was given.
    #[arg(skip)]
    made: OnceLock<String>,
}

impl WriteArgs {
    pub(crate) fn actor(&self) -> Option<v1::Actor> {
        Some(v1::Actor {
            entity: Some(self.actor.clone()),
            identity: Some(v1::Identity {
                method: "cli".to_owned(),
                verified: true,
            }),
            claims: None,
        })
    }

    pub(crate) fn key(&self) -> String {
        self.once.key()
    }
}

impl IdempotencyArgs {
    /// The key: that which was given, or one for this run.
    pub(crate) fn key(&self) -> String {
        let made = || self.made.get_or_init(|| Uuid::now_v7().to_string());
        self.given.as_ref().unwrap_or_else(made).clone()
    }

    /// Whether the key was given, so that the request may be one that was made before.
    pub(crate) fn is_given(&self) -> bool {
        self.given.as_ref().is_some_and(|key| !key.is_empty())
    }

    /// How to retry.
    pub(crate) fn again(&self) -> String {
        self.again_with("")
    }

    /// How to retry with a further flag, ` and …`.
    pub(crate) fn again_with(&self, flag: &str) -> String {
        let key = self.key();
        if key.is_empty() {
            return "It has no key by which to find out: look at what there is.".to_owned();
        }
        format!("Ask again with the same words and `--key {key}`{flag}: it will be made once.")
    }
}

impl ControlArgs {
    /// Sends a write and returns the response. `again` tells how to retry if the outcome is unknown.
    pub(crate) fn change<Q, R>(
        &self,
        again: String,
        asked: Q,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<R> {
        self.send(asked, send)?
            .map_err(|status| RpcError::change(status, again).into())
    }

    /// Sends a read and returns the response.
    pub(crate) fn question<Q, R>(
        &self,
        asked: Q,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<R> {
        self.send(asked, send)?
            .map_err(|status| RpcError::question(status).into())
    }

    fn send<Q, R>(
        &self,
        asked: Q,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<Result<R, Status>> {
        connect::block_on(async {
            let server = ServerConnection::connect(&self.endpoint, &self.credentials).await?;
            let answer = send(&mut server.control(), server.request(asked)).await;
            Ok(answer.map(Response::into_inner))
        })
    }

    /// Prints the response, a protocol message of this name.
    pub(crate) fn answer<R: Message>(
        &self,
        text: &impl Display,
        name: &str,
        message: &R,
    ) -> anyhow::Result<Exit> {
        self.output.answer(text, &json::write(name, message)?)?;
        Ok(Exit::Done)
    }

    /// Prints the items of a stream until it ends, the reader closes the pipe, or the user interrupts.
    pub(crate) fn follow<Q, R: Message>(
        &self,
        asked: Q,
        name: &str,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        text: impl Fn(&R) -> String,
    ) -> anyhow::Result<Exit> {
        connect::block_on(async {
            let server = ServerConnection::connect(&self.endpoint, &self.credentials).await?;
            let followed = async {
                let asked = server.lasting_request(asked);
                let mut answers = send(&mut server.control(), asked)
                    .await
                    .map_err(RpcError::question)?
                    .into_inner();
                while let Some(message) = answers.message().await.map_err(RpcError::question)? {
                    let json = json::write(name, &message)?;
                    if !self.output.next(&text(&message), &json)? {
                        return Ok(Exit::Done);
                    }
                }
                anyhow::bail!("the server ended the stream")
            };
            tokio::select! {
                ended = followed => ended,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    Ok(Exit::Done)
                }
            }
        })
    }

    /// Requests pages until there are enough items. `page` requests one.
    pub(crate) fn pages<T>(
        &self,
        limit: u32,
        mut page: impl FnMut(u32, String) -> anyhow::Result<ListPage<T>>,
    ) -> anyhow::Result<ListPage<T>> {
        let mut all = page(limit.min(PAGE), String::new())?;
        while !all.next.is_empty() && all.items.len() < limit as usize {
            let rest = limit - u32::try_from(all.items.len()).unwrap_or(limit);
            let more = page(rest.min(PAGE), std::mem::take(&mut all.next))?;
            all.items.extend(more.items);
            all.next = more.next;
            all.revision = more.revision;
        }
        Ok(all)
    }
}

/// Items requested per page.
const PAGE: u32 = 100;

/// One page of a list.
pub(crate) struct ListPage<T> {
    pub(crate) items: Vec<T>,
    /// Token of the next page; empty on the last.
    pub(crate) next: String,
    pub(crate) revision: u64,
}

/// The most items to list.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}
