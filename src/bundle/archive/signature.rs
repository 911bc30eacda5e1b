//! The keys of signed bundles: Ed25519 (RFC 8032), as PEM files that OpenSSL reads and writes (RFC 8410).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use crate::domain::request::canonical;

/// The most public keys.
pub const MAX_KEYS: usize = 16;
/// Bytes of a key file.
const MAX_KEY_FILE_BYTES: u64 = 64 << 10;
/// What precedes the 32 bytes of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key `{}`: {why}", path.display())]
pub struct KeyError {
    path: PathBuf,
    why: String,
}

/// A private key that signs bundles.
pub struct SigningKey(Ed25519KeyPair);

/// The public keys of those who may sign bundles.
#[derive(Debug, Clone)]
pub struct VerifyingKeys(Vec<TrustedKey>);

#[derive(Debug, Clone)]
struct TrustedKey {
    bytes: [u8; 32],
    fingerprint: Arc<str>,
}

impl SigningKey {
    /// Reads a private key: PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. Only its owner may be able to
    /// read the file.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the file cannot be read, others can read it, or it holds no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let error = |why: String| key_error(path, why);
        let bytes = read(path)?;
        let metadata = fs::metadata(path).map_err(|it| error(it.to_string()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(error(format!(
                "it can be read by others: its mode is {mode:o}, let it be 600"
            )));
        }
        let form =
            "it is no Ed25519 key in PKCS#8, as `openssl genpkey -algorithm ed25519` writes it";
        let der = PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| error(form.to_owned()))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| error(form.to_owned()))
    }

    /// Signs a manifest.
    pub(super) fn sign(&self, manifest: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        // Ed25519 signatures have 64 bytes.
        signature.copy_from_slice(self.0.sign(manifest).as_ref());
        signature
    }
}

impl VerifyingKeys {
    /// Reads public keys: `SubjectPublicKeyInfo` in PEM, as `openssl pkey -pubout` writes it. Relative paths start at `base`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for the first file that cannot be read or holds no such key.
    pub fn read(paths: &[PathBuf], base: &Path) -> Result<Self, KeyError> {
        let keys = paths.iter().map(|path| TrustedKey::read(&base.join(path)));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The fingerprint of the key that has signed this manifest.
    pub(super) fn signer(&self, manifest: &[u8], signature: &[u8]) -> Option<Arc<str>> {
        let is_signer = |key: &&TrustedKey| {
            let key = UnparsedPublicKey::new(&ED25519, key.bytes);
            key.verify(manifest, signature).is_ok()
        };
        let signer = self.0.iter().find(is_signer)?;
        Some(Arc::clone(&signer.fingerprint))
    }
}

impl TrustedKey {
    fn read(path: &Path) -> Result<Self, KeyError> {
        let form = "it is no public Ed25519 key in PEM, as `openssl pkey -pubout` writes it";
        let error = || key_error(path, form.to_owned());
        let bytes = read(path)?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&bytes).map_err(|_| error())?;
        let key = der.as_ref().strip_prefix(&SPKI_PREFIX).ok_or_else(error)?;
        let digest = canonical::hex(&Sha256::digest(&der));
        Ok(Self {
            bytes: key.try_into().map_err(|_| error())?,
            fingerprint: Arc::from(format!("sha256:{digest}")),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    use std::io::Read as _;
    let error = |it: std::io::Error| key_error(path, it.to_string());
    let file = fs::File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    Ok(bytes)
}

fn key_error(path: &Path, why: String) -> KeyError {
    KeyError {
        path: path.to_owned(),
        why,
    }
}
