use std::future::Future;
use std::task::Waker;

use http_body_util::StreamBody;

use super::*;

/// Answers with the bytes that came, or with a status.
struct Echo;

impl UnaryRpcs for Echo {
    fn serves(path: &str) -> bool {
        path == "/test/Echo"
    }

    async fn answer(&self, head: &mut Parts, message: Bytes) -> Result<Bytes, Status> {
        match head.headers.contains_key("fails") {
            true => Err(Status::not_found("nothing")),
            false => Ok(message),
        }
    }
}

/// Answers with what its request was: its path and all bytes of its body.
#[derive(Clone)]
struct Generated;

impl Service<Request<Body>> for Generated {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        Box::pin(async {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(collected) => format!("{:?}", collected.to_bytes()),
                Err(status) => status.message().to_owned(),
            };
            let said = format!("generated {} {body}", head.uri.path());
            Ok(Response::new(Body::new(http_body_util::Full::new(
                said.into(),
            ))))
        })
    }
}

/// A body with these parts, each of which is there at once.
fn body(parts: Vec<BodyPart>) -> Body {
    Body::new(StreamBody::new(tokio_stream::iter(parts)))
}

fn data(bytes: &'static [u8]) -> BodyPart {
    Ok(Frame::data(Bytes::from_static(bytes)))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing is to be waited for"),
    }
}

/// The status, the headers, the data and the trailers of the answer.
fn ask(path: &str, headers: &[&'static str], parts: Vec<BodyPart>) -> (HeaderMap, String) {
    let mut request = Request::new(body(parts));
    *request.uri_mut() = path.parse().expect("a path");
    for name in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_static("gzip"));
    }
    let mut service = DirectUnary::new(Echo, Generated, 8);
    let Ok(response) = now(service.call(request));
    let (head, body) = response.into_parts();
    let collected = now(body.collect()).expect("a body");
    let mut all = head.headers;
    all.extend(collected.trailers().cloned().unwrap_or_default());
    (
        all,
        String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
    )
}

const ECHO: &str = "/test/Echo";

#[test]
fn a_message_in_one_piece_is_answered_with_one_frame_and_an_ok() {
    for parts in [
        vec![data(b"\0\0\0\0\x03abc")],
        // The end comes in a frame of its own, or with trailers that no client of gRPC sends.
        vec![data(b"\0\0\0\0\x03abc"), data(b"")],
    ] {
        let (headers, message) = ask(ECHO, &["own-header"], parts);
        assert_eq!(message, "abc");
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, it)| (name.as_str(), it))
            .collect();
        let grpc = HeaderValue::from_static("application/grpc");
        let ok = HeaderValue::from_static("0");
        // Nothing of what the client sent goes back.
        assert_eq!(headers, [("content-type", &grpc), ("grpc-status", &ok)]);
    }
}

#[test]
fn no_message_is_one_too() {
    assert_eq!(ask(ECHO, &[], vec![data(b"\0\0\0\0\0")]).1, "");
}

#[test]
fn an_error_is_a_status_without_a_message() {
    let (headers, message) = ask(ECHO, &["fails"], vec![data(b"\0\0\0\0\x01a")]);
    assert_eq!(
        (headers["grpc-status"].as_bytes(), &*message),
        (&b"5"[..], "")
    );
    assert_eq!(headers["grpc-message"], "nothing");
}

#[test]
fn whatever_else_comes_goes_on_as_it_was() {
    let cases: [(Vec<BodyPart>, &str); 8] = [
        (vec![], r#"b"""#),
        (vec![data(b"\0\0\0")], r#"b"\0\0\0""#),
        (
            vec![data(b"\0\0\0\0\x02a"), data(b"b")],
            r#"b"\0\0\0\0\x02ab""#,
        ),
        // Compressed, or neither compressed nor not.
        (vec![data(b"\x01\0\0\0\x01a")], r#"b"\x01\0\0\0\x01a""#),
        (vec![data(b"\x02\0\0\0\x01a")], r#"b"\x02\0\0\0\x01a""#),
        // Two messages.
        (
            vec![data(b"\0\0\0\0\x01a"), data(b"\0\0\0\0\x01b")],
            r#"b"\0\0\0\0\x01a\0\0\0\0\x01b""#,
        ),
        // Longer than allowed.
        (
            vec![data(b"\0\0\0\0\x09123456789")],
            r#"b"\0\0\0\0\t123456789""#,
        ),
        (
            vec![data(b"\0\0\0\0\x01a"), Err(Status::cancelled("gone"))],
            "gone",
        ),
    ];
    for (parts, came) in cases {
        let (_, said) = ask(ECHO, &[], parts);
        assert_eq!(said, format!("generated {ECHO} {came}"));
    }
}

#[test]
fn other_paths_and_compressed_requests_are_not_read() {
    let whole = || vec![data(b"\0\0\0\0\x01a")];
    let (_, said) = ask("/test/Other", &[], whole());
    assert_eq!(said, r#"generated /test/Other b"\0\0\0\0\x01a""#);
    let (_, said) = ask(ECHO, &["grpc-encoding"], whole());
    assert_eq!(said, r#"generated /test/Echo b"\0\0\0\0\x01a""#);
}
