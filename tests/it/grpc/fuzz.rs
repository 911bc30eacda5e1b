//! Whatever bytes arrive on whatever RPC: no panic, a clear error, and the next call is answered.

use std::sync::Arc;

use callgate::audit::log::AuditLog;
use callgate::config::audit::AuditConfig;
use callgate::proto::v1;
use callgate::proto::v1::Decision;
use callgate::proto::v1::authorize_stream_response::Outcome;
use callgate::service::clock::SystemClock;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::in_process::{call, call_for, entity, start};
use crate::support::worlds;

const RPCS: [&str; 5] = [
    "/callgate.v1.Authorization/Authorize",
    "/callgate.v1.Authorization/AuthorizeBatch",
    "/callgate.v1.Authorization/AuthorizeStream",
    "/callgate.v1.Authorization/FilterTools",
    "/callgate.v1.Authorization/IsAuthorized",
];

/// Sends and receives bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

pub async fn send(channel: &Channel, rpc: &'static str, bytes: Vec<u8>) -> Result<(), Status> {
    send_all(channel, rpc, vec![bytes]).await.map(drop)
}

/// Sends messages, and returns the answers.
async fn send_all(
    channel: &Channel,
    rpc: &'static str,
    messages: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.expect("the connection lives");
    let path = http::uri::PathAndQuery::from_static(rpc);
    let request = Request::new(tokio_stream::iter(messages));
    let mut coming = grpc.streaming(request, path, Raw).await?.into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = coming.message().await? {
        answers.push(answer);
    }
    Ok(answers)
}

/// Good messages, one for each RPC, rich in fields.
fn good(rpc: &str) -> Vec<u8> {
    let request = v1::AuthorizeRequest {
        explain: true,
        ..call_for("log", "ana")
    };
    match rpc.rsplit('/').next() {
        Some("Authorize") => request.encode_to_vec(),
        Some("AuthorizeBatch") => v1::AuthorizeBatchRequest {
            requests: vec![request, call("purge")],
        }
        .encode_to_vec(),
        Some("AuthorizeStream") => v1::AuthorizeStreamRequest {
            correlation_id: "c".into(),
            request: Some(request),
        }
        .encode_to_vec(),
        Some("FilterTools") => v1::FilterToolsRequest {
            call_context: request.call_context,
            server: "git".into(),
            tools: vec!["log".into(), "purge".into()],
            at_least_revision: 0,
        }
        .encode_to_vec(),
        _ => v1::IsAuthorizedRequest {
            principal: entity("Mcp::Agent", "coder"),
            action: entity("Mcp::Action", "list_tools"),
            resource: entity("Mcp::Server", "git"),
            context_form: Some(v1::is_authorized_request::ContextForm::ContextJson(
                br#"{"initiator": "client", "a": [1, {"b": "c"}]}"#.as_slice().into(),
            )),
            at_least_revision: 0,
            explain: true,
        }
        .encode_to_vec(),
    }
}

/// One change of a message.
#[derive(Debug, Clone)]
pub enum Change {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

pub fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        4 => (at, any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at, prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (at, 1..8_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (at, 1..64_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => at.prop_map(Change::Cut),
    ]
}

pub fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len();
        let place = |at: &usize| at % (length + 1);
        match change {
            Change::Set(at, byte) if length > 0 => bytes[at % length] = *byte,
            Change::Set(..) => {}
            Change::Insert(at, new) => {
                drop(bytes.splice(place(at)..place(at), new.iter().copied()))
            }
            Change::Remove(at, count) => {
                drop(bytes.drain(place(at)..(place(at) + count).min(length)))
            }
            Change::Repeat(at, count) => {
                let again = bytes[place(at)..(place(at) + count).min(length)].to_vec();
                bytes.extend(again);
            }
            Change::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

#[test]
fn no_bytes_on_any_rpc_bring_the_server_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime.block_on(start("[limits]\nstale_wait_ms = 1\n"));
    let channel = runtime.block_on(server.channel());
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    let bytes = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (bytes, Vec::new())),
        4 => prop::collection::vec(change(), 1..6).prop_map(|changes| (Vec::new(), changes)),
    ];
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let mut refused = std::cell::Cell::new(0_u32);
    runner
        .run(&(0..RPCS.len(), bytes), |(rpc, (random, changes))| {
            let rpc = RPCS[rpc];
            let bytes = if changes.is_empty() {
                random
            } else {
                changed(good(rpc), &changes)
            };
            if let Err(status) = runtime.block_on(send(&channel, rpc, bytes)) {
                prop_assert_eq!(
                    status.code(),
                    Code::InvalidArgument,
                    "{}: {:?}",
                    rpc,
                    status
                );
                prop_assert!(!status.message().is_empty());
                refused.set(refused.get() + 1);
            }
            let mut client = v1::authorization_client::AuthorizationClient::new(channel.clone());
            let next = runtime
                .block_on(client.authorize(call("log")))
                .expect("the next call is answered");
            prop_assert_eq!(next.into_inner().decision(), Decision::Allow);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        *refused.get_mut() > cases / 10,
        "the changes break enough to be worth anything"
    );
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_is_refused_by_its_field_and_a_stream_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("capsule.key");
    let log = AuditLog::open(folder.path(), &key, &AuditConfig::default());
    let log = log.expect("a log").expect("it is on");
    let recorder = Recorder::new(RecorderParts {
        audit: Some(log.clone()),
        ..RecorderParts::default()
    });
    let world = worlds::small();
    let server = world
        .start_recorded("", Arc::new(SystemClock), recorder)
        .await;
    let channel = server.channel().await;
    let spoilt = |rpc: &str| {
        let mut message = good(rpc);
        let at = message.windows(5).position(|it| it == b"coder");
        message[at.expect("the agent's id")] = 0xff;
        message
    };
    let field = "call_context.subject.entity.id` is not UTF-8";
    for rpc in ["Authorize", "AuthorizeBatch", "FilterTools"] {
        let rpc = RPCS
            .into_iter()
            .find(|it| it.ends_with(&format!("/{rpc}")))
            .expect("an RPC");
        let refused = send(&channel, rpc, spoilt(rpc)).await.expect_err(rpc);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(field), "{refused:?}");
    }
    let stream = RPCS[2];
    // An id that cannot be returned ends the stream: what comes after it is not decided.
    let mut without_id = good(stream);
    let id = without_id.windows(3).position(|it| it == b"\x0a\x01c");
    without_id[id.expect("the id") + 2] = 0xff;
    let before = log.status().records;
    let refused = send_all(&channel, stream, vec![without_id, good(stream)]).await;
    let refused = refused.expect_err("no id");
    assert!(
        refused.message().contains("`correlation_id` is not UTF-8"),
        "{refused:?}"
    );
    assert_eq!(log.status().records, before);
    let messages = vec![spoilt(stream), good(stream)];
    let answers = send_all(&channel, stream, messages).await.expect("answers");
    let answers = answers.iter().map(|it| {
        let answer = v1::AuthorizeStreamResponse::decode(it.as_slice()).expect("a message");
        assert_eq!(answer.correlation_id, "c");
        answer.outcome.expect("an outcome")
    });
    match answers.collect::<Vec<_>>().as_slice() {
        [Outcome::Error(refused), Outcome::Response(answer)] => {
            assert_eq!(refused.code, Code::InvalidArgument as i32);
            assert!(refused.message.contains(field), "{refused:?}");
            assert_eq!(answer.decision(), Decision::Allow);
            assert_eq!(log.status().records, before + 1);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_good_messages_are_good() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let server = start("").await;
        let channel = server.channel().await;
        for rpc in RPCS {
            send(&channel, rpc, good(rpc))
                .await
                .unwrap_or_else(|status| panic!("{rpc}: {status:?}"));
        }
    });
}
