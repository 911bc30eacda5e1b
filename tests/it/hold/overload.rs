//! More than the server can answer: what it answers comes in time, and who gives up keeps its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::control_client::ControlClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::hold::attack::{SETTINGS, TOKEN, question};
use crate::hold::flood::{HeldDown, channels, flood, saturate};
use crate::support::process::{Bundle, Server};

const DEADLINE: Duration = Duration::from_millis(500);

/// The part of a CPU that the server has: so little that the test can ask for more.
const PERCENT: u64 = 5;

fn start() -> (Bundle, Server) {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", SETTINGS);
    let server = Server::start(&bundle, &[("RUST_LOG", "warn,callgate=info")]);
    (bundle, server)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

async fn status(channel: Channel) -> v1::GetStatusResponse {
    let mut request = Request::new(v1::GetStatusRequest {});
    let token = format!("Bearer {TOKEN}").parse().expect("a header");
    request.metadata_mut().insert("authorization", token);
    let answer = ControlClient::new(channel).get_status(request).await;
    answer.expect("a status").into_inner()
}

#[test]
#[ignore = "needs a machine that has nothing else to do, as it measures"]
fn answers_come_in_time_at_twice_what_the_server_can_answer() {
    let (_bundle, server) = start();
    runtime().block_on(twice_too_much(&server));
}

async fn twice_too_much(server: &Server) {
    let channels = channels(server.target(), 8).await;
    let _held = HeldDown::to(server.pid(), PERCENT);
    let took = Duration::from_secs(3);
    // At first more than it can answer in time is under way.
    saturate(&channels, 16, Duration::from_secs(1), DEADLINE).await;
    let capacity = saturate(&channels, 16, took, DEADLINE).await.rate(took);
    let times = (Duration::ZERO, took);
    let asked = async { flood(&channels, 2.0 * capacity, times, DEADLINE).await.then };
    let told = async {
        tokio::time::sleep(took / 2).await;
        status(channels[0].clone()).await
    };
    let (outcome, told) = tokio::join!(asked, told);
    let goodput = outcome.rate(took) / capacity;
    // The benchmark measures it; here the machine has much else to do.
    let counts = (outcome.asked, outcome.shed, outcome.late, &outcome.failed);
    eprintln!("goodput {goodput:.2} of {capacity:.0}/s, asked, shed, late, failed: {counts:?}");
    assert!(goodput >= 0.3, "{goodput}: {counts:?}\n{}", server.log());
    let most = outcome.percentile(50);
    assert!(
        most.is_some(),
        "most of what is accepted is in time: {counts:?}"
    );
    assert!(outcome.shed > 0, "{counts:?}");
    assert_eq!(outcome.failed, [], "no connection is closed");
    let overload = told.overload.expect("told");
    assert!(
        overload.is_limited && overload.limit < 1_024,
        "{overload:?}"
    );
    assert!(overload.shed_requests > 0, "{overload:?}");
}

/// Passes connections on, and counts them.
async fn counted(target: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let target = target.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(target).await.expect("a connection");
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, count)
}

#[test]
fn a_gateway_whose_callers_give_up_during_a_stall_keeps_its_connection() {
    let (_bundle, server) = start();
    runtime().block_on(stalls(&server));
}

async fn stalls(server: &Server) {
    let (address, connections) = counted(server.target().to_owned()).await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    let mut client = AuthorizationClient::new(channel.clone());
    client.authorize(question()).await.expect("an answer");
    server.signal("-STOP");
    let mut asked = JoinSet::new();
    for number in 0..600_u64 {
        let mut client = AuthorizationClient::new(channel.clone());
        asked.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            let answer = client.authorize(question());
            tokio::time::timeout(Duration::from_millis(100), answer).await
        });
    }
    while let Some(answer) = asked.join_next().await {
        assert!(answer.expect("no panic").is_err(), "given up");
    }
    server.signal("-CONT");
    for _ in 0..20 {
        let answer = client.authorize(question()).await;
        answer.unwrap_or_else(|status| panic!("{status}\n{}", server.log()));
    }
    assert_eq!(
        connections.load(Ordering::SeqCst),
        1,
        "it had to connect again"
    );
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header that is not to be indexed, with a name of the static table.
fn header(block: &mut Vec<u8>, index: u8, value: &str) {
    // Four bits of the index, and more if it does not fit.
    match index {
        0..15 => block.push(index),
        _ => block.extend([15, index - 15]),
    }
    block.push(u8::try_from(value.len()).expect("short"));
    block.extend(value.as_bytes());
}

/// The headers of a question.
fn headers(token: Option<&str>) -> Vec<u8> {
    // `:method` POST and `:scheme` http.
    let mut block = vec![0x83, 0x86];
    header(&mut block, 4, "/callgate.v1.Authorization/Authorize");
    header(&mut block, 1, "localhost");
    header(&mut block, 31, "application/grpc");
    if let Some(token) = token {
        header(&mut block, 23, &format!("Bearer {token}"));
    }
    block
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// Asks and cancels it so often, and then whether the other end still answers. Says whether it does.
async fn survives_cancelling(address: &str, token: Option<&str>, count: u32) -> bool {
    let (mut reads, mut writes) = TcpStream::connect(address).await.expect("one").into_split();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS_FRAME, 0, 0, &[]));
    sent.extend(frame(SETTINGS_FRAME, ACK, 0, &[]));
    for number in 0..count {
        let stream = number * 2 + 1;
        sent.extend(frame(HEADERS, 4, stream, &headers(token)));
        sent.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    sent.extend(frame(PING, 0, 0, b"are you?"));
    let writing = tokio::spawn(async move {
        // The other end may have closed.
        let _ = writes.write_all(&sent).await;
        writes
    });
    let answers = async {
        loop {
            let mut head = [0; 9];
            if reads.read_exact(&mut head).await.is_err() {
                return false;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if reads.read_exact(&mut payload).await.is_err() || head[3] == GOAWAY {
                return false;
            }
            if head[3] == PING && head[4] == ACK {
                return true;
            }
        }
    };
    let answers = tokio::time::timeout(Duration::from_secs(10), answers).await;
    let _writes = writing.await;
    answers.expect("it answers or closes")
}

#[test]
fn a_caller_that_cancels_hundreds_keeps_its_connection() {
    let (_bundle, server) = start();
    runtime().block_on(are_cancelled(&server));
}

async fn are_cancelled(server: &Server) {
    let address = server.target();
    assert!(
        survives_cancelling(address, Some(TOKEN), 900).await,
        "a caller"
    );
    assert!(
        survives_cancelling(address, None, 20).await,
        "a stranger, sometimes"
    );
}
