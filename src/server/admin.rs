//! Probes and scrapes over plain HTTP, on listeners of their own: `/livez`, `/readyz`, `/statusz` and `/metrics`.
//!
//! They need no credential and no TLS, so nothing else is served here. They have connections of their own too: a server that
//! sheds load still says that it lives.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value as Json, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use crate::adapters::callgate_v1::control::rpcs::ControlApi;
use crate::adapters::transport::request::ReceivedRequest;
use crate::adapters::transport::response_body::ResponseBody;
use crate::config::limits::Limits;
use crate::proto::json as proto_json;
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::parts::ServerParts;
use crate::server::reloadable_tls::ReloadableTls;
use crate::service::fleet::Fleet;
use crate::telemetry::export::prometheus::{MetricsFormat, MetricsScraper};
use crate::telemetry::record::recorder::Recorder;

/// The most connections of probes and scrapes.
const CONNECTIONS: u32 = 64;
/// How long a request waits for the one before it that reads status or metrics.
const TURN: Duration = Duration::from_secs(5);

pub(super) const LIVE: &str = "/livez";
const READY: &str = "/readyz";
const STATUS: &str = "/statusz";
const METRICS: &str = "/metrics";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The future of a response.
type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

/// Answers probes and scrapes.
#[derive(Clone)]
pub(super) struct AdminService(Arc<AdminState>);

struct AdminState {
    service: Arc<crate::service::Service>,
    control: ControlApi,
    tls: Option<ReloadableTls>,
    metrics: Option<MetricsScraper>,
    draining: CancellationToken,
    /// Status and metrics are read one at a time, as they cost more than a probe.
    turn: Semaphore,
}

/// The limiter of the connections of probes, which take none from callers.
pub(super) fn limiter(limits: &Limits) -> ConnectionLimiter {
    let limits = Limits {
        connections: CONNECTIONS,
        ..limits.clone()
    };
    ConnectionLimiter::new(&limits, Arc::default())
}

impl AdminService {
    /// The service of a server, which is not ready once `draining` is cancelled.
    pub(super) fn new(
        parts: &ServerParts,
        control: ControlApi,
        draining: CancellationToken,
    ) -> Self {
        Self(Arc::new(AdminState {
            service: Arc::clone(&parts.service),
            control,
            tls: parts.tls.clone(),
            metrics: parts.metrics.clone(),
            draining,
            turn: Semaphore::new(1),
        }))
    }
}

impl<B> Service<ReceivedRequest<B>> for AdminService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, received: ReceivedRequest<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let (head, _) = received.request.into_parts();
        Box::pin(async move { Ok(inner.answer(&head).await.map(ResponseBody::from)) })
    }
}

impl AdminState {
    async fn answer(&self, request: &Parts) -> Response<Body> {
        if let Some(refused) = refused(request) {
            return refused;
        }
        match request.uri.path() {
            LIVE => alive(),
            READY => match self.unready() {
                None => response(StatusCode::OK, TEXT, "ready\n"),
                Some(why) => not_ready(why),
            },
            path => self.in_turn(path, request).await,
        }
    }

    /// What costs more than a probe.
    async fn in_turn(&self, path: &str, request: &Parts) -> Response<Body> {
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN, self.turn.acquire()).await else {
            let busy = "the request before this one is not answered yet\n";
            return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, busy);
        };
        if path == STATUS {
            return self.statusz().await;
        }
        let accept = request.headers.get(ACCEPT);
        let accept = accept.and_then(|it| it.to_str().ok());
        self.scrape(MetricsFormat::accepted(accept)).await
    }

    /// Why no requests should be sent here; `None` if they may.
    fn unready(&self) -> Option<&'static str> {
        if self.draining.is_cancelled() {
            Some("the server is stopping")
        } else if self.service.live().is_none() {
            Some("no policies are loaded")
        } else if self.is_stale() {
            Some("the database has not confirmed this replica in time, so it denies every call")
        } else {
            None
        }
    }

    /// Whether this is a replica that is not confirmed. Others may decide.
    fn is_stale(&self) -> bool {
        let fleet = self.service.fleet().map(Fleet::state);
        fleet.is_some_and(|state| !state.is_valid())
    }

    /// What `GetStatus` says, in Protobuf's JSON form, and what concerns this server alone.
    async fn statusz(&self) -> Response<Body> {
        let unready = self.unready();
        let mut answer = json!({
            "ready": unready.is_none(),
            "certificates": self.tls.as_ref().map(certificates),
            "exporters": exporters(self.service.recorder()),
        });
        if let Some(why) = unready {
            answer["notReady"] = why.into();
        }
        let said = match self.control.status().await {
            Ok(status) => {
                proto_json::write("GetStatusResponse", &status).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let code = match said {
            Ok(status) => {
                answer["status"] = status;
                StatusCode::OK
            }
            Err(error) => {
                answer["error"] = error.into();
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        response(code, JSON, format!("{answer:#}\n"))
    }

    async fn scrape(&self, format: MetricsFormat) -> Response<Body> {
        let Some(metrics) = self.metrics.clone() else {
            let none = "this server has no metrics\n";
            return response(StatusCode::NOT_FOUND, TEXT, none);
        };
        // Reading them waits for locks and may look at files.
        let read = tokio::task::spawn_blocking(move || metrics.text(format)).await;
        match read.map_err(|error| error.to_string()) {
            Ok(Ok(text)) => response(StatusCode::OK, format.content_type(), text),
            Ok(Err(error)) => unavailable(&error.to_string()),
            Err(error) => unavailable(&error),
        }
    }
}

/// The response to what is no probe and no scrape.
pub(super) fn refused(request: &Parts) -> Option<Response<Body>> {
    if !matches!(request.uri.path(), LIVE | READY | STATUS | METRICS) {
        let known = format!("there is {LIVE}, {READY}, {STATUS} and {METRICS}\n");
        return Some(response(StatusCode::NOT_FOUND, TEXT, known));
    }
    if matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n");
    let allowed = HeaderValue::from_static("GET, HEAD");
    refused.headers_mut().insert(ALLOW, allowed);
    Some(refused)
}

/// The response to [`LIVE`].
pub(super) fn alive() -> Response<Body> {
    response(StatusCode::OK, TEXT, "ok\n")
}

/// The response of a server that is not ready.
pub(super) fn not_ready(why: &str) -> Response<Body> {
    unavailable(&format!("not ready: {why}"))
}

fn unavailable(why: &str) -> Response<Body> {
    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"))
}

fn certificates(tls: &ReloadableTls) -> Json {
    let current = tls.current();
    let fault = tls.fault();
    json!({
        "expiresAt": current.expires_at.map(time),
        "clientCaExpiresAt": current.client_ca_expires_at.map(time),
        "fault": fault.as_ref().map(|it| it.error.clone()),
        "faultAt": fault.as_ref().map(|it| time(it.at)),
    })
}

/// How the exporters fare, by signal; null for a signal that is not exported.
fn exporters(recorder: &Recorder) -> Json {
    let mut all = Map::new();
    for (signal, state) in recorder.exporters() {
        let state = state.map(|state| {
            let failing = state.failing.as_ref();
            json!({
                "endpoint": state.endpoint,
                "protocol": state.protocol,
                "exportedAt": state.exported_at.map(time),
                "failingSince": failing.map(|it| time(it.since)),
                "failures": failing.map(|it| it.count),
                "error": failing.map(|it| &it.error),
            })
        });
        all.insert(signal.as_str().to_owned(), state.into());
    }
    Json::Object(all)
}

/// RFC 3339, UTC.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
