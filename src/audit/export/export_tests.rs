use super::*;
use crate::audit::export::columns::COLUMNS;
use crate::audit::fixtures::records;
use crate::audit::outcome_check::OutcomeDoubt;
use crate::audit::record::{Record, StoredRecord};

fn found(message: Record) -> FoundRecord {
    let stored = StoredRecord {
        index: message.index.unwrap_or_default(),
        bytes: Vec::new(),
    };
    FoundRecord::new(stored, message)
}

/// The origin of the log.
const LOG: &str = "callgate/eu-1/5d9c0a7e";

fn exported(format: Format) -> String {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(format, &mut out).expect("begun");
    for record in records() {
        exporter.write(&found(record), LOG).expect("written");
    }
    exporter.finish().expect("ended");
    String::from_utf8(out).expect("text")
}

#[test]
fn csv_is_one_line_a_record_and_no_formula() {
    let csv = exported(Format::Csv);
    insta::assert_snapshot!(csv.replace('\r', ""));
    assert_eq!(csv.lines().count(), records().len() + 1);
    // Every line has all columns; commas within quotes are not theirs.
    for line in csv.lines() {
        let commas = line.split('"').step_by(2).map(|it| it.matches(',').count());
        assert_eq!(commas.sum::<usize>() + 1, COLUMNS.len(), "{line}");
    }
    assert!(csv.contains(",'=cmd|"));
}

#[test]
fn jsonl_is_one_object_a_line() {
    let lines = exported(Format::Jsonl);
    for (line, record) in lines.lines().zip(records()) {
        let value: serde_json::Value = serde_json::from_str(line).expect("json");
        assert_eq!(value["index"], serde_json::json!(record.index));
        assert_eq!(value["log"], LOG);
    }
}

#[test]
fn json_lines_tell_why_an_outcome_does_not_fit() {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(Format::Jsonl, &mut out).expect("begun");
    let doubted = FoundRecord {
        doubts: vec![OutcomeDoubt::Denied],
        ..found(records().remove(0))
    };
    exporter.write(&doubted, "").expect("written");
    exporter.finish().expect("ended");
    let value: serde_json::Value = serde_json::from_slice(&out).expect("json");
    assert_eq!(value["doubts"], serde_json::json!(["denied"]));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_so() {
    let error = Exporter::new(Format::Parquet, Vec::new())
        .err()
        .expect("none");
    assert!(error.to_string().contains("--features parquet"), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_back() {
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
    let mut out = Vec::new();
    let mut exporter = Exporter::new(Format::Parquet, &mut out).expect("begun");
    for record in records() {
        exporter.write(&found(record), LOG).expect("written");
    }
    exporter.finish().expect("ended");
    let reader = SerializedFileReader::new(::bytes::Bytes::from(out)).expect("a file");
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    assert_eq!(rows.len(), records().len());
    for (row, record) in rows.iter().zip(records()) {
        let cells: Vec<_> = row
            .get_column_iter()
            .map(|(name, _)| name.clone())
            .collect();
        let wanted: Vec<_> = COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(cells, wanted);
        let text = row.to_string();
        assert!(
            text.contains(&format!("index: {}", record.index.expect("an index"))),
            "{text}"
        );
    }
}
