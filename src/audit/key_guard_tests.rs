use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::audit::log_lock::LOCK;
use crate::audit::tree::note::SigningKey;

/// What a log was told.
#[derive(Default)]
struct Told {
    troubles: RefCell<BTreeMap<PathBuf, String>>,
    key: RefCell<Option<CapsuleKey>>,
}

impl KeyedLog for Told {
    fn key_trouble(&self, file: &Path, told: String) {
        self.troubles.borrow_mut().insert(file.to_owned(), told);
    }

    fn key_is_back(&self, file: &Path) {
        self.troubles.borrow_mut().remove(file);
    }

    fn use_key(&self, key: CapsuleKey) {
        *self.key.borrow_mut() = Some(key);
    }
}

impl Told {
    fn of(&self, file: &Path) -> Option<String> {
        self.troubles.borrow().get(file).cloned()
    }
}

struct Keys {
    _temporary: tempfile::TempDir,
    directory: PathBuf,
    /// Those in the directory with their content, and one elsewhere.
    own: [(PathBuf, String, u32); 3],
    elsewhere: PathBuf,
    guard: KeyGuard,
}

fn key_text(byte: u8) -> String {
    CapsuleKey::new(&[byte; 32]).to_text()
}

fn keys() -> Keys {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = temporary.path().join("audit");
    let tree = directory.join("tree");
    fs::create_dir_all(&tree).expect("made");
    let signing = SigningKey::from_seed("log", [1; 32]).expect("a key");
    let own = [
        (KeyUse::Capsules, directory.join("capsule.key"), key_text(1)),
        (KeyUse::Signing, tree.join("key"), signing.to_text()),
        (
            KeyUse::Verifying,
            tree.join("key.pub"),
            signing.verifying_key().to_text(),
        ),
    ];
    let elsewhere = temporary.path().join("elsewhere.key");
    let lock = Arc::new(LogLock::acquire(&directory).expect("locked"));
    let file = |holds, path: &Path, text: &str| {
        KeyFile::new(&directory, path.to_owned(), holds, text.to_owned())
    };
    let mut files: Vec<_> = own
        .iter()
        .map(|(it, path, text)| file(*it, path, text))
        .collect();
    files.push(file(KeyUse::Capsules, &elsewhere, &key_text(1)));
    key_file::write(&elsewhere, &key_text(1), 0o600).expect("written");
    let own = own.map(|(holds, path, text)| {
        key_file::write(&path, &text, holds.mode()).expect("written");
        (path, text, holds.mode())
    });
    Keys {
        _temporary: temporary,
        directory,
        own,
        elsewhere,
        guard: KeyGuard::new(lock, files),
    }
}

#[test]
fn a_key_in_the_directory_is_put_back_whatever_became_of_it() {
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 5] = [
        (
            |path| fs::remove_file(path).expect("removed"),
            "was gone, and is put back",
        ),
        (
            |path| fs::write(path, "nonsense").expect("written"),
            "could not be used",
        ),
        (
            |path| {
                fs::remove_file(path).expect("removed");
                fs::create_dir(path).expect("made");
            },
            "could not be used",
        ),
        (
            |path| match path.ends_with("capsule.key") {
                true => fs::write(path, key_text(2)).expect("written"),
                false => {
                    let other = SigningKey::from_seed("log", [2; 32]).expect("a key");
                    let text = match path.ends_with("key") {
                        true => other.encode(),
                        false => other.verifying_key().encode(),
                    };
                    fs::write(path, text).expect("written");
                }
            },
            "held another key, and is put back; what was there is kept as",
        ),
        (
            |path| {
                let mode = match path.ends_with("key.pub") {
                    true => return fs::remove_file(path).expect("removed"),
                    false => 0o644,
                };
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
            },
            "is put back",
        ),
    ];
    for (harm, expected) in harms {
        let mut keys = keys();
        let told = Told::default();
        keys.guard.look(&told);
        assert!(told.troubles.borrow().is_empty(), "all is well");
        for (path, text, mode) in &keys.own {
            harm(path);
            keys.guard.look(&told);
            assert_eq!(&fs::read_to_string(path).expect("put back"), text);
            let found = fs::metadata(path).expect("a file").permissions().mode();
            assert_eq!(found & 0o777, *mode);
            let said = told.of(path).expect("told");
            assert!(said.contains(expected), "{said}");
            let kept = PathBuf::from(format!("{}.{FOUND}", path.display()));
            assert_eq!(kept.exists(), said.contains("is kept as"), "{said}");
            // What was put back stays told.
            keys.guard.look(&told);
            assert_eq!(told.of(path), Some(said));
        }
    }
}

#[test]
fn what_is_found_in_the_place_of_a_key_is_kept() {
    let mut keys = keys();
    let path = &keys.own[0].0;
    fs::write(path, key_text(7)).expect("written");
    keys.guard.look(&Told::default());
    let kept = keys.directory.join("capsule.key.found");
    assert_eq!(fs::read_to_string(kept).expect("kept"), key_text(7));
}

#[test]
fn what_was_kept_once_stays_whatever_is_found_later() {
    let mut keys = keys();
    let told = Told::default();
    let (path, text, _) = &keys.own[0];
    let kept = |number: usize| match number {
        0 => keys.directory.join("capsule.key.found"),
        _ => keys.directory.join(format!("capsule.key.found.{number}")),
    };
    for number in 0..MOST_FOUND {
        let found = key_text(u8::try_from(number + 100).expect("few"));
        // The same twice is kept once.
        for _ in 0..2 {
            fs::write(path, &found).expect("written");
            keys.guard.look(&told);
            assert_eq!(&fs::read_to_string(path).expect("put back"), text);
        }
    }
    let told_last = || told.of(path).expect("told");
    assert!(told_last().contains("is put back"));
    // There is no room for more: what is found stays in its place, and that is told until somebody makes room.
    fs::write(path, key_text(7)).expect("written");
    keys.guard.look(&told);
    assert_eq!(fs::read_to_string(path).expect("a file"), key_text(7));
    assert!(told_last().contains("cannot be put back: 16 files"));
    for number in 0..MOST_FOUND {
        let found = key_text(u8::try_from(number + 100).expect("few"));
        assert_eq!(fs::read_to_string(kept(number)).expect("kept"), found);
    }
    fs::remove_file(kept(3)).expect("removed");
    keys.guard.look(&told);
    assert_eq!(fs::read_to_string(kept(3)).expect("kept"), key_text(7));
    assert_eq!(&fs::read_to_string(path).expect("put back"), text);
}

/// Whoever opens a pipe waits for somebody who writes.
#[test]
fn a_pipe_is_never_read() {
    let pipe = |path: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let made = rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0);
        made.expect("a pipe");
    };
    let mut keys = keys();
    let told = Told::default();
    for (path, text, _) in &keys.own {
        fs::remove_file(path).expect("removed");
        pipe(path);
        keys.guard.look(&told);
        assert_eq!(&fs::read_to_string(path).expect("put back"), text);
        assert!(told.of(path).expect("told").contains("it is no file"));
    }
    fs::remove_file(&keys.elsewhere).expect("removed");
    pipe(&keys.elsewhere);
    keys.guard.look(&told);
    let said = told.of(&keys.elsewhere).expect("told");
    assert!(said.contains("it is no file"), "{said}");
    // A start that reads its key from one, as others hand out secrets, has nothing to look after.
    let piped = |it: &KeyFile| it.path == keys.elsewhere;
    assert!(keys.guard.files.iter().any(piped));
    let again = KeyGuard::new(Arc::clone(&keys.guard.lock), keys.guard.files);
    assert_eq!(again.files.len(), 3);
}

#[test]
fn a_key_above_the_log_is_its_owners_however_its_path_is_written() {
    let file = |path: &str| {
        let path = PathBuf::from(path);
        KeyFile::new(Path::new("/a/audit"), path, KeyUse::Capsules, key_text(1)).is_own
    };
    assert!(file("/a/audit/capsule.key") && file("/a/audit/tree/key"));
    assert!(!file("/a/audit/../secrets/capsule.key") && !file("/a/other/capsule.key"));
}

#[test]
fn a_key_elsewhere_is_its_owners_and_another_key_of_capsules_is_used() {
    let mut keys = keys();
    let told = Told::default();
    let elsewhere = keys.elsewhere.clone();
    fs::remove_file(&elsewhere).expect("removed");
    keys.guard.look(&told);
    assert!(!elsewhere.exists());
    let said = told.of(&elsewhere).expect("told");
    assert!(said.contains("put it back before the next start"), "{said}");
    // In other letters it is the same key.
    key_file::write(&elsewhere, &key_text(1).to_uppercase(), 0o600).expect("written");
    keys.guard.look(&told);
    assert_eq!(told.of(&elsewhere), None);
    assert!(told.key.borrow().is_none());
    key_file::write(&elsewhere, &key_text(2), 0o600).expect("written");
    keys.guard.look(&told);
    let used = told.key.borrow().as_ref().map(CapsuleKey::to_text);
    assert_eq!(used, Some(key_text(2)));
    let said = told.of(&elsewhere).expect("told");
    assert!(said.contains("which is used from here on"), "{said}");
    keys.guard.look(&told);
    assert_eq!(told.of(&elsewhere), Some(said));
}

#[test]
fn nothing_is_put_back_into_a_log_of_another_process() {
    let mut keys = keys();
    let told = Told::default();
    fs::remove_file(keys.directory.join(LOCK)).expect("removed");
    let _other = LogLock::acquire(&keys.directory).expect("nothing is in its way");
    fs::write(&keys.own[0].0, key_text(9)).expect("written");
    keys.guard.look(&told);
    let found = fs::read_to_string(&keys.own[0].0).expect("a file");
    assert_eq!(found, key_text(9));
    assert!(told.troubles.borrow().is_empty());
}
