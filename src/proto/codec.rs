//! The Protobuf codec for gRPC. It reports bytes that do not decode as INVALID_ARGUMENT.
//!
//! tonic's own codec reports them as INTERNAL, as if the server had failed.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// Encodes `T`, decodes `U`.
#[derive(Debug, Clone)]
pub struct ProtobufCodec<T, U>(PhantomData<(T, U)>);

/// Decodes `U`. Bytes that are not a `U` are INVALID_ARGUMENT.
#[derive(Debug, Clone)]
pub struct ProtobufDecoder<U>(PhantomData<U>);

impl<T, U> Default for ProtobufCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ProtobufCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProtobufDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtobufDecoder(PhantomData)
    }
}

/// A buffer holds a usual message; larger ones make it grow. tonic's own default is 8 KiB for each direction of each call,
/// of which an allocator keeps few at hand.
fn buffers() -> BufferSettings {
    const USUAL_MESSAGE: usize = 1_024;
    const YIELD_THRESHOLD: usize = 32 * 1_024;
    BufferSettings::new(USUAL_MESSAGE, YIELD_THRESHOLD)
}

impl<U: Message + Default> Decoder for ProtobufDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        match U::decode(buffer) {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Status::invalid_argument(format!(
                "not a protobuf message of this RPC: {error}"
            ))),
        }
    }
}
