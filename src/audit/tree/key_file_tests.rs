use super::*;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::tile_dir::CHECKPOINT_FILE;

const ORIGIN: &str = "callgate/test";

#[test]
fn a_key_is_made_once_and_only_its_owner_can_read_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("audit/tree");
    let key = signing_key(&tree, None, ORIGIN, false).expect("a key");
    let mode = fs::metadata(tree.join(KEY_FILE))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Another default, e.g. on another host, changes nothing; a configured origin has to be the key's.
    let again = signing_key(&tree, None, "callgate/other", false).expect("a key");
    assert_eq!(again.encode(), key.encode());
    assert!(matches!(
        signing_key(&tree, None, "callgate/other", true),
        Err(KeyError::Origin { .. })
    ));
    let public = read_verifying_key(&tree.join(PUBLIC_KEY_FILE)).expect("a key");
    assert_eq!(public, key.verifying_key());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("signing");
    let key = SigningKey::from_seed(ORIGIN, [1; 32]).expect("a key");
    let tree = dir.path().join("tree");
    for mode in [0o644, 0o640, 0o604] {
        write(&file, &key.encode(), mode).expect("written");
        assert!(matches!(
            signing_key(&tree, Some(&file), ORIGIN, true),
            Err(KeyError::Mode { .. })
        ));
    }
    write(&file, &key.encode(), 0o400).expect("written");
    let read = signing_key(&tree, Some(&file), ORIGIN, true).expect("a key");
    assert_eq!(read.encode(), key.encode());
    assert!(!tree.join(KEY_FILE).exists());
}

#[test]
fn a_key_that_has_signed_is_neither_replaced_nor_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    let key = signing_key(&tree, None, ORIGIN, false).expect("a key");
    let last = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 0,
        root: TreeHash::empty_root(),
    };
    fs::write(tree.join(CHECKPOINT_FILE), last.sign(&key)).expect("written");
    let public = || read_verifying_key(&tree.join(PUBLIC_KEY_FILE)).expect("a key");
    fs::rename(tree.join(KEY_FILE), dir.path().join("lost")).expect("moved");
    let made = signing_key(&tree, None, ORIGIN, false);
    assert!(matches!(made, Err(KeyError::Missing { .. })));
    assert!(!tree.join(KEY_FILE).exists());
    let other = SigningKey::from_seed(ORIGIN, [1; 32]).expect("a key");
    let file = dir.path().join("other");
    write(&file, &other.encode(), 0o600).expect("written");
    signing_key(&tree, Some(&file), ORIGIN, true).expect("a key");
    assert_eq!(public(), key.verifying_key());
    fs::remove_file(tree.join(CHECKPOINT_FILE)).expect("removed");
    signing_key(&tree, Some(&file), ORIGIN, true).expect("a key");
    assert_eq!(public(), other.verifying_key());
}

#[test]
fn a_configured_file_that_is_missing_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("signing");
    let made = signing_key(&dir.path().join("tree"), Some(&file), ORIGIN, true);
    assert!(matches!(made, Err(KeyError::File { .. })));
    assert!(!file.exists());
}
