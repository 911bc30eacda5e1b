//! The Protobuf codec for gRPC. It reports bytes that do not decode as INVALID_ARGUMENT.
//!
//! tonic's own codec reports them as INTERNAL, as if the server had failed.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// What stands before a message of gRPC: whether it is compressed, and its length in four bytes.
pub const PREFIX_BYTES: usize = 5;

/// The most memory that a thread keeps for the next message that it writes.
const KEPT_BYTES: usize = 64 << 10;

/// Short messages of a thread lie one behind the other in pieces of memory of this size. A piece is there until the last of them
/// is sent, so it is no larger than what a stream that waits to be read occupies anyway.
const CHUNK_BYTES: usize = 4 << 10;

/// A message that is encoded already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedMessage<M> {
    /// The message behind its prefix.
    frame: Bytes,
    message: PhantomData<fn() -> M>,
}

impl<M> EncodedMessage<M> {
    /// The message whose bytes this appends.
    pub fn write(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
            static CHUNK: RefCell<BytesMut> = RefCell::default();
        }
        let mut buffer = BUFFER.take();
        buffer.extend_from_slice(&[0; PREFIX_BYTES]);
        write(&mut buffer);
        // A message whose length this cannot hold is not sent.
        let length = u32::try_from(buffer.len() - PREFIX_BYTES).unwrap_or_default();
        buffer[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        let frame = if buffer.capacity() <= KEPT_BYTES {
            let frame = CHUNK.with_borrow_mut(|chunk| in_chunk(chunk, &buffer));
            buffer.clear();
            BUFFER.set(buffer);
            frame
        } else {
            buffer.into()
        };
        Self {
            frame,
            message: PhantomData,
        }
    }

    /// The bytes of the message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.frame[PREFIX_BYTES..]
    }

    /// The message behind its prefix.
    ///
    /// # Errors
    ///
    /// OUT_OF_RANGE if the message is longer than gRPC can say.
    pub fn into_frame(self) -> Result<Bytes, Status> {
        let length = self.as_bytes().len();
        match u32::try_from(length) {
            Ok(_) => Ok(self.frame),
            Err(_) => Err(Status::out_of_range(format!(
                "a response of {length} bytes"
            ))),
        }
    }
}

impl<M: Message + Default> EncodedMessage<M> {
    /// The message.
    ///
    /// # Errors
    ///
    /// If what was written is no such message.
    pub fn message(&self) -> Result<M, DecodeError> {
        M::decode(self.as_bytes())
    }
}

impl<M: Message> From<&M> for EncodedMessage<M> {
    fn from(message: &M) -> Self {
        Self::write(|out| crate::proto::wire::encode(out, message))
    }
}

/// A message as a part of a piece of memory that it shares with others, unless it is long.
fn in_chunk(chunk: &mut BytesMut, message: &[u8]) -> Bytes {
    if message.len() > CHUNK_BYTES / 4 {
        return Bytes::copy_from_slice(message);
    }
    if chunk.capacity() < message.len() {
        *chunk = BytesMut::with_capacity(CHUNK_BYTES);
    }
    chunk.extend_from_slice(message);
    chunk.split().freeze()
}

/// What can be sent: a message, or its bytes.
pub trait Outgoing: Send + 'static {
    /// Appends the bytes of the message.
    fn put(self, out: &mut EncodeBuf<'_>);
}

impl<M: Message + 'static> Outgoing for M {
    fn put(self, out: &mut EncodeBuf<'_>) {
        out.reserve(self.encoded_len());
        self.encode_raw(out);
    }
}

impl<M: 'static> Outgoing for EncodedMessage<M> {
    fn put(self, out: &mut EncodeBuf<'_>) {
        let bytes = self.as_bytes();
        out.reserve(bytes.len());
        out.put_slice(bytes);
    }
}

/// Encodes `T`, decodes `U`.
#[derive(Debug, Clone)]
pub struct ProtobufCodec<T, U>(PhantomData<(T, U)>);

/// Encodes `T`.
#[derive(Debug, Clone)]
pub struct ProtobufEncoder<T>(PhantomData<T>);

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
    T: Outgoing,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProtobufEncoder<T>;
    type Decoder = ProtobufDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtobufEncoder(PhantomData)
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

impl<T: Outgoing> Encoder for ProtobufEncoder<T> {
    type Item = T;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(out);
        Ok(())
    }
}

impl<U: Message + Default> Decoder for ProtobufDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode(buffer).map(Some)
    }
}

/// The same message in its other form: with texts, or with the bytes of texts.
///
/// # Errors
///
/// If a text is not UTF-8.
pub fn recoded<U: Message + Default>(message: &impl Message) -> Result<U, DecodeError> {
    U::decode(message.encode_to_vec().as_slice())
}

/// Decodes a message.
///
/// # Errors
///
/// INVALID_ARGUMENT if the bytes are none.
pub fn decode<U: Message + Default>(bytes: impl bytes::Buf) -> Result<U, Status> {
    U::decode(bytes).map_err(|error| Status::invalid_argument(describe(&error)))
}

/// What is wrong with bytes that are no message. Where they nest too deep, the place is as long as the nesting.
fn describe(error: &DecodeError) -> String {
    const TOO_DEEP: &str = "recursion limit reached";
    let said = error.to_string();
    if !said.ends_with(TOO_DEEP) {
        return format!("not a protobuf message of this RPC: {said}");
    }
    // The innermost comes first.
    let places = said.rsplit(": ").filter_map(|place| place.split_once('.'));
    let outside = places.take_while(|(message, _)| !matches!(*message, "Struct" | "Value"));
    let path: Vec<&str> = outside.map(|(_, field)| field).collect();
    format!(
        "`{}` is nested deeper than protobuf messages are read: a Struct has 31 levels at most, JSON text more",
        path.join(".")
    )
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
