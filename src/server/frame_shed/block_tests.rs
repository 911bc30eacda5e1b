use proptest::prelude::*;

use super::*;

fn plain(text: &str) -> EncodedStr<'_> {
    EncodedStr {
        is_huffman: false,
        bytes: text.as_bytes(),
    }
}

fn field(index: u8, value: &str) -> Vec<u8> {
    let mut field = vec![index, u8::try_from(value.len()).expect("short")];
    field.extend(value.as_bytes());
    field
}

#[test]
fn a_path_is_found_in_every_form_of_field() {
    for index in [0x04, 0x05, 0x14, 0x44] {
        let mut block = vec![0x83, 0x86];
        block.extend(field(1, "an authority"));
        block.extend(field(index, "/a/b"));
        block.push(0x84);
        assert_eq!(path(&block), Some(plain("/a/b")), "{index:#x}");
    }
}

#[test]
fn a_path_whose_name_is_spelled_out_is_found() {
    let plain_name = field(0x40, ":path");
    let coded = crate::server::frame_shed::paths::huffman(b":path").expect("within the table");
    let coded_name = [
        &[0x40, 0x80 | u8::try_from(coded.len()).expect("short")],
        &*coded,
    ]
    .concat();
    for name in [plain_name, coded_name] {
        let mut block = vec![0x83, 0x86];
        block.extend(field(0x40, ":patx"));
        block.extend([1, b'x']);
        block.extend(name);
        block.extend([4, b'/', b'a', b'/', b'b']);
        assert_eq!(path(&block), Some(plain("/a/b")));
    }
}

#[test]
fn a_field_with_a_name_of_its_own_is_stepped_over() {
    let mut block = field(0, "te");
    block.extend(field(8, "trailers").into_iter().skip(1));
    block.extend(field(4, "/a/b"));
    assert_eq!(path(&block), Some(plain("/a/b")));
}

#[test]
fn long_integers_are_read_and_too_long_ones_are_not() {
    // 200 bytes: 127 and 73 more.
    let mut block = vec![4, 127, 73];
    block.extend([b'x'; 200]);
    assert_eq!(path(&block).map(|it| it.bytes.len()), Some(200));
    assert_eq!(path(&[4, 127, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
}

#[test]
fn a_string_of_any_length_is_written_as_it_is_read() {
    for length in [0, 1, 126, 127, 128, 254, 255, 300, 127 + 128 * 128 + 5] {
        let bytes = vec![b'x'; length];
        let mut block = Vec::new();
        push_string(&mut block, &bytes);
        let mut rest = &*block;
        let read = string(&mut rest).map(|it| (it.is_huffman, it.bytes.len()));
        assert_eq!((read, rest), (Some((false, length)), &[][..]), "{length}");
    }
}

#[test]
fn a_block_without_a_path_has_none() {
    assert_eq!(path(&[]), None);
    assert_eq!(path(&[0x83, 0x84]), None, "the path `/` of the table");
    assert_eq!(path(&[4, 10, b'/']), None, "shorter than it says");
}

#[test]
fn how_a_block_begins_is_told_apart() {
    assert_eq!(start(&[0x20, 0x83]), Start::TableEmptied);
    assert_eq!(start(&[0x20]), Start::TableEmptied);
    assert_eq!(start(&[0x20, 0x3f, 0xe1, 0x1f, 0x83]), Start::TableResized);
    assert_eq!(start(&[0x3f, 0xe1, 0x1f, 0x83]), Start::TableResized);
    assert_eq!(start(&[0x83]), Start::Field);
    assert_eq!(start(&[]), Start::Field);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_to_its_end(block in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(found) = path(&block) {
            prop_assert!(found.bytes.len() <= block.len());
        }
    }
}
