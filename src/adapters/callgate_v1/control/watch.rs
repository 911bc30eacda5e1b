//! `WatchChanges` and `WatchApprovals`: streams that end when the client cancels, the server drains, or the
//! caller loses its right.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::adapters::callgate_v1::control::state::ControlState;
use crate::adapters::callgate_v1::control::{encode, status};
use crate::adapters::transport::grpc_admission::{AdmittedCaller, take_admission};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::{Caller, Rights, Rpc};
use crate::authn::capacity::CapacityPermit;
use crate::control::live_view::ApprovalView;
use crate::control::watch::{ApprovalWatch, ChangeWatch, WatchError};
use crate::domain::authority::change::ChangeRecord;
use crate::proto::v1;
use crate::service::generation::Generation;

/// The response stream of a watch.
pub type WatchStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The number of messages buffered for a client.
const AHEAD: usize = 16;

/// The source of a watch's messages.
pub(super) trait WatchSource: Send + 'static {
    /// What happened.
    type News: Send + 'static;
    /// The message on the wire.
    type Item: Send + 'static;

    /// Waits for the next event.
    fn next(&mut self) -> impl Future<Output = Result<Self::News, WatchError>> + Send;

    /// Encodes an event for a caller with these rights.
    fn message(&self, news: Self::News, rights: &Rights) -> Self::Item;
}

/// Changes of the stored authority.
pub(super) struct ChangeSource(pub(super) ChangeWatch);

/// Approvals that match a filter.
pub(super) struct ApprovalSource(pub(super) ApprovalWatch);

impl WatchSource for ChangeSource {
    type News = (Arc<ChangeRecord>, Arc<Generation>);
    type Item = v1::WatchChangesResponse;

    async fn next(&mut self) -> Result<Self::News, WatchError> {
        self.0.next().await
    }

    fn message(&self, (entry, generation): Self::News, rights: &Rights) -> Self::Item {
        encode::change(&generation, &entry, rights)
    }
}

impl WatchSource for ApprovalSource {
    type News = (ApprovalView, u64);
    type Item = v1::WatchApprovalsResponse;

    async fn next(&mut self) -> Result<Self::News, WatchError> {
        self.0.next().await
    }

    fn message(&self, (approval, revision): Self::News, rights: &Rights) -> Self::Item {
        v1::WatchApprovalsResponse {
            approval: Some(encode::approval(approval, rights)),
            revision,
        }
    }
}

/// An admitted watch, which holds one of `limits.watchers` slots.
pub(super) struct Watcher {
    shared: Arc<ControlState>,
    rpc: Rpc,
    admitted: AdmittedCaller,
    _place: CapacityPermit,
}

impl Watcher {
    /// Admits a watch and returns its request.
    pub(super) fn admit<T>(
        shared: &Arc<ControlState>,
        request: Request<T>,
        rpc: Rpc,
    ) -> Result<(Self, T), GrpcRejection> {
        let (_, mut extensions, message) = request.into_parts();
        let admitted = take_admission(&mut extensions, rpc)?;
        let limits = shared.limits.load();
        let limit = limits.watchers;
        let place = admitted.acquire_slot(
            &shared.watchers,
            |held| &held.watches,
            &limits,
            (limit, "watchers"),
            GrpcRejection::TooManyWatchers { limit },
        )?;
        let watcher = Self {
            shared: Arc::clone(shared),
            rpc,
            admitted,
            _place: place,
        };
        Ok((watcher, message))
    }

    pub(super) fn caller(&self) -> &Caller {
        self.admitted.caller()
    }

    /// Authenticates again if the callers were reloaded since.
    fn check(&mut self) -> Result<(), GrpcRejection> {
        self.admitted.reauthenticate(self.rpc).map(|_| ())
    }

    /// Streams the messages of a source.
    pub(super) fn tell<S: WatchSource>(self, source: S) -> WatchStream<S::Item> {
        let (out, told) = mpsc::channel(AHEAD);
        tokio::spawn(self.run(source, out));
        Box::pin(ReceiverStream::new(told))
    }

    async fn run<S: WatchSource>(
        mut self,
        mut source: S,
        out: mpsc::Sender<Result<S::Item, Status>>,
    ) {
        let draining = self.shared.draining.clone();
        loop {
            let next = tokio::select! {
                biased;
                () = out.closed() => return,
                () = draining.cancelled() => Err(GrpcRejection::Draining.into()),
                next = source.next() => {
                    next.map_err(|end| status::end_of_watch(end, self.caller()))
                }
            };
            let next = match (next, self.check()) {
                (Ok(news), Ok(())) => Ok(source.message(news, &self.caller().rights)),
                (Err(status), _) => Err(status),
                (_, Err(refusal)) => Err(refusal.into()),
            };
            let is_end = next.is_err();
            let sent = tokio::select! {
                sent = out.send(next) => sent,
                // A client that does not read cannot be sent the reason for the end either.
                () = draining.cancelled(), if !is_end => return,
            };
            if is_end || sent.is_err() {
                return;
            }
        }
    }
}
