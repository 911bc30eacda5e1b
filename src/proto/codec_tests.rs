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
