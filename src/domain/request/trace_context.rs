//! The trace that a request belongs to: `traceparent` and `tracestate` of W3C Trace Context (level 2), read strictly.
//!
//! Start at [`TraceContext::read`], through which every adapter goes. Record, span and log line are of what it returns, so they
//! cannot differ. A trace is not evidence: one that cannot be used is left out and rejects nothing.

/// The bytes of a `traceparent` of version 00, `00-<trace id>-<parent id>-<flags>`, and the least of any other version.
const PARENT_BYTES: usize = 55;
/// The one flag that is defined for callers: the caller records its span.
const SAMPLED: u8 = 1;
/// The most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;
/// The longest `tracestate` that is kept, in bytes. The specification asks for 512 at least.
const MAX_STATE_BYTES: usize = 4_096;
/// The longest key of a member, and the longest value.
const MAX_MEMBER_PART: usize = 256;

/// The trace that a request belongs to. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    parent: Option<TraceParent>,
    state: Option<Box<str>>,
}

/// The span of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not all zeros.
    pub trace_id: [u8; 16],
    /// The caller's span; not all zeros.
    pub span_id: [u8; 8],
    /// Whether the caller records its span.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads the headers of a request. Several `tracestate` are one list, in their order; one that is not as specified is left
    /// out. Without a `traceparent` that is as specified there is no trace.
    pub fn read<'h>(
        traceparent: Option<&str>,
        tracestate: impl IntoIterator<Item = &'h str>,
    ) -> Self {
        let Some(parent) = traceparent.and_then(TraceParent::read) else {
            return Self::default();
        };
        Self {
            parent: Some(parent),
            state: read_state(tracestate),
        }
    }

    /// The span of the caller.
    pub fn parent(&self) -> Option<&TraceParent> {
        self.parent.as_ref()
    }

    /// The `tracestate`, in one line; empty for none.
    pub fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    /// This trace, or the other one if this is none.
    pub fn or(self, other: &Self) -> Self {
        match self.parent {
            Some(_) => self,
            None => other.clone(),
        }
    }
}

impl TraceParent {
    /// Reads a `traceparent`. Later versions may have more after the flags, behind another `-`.
    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(PARENT_BYTES)?;
        let dashes = [2, 35, 52];
        if dashes.iter().any(|at| known.get(*at) != Some(&b'-')) {
            return None;
        }
        let [version]: [u8; 1] = unhex(known.get(..2)?)?;
        let is_whole = match (version, rest.first()) {
            (0xff, _) => false,
            (_, None) => true,
            (0, Some(_)) => false,
            (_, Some(next)) => *next == b'-',
        };
        let trace_id = unhex(known.get(3..35)?)?;
        let span_id = unhex(known.get(36..52)?)?;
        let [flags]: [u8; 1] = unhex(known.get(53..)?)?;
        let is_valid = is_whole && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// The bytes that pairs of lower-case hexadecimal digits stand for.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// The members of all headers, joined. `None` for none, and if any is not as specified.
fn read_state<'h>(headers: impl IntoIterator<Item = &'h str>) -> Option<Box<str>> {
    let mut state = String::new();
    let mut count = 0;
    for member in headers.into_iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        // Empty members are allowed, and mean nothing.
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        count += 1;
        if count > MAX_MEMBERS || !is_key(key) || !is_value(value) || has_key(&state, key) {
            return None;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(member);
        if state.len() > MAX_STATE_BYTES {
            return None;
        }
    }
    (!state.is_empty()).then(|| state.into_boxed_str())
}

fn has_key(state: &str, key: &str) -> bool {
    let mut keys = state.split(',').filter_map(|member| member.split_once('='));
    keys.any(|(known, _)| known == key)
}

/// A key: lower-case letters and digits, and `_-*/@` after the first of them.
fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= MAX_MEMBER_PART
        && key.bytes().next().is_some_and(is_plain)
        && key
            .bytes()
            .all(|byte| is_plain(byte) || b"_-*/@".contains(&byte))
}

/// A value: printable ASCII without `,` and `=`. Its end is no space, as members are trimmed.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| (b' '..=b'~').contains(&byte) && !b",=".contains(&byte);
    !value.is_empty() && value.len() <= MAX_MEMBER_PART && value.bytes().all(is_allowed)
}

#[cfg(test)]
#[path = "trace_context_tests.rs"]
mod tests;
