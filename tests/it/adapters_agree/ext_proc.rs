//! Envoy's external processing, up to where a request passes or does not.

use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use callgate::proto::envoy::processing::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, Metadata, ProcessingRequest,
    ProcessingResponse, ProtocolConfiguration,
};
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::adapters_agree::call::{Call, Question};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::ext_authz::{self, body, found, principal, seen};
use crate::adapters_agree::{Answer, Door, listed};
use crate::support::wire::structure;

pub struct ExtProc(ExternalProcessorClient<Channel>);

/// Where Envoy's filter has its attributes and its metadata.
const FILTER: &str = "envoy.filters.http.ext_proc";

fn headers(call: &Call, company: &Company) -> HttpHeaders {
    let path = format!("/{}", call.server);
    let pseudo = [
        (":method", "POST".to_owned()),
        (":path", path),
        (":authority", "gateway.example.org".to_owned()),
    ];
    let all = pseudo.into_iter().chain(ext_authz::headers(call, company));
    let header = |(key, value): (&str, String)| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.into_bytes().into(),
    };
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: all.map(header).collect(),
        }),
        end_of_stream: false,
    }
}

/// What is told at the headers, and at the body.
fn messages(call: &Call, company: &Company) -> [ProcessingRequest; 2] {
    let metadata = || Metadata {
        filter_metadata: found(call),
    };
    let address = call.address.map(|address| match address.contains(':') {
        true => format!("[{address}]:4711"),
        false => format!("{address}:4711"),
    });
    let known = json!({
        "source.address": address,
        "connection.uri_san_peer_certificate": principal(call),
    });
    let at_headers = ProcessingRequest {
        request: Some(Request::RequestHeaders(headers(call, company))),
        metadata_context: Some(metadata()),
        attributes: [(FILTER.to_owned(), structure(&known))].into(),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            response_body_mode: BodySendMode::FullDuplexStreamed.into(),
        }),
        ..ProcessingRequest::default()
    };
    let at_body = ProcessingRequest {
        request: Some(Request::RequestBody(HttpBody {
            body: body(call).to_string().into(),
            end_of_stream: true,
        })),
        metadata_context: Some(metadata()),
        ..ProcessingRequest::default()
    };
    [at_headers, at_body]
}

/// What the filter keeps of the decision.
fn kept(answer: &ProcessingResponse) -> &Struct {
    let metadata = answer.dynamic_metadata.as_ref();
    let metadata = metadata.unwrap_or_else(|| panic!("nothing was decided: {answer:?}"));
    match &metadata.fields[FILTER].kind {
        Some(Kind::StructValue(kept)) => kept,
        other => panic!("{other:?}"),
    }
}

impl Door for ExtProc {
    const CONFIG: &'static str = ext_authz::ExtAuthz::CONFIG;

    async fn of(company: &Company) -> Self {
        Self(ExternalProcessorClient::new(company.server.channel().await))
    }

    fn sayable(question: Question) -> Option<Question> {
        matches!(question, Question::Call(_)).then_some(question)
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Call(call) = question else {
            unreachable!("it is asked about calls");
        };
        // Envoy waits for an answer before it sends the body; here both messages go at once.
        let (tell, messages) = mpsc::channel(2);
        for message in self::messages(call, company) {
            tell.try_send(message).expect("room");
        }
        let messages = ReceiverStream::new(messages);
        let answers = self.0.process(messages).await.expect("a stream");
        let mut answers = answers.into_inner();
        let mut next = async || answers.message().await.expect("an answer").expect("no end");
        let first = next().await;
        let answer = match &first.response {
            Some(Response::RequestHeaders(_)) => next().await,
            _ => first,
        };
        // As Envoy does once it needs nothing further.
        drop(tell);
        let (is_allow, said, challenge) = match &answer.response {
            Some(Response::RequestBody(_)) => (true, None, None),
            Some(Response::ImmediateResponse(immediate)) => {
                let (said, challenge) = seen(&immediate.body, call);
                (false, Some(said), challenge)
            }
            other => panic!("{other:?}"),
        };
        Answer {
            is_allow,
            reasons: Some(listed(kept(&answer), "reasons")),
            said: said.map(|said| company.made.named(&said)),
            obligations: Some(listed(kept(&answer), "obligations")),
            challenge: Some(challenge),
        }
    }
}
