//! Plain HTTP: a client that keeps its connection and spends little, and a server that only answers.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::served::Fault;
use crate::served::load::Ask;

/// One request over HTTP/1.1. Clones share the connections that are open.
pub struct Web {
    port: u16,
    request: Bytes,
    /// What has to be in every answer.
    answer: &'static str,
    /// Open connections that nobody uses.
    idle: Arc<Mutex<Vec<TcpStream>>>,
    read: Vec<u8>,
}

/// The bytes of a request.
pub fn post(port: u16, path: &str, traceparent: &str, body: &Json) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ntraceparent: {traceparent}\r\n\
         x-agent: support\r\nx-person: sam\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Web {
    /// Asks a server on the loopback.
    pub fn new(port: u16, request: String, answer: &'static str) -> Self {
        Self {
            port,
            request: request.into(),
            answer,
            idle: Arc::default(),
            read: Vec::new(),
        }
    }

    /// An idle connection, or a new one.
    async fn connection(&self) -> Result<TcpStream, Fault> {
        if let Some(stream) = self.idle()?.pop() {
            return Ok(stream);
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn idle(&self) -> Result<MutexGuard<'_, Vec<TcpStream>>, Fault> {
        self.idle.lock().map_err(|_| "an asker panicked".into())
    }
}

impl Clone for Web {
    fn clone(&self) -> Self {
        Self {
            port: self.port,
            request: self.request.clone(),
            answer: self.answer,
            idle: Arc::clone(&self.idle),
            read: Vec::new(),
        }
    }
}

impl Ask for Web {
    async fn ask(&mut self) -> Result<(), Fault> {
        let mut stream = self.connection().await?;
        stream.write_all(&self.request).await?;
        self.read.clear();
        while whole(&self.read)?.is_none_or(|length| self.read.len() < length) {
            if stream.read_buf(&mut self.read).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        self.idle()?.push(stream);
        let text = str::from_utf8(&self.read)?;
        match text.starts_with("HTTP/1.1 200") && text.contains(self.answer) {
            true => Ok(()),
            false => Err(format!("another answer: {text}").into()),
        }
    }
}

/// How long a message is with its body, once its head is there.
fn whole(read: &[u8]) -> Result<Option<usize>, Fault> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = read.windows(END.len()).position(|it| it == END) else {
        return Ok(None);
    };
    let text = str::from_utf8(&read[..head])?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("a message without `content-length`")?;
    Ok(Some(head + END.len() + length))
}

/// Starts a server that answers every request the same, as an MCP server answers a call. Its port.
pub async fn answering() -> Result<u16, Fault> {
    const BODY: &str =
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"open"}]}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, BODY));
        }
    });
    Ok(port)
}

async fn serve(mut stream: TcpStream, body: &'static str) -> Result<(), Fault> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        while let Some(length) = whole(&read)?.filter(|length| read.len() >= *length) {
            read.drain(..length);
            stream.write_all(answer.as_bytes()).await?;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}
