//! `callgate publish`, `callgate rollback` and `callgate bundles`: bundles as revisions of the store.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use tonic::Code;

use crate::analysis::archive;
use crate::bundle::archive::signature::SigningKey;
use crate::cli::commands::bundle;
use crate::cli::connect::RpcError;
use crate::cli::control::{ControlArgs, WriteArgs};
use crate::cli::output::Exit;
use crate::cli::render::{Details, count, entity, moment, printable};
use crate::proto::v1;

/// The pause before the server is asked again while it compiles.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes a bundle: every server of the store switches to it at one revision
///
/// The directory is checked and packed as by `callgate bundle build`; an archive is sent as it is. The server compiles it
/// before the change is made, and so does every other replica. Who may publish is up to Cedar: `publish_bundle`. Servers
/// take published bundles if `[bundle] published = true` says so; see docs/bundles.md.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// The directory, or an archive of `callgate bundle build`
    #[arg(default_value = "./policies")]
    dir: PathBuf,
    /// Sign the directory with this private key: Ed25519, PKCS#8, PEM, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// The version of the directory, greater than that of the one before; without it, seconds since 1970
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// Puts the bundle back into service that was published at a revision
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// The revision at which it was published, as `callgate bundles` says
    revision: u64,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// Lists the bundles that were published, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BundlesArgs {
    #[command(flatten)]
    pub ask: ControlArgs,
}

#[derive(Debug, clap::Args)]
struct WaitArgs {
    /// Wait at most so long for the servers to compile it
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

const EXAMPLES: &str = "\
Examples:
  callgate publish policies --as user:ines
  callgate publish policies --as user:ines --sign bundle.key
  callgate publish bundle.tar.zst --as user:ines
  callgate bundles
  callgate rollback 41 --as user:ines

Exit codes: 0 done, 1 error, 2 denied, 3 the directory has faults.";

/// Publishes a bundle and prints the result.
///
/// # Errors
///
/// If the bundle cannot be read or signed, or the request fails.
pub fn publish(it: &PublishArgs) -> anyhow::Result<Exit> {
    // The same directory under another version is another archive, and so another request.
    let mut same_version = String::new();
    let archive = if it.dir.is_dir() {
        let key = it.sign.as_deref().map(SigningKey::read).transpose()?;
        if it.write.once.is_given() && it.version.is_none() {
            bail!(
                "`--key` needs `--version` where a directory is published: without it each run makes another archive"
            );
        }
        let version = it.version.unwrap_or_else(archive::version_now);
        if it.version.is_none() {
            same_version = format!(" and `--version {version}`");
        }
        match archive::build(&it.dir, version, key.as_ref()) {
            Ok(packed) => packed.bytes,
            Err(faults) => return it.ask.output.faults(&faults),
        }
    } else {
        if it.sign.is_some() || it.version.is_some() {
            bail!("`--sign` and `--version` are for a directory: an archive is what it is");
        }
        bundle::read(&it.dir)?
    };
    let asked = v1::PublishBundleRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        archive: archive.into(),
    };
    let again = it.write.once.again_with(&same_version);
    let answer = until_done(it.wait.wait, || {
        let send = async |to: &mut Client, it| to.publish_bundle(it).await;
        it.ask.change(again.clone(), asked.clone(), send)
    })?;
    let text = published(answer.bundle.as_ref(), "in service").revision(answer.revision);
    it.ask.answer(&text, "PublishBundleResponse", &answer)
}

/// Puts an earlier bundle back into service and prints the result.
///
/// # Errors
///
/// If the request fails.
pub fn rollback(it: &RollbackArgs) -> anyhow::Result<Exit> {
    let asked = v1::RollbackBundleRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        to_revision: it.revision,
    };
    let again = it.write.once.again();
    let answer = until_done(it.wait.wait, || {
        let send = async |to: &mut Client, it| to.rollback_bundle(it).await;
        it.ask.change(again.clone(), asked.clone(), send)
    })?;
    let text = published(answer.bundle.as_ref(), "back in service").revision(answer.revision);
    it.ask.answer(&text, "RollbackBundleResponse", &answer)
}

/// Lists what was published.
///
/// # Errors
///
/// If the request fails.
pub fn bundles(it: &BundlesArgs) -> anyhow::Result<Exit> {
    let asked = v1::ListBundlesRequest {};
    let answer = it
        .ask
        .question(asked, async |to, it| to.list_bundles(it).await)?;
    let mut text: String = answer.bundles.iter().map(|it| line(it) + "\n").collect();
    let listed = count(answer.bundles.len(), "revision");
    text.push_str(&format!("{listed} at revision {}\n", answer.revision));
    it.ask.answer(&text, "ListBundlesResponse", &answer)
}

type Client = crate::proto::v1::control_client::ControlClient<tonic::transport::Channel>;

/// Asks again while the servers compile, under the same key.
fn until_done<T>(limit: Duration, mut ask: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(error) if is_under_way(&error) && begun.elapsed() < limit => {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn is_under_way(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<RpcError>();
    error.is_some_and(|it| {
        let is_late = it.status.code() == Code::DeadlineExceeded;
        let is_unavailable = it.status.code() == Code::Unavailable;
        is_late || (is_unavailable && it.status.message().contains("compil"))
    })
}

fn published(bundle: Option<&v1::PublishedBundle>, what: &str) -> Details {
    let version = bundle.map_or(0, |it| it.version);
    let known = |text: Option<&String>| text.filter(|it| !it.is_empty()).map(|it| printable(it));
    Details::new(format!("version {version} is {what}"))
        .maybe("digest", known(bundle.map(|it| &it.digest)))
        .maybe("signed by", known(bundle.map(|it| &it.signed_by)))
}

fn line(it: &v1::BundleRevision) -> String {
    let bundle = it.bundle.clone().unwrap_or_default();
    let at = it.at.as_ref().map(moment).unwrap_or_default();
    let by = it.actor.as_ref().map(entity).unwrap_or_default();
    let back = match bundle.back_to_revision {
        0 => String::new(),
        revision => format!(", back to revision {revision}"),
    };
    let signed = if bundle.signed_by.is_empty() {
        ""
    } else {
        ", signed"
    };
    let live = if it.in_service { "  <- in service" } else { "" };
    format!(
        "{:>8}  {at}  version {}  by {by} through {}{back}{signed}{live}",
        it.revision,
        bundle.version,
        printable(&it.caller)
    )
}
