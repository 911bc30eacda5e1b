//! The service behind the RPCs of `callgate.v1.Control`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::adapters::callgate_v1::control::encode_status;
use crate::adapters::callgate_v1::control::state::ControlState;
use crate::adapters::callgate_v1::control::status::status_for;
use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::FieldError;
use crate::authn::caller::{Rights, Rpc};
use crate::authn::capacity::UsageCount;
use crate::config::limits::Limits;
use crate::control::blocking_lane::BlockingLane;
use crate::control::error::ControlError;
use crate::control::write::Control;
use crate::proto::v1;
use crate::service::Service;
use crate::service::server_load::ServerLoad;

/// `callgate.v1.Control`. Cloning is cheap.
#[derive(Clone)]
pub struct ControlApi {
    pub(super) shared: Arc<ControlState>,
}

impl ControlApi {
    /// Creates the RPCs. Streams end once `draining` is cancelled.
    pub fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(ControlState {
                control: Arc::new(Control::new(service, Arc::clone(&limits))),
                limits,
                types: EntityTypeCache::default(),
                draining,
                watchers: UsageCount::default(),
                explanations: BlockingLane::default(),
                load: Arc::default(),
            }),
        }
    }

    /// Reports this load in `GetStatus`.
    pub fn carrying(mut self, load: Arc<ServerLoad>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.load = load;
        }
        self
    }

    /// What `GetStatus` and `/statusz` say, whoever asks. Fails as [`Control::status`].
    pub async fn status(&self) -> Result<v1::GetStatusResponse, ControlError> {
        let status = self.control().status().await?;
        let limits = self.shared.limits.load();
        Ok(encode_status::status(status, &self.shared.load, &limits))
    }

    /// Admits and parses a request for stored things, and lists them apart from the threads that answer decisions.
    pub(super) async fn list<M, Q, R>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&MessageParser<'_>, M) -> Result<Q, FieldError>,
        list: impl FnOnce(&Control, &Q, &Rights) -> Result<R, ControlError> + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        R: Send + 'static,
    {
        let (caller, query) = self.shared.read(request, rpc, parse)?;
        let reader = Arc::clone(&caller);
        let list = move |control: &Control| list(control, &query, &reader.rights);
        let listed = self.shared.control.run_blocking(list).await;
        Ok(Response::new(listed.map_err(status_for(&caller))?))
    }

    pub(super) fn control(&self) -> &Arc<Control> {
        &self.shared.control
    }
}
