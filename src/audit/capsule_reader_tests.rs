use std::fs;

use super::*;
use crate::audit::frame::Contents;

/// A file of capsules whose first record has this index, with one frame for each of these indices.
fn file(directory: &Path, first: u64, indices: &[u64]) -> PathBuf {
    let folder = directory.join(CAPSULES);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(log_files::name(first));
    let mut bytes = frame::header(Contents::CapsuleGroups, first).to_vec();
    for index in indices {
        frame::push(&mut bytes, &group(*index));
    }
    fs::write(&path, bytes).unwrap();
    path
}

/// A group of one capsule, which nobody can open.
fn group(index: u64) -> Vec<u8> {
    let mut payload = [index.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    payload.resize(100, 7);
    payload
}

fn append(path: &Path, index: u64) {
    let mut bytes = fs::read(path).unwrap();
    frame::push(&mut bytes, &group(index));
    fs::write(path, bytes).unwrap();
}

/// Which of the records have a capsule, and of which it was removed.
fn found(directory: &Path, indices: std::ops::Range<u64>) -> (Vec<u64>, Vec<u64>) {
    let mut reader = CapsuleReader::open(directory, indices.start).unwrap();
    let mut removed = Vec::new();
    let mut there = Vec::new();
    for index in indices {
        match reader.groups_of(index).is_empty() {
            false => there.push(index),
            true if reader.was_removed(index) => removed.push(index),
            true => {}
        }
    }
    (there, removed)
}

#[test]
fn what_is_damaged_is_not_taken_for_what_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let oldest = file(directory, 2, &[2, 3]);
    let middle = file(directory, 4, &[4, 5, 6]);
    file(directory, 7, &[7, 8]);
    assert_eq!(found(directory, 0..9), ((2..9).collect(), vec![0, 1]));
    // A bit of a frame, a header, an end that is cut.
    let whole = fs::read(&middle).unwrap();
    let mut flipped = whole.clone();
    flipped[frame::HEADER + 150] ^= 1;
    fs::write(&middle, flipped).unwrap();
    assert_eq!(found(directory, 0..9), (vec![2, 3, 4, 6, 7, 8], vec![0, 1]));
    let mut headless = whole.clone();
    headless[0] = 0;
    fs::write(&middle, headless).unwrap();
    assert_eq!(found(directory, 0..9), (vec![2, 3, 7, 8], vec![0, 1]));
    fs::write(&middle, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(found(directory, 0..9).0, [2, 3, 4, 5, 7, 8]);
    fs::remove_file(&middle).unwrap();
    assert_eq!(found(directory, 0..9), (vec![2, 3, 7, 8], vec![0, 1]));
    fs::remove_file(oldest).unwrap();
    assert_eq!(found(directory, 0..9), (vec![7, 8], (0..7).collect()));
}

#[test]
fn a_file_that_grows_is_read_on_and_so_is_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let first = file(directory, 0, &[0]);
    let mut reader = CapsuleReader::open(directory, 0).unwrap();
    let is_there = |reader: &mut CapsuleReader, index| !reader.groups_of(index).is_empty();
    assert!(is_there(&mut reader, 0) && !is_there(&mut reader, 1));
    append(&first, 2);
    assert!(is_there(&mut reader, 2));
    append(&first, 3);
    file(directory, 4, &[4]);
    assert!(is_there(&mut reader, 3) && is_there(&mut reader, 4));
}

#[test]
fn a_file_that_was_compressed_or_removed_meanwhile_is_found_or_known_to_be_removed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let paths = [0, 2, 4].map(|first| file(directory, first, &[first, first + 1]));
    let mut reader = CapsuleReader::open(directory, 0).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    let compressed = zstd::stream::encode_all(&fs::read(&paths[1]).unwrap()[..], 1).unwrap();
    let place = directory.join(CAPSULES).join(log_files::compressed_name(2));
    fs::write(place, compressed).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    assert!(reader.groups_of(0).is_empty() && reader.was_removed(0));
    assert!((2..6).all(|index| !reader.groups_of(index).is_empty()));
    assert!(!reader.was_removed(2));
}
