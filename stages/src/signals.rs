//! The value of every rule, for each document that `language` kept. One pass over a document
//! computes all values, and the families of rules share one segmentation into words. No threshold
//! is here. Verdicts are expressions in [`crate::filter`].
//!
//! Rules that rewrite (`[filter.c4]`, `[filter.lines]`) leave their changes as `edits`, those of C4
//! first. FineWeb's values and the heuristic score are of the text after the edits. If both
//! families rewrite, the values of the line rules are of the lines that C4 kept. All other values
//! are of the text before the edits.
//!
//! If `[clean]` or a rule rewrites, a document without a character that shows something is removed.
//! It keeps its text: it has values, and no edits.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Array, Float64Builder, NullBufferBuilder, StringArray,
    StringBuilder, StructArray, UInt32Array, UInt32Builder, UInt64Array,
};
use arrow::datatypes::{DataType, Fields};
use curate_schemas::rules::{self, BadWordsRules, C4Rules, LineRules};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::documents::{Clean, Source};
use curate_schemas::stages::filter::{Filter, Words};
use curate_schemas::stages::signals::{NOTHING_LEFT, SIGNALS, SignalValues};
use curate_schemas::tables;
use curate_scorers::edits::{Edit, apply, compose};
use curate_scorers::language::names::named;
use curate_scorers::rules::bad_words::BadWords;
use curate_scorers::rules::c4::{self, C4, c4};
use curate_scorers::rules::fineweb::{FineWeb, LinesScratch, fineweb};
use curate_scorers::rules::gopher_quality::{GopherQuality, gopher_quality};
use curate_scorers::rules::gopher_repetition::{
    GopherRepetition, RepetitionScratch, gopher_repetition,
};
use curate_scorers::rules::line_rules::{self, line_rules};
use curate_scorers::rules::{Value as Measured, Values};
use curate_scorers::study_note::study_note;
use curate_scorers::texture::{Texture, TextureScratch, texture};
use curate_scorers::unseen::is_blank;
use curate_scorers::words::{dictionary, spacy};
use datafusion_expr::{Expr, col, lit, when};
use serde_json::{Value, json};

use crate::error::{Result, StageError};
use crate::function::{Function, field, text};
use crate::plan::{Plan, if_reached, without_values};
use crate::resources::{Digested, Opening};
use crate::text::EditLists;
use crate::{Read, ShardStage, Stage, read};

/// The stage `signals`, with its settings.
pub struct SignalsStage {
    /// `None`: the length of the text is the only value.
    settings: Option<Settings>,
    /// True if `[clean]` rewrites texts. Then a text that shows nothing is removed here, because
    /// `documents` removes no records.
    cleans: bool,
}

/// The settings that the values depend on, besides the text.
#[derive(Clone)]
struct Settings {
    words: Words,
    c4: c4::LineSettings,
    rewrite_c4: bool,
    lines: Option<LineRules>,
    bad_words: Option<Digested<BadWords>>,
    bad_words_language: Option<String>,
}

impl Settings {
    /// True if a rule edits the text.
    fn rewrites(&self) -> bool {
        self.rewrite_c4 || self.lines.as_ref().is_some_and(|lines| lines.rewrite)
    }

    /// The settings in canonical form.
    fn config(&self) -> Value {
        // The list of bad words is a resource. Only its language is a setting.
        let Settings {
            words,
            c4,
            rewrite_c4,
            lines,
            bad_words_language,
            ..
        } = self;
        json!({
            // The names of the segmentations have versions, so another version is another key.
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
            // With the form in which the list is compared.
            "bad_words": bad_words_language.as_ref().map(|language| [language.as_str(), "nfc"]),
        })
    }
}

impl SignalsStage {
    /// The stage with the settings of the manifest, and with its list of bad words.
    ///
    /// # Errors
    /// [`StageError::Manifest`] if the list cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let manifest = opening.manifest;
        let cleans = manifest.clean.as_ref().is_some_and(Clean::rewrites);
        // Some pages have no text, which is like a text that was cleaned away.
        let cleans = cleans || manifest.source.iter().any(Source::is_web);
        if manifest.signals.values == SignalValues::None {
            return Ok(SignalsStage {
                settings: None,
                cleans,
            });
        }

        let Filter {
            words,
            c4,
            lines,
            c4_bad_words,
            ..
        } = manifest.filter.clone();
        let bad_words = c4_bad_words
            .as_ref()
            .map(|list| open_bad_words(opening, list));
        // C4's values are computed even if the manifest does not use its rules.
        let c4 = c4.unwrap_or_default();

        let settings = Settings {
            words,
            rewrite_c4: c4.rewrite,
            c4: line_settings(&c4),
            lines,
            bad_words: bad_words.transpose()?,
            bad_words_language: c4_bad_words.map(|list| list.language),
        };
        Ok(SignalsStage {
            settings: Some(settings),
            cleans,
        })
    }
}

/// The list of bad words that the manifest names.
fn open_bad_words(opening: &Opening, list: &BadWordsRules) -> Result<Digested<BadWords>> {
    let file = opening.list("filter.c4_bad_words.file", &list.file)?;
    // A code that is not known would let every word need bounds, in silence.
    let Some((language, _)) = named(&list.language) else {
        let what = format!(
            "language \"{}\" is unknown, expected an ISO 639 code such as \"en\" or \"jpn\"",
            list.language
        );
        return Err(opening.wrong("filter.c4_bad_words.language", &list.file, &what));
    };
    let words = BadWords::new(&file.text, language);
    let words = words.map_err(|error| StageError::manifest(format!("{}: {error}", list.file)))?;
    Ok(Digested {
        value: Arc::new(words),
        digest: file.digest,
    })
}

/// The settings on which the values of C4 depend.
fn line_settings(c4: &C4Rules) -> c4::LineSettings {
    c4::LineSettings {
        terminal_punct: c4.terminal_punct,
        citations: c4.citations,
        min_words: c4.min_line_words,
        max_word_len_chars: c4.max_word_len,
        javascript: c4.javascript,
        policy: c4.policy,
    }
}

impl Stage for SignalsStage {
    fn spec(&self) -> &'static StageSpec {
        &SIGNALS
    }

    fn config(&self) -> Value {
        let mut config = match &self.settings {
            Some(settings) => settings.config(),
            None => json!({ "values": "none" }),
        };

        // Only a run that cleans has this part, so the keys of other runs stay as they are.
        if self.cleans {
            config["cleans"] = json!(true);
        }
        config
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let lists = self
            .settings
            .iter()
            .flat_map(|settings| &settings.bad_words);
        lists
            .map(|list| ("bad_words", list.digest.clone()))
            .collect()
    }

    fn reads(&self) -> Vec<Read> {
        // The stage makes a column `bytes` of its own.
        let bytes = Read {
            table: "documents",
            column: "bytes",
            name: "document_bytes".into(),
        };
        match (&self.settings, self.cleans) {
            (Some(_), _) => vec![
                read("documents", "text"),
                bytes,
                read("language", "language"),
            ],
            (None, true) => vec![read("documents", "text"), bytes],
            (None, false) => vec![bytes],
        }
    }
}

impl ShardStage for SignalsStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let Some(settings) = &self.settings else {
            let fields = fields();
            let columns: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let plan = without_values(input, SIGNALS.name, &columns)?;
            let plan = plan.with_column("bytes", col("document_bytes"))?;
            return match self.cleans {
                true => plan.with_column("removed_by", if_reached(nothing_left(col("text")))?),
                false => Ok(plan),
            };
        };

        // The settings are an argument, so that people see them in the plan.
        let arguments = vec![col("text"), col("language"), lit(self.config().to_string())];
        let values = if_reached(signals(arguments, settings.clone(), self.cleans))?;

        // The kernel runs once for all columns, which are fields of its struct.
        let mut plan = input.with_column("signals", values)?;
        for column in &fields() {
            let (name, data_type) = (column.name(), column.data_type().clone());
            plan = plan.with_column(name, field(col("signals"), name, data_type))?;
        }

        // The text of a document that does not reach the stage stays as it is.
        let is_computed = col("bytes").is_not_null();
        let bytes = when(is_computed, col("bytes")).otherwise(col("document_bytes"))?;
        plan.with_column("bytes", bytes)
    }
}

/// The columns that the kernel makes: all columns of the table except the first two, `doc_id` and
/// `reached`.
fn fields() -> Fields {
    let schema = tables::schema(SIGNALS.name);
    schema.fields().iter().skip(2).cloned().collect()
}

/// The function `nothing_left(text)`: the reason to remove a text that shows nothing, else null.
fn nothing_left(argument: Expr) -> Expr {
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts = text(columns, 0)?.iter();
        let reasons = texts.map(|text| text.is_some_and(is_blank).then_some(NOTHING_LEFT));
        Ok(Arc::new(reasons.collect::<StringArray>()))
    };
    Function::new("nothing_left", DataType::Utf8, kernel).call(vec![argument])
}

/// The function `signals(text, language, settings)`, which gives a struct of [`fields`].
fn signals(arguments: Vec<Expr>, settings: Settings, cleans: bool) -> Expr {
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (texts, languages) = (text(columns, 0)?, text(columns, 1)?);
        let mut batch = Batch {
            removes_blank: cleans || settings.rewrites(),
            ..Batch::default()
        };
        for (text, language) in texts.iter().zip(languages) {
            batch.add(&settings, text.unwrap_or_default(), language)?;
        }
        batch.finish()
    };
    Function::new("signals", DataType::Struct(fields()), kernel).call(arguments)
}

/// The values of a batch of documents, and memory that is kept from one document to the next.
#[derive(Default)]
struct Batch {
    /// True if a text that shows nothing is removed.
    removes_blank: bool,
    removed_by: StringBuilder,
    bytes: Vec<u64>,
    edits: EditLists,
    words: Vec<&'static str>,
    heuristic: Vec<f64>,
    texture: Vec<Texture>,
    quality: Vec<Option<GopherQuality>>,
    repetition: Vec<Option<GopherRepetition>>,
    c4: Vec<Option<C4>>,
    bad_words: Vec<Option<u32>>,
    fineweb: Vec<Option<FineWeb>>,
    lines: Vec<Option<line_rules::LineRules>>,
    repetition_scratch: RepetitionScratch,
    fineweb_scratch: LinesScratch,
    texture_scratch: TextureScratch,
}

impl Batch {
    /// Adds the values of a document. `language` is an ISO 639-3 code.
    fn add(&mut self, settings: &Settings, text: &str, language: Option<&str>) -> Result<()> {
        // A document without a language is segmented as English.
        let is_english =
            settings.words == Words::English || language.is_none_or(|language| language == "eng");
        // The word list borrows from the text, so it cannot outlive the document.
        let words = segment(text, is_english);
        let quality = gopher_quality(text, &words);
        let repetition = gopher_repetition(text, &words, &mut self.repetition_scratch);
        let bad_words = settings
            .bad_words
            .as_ref()
            .map(|list| list.value.count(text));

        let mut edits = Vec::new();
        let c4 = c4(
            text,
            &words,
            &settings.c4,
            settings.rewrite_c4.then_some(&mut edits),
        );
        let lines = settings
            .lines
            .as_ref()
            .map(|rules| apply_line_rules(rules, text, &mut edits))
            .transpose()?;

        let after = apply(text, &edits).map_err(StageError::kernel)?;
        // Segmentation is costly, so a text without edits is not segmented twice.
        let n_words = match edits.is_empty() {
            true => quality.n_words,
            false => segment(&after, is_english).len() as u32,
        };
        self.fineweb
            .push(Some(fineweb(&after, n_words, &mut self.fineweb_scratch)));
        self.heuristic.push(study_note(&after));
        self.texture
            .push(texture(&after, &mut self.texture_scratch));

        // A document of which nothing is left is removed whole, without edits.
        let is_left = !(self.removes_blank && is_blank(&after));
        self.removed_by
            .append_option((!is_left).then_some(NOTHING_LEFT));
        let bytes = if is_left { after.len() } else { text.len() };
        self.bytes.push(bytes as u64);

        self.words.push(if is_english {
            spacy::WORDS
        } else {
            dictionary::WORDS
        });
        self.quality.push(Some(quality));
        self.repetition.push(Some(repetition));
        self.c4.push(Some(c4));
        self.bad_words.push(bad_words);
        self.lines.push(lines);
        for edit in edits.iter().filter(|_| is_left) {
            self.edits
                .push(edit.start, edit.end, &edit.replacement, edit.reason);
        }
        self.edits.end_row();
        Ok(())
    }

    /// The struct of [`fields`], each column under its name.
    fn finish(mut self) -> Result<ArrayRef> {
        let columns: [(&str, ArrayRef); 12] = [
            ("removed_by", Arc::new(self.removed_by.finish())),
            ("bytes", Arc::new(UInt64Array::from(self.bytes))),
            ("edits", self.edits.finish()?),
            (
                "words",
                Arc::new(StringArray::from_iter_values(&self.words)),
            ),
            ("heuristic", Arc::new(Float64Array::from(self.heuristic))),
            ("texture", textures(&self.texture)?),
            (
                rules::GOPHER_QUALITY.name,
                group(rules::GOPHER_QUALITY.name, &self.quality)?,
            ),
            (
                rules::GOPHER_REPETITION.name,
                group(rules::GOPHER_REPETITION.name, &self.repetition)?,
            ),
            (rules::C4.name, group(rules::C4.name, &self.c4)?),
            ("bad_words", Arc::new(UInt32Array::from(self.bad_words))),
            (
                rules::FINEWEB.name,
                group(rules::FINEWEB.name, &self.fineweb)?,
            ),
            (rules::LINES.name, group(rules::LINES.name, &self.lines)?),
        ];

        // Columns are found by name, so the order above does not matter and no two can be swapped.
        let fields = fields();
        let ordered = fields
            .iter()
            .map(|field| {
                let name = field.name();
                let found = columns.iter().find(|(column, _)| *column == name);
                found
                    .map(|(_, values)| Arc::clone(values))
                    .ok_or_else(|| StageError::Bug(format!("signals has no values for {name}")))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(fields, ordered, None)?))
    }
}

/// The values of the line rules. `edits` holds the edits of C4. If the line rules rewrite, their
/// edits are composed with these.
fn apply_line_rules(
    rules: &LineRules,
    text: &str,
    edits: &mut Vec<Edit>,
) -> Result<line_rules::LineRules> {
    let settings = line_rules::LineSettings::default();
    // Without rewriting, the values are of the text before C4, whether C4 rewrites or not.
    if !rules.rewrite {
        return Ok(line_rules(text, &settings, None));
    }

    // The spans of `further` are of the text after C4. `compose` makes them spans of `text`.
    let seen = apply(text, edits).map_err(StageError::kernel)?;
    let mut further = Vec::new();
    let values = line_rules(&seen, &settings, Some(&mut further));
    *edits = compose(edits, &further);
    Ok(values)
}

/// The words of a text, as slices of it.
fn segment(text: &str, is_english: bool) -> Vec<&str> {
    let mut words = Vec::new();
    match is_english {
        true => spacy::words(text, &mut words),
        false => dictionary::words(text, &mut words),
    }
    words
}

/// The struct column `texture`.
fn textures(rows: &[Texture]) -> Result<ArrayRef> {
    let schema = tables::schema(SIGNALS.name);
    let DataType::Struct(fields) = schema.field_with_name("texture")?.data_type().clone() else {
        return Err(StageError::Bug("texture is not a struct".to_owned()));
    };

    // By name, so that the order of the declaration does not matter.
    let values = fields.iter().map(|field| {
        let value = |row: &Texture| match field.name().as_str() {
            "novelty" => Ok(Some(row.novelty)),
            "order" => Ok(row.order),
            "sentences" => Ok(Some(row.sentences)),
            "odd_words" => Ok(Some(row.odd_words)),
            other => Err(StageError::Bug(format!(
                "texture has no values for {other}"
            ))),
        };
        let column: Float64Array = rows.iter().map(value).collect::<Result<_>>()?;
        Ok(Arc::new(column) as ArrayRef)
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields, values, None)?))
}

/// A struct column with the values of a family, each field under its name. A row of `None` is null.
fn group<T: Values>(family: &str, rows: &[Option<T>]) -> Result<ArrayRef> {
    let schema = tables::schema(SIGNALS.name);
    let DataType::Struct(fields) = schema.field_with_name(family)?.data_type().clone() else {
        return Err(StageError::Bug(format!("{family} is not a struct")));
    };

    // The table may declare the values in another order than the family gives them.
    let places = fields
        .iter()
        .map(|field| {
            let field = field.name();
            let place = T::NAMES.iter().position(|name| *name == field);
            place.ok_or_else(|| StageError::Bug(format!("{family} has no values for {field}")))
        })
        .collect::<Result<Vec<_>>>()?;
    if places.len() != T::NAMES.len() {
        return Err(StageError::Bug(format!(
            "{family} has values that the table does not declare"
        )));
    }

    let mut columns: Vec<Column> = fields
        .iter()
        .map(|field| Column::new(field.data_type()))
        .collect::<Result<_>>()?;
    let mut nulls = NullBufferBuilder::new(rows.len());
    let mut values = Vec::with_capacity(places.len());
    for row in rows {
        nulls.append(row.is_some());
        values.clear();
        row.iter().for_each(|row| row.values(&mut values));
        for (column, place) in columns.iter_mut().zip(&places) {
            // A row of `None` has no values, but each column still needs an entry for it.
            column.push(values.get(*place).copied())?;
        }
    }

    let columns = columns.into_iter().map(Column::finish).collect();
    Ok(Arc::new(StructArray::try_new(
        fields,
        columns,
        nulls.finish(),
    )?))
}

/// A builder for a column of values of one type. A row without values holds 0, or false, below the
/// null of its struct.
enum Column {
    Counts(UInt32Builder),
    Ratios(Float64Builder),
    Flags(BooleanBuilder),
}

impl Column {
    /// An empty column for values of a type.
    fn new(data_type: &DataType) -> Result<Column> {
        Ok(match data_type {
            DataType::UInt32 => Column::Counts(UInt32Builder::new()),
            DataType::Float64 => Column::Ratios(Float64Builder::new()),
            DataType::Boolean => Column::Flags(BooleanBuilder::new()),
            other => return Err(StageError::Bug(format!("no value has type {other}"))),
        })
    }

    /// Appends a value. `None` appends the value below a null.
    fn push(&mut self, value: Option<Measured>) -> Result<()> {
        match (self, value) {
            (Column::Counts(column), Some(Measured::Count(value))) => column.append_value(value),
            (Column::Ratios(column), Some(Measured::Ratio(value))) => column.append_value(value),
            (Column::Flags(column), Some(Measured::Flag(value))) => column.append_value(value),
            (Column::Counts(column), None) => column.append_value(0),
            (Column::Ratios(column), None) => column.append_value(0.0),
            (Column::Flags(column), None) => column.append_value(false),
            (_, Some(value)) => {
                return Err(StageError::Bug(format!(
                    "{value:?} in a column of another type"
                )));
            }
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Column::Counts(mut column) => Arc::new(column.finish()),
            Column::Ratios(mut column) => Arc::new(column.finish()),
            Column::Flags(mut column) => Arc::new(column.finish()),
        }
    }
}
