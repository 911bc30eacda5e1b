use super::*;
use crate::server::frame_shed::frame::DATA;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = FrameHead {
        length: payload.len(),
        kind,
        flags,
        stream: 1,
    };
    head.write(&mut bytes);
    bytes.extend(payload);
    bytes
}

#[test]
fn nothing_comes_into_a_frame_or_between_parts_of_a_header_block() {
    let mut frames = frame(HEADERS, 0, b"begin");
    let opened = frames.len();
    frames.extend(frame(CONTINUATION, END_HEADERS, b"end"));
    let closed = frames.len();
    frames.extend(frame(DATA, END_STREAM, b"data"));
    let mut outbound = Outbound::default();
    outbound.answer(3, b"no");
    for (place, byte) in frames.iter().enumerate() {
        let is_free = place == 0 || place == closed;
        assert_eq!(!outbound.insertable().is_empty(), is_free, "{place}");
        outbound.note_written(&[*byte]);
    }
    assert!(opened < closed);
    assert!(!outbound.insertable().is_empty(), "at the end");
}

#[test]
fn what_is_written_in_part_goes_on_where_it_was() {
    let mut outbound = Outbound::default();
    outbound.answer(3, b"no");
    outbound.set_table_size(0);
    outbound.return_window(7);
    let whole = outbound.insertable().to_vec();
    let expected = [
        &[0, 0, 2, 1, 5, 0, 0, 0, 3][..],
        b"no",
        &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    ];
    assert_eq!(whole, expected.concat());
    let mut written = Vec::new();
    while let Some(first) = outbound.insertable().first().copied() {
        written.push(first);
        outbound.note_inserted(1);
    }
    assert_eq!(written, whole);
    assert!(!outbound.is_full());
    for stream in 0..2_000 {
        outbound.answer(stream, &[0; 64]);
    }
    assert!(outbound.is_full());
}
