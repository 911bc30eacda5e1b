use super::*;

/// The keys and the note in the tests of Go's `golang.org/x/mod/sumdb/note`.
const GO_PRIVATE: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_SIGNATURE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn go_key() -> SigningKey {
    SigningKey::decode(GO_PRIVATE).expect("a key")
}

#[test]
fn keys_and_signatures_are_those_of_go() {
    let key = go_key();
    assert_eq!(key.encode(), GO_PRIVATE);
    assert_eq!(key.verifying_key().encode(), GO_PUBLIC);
    assert_eq!(key.sign(GO_TEXT), format!("{GO_TEXT}\n{GO_SIGNATURE}"));
    let public = VerifyingKey::decode(&format!("{GO_PUBLIC}\n")).expect("a key");
    assert_eq!(public, key.verifying_key());
    let note = key.sign(GO_TEXT);
    assert_eq!(public.open(&note), Ok(Opened { text: GO_TEXT }));
    assert!(!format!("{key:?}").contains("AYEKFA"));
}

#[test]
fn a_note_may_have_signatures_by_others() {
    let other = SigningKey::from_seed("other.example/log", [7; 32]).expect("a key");
    let theirs = other.sign(GO_TEXT);
    let line = theirs.lines().last().expect("a line");
    let key = go_key();
    for note in [
        format!("{GO_TEXT}\n{line}\n{GO_SIGNATURE}"),
        format!("{GO_TEXT}\n{GO_SIGNATURE}{line}\n"),
    ] {
        assert!(key.verifying_key().open(&note).is_ok());
        assert!(other.verifying_key().open(&note).is_ok());
    }
    assert_eq!(
        key.verifying_key().open(&theirs),
        Err(NoteError::Unsigned("PeterNeumann+c74f20a3".to_owned()))
    );
}

#[test]
fn every_flipped_bit_of_a_note_is_found() {
    let key = go_key();
    let note = key.sign(GO_TEXT).into_bytes();
    for bit in 0..note.len() * 8 {
        let mut changed = note.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        assert!(key.verifying_key().open(&changed).is_err(), "{bit}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let key = go_key().verifying_key();
    let long = "x".repeat(MAX_NOTE_LEN + 1);
    for note in [
        "",
        "text\n",
        "text\n\n",
        &format!("{GO_TEXT}{GO_SIGNATURE}"),
        &format!("{GO_TEXT}\n{}", GO_SIGNATURE.trim_end()),
        &format!("{GO_TEXT}\r\n\n{GO_SIGNATURE}"),
        &format!("{GO_TEXT}\nx{GO_SIGNATURE}"),
        &long,
    ] {
        assert!(
            matches!(key.open(note), Err(NoteError::Form(_))),
            "{note:?}"
        );
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for text in [
        "",
        "a",
        "a+b",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "x+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(VerifyingKey::decode(text).is_err(), "{text}");
        assert!(SigningKey::decode(text).is_err(), "{text}");
        assert!(
            SigningKey::decode(&format!("{PRIVATE_KEY}{text}")).is_err(),
            "{text}"
        );
    }
    for name in [
        "",
        "a b",
        "a+b",
        "a\u{a0}b",
        "a\u{200b}b",
        "a\nb",
        &"x".repeat(256),
    ] {
        assert!(SigningKey::from_seed(name, [1; 32]).is_err(), "{name:?}");
    }
}
