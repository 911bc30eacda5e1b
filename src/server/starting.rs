//! Answers probes while the server starts and has nothing to serve yet: it lives, and is not ready.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};

use http::Response;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service;

use crate::adapters::transport::request::ReceivedRequest;
use crate::adapters::transport::response_body::ResponseBody;
use crate::config::limits::Limits;
use crate::server::admin;
use crate::server::connections::{ConnectionSettings, Protocol};
use crate::server::listen::Listener;
use crate::server::{Servers, keepalive, spawn};

/// Answers on the listeners of probes until it is dropped. They stay bound: who connects later is answered by the server.
pub struct StartingProbes {
    _servers: Servers,
    _ends: DropGuard,
}

impl StartingProbes {
    /// Begins to answer; `why` is what `/readyz` says.
    ///
    /// # Errors
    ///
    /// If a listener cannot be shared.
    pub fn start(listeners: &[Listener], limits: &Limits, why: &'static str) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let mut servers = Servers::default();
        let limiter = admin::limiter(limits);
        for listener in listeners.iter().filter_map(Listener::admin_again) {
            let incoming = listener?.incoming(limiter.clone(), keepalive(limits));
            let settings = ConnectionSettings::new(limits, Protocol::Http);
            spawn(&mut servers, settings, NotReady { why }, incoming, &ended);
        }
        Ok(Self {
            _servers: servers,
            _ends: ended.drop_guard(),
        })
    }
}

/// A server that starts.
#[derive(Clone)]
struct NotReady {
    why: &'static str,
}

impl<B> Service<ReceivedRequest<B>> for NotReady {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, received: ReceivedRequest<B>) -> Self::Future {
        let (head, _) = received.request.into_parts();
        let response = admin::refused(&head).unwrap_or_else(|| match head.uri.path() {
            admin::LIVE => admin::alive(),
            _ => admin::not_ready(self.why),
        });
        ready(Ok(response.map(ResponseBody::from)))
    }
}
