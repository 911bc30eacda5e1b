//! A client of plain HTTP that knows nothing of this program: text out, text in.

use std::net::SocketAddr;

use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::in_process::Running;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Json {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What an error says.
    pub fn message(&self) -> String {
        self.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned()
    }
}

/// Sends bytes and reads until the server closes.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: S, request: &[u8]) -> Reply {
    let answer = exchange_if_it_may(stream, request).await;
    answer.expect("an HTTP response")
}

/// The same, with nothing from a server that closes without a word.
pub async fn exchange_if_it_may<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &[u8],
) -> Option<Reply> {
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(request).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        return None;
    }
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no HTTP response: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Reply {
        status: status.and_then(|it| it.parse().ok()).expect("a status"),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}

/// The text of a request that asks the server to close afterwards.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost:8180\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// Sends one request on a connection of its own.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let stream = TcpStream::connect(address).await.expect("a connection");
    exchange(stream, &request(method, path, headers, body)).await
}

/// Posts JSON.
pub async fn post(server: &Running, path: &str, body: &Json) -> Reply {
    let json = [("content-type", "application/json")];
    send(server.http_address, "POST", path, &json, &body.to_string()).await
}

/// Posts JSON with a token.
pub async fn post_as(server: &Running, token: &str, path: &str, body: &Json) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    send(
        server.http_address,
        "POST",
        path,
        &headers,
        &body.to_string(),
    )
    .await
}
