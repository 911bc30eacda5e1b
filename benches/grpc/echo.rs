//! A tonic server that answers every call with the same number of bytes and does nothing else: one call at a time, or
//! every message of a stream.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::served::Fault;
use crate::served::process::Server as Process;

/// Set in the process that is the echo server: how many bytes it answers with.
pub const BYTES: &str = "CALLGATE_BENCH_ECHO_BYTES";

/// The method that answers one call.
pub const PATH: &str = "/bench.Echo/Echo";
/// The method that answers every message of a stream, in order.
pub const STREAM_PATH: &str = "/bench.Echo/Stream";

#[derive(Clone)]
struct Echo {
    answer: Bytes,
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.answer.clone())))
    }
}

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, requests: Request<Streaming<Bytes>>) -> Self::Future {
        let answer = self.answer.clone();
        let answers = requests
            .into_inner()
            .map(move |request| request.map(|_| answer.clone()));
        ready(Ok(Response::new(Box::pin(answers))))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Bytes, Bytes>::default());
            Ok(match request.uri().path() {
                STREAM_PATH => grpc.streaming(method, request).await,
                _ => grpc.unary(method, request).await,
            })
        })
    }
}

/// This program as an echo server, in a process of its own.
pub fn spawn(answer_bytes: usize) -> Result<Process, Fault> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(BYTES, answer_bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the echo server has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().parse()?;
    Ok(Process::new(child, port))
}

/// Serves until the process ends, and says on which port.
pub async fn serve(answer_bytes: usize) -> Result<(), Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    // A message of one bytes field has a tag and a length before its content.
    let echo = Echo {
        answer: vec![b'x'; answer_bytes.saturating_sub(3)].into(),
    };
    Server::builder()
        .add_service(echo)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
