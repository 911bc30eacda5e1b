use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::note::SigningKey;
use crate::audit::tree::tile_dir::TileDir;
use crate::audit::tree::writer::Leaves;

struct Nothing;

impl Leaves for Nothing {
    fn first(&self) -> u64 {
        0
    }

    fn end(&self) -> u64 {
        0
    }

    fn each_from(&mut self, _: u64, _: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()> {
        Ok(())
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed("callgate/test", [9; 32]).expect("a key")
}

fn wait(mut until: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < end, "it takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}

fn signed(dir: &TileDir) -> u64 {
    let note = dir
        .read_checkpoint()
        .expect("readable")
        .expect("a checkpoint");
    Checkpoint::open(&note, &key().verifying_key())
        .expect("signed")
        .size
}

#[test]
fn checkpoints_follow_traffic_and_the_last_one_covers_everything() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let tree = TreeWriter::open(dir.clone(), key(), &mut Nothing).expect("a tree");
    let synced = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&synced);
    let sync = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let thread =
        TreeThread::start(tree, Duration::from_millis(20), Box::new(sync)).expect("a thread");
    for count in 1..=300 {
        thread.append(&[TreeHash::leaf(b"x"); 3]).expect("taken");
        if count % 100 == 0 {
            wait(|| thread.watch().state().signed == 3 * count);
            assert_eq!(signed(&dir), 3 * count);
        }
    }
    // Without traffic there is nothing to sign.
    let before = synced.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(80));
    assert_eq!(synced.load(Ordering::Relaxed), before);
    thread.append(&[TreeHash::leaf(b"y")]).expect("taken");
    drop(thread);
    assert_eq!(signed(&dir), 901);
}

#[test]
fn a_checkpoint_that_fails_is_told_and_tried_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let tree = TreeWriter::open(dir.clone(), key(), &mut Nothing).expect("a tree");
    let is_full = Arc::new(AtomicBool::new(true));
    let disk = Arc::clone(&is_full);
    let sync = move || match disk.load(Ordering::Relaxed) {
        true => Err(io::Error::other("no space")),
        false => Ok(()),
    };
    let thread =
        TreeThread::start(tree, Duration::from_millis(10), Box::new(sync)).expect("a thread");
    thread.append(&[TreeHash::leaf(b"x")]).expect("taken");
    wait(|| thread.watch().state().fault.as_deref() == Some("no space"));
    assert_eq!(signed(&dir), 0);
    is_full.store(false, Ordering::Relaxed);
    wait(|| {
        thread.watch().state()
            == TreeState {
                signed: 1,
                fault: None,
            }
    });
    assert_eq!(signed(&dir), 1);
}

#[test]
fn who_appends_or_asks_hears_of_a_thread_that_has_panicked() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let tree = TreeWriter::open(dir, key(), &mut Nothing).expect("a tree");
    let sync = || panic!("on purpose");
    let thread =
        TreeThread::start(tree, Duration::from_millis(10), Box::new(sync)).expect("a thread");
    // More than may wait: who appends must not wait for room that nobody makes.
    let many = vec![TreeHash::leaf(b"x"); MAX_LEAVES / 4];
    wait(|| thread.append(&many).is_err());
    let fault = thread.watch().state().fault;
    assert!(fault.is_some_and(|it| it.contains("on purpose")));
}

#[test]
fn leaves_come_in_their_order_from_whoever_is_faster() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let tree = TreeWriter::open(dir.clone(), key(), &mut Nothing).expect("a tree");
    let thread = TreeThread::start(tree, Duration::from_millis(5), Box::new(|| Ok(())));
    let thread = thread.expect("a thread");
    let leaf = |index: u64| TreeHash::leaf(&index.to_le_bytes());
    let mut whole = Frontier::default();
    for round in 0..200_u64 {
        let leaves: Vec<_> = (round * 7..round * 7 + 7).map(leaf).collect();
        leaves.iter().for_each(|leaf| whole.push(*leaf, |_, _| {}));
        thread.append(&leaves).expect("taken");
        if round % 50 == 0 {
            // Long enough for the thread to wait for the next.
            thread::sleep(Duration::from_millis(70));
        }
    }
    drop(thread);
    let note = dir.read_checkpoint().expect("readable").expect("there");
    let checkpoint = Checkpoint::open(&note, &key().verifying_key()).expect("signed");
    assert_eq!((checkpoint.size, checkpoint.root), (1_400, whole.root()));
}
