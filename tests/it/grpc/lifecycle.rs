//! Health, reflection, overload, deadlines and the end of a server.

use std::time::{Duration, Instant};

use callgate::proto::v1;
use callgate::proto::v1::ReasonCode;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::authorize_stream_response::Outcome;
use callgate::proto::v1::control_client::ControlClient;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::in_process::{Running, call, start, start_empty, waiting};
use crate::support::worlds;

const SERVICE: &str = "callgate.v1.Authorization";

async fn health(server: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut client = HealthClient::new(server.channel().await);
    client
        .check(request)
        .await
        .expect("a status")
        .into_inner()
        .status()
}

#[tokio::test]
async fn health_says_serving_only_once_something_is_live() {
    let server = start_empty("", &[]).await;
    for name in ["", SERVICE] {
        assert_eq!(health(&server, name).await, ServingStatus::NotServing);
    }
    let status = server
        .client()
        .await
        .authorize(call("log"))
        .await
        .expect_err("nothing is loaded");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "no policies are loaded")
    );

    let request = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let mut watch = HealthClient::new(server.channel().await)
        .watch(request)
        .await
        .expect("a stream")
        .into_inner();
    let mut next = async || {
        watch
            .message()
            .await
            .expect("no error")
            .map(|it| it.status())
    };
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    server
        .service
        .publish(worlds::small().load())
        .expect("published");
    assert_eq!(next().await, Some(ServingStatus::Serving));
    for name in ["", SERVICE] {
        assert_eq!(health(&server, name).await, ServingStatus::Serving);
    }
    let mut server = server;
    server.stop();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(
        next().await,
        None,
        "those who watch do not hold the server up"
    );
    server.ended().await.expect("a clean end");
}

async fn bundle_becomes(server: &Running, wanted: ServingStatus) {
    let mut tries = 0;
    while health(server, "callgate.bundle").await != wanted {
        tries += 1;
        assert!(tries < 100, "never {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn health_tells_of_a_faulty_directory_and_serves_on() {
    let mut server = start("").await;
    bundle_becomes(&server, ServingStatus::Serving).await;
    server.bundle_is_good.send_replace(false);
    bundle_becomes(&server, ServingStatus::NotServing).await;
    assert_eq!(health(&server, SERVICE).await, ServingStatus::Serving);
    server.bundle_is_good.send_replace(true);
    bundle_becomes(&server, ServingStatus::Serving).await;
    // Whoever tells of it has ended, which is no good sign either.
    server.bundle_is_good = watch::channel(true).0;
    bundle_becomes(&server, ServingStatus::NotServing).await;
    assert_eq!(health(&server, SERVICE).await, ServingStatus::Serving);
}

#[tokio::test]
async fn reflection_answers_in_both_versions() {
    use tonic_reflection::pb::{v1 as new, v1alpha as old};

    let server = start("").await;
    let wanted = ["callgate.v1.Authorization", "grpc.health.v1.Health"];

    let ask = new::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            new::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut client =
        new::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let mut answers = client
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers
        .message()
        .await
        .expect("no error")
        .expect("an answer")
        .message_response;
    let Some(new::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer
    else {
        panic!("{answer:?}");
    };
    for name in wanted {
        assert!(list.service.iter().any(|it| it.name == name), "{list:?}");
    }

    let ask = old::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            old::server_reflection_request::MessageRequest::FileContainingSymbol(SERVICE.into()),
        ),
    };
    let mut client =
        old::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let mut answers = client
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers
        .message()
        .await
        .expect("no error")
        .expect("an answer")
        .message_response;
    let Some(old::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        answer
    else {
        panic!("{answer:?}");
    };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn a_watch_of_a_service_that_nobody_has_says_so_and_goes_on() {
    let mut server = start("").await;
    let request = HealthCheckRequest {
        service: "nobody".to_owned(),
    };
    let mut client = HealthClient::new(server.channel().await);
    let unknown = client.check(request.clone()).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    let mut told = client.watch(request).await.expect("a watch").into_inner();
    let first = told.message().await.expect("no error").expect("a status");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    let waits = tokio::time::timeout(Duration::from_millis(100), told.message());
    assert!(waits.await.is_err(), "it goes on");
    server.stop();
    let ended = tokio::time::timeout(Duration::from_secs(20), told.message()).await;
    assert!(!matches!(ended.expect("it ends"), Ok(Some(_))));
}

#[tokio::test]
async fn overload_is_shed_and_passes() {
    let server = start("[limits]\nconcurrent_requests = 2\nstale_wait_ms = 1500\n").await;
    let mut waiters = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        waiters.push(tokio::spawn(
            async move { client.authorize(waiting()).await },
        ));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = server
        .client()
        .await
        .authorize(call("log"))
        .await
        .expect_err("shed");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains("`limits.concurrent_requests`"),
        "{status:?}"
    );
    assert_eq!(
        health(&server, "").await,
        ServingStatus::Serving,
        "health is not shed"
    );
    for waiter in waiters {
        let answer = waiter
            .await
            .expect("no panic")
            .expect("an answer")
            .into_inner();
        assert_eq!(answer.reasons[0].code(), ReasonCode::Stale);
    }
    assert!(server.client().await.authorize(call("log")).await.is_ok());
}

/// Whoever waits for a revision says nothing of how long others wait.
#[tokio::test]
async fn what_waits_for_a_revision_takes_no_place_from_others() {
    // A wait is a third of what is given, far more than a server under load lets pass.
    let server = start("[limits]\nstale_wait_ms = 300\ndeadline_ms = 900\n").await;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let mut client = server.client().await;
        waiters.spawn(async move {
            for _ in 0..2 {
                let answer = client.authorize(waiting()).await.expect("an answer");
                let answer = answer.into_inner();
                assert_eq!(answer.reasons[0].code(), ReasonCode::Stale);
            }
        });
    }
    waiters.join_all().await;
    let mut control = ControlClient::new(server.channel().await);
    let status = control.get_status(v1::GetStatusRequest {}).await;
    let overload = status.expect("a status").into_inner().overload;
    let overload = overload.expect("told");
    assert!(!overload.is_limited, "{overload:?}");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_shed() {
    let server = start("[limits]\nopen_streams = 1\n").await;
    let open = async || {
        let (questions, asked) = tokio::sync::mpsc::channel::<v1::AuthorizeStreamRequest>(1);
        let answers = server
            .client()
            .await
            .authorize_stream(ReceiverStream::new(asked))
            .await;
        answers.map(|answers| (questions, answers.into_inner()))
    };
    let first = open().await.expect("a stream");
    let Err(status) = open().await else {
        panic!("a second stream")
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(first);
    let mut tries = 0;
    while open().await.is_err() {
        tries += 1;
        assert!(tries < 100, "room comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_that_is_in_a_hurry_is_not_kept_waiting() {
    let server = start("[limits]\nstale_wait_ms = 1900\n").await;
    let mut request = Request::new(waiting());
    request.set_timeout(Duration::from_millis(100));
    let asked_at = Instant::now();
    let status = server
        .client()
        .await
        .authorize(request)
        .await
        .expect_err("too late");
    // Whether the client's clock or the server's rings first, nobody hears an allow.
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    assert!(asked_at.elapsed() < Duration::from_millis(1_500));
}

#[tokio::test]
async fn a_request_whose_body_never_comes_meets_the_deadline() {
    let server = start("[limits]\ndeadline_ms = 300\nstale_wait_ms = 100\n").await;
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.expect("ready");
    let never = tokio_stream::pending::<v1::AuthorizeRequest>();
    let codec = callgate::proto::codec::ProtobufCodec::<v1::AuthorizeRequest, v1::AuthorizeResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/callgate.v1.Authorization/Authorize");
    let asked_at = Instant::now();
    let answer = grpc
        .client_streaming(Request::new(never), path, codec)
        .await;
    assert_eq!(answer.expect_err("no body").code(), Code::DeadlineExceeded);
    assert!(asked_at.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn stopping_loses_no_answer() {
    let mut server = start("[limits]\nstale_wait_ms = 800\n").await;
    let mut unary = server.client().await;
    let waiter = tokio::spawn(async move { unary.authorize(waiting()).await });

    let (questions, asked) = tokio::sync::mpsc::channel(8);
    let mut answers = server
        .client()
        .await
        .authorize_stream(ReceiverStream::new(asked))
        .await
        .expect("a stream")
        .into_inner();
    for (id, request) in [("slow", waiting()), ("next", call("log"))] {
        let question = v1::AuthorizeStreamRequest {
            correlation_id: id.into(),
            request: Some(request),
        };
        questions.send(question).await.expect("sent");
    }
    let idle = server.channel().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let address = server.address;
    server.stop();

    for (id, is_allowed) in [("slow", false), ("next", true)] {
        let answer = answers
            .message()
            .await
            .expect("no error")
            .expect("an answer");
        assert_eq!(answer.correlation_id, id);
        let Some(Outcome::Response(response)) = answer.outcome else {
            panic!("no decision for {id}")
        };
        assert_eq!(response.decision() == v1::Decision::Allow, is_allowed);
    }
    let end = answers.message().await.expect_err("the stream ends");
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("stopping"), "{end:?}");
    let answer = waiter
        .await
        .expect("no panic")
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.reasons[0].code(), ReasonCode::Stale);

    let stopped_at = Instant::now();
    server.ended().await.expect("a clean end");
    assert!(
        stopped_at.elapsed() < Duration::from_secs(5),
        "open connections do not hold the server up"
    );
    assert!(
        AuthorizationClient::new(idle)
            .authorize(call("log"))
            .await
            .is_err()
    );
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn stopping_takes_no_longer_than_it_may() {
    let mut server = start("[limits]\nstale_wait_ms = 1900\ndrain_ms = 200\n").await;
    let mut client = server.client().await;
    let waiter = tokio::spawn(async move { client.authorize(waiting()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop();
    let stopped_at = Instant::now();
    server.ended().await.expect("an end");
    assert!(stopped_at.elapsed() < Duration::from_millis(1_200));
    waiter.abort();
}
