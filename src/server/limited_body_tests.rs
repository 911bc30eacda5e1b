use http_body::Body as _;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::body::Body;

use super::*;

const STREAM: Framing = Framing::Messages { most: 1_048_576 };

struct Fed {
    body: LimitedBody<Body>,
    body_permit: PermitSlot,
    load: Arc<ServerLoad>,
    caller: Arc<Caller>,
    bytes: mpsc::Sender<Result<Frame<Bytes>, Status>>,
}

fn fed(framing: Framing, body_ms: u32) -> Fed {
    let limits = Limits {
        bodies_mib: 1,
        body_ms,
        ..Limits::default()
    };
    let limits = Arc::new(ArcSwap::from_pointee(limits));
    let load = Arc::new(ServerLoad::default());
    let caller = Arc::new(Caller::local());
    let (bytes, frames) = mpsc::channel(16);
    let inner = Body::new(StreamBody::new(ReceiverStream::new(frames)));
    let received = (inner, Instant::now());
    let mut body = LimitedBody::new(received, Arc::clone(&caller), &limits, &load, framing);
    let body_permit = body.permit_slot();
    Fed {
        body,
        body_permit,
        load,
        caller,
        bytes,
    }
}

impl Fed {
    async fn send(&self, bytes: impl Into<Bytes>) {
        let sent = self.bytes.send(Ok(Frame::data(bytes.into()))).await;
        sent.expect("read");
    }

    async fn read(&mut self) -> Result<usize, Code> {
        match self.body.frame().await {
            None => Ok(0),
            Some(Ok(frame)) => Ok(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(status)) => Err(status.code()),
        }
    }
}

/// A message of gRPC with so many bytes.
fn message(length: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, length];
    bytes.extend(vec![7; length.into()]);
    bytes
}

#[tokio::test]
async fn one_message_counts_until_it_is_answered() {
    let mut fed = fed(Framing::Whole, 1_000);
    fed.send(vec![1; 1_000]).await;
    assert_eq!(fed.read().await, Ok(1_000));
    assert_eq!(fed.load.body_bytes.get(), 1_000);
    assert_eq!(fed.caller.held.bytes.get(), 1_000);
    let (load, body_permit) = (Arc::clone(&fed.load), Arc::clone(&fed.body_permit));
    drop(fed);
    assert_eq!(load.body_bytes.get(), 1_000, "not answered yet");
    drop(body_permit);
    assert_eq!(load.body_bytes.get(), 0);
}

#[tokio::test]
async fn a_second_message_is_refused_where_there_is_one() {
    const ONE: Framing = Framing::Message { most: 1_000 };
    let mut apart = fed(ONE, 1_000);
    apart.send(message(3)).await;
    assert_eq!(apart.read().await, Ok(8));
    apart.send(Vec::new()).await;
    assert_eq!(apart.read().await, Ok(0), "nothing is no message");
    apart.send(message(0)).await;
    assert_eq!(apart.read().await, Err(Code::InvalidArgument));
    let mut together = fed(ONE, 1_000);
    together.send([message(3), vec![0]].concat()).await;
    assert_eq!(together.read().await, Err(Code::InvalidArgument));
    let mut stream = fed(STREAM, 1_000);
    stream.send([message(3), message(3)].concat()).await;
    assert_eq!(stream.read().await, Ok(16));
}

#[tokio::test]
async fn messages_of_a_stream_count_until_the_next_is_asked_for() {
    let mut fed = fed(STREAM, 1_000);
    let mut bytes = message(100);
    bytes.extend(&message(200)[..55]);
    fed.send(bytes).await;
    assert_eq!(fed.read().await, Ok(160));
    assert_eq!(fed.load.body_bytes.get(), 160);
    fed.send(message(200)[55..].to_vec()).await;
    assert_eq!(fed.read().await, Ok(150));
    assert_eq!(fed.load.body_bytes.get(), 205, "the second alone");
    fed.send(message(0)).await;
    assert_eq!(fed.read().await, Ok(5));
    assert_eq!(fed.load.body_bytes.get(), 5);
    drop(fed.bytes);
    assert!(fed.body.frame().await.is_none());
    assert_eq!(fed.load.body_bytes.get(), 0);
}

#[tokio::test]
async fn bytes_beyond_the_budget_are_refused() {
    let mut fed = fed(Framing::Whole, 1_000);
    fed.send(vec![0; 1 << 20]).await;
    assert_eq!(fed.read().await, Ok(1 << 20));
    fed.send(vec![0]).await;
    assert_eq!(fed.read().await, Err(Code::ResourceExhausted));
    assert_eq!(fed.load.rejections().bodies, 1);
}

#[tokio::test]
async fn a_message_that_dribbles_ends() {
    for framing in [Framing::Whole, STREAM] {
        let mut fed = fed(framing, 200);
        fed.send(message(200)[..10].to_vec()).await;
        assert_eq!(fed.read().await, Ok(10));
        let begun = Instant::now();
        let mut end = Ok(0);
        for byte in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let late = tokio::time::timeout(Duration::from_millis(30), fed.read()).await;
            if let Ok(read) = late {
                end = read;
                if end.is_err() {
                    break;
                }
            }
            fed.send(vec![byte]).await;
        }
        assert_eq!(end, Err(Code::DeadlineExceeded), "{framing:?}");
        assert!(begun.elapsed() <= Duration::from_millis(1_000));
        assert_eq!(fed.load.rejections().late_bodies, 1);
    }
}

#[tokio::test]
async fn who_has_sent_in_time_is_not_late_because_the_server_is() {
    let mut fed = fed(STREAM, 50);
    // The stream has been waited for, but not this message.
    let silence = tokio::time::timeout(Duration::from_millis(5), fed.read());
    assert!(silence.await.is_err());
    fed.send([message(10), message(20)[..8].to_vec()].concat())
        .await;
    fed.send(message(20)[8..12].to_vec()).await;
    assert_eq!(fed.read().await, Ok(23));
    std::thread::sleep(Duration::from_millis(80));
    assert_eq!(fed.read().await, Ok(4));
    assert_eq!(fed.read().await, Err(Code::DeadlineExceeded));
}

#[tokio::test]
async fn a_stream_may_be_silent_between_messages() {
    let mut fed = fed(STREAM, 50);
    fed.send(message(10)).await;
    assert_eq!(fed.read().await, Ok(15));
    let silent = tokio::time::timeout(Duration::from_millis(200), fed.read()).await;
    assert!(silent.is_err(), "it waits");
    assert!(!fed.body.is_end_stream());
}

#[test]
fn where_a_message_ends_does_not_depend_on_the_pieces() {
    let mut bytes = message(3);
    bytes.extend(message(0));
    bytes.extend(&message(9)[..8]);
    for size in 1..bytes.len() {
        let mut position = StreamPosition::default();
        for piece in bytes.chunks(size) {
            assert_eq!(position.advance(piece, 9), None);
        }
        assert_eq!(position.partial, 8, "in pieces of {size}");
        assert_eq!(position.missing, 6, "in pieces of {size}");
    }
}

#[tokio::test]
async fn what_was_read_of_a_whole_body_counts_as_long_as_its_permit_is_held() {
    let mut fed = fed(Framing::Whole, 1_000);
    fed.send(message(10)).await;
    assert_eq!(fed.read().await, Ok(15));
    let permit = fed.body.into_permit();
    assert_eq!(
        (fed.load.body_bytes.get(), fed.caller.held.bytes.get()),
        (15, 15)
    );
    assert!(fed.body_permit.get().is_none(), "there is one permit");
    drop(permit);
    assert_eq!(
        (fed.load.body_bytes.get(), fed.caller.held.bytes.get()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_stream_has_no_permit_to_hold() {
    let mut fed = fed(STREAM, 1_000);
    fed.send(message(10)[..8].to_vec()).await;
    assert_eq!(fed.read().await, Ok(8));
    assert_eq!(fed.load.body_bytes.get(), 8);
    assert!(fed.body.into_permit().is_none());
    assert!(fed.body_permit.get().is_none());
    assert_eq!(fed.load.body_bytes.get(), 0);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_rejected_after_those_before_it() {
    for framing in [
        Framing::Message { most: 100 },
        Framing::Messages { most: 100 },
    ] {
        let mut alone = fed(framing, 1_000);
        alone.send(message(101)).await;
        let frame = alone.body.frame().await.expect("an end");
        let status = frame.expect_err("too long");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("`limits.message_bytes`"));
        assert!(status.message().contains("more than 100 bytes"));
    }
    let framing = Framing::Messages { most: 100 };
    let mut after = fed(framing, 1_000);
    after.send([message(100), message(101)].concat()).await;
    assert_eq!(after.read().await, Ok(105));
    assert!(!after.body.is_end_stream());
    assert_eq!(after.read().await, Err(Code::ResourceExhausted));
    // In pieces, as soon as the length is there.
    let mut pieces = fed(framing, 1_000);
    let long = message(101);
    pieces.send([message(3), long[..3].to_vec()].concat()).await;
    assert_eq!(pieces.read().await, Ok(11));
    pieces.send(long[3..6].to_vec()).await;
    assert_eq!(pieces.read().await, Err(Code::ResourceExhausted));
    // A body of plain HTTP has no prefix.
    let mut plain = fed(Framing::Whole, 1_000);
    plain.send(vec![255; 200]).await;
    assert_eq!(plain.read().await, Ok(200));
}
