//! Splits `text/event-stream` into events without delaying any of them.

use bytes::{Bytes, BytesMut};

/// Characters that some readers treat as line ends and the standard does not.
const OTHER_ENDS: [char; 8] = [
    '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
];

/// Splits chunks of a stream into events.
#[derive(Debug)]
pub(super) struct EventSplitter {
    /// The bytes of the unfinished event.
    rest: BytesMut,
    /// The number of bytes of `rest` that were scanned.
    seen: usize,
    /// Whether the current line is empty so far.
    is_empty_line: bool,
    /// Whether the last scanned byte was a carriage return; a line feed after it belongs to the same line
    /// end.
    after_return: bool,
    /// The maximum length of one event, in bytes.
    limit: usize,
}

/// An event exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// One server-sent event. By default it says nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ServerSentEvent {
    /// The original bytes, with the blank line at the end.
    pub(super) raw: Bytes,
    /// Its fields other than data and comments, e.g. `id: 7`.
    lines: Vec<String>,
    /// The data; empty if there is none.
    pub(super) data: String,
    /// Whether clients take it for a message. One of another name than `message` they ignore.
    pub(super) is_message: bool,
    /// Whether all readers see the same event: the data is on one line and contains no character that some
    /// treat as a line end.
    pub(super) is_plain: bool,
}

/// The bytes are not an event, or readers would differ about it.
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

    /// Scans the next chunk and returns every event that it completes. Concatenated, the returned events are
    /// the bytes of the stream.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Bytes>, TooLong> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(byte) = self.rest.get(self.seen) {
            self.seen += 1;
            let is_end = match byte {
                // The second half of a CRLF. After an event it passes at once: the event did not wait for it,
                // but many readers do.
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
    /// Parses one event returned by [`EventSplitter::push`].
    pub(super) fn read(raw: Bytes) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(&raw).map_err(|_| Malformed)?;
        let mut lines = Vec::new();
        let mut data: Vec<&str> = Vec::new();
        let (mut is_message, mut is_plain) = (true, true);
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
                "id" | "event" | "retry" => {
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    is_message &= name != "event" || ["", "message"].contains(&value);
                    lines.push(line.to_owned());
                }
                _ => return Err(Malformed),
            }
        }
        let is_plain = is_plain && data.len() <= 1;
        let data = data.join("\n");
        Ok(Self {
            raw,
            lines,
            data,
            is_message,
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
                // A line feed in JSON stands between tokens, where a space is equivalent.
                '\n' => text.push(' '),
                // These characters occur in JSON only inside strings, where an escape is equivalent.
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
