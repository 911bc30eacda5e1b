//! The clients: the same for every server that is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::served::Fault;

/// Asks one thing again and again. Each clone is an asker of its own.
pub trait Ask: Clone + Send + 'static {
    /// Asks once and waits for the answer.
    fn ask(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// One request over gRPC. Its clones share a connection.
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
}

impl Ask for Load {
    async fn ask(&mut self) -> Result<(), Fault> {
        let mut grpc = Grpc::new(self.channel.clone());
        let path = PathAndQuery::from_static(self.path);
        grpc.ready().await?;
        let request = Request::new(self.request.clone());
        grpc.unary(request, path, RawCodec).await?;
        Ok(())
    }
}

/// Asks `calls` times, `in_flight` at once.
pub async fn run(asker: &impl Ask, calls: usize, in_flight: usize) -> Result<Latencies, Fault> {
    let left = Arc::new(AtomicUsize::new(calls));
    let mut askers = JoinSet::new();
    for _ in 0..in_flight {
        askers.spawn(ask_until_done(asker.clone(), Arc::clone(&left)));
    }
    let mut latencies = Vec::with_capacity(calls);
    while let Some(asked) = askers.join_next().await {
        latencies.extend(asked??);
    }
    latencies.sort_unstable();
    Ok(Latencies(latencies))
}

async fn ask_until_done(
    mut asker: impl Ask,
    left: Arc<AtomicUsize>,
) -> Result<Vec<Duration>, Fault> {
    let mut latencies = Vec::new();
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
        .is_ok()
    {
        let start = Instant::now();
        asker.ask().await?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// Messages as they are on the wire, so that the client spends nothing on them.
#[derive(Clone, Copy)]
pub struct RawCodec;

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
