use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::authn::capacity::CallerUsage;
use crate::server::frame_shed::frame::{
    ACK, DATA, END_HEADERS, END_STREAM, FrameHead, HEAD, HEADERS, SETTINGS,
};
use crate::server::frame_shed::room::MAX_PAUSE;
use crate::telemetry::record::recorder::Recorder;

fn context() -> ShedContext {
    ShedContext {
        limits: Arc::default(),
        load: Arc::default(),
        recorder: Recorder::default(),
    }
}

/// Makes the limit adapt to requests that took all of their time, so that the server counts as overloaded.
fn overload(context: &ShedContext) {
    let configured = context.limits.load().concurrent_requests as usize;
    let given = Duration::from_secs(1);
    for _ in 0..8 {
        context
            .load
            .pressure
            .record(std::time::Instant::now(), (given, given), 8, configured);
    }
    assert_eq!(context.load.pressure.limit(configured), 4);
    // As many as may be are under way.
    context.load.requests.add(configured);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = payload.len();
    let head = FrameHead {
        length,
        kind,
        flags,
        stream,
    };
    head.write(&mut bytes);
    bytes.extend(payload);
    bytes
}

fn request(stream: u32, start: &[u8]) -> Vec<u8> {
    let path = b"/callgate.v1.Authorization/Authorize";
    let mut block = start.to_vec();
    block.extend([0x83, 0x86, 0x04, u8::try_from(path.len()).expect("short")]);
    block.extend(path);
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &block);
    bytes.extend(frame(DATA, END_STREAM, stream, b"message"));
    bytes
}

async fn next(client: &mut DuplexStream) -> (FrameHead, Vec<u8>) {
    let mut head = [0; HEAD];
    client.read_exact(&mut head).await.expect("a head");
    let head = FrameHead::read(head);
    let mut payload = vec![0; head.length];
    client.read_exact(&mut payload).await.expect("a payload");
    (head, payload)
}

/// What comes through to the HTTP/2 implementation, until nothing more does.
async fn passed(server: &mut FrameShed<DuplexStream>) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 11]);
    while let Ok(Ok(count)) =
        tokio::time::timeout(Duration::from_millis(50), server.read(&mut buffer)).await
    {
        if count == 0 {
            break;
        }
        bytes.extend(&buffer[..count]);
    }
    bytes
}

fn pair(context: &ShedContext) -> (DuplexStream, FrameShed<DuplexStream>) {
    let (client, server) = duplex(1 << 20);
    let connection = Arc::new(ConnectionState::default());
    connection.mark_authenticated_as(&CallerUsage::default());
    (client, FrameShed::new(server, connection, context.clone()))
}

/// The client agrees to keep no table, under overload; its requests up to this stream have passed.
async fn agree(client: &mut DuplexStream, server: &mut FrameShed<DuplexStream>) -> u32 {
    let first = request(1, &[]);
    client.write_all(&first).await.expect("written");
    assert_eq!(passed(server).await, first);
    assert_eq!(next(client).await.0.kind, SETTINGS);
    let agreed = [frame(SETTINGS, ACK, 0, &[]), request(3, &[0x20])].concat();
    client.write_all(&agreed).await.expect("written");
    assert_eq!(passed(server).await, request(3, &[0x20]));
    3
}

/// A connection under overload whose client keeps no table, with one place left of the four that there are at least.
async fn with_one_place(context: &ShedContext) -> (DuplexStream, FrameShed<DuplexStream>) {
    let (mut client, mut server) = pair(context);
    settle(&mut client, &mut server).await;
    overload(context);
    agree(&mut client, &mut server).await;
    let configured = context.limits.load().concurrent_requests as usize;
    context.load.requests.sub(configured - 3);
    (client, server)
}

async fn settle(client: &mut DuplexStream, server: &mut FrameShed<DuplexStream>) {
    let begin = [
        vec![b'-'; 24],
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, ACK, 0, &[]),
    ]
    .concat();
    client.write_all(&begin).await.expect("written");
    assert_eq!(passed(server).await, begin);
}

#[tokio::test]
async fn a_request_is_refused_before_it_is_one_and_the_client_is_told_why() {
    let context = context();
    let (mut client, mut server) = pair(&context);
    settle(&mut client, &mut server).await;
    let before = request(1, &[]);
    client.write_all(&before).await.expect("written");
    assert_eq!(passed(&mut server).await, before, "without overload");
    overload(&context);
    let asked = request(3, &[]);
    client.write_all(&asked).await.expect("written");
    assert_eq!(passed(&mut server).await, asked, "it may depend on others");
    let (head, payload) = next(&mut client).await;
    assert_eq!(
        (head.kind, payload),
        (SETTINGS, vec![0, 1, 0, 0, 0, 0]),
        "no table"
    );
    let agreed = frame(SETTINGS, ACK, 0, &[]);
    client.write_all(&agreed).await.expect("written");
    let emptied = request(5, &[0x20]);
    client.write_all(&emptied).await.expect("written");
    assert_eq!(passed(&mut server).await, emptied);
    client.write_all(&request(7, &[])).await.expect("written");
    assert_eq!(passed(&mut server).await, b"", "refused");
    let (head, payload) = next(&mut client).await;
    assert_eq!((head.stream, head.flags), (7, END_HEADERS | END_STREAM));
    let text = String::from_utf8_lossy(&payload);
    for said in [
        "application/grpc",
        "grpc-status\u{1}8",
        "grpc-retry-pushback-ms\u{3}500",
        "the%20server%20is%20overloaded:%204%20requests%20are%20under%20way",
    ] {
        assert!(text.contains(said), "{said} in {text:?}");
    }
    assert_eq!(context.load.pressure.shed.get(), 1);
}

#[tokio::test]
async fn nobody_unknown_is_refused_here() {
    let context = context();
    let (client, server) = duplex(1 << 20);
    let connection = Arc::new(ConnectionState::default());
    let (mut client, mut server) = (client, FrameShed::new(server, connection, context.clone()));
    settle(&mut client, &mut server).await;
    overload(&context);
    let asked = [request(1, &[0x20]), request(3, &[])].concat();
    client.write_all(&asked).await.expect("written");
    assert_eq!(passed(&mut server).await, asked);
}

#[tokio::test]
async fn answers_go_between_the_frames_of_others() {
    let context = context();
    let (mut client, mut server) = pair(&context);
    settle(&mut client, &mut server).await;
    overload(&context);
    let data = frame(DATA, 0, 1, b"abcdef");
    server.write_all(&data[..12]).await.expect("written");
    let ping = frame(6, 0, 0, b"are you?");
    client.write_all(&ping).await.expect("written");
    assert_eq!(passed(&mut server).await, ping);
    server.write_all(&data[12..]).await.expect("written");
    server.flush().await.expect("flushed");
    assert_eq!(next(&mut client).await.1, b"abcdef");
    assert_eq!(next(&mut client).await.0.kind, SETTINGS);
}

#[tokio::test]
async fn what_passed_and_has_not_begun_takes_a_place_on_every_connection() {
    let context = context();
    let (mut one, mut two) = (pair(&context), pair(&context));
    settle(&mut one.0, &mut one.1).await;
    settle(&mut two.0, &mut two.1).await;
    overload(&context);
    agree(&mut one.0, &mut one.1).await;
    agree(&mut two.0, &mut two.1).await;
    // One place is left of the four that there are at least.
    let configured = context.limits.load().concurrent_requests as usize;
    context.load.requests.sub(configured - 3);
    let asked = request(5, &[]);
    one.0.write_all(&asked).await.expect("written");
    assert_eq!(passed(&mut one.1).await, asked);
    assert_eq!(context.load.passed_on.get(), 1);
    two.0.write_all(&asked).await.expect("written");
    assert_eq!(passed(&mut two.1).await, b"", "the place is taken");
    // It begins, and ends.
    one.1.connection.note_begun();
    assert_eq!(passed(&mut one.1).await, b"");
    assert_eq!(context.load.passed_on.get(), 0);
    let again = request(7, &[]);
    two.0.write_all(&again).await.expect("written");
    assert_eq!(passed(&mut two.1).await, again);
    assert_eq!(context.load.passed_on.get(), 1);
    drop(two);
    assert_eq!(
        context.load.passed_on.get(),
        0,
        "a closed connection has none"
    );
}

#[tokio::test]
async fn a_request_that_never_begins_is_forgotten() {
    let context = context();
    let (mut client, mut server) = with_one_place(&context).await;
    client.write_all(&request(5, &[])).await.expect("written");
    assert!(!passed(&mut server).await.is_empty());
    assert_eq!(context.load.passed_on.get(), 1);
    tokio::time::sleep(PASSED_FOR * 2).await;
    assert_eq!(passed(&mut server).await, b"");
    assert_eq!(context.load.passed_on.get(), 0);
}

#[tokio::test]
async fn a_client_that_asks_much_at_once_of_a_busy_server_is_prepared_for() {
    let context = context();
    let (mut client, mut server) = pair(&context);
    settle(&mut client, &mut server).await;
    let mut stream = 1;
    let mut requests = |count: usize| -> Vec<u8> {
        let streams = (stream..).step_by(2).take(count);
        stream += u32::try_from(count).expect("few") * 2;
        streams.flat_map(|stream| request(stream, &[])).collect()
    };
    let configured = context.limits.load().concurrent_requests as usize;
    let busy = configured / 8;
    for (count, under_way, phase) in [
        (MANY, busy - 1, Phase::Off),
        (MANY - 1, busy, Phase::Off),
        (MANY, busy, Phase::Asked),
    ] {
        context.load.requests.add(under_way);
        let sent = requests(count);
        client.write_all(&sent).await.expect("written");
        // Read through a large buffer, as the HTTP/2 implementation does.
        let mut buffer = vec![0; sent.len()];
        server.read_exact(&mut buffer).await.expect("read");
        assert_eq!(
            buffer, sent,
            "nothing is refused before the client has agreed"
        );
        assert_eq!(passed(&mut server).await, b"");
        assert_eq!(server.inbound.phase(), phase);
        context.load.requests.sub(under_way);
    }
    assert_eq!(next(&mut client).await.0.kind, SETTINGS);
    let agreed = [frame(SETTINGS, ACK, 0, &[]), request(stream, &[0x20])].concat();
    client.write_all(&agreed).await.expect("written");
    assert_eq!(passed(&mut server).await, request(stream, &[0x20]));
    // The server is not overloaded, and has one place.
    assert!(!context.load.pressure.is_reduced(configured));
    context.load.requests.add(configured - 1);
    let one = request(stream + 2, &[]);
    client
        .write_all(&[one.clone(), request(stream + 4, &[])].concat())
        .await
        .expect("written");
    assert_eq!(passed(&mut server).await, one);
    assert_eq!(next(&mut client).await.0.stream, stream + 4, "refused");
    assert!(
        context.load.pressure.is_reduced(configured),
        "and now it is"
    );
}

#[tokio::test]
async fn under_overload_a_connection_that_asks_now_and_then_has_its_place() {
    let context = context();
    let (mut client, mut server) = with_one_place(&context).await;
    for stream in [5, 7, 9] {
        // Longer than half of what a request is given. The server has other things to do meanwhile, and waits for this, too.
        let waits = tokio::time::timeout(Duration::from_millis(600), server.read_u8());
        assert!(waits.await.is_err());
        let asked = request(stream, &[]);
        client.write_all(&asked).await.expect("written");
        assert_eq!(passed(&mut server).await, asked, "{stream}");
        server.connection.note_begun();
    }
}

#[tokio::test]
async fn under_overload_a_connection_is_read_in_turns() {
    let context = context();
    let (mut client, mut server) = pair(&context);
    settle(&mut client, &mut server).await;
    let ping = frame(6, 0, 0, b"are you?");
    let mut buffer = [0; 64];
    let mut is_read = async |within: Duration| {
        let read = tokio::time::timeout(within, server.read(&mut buffer)).await;
        read.is_ok_and(|count| count.is_ok_and(|count| count > 0))
    };
    let (soon, later) = (MAX_PAUSE / 10, Duration::from_secs(10));
    client.write_all(&ping).await.expect("written");
    assert!(is_read(later).await);
    overload(&context);
    let mut had_to_wait = 0;
    for _ in 0..20 {
        // With nothing left to read its turn is over. A busy machine may be late for the next one.
        assert!(!is_read(soon).await);
        client.write_all(&ping).await.expect("written");
        if !is_read(soon).await {
            had_to_wait += 1;
            assert!(is_read(later).await);
        }
    }
    assert!(had_to_wait > 0);
}
