//! How a table of a run is declared, and all tables. A column has a type, nullability, unit, range
//! and meaning.
//!
//! A row-aligned table holds one row for each row of `documents`, in the same order, so joining two
//! of them is a zip. Each also has `doc_id`, for readers that join. `reached` says whether the
//! document got to the stage. `removed_by` says why the document was removed there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::stages::STAGES;

/// A column: name, Arrow type and meaning of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name of the column, a contract with readers.
    pub name: &'static str,
    /// Arrow type of the column as it is written.
    pub data_type: DataType,
    /// True if nulls may occur.
    pub nullable: bool,
    /// Unit of a quantity; empty for columns without a unit.
    pub unit: &'static str,
    /// Range of the values; empty if the type says everything.
    pub range: &'static str,
    /// Meaning of the values, one line.
    pub doc: &'static str,
    /// Columns inside a struct, in order; empty for other types.
    pub children: Vec<Column>,
}

impl Column {
    /// A column without nulls, unit or range.
    pub(crate) fn new(name: &'static str, data_type: DataType, doc: &'static str) -> Self {
        Column {
            name,
            data_type,
            nullable: false,
            unit: "",
            range: "",
            doc,
            children: Vec::new(),
        }
    }

    /// A column of structs with these fields.
    pub(crate) fn group(name: &'static str, children: Vec<Column>, doc: &'static str) -> Self {
        let fields: Fields = children.iter().map(Column::field).collect();
        Column {
            children,
            ..Column::new(name, DataType::Struct(fields), doc)
        }
    }

    /// The same column, in which nulls may occur.
    pub(crate) fn null(self) -> Self {
        Column {
            nullable: true,
            ..self
        }
    }

    /// The same column with a unit.
    pub(crate) fn unit(self, unit: &'static str) -> Self {
        Column { unit, ..self }
    }

    /// The same column with a range.
    pub(crate) fn range(self, range: &'static str) -> Self {
        Column { range, ..self }
    }

    /// The column as a field of an Arrow schema.
    pub(crate) fn field(&self) -> Field {
        Field::new(self.name, self.data_type.clone(), self.nullable)
    }
}

/// A column of numbers or booleans in a row-aligned table, or a field of the records' own `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Name of the table.
    pub table: &'static str,
    /// Name of the column in the table.
    pub column: &'static str,
    /// The part of the column: a column inside a struct, or a field of `meta`, where dots lead into
    /// nested fields. `None`: the whole column.
    pub field: Option<String>,
}

impl Measure {
    /// The name of the measure in the manifest.
    pub fn name(&self) -> String {
        match &self.field {
            Some(field) if self.column == "meta" => format!("meta.{field}"),
            Some(field) => format!("{}.{}.{field}", self.table, self.column),
            None => format!("{}.{}", self.table, self.column),
        }
    }
}

/// The measure with the name `table.column`, `table.column.field` or `meta.field`. `None` if there
/// is no such column, or if it holds neither numbers nor booleans.
pub fn measure(name: &str) -> Option<Measure> {
    // The fields of records are not declared, so every name is accepted.
    if let Some(field) = name.strip_prefix("meta.") {
        return Some(Measure {
            table: "documents",
            column: "meta",
            field: Some(field.to_owned()),
        });
    }

    // Other tables have no row for each document, so a document has no value in them.
    let (table, column) = name.split_once('.')?;
    let (column, field) = column
        .split_once('.')
        .map_or((column, None), |(column, field)| (column, Some(field)));
    let table = tables()
        .into_iter()
        .find(|known| known.name == table && known.shape == Shape::Aligned)?;
    let column = table
        .columns
        .into_iter()
        .find(|known| known.name == column)?;
    let measured = match field {
        None => &column,
        Some(field) => column.children.iter().find(|known| known.name == field)?,
    };

    let is_number = measured.data_type.is_numeric() || measured.data_type == DataType::Boolean;
    is_number.then(|| Measure {
        table: table.name,
        column: column.name,
        field: field.map(str::to_owned),
    })
}

/// How a table's rows relate to those of `documents`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One row for each document, in the order of `documents`, one file a shard.
    Aligned,
    /// The table has rows of its own.
    Own,
}

/// A table that a run writes: name, meaning and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name of the folder in the run directory, and of the view in DuckDB.
    pub name: &'static str,
    /// Meaning of the table, one line.
    pub doc: &'static str,
    /// How the rows relate to those of `documents`.
    pub shape: Shape,
    /// The columns of the table, in order.
    pub columns: Vec<Column>,
}

impl Table {
    /// True if the table has this column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.name == column)
    }

    /// The Arrow schema of the table's files.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(Column::field).collect::<Vec<_>>(),
        ))
    }
}

/// Every table, in the order of the stages that write them.
pub fn tables() -> Vec<Table> {
    STAGES.iter().flat_map(|stage| (stage.tables)()).collect()
}

/// The table with this name.
pub fn table(name: &str) -> Option<Table> {
    tables().into_iter().find(|table| table.name == name)
}

/// The Arrow schema of the table with this name.
///
/// # Panics
/// If there is no such table. Names are literals in this workspace, and a test walks them.
pub fn schema(name: &str) -> SchemaRef {
    table(name)
        .unwrap_or_else(|| panic!("no table is called {name}"))
        .schema()
}

/// A row-aligned table with its `own` columns after `doc_id` and `reached`.
pub(crate) fn aligned(name: &'static str, doc: &'static str, own: Vec<Column>) -> Table {
    let mut columns = vec![doc_id(), reached()];
    columns.extend(own);
    Table {
        name,
        doc,
        shape: Shape::Aligned,
        columns,
    }
}

/// The column `doc_id`, which names the document of a row.
pub(crate) fn doc_id() -> Column {
    Column::new(
        "doc_id",
        DataType::Utf8,
        "identity of the document: xxh3-128 of source, own id, path and ordinal",
    )
    .range("32 hex digits, unique in documents")
}

/// The column `reached` of every row-aligned table after `documents`.
pub(crate) fn reached() -> Column {
    Column::new(
        "reached",
        DataType::Boolean,
        "whether the document got to this stage",
    )
}

/// The column `removed_by` of a stage that may remove documents.
pub(crate) fn removed_by() -> Column {
    Column::new(
        "removed_by",
        DataType::Utf8,
        "the rule that removed the document at this stage; null if no rule did",
    )
    .null()
    .range("family.rule")
}

/// A column of UTF-8 texts.
pub(crate) fn utf8(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Utf8, doc)
}

/// A column of counts that may be 2^32 or more.
pub(crate) fn count(name: &'static str, unit: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::UInt64, doc).unit(unit)
}

/// A column of counts below 2^32.
pub(crate) fn small_count(name: &'static str, unit: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::UInt32, doc).unit(unit)
}

/// A column of true and false.
pub(crate) fn flag(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Boolean, doc)
}

/// A column of ratios that may be above 1.
pub(crate) fn ratio(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Float64, doc).range("0 or more")
}

/// A column of shares, 0 to 1.
pub(crate) fn unit_interval(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Float64, doc).range("[0, 1]")
}

/// The type of edits: spans of bytes in a text, each with its replacement and its reason.
pub fn edits() -> DataType {
    edits_column().data_type
}

/// The column of a step that rewrites texts. Spans are positions in the text that the step saw.
pub(crate) fn edits_column() -> Column {
    let children = vec![
        small_count(
            "start",
            "bytes",
            "where the span begins in the text that the step saw",
        ),
        small_count("end", "bytes", "where the span ends"),
        utf8("replacement", "the text that replaces the span"),
        utf8("reason", "the rule that changed the text").range("family.rule"),
    ];
    let doc = "the changes of this step, ascending, without overlap; null if it changes nothing";
    list_of_structs("edits", children, doc).null()
}

/// A column of lists whose items have these fields.
pub(crate) fn list_of_structs(
    name: &'static str,
    children: Vec<Column>,
    doc: &'static str,
) -> Column {
    let fields: Fields = children.iter().map(Column::field).collect();
    Column {
        children,
        ..Column::new(name, list(DataType::Struct(fields)), doc)
    }
}

/// The type of lists of `item`. Entries are never null.
pub(crate) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let all = tables();
        for (i, table) in all.iter().enumerate() {
            assert!(!table.doc.is_empty());
            assert!(
                all[i + 1..].iter().all(|other| other.name != table.name),
                "{}",
                table.name
            );
            for column in &table.columns {
                assert!(!column.doc.is_empty(), "{}.{}", table.name, column.name);
                assert_eq!(
                    table
                        .columns
                        .iter()
                        .filter(|other| other.name == column.name)
                        .count(),
                    1
                );
            }
        }
    }

    #[test]
    fn aligned_tables_start_with_the_identity() {
        for table in tables()
            .iter()
            .filter(|table| table.shape == Shape::Aligned)
        {
            assert_eq!(table.columns[0].name, "doc_id", "{}", table.name);
        }
    }
}
