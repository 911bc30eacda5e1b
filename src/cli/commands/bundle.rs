//! `callgate bundle`: packs a directory into one signed archive, and verifies such an archive.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use crate::analysis::archive as pack;
use crate::bundle::archive::signature::{SigningKey, VerifyingKeys};
use crate::bundle::archive::{self, MAX_ARCHIVE_BYTES, OpenedArchive};
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{Details, count};
use crate::domain::request::canonical;

/// Packs a directory into one archive that can be signed, and verifies it
///
/// An archive is one file (tar, zstd) with a manifest of digests, a version that increases, and an Ed25519 signature over
/// the manifest. A server takes it from a file or by HTTPS (`[bundle] file` or `url`); see docs/bundles.md.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Build(Build),
    Verify(Verify),
}

/// Checks a directory and packs it into an archive
///
/// The archive holds policies, schema, template links, entities and registrations. `callgate.toml` is not in it: it stays
/// with each server. The same directory and version give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = BUILD_EXAMPLES)]
struct Build {
    /// The directory
    #[arg(default_value = "./policies")]
    dir: PathBuf,
    /// The archive to write (`-` is refused: standard output has the answer)
    #[arg(long, short, value_name = "FILE", default_value = "./bundle.tar.zst")]
    out: PathBuf,
    /// Sign it with this private key: Ed25519, PKCS#8, PEM, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// Its version, greater than that of the one before; without it, seconds since 1970
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Verifies an archive, and says what is in it
///
/// Its form and every digest are verified, and with `--key` that it is signed by one of these keys.
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct Verify {
    /// The archive
    #[arg(default_value = "./bundle.tar.zst")]
    file: PathBuf,
    /// A public key, PEM, that may have signed it (may be repeated)
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

const BUILD_EXAMPLES: &str = "\
Examples:
  openssl genpkey -algorithm ed25519 -out bundle.key && chmod 600 bundle.key
  openssl pkey -in bundle.key -pubout -out bundle.pub
  callgate bundle build policies --sign bundle.key
  callgate bundle build policies --version 42 -o policies-42.tar.zst

Exit codes: 0 packed, 1 error, 3 the directory has faults.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  callgate bundle verify bundle.tar.zst --key bundle.pub

Exit codes: 0 verified, 1 error, 3 it is not what it should be.";

impl Args {
    /// How to answer.
    pub fn output(&self) -> Output {
        match &self.verb {
            Verb::Build(it) => it.output,
            Verb::Verify(it) => it.output,
        }
    }
}

/// Packs or verifies, and prints what is in the archive.
///
/// # Errors
///
/// If a file or a key cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Build(it) => build(it),
        Verb::Verify(it) => verify(it),
    }
}

fn build(it: &Build) -> anyhow::Result<Exit> {
    let key = it.sign.as_deref().map(SigningKey::read).transpose()?;
    let version = it.version.unwrap_or_else(pack::version_now);
    let packed = match pack::build(&it.dir, version, key.as_ref()) {
        Ok(packed) => packed,
        Err(faults) => return it.output.faults(&faults),
    };
    file::replace(&it.out, &packed.bytes)?;
    let text = details(&it.out.display().to_string(), &packed.opened)
        .fact("size", format!("{} bytes", packed.bytes.len()));
    it.output.answer(&text, &summary(&packed.opened))?;
    Ok(Exit::Done)
}

fn verify(it: &Verify) -> anyhow::Result<Exit> {
    let keys = match it.keys.as_slice() {
        [] => None,
        keys => Some(VerifyingKeys::read(keys, std::path::Path::new(""))?),
    };
    let shown = it.file.display().to_string();
    let bytes = read(&it.file)?;
    match archive::open(&bytes, keys.as_ref(), &shown) {
        Ok(opened) => {
            it.output
                .answer(&details(&shown, &opened), &summary(&opened))?;
            Ok(Exit::Done)
        }
        Err(faults) => it.output.faults(&faults),
    }
}

/// Reads an archive, at most one byte more than it may have.
pub(super) fn read(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let cannot = || format!("`{}` cannot be read", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_ARCHIVE_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    Ok(bytes)
}

fn details(shown: &str, opened: &OpenedArchive) -> Details {
    let files = count(opened.files.digests.len(), "file");
    Details::new(format!("{shown}: {files}, version {}", opened.version))
        .fact("digest", &opened.files.digest)
        .fact("signature", signature(opened))
}

fn signature(opened: &OpenedArchive) -> String {
    match (&opened.signed_by, opened.is_signed) {
        (Some(key), _) => format!("verified, by {key}"),
        (None, true) => "there, not verified: name a key".to_owned(),
        (None, false) => "none".to_owned(),
    }
}

fn summary(opened: &OpenedArchive) -> Json {
    json!({
        "version": opened.version,
        "files": opened.files.digests.len(),
        "digest": opened.files.digest,
        "manifest": format!("sha256:{}", canonical::hex(&opened.manifest_digest)),
        "is_signed": opened.is_signed,
        "signed_by": opened.signed_by,
    })
}
