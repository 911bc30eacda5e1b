//! Encodes spans as OTLP (`opentelemetry.proto.trace.v1`), straight from the record of a decision.
//! [`log_encoder`](crate::telemetry::export::log_encoder) does the same for log lines, in the same [`ExportFrame`].
//!
//! Start at [`span`]. A span is encoded once, on the thread that decided, into a buffer that the thread keeps: no attribute is
//! an allocation, and what is exported is those bytes. Every length is known before its field is written, so nothing is moved.
//!
//! Invariant: the bytes are those that `opentelemetry-proto` encodes for the same span; a property test compares them.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Array, InstrumentationScope, Value};
use opentelemetry_sdk::Resource;
use smol_str::format_smolstr;

use crate::audit::envelope::nanos;
use crate::proto::wire::{FIXED_32, FIXED_64, VARINT, bytes, number, prefix, tag, text, varint};

/// `SpanFlags`: the span is sampled, the next bit is set deliberately, and the parent is remote.
const SAMPLED: u32 = 0x1;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `SPAN_KIND_SERVER`.
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// The longest text of a span, in bytes; the rest is cut off.
const MAX_TEXT: usize = 1_024;
/// The most entries of a list of a span. Of a longer one an attribute `<key>.count` says how many there are.
const MAX_LIST: usize = 8;
/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// The ids of a sampled span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span of the caller, which is always in another process.
    pub parent: Option<SpanId>,
    /// The `tracestate` of the caller, as it is passed on; usually empty.
    pub trace_state: String,
}

/// What a span is besides its attributes.
#[derive(Debug, Clone, Copy)]
pub struct SpanHead<'a> {
    /// Its ids.
    pub ids: &'a SpanIds,
    /// Its name, in two parts that belong together.
    pub name: [&'a str; 2],
    /// When it began and ended.
    pub times: [SystemTime; 2],
    /// The message of its error status; without it the status is unset.
    pub error: Option<&'a str>,
}

/// The limits of the SDK's specification on one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanLimits {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`.
    pub attributes: u32,
    /// `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub links: u32,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            links: 128,
        }
    }
}

/// A link to another span of this process.
#[derive(Debug, Clone)]
pub struct SpanLink<'a> {
    /// The span, which was sampled. Without it the link has empty ids, and OpenTelemetry keeps it for its attributes.
    pub span: Option<SpanIds>,
    /// How it is linked, and to what.
    pub attributes: [(&'a str, Cow<'a, str>); 2],
}

/// Appends a span of kind server.
pub fn span(
    out: &mut Vec<u8>,
    head: &SpanHead<'_>,
    limits: SpanLimits,
    attributes: impl FnOnce(&mut AttributeWriter<'_>),
    links: &[SpanLink<'_>],
) {
    bytes(out, 1, &head.ids.trace_id.to_bytes());
    bytes(out, 2, &head.ids.span_id.to_bytes());
    text(out, 3, &head.ids.trace_state);
    if let Some(parent) = head.ids.parent {
        bytes(out, 4, &parent.to_bytes());
    }
    let [first, second] = head.name;
    if first.len() + second.len() > 0 {
        prefix(out, 5, first.len() + second.len());
        out.extend_from_slice(first.as_bytes());
        out.extend_from_slice(second.as_bytes());
    }
    number(out, 6, SERVER);
    time(out, 7, head.times[0]);
    time(out, 8, head.times[1]);
    let mut writer = AttributeWriter {
        out,
        field: 9,
        left: limits.attributes,
        dropped: 0,
        longest: MAX_TEXT,
        most: MAX_LIST,
    };
    attributes(&mut writer);
    let dropped = writer.dropped;
    number(out, 10, dropped.into());
    let kept = links.len().min(limits.links as usize);
    for link in &links[..kept] {
        write_link(out, link);
    }
    number(out, 14, (links.len() - kept) as u64);
    status(out, head.error);
    let remote = head.ids.parent.map_or(0, |_| IS_REMOTE);
    fixed_32(out, 16, SAMPLED | HAS_IS_REMOTE | remote);
}

fn write_link(out: &mut Vec<u8>, link: &SpanLink<'_>) {
    let none = (TraceId::INVALID, SpanId::INVALID, "");
    let (trace_id, span_id, state) = link.span.as_ref().map_or(none, |ids| {
        (ids.trace_id, ids.span_id, ids.trace_state.as_str())
    });
    let attributes = link.attributes.each_ref();
    let attributes = attributes.map(|(key, value)| (key, shortened(value, MAX_TEXT)));
    let lengths = attributes.iter().map(|(key, [text, mark])| {
        let value = string_length(text.len() + mark.len());
        field_length(key_value_length(key, value))
    });
    let ids = (1 + 1 + 16) + (1 + 1 + 8) + text_length(state);
    prefix(out, 13, ids + lengths.sum::<usize>() + 5);
    bytes(out, 1, &trace_id.to_bytes());
    bytes(out, 2, &span_id.to_bytes());
    text(out, 3, state);
    let mut writer = AttributeWriter::unlimited(out, 4);
    for (key, value) in &attributes {
        writer.pieces(key, value);
    }
    let sampled = link.span.as_ref().map_or(0, |_| SAMPLED);
    fixed_32(out, 6, sampled | HAS_IS_REMOTE);
}

fn status(out: &mut Vec<u8>, error: Option<&str>) {
    let Some(message) = error else {
        return prefix(out, 15, 0);
    };
    prefix(out, 15, text_length(message) + 2);
    text(out, 2, message);
    number(out, 3, ERROR);
}

/// What precedes and follows the records of one scope in a `ResourceSpans` or `ResourceLogs`, which have the same form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportFrame {
    /// The resource.
    resource: Vec<u8>,
    /// The scope.
    scope: Vec<u8>,
    /// The URL of the scope's schema, and that of the resource's.
    schema_urls: [Vec<u8>; 2],
}

impl ExportFrame {
    /// The frame of a resource and a scope.
    pub fn new(resource: &Resource, scope: &InstrumentationScope) -> Self {
        let mut content = Vec::new();
        for (key, value) in resource {
            let mut writer = AttributeWriter::unlimited(&mut content, 1);
            writer.value(key.as_str(), value);
        }
        let mut frame = Self::default();
        bytes(&mut frame.resource, 1, &content);
        content.clear();
        text(&mut content, 1, scope.name());
        text(&mut content, 2, scope.version().unwrap_or_default());
        for one in scope.attributes() {
            let mut writer = AttributeWriter::unlimited(&mut content, 3);
            writer.value(one.key.as_str(), &one.value);
        }
        bytes(&mut frame.scope, 1, &content);
        let [of_scope, of_resource] = &mut frame.schema_urls;
        text(of_scope, 3, scope.schema_url().unwrap_or_default());
        text(of_resource, 3, resource.schema_url().unwrap_or_default());
        frame
    }

    /// Replaces the content of `out` by one `ResourceSpans` with these spans, or one `ResourceLogs` with these log records, each
    /// of which [`push_record`] wrote.
    pub fn write(&self, records: &[u8], out: &mut Vec<u8>) {
        let [of_scope, of_resource] = &self.schema_urls;
        out.clear();
        out.extend_from_slice(&self.resource);
        let length = self.scope.len() + records.len() + of_scope.len();
        prefix(out, 2, length);
        out.extend_from_slice(&self.scope);
        out.extend_from_slice(records);
        out.extend_from_slice(of_scope);
        out.extend_from_slice(of_resource);
    }
}

/// Appends an encoded span or log record to those of its scope.
pub fn push_record(records: &mut Vec<u8>, record: &[u8]) {
    bytes(records, 2, record);
}

/// A text that is no longer than this in bytes, and the mark that says that it was cut.
fn shortened(text: &str, longest: usize) -> [&str; 2] {
    if text.len() <= longest {
        return [text, ""];
    }
    let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
    [&text[..end.unwrap_or_default()], CUT]
}

/// Writes attributes, up to a limit. What is beyond it is counted.
#[derive(Debug)]
pub struct AttributeWriter<'b> {
    out: &'b mut Vec<u8>,
    field: u32,
    left: u32,
    dropped: u32,
    /// The longest text, in bytes, and the most entries of a list.
    longest: usize,
    most: usize,
}

impl<'b> AttributeWriter<'b> {
    /// Writes any number of attributes into this field.
    pub(super) fn unlimited(out: &'b mut Vec<u8>, field: u32) -> Self {
        Self {
            out,
            field,
            left: u32::MAX,
            dropped: 0,
            longest: usize::MAX,
            most: usize::MAX,
        }
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, key: &str, value: &str) {
        self.pieces(key, &shortened(value, self.longest));
    }

    /// A text in pieces, which are joined.
    #[inline]
    pub fn joined(&mut self, key: &str, pieces: &[&str]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        match length <= self.longest {
            true => self.pieces(key, pieces),
            false => self.text(key, &pieces.concat()),
        }
    }

    /// The same without a limit.
    #[inline]
    fn pieces(&mut self, key: &str, pieces: &[&str]) {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if self.begin(key, string_length(length)) {
            prefix(self.out, 1, length);
            for piece in pieces {
                self.out.extend_from_slice(piece.as_bytes());
            }
        }
    }

    /// A truth value.
    pub fn flag(&mut self, key: &str, value: bool) {
        if self.begin(key, 2) {
            any_bool(self.out, value);
        }
    }

    /// An integer.
    pub fn integer(&mut self, key: &str, value: i64) {
        if self.begin(key, 1 + varint_length(value.cast_unsigned())) {
            any_integer(self.out, value);
        }
    }

    /// A list of texts; an empty one is left out. Of one that is too long the number of entries is told, too.
    pub fn texts<'t>(&mut self, key: &str, values: impl Iterator<Item = &'t str> + Clone) {
        let (longest, most) = (self.longest, self.most);
        let kept = values.clone().take(most);
        let kept = kept.map(|text| shortened(text, longest));
        let lengths = kept.clone().map(|[text, mark]| text.len() + mark.len());
        let content: usize = lengths.map(|it| field_length(string_length(it))).sum();
        if content > 0 && self.begin(key, field_length(content)) {
            prefix(self.out, 5, content);
            for [text, mark] in kept {
                let length = text.len() + mark.len();
                prefix(self.out, 1, string_length(length));
                prefix(self.out, 1, length);
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(mark.as_bytes());
            }
        }
        let count = values.count();
        if count > most {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.integer(&format_smolstr!("{key}.count"), count);
        }
    }

    /// Any value.
    pub fn value(&mut self, key: &str, value: &Value) {
        if let Value::String(text) = value {
            return self.text(key, text.as_str());
        }
        let mut content = Vec::new();
        any_value(&mut content, value);
        if self.begin(key, content.len()) {
            self.out.extend_from_slice(&content);
        }
    }

    /// Writes everything before a value of this length. Whether there is room for it.
    #[inline]
    fn begin(&mut self, key: &str, value_length: usize) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        };
        self.left = left;
        prefix(self.out, self.field, key_value_length(key, value_length));
        text(self.out, 1, key);
        prefix(self.out, 2, value_length);
        true
    }
}

/// An `AnyValue`. The field tells the type, so empty values are written too.
fn any_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => bytes(out, 1, text.as_str().as_bytes()),
        Value::Bool(value) => any_bool(out, *value),
        Value::I64(value) => any_integer(out, *value),
        Value::F64(value) => any_double(out, *value),
        Value::Array(array) => {
            let mut items = Vec::new();
            match array {
                Array::String(texts) => each(&mut items, texts, |out, text| {
                    bytes(out, 1, text.as_str().as_bytes());
                }),
                Array::Bool(values) => each(&mut items, values, |out, it| any_bool(out, *it)),
                Array::I64(values) => each(&mut items, values, |out, it| any_integer(out, *it)),
                Array::F64(values) => each(&mut items, values, |out, it| any_double(out, *it)),
                // Types that a later version of the API may add.
                _ => {}
            }
            bytes(out, 5, &items);
        }
        _ => {}
    }
}

fn each<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    let mut content = Vec::new();
    for item in items {
        content.clear();
        write(&mut content, item);
        bytes(out, 1, &content);
    }
}

fn any_bool(out: &mut Vec<u8>, value: bool) {
    tag(out, 2, VARINT);
    varint(out, value.into());
}

fn any_integer(out: &mut Vec<u8>, value: i64) {
    tag(out, 3, VARINT);
    // Protobuf encodes negative integers as their two's complement.
    varint(out, value.cast_unsigned());
}

fn any_double(out: &mut Vec<u8>, value: f64) {
    tag(out, 4, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The length of a varint: seven bits a byte.
#[inline]
fn varint_length(value: u64) -> usize {
    value.checked_ilog2().unwrap_or_default() as usize / 7 + 1
}

/// The length of a field with a number below 16 and content of this length.
#[inline]
fn field_length(content: usize) -> usize {
    1 + varint_length(content as u64) + content
}

/// The length of an `AnyValue` with a text.
#[inline]
fn string_length(text: usize) -> usize {
    field_length(text)
}

/// The length of a `KeyValue` whose value has this length.
#[inline]
fn key_value_length(key: &str, value: usize) -> usize {
    text_length(key) + field_length(value)
}

/// The length of a field with text, which is left out if empty.
#[inline]
fn text_length(text: &str) -> usize {
    match text.len() {
        0 => 0,
        length => field_length(length),
    }
}

fn fixed_32(out: &mut Vec<u8>, field: u32, number: u32) {
    tag(out, field, FIXED_32);
    out.extend_from_slice(&number.to_le_bytes());
}

/// A field with a time in nanoseconds since 1970, left out if not after it.
pub(super) fn time(out: &mut Vec<u8>, field: u32, time: SystemTime) {
    let nanos = nanos(time);
    if nanos != 0 {
        tag(out, field, FIXED_64);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
}

#[cfg(test)]
#[path = "otlp_encoder_tests.rs"]
mod tests;
