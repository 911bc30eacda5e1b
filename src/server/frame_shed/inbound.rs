//! What comes from the client: which frames the HTTP/2 implementation gets, and which requests it never sees.
//!
//! Header blocks refer to a table that both ends keep, so a block cannot be left out unless the table is empty. Under
//! overload the client is asked to keep none (`SETTINGS_HEADER_TABLE_SIZE` 0). Its encoder says in the first block after
//! that that it has emptied its table (RFC 7541, section 4.2); that block passes, and from then on no block depends on
//! another. When the overload is over, the client is allowed its table again. A client that does it otherwise is left
//! alone: nothing of it is refused here.

use std::collections::HashSet;

use crate::server::frame_shed::block::{self, Start};
use crate::server::frame_shed::frame::{
    ACK, CONTINUATION, DATA, DEFAULT_TABLE, END_HEADERS, END_STREAM, FrameCursor, FrameHead, HEAD,
    HEADERS, PADDED, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::server::frame_shed::paths::is_sheddable;

/// The length of what a client sends before its first frame.
const PREFACE: usize = 24;
/// Header blocks that are longer pass.
const MAX_BLOCK: usize = 8 << 10;
/// Refused streams whose request has not come to its end. With more, nothing is refused here.
const MAX_UNFINISHED: usize = 4_096;
/// Dropped data of which the window is given back at once.
const RETURN_WINDOW: u32 = 16 << 10;

/// How far the client's header blocks are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// They are not, and nothing was asked of the client.
    #[default]
    Off,
    /// The client was asked to keep no table.
    Asked,
    /// It has agreed. The next block says that the table is empty.
    Agreed,
    /// No block depends on another.
    Independent,
    /// The client was told that it may keep a table.
    Restoring,
    /// The client does it in a way of its own.
    Never,
}

/// What becomes of a request that may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Pass,
    Refuse,
}

/// What filtering came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filtered {
    /// Bytes of the input that are dealt with.
    pub(super) consumed: usize,
    /// Streams to refuse, in order.
    pub(super) refused: Vec<u32>,
}

/// The direction from the client.
#[derive(Debug)]
pub(super) struct Inbound {
    phase: Phase,
    cursor: FrameCursor,
    /// Whether the payload under way is dropped.
    is_dropping: bool,
    /// Whether the client has acknowledged the settings of the HTTP/2 implementation.
    is_settled: bool,
    /// The last stream that began, and the last one that the HTTP/2 implementation has seen.
    last: u32,
    last_passed: u32,
    /// Refused streams whose request goes on.
    unfinished: HashSet<u32>,
    /// Bytes of dropped data whose window is not given back.
    owed: u32,
}

enum FrameFate {
    Pass,
    Drop,
    Refuse,
    /// Too little of it has come.
    Incomplete,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            phase: Phase::Off,
            cursor: FrameCursor::after(PREFACE),
            is_dropping: false,
            is_settled: false,
            last: 0,
            last_passed: 0,
            unfinished: HashSet::new(),
            owed: 0,
        }
    }
}

impl Inbound {
    /// The phase.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the client may be asked to keep no table: nothing was asked of it, and bytes can be held from here on.
    pub(super) fn may_ask(&self) -> bool {
        self.phase == Phase::Off && self.is_settled && self.cursor.is_outside_head()
    }

    /// The client is asked to keep no table. Returns the size to ask for.
    pub(super) fn ask(&mut self) -> u32 {
        self.phase = Phase::Asked;
        0
    }

    /// The client is told that it may keep a table. From now on nothing is refused. Returns the size to allow.
    pub(super) fn restore(&mut self) -> u32 {
        self.phase = Phase::Restoring;
        DEFAULT_TABLE
    }

    /// Whether frames have to be filtered. Otherwise it is enough to [`Inbound::scan`] them.
    pub(super) fn is_filtering(&self) -> bool {
        let is_idle = matches!(self.phase, Phase::Off | Phase::Never);
        !is_idle || self.is_dropping || self.last != self.last_passed || !self.unfinished.is_empty()
    }

    /// Follows bytes that all pass. Returns how many requests begin in them.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> usize {
        let (last, is_settled) = (&mut self.last, &mut self.is_settled);
        let mut begun = 0;
        self.cursor.scan(bytes, |head| match head.kind {
            HEADERS if head.stream > *last => {
                *last = head.stream;
                begun += 1;
            }
            SETTINGS if head.has(ACK) => *is_settled = true,
            _ => {}
        });
        self.last_passed = self.last;
        begun
    }

    /// Filters bytes: appends what passes to `output`, up to `room` bytes of it. Asks `choose` about each request that
    /// may be refused. What is not consumed has to be given again, with what follows it.
    pub(super) fn filter(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        room: usize,
        mut choose: impl FnMut() -> Choice,
    ) -> Filtered {
        let mut filtered = Filtered::default();
        loop {
            let rest = &input[filtered.consumed..];
            let left = room.saturating_sub(output.len());
            if self.cursor.remaining() > 0 {
                let available = match self.is_dropping {
                    true => rest.len(),
                    false => rest.len().min(left),
                };
                let taken = self.cursor.take_payload(available);
                if taken == 0 {
                    return filtered;
                }
                if !self.is_dropping {
                    output.extend(&rest[..taken]);
                }
                filtered.consumed += taken;
                continue;
            }
            self.is_dropping = false;
            let Some((head, payload)) = rest.split_first_chunk::<HEAD>() else {
                return filtered;
            };
            if left < HEAD {
                return filtered;
            }
            let frame = FrameHead::read(*head);
            match self.fate(frame, payload, &mut choose) {
                FrameFate::Incomplete => return filtered,
                FrameFate::Pass => {
                    self.note_passed(frame);
                    output.extend(head);
                }
                FrameFate::Drop => self.is_dropping = true,
                FrameFate::Refuse => {
                    self.is_dropping = true;
                    filtered.refused.push(frame.stream);
                }
            }
            self.cursor.begin(frame);
            filtered.consumed += HEAD;
        }
    }

    /// The window to give back to the client now, in bytes.
    pub(super) fn take_owed(&mut self) -> Option<u32> {
        (self.owed >= RETURN_WINDOW).then(|| std::mem::take(&mut self.owed))
    }

    fn note_passed(&mut self, frame: FrameHead) {
        if frame.kind == HEADERS && frame.stream > self.last_passed {
            self.last_passed = frame.stream;
            self.last = self.last.max(frame.stream);
        }
    }

    /// What becomes of a frame. Called again for a frame that was incomplete, and then nothing has changed.
    fn fate(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        choose: &mut impl FnMut() -> Choice,
    ) -> FrameFate {
        let stream = frame.stream;
        match frame.kind {
            HEADERS if stream > self.last => self.fate_of_request(frame, payload, choose),
            // The end of a refused request; nothing of it depends on a table.
            HEADERS | DATA | CONTINUATION if self.unfinished.contains(&stream) => {
                if frame.kind == DATA {
                    let length = u32::try_from(frame.length).unwrap_or(u32::MAX);
                    self.owed = self.owed.saturating_add(length);
                }
                if frame.kind != CONTINUATION && frame.has(END_STREAM) {
                    self.unfinished.remove(&stream);
                }
                FrameFate::Drop
            }
            RST_STREAM | WINDOW_UPDATE if self.is_refused(stream) => {
                if frame.kind == RST_STREAM {
                    self.unfinished.remove(&stream);
                }
                FrameFate::Drop
            }
            SETTINGS if frame.has(ACK) => self.fate_of_ack(),
            _ => FrameFate::Pass,
        }
    }

    /// Whether the HTTP/2 implementation would take the stream for one that has not begun.
    fn is_refused(&self, stream: u32) -> bool {
        (stream > self.last_passed && stream <= self.last) || self.unfinished.contains(&stream)
    }

    /// Acknowledgements come in the order of what they are for, and that of the HTTP/2 implementation was first.
    fn fate_of_ack(&mut self) -> FrameFate {
        match self.phase {
            _ if !self.is_settled => {
                self.is_settled = true;
                FrameFate::Pass
            }
            Phase::Asked => {
                self.phase = Phase::Agreed;
                FrameFate::Drop
            }
            Phase::Restoring => {
                self.phase = Phase::Off;
                FrameFate::Drop
            }
            _ => FrameFate::Pass,
        }
    }

    fn fate_of_request(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        choose: &mut impl FnMut() -> Choice,
    ) -> FrameFate {
        if !matches!(self.phase, Phase::Agreed | Phase::Independent) {
            return FrameFate::Pass;
        }
        if frame.length > MAX_BLOCK || frame.flags & (PADDED | PRIORITY) != 0 {
            // How it begins is not looked at, so nothing is known of the table any more.
            self.phase = Phase::Never;
            return FrameFate::Pass;
        }
        let Some(block) = payload.get(..frame.length) else {
            return FrameFate::Incomplete;
        };
        match (block::start(block), self.phase) {
            (Start::Field, Phase::Independent) => {}
            (Start::Field, _) => return FrameFate::Pass,
            (Start::TableEmptied, Phase::Agreed) => {
                self.phase = Phase::Independent;
                return FrameFate::Pass;
            }
            (Start::TableEmptied | Start::TableResized, _) => {
                self.phase = Phase::Never;
                return FrameFate::Pass;
            }
        }
        let may_refuse = frame.has(END_HEADERS)
            && frame.stream % 2 == 1
            && self.unfinished.len() < MAX_UNFINISHED
            && block::path(block).is_some_and(is_sheddable);
        if !may_refuse || choose() == Choice::Pass {
            return FrameFate::Pass;
        }
        self.last = frame.stream;
        if !frame.has(END_STREAM) {
            self.unfinished.insert(frame.stream);
        }
        FrameFate::Refuse
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
