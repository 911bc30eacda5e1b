use std::future::{Ready, ready};
use std::sync::Mutex;

use tokio::sync::oneshot;

use http::Request;
use tonic::body::Body;
use tonic::{Code, Status};

use super::*;
use crate::authn::certificate::Peer;
use crate::store::postgres::membership::Membership;

type Answer = Result<Response<ResponseBody>, Infallible>;
type Coming = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Answers with whatever future comes next.
#[derive(Clone)]
struct Script(Arc<Mutex<Vec<Coming>>>);

impl Script {
    fn of<F: Future<Output = Answer> + Send + 'static>(futures: Vec<F>) -> Self {
        let boxed = futures.into_iter().rev().map(|it| Box::pin(it) as Coming);
        Self(Arc::new(Mutex::new(boxed.collect())))
    }
}

impl<B> Service<AdmittedRequest<(), B>> for Script {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Coming;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: AdmittedRequest<(), B>) -> Self::Future {
        self.0
            .lock()
            .expect("not poisoned")
            .pop()
            .expect("a future")
    }
}

fn limits(concurrent_requests: u32, deadline_ms: u32) -> Arc<ArcSwap<Limits>> {
    let limits = Limits {
        concurrent_requests,
        deadline_ms,
        ..Limits::default()
    };
    Arc::new(ArcSwap::from_pointee(limits))
}

/// Admits everybody as one caller.
fn everybody() -> Admitter<()> {
    let caller = Arc::new(Caller::local());
    Arc::new(move |_| {
        let caller = Arc::clone(&caller);
        let framing = Framing::Whole;
        Ok(Admission {
            admitted: (),
            caller,
            framing,
            yields: true,
        })
    })
}

fn shielded<S>(inner: S, limits: Arc<ArcSwap<Limits>>) -> LoadShed<S, ()> {
    LoadShed::new(inner, everybody(), limits, Arc::default())
}

fn request(timeout: Option<&str>) -> ReceivedRequest<Body> {
    let builder = Request::builder();
    let builder = timeout.into_iter().fold(builder, |builder, text| {
        builder.header("grpc-timeout", text)
    });
    ReceivedRequest {
        request: builder.body(Body::empty()).expect("a request"),
        peer: Peer::default(),
    }
}

fn fine() -> Ready<Answer> {
    ready(Ok(Response::default()))
}

fn status_of(answer: Answer) -> Option<String> {
    let Ok(response) = answer;
    response
        .headers()
        .get("grpc-status")
        .map(|value| value.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn an_answer_in_time_passes_unchanged() {
    let mut shield = shielded(Script::of(vec![fine()]), limits(1, 1_000));
    assert_eq!(status_of(shield.call(request(None)).await), None);
}

#[tokio::test]
async fn one_request_too_many_is_shed_and_the_next_is_not() {
    let (answer, answered) = oneshot::channel::<()>();
    let waits: Coming = Box::pin(async move {
        let _ = answered.await;
        fine().await
    });
    let mut shield = shielded(Script::of(vec![waits, Box::pin(fine())]), limits(1, 5_000));
    let first = shield.call(request(None));
    let second = shield.clone().call(request(None));
    assert_eq!(
        status_of(second.await).as_deref(),
        Some("8"),
        "RESOURCE_EXHAUSTED"
    );
    answer.send(()).expect("awaited");
    assert_eq!(status_of(first.await), None);
    assert_eq!(status_of(shield.call(request(None)).await), None);
}

#[tokio::test]
async fn a_request_that_is_given_up_makes_room() {
    let futures: Vec<Coming> = vec![Box::pin(std::future::pending()), Box::pin(fine())];
    let mut shield = shielded(Script::of(futures), limits(1, 5_000));
    drop(shield.call(request(None)));
    assert_eq!(status_of(shield.call(request(None)).await), None);
}

#[tokio::test]
async fn a_panic_in_admission_is_answered_and_the_next_request_too() {
    let (panics, everybody) = (Mutex::new(true), everybody());
    let admit: Admitter<()> = Arc::new(move |head| {
        let is_first = panics.lock().is_ok_and(|mut it| std::mem::take(&mut *it));
        assert!(!is_first, "admission fails");
        everybody(head)
    });
    let load = Arc::default();
    let mut shield = LoadShed::new(
        Script::of(vec![fine()]),
        admit,
        limits(1, 1_000),
        Arc::clone(&load),
    );
    let status = status_of(shield.call(request(None)).await);
    assert_eq!(status.as_deref(), Some("13"), "INTERNAL");
    assert_eq!(load.requests.get(), 0);
    assert_eq!(status_of(shield.call(request(None)).await), None);
}

#[tokio::test]
async fn the_shorter_of_both_deadlines_holds() {
    for (configured_ms, asked, longest_ms) in [
        (50, None, 1_000),
        (5_000, Some("40m"), 1_000),
        (50, Some("8H"), 1_000),
        (50, Some("nonsense"), 1_000),
    ] {
        let mut shield = shielded(
            Script::of(vec![std::future::pending()]),
            limits(1, configured_ms),
        );
        let asked_at = Instant::now();
        let status = status_of(shield.call(request(asked)).await);
        assert_eq!(
            status.as_deref(),
            Some("4"),
            "DEADLINE_EXCEEDED for {asked:?}"
        );
        assert!(
            asked_at.elapsed() < Duration::from_millis(longest_ms),
            "{asked:?}"
        );
    }
}

/// Answers with what is left until the deadline that it finds.
#[derive(Clone)]
struct Told(Arc<Mutex<Option<Deadline>>>);

impl<B> Service<AdmittedRequest<(), B>> for Told {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AdmittedRequest<(), B>) -> Self::Future {
        *self.0.lock().expect("not poisoned") = Some(request.deadline);
        fine()
    }
}

#[tokio::test]
async fn whoever_answers_is_told_the_shorter_deadline() {
    for (configured_ms, asked, is_over) in [
        (60_000, None, false),
        (60_000, Some("8H"), false),
        (60_000, Some("0n"), true),
        (0, None, true),
        (0, Some("8H"), true),
    ] {
        let told = Told(Arc::default());
        let mut shield = shielded(told.clone(), limits(1, configured_ms));
        let status = status_of(shield.call(request(asked)).await);
        assert_eq!(status.as_deref(), is_over.then_some("4"));
        let deadline = told.0.lock().expect("not poisoned").expect("a deadline");
        assert_eq!(deadline.is_over(), is_over, "{configured_ms} {asked:?}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_makes_room() {
    let futures: Vec<Coming> = vec![Box::pin(async { panic!("a bug") }), Box::pin(fine())];
    let mut shield = shielded(Script::of(futures), limits(1, 1_000));
    assert_eq!(
        status_of(shield.call(request(None)).await).as_deref(),
        Some("13"),
        "INTERNAL"
    );
    assert_eq!(status_of(shield.call(request(None)).await), None);
}

#[test]
fn timeouts_are_read_as_grpc_writes_them() {
    for (text, wanted) in [
        ("1H", Some(Duration::from_secs(3_600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("4m", Some(Duration::from_millis(4))),
        ("5u", Some(Duration::from_micros(5))),
        ("99999999n", Some(Duration::from_nanos(99_999_999))),
        ("123456789S", None),
        ("S", None),
        ("", None),
        ("1", None),
        ("-1S", None),
        ("1s", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().expect("a header"));
        assert_eq!(grpc_timeout(&headers), wanted, "{text}");
    }
    assert_eq!(grpc_timeout(&HeaderMap::new()), None);
}

#[test]
fn a_refusal_counts_for_the_door_it_comes_from() {
    let malformed = || Status::invalid_argument("no").into_http();
    let refusal =
        |error_format: &ErrorFormat| error_format.rejection(&malformed()).map(|(door, _)| door);
    assert_eq!(refusal(&GRPC), Some("grpc"));
    let shield = shielded((), limits(1, 1)).for_adapter("ext_mcp");
    assert_eq!(refusal(&shield.error_format), Some("ext_mcp"));
    assert_eq!(shield.error_format.rejection(&Response::default()), None);
}

#[tokio::test]
async fn who_may_not_ask_takes_no_place_and_has_no_body_read() {
    let refuses: Admitter<()> = Arc::new(|_| {
        let refusal =
            GrpcRejection::from(crate::authn::authenticate::AuthenticationError::NoCredentials);
        Err(Box::new((GRPC.encode)(refusal)))
    });
    let load = Arc::new(ServerLoad::default());
    let script = Script::of(Vec::<Ready<Answer>>::new());
    let mut shield = LoadShed::new(script, refuses, limits(1, 1_000), Arc::clone(&load));
    let held: Vec<_> = (0..3).map(|_| shield.call(request(None))).collect();
    assert_eq!(load.requests.get(), 0);
    for refused in held {
        assert_eq!(status_of(refused.await).as_deref(), Some("16"));
    }
    assert_eq!(load.rejections().not_entitled, 3);
}

#[tokio::test]
async fn services_under_one_load_count_together() {
    let load = Arc::new(ServerLoad::default());
    let shield = |futures| {
        let script = Script::of(futures);
        LoadShed::new(script, everybody(), limits(1, 1_000), Arc::clone(&load))
    };
    let waits: Coming = Box::pin(std::future::pending());
    let first = shield(vec![waits]).call(request(None));
    let answer: Coming = Box::pin(fine());
    assert_eq!(
        status_of(shield(vec![answer]).call(request(None)).await).as_deref(),
        Some("8")
    );
    assert_eq!(load.rejections().requests, 1);
    drop(first);
    assert_eq!(load.requests.get(), 0);
}

#[tokio::test]
async fn one_caller_cannot_take_all_places() {
    let mut greedy = Caller::local();
    greedy.held.has_others = true;
    let greedy = Arc::new(greedy);
    let caller = Arc::clone(&greedy);
    let admit: Admitter<()> = Arc::new(move |_| {
        let (caller, framing) = (Arc::clone(&caller), Framing::Whole);
        Ok(Admission {
            admitted: (),
            caller,
            framing,
            yields: true,
        })
    });
    let futures: Vec<Coming> = (0..3)
        .map(|_| Box::pin(std::future::pending()) as _)
        .collect();
    let mut shield = LoadShed::new(Script::of(futures), admit, limits(4, 1_000), Arc::default());
    let held: Vec<_> = (0..3).map(|_| shield.call(request(None))).collect();
    let Ok(refused) = shield.call(request(None)).await;
    let said = Status::from_header_map(refused.headers()).expect("a status");
    assert_eq!(said.code(), Code::ResourceExhausted);
    assert!(
        said.message().contains("`limits.caller_share_percent`"),
        "{said}"
    );
    drop(held);
}

#[tokio::test]
async fn what_is_too_late_before_its_turn_is_not_begun() {
    let load: Arc<ServerLoad> = Arc::default();
    // Nothing to answer with: asking for it would panic, and that is another status.
    let inner = Script::of(Vec::<Coming>::new());
    let never: Coming = Box::pin(async { unreachable!("it is begun") });
    inner.0.lock().expect("not poisoned").push(never);
    let mut shield = LoadShed::new(inner, everybody(), limits(10, 1_000), Arc::clone(&load));
    let late = shield.call(request(Some("20m")));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(status_of(late.await).as_deref(), Some("4"));
    assert_eq!(load.pressure.expired.get(), 1);
    assert_eq!(load.requests.get(), 0);
}

#[tokio::test]
async fn so_is_what_waits_for_its_turn_in_the_round_in_which_it_came() {
    let never: Coming = Box::pin(async { unreachable!("it is begun") });
    let mut shield = shielded(Script::of(vec![never]), limits(10, 1_000));
    let answer = round_time::in_round(|| {
        let mut late = shield.call(request(Some("20m")));
        // Those before it take so long.
        std::thread::sleep(Duration::from_millis(40));
        Pin::new(&mut late).poll(&mut Context::from_waker(Waker::noop()))
    });
    let Poll::Ready(answer) = answer else {
        panic!("it is begun");
    };
    assert_eq!(status_of(answer).as_deref(), Some("4"));
}

#[tokio::test]
async fn the_limit_that_waiting_brings_holds_for_questions_and_not_for_changes() {
    let load: Arc<ServerLoad> = Arc::default();
    for _ in 0..8 {
        let given = Duration::from_secs(1);
        load.pressure
            .record(std::time::Instant::now(), (given, given), 6, 1_000);
    }
    assert_eq!(load.pressure.limit(1_000), 4);
    let caller = Arc::new(Caller::local());
    let change: Admitter<()> = Arc::new(move |_| {
        Ok(Admission {
            admitted: (),
            caller: Arc::clone(&caller),
            framing: Framing::Whole,
            yields: false,
        })
    });
    load.requests.add(4);
    let ask = |admit: Admitter<()>| {
        let inner = Script::of(vec![fine()]);
        LoadShed::new(inner, admit, limits(1_000, 1_000), Arc::clone(&load)).call(request(None))
    };
    assert_eq!(status_of(ask(everybody()).await).as_deref(), Some("8"));
    assert_eq!(load.pressure.shed.get(), 1);
    assert_eq!(load.requests_refused.get(), 0);
    assert_eq!(status_of(ask(change).await), None);
}

#[tokio::test]
async fn a_change_has_the_time_that_silent_replicas_may_take() {
    let staleness = Duration::from_millis(200);
    let membership = Membership::unconnected().expect("a membership");
    let fleet = Arc::new(FleetState::new(membership, staleness, 0));
    let ask = |yields, fleet: Option<&Arc<FleetState>>, timeout| {
        let slow: Coming = Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            fine().await
        });
        let caller = Arc::new(Caller::local());
        let admit: Admitter<()> = Arc::new(move |_| {
            Ok(Admission {
                admitted: (),
                caller: Arc::clone(&caller),
                framing: Framing::Whole,
                yields,
            })
        });
        LoadShed::new(
            Script::of(vec![slow]),
            admit,
            limits(10, 100),
            Arc::default(),
        )
        .in_fleet(fleet.cloned())
        .call(request(timeout))
    };
    let late = Some("4");
    assert_eq!(status_of(ask(false, Some(&fleet), None).await), None);
    assert_eq!(status_of(ask(false, None, None).await).as_deref(), late);
    assert_eq!(
        status_of(ask(true, Some(&fleet), None).await).as_deref(),
        late,
        "a question"
    );
    let hurried = ask(false, Some(&fleet), Some("100m"));
    assert_eq!(
        status_of(hurried.await).as_deref(),
        late,
        "its client waits no longer"
    );
}

#[tokio::test]
async fn a_request_that_waits_for_work_apart_does_not_lower_the_limit() {
    let waits = async || tokio::time::sleep(Duration::from_millis(100)).await;
    for is_apart in [true, false] {
        let load = Arc::<ServerLoad>::default();
        let answers = (0..20).map(|_| async move {
            match is_apart {
                true => off_thread::off_thread(waits()).await,
                false => waits().await,
            }
            fine().await
        });
        let inner = Script::of(answers.collect());
        let mut shield = LoadShed::new(inner, everybody(), limits(1_000, 400), Arc::clone(&load));
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..20 {
            asked.spawn(shield.call(request(None)));
        }
        for answer in asked.join_all().await {
            assert_eq!(status_of(answer), None);
        }
        assert_eq!(load.pressure.is_reduced(1_000), !is_apart);
    }
}

#[tokio::test]
async fn a_deadline_of_its_own_client_does_not_lower_the_limit() {
    for is_hurried in [true, false] {
        let load = Arc::<ServerLoad>::default();
        let answers = (0..20).map(|_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            fine().await
        });
        // All of what its client gives, and little of what counts: a tenth of the longest, ten seconds or half a second.
        let longest = if is_hurried { 100_000 } else { 5_000 };
        let inner = Script::of(answers.collect());
        let mut shield = LoadShed::new(
            inner,
            everybody(),
            limits(1_000, longest),
            Arc::clone(&load),
        );
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..20 {
            asked.spawn(shield.call(request(Some("150m"))));
        }
        asked.join_all().await;
        assert_eq!(load.pressure.is_reduced(1_000), !is_hurried);
    }
}
