use super::*;

fn key() -> SigningKey {
    SigningKey::from_seed("log.example/callgate", [3; 32]).expect("a key")
}

#[test]
fn a_checkpoint_is_read_as_it_was_signed() {
    let key = key();
    let checkpoint = Checkpoint {
        origin: key.name().to_owned(),
        size: 20_852_163,
        root: TreeHash::leaf(b"x"),
    };
    let note = checkpoint.sign(&key);
    assert!(note.starts_with("log.example/callgate\n20852163\n"));
    assert_eq!(
        Checkpoint::open(&note, &key.verifying_key()),
        Ok(checkpoint)
    );
    let extended = key.sign(&format!(
        "{}extension\n",
        note.split_once("\n\n").expect("a note").0.to_owned() + "\n"
    ));
    assert!(Checkpoint::open(&extended, &key.verifying_key()).is_ok());
}

#[test]
fn what_is_signed_but_no_checkpoint_is_refused() {
    let key = key();
    let root = TreeHash::leaf(b"x");
    for text in [
        "\n".to_owned(),
        "log.example/callgate\n".to_owned(),
        format!("log.example/callgate\n01\n{root}\n"),
        format!("log.example/callgate\n-1\n{root}\n"),
        format!("log.example/callgate\n18446744073709551616\n{root}\n"),
        "log.example/callgate\n1\nAAAA\n".to_owned(),
        format!("log.example/callgate\n1\n{root}\n\nx\n"),
    ] {
        let opened = Checkpoint::open(&key.sign(&text), &key.verifying_key());
        assert!(
            matches!(opened, Err(CheckpointError::Form(_))),
            "{text:?}: {opened:?}"
        );
    }
    let other = key.sign(&format!("other.example\n1\n{root}\n"));
    assert!(matches!(
        Checkpoint::open(&other, &key.verifying_key()),
        Err(CheckpointError::Origin(..))
    ));
}
