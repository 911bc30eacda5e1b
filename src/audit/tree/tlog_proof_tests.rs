use super::*;
use crate::audit::tree::note::SigningKey;

fn proof(entry: Option<&[u8]>) -> (InclusionProof, SigningKey) {
    let key = SigningKey::from_seed("log.example/callgate", [3; 32]).expect("a key");
    let (left, right) = (TreeHash::leaf(b"left"), TreeHash::leaf(b"right"));
    let checkpoint = Checkpoint {
        origin: key.name().to_owned(),
        size: 2,
        root: TreeHash::node(&left, &right),
    };
    let proof = InclusionProof {
        entry: entry.map(<[u8]>::to_vec),
        index: 1,
        hashes: vec![left],
        checkpoint: checkpoint.sign(&key),
    };
    (proof, key)
}

#[test]
fn a_proof_is_read_as_it_was_written() {
    for entry in [None, Some(&b"right"[..])] {
        let (proof, key) = proof(entry);
        let text = proof.to_text();
        let read = InclusionProof::from_text(&text).expect("a proof");
        assert_eq!(read, proof);
        let checked = read.verify(Some(b"right"), &key.verifying_key());
        assert_eq!(checked.map(|it| it.size), Ok(2));
        let wrong = read.verify(Some(b"wrong"), &key.verifying_key());
        assert_eq!(wrong, Err(ProofError::Root.into()));
        let own = read.verify(None, &key.verifying_key());
        assert_eq!(own.is_ok(), entry.is_some());
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_found() {
    let (proof, key) = proof(Some(b"right"));
    let text = proof.to_text().into_bytes();
    for bit in 0..text.len() * 8 {
        let mut changed = text.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let verified = String::from_utf8(changed).ok().and_then(|text| {
            let read = InclusionProof::from_text(&text).ok()?;
            read.verify(None, &key.verifying_key()).ok()
        });
        assert_eq!(verified, None, "{bit}");
    }
}

#[test]
fn what_is_no_proof_is_refused() {
    let (proof, _) = proof(None);
    let text = proof.to_text();
    for wrong in [
        String::new(),
        text.replace("@v1", "@v2"),
        text.replace("index 1", "index 01"),
        text.replace("index 1", "index -1"),
        text.replace("index 1\n", ""),
        text.replace("index 1", "extra ?\nindex 1"),
        text.replace("\n\n", "\nAAAA\n\n"),
        text.replace(
            "index 1\n",
            &format!("index 1\n{}", format!("{}\n", proof.hashes[0]).repeat(66)),
        ),
    ] {
        assert!(
            matches!(
                InclusionProof::from_text(&wrong),
                Err(InclusionError::Form(_))
            ),
            "{wrong}"
        );
    }
}
