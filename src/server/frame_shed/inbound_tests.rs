use proptest::prelude::*;

use super::*;
use crate::server::frame_shed::paths::huffman;

const SHEDDABLE: &str = "/callgate.v1.Authorization/Authorize";
const CONTROL: &str = "/callgate.v1.Control/StopTool";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = FrameHead {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    head.write(&mut bytes);
    bytes.extend(payload);
    bytes
}

fn block(path: &str) -> Vec<u8> {
    let coded = huffman(path.as_bytes()).expect("within the table");
    let length = u8::try_from(coded.len()).expect("short");
    [&[0x83, 0x86, 0x04, 0x80 | length][..], &coded].concat()
}

fn headers(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(path))
}

fn request(stream: u32, path: &str) -> Vec<u8> {
    [
        headers(stream, path),
        frame(DATA, END_STREAM, stream, b"message"),
    ]
    .concat()
}

fn emptied(stream: u32) -> Vec<u8> {
    let block = [vec![0x20], block(SHEDDABLE)].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// Everything in one piece.
fn all(inbound: &mut Inbound, bytes: &[u8], choice: Choice) -> (Vec<u8>, Vec<u32>) {
    let mut output = Vec::new();
    let filtered = inbound.filter(bytes, &mut output, usize::MAX, || choice);
    assert_eq!(filtered.consumed, bytes.len());
    (output, filtered.refused)
}

/// One whose client keeps no table any more. The last stream is 1.
fn independent() -> Inbound {
    let mut inbound = Inbound::default();
    inbound.scan(&[0; PREFACE]);
    assert!(!inbound.may_ask(), "nothing is acknowledged");
    inbound.scan(&frame(SETTINGS, 0, 0, &[]));
    inbound.scan(&frame(SETTINGS, ACK, 0, &[]));
    assert!(inbound.may_ask() && !inbound.is_filtering());
    assert_eq!(inbound.ask(), 0);
    let agreed = frame(SETTINGS, ACK, 0, &[]);
    let (passed, _) = all(&mut inbound, &agreed, Choice::Refuse);
    assert_eq!(passed, b"", "the answer to us is not passed on");
    let first = emptied(1);
    let (passed, refused) = all(&mut inbound, &first, Choice::Refuse);
    assert_eq!((passed, refused), (first, vec![]), "what resizes passes");
    assert_eq!(inbound.phase(), Phase::Independent);
    inbound
}

#[test]
fn a_refused_request_is_left_out_with_all_that_belongs_to_it() {
    let mut inbound = independent();
    let kept = [
        frame(6, 0, 0, b"are you?"),
        request(7, CONTROL),
        frame(RST_STREAM, 0, 7, &[0, 0, 0, 8]),
    ];
    let all_of_it = [
        headers(3, SHEDDABLE),
        kept[0].clone(),
        frame(DATA, 0, 3, b"half of"),
        request(5, SHEDDABLE),
        frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]),
        frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 8]),
        kept[1].clone(),
        kept[2].clone(),
        frame(DATA, END_STREAM, 3, b"a message"),
        headers(9, SHEDDABLE),
        frame(RST_STREAM, 0, 9, &[0, 0, 0, 8]),
    ];
    let (passed, refused) = all(&mut inbound, &all_of_it.concat(), Choice::Refuse);
    assert_eq!(passed, kept.concat());
    assert_eq!(refused, [3, 5, 9]);
    assert!(inbound.unfinished.is_empty());
}

#[test]
fn without_refusals_everything_passes() {
    let mut inbound = independent();
    let bytes = [request(3, SHEDDABLE), request(5, CONTROL)].concat();
    assert_eq!(all(&mut inbound, &bytes, Choice::Pass), (bytes, vec![]));
}

#[test]
fn nothing_is_refused_before_the_client_has_emptied_its_table_and_after_it_may_keep_one() {
    let refuse = Choice::Refuse;
    let mut inbound = independent();
    assert_eq!(inbound.restore(), DEFAULT_TABLE);
    let bytes = request(3, SHEDDABLE);
    assert_eq!(all(&mut inbound, &bytes, refuse), (bytes, vec![]));
    let restored = frame(SETTINGS, ACK, 0, &[]);
    assert_eq!(all(&mut inbound, &restored, refuse), (vec![], vec![]));
    assert_eq!(inbound.phase(), Phase::Off);
    assert!(!inbound.is_filtering() && inbound.may_ask());
    inbound.ask();
    let bytes = request(5, SHEDDABLE);
    assert_eq!(all(&mut inbound, &bytes, refuse), (bytes, vec![]));
    all(&mut inbound, &restored, refuse);
    let bytes = request(7, SHEDDABLE);
    assert_eq!(all(&mut inbound, &bytes, refuse), (bytes, vec![]), "agreed");
}

#[test]
fn a_client_that_resizes_its_table_as_it_likes_is_left_alone() {
    let resized = |stream| {
        let block = [vec![0x3f, 0xe1, 0x1f], block(SHEDDABLE)].concat();
        frame(HEADERS, END_HEADERS, stream, &block)
    };
    let padded = |stream| frame(HEADERS, END_HEADERS | PADDED, stream, &[0; 20]);
    for odd in [resized(3), emptied(3), padded(3)] {
        let mut inbound = independent();
        let bytes = [odd, request(5, SHEDDABLE)].concat();
        let passed = all(&mut inbound, &bytes, Choice::Refuse);
        assert_eq!(passed, (bytes, vec![]));
        assert_eq!(inbound.phase(), Phase::Never);
    }
}

#[test]
fn a_window_that_dropped_data_took_is_given_back() {
    let mut inbound = independent();
    let data = vec![0; 10 << 10];
    let bytes = [headers(3, SHEDDABLE), frame(DATA, 0, 3, &data)].concat();
    all(&mut inbound, &bytes, Choice::Refuse);
    assert_eq!(inbound.take_owed(), None, "not for so little");
    all(
        &mut inbound,
        &frame(DATA, END_STREAM, 3, &data),
        Choice::Refuse,
    );
    assert_eq!(inbound.take_owed(), Some(20 << 10));
    assert_eq!(inbound.take_owed(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Ask { is_control: bool, is_cut: bool },
    Ping,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), any::<bool>())
            .prop_map(|(is_control, is_cut)| Step::Ask { is_control, is_cut }),
        Just(Step::Ping),
        Just(Step::Reset),
    ]
}

proptest! {
    /// However the bytes arrive, and however much room there is for what passes, the same passes.
    #[test]
    fn pieces_make_no_difference(
        steps in prop::collection::vec(step(), 0..20),
        pieces in prop::collection::vec(1..40_usize, 1..50),
        room in 9..64_usize,
    ) {
        let (mut bytes, mut stream) = (Vec::new(), 1);
        for step in steps {
            match step {
                Step::Ask { is_control, is_cut } => {
                    stream += 2;
                    let path = if is_control { CONTROL } else { SHEDDABLE };
                    bytes.extend(headers(stream, path));
                    if is_cut {
                        bytes.extend(frame(DATA, 0, stream, b"half"));
                    } else {
                        bytes.extend(frame(DATA, END_STREAM, stream, b"whole"));
                    }
                }
                Step::Ping => bytes.extend(frame(6, 0, 0, b"are you?")),
                Step::Reset => bytes.extend(frame(RST_STREAM, 0, stream, &[0; 4])),
            }
        }
        let expected = all(&mut independent(), &bytes, Choice::Refuse);
        let mut inbound = independent();
        let (mut held, mut passed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rest, mut sizes) = (&bytes[..], pieces.into_iter().cycle());
        loop {
            let mut output = Vec::new();
            let filtered = inbound.filter(&held, &mut output, room, || Choice::Refuse);
            held.drain(..filtered.consumed);
            passed.extend(&output);
            refused.extend(filtered.refused);
            if filtered.consumed > 0 {
                continue;
            }
            if rest.is_empty() {
                break;
            }
            let size = sizes.next().unwrap_or(1).min(rest.len());
            held.extend(&rest[..size]);
            rest = &rest[size..];
        }
        prop_assert_eq!(held, b"");
        prop_assert_eq!((passed, refused), expected);
    }

    /// Nothing that a client sends panics, and what passes is never more than came.
    #[test]
    fn whatever_comes_is_followed(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut inbound = independent();
        let mut output = Vec::new();
        let filtered = inbound.filter(&bytes, &mut output, usize::MAX, || Choice::Refuse);
        prop_assert!(output.len() <= filtered.consumed && filtered.consumed <= bytes.len());
    }
}
