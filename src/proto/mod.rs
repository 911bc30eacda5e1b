//! The messages and services compiled from `proto/`.
//!
//! Invariant: generated code, its codec and the wire format, nothing else.

pub mod codec;
pub mod json;
mod json_keys;
pub mod wire;

/// Package `callgate.v1`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("callgate.v1");

    /// The compiled descriptors, for server reflection.
    pub const DESCRIPTOR: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/callgate_descriptor.bin"));
}

/// What `callgate.v1.Authorization` serves: the same service, whose requests have the bytes that came in place of texts, and
/// whose responses are [encoded](codec::EncodedMessage) already.
#[allow(missing_docs, clippy::all)]
pub mod served {
    include!(concat!(env!("OUT_DIR"), "/served/callgate.v1.rs"));
}

/// Package `callgate.audit.v1`: records of the decision log on disk.
#[allow(missing_docs, clippy::all)]
pub mod audit {
    tonic::include_proto!("callgate.audit.v1");
}

/// The protocol of agentgateway.
#[allow(missing_docs, clippy::all)]
pub mod agentgateway {
    /// Package `agentgateway.dev.ext_mcp`.
    pub mod ext_mcp {
        tonic::include_proto!("agentgateway.dev.ext_mcp");
    }
}

/// The protocols of Envoy.
#[allow(missing_docs, clippy::all)]
pub mod envoy {
    /// Package `envoy.service.auth.v3`.
    pub mod auth {
        tonic::include_proto!("envoy.service.auth.v3");
    }

    /// What `Authorization` serves: the same service, whose requests have the bytes that came in place of texts.
    pub mod auth_served {
        include!(concat!(env!("OUT_DIR"), "/served/envoy.service.auth.v3.rs"));
    }

    /// Package `envoy.service.ext_proc.v3`.
    pub mod processing {
        tonic::include_proto!("envoy.service.ext_proc.v3");
    }
}
