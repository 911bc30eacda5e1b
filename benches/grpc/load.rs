//! The client: the same for every server that is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use http::uri::PathAndQuery;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Fault;

/// One request, asked again and again.
#[derive(Clone)]
pub struct Load {
    channel: Channel,
    path: &'static str,
    request: Bytes,
}

/// How long each call took.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

impl Load {
    pub fn new(channel: Channel, path: &'static str, request: Vec<u8>) -> Self {
        Self {
            channel,
            path,
            request: request.into(),
        }
    }

    /// Asks `calls` times, `in_flight` at once.
    pub async fn run(&self, calls: usize, in_flight: usize) -> Result<Latencies, Fault> {
        let left = Arc::new(AtomicUsize::new(calls));
        let mut askers = JoinSet::new();
        for _ in 0..in_flight {
            askers.spawn(self.clone().ask_until_done(Arc::clone(&left)));
        }
        let mut latencies = Vec::with_capacity(calls);
        while let Some(asked) = askers.join_next().await {
            latencies.extend(asked??);
        }
        latencies.sort_unstable();
        Ok(Latencies(latencies))
    }

    async fn ask_until_done(self, left: Arc<AtomicUsize>) -> Result<Vec<Duration>, Fault> {
        let mut grpc = Grpc::new(self.channel.clone());
        let path = PathAndQuery::from_static(self.path);
        let mut latencies = Vec::new();
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok()
        {
            let start = Instant::now();
            grpc.ready().await?;
            let request = Request::new(self.request.clone());
            grpc.unary(request, path.clone(), RawCodec).await?;
            latencies.push(start.elapsed());
        }
        Ok(latencies)
    }
}

/// Decisions per second over one bidirectional stream.
pub async fn stream(
    channel: Channel,
    request: &v1::AuthorizeRequest,
    calls: usize,
) -> Result<f64, Fault> {
    let request = request.clone();
    let requests = tokio_stream::iter((0..calls).map(move |number| v1::AuthorizeStreamRequest {
        correlation_id: number.to_string(),
        request: Some(request.clone()),
    }));
    let start = Instant::now();
    let mut answers = AuthorizationClient::new(channel)
        .authorize_stream(requests)
        .await?
        .into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        assert_eq!(
            answer?.correlation_id,
            answered.to_string(),
            "answers come in order"
        );
        answered += 1;
    }
    assert_eq!(answered, calls, "every request is answered");
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

/// Messages as they are on the wire, so that the client spends nothing on them.
#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = usize;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for RawCodec {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let bytes = buffer.remaining();
        buffer.advance(bytes);
        Ok(Some(bytes))
    }
}
