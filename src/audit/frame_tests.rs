use super::{
    Contents, FRAME_HEADER, FrameReader, HEADER, Parsed, Step, header, parse, parse_header, push,
};

fn framed(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        push(&mut bytes, payload);
    }
    bytes
}

fn steps(bytes: &[u8]) -> Vec<Step> {
    let mut frames = FrameReader::new(bytes, 0, 100);
    let mut steps = Vec::new();
    loop {
        let step = frames.step().unwrap();
        let is_end = matches!(step, Step::End(_));
        steps.push(step);
        if is_end {
            return steps;
        }
    }
}

const ONE: &[u8] = b"the first payload";
const TWO: &[u8] = b"the second payload";

#[test]
fn a_header_says_the_first_index() {
    let bytes = header(Contents::CapsuleGroups, 77);
    assert_eq!(bytes.len(), HEADER);
    assert_eq!(&bytes[..8], b"CGCAPSG2");
    assert_eq!(parse_header(&bytes), Some((Contents::CapsuleGroups, 77)));
    let bytes = header(Contents::Records, 77);
    assert_eq!(&bytes[..8], b"CGAUDIT1");
    assert_eq!(parse_header(&bytes), Some((Contents::Records, 77)));
    let mut other = bytes;
    other[7] = b'2';
    assert_eq!(parse_header(&other), None);
}

#[test]
fn frames_are_read_as_they_were_written() {
    let bytes = framed(&[ONE, TWO]);
    let expected = [
        Step::Frame(ONE.to_vec()),
        Step::Frame(TWO.to_vec()),
        Step::End(0),
    ];
    assert_eq!(steps(&bytes), expected);
}

#[test]
fn zeros_are_no_frames() {
    assert_eq!(parse(&[0; 64], 100), Parsed::Damaged(None));
    let mut bytes = framed(&[ONE]);
    bytes.extend([0; 64]);
    assert_eq!(steps(&bytes), [Step::Frame(ONE.to_vec()), Step::End(64)]);
}

#[test]
fn after_damage_reading_goes_on_with_the_next_frame() {
    for flipped in 0..(FRAME_HEADER + ONE.len()) * 8 {
        let mut bytes = framed(&[ONE, TWO]);
        bytes[flipped / 8] ^= 1 << (flipped % 8);
        let skipped = (FRAME_HEADER + ONE.len()) as u64;
        let expected = [
            Step::Skipped(skipped),
            Step::Frame(TWO.to_vec()),
            Step::End(0),
        ];
        assert_eq!(steps(&bytes), expected, "bit {flipped}");
    }
}

#[test]
fn what_is_not_complete_is_there_once_it_is() {
    struct Growing<'a>(std::cell::RefCell<&'a [u8]>, std::cell::Cell<usize>);
    impl std::io::Read for &Growing<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let may = self.1.get().min(out.len());
            self.1.set(self.1.get() - may);
            let mut rest = self.0.borrow_mut();
            out[..may].copy_from_slice(&rest[..may]);
            *rest = &rest[may..];
            Ok(may)
        }
    }
    let bytes = framed(&[ONE, TWO]);
    for cut in 0..bytes.len() {
        let growing = Growing(std::cell::RefCell::new(&bytes), std::cell::Cell::new(cut));
        let mut frames = FrameReader::new(&growing, 0, 100);
        let mut found = Vec::new();
        while let Step::Frame(payload) = frames.step().unwrap() {
            found.push(payload);
        }
        growing.1.set(bytes.len() - cut);
        while let Step::Frame(payload) = frames.step().unwrap() {
            found.push(payload);
        }
        assert_eq!(found, [ONE, TWO], "cut at {cut}");
    }
}
