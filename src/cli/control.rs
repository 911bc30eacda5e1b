//! The verbs of the write side: one file a noun. Each turns its arguments into one request of
//! `callgate.v1.Control`, sends it to a running server, and shows the answer.
//!
//! Start at [`Ask`], which every one of them has, and [`Write`], which those that change something have.
//! [`given`] reads what people type, [`views`] shows what there is.
//!
//! Invariant: nothing is decided here, and nothing is looked at that the server does not check again.

use std::fmt::Display;

use prost::Message;
use tonic::codec::Streaming;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::cli::connect::{self, ClientCredentials, DEFAULT_ENDPOINT, RpcError, ServerConnection};
use crate::cli::name;
use crate::cli::output::{Exit, Output};
use crate::proto::v1::control_client::ControlClient;
use crate::proto::{json, v1};

/// Says that what was taken away would not survive a crash yet.
pub fn warn_if(not_durable: bool) {
    if not_durable {
        eprintln!(
            "warning: this is in force but NOT DURABLE: the store does not write. It is written as soon as it can be; \
             see `callgate status`"
        );
    }
}

/// The client of the write side.
type Control = ControlClient<Channel>;

/// Which server is asked, and how its answer is shown.
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

/// Who asks for a change, and under which key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who asks")]
pub struct WriteArgs {
    /// On whose behalf the change is asked for: `user:sam`, `agent:support` or a whole name
    #[arg(long = "as", value_name = "NAME", value_parser = name::entity)]
    actor: v1::EntityRef,
    #[command(flatten)]
    pub(crate) once: IdempotencyArgs,
}

/// The key that makes a repeated request one request.
#[derive(Debug, clap::Args)]
pub struct IdempotencyArgs {
    /// Names this request: sent again under the same key, the change is made once
    #[arg(long, value_name = "KEY", default_value_t = new_key(), hide_default_value = true)]
    pub(crate) key: String,
}

fn new_key() -> String {
    Uuid::now_v7().to_string()
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
        self.once.key.clone()
    }
}

impl IdempotencyArgs {
    /// How to ask again. `instead` says what must then be typed in place of something else.
    pub(crate) fn again(&self, instead: &str) -> String {
        let key = &self.key;
        format!("Ask again with the same words and `--key {key}`{instead}: it will be made once.")
    }
}

impl ControlArgs {
    /// Sends a change and gives the answer. `again` is for when nobody knows whether it was made.
    pub(crate) fn change<Q, R>(
        &self,
        again: String,
        asked: Q,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<R> {
        self.send(asked, send)?
            .map_err(|status| RpcError::change(status, again).into())
    }

    /// Sends a question and gives the answer.
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
            let server = ServerConnection::reach(&self.endpoint, &self.credentials).await?;
            let answer = send(&mut server.control(), server.request(asked)).await;
            Ok(answer.map(Response::into_inner))
        })
    }

    /// Prints the answer, the message of this name.
    pub(crate) fn answer<R: Message>(
        &self,
        text: &impl Display,
        name: &str,
        message: &R,
    ) -> anyhow::Result<Exit> {
        self.output.answer(text, &json::write(name, message)?)?;
        Ok(Exit::Done)
    }

    /// Prints what comes, as it comes, until nobody reads or somebody interrupts.
    pub(crate) fn follow<Q, R: Message>(
        &self,
        asked: Q,
        name: &str,
        send: impl AsyncFnOnce(&mut Control, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        text: impl Fn(&R) -> String,
    ) -> anyhow::Result<Exit> {
        connect::block_on(async {
            let server = ServerConnection::reach(&self.endpoint, &self.credentials).await?;
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

    /// Asks for page after page until there are enough items. `page` sends for one, and takes its items
    /// out of the answer; the last answer is handed back.
    pub(crate) fn pages<T>(
        &self,
        limit: u32,
        mut page: impl FnMut(u32, String) -> anyhow::Result<Page<T>>,
    ) -> anyhow::Result<Page<T>> {
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

/// Items that are asked for at once.
const PAGE: u32 = 100;

/// Some items of a list.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Leads to the items after these; empty if there are none.
    pub(crate) next: String,
    pub(crate) revision: u64,
}

/// How much of a list is wanted.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}
