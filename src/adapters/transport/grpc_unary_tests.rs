use std::future::Future;
use std::task::Waker;

use http::{HeaderValue, Request};
use tonic::body::Body;
use tonic::codegen::BoxFuture;

use super::*;
use crate::adapters::transport::grpc_admission::{self, AdmittedCaller};
use crate::adapters::transport::request::ReceivedHead;
use crate::authn::authenticate::Authenticator;
use crate::authn::caller::Caller;
use crate::authn::capacity::{CapacityLimit, UsageCount};
use crate::authn::certificate::Peer;
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::service::deadline::Deadline;

/// Answers with the bytes that came, and the bytes that count meanwhile; a message `fails` with a status.
struct Echo(UsageCount);

impl UnaryRpcs for Echo {
    fn serves(rpc: Rpc) -> bool {
        rpc == Rpc::Authorize
    }

    async fn answer(&self, path: &str, rpc: AdmittedRpc, message: Bytes) -> Result<Bytes, Status> {
        assert_eq!((path, rpc.rpc), (ECHO, Rpc::Authorize));
        match &*message {
            b"fails" => Err(Status::not_found("nothing")),
            message => Ok([message, self.0.get().to_string().as_bytes()]
                .concat()
                .into()),
        }
    }
}

/// Answers with what its request was: its path, all bytes of its body, and those that count meanwhile.
#[derive(Clone)]
struct Whole(UsageCount);

impl Service<Request<Body>> for Whole {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let counted = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            assert!(head.extensions.get::<AdmittedCaller>().is_some());
            assert!(head.extensions.get::<Deadline>().is_some());
            let body = match body.collect().await {
                Ok(collected) => format!("{:?}", collected.to_bytes()),
                Err(status) => status.message().to_owned(),
            };
            let said = format!("generated {} {body} {}", head.uri.path(), counted.get());
            Ok(Response::new(Body::new(http_body_util::Full::new(
                said.into(),
            ))))
        })
    }
}

/// A body with these parts, each of which is there at once. It counts for 7 bytes.
struct Parts {
    parts: std::vec::IntoIter<BodyPart>,
    permit: Option<CapacityPermit>,
    slot: PermitSlot,
}

impl Parts {
    fn of(parts: Vec<BodyPart>, count: &UsageCount) -> Self {
        let mut permit = CapacityPermit::none(count, &UsageCount::default());
        let bound = CapacityLimit { limit: 9, share: 9 };
        permit.grow(7, bound).expect("room");
        Self {
            parts: parts.into_iter(),
            permit: Some(permit),
            slot: PermitSlot::default(),
        }
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<BodyPart>> {
        Poll::Ready(self.parts.next())
    }
}

impl CountedBody for Parts {
    fn into_permit(mut self) -> Option<CapacityPermit> {
        self.permit.take()
    }

    fn permit_slot(&mut self) -> PermitSlot {
        Arc::clone(&self.slot)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let _ = self.slot.set(permit);
        }
    }
}

/// A request of the local caller.
fn admitted(request: Request<()>, body: Parts) -> AdmittedRequest<Admitted, Parts> {
    let (head, ()) = request.into_parts();
    let local = Authenticator::local(Caller::local());
    let admitted = grpc_admission::admit(
        &Arc::new(ReloadableAuthenticator::new(local)),
        ReceivedHead {
            parts: &head,
            peer: &Peer::default(),
            deadline: Deadline::NONE,
        },
    );
    AdmittedRequest {
        admitted: admitted.map_err(|it| it.to_string()).expect("admitted"),
        head,
        body,
        deadline: Deadline::NONE,
    }
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
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().expect("a path");
    for name in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_static("gzip"));
    }
    let count = UsageCount::default();
    let request = admitted(request, Parts::of(parts, &count));
    let mut service = DirectUnary::new(Echo(count.clone()), Whole(count.clone()), 8);
    let Ok(response) = now(service.call(request));
    assert_eq!(count.get(), 0, "it is answered");
    let (head, body) = response.into_parts();
    let collected = now(body.collect()).expect("a body");
    let mut all = head.headers;
    all.extend(collected.trailers().cloned().unwrap_or_default());
    (
        all,
        String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
    )
}

const ECHO: &str = "/callgate.v1.Authorization/Authorize";
const OTHER: &str = "/callgate.v1.Authorization/AuthorizeBatch";

#[test]
fn a_message_in_one_piece_is_answered_with_one_frame_and_an_ok() {
    for parts in [
        vec![data(b"\0\0\0\0\x03abc")],
        // The end comes in a frame of its own, or with trailers that no client of gRPC sends.
        vec![data(b"\0\0\0\0\x03abc"), data(b"")],
    ] {
        let (headers, message) = ask(ECHO, &["own-header"], parts);
        assert_eq!(message, "abc7", "its bytes count until the answer");
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
    assert_eq!(ask(ECHO, &[], vec![data(b"\0\0\0\0\0")]).1, "7");
}

#[test]
fn an_error_is_a_status_without_a_message() {
    let (headers, message) = ask(ECHO, &[], vec![data(b"\0\0\0\0\x05fails")]);
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
        assert_eq!(said, format!("generated {ECHO} {came} 7"));
    }
}

#[test]
fn other_paths_and_compressed_requests_are_not_read() {
    let whole = || vec![data(b"\0\0\0\0\x01a")];
    for (path, headers) in [(OTHER, &[][..]), (ECHO, &["grpc-encoding"])] {
        let (_, said) = ask(path, headers, whole());
        assert_eq!(said, format!(r#"generated {path} b"\0\0\0\0\x01a" 7"#));
    }
}
