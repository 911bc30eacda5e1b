//! Compiles the protocol files with a compiler that is itself a crate, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(
        [
            "agentgateway/ext_mcp.proto",
            "callgate/audit/v1/audit.proto",
            "callgate/v1/authorization.proto",
            "callgate/v1/control.proto",
            "envoy/service/auth/v3/external_auth.proto",
            "envoy/service/ext_proc/v3/external_processor.proto",
        ],
        ["proto"],
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Reflection serves the descriptors as they were compiled, comments left out.
    let encoded = protox::prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out.join("callgate_descriptor.bin"), encoded)?;
    tonic_prost_build::configure()
        // A call is a large message in a small one that is handed on often.
        .boxed(".callgate.v1.AuthorizeRequest.call_context")
        .boxed(".callgate.v1.FilterToolsRequest.call_context")
        // Maps of requests have few entries.
        .btree_map(".")
        .bytes(".")
        .codec_path("crate::proto::codec::ProtobufCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
