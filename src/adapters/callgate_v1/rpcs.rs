//! The RPCs of `callgate.v1.Authorization`: each admits a request and hands it on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::adapters::callgate_v1::authorization::{AuthorizationState, Outcome};
use crate::adapters::callgate_v1::stream::{self, AuthorizeStreamResponses};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::adapters::transport::grpc_unary::UnaryRpcs;
use crate::audit::turn::others_turn;
use crate::authn::caller::Rpc;
use crate::config::limits::Limits;
use crate::proto::codec::{self, EncodedMessage};
use crate::proto::served::authorization_server;
use crate::proto::{served, v1};
use crate::service::Service;
use crate::service::deadline::Deadline;

/// `callgate.v1.Authorization`. Cloning is cheap.
#[derive(Clone)]
pub struct Authorization {
    shared: Arc<AuthorizationState>,
}

impl Authorization {
    /// Creates the RPCs. Streams end once `draining` is cancelled.
    pub fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(AuthorizationState::new(service, limits, draining)),
        }
    }
}

impl Authorization {
    async fn decide(
        &self,
        admitted: &AdmittedRpc,
        message: served::AuthorizeRequest,
    ) -> Result<EncodedMessage<v1::AuthorizeResponse>, GrpcRejection> {
        match self.shared.authorize_now(admitted.context(), message)? {
            Outcome::Decided(answer) => {
                // The connection writes whatever is ready when it is woken. Yielding lets other requests be decided
                // first, so that several responses are written at once, which saves more than it costs. Those that wait
                // for the decision log are written at once anyway.
                others_turn().await;
                Ok(answer)
            }
            // The server has a timer for the whole request already.
            Outcome::Unrecorded(response, detail) => {
                self.shared.recorded(response, detail, Deadline::NONE).await
            }
            Outcome::Undecided(waiting) => {
                Box::pin(self.shared.finish(waiting, Deadline::NONE)).await
            }
            Outcome::Unexplained(ask, waiting) => {
                Box::pin(self.shared.explained(ask, waiting, Deadline::NONE)).await
            }
        }
    }
}

impl UnaryRpcs for Authorization {
    /// Those of which there are many.
    fn serves(rpc: Rpc) -> bool {
        matches!(rpc, Rpc::Authorize | Rpc::FilterTools | Rpc::IsAuthorized)
    }

    async fn answer(&self, _: &str, rpc: AdmittedRpc, message: Bytes) -> Result<Bytes, Status> {
        let asking = rpc.context();
        match rpc.rpc {
            Rpc::FilterTools => {
                let answer = self.shared.filter_tools(asking, codec::decode(message)?);
                Box::pin(answer).await?.into_frame()
            }
            Rpc::IsAuthorized => {
                let answer = self.shared.is_authorized(asking, codec::decode(message)?);
                Box::pin(answer).await?.into_frame()
            }
            _ => {
                let answer = self.decide(&rpc, codec::decode(message)?).await?;
                answer.into_frame()
            }
        }
    }
}

#[tonic::async_trait]
impl authorization_server::Authorization for Authorization {
    async fn authorize(
        &self,
        request: Request<served::AuthorizeRequest>,
    ) -> Result<Response<EncodedMessage<v1::AuthorizeResponse>>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::Authorize)?;
        Ok(Response::new(self.decide(&admitted, message).await?))
    }

    async fn authorize_batch(
        &self,
        request: Request<served::AuthorizeBatchRequest>,
    ) -> Result<Response<EncodedMessage<v1::AuthorizeBatchResponse>>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::AuthorizeBatch)?;
        Ok(Response::new(
            self.shared
                .authorize_batch(admitted.context(), message.requests)
                .await?,
        ))
    }

    type AuthorizeStreamStream = AuthorizeStreamResponses;

    async fn authorize_stream(
        &self,
        request: Request<Streaming<served::AuthorizeStreamRequest>>,
    ) -> Result<Response<AuthorizeStreamResponses>, Status> {
        Ok(Response::new(stream::answer(&self.shared, request)?))
    }

    async fn filter_tools(
        &self,
        request: Request<served::FilterToolsRequest>,
    ) -> Result<Response<EncodedMessage<v1::FilterToolsResponse>>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::FilterTools)?;
        Ok(Response::new(
            self.shared
                .filter_tools(admitted.context(), message)
                .await?,
        ))
    }

    async fn is_authorized(
        &self,
        request: Request<served::IsAuthorizedRequest>,
    ) -> Result<Response<EncodedMessage<v1::IsAuthorizedResponse>>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::IsAuthorized)?;
        Ok(Response::new(
            self.shared
                .is_authorized(admitted.context(), message)
                .await?,
        ))
    }

    async fn report_outcome(
        &self,
        request: Request<served::ReportOutcomeRequest>,
    ) -> Result<Response<v1::ReportOutcomeResponse>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::ReportOutcome)?;
        Ok(Response::new(
            self.shared
                .report_outcome(admitted.context(), message)
                .await?,
        ))
    }
}
