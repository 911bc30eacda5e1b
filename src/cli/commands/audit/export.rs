//! `callgate audit export`: writes records for other programs.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use clap::ValueEnum;

use crate::audit::export::{Exporter, Format, ocsf};
use crate::cli::commands::audit::args::{FilterArgs, LogArgs, warn_of};
use crate::cli::file::Replacement;
use crate::cli::output::{Exit, note};
use crate::cli::render::count;

/// Writes records for other programs: OCSF, JSON lines, CSV or Parquet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The format
    #[arg(long, value_enum)]
    format: FormatName,
    /// The version of OCSF
    #[arg(long, value_enum, default_value_t)]
    ocsf_version: OcsfVersion,
    /// The file to write; without one, standard output (`-` is refused)
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// Events of the Open Cybersecurity Schema Framework: decisions and writes
    Ocsf,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// Apache Parquet
    Parquet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OcsfVersion {
    /// The newest published version; the agent is below `unmapped`
    #[default]
    #[value(name = "1.8.0")]
    V1_8,
    /// As it is developed; the agent is an `ai_agent` of the profile `ai_operation`
    #[value(name = "1.9.0-dev")]
    V1_9,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit export --format ocsf --since 24h > events.jsonl
  callgate audit export --format csv --decision deny --to denied.csv
  callgate audit export --format parquet --to decisions.parquet

Exit codes: 0 done, 1 error.";

/// Writes the records.
///
/// # Errors
///
/// If the log cannot be read, or the output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let format = match args.format {
        FormatName::Ocsf => Format::Ocsf(match args.ocsf_version {
            OcsfVersion::V1_8 => ocsf::Version::V1_8,
            OcsfVersion::V1_9 => ocsf::Version::V1_9,
        }),
        FormatName::Jsonl => Format::Jsonl,
        FormatName::Csv => Format::Csv,
        FormatName::Parquet => Format::Parquet,
    };
    let is_binary = format == Format::Parquet;
    args.filter.check(&args.log)?;
    let to = args.to.as_deref().map(SharedFile::new);
    let out: Box<dyn Write + Send> = match &to {
        Some(file) => Box::new(file.clone()),
        None if is_binary && io::stdout().is_terminal() => {
            bail!("Parquet is no text for a terminal: name a file with `--to`")
        }
        None => Box::new(io::stdout()),
    };
    match write(args, format, out) {
        Err(error) if is_closed_pipe(&error) => Ok(Exit::Done),
        Err(error) => Err(error),
        Ok(left_out) => {
            if let Some(file) = &to {
                file.finish()?;
            }
            if left_out > 0 {
                let left_out = count(left_out, "record");
                note(format_args!(
                    "note: {left_out} left out: OCSF has no class for outcomes and notices"
                ));
            }
            Ok(Exit::Done)
        }
    }
}

/// A file that is begun with the first byte and takes its name at the end: until then, one of before stays as it is.
struct NewFile {
    path: PathBuf,
    new: Option<Replacement>,
}

/// The same file, as it is written and as it is finished.
#[derive(Clone)]
struct SharedFile(Arc<Mutex<NewFile>>);

impl NewFile {
    fn open(&mut self) -> io::Result<&mut Replacement> {
        let new = match self.new.take() {
            Some(new) => new,
            None => {
                let opened = Replacement::new(&self.path);
                opened.map_err(|error| io::Error::other(format!("{error:#}")))?
            }
        };
        Ok(self.new.insert(new))
    }
}

impl SharedFile {
    fn new(path: &Path) -> Self {
        Self(Arc::new(Mutex::new(NewFile {
            path: path.to_owned(),
            new: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, NewFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the file in its place, if anything was written.
    fn finish(&self) -> anyhow::Result<()> {
        let new = self.lock().new.take();
        new.map_or(Ok(()), Replacement::finish)
    }
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().open()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().open()?.flush()
    }
}

/// Writes all records, and returns how many have no form in the format.
fn write(args: &Args, format: Format, out: Box<dyn Write + Send>) -> anyhow::Result<usize> {
    let mut exporter = Exporter::new(format, BufWriter::new(out))?;
    let mut left_out = 0;
    // Of several replicas each has a log of its own.
    let log = args.log.origin();
    let faults = args.filter.each(&args.log, |found| {
        if !exporter.write(&found, &log)? {
            left_out += 1;
        }
        Ok(true)
    })?;
    exporter.finish()?;
    warn_of(&faults);
    Ok(left_out)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
