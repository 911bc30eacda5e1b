//! What goes to the client: the bytes of the HTTP/2 implementation, and frames of our own between its frames.

use crate::server::frame_shed::frame::{
    CONTINUATION, END_HEADERS, END_STREAM, FrameCursor, FrameHead, HEADER_TABLE_SIZE, HEADERS,
    PUSH_PROMISE, SETTINGS, WINDOW_UPDATE,
};

/// Bytes of our own that may wait for the socket. With more, nothing is read until the client has taken them.
const MAX_WAITING: usize = 64 << 10;

/// The direction to the client.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    cursor: FrameCursor,
    /// A header block goes on in the next frame, so nothing may come between.
    is_in_block: bool,
    /// Our own frames, and how many of their bytes are written.
    waiting: Vec<u8>,
    written: usize,
}

impl Outbound {
    /// Notes bytes of the HTTP/2 implementation that were written.
    pub(super) fn note_written(&mut self, bytes: &[u8]) {
        let is_in_block = &mut self.is_in_block;
        self.cursor.scan(bytes, |head| {
            if matches!(head.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                *is_in_block = !head.has(END_HEADERS);
            }
        });
    }

    /// What may be written now of our own frames. Once a part of it is written, the rest has to follow.
    pub(super) fn insertable(&self) -> &[u8] {
        match self.cursor.is_between_frames() && !self.is_in_block {
            true => self.waiting.get(self.written..).unwrap_or_default(),
            false => &[],
        }
    }

    /// Notes that so many bytes of [`Outbound::insertable`] are written.
    pub(super) fn note_inserted(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        }
    }

    /// Whether so much waits that nothing should be read.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() - self.written > MAX_WAITING
    }

    /// Answers a stream with this header block, and ends it.
    pub(super) fn answer(&mut self, stream: u32, block: &[u8]) {
        let head = FrameHead {
            length: block.len(),
            kind: HEADERS,
            flags: END_HEADERS | END_STREAM,
            stream,
        };
        head.write(&mut self.waiting);
        self.waiting.extend(block);
    }

    /// Asks for a dynamic table of this size.
    pub(super) fn set_table_size(&mut self, bytes: u32) {
        let head = FrameHead {
            length: 6,
            kind: SETTINGS,
            flags: 0,
            stream: 0,
        };
        head.write(&mut self.waiting);
        self.waiting.extend(HEADER_TABLE_SIZE.to_be_bytes());
        self.waiting.extend(bytes.to_be_bytes());
    }

    /// Gives back what dropped data took from the window of the connection.
    pub(super) fn return_window(&mut self, bytes: u32) {
        let head = FrameHead {
            length: 4,
            kind: WINDOW_UPDATE,
            flags: 0,
            stream: 0,
        };
        head.write(&mut self.waiting);
        self.waiting.extend(bytes.to_be_bytes());
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
