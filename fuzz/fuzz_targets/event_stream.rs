//! Event streams: cut into the same events wherever the pieces end, no byte is lost or moved, and a plain event carries what
//! the standard's reader takes out of it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/adapters/envoy/sse.rs"]
#[allow(dead_code, unreachable_pub)]
mod events;

use events::{EventSplitter, ServerSentEvent, TooLong};

const LIMIT: usize = 4_096;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let whole = split(&[stream]);
    let (one, other) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(whole, split(&[one, other]), "the pieces do not matter");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, split(&bytes), "nor how small they are");
    let Ok(found) = whole else {
        return;
    };
    let passed: Vec<u8> = found.concat();
    assert!(stream.starts_with(&passed), "bytes in their order");
    for raw in found {
        let Ok(event) = ServerSentEvent::read(raw.clone()) else {
            continue;
        };
        assert_eq!(event.raw, raw);
        let text = std::str::from_utf8(&raw).expect("what is read is text");
        assert_eq!(event.data, data_by_the_standard(text));
        if event.is_plain && !event.data.is_empty() {
            let written = event.with_data(&event.data);
            let again = ServerSentEvent::read(written).expect("what is written is an event");
            assert_eq!(again.data, event.data);
        }
    }
});

fn split(pieces: &[&[u8]]) -> Result<Vec<Bytes>, TooLong> {
    let mut splitter = EventSplitter::new(LIMIT);
    let mut found = Vec::new();
    for piece in pieces {
        found.extend(splitter.push(piece)?);
    }
    Ok(found)
}

/// The data buffer of an event as the HTML standard interprets a stream (9.2.6), without its last line feed.
fn data_by_the_standard(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut data = String::new();
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            data.push_str(value.strip_prefix(' ').unwrap_or(value));
            data.push('\n');
        }
    }
    data.strip_suffix('\n').map(str::to_owned).unwrap_or(data)
}
