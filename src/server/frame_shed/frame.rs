//! Heads of HTTP/2 frames (RFC 9113, section 4.1).

/// The length of a head.
pub(super) const HEAD: usize = 9;

/// Flags. END_STREAM and ACK are the same bit of different kinds.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

/// Kinds that matter here.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// The setting that bounds the dynamic table of the other end's encoder, and its default in bytes.
pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const DEFAULT_TABLE: u32 = 4_096;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of the payload.
    pub(super) length: usize,
    /// The kind.
    pub(super) kind: u8,
    /// Its flags.
    pub(super) flags: u8,
    /// The stream; 0 for the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    /// Reads a head.
    pub(super) fn read(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Appends the head.
    pub(super) fn write(self, to: &mut Vec<u8>) {
        let [_, length @ ..] = (self.length as u32).to_be_bytes();
        to.extend(length);
        to.extend([self.kind, self.flags]);
        to.extend(self.stream.to_be_bytes());
    }

    /// Whether it has all of these flags.
    pub(super) fn has(self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// Follows the frames in a stream of bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub(super) struct FrameCursor {
    /// Bytes of the payload under way that have not come.
    remaining: usize,
    /// The part of a head that has come.
    head: [u8; HEAD],
    head_length: usize,
}

impl FrameCursor {
    /// A cursor behind so many bytes that are no frame.
    pub(super) fn after(bytes: usize) -> Self {
        Self {
            remaining: bytes,
            ..Self::default()
        }
    }

    /// Whether no head has come in part.
    pub(super) fn is_outside_head(&self) -> bool {
        self.head_length == 0
    }

    /// Whether the last frame has come as a whole.
    pub(super) fn is_between_frames(&self) -> bool {
        self.remaining == 0 && self.head_length == 0
    }

    /// Bytes of the payload under way that have not come.
    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes up to so many bytes of the payload under way. Returns how many.
    pub(super) fn take_payload(&mut self, available: usize) -> usize {
        let taken = self.remaining.min(available);
        self.remaining -= taken;
        taken
    }

    /// Begins a frame whose head was read elsewhere.
    pub(super) fn begin(&mut self, head: FrameHead) {
        self.remaining = head.length;
    }

    /// Goes on over these bytes, and calls `each` with every head that is complete.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let taken = self.take_payload(bytes.len());
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (HEAD - self.head_length).min(bytes.len());
            let (part, rest) = bytes.split_at(taken);
            self.head[self.head_length..][..taken].copy_from_slice(part);
            self.head_length += taken;
            bytes = rest;
            if self.head_length == HEAD {
                let head = FrameHead::read(self.head);
                self.head_length = 0;
                self.remaining = head.length;
                each(head);
            }
        }
    }
}
