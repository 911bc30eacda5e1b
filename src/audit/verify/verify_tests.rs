use std::fs;

use super::*;
use crate::audit::fixtures::{self, many, verifying_key, write_log, write_segments};
use crate::audit::frame;
use crate::audit::log_files::{LogFile, SEGMENTS};
use crate::audit::record::Record;
use crate::audit::record::schema::{Notice, notice, record};

struct Log {
    dir: tempfile::TempDir,
    records: Vec<Record>,
}

impl Log {
    fn new(records: Vec<Record>, per_file: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write_log(dir.path(), &records, per_file);
        Self { dir, records }
    }

    fn request(&self) -> Request {
        Request {
            directory: self.dir.path().to_owned(),
            key: verifying_key(),
            older: Vec::new(),
            from: 0,
            to: None,
        }
    }

    fn verify(&self) -> Report {
        verify(&self.request()).expect("a log")
    }

    fn files(&self) -> Vec<LogFile> {
        log_files::list(&self.dir.path().join(SEGMENTS)).expect("files")
    }

    fn tiles(&self) -> TileDir {
        TileDir::new(self.dir.path().join(TREE))
    }

    /// The last checkpoint as it is on disk.
    fn note(&self) -> String {
        let note = self.tiles().read_checkpoint();
        note.expect("readable").expect("a checkpoint")
    }

    /// The tiles, and the last checkpoint that was signed over them.
    fn signed(&self) -> (TileDir, Checkpoint) {
        let checkpoint = Checkpoint::open(&self.note(), &verifying_key()).expect("signed");
        (self.tiles(), checkpoint)
    }

    /// Writes the records anew, without changing the tree.
    fn rewrite(&self, records: &[Record], per_file: usize) {
        fs::remove_dir_all(self.dir.path().join(SEGMENTS)).expect("removed");
        write_segments(self.dir.path(), records, per_file);
    }
}

fn random(state: &mut u64) -> u64 {
    // splitmix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_log_as_it_was_logged_is_in_order() {
    for (count, per_file) in [(1, 10), (255, 100), (256, 256), (700, 64)] {
        let report = Log::new(many(count), per_file).verify();
        let count = count as u64;
        assert_eq!(report.faults, []);
        assert!(report.ok);
        assert_eq!((report.first, report.end), (0, count));
        assert_eq!((report.signed, report.proven), (count, count));
    }
}

#[test]
fn a_file_that_is_just_being_made_is_nothing_wrong_unless_it_had_records() {
    let log = Log::new(many(100), 25);
    let begun = |first: u64| log.dir.path().join(SEGMENTS).join(log_files::name(first));
    let whole = fs::read(begun(75)).expect("a file");
    for length in 0..frame::HEADER {
        fs::write(begun(100), &whole[..length]).expect("written");
        let report = log.verify();
        assert!(report.ok, "{report:?}");
        assert_eq!((report.end, report.torn_bytes), (100, length as u64));
    }
    fs::remove_file(begun(100)).expect("removed");
    for (first, length) in [(75, 0), (75, 5), (25, 0), (25, 5)] {
        let whole = fs::read(begun(first)).expect("a file");
        fs::write(begun(first), &whole[..length]).expect("written");
        assert!(!log.verify().ok, "{first} cut to {length}");
        fs::write(begun(first), whole).expect("written");
    }
    assert!(log.verify().ok);
}

#[test]
fn every_flipped_bit_of_a_thousand_records_is_found() {
    let log = Log::new(many(1_000), 4);
    let (dir, checkpoint) = log.signed();
    let tiles = TreeReader::new(dir, checkpoint.size);
    let mut tree = AuthenticTree::new(tiles, checkpoint.root);
    let files = log.files();
    let mut flips = 0;
    for (at, file) in files.iter().enumerate() {
        let end = files.get(at + 1).map_or(1_000, |next| next.first);
        let content = fs::read(&file.path).expect("a file");
        let mut check = |content: &[u8]| {
            let mut faults = Faults::default();
            let mut scan = Scan::new(
                log.dir.path(),
                &mut tree,
                UnsignedTiles::default(),
                (file.first, Some(end - 1)),
            );
            scan.input(content, file, &mut faults).expect("readable");
            scan.finish(1_000, &mut faults);
            faults.count()
        };
        assert_eq!(check(&content), 0);
        for bit in 0..content.len() * 8 {
            let mut changed = content.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&changed) > 0, "{} bit {bit}", file.path.display());
            flips += 1;
        }
    }
    assert!(flips > 400_000, "{flips}");
}

#[test]
fn a_change_is_found_although_its_checksum_is_right() {
    let log = Log::new(many(700), 100);
    let mut records = log.records.clone();
    records[321].at += 1;
    log.rewrite(&records, 100);
    let report = log.verify();
    let [Fault::Changed { index: 321, place }] = report.faults.as_slice() else {
        panic!("{:?}", report.faults);
    };
    assert_eq!(place.file, "segments/00000000000000000300.log");
    assert_eq!(report.proven, 699);
}

/// Removals, swaps, repetitions and truncations at random places.
#[test]
fn a_thousand_random_changes_are_found() {
    let log = Log::new(many(1_000), 128);
    let whole = log.records.clone();
    let mut state = 1;
    for case in 0..1_000 {
        let mut records = whole.clone();
        let at = usize::try_from(random(&mut state) % 1_000).expect("small");
        let other = usize::try_from(random(&mut state) % 1_000).expect("small");
        match case % 4 {
            0 => drop(records.remove(at)),
            1 if at != other => records.swap(at, other),
            1 => drop(records.pop()),
            2 => records.truncate(at),
            _ => records.insert(at, whole[other].clone()),
        }
        let folder = log.dir.path().join(SEGMENTS);
        fs::remove_dir_all(&folder).expect("removed");
        fs::create_dir_all(&folder).expect("made");
        for (number, records) in records.chunks(128).enumerate() {
            // The files keep their names, as somebody would leave them who hides the change.
            let first = number as u64 * 128;
            let mut file = frame::header(frame::Contents::Records, first).to_vec();
            records
                .iter()
                .for_each(|it| frame::push(&mut file, &fixtures::bytes(it)));
            fs::write(folder.join(log_files::name(first)), file).expect("written");
        }
        let report = log.verify();
        assert!(!report.ok, "case {case}: {at} {other}");
        assert!(report.faults.len() as u64 == report.fault_count.min(1_000));
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let faults = |change: &dyn Fn(&mut Vec<Record>)| {
        let log = Log::new(many(600), 1_000);
        let mut records = log.records.clone();
        change(&mut records);
        log.rewrite(&records, 1_000);
        log.verify()
            .faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(faults(&|records| drop(records.drain(40..43))), @"records 40 to 42 are missing");
    insta::assert_snapshot!(faults(&|records| records.truncate(598)), @"records 598 to 599 are cut off: the last checkpoint covers more than is there");
    insta::assert_snapshot!(faults(&|records| records.swap(7, 8)));
    let log = Log::new(many(600), 200);
    let file = &log.files()[1];
    let mut content = fs::read(&file.path).expect("a file");
    content[100] ^= 1;
    fs::write(&file.path, &content).expect("written");
    let told = log
        .verify()
        .faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(told);
    fs::remove_file(&file.path).expect("removed");
    let told = log
        .verify()
        .faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(told, @"records 200 to 399 are missing");
}

#[test]
fn damaged_tiles_are_told_and_records_prove_themselves() {
    for file in ["tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2"] {
        let log = Log::new(many(700), 100);
        let path = log.dir.path().join(TREE).join(file);
        let mut content = fs::read(&path).expect("a tile");
        content[17] ^= 4;
        fs::write(&path, &content).expect("written");
        let report = log.verify();
        assert!(!report.ok, "{file}");
        assert!(
            report
                .faults
                .iter()
                .all(|it| matches!(it, Fault::Tile { .. })),
            "{file}: {:?}",
            report.faults
        );
        assert_eq!(report.proven, 700);
        // Not if a record is another as well.
        let mut records = log.records.clone();
        records[3].at += 1;
        log.rewrite(&records, 100);
        let report = log.verify();
        let is_about_records =
            |it: &Fault| matches!(it, Fault::Unproven { .. } | Fault::Changed { index: 3, .. });
        assert!(
            report.faults.iter().any(is_about_records),
            "{file}: {:?}",
            report.faults
        );
    }
}

#[test]
fn a_checkpoint_that_is_missing_or_by_another_key_is_told() {
    let log = Log::new(many(10), 100);
    let mut request = log.request();
    let other = crate::audit::tree::note::SigningKey::from_seed("callgate.example/test", [1; 32]);
    request.key = other.expect("a key").verifying_key();
    let report = verify(&request).expect("a log");
    assert!(matches!(
        report.faults.as_slice(),
        [Fault::Checkpoint { .. }]
    ));
    assert_eq!((report.ok, report.proven, report.uncovered), (false, 0, 10));
    fs::remove_file(log.dir.path().join(TREE).join("checkpoint")).expect("removed");
    assert!(!log.verify().ok);
}

#[test]
fn an_older_checkpoint_tells_a_log_that_was_signed_anew() {
    let log = Log::new(many(500), 100);
    let checkpoint = || log.note();
    let old = checkpoint();
    // It goes on as it should.
    let leaf = |record: &Record| TreeHash::leaf(&fixtures::bytes(record));
    let before: Vec<_> = log.records.iter().map(leaf).collect();
    let grown = many(900);
    let more: Vec<_> = grown[500..].iter().map(leaf).collect();
    fixtures::write_tree(log.dir.path(), &before, &more);
    log.rewrite(&grown, 100);
    let mut request = log.request();
    request.older = vec![("old".to_owned(), old.clone())];
    let report = verify(&request).expect("a log");
    assert_eq!(
        (report.ok, report.older_checkpoints),
        (true, 1),
        "{:?}",
        report.faults
    );
    // Somebody who has the key changes a record and signs everything anew.
    let newer = checkpoint();
    let mut changed = grown;
    changed[10].at += 1;
    fs::remove_dir_all(log.dir.path().join(TREE)).expect("removed");
    fs::remove_dir_all(log.dir.path().join(SEGMENTS)).expect("removed");
    write_log(log.dir.path(), &changed, 100);
    assert!(log.verify().ok);
    for (older, name) in [(old, "old"), (newer, "newer")] {
        request.older = vec![(name.to_owned(), older)];
        let report = verify(&request).expect("a log");
        assert!(
            matches!(report.faults.as_slice(), [Fault::Older { .. }]),
            "{:?}",
            report.faults
        );
    }
    // Or takes away the end.
    fs::remove_dir_all(log.dir.path()).expect("removed");
    write_log(log.dir.path(), &many(400), 100);
    let report = verify(&request).expect("a log");
    assert!(
        matches!(report.faults.as_slice(), [Fault::Older { why, .. }] if why.contains("cut off"))
    );
}

#[test]
fn records_that_were_removed_because_of_their_age_are_no_fault_if_the_log_says_so() {
    // Capsules are removed as well, which says nothing of records.
    for says in [Some("records"), Some("capsules"), None] {
        let mut records = many(400);
        if let Some(what) = says {
            records[350].kind = Some(record::Kind::Notice(Notice {
                kind: notice::Kind::Removed.into(),
                text: what.to_owned(),
                first: 0,
                last: 299,
                ..Notice::default()
            }));
        }
        let log = Log::new(records, 100);
        for file in &log.files()[..3] {
            fs::remove_file(&file.path).expect("removed");
        }
        let says_so = says == Some("records");
        let removed = if says_so { 300 } else { 0 };
        let report = log.verify();
        assert_eq!(report.ok, says_so, "{:?}", report.faults);
        assert_eq!((report.first, report.proven), (300, 100));
        assert_eq!(report.removed, removed);
        // Nor does it depend on which of them are asked for; but what is asked for has to be there.
        for (from, to, first, proven) in [
            (0, 310, 300, 11),
            (250, 399, 300, 100),
            (0, 10, 300, 0),
            (250, 299, 300, 0),
        ] {
            let request = Request {
                from,
                to: Some(to),
                ..log.request()
            };
            if says_so && (from > 0 || to < 300) {
                let index = if from > 0 { from } else { to };
                let why = verify(&request).expect_err("not there").to_string();
                assert_eq!(
                    why,
                    format!(
                        "the log has no record {index} any more: those before 300 were removed by their age or size"
                    )
                );
                continue;
            }
            let report = verify(&request).expect("a log");
            assert_eq!(report.ok, says_so, "{from} to {to}: {:?}", report.faults);
            assert_eq!((report.first, report.proven), (first, proven));
            assert_eq!(report.removed, removed, "{from} to {to}");
            if !says_so {
                let last = to.min(299);
                let missing = Fault::Missing {
                    first: from,
                    last,
                    is_noted: false,
                };
                assert_eq!(report.faults, [missing]);
            }
        }
        let within = Request {
            from: 300,
            to: Some(320),
            ..log.request()
        };
        assert!(verify(&within).expect("a log").ok);
    }
}

#[test]
fn of_the_records_before_the_first_those_are_missing_that_the_log_did_not_remove() {
    let mut records = many(400);
    for (at, last) in [(320, 49), (350, 99)] {
        records[at].kind = Some(record::Kind::Notice(Notice {
            kind: notice::Kind::Removed.into(),
            text: "records".to_owned(),
            first: last - 49,
            last,
            ..Notice::default()
        }));
    }
    let log = Log::new(records, 100);
    for file in &log.files()[..2] {
        fs::remove_file(&file.path).expect("removed");
    }
    let missing = |first, last| {
        vec![Fault::Missing {
            first,
            last,
            is_noted: false,
        }]
    };
    let report = log.verify();
    assert_eq!(
        (report.faults, report.removed, report.first),
        (missing(100, 199), 100, 200)
    );
    for (from, to, faults) in [
        (0, 120, missing(100, 120)),
        (150, 250, missing(150, 199)),
        (50, 250, missing(100, 199)),
    ] {
        let request = Request {
            from,
            to: Some(to),
            ..log.request()
        };
        let report = verify(&request).expect("a log");
        assert_eq!(report.faults, faults, "{from} to {to}");
    }
}

#[test]
fn a_range_is_verified_by_itself() {
    let log = Log::new(many(700), 100);
    let mut records = log.records.clone();
    records[650].at += 1;
    log.rewrite(&records, 100);
    let mut request = log.request();
    (request.from, request.to) = (250, Some(640));
    let report = verify(&request).expect("a log");
    assert_eq!(
        (report.ok, report.proven),
        (true, 391),
        "{:?}",
        report.faults
    );
    request.to = Some(650);
    assert!(!verify(&request).expect("a log").ok);
}

#[test]
fn compressed_files_are_read() {
    let log = Log::new(many(300), 100);
    for file in &log.files()[..2] {
        let content = fs::read(&file.path).expect("a file");
        let packed = zstd::encode_all(&*content, 3).expect("packed");
        let name = log_files::compressed_name(file.first);
        fs::write(file.path.with_file_name(name), packed).expect("written");
        fs::remove_file(&file.path).expect("removed");
    }
    assert!(log.verify().ok);
    let file = &log.files()[0];
    let mut packed = fs::read(&file.path).expect("a file");
    let middle = packed.len() / 2;
    packed[middle] ^= 1;
    fs::write(&file.path, packed).expect("written");
    assert!(!log.verify().ok);
}

#[test]
fn what_is_being_written_is_no_fault() {
    let log = Log::new(many(300), 1_000);
    log.rewrite(&many(302), 1_000);
    let file = log.files().remove(0);
    let mut content = fs::read(&file.path).expect("a file");
    content.truncate(content.len() - 5);
    fs::write(&file.path, content).expect("written");
    let report = log.verify();
    assert!(report.ok, "{:?}", report.faults);
    assert_eq!((report.proven, report.uncovered), (300, 1));
    assert!(report.torn_bytes > 0);
}

#[test]
fn every_record_is_proven() {
    let log = Log::new(many(300), 100);
    let (dir, checkpoint) = log.signed();
    for (index, record) in (0..).zip(&log.records) {
        let (leaf, proof) = prove(&dir, 300, index).expect("a proof");
        assert_eq!(leaf, TreeHash::leaf(&fixtures::bytes(record)));
        let verified = merkle::verify_inclusion(&proof, index, leaf, 300, checkpoint.root);
        assert_eq!(verified, Ok(()));
    }
    assert!(prove(&dir, 300, 300).is_err());
}

#[test]
fn a_range_within_a_removed_file_is_missing_and_not_cut_off() {
    let log = Log::new(many(400), 100);
    fs::remove_file(&log.files()[1].path).expect("removed");
    for (from, to) in [
        (150, Some(160)),
        (50, Some(160)),
        (150, Some(250)),
        (0, None),
    ] {
        let request = Request {
            from,
            to,
            ..log.request()
        };
        let report = verify(&request).expect("a log");
        let missing = Fault::Missing {
            first: from.max(100),
            last: to.unwrap_or(199).min(199),
            is_noted: false,
        };
        assert_eq!(report.faults, [missing], "{from} {to:?}");
    }
}

fn notice(kind: notice::Kind, first: u64, last: u64) -> Option<record::Kind> {
    let text = match kind {
        notice::Kind::Removed => "records",
        _ => "",
    };
    Some(record::Kind::Notice(Notice {
        kind: kind.into(),
        text: text.to_owned(),
        first,
        last,
        ..Notice::default()
    }))
}

#[test]
fn a_removal_that_was_not_signed_before_accounts_for_nothing() {
    let remove = |log: &Log| {
        for file in &log.files()[..3] {
            fs::remove_file(&file.path).expect("removed");
        }
    };
    let missing = |first| vec![Fault::RemovedUnsigned { first, last: 299 }];
    // After the checkpoint anybody can write it.
    let log = Log::new(many(400), 100);
    let mut records = many(401);
    records[400].kind = notice(notice::Kind::Removed, 0, 299);
    log.rewrite(&records, 100);
    assert!(log.verify().ok);
    remove(&log);
    let report = log.verify();
    assert_eq!((report.faults, report.removed), (missing(0), 0));
    // The next start signs what it found, and says so; what was signed before holds.
    let mut records = many(400);
    records[310].kind = notice(notice::Kind::Removed, 0, 99);
    records[350].kind = notice(notice::Kind::Removed, 0, 299);
    records[352].kind = notice(notice::Kind::FoundUnsigned, 340, 351);
    let log = Log::new(records.clone(), 100);
    remove(&log);
    let report = log.verify();
    assert_eq!((report.faults, report.removed), (missing(100), 100));
    let part = Request {
        to: Some(200),
        from: 150,
        ..log.request()
    };
    let faults = verify(&part).expect("a log").faults;
    let wanted = Fault::RemovedUnsigned {
        first: 150,
        last: 200,
    };
    assert_eq!(faults, [wanted]);
    // Other records that were found say nothing of it.
    records[352].kind = notice(notice::Kind::FoundUnsigned, 351, 351);
    let log = Log::new(records, 100);
    remove(&log);
    assert!(log.verify().ok);
}

#[test]
fn a_file_that_begins_beyond_the_end_is_told() {
    for first in [401, u64::MAX] {
        let log = Log::new(many(400), 100);
        let header = frame::header(frame::Contents::Records, first);
        let folder = log.dir.path().join(SEGMENTS);
        fs::write(folder.join(log_files::name(first)), header).expect("written");
        let wanted = Fault::Missing {
            first: 400,
            last: first - 1,
            is_noted: false,
        };
        assert_eq!(log.verify().faults, [wanted]);
    }
}

#[test]
fn files_that_are_compressed_or_removed_while_they_are_read_are_no_fault() {
    let log = Log::new(many(300), 100);
    let listed = log.files();
    for file in &listed[..2] {
        let content = fs::read(&file.path).expect("a file");
        let packed = zstd::encode_all(&*content, 3).expect("packed");
        let name = log_files::compressed_name(file.first);
        fs::write(file.path.with_file_name(name), packed).expect("written");
        fs::remove_file(&file.path).expect("removed");
    }
    let (dir, checkpoint) = log.signed();
    let mut tree = AuthenticTree::new(TreeReader::new(dir, 300), checkpoint.root);
    let mut faults = Faults::default();
    let unsigned = UnsignedTiles::default();
    let mut scan = Scan::new(log.dir.path(), &mut tree, unsigned, (0, None));
    scan.files(&listed, &mut faults);
    let found = scan.finish(300, &mut faults);
    assert_eq!((found.proven, faults.into_kept()), (300, Vec::new()));
    // What is found while files are removed is looked at once more.
    let report = Report::default();
    let request = log.request();
    assert!(!is_outdated(&request, &listed, &report).expect("readable"));
    fs::remove_file(&log.files()[0].path).expect("removed");
    assert!(is_outdated(&request, &listed, &report).expect("readable"));
    let removed = Report {
        faults: vec![Fault::RemovedUnsigned { first: 0, last: 99 }],
        signed: 299,
        ..report
    };
    assert!(is_outdated(&request, &log.files(), &removed).expect("readable"));
}

#[test]
fn a_frontier_that_is_damaged_is_a_fault_and_one_that_is_missing_a_warning() {
    let log = Log::new(many(300), 100);
    let frontier = log.dir.path().join(TREE).join(FRONTIER_FILE);
    assert_eq!(log.verify().warnings, Vec::<String>::new());
    for damage in ["", "x", "300\n"] {
        fs::write(&frontier, damage).expect("written");
        let report = log.verify();
        assert!(
            matches!(report.faults.as_slice(), [Fault::File { file, .. }] if file == "tree/frontier"),
            "{:?}",
            report.faults
        );
    }
    fs::remove_file(&frontier).expect("removed");
    let report = log.verify();
    assert!(report.ok, "a log of before has none");
    assert_eq!(report.warnings.len(), 1);
}

#[test]
fn records_of_a_long_time_without_a_checkpoint_are_warned_of() {
    for (seconds, warnings) in [(1, 0), (59, 0), (90, 1)] {
        let log = Log::new(many(300), 100);
        let mut records = many(302);
        records[301].at = records[300].at + seconds * 1_000_000_000;
        log.rewrite(&records, 100);
        let report = log.verify();
        assert!(report.ok, "{:?}", report.faults);
        assert_eq!(report.warnings.len(), warnings, "{seconds}");
    }
}
