//! Writes records for other programs: JSON lines, OCSF events, CSV and Parquet.
//!
//! Start at [`Exporter`]. [`columns`] is the flat form that CSV and Parquet share.

pub mod columns;
pub mod csv;
pub mod ocsf;
#[cfg(feature = "parquet")]
pub mod parquet;
mod unmapped;

use std::io::{self, Write};

use crate::audit::find::FoundRecord;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, as [`FoundRecord::json`] has it.
    Jsonl,
    /// One event of the Open Cybersecurity Schema Framework a line.
    Ocsf(ocsf::Version),
    /// Comma-separated values (RFC 4180) with a header.
    Csv,
    /// Apache Parquet; needs the feature `parquet`.
    Parquet,
}

/// Writes records one after the other.
pub enum Exporter<W: Write + Send> {
    /// JSON lines.
    Jsonl(W),
    /// OCSF.
    Ocsf(W, ocsf::Version),
    /// CSV.
    Csv(W),
    /// Parquet.
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::ParquetFile<W>>),
}

impl<W: Write + Send> Exporter<W> {
    /// Begins an export.
    ///
    /// # Errors
    ///
    /// If the output cannot be written, or this build has no Parquet.
    pub fn new(format: Format, mut out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(out),
            Format::Ocsf(version) => Self::Ocsf(out, version),
            Format::Csv => {
                csv::header(&mut out)?;
                Self::Csv(out)
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Self::Parquet(Box::new(parquet::ParquetFile::new(out)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this build of Callgate has no Parquet: build it with `--features parquet`, or export csv or jsonl",
                ));
            }
        })
    }

    /// Writes a record of a log with this origin, which may be empty. `false` if the format has no form for its kind.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn write(&mut self, found: &FoundRecord, log: &str) -> io::Result<bool> {
        let record = &found.message;
        match self {
            Self::Jsonl(out) => {
                let mut value = found.json();
                if !log.is_empty() {
                    value["log"] = log.into();
                }
                line(out, &value)?;
            }
            Self::Ocsf(out, version) => match ocsf::event(record, log, *version) {
                Some(event) => line(out, &event)?,
                None => return Ok(false),
            },
            Self::Csv(out) => csv::row(out, record, log)?,
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.write(record, log)?,
        }
        Ok(true)
    }

    /// Ends the export.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Jsonl(mut out) | Self::Ocsf(mut out, _) | Self::Csv(mut out) => out.flush(),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.finish(),
        }
    }
}

fn line(out: &mut impl Write, value: &serde_json::Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
