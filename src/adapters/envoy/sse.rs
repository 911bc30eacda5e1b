//! `text/event-stream`, cut into events without holding any of them back.

use bytes::{Bytes, BytesMut};

/// What some readers take for the end of a line, and the standard does not.
const OTHER_ENDS: [char; 8] = [
    '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
];

/// Cuts a stream that comes in pieces into events.
#[derive(Debug)]
pub(super) struct EventSplitter {
    /// What has come of the next event.
    rest: BytesMut,
    /// How much of `rest` has been looked at.
    seen: usize,
    /// Whether the line that is being read is empty so far.
    is_empty_line: bool,
    /// Whether the last byte looked at was a carriage return; a line feed after it ends the same line.
    after_return: bool,
    /// The most bytes that one event may have.
    limit: usize,
}

/// An event that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerSentEvent {
    /// As it came, with the empty line at its end.
    pub(super) raw: Bytes,
    /// Its lines but those with data and comments, e.g. `id: 7`.
    lines: Vec<String>,
    /// What it carries; empty if it carries nothing.
    pub(super) data: String,
    /// Whether every reader takes it for the same: its data is on one line, and nothing in it looks like the
    /// end of a line to anybody.
    pub(super) is_plain: bool,
}

/// Something that is no event, or that readers understand differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl EventSplitter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            rest: BytesMut::new(),
            seen: 0,
            is_empty_line: true,
            after_return: false,
            limit,
        }
    }

    /// Takes the next bytes. Every event that they complete comes out, as the bytes it came in. The bytes of
    /// all events, one after the other, are those of the stream.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Bytes>, TooLong> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(byte) = self.rest.get(self.seen) {
            self.seen += 1;
            let is_end = match byte {
                // The second half of the end of a line. After an event it passes at once: the event did not
                // wait for it, but many readers do.
                b'\n' if self.after_return => {
                    self.after_return = false;
                    if self.seen == 1 {
                        events.push(self.rest.split_to(1).freeze());
                        self.seen = 0;
                    }
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_return = *byte == b'\r';
            if is_end && self.is_empty_line {
                events.push(self.rest.split_to(self.seen).freeze());
                self.seen = 0;
            }
            self.is_empty_line = is_end;
            if self.seen > self.limit {
                return Err(TooLong);
            }
        }
        Ok(events)
    }
}

impl ServerSentEvent {
    /// Reads what [`Splitter::push`] gave.
    pub(super) fn read(raw: Bytes) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(&raw).map_err(|_| Malformed)?;
        let mut lines = Vec::new();
        let mut data: Vec<&str> = Vec::new();
        let mut is_plain = true;
        for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
            let has_other_ends = line.contains(OTHER_ENDS);
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name {
                "data" => {
                    is_plain &= !has_other_ends;
                    data.push(value.strip_prefix(' ').unwrap_or(value));
                }
                _ if has_other_ends => return Err(Malformed),
                "" => {}
                "id" | "event" | "retry" => lines.push(line.to_owned()),
                _ => return Err(Malformed),
            }
        }
        let is_plain = is_plain && data.len() <= 1;
        let data = data.join("\n");
        Ok(Self {
            raw,
            lines,
            data,
            is_plain,
        })
    }

    /// The event with this JSON text as its data.
    pub(super) fn with_data(&self, json: &str) -> Bytes {
        let mut text = String::with_capacity(json.len() + 64);
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("data: ");
        for c in json.chars() {
            match c {
                // Between tokens: a line end inside a string would not be JSON.
                '\n' => text.push(' '),
                // The other way round: what ends lines for some is JSON inside strings alone.
                c if OTHER_ENDS.contains(&c) => {
                    text.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => text.push(c),
            }
        }
        text.push_str("\n\n");
        text.into()
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
