//! Compiles the protocol files with a compiler that is itself a crate, so that no `protoc` is needed.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic_prost_build::Builder;

const AUTHORIZATION: &str = "callgate/v1/authorization.proto";
const EXT_AUTHZ: &str = "envoy/service/auth/v3/external_auth.proto";
const CODEC: &str = "crate::proto::codec::ProtobufCodec";

/// A service that decides, which is compiled once more.
struct Served {
    file: &'static str,
    /// The module of its other messages.
    module: &'static str,
    /// The responses that are encoded without a message.
    encoded: &'static [&'static str],
    /// Whether maps of texts are lists of the entries that came, which is what they are on the wire.
    has_entries: bool,
}

const SERVED: [Served; 2] = [
    Served {
        file: AUTHORIZATION,
        module: "crate::proto::v1",
        encoded: &[
            "AuthorizeResponse",
            "AuthorizeBatchResponse",
            "AuthorizeStreamResponse",
            "FilterToolsResponse",
            "IsAuthorizedResponse",
        ],
        has_entries: false,
    },
    Served {
        file: EXT_AUTHZ,
        module: "crate::proto::envoy::auth",
        encoded: &[],
        has_entries: true,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(
        [
            "agentgateway/ext_mcp.proto",
            "callgate/audit/v1/audit.proto",
            AUTHORIZATION,
            "callgate/v1/control.proto",
            EXT_AUTHZ,
            "envoy/service/ext_proc/v3/external_processor.proto",
        ],
        ["proto"],
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Reflection serves the descriptors as they were compiled, comments left out.
    let encoded = protox::prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out.join("callgate_descriptor.bin"), encoded)?;
    builder().compile_fds(descriptors.clone())?;
    let out = out.join("served");
    std::fs::create_dir_all(&out)?;
    for service in SERVED {
        compile_served(descriptors.clone(), &service, out.clone())?;
    }
    Ok(())
}

/// How messages and services are compiled.
fn builder() -> Builder {
    tonic_prost_build::configure()
        // A call is a large message in a small one, of which a batch has many before they are counted.
        .boxed(".callgate.v1.AuthorizeRequest.call_context")
        .boxed(".callgate.v1.FilterToolsRequest.call_context")
        // Maps of requests have few entries.
        .btree_map(".")
        .bytes(".")
        .codec_path(CODEC)
}

/// Compiles a service that decides once more: texts of its requests are held as the bytes that came and not copied, and
/// responses of decisions may be written as bytes, without a message.
fn compile_served(
    mut descriptors: FileDescriptorSet,
    service: &Served,
    out: PathBuf,
) -> Result<(), Box<dyn Error>> {
    descriptors
        .file
        .retain(|file| file.name() == service.file || file.package() == "google.protobuf");
    let mut builder = builder().build_client(false).out_dir(out);
    let mut files = descriptors.file.iter_mut();
    if let Some(file) = files.find(|file| file.name() == service.file) {
        let package = format!(".{}", file.package());
        let requests = requests(file, &package);
        let other = |name: &str| !requests.contains(&format!("{package}.{name}"));
        let enums = file.enum_type.iter().map(EnumDescriptorProto::name);
        let messages = file.message_type.iter().map(DescriptorProto::name);
        for name in messages.filter(|name| other(name)).chain(enums) {
            let known = format!("{}::{name}", service.module);
            let known = match service.encoded.contains(&name) {
                true => format!("crate::proto::codec::EncodedMessage<{known}>"),
                false => known,
            };
            builder = builder.extern_path(format!("{package}.{name}"), known);
        }
        // Comments are found by the places of messages, which change.
        file.source_code_info = None;
        file.enum_type.clear();
        file.message_type.retain(|message| !other(message.name()));
        for message in &mut file.message_type {
            hold_as_bytes(message);
            let entries = message.nested_type.iter_mut();
            for entry in entries.filter(|it| service.has_entries && is_of_texts(it)) {
                entry.options = None;
                hold_as_bytes(entry);
            }
        }
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// Texts become bytes.
fn hold_as_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
}

/// Whether this is the entry of a map of texts.
fn is_of_texts(entry: &DescriptorProto) -> bool {
    entry
        .field
        .iter()
        .all(|field| field.r#type() == Type::String)
}

/// The messages that the service is asked with, and those in them.
fn requests(file: &FileDescriptorProto, package: &str) -> BTreeSet<String> {
    let methods = file.service.iter().flat_map(|service| &service.method);
    let mut next: Vec<String> = methods.map(|it| it.input_type().to_owned()).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = next.pop() {
        let mut messages = file.message_type.iter();
        let message = messages.find(|it| format!("{package}.{}", it.name()) == name);
        if let Some(message) = message
            && found.insert(name)
        {
            next.extend(message.field.iter().map(|it| it.type_name().to_owned()));
        }
    }
    found
}
