//! The rules against labels made with datatrove: words, values, verdicts and rewritten texts,
//! document by document.
//!
//! `fixtures/gold` always; with `GOLD_DIR` the labels in that folder instead, and with `GOLD_TABLE`
//! the table goes into that file, between its marks (`make gold DIR=…`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use curate_schemas::rules::rules;
use curate_scorers::words::spacy::words;
use curate_stages::text::edit_texts;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha1::{Digest, Sha1};

use crate::support::{Place, files, repository, run};

/// A family's labels, the rules' family, and the setting of the run whose verdicts they are.
const FAMILIES: [(&str, &str, bool); 6] = [
    ("gopher_rep", "gopher_repetition", true),
    ("gopher_qual", "gopher_quality", true),
    ("c4", "c4", true),
    ("c4_nopunct", "c4", false),
    ("c4_par", "c4_paragraphs", true),
    ("fineweb", "fineweb", true),
];

/// A label that is a number, and the column of `signals` that must equal it.
#[rustfmt::skip]
const VALUES: [(&str, &str, &str); 26] = [
    ("n_words", "gopher_quality", "n_words"),
    ("n_nonsymbol_words", "gopher_quality", "n_nonsymbol_words"),
    ("avg_word_len", "gopher_quality", "avg_word_len"),
    ("hash_word_ratio", "gopher_quality", "hash_word_ratio"),
    ("ellipsis_word_ratio", "gopher_quality", "ellipsis_word_ratio"),
    ("bullet_line_ratio", "gopher_quality", "bullet_line_ratio"),
    ("ellipsis_line_ratio", "gopher_quality", "ellipsis_line_ratio"),
    ("alpha_word_ratio", "gopher_quality", "alpha_word_ratio"),
    ("n_stop_words", "gopher_quality", "n_stop_words"),
    ("dup_para_frac", "gopher_repetition", "dup_para_frac"),
    ("dup_para_char_frac", "gopher_repetition", "dup_para_char_frac"),
    ("dup_line_frac", "gopher_repetition", "dup_line_frac"),
    ("dup_line_char_frac", "gopher_repetition", "dup_line_char_frac"),
    ("top_2_gram", "gopher_repetition", "top_2_gram"),
    ("top_3_gram", "gopher_repetition", "top_3_gram"),
    ("top_4_gram", "gopher_repetition", "top_4_gram"),
    ("dup_5_gram", "gopher_repetition", "dup_5_gram"),
    ("dup_6_gram", "gopher_repetition", "dup_6_gram"),
    ("dup_7_gram", "gopher_repetition", "dup_7_gram"),
    ("dup_8_gram", "gopher_repetition", "dup_8_gram"),
    ("dup_9_gram", "gopher_repetition", "dup_9_gram"),
    ("dup_10_gram", "gopher_repetition", "dup_10_gram"),
    ("fw_line_punct", "fineweb", "line_punct_ratio"),
    ("fw_short_line", "fineweb", "short_line_ratio"),
    ("fw_char_dup", "fineweb", "char_dup_ratio"),
    ("fw_list_ratio", "fineweb", "list_ratio"),
];

const MANIFEST: &str = r#"
[run]
name = "gold"
[[source]]
name = "gold"
path = "docs.jsonl.zst"
[filter]
words = "english"
[filter.gopher_repetition]
[filter.gopher_quality]
[filter.c4]
[filter.c4_paragraphs]
[filter.fineweb]
"#;

/// What was compared, how often it agreed, and where it did not.
#[derive(Default)]
struct Agreement {
    documents: usize,
    agreed: BTreeMap<String, (usize, usize)>,
    causes: Vec<(String, String)>,
}

impl Agreement {
    fn add(&mut self, what: &str, id: &str, cause: Option<String>) {
        let (agreed, of) = self.agreed.entry(what.to_owned()).or_default();
        *of += 1;
        match cause {
            None => *agreed += 1,
            Some(cause) => self
                .causes
                .push((id.to_owned(), format!("{what}: {cause}"))),
        }
    }

    fn table(&self, name: &str) -> String {
        let mut table = format!(
            "{} documents of {name}.\n\n| compared | agree | of | share |\n|---|---|---|---|\n",
            self.documents
        );
        for (what, (agreed, of)) in &self.agreed {
            writeln!(
                table,
                "| {what} | {agreed} | {of} | {:.5} |",
                *agreed as f64 / *of as f64
            )
            .unwrap();
        }
        table.push_str("\n| document | disagrees in |\n|---|---|\n");
        if self.causes.is_empty() {
            table.push_str("| none | |\n");
        }
        for (id, cause) in &self.causes {
            writeln!(table, "| `{id}` | {cause} |").unwrap();
        }
        table
    }
}

#[test]
fn rules_agree_with_datatrove() {
    let folder = std::env::var_os("GOLD_DIR")
        .map_or_else(|| repository().join("fixtures/gold"), PathBuf::from);
    let docs = find(
        &folder,
        &["gold*.jsonl.zst", "docs.jsonl.zst", "*.jsonl.zst"],
    );
    let labels = rows(&find(
        &folder,
        &[
            "*filters*.parquet",
            "*labels*.parquet",
            "gold*.parquet",
            "*.parquet",
        ],
    ));
    let place = Place::new();
    fs::copy(&docs, place.path("docs.jsonl.zst")).unwrap();
    let manifest = place.write("gold.toml", MANIFEST);
    let dir = |terminal_punct: bool| place.path(if terminal_punct { "punct" } else { "nopunct" });
    let rewritten = place.path("rewritten");
    for (dir, terminal_punct, rewrite) in [
        (dir(true), true, false),
        (dir(false), false, true),
        (rewritten.clone(), true, true),
    ] {
        let settings = [
            format!("filter.c4.terminal_punct={terminal_punct}"),
            format!("filter.c4.rewrite={rewrite}"),
        ];
        run(
            &manifest,
            &dir,
            &[
                "--until",
                "filter",
                "--set",
                &settings[0],
                "--set",
                &settings[1],
            ],
        )
        .exits(0);
    }
    let documents = table(&dir(true), "documents");
    assert_eq!(
        documents.num_rows(),
        labels.num_rows(),
        "documents and labels"
    );
    let mut agreement = Agreement {
        documents: labels.num_rows(),
        ..Agreement::default()
    };
    let same_words = compare_words(&documents, &labels, &mut agreement);
    compare_values(
        &table(&dir(true), "signals"),
        &labels,
        &same_words,
        &mut agreement,
    );
    for (label, family, terminal_punct) in FAMILIES {
        let failing = table(&dir(terminal_punct), "filter");
        compare_verdicts(&failing, &labels, label, family, &mut agreement);
    }
    for (label, dir) in [("c4", rewritten), ("c4_nopunct", dir(false))] {
        compare_rewritten(
            &documents,
            &table(&dir, "signals"),
            &labels,
            label,
            &mut agreement,
        );
    }
    let shown = agreement.table(&docs.file_name().unwrap().to_string_lossy());
    println!("{shown}");
    if let Some(path) = std::env::var_os("GOLD_TABLE") {
        replace(Path::new(&path), &shown);
    }
    for (what, (agreed, of)) in &agreement.agreed {
        assert!(
            *agreed as f64 >= 0.999 * *of as f64,
            "{what}: {agreed} of {of} agree"
        );
    }
}

/// Which documents have the words that the labels were made with.
fn compare_words(
    documents: &RecordBatch,
    labels: &RecordBatch,
    agreement: &mut Agreement,
) -> Vec<bool> {
    let (ids, texts) = (text(labels, "id"), text(documents, "text"));
    let expected = text(labels, "words_sha1");
    let mut same = Vec::new();
    let mut segmented = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        words(text, &mut segmented);
        let found = sha1(&segmented.join("\u{1f}"));
        same.push(found == expected[row]);
        let cause = (found != expected[row]).then(|| format!("{} of ours", segmented.len()));
        agreement.add("words", &ids[row], cause);
    }
    same
}

fn compare_values(
    signals: &RecordBatch,
    labels: &RecordBatch,
    same_words: &[bool],
    agreement: &mut Agreement,
) {
    let ids = text(labels, "id");
    for (label, family, field) in VALUES {
        let group = signals.column_by_name(family).unwrap().as_struct();
        let found = numbers(group.column_by_name(field).unwrap());
        let expected = numbers(labels.column_by_name(label).unwrap());
        for row in (0..labels.num_rows()).filter(|&row| same_words[row]) {
            // datatrove has no value where it divides by zero.
            let Some(expected) = expected[row] else {
                continue;
            };
            let found = found[row].unwrap();
            let differs = (found - expected).abs() > 1e-9;
            agreement.add(
                &format!("value {label}"),
                &ids[row],
                differs.then(|| format!("{found}, was {expected}")),
            );
        }
    }
}

fn compare_verdicts(
    filter: &RecordBatch,
    labels: &RecordBatch,
    label: &str,
    family: &str,
    agreement: &mut Agreement,
) {
    let ids = text(labels, "id");
    let passes = labels
        .column_by_name(&format!("{label}_pass"))
        .unwrap()
        .as_boolean();
    let reasons = text(labels, &format!("{label}_reason"));
    let failing = filter.column_by_name("failing").unwrap().as_list::<i32>();
    for row in 0..labels.num_rows() {
        let names = failing.value(row);
        let failed: Vec<&str> = names.as_string::<i32>().iter().flatten().collect();
        let failed = rules()
            .filter(|rule| rule.family == family && failed.contains(&rule.full_name().as_str()));
        let failed: Vec<&str> = failed.map(|rule| rule.datatrove).collect();
        let agrees = match passes.value(row) {
            true => failed.is_empty(),
            // The first that fails; but C4 names the one whose line comes first.
            false if family == "c4" => failed.contains(&reasons[row].as_str()),
            false => failed.first() == Some(&reasons[row].as_str()),
        };
        let cause = || format!("{failed:?} fail, datatrove: {:?}", reasons[row]);
        agreement.add(
            &format!("verdict {label}"),
            &ids[row],
            (!agrees).then(cause),
        );
    }
}

fn compare_rewritten(
    documents: &RecordBatch,
    signals: &RecordBatch,
    labels: &RecordBatch,
    label: &str,
    agreement: &mut Agreement,
) {
    let ids = text(labels, "id");
    let texts = documents.column_by_name("text").unwrap().as_string::<i32>();
    let edited = edit_texts(texts, &[signals.column_by_name("edits").unwrap().clone()]).unwrap();
    let expected = text(labels, &format!("{label}_text_sha1"));
    let passes = labels
        .column_by_name(&format!("{label}_pass"))
        .unwrap()
        .as_boolean();
    // A document that fails keeps its text there.
    for row in (0..labels.num_rows()).filter(|row| passes.value(*row)) {
        let differs = sha1(edited.value(row)) != expected[row];
        agreement.add(
            &format!("rewritten text {label}"),
            &ids[row],
            differs.then(|| "another text".to_owned()),
        );
    }
}

/// The file in a folder that the first of these patterns finds.
fn find(folder: &Path, patterns: &[&str]) -> PathBuf {
    let found = |pattern: &&str| {
        glob::glob(folder.join(pattern).to_str().unwrap())
            .unwrap()
            .flatten()
            .next()
    };
    patterns
        .iter()
        .find_map(found)
        .unwrap_or_else(|| panic!("{} has none of {patterns:?}", folder.display()))
}

fn rows(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// All rows of a row-aligned table, in the documents' order.
fn table(run: &Path, name: &str) -> RecordBatch {
    let batches: Vec<RecordBatch> = files(run, name)
        .iter()
        .map(|file| rows(&run.join(name).join(file)))
        .collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn text(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    column
        .as_string::<i32>()
        .iter()
        .map(|text| text.unwrap_or_default().to_owned())
        .collect()
}

fn numbers(column: &dyn Array) -> Vec<Option<f64>> {
    cast(column, &DataType::Float64)
        .unwrap()
        .as_primitive::<Float64Type>()
        .iter()
        .collect()
}

fn sha1(text: &str) -> String {
    Sha1::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Puts a table between the marks of a document.
fn replace(path: &Path, table: &str) {
    const MARKS: [&str; 2] = ["<!-- make gold: begin -->\n", "<!-- make gold: end -->"];
    let document = fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    fs::write(
        path,
        format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]),
    )
    .unwrap();
}
