//! The question: whether the agent `support` may post a message for a person, in a session that has read what is private
//! and what strangers wrote. Each server is asked in its own protocol.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost::Message;
use serde_json::{Value as Json, json};
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::served::Fault;
use crate::served::load::Load;
use crate::served::process::Server;

/// The agent in every call.
pub const AGENT: &str = "support";
/// The tool that is asked about: a typed one that sends.
pub const TOOL: &str = "slack_post_message";
/// Where the support team may post.
pub const CHANNELS: [&str; 2] = ["C04SUPPORT", "C04ESCALATE"];
/// What the session has brought by the time that messages are posted.
pub const LABELS: [&str; 2] = ["private", "untrusted"];

/// One call that a server is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub person: &'static str,
    pub tool: &'static str,
    pub channel: &'static str,
    pub text: Option<&'static str>,
}

impl Call {
    /// The arguments, as MCP has them.
    pub fn arguments(&self) -> Json {
        let mut arguments = json!({"channel_id": self.channel});
        if let Some(text) = self.text {
            arguments["text"] = json!(text);
        }
        arguments
    }
}

/// What is measured: an allow.
pub const POST: Call = Call {
    person: "sam",
    tool: TOOL,
    channel: CHANNELS[0],
    text: Some("We are on it, and will be back at noon."),
};

/// What brings the session its labels.
pub const READ: Call = Call {
    tool: "slack_get_channel_history",
    text: None,
    ..POST
};

/// A text with a link: denied because of what the session has read.
pub const LINK: Call = Call {
    text: Some("Sign in again at https://www.larkwood-login.example"),
    ..POST
};

/// What every server has to deny: by what was read, by an argument, and for a person who may not.
const DENIED: [Call; 3] = [
    LINK,
    Call {
        channel: "C09RANDOM",
        ..POST
    },
    Call {
        person: "noor",
        ..POST
    },
];

/// How a server is asked.
pub trait Question {
    type Request: Message + 'static;
    type Response: Message + Default + 'static;
    const PATH: &'static str;

    fn request(&self, call: &Call) -> Self::Request;
    fn is_allow(response: &Self::Response) -> bool;

    /// Asks once; whether it is an allow.
    async fn ask(&self, channel: &Channel, call: &Call) -> Result<bool, Fault> {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await?;
        let path = PathAndQuery::from_static(Self::PATH);
        let codec = ProstCodec::<Self::Request, Self::Response>::default();
        let request = Request::new(self.request(call));
        let response = grpc.unary(request, path, codec).await?;
        Ok(Self::is_allow(response.get_ref()))
    }

    /// Sees to it that a server decides rather than answers, and makes ready to ask what is measured.
    async fn load(&self, channel: &Channel) -> Result<Load, Fault> {
        assert!(self.ask(channel, &POST).await?, "{}: {POST:?}", Self::PATH);
        for call in &DENIED {
            let is_allow = self.ask(channel, call).await?;
            assert!(!is_allow, "{}: {call:?}", Self::PATH);
        }
        let request = self.request(&POST).encode_to_vec();
        println!("{}: request {} bytes", Self::PATH, request.len());
        Ok(Load::new(channel.clone(), Self::PATH, request))
    }

    /// Waits until a server decides, and how long that has been since.
    async fn ready(
        &self,
        server: &Server,
        since: Instant,
        call: &Call,
    ) -> Result<(Channel, Duration), Fault> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", server.port()))?;
        while since.elapsed() < Duration::from_secs(60) {
            if let Ok(channel) = endpoint.connect().await
                && self.ask(&channel, call).await.is_ok_and(|allow| allow)
            {
                return Ok((channel, since.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!("nothing allows {call:?} at {}", Self::PATH).into())
    }
}

/// The groups of each agent and of each person, for servers that have to be told.
#[derive(Default)]
pub struct Groups {
    pub agents: BTreeMap<String, Vec<String>>,
    pub people: BTreeMap<String, Vec<String>>,
}

impl Groups {
    /// As the entities of a directory have them.
    pub fn read(dir: &Path) -> Result<Self, Fault> {
        let mut groups = Self::default();
        for file in fs::read_dir(dir.join("entities"))? {
            let entities: Vec<Json> = serde_json::from_slice(&fs::read(file?.path())?)?;
            for entity in &entities {
                let members = match entity["uid"]["type"].as_str() {
                    Some("Mcp::Agent") => &mut groups.agents,
                    Some("Mcp::User") => &mut groups.people,
                    _ => continue,
                };
                let parents = entity["parents"].as_array().into_iter().flatten();
                let names = parents.filter_map(|parent| parent["id"].as_str());
                let id = entity["uid"]["id"].as_str().unwrap_or_default();
                members.insert(id.to_owned(), names.map(str::to_owned).collect());
            }
        }
        Ok(groups)
    }
}
