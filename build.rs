//! Compiles the protocol files with a compiler that is itself a crate, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const AUTHORIZATION: &str = "callgate/v1/authorization.proto";
const CODEC: &str = "crate::proto::codec::ProtobufCodec";

/// The responses that are encoded without a message.
const ENCODED: [&str; 5] = [
    "AuthorizeResponse",
    "AuthorizeBatchResponse",
    "AuthorizeStreamResponse",
    "FilterToolsResponse",
    "IsAuthorizedResponse",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut descriptors = protox::compile(
        [
            "agentgateway/ext_mcp.proto",
            "callgate/audit/v1/audit.proto",
            AUTHORIZATION,
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
        .codec_path(CODEC)
        .compile_fds(descriptors.clone())?;
    // Once more the service that decides: its responses are written as bytes, and no message is built for them.
    let served = out.join("served");
    std::fs::create_dir_all(&served)?;
    let mut service = tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".callgate.v1", "crate::proto::v1")
        .codec_path(CODEC)
        .out_dir(served);
    for name in ENCODED {
        let encoded = format!("crate::proto::codec::EncodedMessage<crate::proto::v1::{name}>");
        service = service.extern_path(format!(".callgate.v1.{name}"), encoded);
    }
    descriptors.file.retain(|file| file.name() == AUTHORIZATION);
    service.compile_fds(descriptors)?;
    Ok(())
}
