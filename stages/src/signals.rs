//! The value of every rule, computed in one pass over each document that `language` kept: words are
//! segmented once and shared by the families. No threshold stands here; verdicts are expressions in
//! [`crate::filter`].
//!
//! Rules that rewrite (`[filter.c4]`, `[filter.lines]`) leave their removals as `edits`; FineWeb's
//! values and the heuristic score are of the text after them, the others of the text before.

use std::collections::BTreeMap;
use std::sync::Arc;

use curate_schemas::manifest::{self, Filter, Manifest, SignalValues, Words};
use curate_schemas::tables;
use curate_scorers::edits::{Edit, apply};
use curate_scorers::rules::bad_words::BadWords;
use curate_scorers::rules::c4::{self, C4, c4};
use curate_scorers::rules::fineweb::{FineWeb, LinesScratch, fineweb};
use curate_scorers::rules::gopher_quality::{GopherQuality, gopher_quality};
use curate_scorers::rules::gopher_repetition::{
    GopherRepetition, RepetitionScratch, gopher_repetition,
};
use curate_scorers::rules::line_rules::{self, LineRules, line_rules};
use curate_scorers::study_note::study_note;
use curate_scorers::words::{dictionary, spacy};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, ListBuilder, NullBufferBuilder, StringArray,
    StringBuilder, StructArray, StructBuilder, UInt32Array, UInt32Builder, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::{coalesce, get_field};
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};

use crate::function::{Function, text};
use crate::lists::Lists;
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

/// The stage `signals`.
pub struct SignalsStage {
    /// `None`: no values but the length of the text.
    settings: Option<Settings>,
}

/// What the values depend on, beside the text.
#[derive(Clone)]
struct Settings {
    words: Words,
    c4: c4::LineSettings,
    rewrite_c4: bool,
    lines: Option<manifest::Lines>,
    bad_words: Option<(Arc<BadWords>, String)>,
    bad_words_language: Option<String>,
}

impl SignalsStage {
    /// The stage as the manifest sets it.
    pub fn new(manifest: &Manifest, lists: Lists) -> Self {
        let Filter {
            words,
            c4,
            lines,
            c4_bad_words,
            ..
        } = manifest.filter.clone();
        let c4 = c4.unwrap_or_default();
        let settings = Settings {
            words,
            rewrite_c4: c4.rewrite,
            c4: c4::LineSettings {
                terminal_punct: c4.terminal_punct,
                citations: c4.citations,
                min_words: c4.min_line_words,
                max_word_len_chars: c4.max_word_len,
                javascript: c4.javascript,
                policy: c4.policy,
            },
            lines,
            bad_words: lists.bad_words,
            bad_words_language: c4_bad_words.map(|words| words.language),
        };
        let settings = (manifest.signals.values == SignalValues::All).then_some(settings);
        SignalsStage { settings }
    }
}

impl Stage for SignalsStage {
    fn name(&self) -> &'static str {
        "signals"
    }

    fn version(&self) -> u32 {
        2
    }

    fn config(&self) -> Value {
        let Some(settings) = &self.settings else {
            return json!({ "values": "none" });
        };
        let Settings {
            words,
            c4,
            rewrite_c4,
            lines,
            bad_words_language,
            ..
        } = settings;
        json!({
            "words": [words, spacy::WORDS, dictionary::WORDS],
            "c4": {
                "terminal_punct": c4.terminal_punct,
                "citations": c4.citations,
                "min_line_words": c4.min_words,
                "max_word_len": c4.max_word_len_chars,
                "javascript": c4.javascript,
                "policy": c4.policy,
                "rewrite": rewrite_c4,
            },
            "lines": lines.as_ref().map(|lines| json!({ "rewrite": lines.rewrite })),
            "bad_words": bad_words_language,
        })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        let bad_words = self
            .settings
            .iter()
            .flat_map(|settings| &settings.bad_words);
        bad_words
            .map(|(_, digest)| ("bad_words", digest.clone()))
            .collect()
    }

    fn follows(&self) -> &'static str {
        "language"
    }

    fn reads(&self) -> Vec<Read> {
        let bytes = Read {
            table: "documents",
            column: "bytes",
            name: "document_bytes".into(),
        };
        match self.settings {
            Some(_) => vec![
                read("documents", "text"),
                bytes,
                read("language", "language"),
            ],
            None => vec![bytes],
        }
    }
}

impl ShardStage for SignalsStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let Some(settings) = &self.settings else {
            return without_values(input);
        };
        let arguments = vec![col("text"), col("language"), lit(self.config().to_string())];
        let values = signals(arguments, settings.clone());
        let mut plan = input.with_column("signals", if_reached(values)?)?;
        for field in fields().iter() {
            plan = plan.with_column(
                field.name(),
                get_field(col("signals"), field.name().as_str()),
            )?;
        }
        let bytes = coalesce(vec![col("bytes"), col("document_bytes")]);
        select_table(plan.with_column("bytes", bytes)?, "signals")
    }
}

/// The table with no values but the length of the text.
fn without_values(input: DataFrame) -> Result<DataFrame> {
    let mut plan = input;
    for field in fields().iter() {
        plan = plan.with_column(field.name(), lit(ScalarValue::try_from(field.data_type())?))?;
    }
    select_table(plan.with_column("bytes", col("document_bytes"))?, "signals")
}

/// The columns that the kernel makes: all but identity.
fn fields() -> Fields {
    tables::schema("signals")
        .fields()
        .iter()
        .skip(2)
        .cloned()
        .collect()
}

/// `signals(text, language, settings) -> {bytes, edits, words, heuristic, gopher_quality, …}`.
fn signals(arguments: Vec<Expr>, settings: Settings) -> Expr {
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (texts, languages) = (text(columns, 0)?, text(columns, 1)?);
        let mut rows = Rows::default();
        for (text, language) in texts.iter().zip(languages) {
            rows.add(&settings, text.unwrap_or_default(), language)?;
        }
        Ok(Arc::new(StructArray::try_new(
            fields(),
            rows.columns()?,
            None,
        )?))
    };
    Function::new("signals", DataType::Struct(fields()), kernel).call(arguments)
}

/// Values of a batch, and memory that is kept from one row to the next.
#[derive(Default)]
struct Rows {
    bytes: Vec<u64>,
    edits: Vec<Vec<Edit>>,
    words: Vec<&'static str>,
    heuristic: Vec<f64>,
    quality: Vec<GopherQuality>,
    repetition: Vec<GopherRepetition>,
    c4: Vec<C4>,
    bad_words: Vec<Option<u32>>,
    fineweb: Vec<FineWeb>,
    lines: Vec<Option<LineRules>>,
    repetition_scratch: RepetitionScratch,
    fineweb_scratch: LinesScratch,
}

impl Rows {
    fn add(&mut self, settings: &Settings, text: &str, language: Option<&str>) -> Result<()> {
        let is_english =
            settings.words == Words::English || language.is_none_or(|language| language == "eng");
        // The word list borrows from the text, so it cannot outlive the row.
        let words = segment(text, is_english);
        let mut edits = Vec::new();
        let quality = gopher_quality(text, &words);
        self.repetition.push(gopher_repetition(
            text,
            &words,
            &mut self.repetition_scratch,
        ));
        self.c4.push(c4(
            text,
            &words,
            &settings.c4,
            settings.rewrite_c4.then_some(&mut edits),
        ));
        self.bad_words.push(
            settings
                .bad_words
                .as_ref()
                .map(|(list, _)| list.count(text)),
        );
        self.lines.push(settings.lines.as_ref().map(|lines| {
            line_rules(
                text,
                &line_rules::LineSettings::default(),
                lines.rewrite.then_some(&mut edits),
            )
        }));
        let after = apply(text, &edits).map_err(|error| DataFusionError::External(error.into()))?;
        let mut n_words = quality.n_words;
        if !edits.is_empty() {
            n_words = segment(&after, is_english).len() as u32;
        }
        self.fineweb
            .push(fineweb(&after, n_words, &mut self.fineweb_scratch));
        self.heuristic.push(study_note(&after));
        self.bytes.push(after.len() as u64);
        self.words.push(if is_english {
            spacy::WORDS
        } else {
            dictionary::WORDS
        });
        self.quality.push(quality);
        self.edits.push(edits);
        Ok(())
    }

    /// In the order of [`fields`].
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let schema = tables::schema("signals");
        let field = |name: &str| schema.field_with_name(name).expect("declared").clone();
        Ok(vec![
            Arc::new(UInt64Array::from(self.bytes.clone())),
            edit_lists(&self.edits),
            Arc::new(StringArray::from_iter_values(&self.words)),
            Arc::new(Float64Array::from(self.heuristic.clone())),
            quality_columns(&field("gopher_quality"), &self.quality)?,
            repetition_columns(&field("gopher_repetition"), &self.repetition)?,
            c4_columns(&field("c4"), &self.c4)?,
            Arc::new(UInt32Array::from(self.bad_words.clone())),
            fineweb_columns(&field("fineweb"), &self.fineweb)?,
            line_columns(&field("lines"), &self.lines)?,
        ])
    }
}

fn segment(text: &str, is_english: bool) -> Vec<&str> {
    let mut words = Vec::new();
    match is_english {
        true => spacy::words(text, &mut words),
        false => dictionary::words(text, &mut words),
    }
    words
}

/// A list of edits a row; null for none.
fn edit_lists(rows: &[Vec<Edit>]) -> ArrayRef {
    let DataType::List(item) = tables::edits() else {
        unreachable!("edits are declared as a list")
    };
    let DataType::Struct(fields) = item.data_type() else {
        unreachable!("edits are declared as structs")
    };
    let mut lists =
        ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0)).with_field(item);
    for edits in rows {
        let entry = lists.values();
        for edit in edits {
            let place = |entry: &mut StructBuilder, i: usize, at: u32| {
                entry
                    .field_builder::<UInt32Builder>(i)
                    .expect("declared as UInt32")
                    .append_value(at);
            };
            let word = |entry: &mut StructBuilder, i: usize, text: &str| {
                entry
                    .field_builder::<StringBuilder>(i)
                    .expect("declared as Utf8")
                    .append_value(text);
            };
            place(entry, 0, edit.start);
            place(entry, 1, edit.end);
            word(entry, 2, &edit.replacement);
            word(entry, 3, edit.reason);
            entry.append(true);
        }
        lists.append(!edits.is_empty());
    }
    Arc::new(lists.finish())
}

/// A struct column of rows, each column by its getter; `None` is null.
struct Group<'a, T> {
    field: &'a Field,
    rows: Vec<Option<&'a T>>,
    columns: Vec<ArrayRef>,
}

impl<'a, T> Group<'a, T> {
    fn new(field: &'a Field, rows: impl Iterator<Item = Option<&'a T>>) -> Self {
        Group {
            field,
            rows: rows.collect(),
            columns: Vec::new(),
        }
    }

    fn count(mut self, get: impl Fn(&T) -> u32) -> Self {
        let values = self.rows.iter().map(|row| row.map_or(0, &get));
        self.columns
            .push(Arc::new(UInt32Array::from_iter_values(values)));
        self
    }

    fn ratio(mut self, get: impl Fn(&T) -> f64) -> Self {
        let values = self.rows.iter().map(|row| row.map_or(0.0, &get));
        self.columns
            .push(Arc::new(Float64Array::from_iter_values(values)));
        self
    }

    fn flag(mut self, get: impl Fn(&T) -> bool) -> Self {
        let values = self.rows.iter().map(|row| Some(row.is_some_and(&get)));
        self.columns
            .push(Arc::new(values.collect::<BooleanArray>()));
        self
    }

    fn finish(self) -> Result<ArrayRef> {
        let DataType::Struct(fields) = self.field.data_type() else {
            return datafusion::common::internal_err!("{} is no struct", self.field.name());
        };
        let mut nulls = NullBufferBuilder::new(self.rows.len());
        self.rows.iter().for_each(|row| nulls.append(row.is_some()));
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            self.columns,
            nulls.finish(),
        )?))
    }
}

fn quality_columns(field: &Field, rows: &[GopherQuality]) -> Result<ArrayRef> {
    Group::new(field, rows.iter().map(Some))
        .count(|row| row.n_words)
        .count(|row| row.n_nonsymbol_words)
        .ratio(|row| row.avg_word_len)
        .ratio(|row| row.hash_word_ratio)
        .ratio(|row| row.ellipsis_word_ratio)
        .ratio(|row| row.bullet_line_ratio)
        .ratio(|row| row.ellipsis_line_ratio)
        .ratio(|row| row.alpha_word_ratio)
        .count(|row| row.n_stop_words)
        .finish()
}

fn repetition_columns(field: &Field, rows: &[GopherRepetition]) -> Result<ArrayRef> {
    let mut group = Group::new(field, rows.iter().map(Some))
        .ratio(|row| row.dup_para_frac)
        .ratio(|row| row.dup_para_char_frac)
        .ratio(|row| row.dup_line_frac)
        .ratio(|row| row.dup_line_char_frac)
        .ratio(|row| row.v1_dup_line_frac)
        .ratio(|row| row.v1_dup_line_char_frac);
    for n in 0..3 {
        group = group.ratio(|row| row.top_n_gram[n]);
    }
    for n in 0..6 {
        group = group.ratio(|row| row.dup_n_gram[n]);
    }
    group.finish()
}

fn c4_columns(field: &Field, rows: &[C4]) -> Result<ArrayRef> {
    Group::new(field, rows.iter().map(Some))
        .count(|row| row.n_lines)
        .count(|row| row.n_lines_kept)
        .count(|row| row.n_too_long_word)
        .count(|row| row.n_no_terminal_punct)
        .count(|row| row.n_too_few_words)
        .count(|row| row.n_javascript)
        .count(|row| row.n_policy)
        .count(|row| row.n_citations)
        .count(|row| row.n_sentences)
        .flag(|row| row.lorem_ipsum)
        .flag(|row| row.curly_bracket)
        .count(|row| row.third_longest_line_chars)
        .finish()
}

fn fineweb_columns(field: &Field, rows: &[FineWeb]) -> Result<ArrayRef> {
    Group::new(field, rows.iter().map(Some))
        .count(|row| row.n_nonblank_lines)
        .ratio(|row| row.line_punct_ratio)
        .ratio(|row| row.short_line_ratio)
        .ratio(|row| row.char_dup_ratio)
        .ratio(|row| row.list_ratio)
        .ratio(|row| row.v1_line_punct_ratio)
        .ratio(|row| row.v1_short_line_ratio)
        .finish()
}

fn line_columns(field: &Field, rows: &[Option<LineRules>]) -> Result<ArrayRef> {
    Group::new(field, rows.iter().map(Option::as_ref))
        .count(|row| row.n_lines)
        .count(|row| row.n_upper_case)
        .count(|row| row.n_numeric)
        .count(|row| row.n_counter)
        .count(|row| row.n_one_word)
        .count(|row| row.n_navigation)
        .ratio(|row| row.removed_word_ratio)
        .finish()
}
