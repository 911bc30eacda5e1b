//! Frames: how payloads follow one another in a file of the decision log.
//!
//! A file begins with a header of [`HEADER`] bytes: a magic number that says what its frames hold ([`Contents`]), then the
//! index of its first record (u64, little endian). Each frame is the payload's length (u32, little endian), its CRC-32C (u32, little endian), and the payload. A frame is never
//! empty, so that a run of zeros is no frame.
//!
//! Invariant: a frame whose checksum does not hold is never returned.

use std::io::{self, Read};

/// What the frames of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// A record each. Files of capsules began with the same number while each capsule was compressed alone.
    Records,
    /// A group of capsules each.
    CapsuleGroups,
}

/// Bytes of a file's header.
pub const HEADER: usize = 16;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 8;
/// The shortest payload: an index and the tag before it.
pub const MIN_PAYLOAD: usize = 9;
/// The largest record, in bytes. Entry bundles of C2SP tlog-tiles hold no larger leaf.
pub const MAX_RECORD: usize = 65_535;
/// The largest frame of capsules, in bytes: room for a group that does not compress.
pub const MAX_CAPSULES: usize = 5 << 20;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

impl Contents {
    /// The largest payload of a frame, in bytes.
    pub fn max_payload(self) -> usize {
        match self {
            Self::Records => MAX_RECORD,
            Self::CapsuleGroups => MAX_CAPSULES,
        }
    }

    /// The first bytes of a file.
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Records => *b"CGAUDIT1",
            Self::CapsuleGroups => *b"CGCAPSG2",
        }
    }
}

/// The header of a file whose first record has this index.
pub fn header(contents: Contents, first: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&contents.magic());
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// What a header says of its file: what it holds, and its first index. `None` if it is no header.
pub fn parse_header(bytes: &[u8; HEADER]) -> Option<(Contents, u64)> {
    let (magic, first) = bytes.split_first_chunk::<8>()?;
    let first = first.first_chunk::<8>()?;
    let contents = [Contents::Records, Contents::CapsuleGroups];
    let contents = contents.into_iter().find(|it| it.magic() == *magic)?;
    Some((contents, u64::from_le_bytes(*first)))
}

/// Appends a frame with this payload.
pub fn push(out: &mut Vec<u8>, payload: &[u8]) {
    // Payloads are bounded far below 4 GiB by all who call this.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A frame with this payload; it is [`FRAME_HEADER`] bytes longer.
    Frame(&'a [u8]),
    /// Too few bytes: the frame needs this many.
    NeedsBytes(usize),
    /// No frame: the length is impossible, or the checksum does not hold. The length, if possible.
    Damaged(Option<usize>),
}

/// Parses the frame at the beginning of some bytes.
pub fn parse(bytes: &[u8], max_payload: usize) -> Parsed<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Parsed::NeedsBytes(FRAME_HEADER);
    };
    let Some((checksum, rest)) = rest.split_first_chunk::<4>() else {
        return Parsed::NeedsBytes(FRAME_HEADER);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length < MIN_PAYLOAD || length > max_payload {
        return Parsed::Damaged(None);
    }
    let Some(payload) = rest.get(..length) else {
        return Parsed::NeedsBytes(FRAME_HEADER + length);
    };
    if crc32c::crc32c(payload) != u32::from_le_bytes(*checksum) {
        return Parsed::Damaged(Some(length));
    }
    Parsed::Frame(payload)
}

/// Reads frames one after the other. At the end of the input it can be asked again, in case the file has grown.
pub struct FrameReader<R> {
    input: R,
    max_payload: usize,
    buffer: Vec<u8>,
    /// What of the buffer is consumed.
    start: usize,
    /// The offset in the file of the first byte not consumed.
    offset: u64,
}

/// What a [`FrameReader`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A payload.
    Frame(Vec<u8>),
    /// The end, after this many bytes that are no complete frame.
    End(usize),
    /// Bytes that are no frame, and a frame after them: reading goes on there.
    Skipped(u64),
}

impl<R: Read> FrameReader<R> {
    /// A reader of the frames from here on; `offset` is where in its file the input stands.
    pub fn new(input: R, offset: u64, max_payload: usize) -> Self {
        Self {
            input,
            max_payload,
            buffer: Vec::new(),
            start: 0,
            offset,
        }
    }

    /// The offset in the file after the last returned frame.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn step(&mut self) -> io::Result<Step> {
        loop {
            match parse(&self.buffer[self.start..], self.max_payload) {
                Parsed::Frame(payload) => {
                    let payload = payload.to_vec();
                    self.consume(FRAME_HEADER + payload.len());
                    return Ok(Step::Frame(payload));
                }
                Parsed::NeedsBytes(_) => {
                    if !self.fill()? {
                        return self.resynchronize();
                    }
                }
                Parsed::Damaged(_) => return self.resynchronize(),
            }
        }
    }

    /// Finds the next frame after bytes that are none. Without one, everything that is left is an incomplete end.
    fn resynchronize(&mut self) -> io::Result<Step> {
        let mut at = 1;
        loop {
            let bytes = self.buffer.get(self.start + at..).unwrap_or_default();
            match parse(bytes, self.max_payload) {
                Parsed::Frame(_) => {
                    self.consume(at);
                    return Ok(Step::Skipped(at as u64));
                }
                Parsed::Damaged(_) => at += 1,
                Parsed::NeedsBytes(_) => {
                    if !self.fill()? {
                        // A shorter frame may still begin within what seems to be a long one.
                        at += 1;
                        if bytes_left(&self.buffer, self.start + at) < FRAME_HEADER + MIN_PAYLOAD {
                            return Ok(Step::End(self.buffer.len() - self.start));
                        }
                    }
                }
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let had = self.buffer.len();
        self.buffer.resize(had + CHUNK, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}

fn bytes_left(buffer: &[u8], at: usize) -> usize {
    buffer.len().saturating_sub(at)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
