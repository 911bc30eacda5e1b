//! Every integration test, in one binary.

mod adapters_agree;
mod agentdojo;
mod agentgateway;
mod architecture;
mod audit;
mod bundle;
mod cli;
mod control;
mod docs;
mod engine;
mod envoy;
mod evidence;
mod gateways;
mod grpc;
mod hold;
mod http;
mod live;
mod one_reading;
mod ops;
mod policies;
mod replay;
mod scenarios;
mod store;
mod support;
mod telemetry;
