//! Signed notes (C2SP signed-note) with Ed25519 keys, in the encodings of Go's `golang.org/x/mod/sumdb/note`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::domain::request::canonical::hex;
use crate::domain::request::visible::{has_invisible, shown};

/// The signature type of Ed25519, the first byte of an encoded key.
const ED25519_TYPE: u8 = 0x01;
/// Bytes of a public key and of a seed.
const KEY_LEN: usize = 32;
/// Bytes of a signature.
const SIGNATURE_LEN: usize = 64;
const SIGNATURE_LINE: &str = "\u{2014} ";
const PRIVATE_KEY: &str = "PRIVATE+KEY+";
/// The longest note that is read, in bytes. Signatures of witnesses may add up.
pub const MAX_NOTE_LEN: usize = 128 << 10;
/// The most signatures of a note that are looked at.
const MAX_SIGNATURES: usize = 64;
/// The longest name of a key, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// Why a key or a note is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The name of a key.
    #[error(
        "`{0}` is no name of a key: it must have 1 to {MAX_NAME_LEN} bytes, and no space, no `+` and no invisible character"
    )]
    Name(String),
    /// An encoded public key.
    #[error(
        "the public key is not of the form `NAME+HASH+BASE64` with an Ed25519 key, or its hash is another"
    )]
    VerifierKey,
    /// An encoded private key.
    #[error(
        "the private key is not of the form `PRIVATE+KEY+NAME+HASH+BASE64` with an Ed25519 key, or its hash is another"
    )]
    SigningKey,
    /// The text is not a signed note.
    #[error("it is not a signed note: {0}")]
    Form(&'static str),
    /// No signature is by the key.
    #[error("it is not signed with the key `{0}`")]
    Unsigned(String),
    /// The signature by the key does not verify.
    #[error("the signature by `{0}` is wrong")]
    Signature(String),
}

/// A key that signs notes.
pub struct SigningKey {
    name: String,
    seed: [u8; KEY_LEN],
    pair: Ed25519KeyPair,
}

/// A key that verifies notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    public: [u8; KEY_LEN],
}

/// A note whose signature was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The text, with its final line break.
    pub text: &'a str,
}

impl SigningKey {
    /// The key of a seed, 32 secret random bytes.
    ///
    /// # Errors
    ///
    /// If the name cannot be that of a key.
    pub fn from_seed(name: &str, seed: [u8; KEY_LEN]) -> Result<Self, NoteError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::SigningKey)?;
        Ok(Self {
            name: name.to_owned(),
            seed,
            pair,
        })
    }

    /// Reads the encoded form, `PRIVATE+KEY+<name>+<hash>+<base64>`; space around it is ignored.
    ///
    /// # Errors
    ///
    /// If it has another form, or the hash is another.
    pub fn decode(text: &str) -> Result<Self, NoteError> {
        let encoded = text.trim().strip_prefix(PRIVATE_KEY);
        let (name, hash, seed) = encoded.and_then(split_key).ok_or(NoteError::SigningKey)?;
        let key = Self::from_seed(name, seed)?;
        if hash != key.verifying_key().hash() {
            return Err(NoteError::SigningKey);
        }
        Ok(key)
    }

    /// The encoded form. It is secret.
    pub fn encode(&self) -> String {
        let hash = hex(&self.verifying_key().hash());
        format!(
            "{PRIVATE_KEY}{}+{hash}+{}",
            self.name,
            encode_key(&self.seed)
        )
    }

    /// What a key file holds. It is secret.
    pub fn to_text(&self) -> String {
        format!("{}\n", self.encode())
    }

    /// The name, which is the origin of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut public = [0; KEY_LEN];
        // An Ed25519 public key has this length.
        public.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey {
            name: self.name.clone(),
            public,
        }
    }

    /// Signs a text, which must end with a line break and hold no other control characters.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let mut signed = Vec::with_capacity(4 + SIGNATURE_LEN);
        signed.extend(self.verifying_key().hash());
        signed.extend(signature.as_ref());
        format!(
            "{text}\n{SIGNATURE_LINE}{} {}\n",
            self.name,
            STANDARD.encode(signed)
        )
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Reads the encoded form, `<name>+<hash>+<base64>`; space around it is ignored.
    ///
    /// # Errors
    ///
    /// If it has another form, or the hash is another.
    pub fn decode(text: &str) -> Result<Self, NoteError> {
        let (name, hash, public) = split_key(text.trim()).ok_or(NoteError::VerifierKey)?;
        check_name(name)?;
        let key = Self {
            name: name.to_owned(),
            public,
        };
        if hash != key.hash() {
            return Err(NoteError::VerifierKey);
        }
        Ok(key)
    }

    /// The encoded form.
    pub fn encode(&self) -> String {
        format!(
            "{}+{}+{}",
            self.name,
            hex(&self.hash()),
            encode_key(&self.public)
        )
    }

    /// What a key file holds.
    pub fn to_text(&self) -> String {
        format!("{}\n", self.encode())
    }

    /// The name, which is the origin of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first four bytes of the SHA-256 of name, line break, signature type and public key.
    fn hash(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', ED25519_TYPE])
            .chain_update(self.public)
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// Verifies a note. Signatures by other keys are ignored.
    ///
    /// # Errors
    ///
    /// If the text is not a note, is not signed by this key, or one of its signatures by this key is wrong.
    pub fn open<'a>(&self, note: &'a str) -> Result<Opened<'a>, NoteError> {
        let (text, signatures) = split_note(note)?;
        let mut is_verified = false;
        for line in signatures.lines().take(MAX_SIGNATURES) {
            let (name, signature) = split_signature(line)?;
            let (id, signature) = signature.split_at(4);
            if name != self.name || id != self.hash() {
                continue;
            }
            let public = UnparsedPublicKey::new(&ED25519, &self.public);
            public
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::Signature(shown(name)))?;
            is_verified = true;
        }
        match is_verified {
            true => Ok(Opened { text }),
            false => {
                let id = format!("{}+{}", shown(&self.name), hex(&self.hash()));
                Err(NoteError::Unsigned(id))
            }
        }
    }
}

/// Splits a note at its last empty line into text and signatures, and checks its form.
fn split_note(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > MAX_NOTE_LEN {
        return Err(NoteError::Form("it is too long"));
    }
    if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Form("it has control characters"));
    }
    let at = note
        .rfind("\n\n")
        .ok_or(NoteError::Form("no empty line is before the signatures"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(NoteError::Form("its last line is no signature"));
    }
    Ok((text, signatures))
}

fn split_signature(line: &str) -> Result<(&str, Vec<u8>), NoteError> {
    const FORM: NoteError = NoteError::Form("a line of its signatures has another form");
    let (name, signature) = line
        .strip_prefix(SIGNATURE_LINE)
        .and_then(|line| line.split_once(' '))
        .ok_or(FORM)?;
    check_name(name).map_err(|_| FORM)?;
    let signature = STANDARD.decode(signature).map_err(|_| FORM)?;
    match signature.len() {
        ..=4 => Err(FORM),
        _ => Ok((name, signature)),
    }
}

/// Checks what is to be the name of a key, and so the origin of a log.
///
/// # Errors
///
/// If it is empty or too long, or has a space, a plus or an invisible character.
pub fn check_name(name: &str) -> Result<(), NoteError> {
    let is_name = !name.is_empty()
        && name.len() <= MAX_NAME_LEN
        && !name.contains(char::is_whitespace)
        && !name.contains('+')
        && !has_invisible(name);
    is_name
        .then_some(())
        .ok_or_else(|| NoteError::Name(shown(name)))
}

/// `<name>+<8 hexadecimal digits>+<base64 of type and key>`. The base64 may have a plus.
fn split_key(text: &str) -> Option<(&str, [u8; 4], [u8; KEY_LEN])> {
    let (name, rest) = text.split_once('+')?;
    let (hash, key) = rest.split_once('+')?;
    let is_hex = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = is_hex
        .then(|| u32::from_str_radix(hash, 16).ok())
        .flatten()?;
    let key = STANDARD.decode(key).ok()?;
    let key = key.strip_prefix(&[ED25519_TYPE])?;
    Some((name, hash.to_be_bytes(), key.try_into().ok()?))
}

fn encode_key(key: &[u8; KEY_LEN]) -> String {
    let mut typed = vec![ED25519_TYPE];
    typed.extend(key);
    STANDARD.encode(typed)
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
