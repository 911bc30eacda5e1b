use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::*;
use crate::proto::v1;

fn nested(levels: u32) -> Struct {
    let kind = match levels {
        1 => Kind::BoolValue(true),
        _ => Kind::StructValue(nested(levels - 1)),
    };
    let fields = BTreeMap::from([("a".to_owned(), Value { kind: Some(kind) })]);
    Struct { fields }
}

fn read(levels: u32) -> Result<(), String> {
    let request = v1::AuthorizeRequest {
        call_context: Some(Box::new(v1::CallContext {
            delegation: Some(v1::Delegation {
                root_claims: Some(nested(levels)),
                ..v1::Delegation::default()
            }),
            ..v1::CallContext::default()
        })),
        ..v1::AuthorizeRequest::default()
    };
    let read = decode::<v1::AuthorizeRequest>(request.encode_to_vec().as_slice());
    read.map(drop).map_err(|status| status.message().to_owned())
}

#[test]
fn what_nests_too_deep_is_told_by_its_field_in_a_line() {
    assert_eq!(read(31), Ok(()));
    for levels in [33, 40, 1_000] {
        let said = read(levels).expect_err("too deep");
        assert_eq!(
            said,
            "`call_context.delegation.root_claims` is nested deeper than protobuf messages are read: a Struct has 31 levels at \
             most, JSON text more"
        );
    }
}

#[test]
fn other_bytes_are_told_with_what_is_wrong_with_them() {
    let said = decode::<v1::AuthorizeRequest>(&[0x0a, 0x05, 0x01][..]).expect_err("cut off");
    assert!(
        said.message()
            .starts_with("not a protobuf message of this RPC: "),
        "{said:?}"
    );
}

fn message(bytes: &[u8]) -> EncodedMessage<()> {
    EncodedMessage::write(|out| out.extend_from_slice(bytes))
}

#[test]
fn messages_that_share_memory_keep_their_bytes() {
    let lengths = [0, 1, 150, 1_000, 1_024, 1_100, 5_000, 70_000];
    let all: Vec<_> = (0..200_u8)
        .flat_map(|byte| lengths.map(|length| vec![byte; length]))
        .collect();
    let mut written: Vec<_> = all.iter().map(|bytes| message(bytes)).collect();
    // What is sent first need not have been written first.
    written.reverse();
    for bytes in &all {
        let frame = written.pop().expect("as many").into_frame().expect("short");
        let (prefix, content) = frame.split_at(PREFIX_BYTES);
        assert_eq!(prefix[0], 0, "not compressed");
        assert_eq!(prefix[1..], (bytes.len() as u32).to_be_bytes());
        assert_eq!(content, bytes);
    }
}

#[test]
fn only_short_messages_share_memory_and_no_more_than_a_chunk_of_it() {
    let mut chunk = BytesMut::new();
    let mut take = |length: usize| in_chunk(&mut chunk, &vec![7; length]);
    let [first, second] = [150, 150].map(&mut take);
    assert_eq!(first.as_ptr().wrapping_add(150), second.as_ptr());
    let long = take(CHUNK_BYTES / 4 + 1);
    let third = take(150);
    assert_ne!(second.as_ptr().wrapping_add(150), long.as_ptr());
    assert_eq!(second.as_ptr().wrapping_add(150), third.as_ptr());
    let many: Vec<Bytes> = (0..100).map(|_| take(1_000)).collect();
    let neighbours = many.windows(2).filter(|pair| {
        let [one, next] = pair else { return false };
        one.as_ptr().wrapping_add(1_000) == next.as_ptr()
    });
    assert!((1..=75).contains(&neighbours.count()), "four in a chunk");
}
