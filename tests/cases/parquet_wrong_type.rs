//! A Parquet text column of another type.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, ListBuilder, NullArray, RecordBatch, StringArray, StringBuilder,
    UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::{Place, check, query, report, run};

/// Writes a table of ids and of a column in row groups of 500 rows.
fn write(path: &Path, name: &str, column: ArrayRef) {
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..column.len() as u64));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), (name, column, true)]);
    let batch = batch.unwrap();
    let groups = WriterProperties::builder()
        .set_max_row_group_row_count(Some(500))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(groups)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn rows_whose_text_has_another_type_count_for_the_gate() {
    let place = Place::new();
    fs::create_dir(place.path("in")).unwrap();
    let n = 2000;
    let texts = StringArray::from_iter_values((0..300).map(|n| format!("The text number {n}.")));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for _ in 0..n {
        lists.append_value([Some("one"), Some("two")]);
    }
    write(&place.path("in/a_good.parquet"), "text", Arc::new(texts));
    write(
        &place.path("in/b_list.parquet"),
        "text",
        Arc::new(lists.finish()),
    );
    write(
        &place.path("in/c_null.parquet"),
        "text",
        Arc::new(NullArray::new(n)),
    );
    write(
        &place.path("in/d_flag.parquet"),
        "text",
        Arc::new(BooleanArray::from(vec![true; n])),
    );
    let others = StringArray::from(vec!["x"; n]);
    write(
        &place.path("in/e_name.parquet"),
        "content",
        Arc::new(others),
    );

    let manifest =
        "[run]\nname = \"types\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n";
    let manifest = place.write("manifest.toml", manifest);
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(1).says(&[
        "8000 of 8300 records",
        "4000 text_not_string (d_flag.parquet, record 0: column \"text\" is Boolean, expected text)",
        "4000 missing_text (c_null.parquet, record 0: column \"text\" is null in every row)",
    ]);

    let any = ["--set", "run.max_quarantine_ratio=1.0"];
    run(&manifest, &dir, &any).exits(0);
    let docs = &report(&dir)["stages"][0]["docs"];
    assert_eq!((&docs["in"], &docs["kept"]), (&8300.into(), &300.into()));
    let types = "SELECT path, reason, detail, records FROM quarantine ORDER BY 1";
    let types = query(&dir, types);
    assert_eq!(types.len(), 4);
    for (row, part) in types.iter().zip([
        "b_list.parquet|text_not_string|column \"text\" is List(",
        "c_null.parquet|missing_text|column \"text\" is null in every row",
        "d_flag.parquet|text_not_string|column \"text\" is Boolean, expected text",
        "e_name.parquet|missing_text|no column \"text\"; there are: id, content",
    ]) {
        assert!(row.starts_with(part) && row.ends_with("|2000"), "{row}");
    }
    check(&dir, None).exits(0);
}

#[test]
fn a_file_that_is_cut_off_is_a_damaged_file() {
    let place = Place::new();
    fs::create_dir(place.path("in")).unwrap();
    let texts = || StringArray::from_iter_values((0..300).map(|n| format!("The text number {n}.")));
    write(&place.path("in/a_good.parquet"), "text", Arc::new(texts()));
    write(&place.path("in/b_cut.parquet"), "text", Arc::new(texts()));
    let bytes = fs::read(place.path("in/b_cut.parquet")).unwrap();
    fs::write(place.path("in/b_cut.parquet"), &bytes[..bytes.len() / 2]).unwrap();

    let manifest = "[run]\nname = \"cut\"\n[[source]]\nname = \"s\"\npath = \"in\"\n";
    let dir = place.path("run");
    run(&place.write("manifest.toml", manifest), &dir, &[])
        .exits(0)
        .says(&[
            "1 of 301 records are in quarantine",
            "b_cut.parquet",
            "damaged_file",
        ]);
    let rows = "SELECT path, reason, records FROM quarantine";
    assert_eq!(query(&dir, rows), ["b_cut.parquet|damaged_file|1"]);
}
