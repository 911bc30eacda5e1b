//! Apache Parquet: one optional column for each of [`COLUMNS`], in row groups.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type as SchemaType, TypePtr};

use crate::audit::export::columns::{self, COLUMNS, Cell, Type};
use crate::audit::record::Record;

/// Rows of one group: what is kept in memory.
const GROUP_ROWS: usize = 8_192;

/// A file that is written.
pub struct ParquetFile<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Vec<Cell>>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let schema = schema().map_err(io::Error::other)?;
        let properties = Arc::new(WriterProperties::builder().build());
        let file = SerializedFileWriter::new(out, schema, properties).map_err(io::Error::other)?;
        Ok(Self {
            file,
            rows: Vec::new(),
        })
    }

    /// Writes a record of a log with this origin.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn write(&mut self, record: &Record, log: &str) -> io::Result<()> {
        self.rows.push(columns::row(record, log));
        match self.rows.len() < GROUP_ROWS {
            true => Ok(()),
            false => self.write_group(),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.file.close().map_err(io::Error::other)?;
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.file.next_row_group().map_err(io::Error::other)?;
        for (at, (_, kind)) in COLUMNS.iter().enumerate() {
            let cells = rows.iter().filter_map(|row| row.get(at));
            write_column(&mut group, *kind, cells).map_err(io::Error::other)?;
        }
        group.close().map_err(io::Error::other)?;
        Ok(())
    }
}

fn schema() -> Result<TypePtr, ParquetError> {
    let fields: Result<Vec<_>, _> = COLUMNS
        .iter()
        .map(|(name, kind)| field(name, *kind))
        .collect();
    let schema = SchemaType::group_type_builder("record").with_fields(fields?);
    Ok(Arc::new(schema.build()?))
}

fn field(name: &str, kind: Type) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Number => (Physical::INT64, None),
        Type::Time => (
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
        ),
    };
    let field = SchemaType::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    Ok(Arc::new(field.build()?))
}

/// Writes one column: the values that are there, and for each row whether it has one.
fn write_column<'a, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    kind: Type,
    cells: impl Iterator<Item = &'a Cell>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    let (mut levels, mut texts, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(*cell != Cell::Empty));
        match cell {
            Cell::Empty => {}
            Cell::Text(text) => texts.push(ByteArray::from(text.as_str())),
            Cell::Number(number) => numbers.push(i64::try_from(*number).unwrap_or(i64::MAX)),
        }
    }
    match kind {
        Type::Text => {
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&texts, Some(&levels), None)?;
        }
        Type::Number | Type::Time => {
            let typed = column.typed::<Int64Type>();
            typed.write_batch(&numbers, Some(&levels), None)?;
        }
    }
    column.close()
}
