//! Envoy's external processing, through gRPC: requests are decided as `Check` decides them, and what servers
//! send is judged before it passes. Start at [`Exchange`].

mod attacks;
mod ends;
mod error_texts;
mod requests;
mod responses;
mod unawaited;

use std::collections::HashMap;

use callgate::proto::envoy::processing::body_mutation::Mutation;
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{
    BodySendMode, HeaderMap, HeaderMutation, HeaderValue, HttpBody, HttpHeaders, ImmediateResponse,
    ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::support::in_process::Running;
use crate::support::worlds;

const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "git" }]
verified_servers = ["git"]
task_header = "x-task"

[[envoy.identity]]
from = "spiffe"
prefix = "spiffe://example.org/agent/"

[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
"#;

/// What the server `git` may ask of its clients.
const ASKING: &str = r#"
@id("ask.forms")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_form", resource)
when { context.elicitation.secret_fields.isEmpty() };

@id("ask.urls")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"elicit_url", resource)
when { context.elicitation has host && context.elicitation.host == "github.com" };

@id("ask.sampling")
permit (principal == Mcp::Server::"git", action == Mcp::Action::"sample", resource)
when { context.sampling.max_tokens <= 100 };
"#;

/// One exchange, as Envoy leads it.
pub struct Exchange {
    tell: mpsc::Sender<ProcessingRequest>,
    told: Streaming<ProcessingResponse>,
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: pairs.iter().map(header).collect(),
        }),
        end_of_stream,
    }
}

fn body(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody {
        body: bytes.to_vec().into(),
        end_of_stream,
    }
}

/// The first message of an Envoy that is configured as it has to be.
fn first(request: Request) -> ProcessingRequest {
    ProcessingRequest {
        request: Some(request),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            response_body_mode: BodySendMode::FullDuplexStreamed.into(),
        }),
        ..ProcessingRequest::default()
    }
}

pub const POST: [(&str, &str); 5] = [
    (":method", "POST"),
    (":path", "/mcp"),
    (":authority", "gateway.example.org"),
    ("content-type", "application/json"),
    ("x-agent", "coder"),
];

impl Exchange {
    async fn open(server: &Running) -> Self {
        Self::open_with(server.channel().await, None).await
    }

    pub async fn open_with(channel: Channel, named: Option<&'static str>) -> Self {
        let (tell, requests) = mpsc::channel(64);
        let mut request = tonic::Request::new(ReceiverStream::new(requests));
        if let Some(named) = named {
            let named = named.parse().expect("a header");
            request.metadata_mut().insert("callgate-server", named);
        }
        let mut client = ExternalProcessorClient::new(channel);
        let told = client.process(request).await.expect("a stream");
        Self {
            tell,
            told: told.into_inner(),
        }
    }

    async fn say(&self, request: ProcessingRequest) {
        self.tell.send(request).await.expect("somebody listens");
    }

    async fn tell(&self, request: Request) {
        let request = Some(request);
        self.say(ProcessingRequest {
            request,
            ..ProcessingRequest::default()
        })
        .await;
    }

    async fn hear(&mut self) -> Result<Response, Status> {
        let told = self.told.message().await?.expect("no end without an error");
        Ok(told.response.expect("a response"))
    }

    /// Sends a request with headers of the test's own, up to the decision.
    pub async fn ask(&mut self, headers: &[(&str, &str)], text: &[u8]) -> Result<Response, Status> {
        let headers = self::headers(headers, false);
        self.say(first(Request::RequestHeaders(headers))).await;
        match self.hear().await? {
            Response::RequestHeaders(_) => {}
            other => return Ok(other),
        }
        self.tell(Request::RequestBody(body(text, true))).await;
        self.hear().await
    }

    /// Sends a message that is allowed.
    pub async fn pass(&mut self, message: &Json) {
        let told = self.ask(&POST, message.to_string().as_bytes()).await;
        assert!(matches!(told, Ok(Response::RequestBody(_))), "{told:?}");
    }

    /// Opens the stream of a session.
    async fn listen(&mut self) {
        let get = [
            (":method", "GET"),
            (":path", "/mcp"),
            (":authority", "gateway.example.org"),
            ("x-agent", "coder"),
            ("mcp-session-id", "s-1"),
        ];
        let request = Request::RequestHeaders(headers(&get, true));
        self.say(first(request)).await;
        let told = self.hear().await;
        assert!(matches!(told, Ok(Response::RequestHeaders(_))), "{told:?}");
    }

    /// The server begins to answer with this type.
    pub async fn answered_with(&mut self, of_type: &str) -> Result<Response, Status> {
        self.answered_with_any(Some(of_type)).await
    }

    /// The same, or with none.
    pub async fn answered_with_any(&mut self, of_type: Option<&str>) -> Result<Response, Status> {
        let mut answer = vec![(":status", "200")];
        answer.extend(of_type.map(|it| ("content-type", it)));
        self.tell(Request::ResponseHeaders(headers(&answer, false)))
            .await;
        self.hear().await
    }

    /// The same under this HTTP status.
    pub async fn answered_under(
        &mut self,
        status: &str,
        of_type: &str,
    ) -> Result<Response, Status> {
        let answer = [(":status", status), ("content-type", of_type)];
        self.tell(Request::ResponseHeaders(headers(&answer, false)))
            .await;
        self.hear().await
    }

    /// What passes of a body that comes in these pieces, to its end.
    pub async fn body(&mut self, pieces: &[&[u8]]) -> Result<Vec<u8>, Status> {
        let last = pieces.len() - 1;
        for (at, piece) in pieces.iter().enumerate() {
            self.tell(Request::ResponseBody(body(piece, at == last)))
                .await;
        }
        self.rest().await
    }

    async fn rest(&mut self) -> Result<Vec<u8>, Status> {
        let mut passed = Vec::new();
        loop {
            let (bytes, is_last) = self.piece().await?;
            passed.extend(bytes);
            if is_last {
                return Ok(passed);
            }
        }
    }

    async fn piece(&mut self) -> Result<(Vec<u8>, bool), Status> {
        let told = self.hear().await?;
        let Response::ResponseBody(told) = told else {
            panic!("{told:?}");
        };
        let mutation = told.response.unwrap().body_mutation.unwrap().mutation;
        let Some(Mutation::StreamedResponse(streamed)) = mutation else {
            panic!("{mutation:?}");
        };
        Ok((streamed.body.to_vec(), streamed.end_of_stream))
    }
}

async fn asking() -> Running {
    let asking = worlds::small().file("asking.cedar", ASKING);
    asking.start(CONFIG).await
}

fn request(method: &str, params: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn list() -> Json {
    request("tools/list", json!({}))
}

fn event(message: &Json) -> String {
    format!("event: message\nid: e-1\ndata: {message}\n\n")
}

/// The message of the only event.
fn message_of(events: &[u8]) -> Json {
    let text = std::str::from_utf8(events).expect("text");
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.unwrap_or_else(|| panic!("no data in {text:?}"))).expect("JSON")
}

fn mutated(mutation: Option<HeaderMutation>) -> HashMap<String, String> {
    let set = mutation.unwrap_or_default().set_headers.into_iter();
    set.filter_map(|it| it.header)
        .map(|it| (it.key, String::from_utf8(it.raw_value.to_vec()).unwrap()))
        .collect()
}

/// What a client sees in place of an answer.
pub fn seen(immediate: ImmediateResponse) -> (i32, HashMap<String, String>, Json) {
    let status = immediate.status.expect("a status").code;
    let body = serde_json::from_slice(&immediate.body).expect("JSON");
    (status, mutated(immediate.headers), body)
}
