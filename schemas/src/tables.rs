//! Every table that a run writes, declared once: columns with type, nullability, unit, range and meaning.
//!
//! Row-aligned tables hold one row for each row of `documents`, in its order, so joining them is a zip; each carries
//! `doc_id` for readers that join. `reached` says whether the document got to the stage, `removed_by` why it ended there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// A column: name, Arrow type and what its values mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Column name, a contract with readers.
    pub name: &'static str,
    /// Arrow type as written.
    pub data_type: DataType,
    /// Whether nulls may occur.
    pub nullable: bool,
    /// Unit of a quantity, empty where there is none.
    pub unit: &'static str,
    /// Range of the values, empty where the type says it all.
    pub range: &'static str,
    /// Meaning, one line.
    pub doc: &'static str,
    /// Columns inside a struct, in order.
    pub children: Vec<Column>,
}

impl Column {
    fn new(name: &'static str, data_type: DataType, doc: &'static str) -> Self {
        Column { name, data_type, nullable: false, unit: "", range: "", doc, children: Vec::new() }
    }

    fn group(name: &'static str, children: Vec<Column>, doc: &'static str) -> Self {
        let fields: Fields = children.iter().map(Column::field).collect();
        Column { children, ..Column::new(name, DataType::Struct(fields), doc) }
    }

    fn null(self) -> Self {
        Column { nullable: true, ..self }
    }

    fn unit(self, unit: &'static str) -> Self {
        Column { unit, ..self }
    }

    fn range(self, range: &'static str) -> Self {
        Column { range, ..self }
    }

    fn field(&self) -> Field {
        Field::new(self.name, self.data_type.clone(), self.nullable)
    }
}

/// A column of numbers or of yes and no in a row-aligned table, or a field of a record's own `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The table.
    pub table: &'static str,
    /// Its column.
    pub column: &'static str,
    /// What of the column: a column inside a struct, or a field of `meta`, dots going into nested ones.
    pub field: Option<String>,
}

impl Measure {
    /// What the manifest calls it.
    pub fn name(&self) -> String {
        match &self.field {
            Some(field) if self.column == "meta" => format!("meta.{field}"),
            Some(field) => format!("{}.{}.{field}", self.table, self.column),
            None => format!("{}.{}", self.table, self.column),
        }
    }
}

/// The measure called `table.column`, `table.column.field` or `meta.field`; `None` if there is no such column with numbers.
pub fn measure(name: &str) -> Option<Measure> {
    if let Some(field) = name.strip_prefix("meta.") {
        return Some(Measure { table: "documents", column: "meta", field: Some(field.to_owned()) });
    }
    let (table, column) = name.split_once('.')?;
    let (column, field) = column.split_once('.').map_or((column, None), |(column, field)| (column, Some(field)));
    let table = tables().into_iter().find(|known| known.name == table && known.shape == Shape::Aligned)?;
    let column = table.columns.into_iter().find(|known| known.name == column)?;
    let measured = match field {
        None => &column,
        Some(field) => column.children.iter().find(|known| known.name == field)?,
    };
    let is_number = measured.data_type.is_numeric() || measured.data_type == DataType::Boolean;
    is_number.then(|| Measure { table: table.name, column: column.name, field: field.map(str::to_owned) })
}

/// How a table's rows relate to those of `documents`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One row for each document, in the documents' order, one file a shard.
    Aligned,
    /// Rows of its own.
    Own,
}

/// A table: name, meaning, columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Folder in the run directory and view name in DuckDB.
    pub name: &'static str,
    /// Meaning, one line.
    pub doc: &'static str,
    /// Relation to `documents`.
    pub shape: Shape,
    /// Columns in order.
    pub columns: Vec<Column>,
}

impl Table {
    /// The Arrow schema of the table's files.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }
}

/// Every table, in the order of the stages that write them.
pub fn tables() -> Vec<Table> {
    vec![
        documents(),
        quarantine(),
        language(),
        signals(),
        signatures(),
        filter(),
        exact_dedup(),
        near_dedup(),
        near_dedup_evidence(),
        near_dedup_sample(),
        paragraph_dedup(),
        tokens(),
        ngram(),
        score(),
        quality(),
        quality_calibration(),
        buckets(),
        mix(),
        mixture(),
    ]
}

/// The table called `name`.
pub fn table(name: &str) -> Option<Table> {
    tables().into_iter().find(|table| table.name == name)
}

/// The Arrow schema of the table called `name`.
///
/// # Panics
/// If there is no such table: names are literals in this workspace, and a test walks them.
pub fn schema(name: &str) -> SchemaRef {
    table(name).unwrap_or_else(|| panic!("no table is called {name}")).schema()
}

fn aligned(name: &'static str, doc: &'static str, own: Vec<Column>) -> Table {
    let mut columns = vec![doc_id(), reached()];
    columns.extend(own);
    Table { name, doc, shape: Shape::Aligned, columns }
}

fn doc_id() -> Column {
    Column::new("doc_id", DataType::Utf8, "identity of the document: xxh3-128 of source, own id, path and ordinal")
        .range("32 hex digits, unique in documents")
}

fn reached() -> Column {
    Column::new("reached", DataType::Boolean, "whether the document got to this stage")
}

fn removed_by() -> Column {
    Column::new("removed_by", DataType::Utf8, "the rule that ended the document's way here; null where it went on")
        .null()
        .range("family.rule")
}

fn utf8(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Utf8, doc)
}

fn count(name: &'static str, unit: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::UInt64, doc).unit(unit)
}

fn small_count(name: &'static str, unit: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::UInt32, doc).unit(unit)
}

fn ratio(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Float64, doc).range("0 or more")
}

fn unit_interval(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Float64, doc).range("[0, 1]")
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, false)))
}

fn documents() -> Table {
    Table {
        name: "documents",
        doc: "the ingested text, written once",
        shape: Shape::Aligned,
        columns: vec![
            doc_id(),
            utf8("source", "name of the source in the manifest"),
            utf8("source_id", "the record's own id, where the source names an id field").null(),
            utf8("domain", "domain label of the source in the manifest"),
            utf8("path", "input file, relative to the source's fixed prefix"),
            count("ordinal", "records", "number of records before this one in its file"),
            utf8("url", "the record's url, where the source names a url field").null(),
            Column::new(
                "date",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                "the record's date, where the source names a date field and it can be read",
            )
            .null()
            .unit("microseconds since 1970, UTC"),
            utf8("text", "the text after [clean]; without [clean] the input's, byte for byte"),
            count("raw_bytes", "bytes", "length of the text before [clean], UTF-8"),
            count("bytes", "bytes", "length of the text, UTF-8"),
            count("chars", "code points", "length of the text"),
            utf8("meta", "the record's other fields, as a JSON object").null(),
        ],
    }
}

fn quarantine() -> Table {
    Table {
        name: "quarantine",
        doc: "records and files that could not be read",
        shape: Shape::Own,
        columns: vec![
            utf8("source", "name of the source in the manifest"),
            utf8("path", "input file, relative to the source's fixed prefix"),
            count("ordinal", "records", "number of records before this one in its file"),
            count("offset", "bytes", "where it starts in the (decompressed) file; the row number in a Parquet file"),
            utf8("reason", "what is wrong, one word").range(
                "invalid_utf8, invalid_json, missing_text, text_not_string, record_too_large, nul_byte, damaged_file",
            ),
            utf8("detail", "what exactly was found"),
            Column::new("raw", DataType::Binary, "the first 4 KiB as they stand in the input").unit("bytes"),
            count("raw_bytes", "bytes", "length of what could not be read, where it is known"),
        ],
    }
}

fn language() -> Table {
    aligned(
        "language",
        "language of each document, from a bounded sample of it",
        vec![
            removed_by(),
            utf8("language", "ISO 639-3 code; null where no language can be told").null().range("3 letters"),
            unit_interval("confidence", "the engine's confidence in `language`; null where it has none").null(),
            Column::new("mixed", DataType::Boolean, "whether parts of the document are in different languages"),
        ],
    )
}

fn signals() -> Table {
    aligned(
        "signals",
        "the value of every rule for each document that `language` kept, no threshold; and the edits of rules that rewrite",
        vec![
            count("bytes", "bytes", "length of the text after `edits`, UTF-8; every later stage sees that text"),
            edits_column(),
            utf8("words", "which segmentation the words are of")
                .null()
                .range("spacy-en-3.8, uax29-icu_segmenter_data-2.4.0"),
            unit_interval("heuristic", "study-note score: lexical variety, length and unrepeated lines").null(),
            gopher_quality(),
            gopher_repetition(),
            c4(),
            small_count("bad_words", "matches", "matches of [filter.c4_bad_words]; null without that table").null(),
            fineweb(),
            lines(),
        ],
    )
}

/// The type of changes to `documents.text`: spans of bytes, each with what stands there instead.
pub fn edits() -> DataType {
    edits_column().data_type
}

fn edits_column() -> Column {
    let children = vec![
        small_count("start", "bytes", "where the span begins in documents.text"),
        small_count("end", "bytes", "where it ends"),
        utf8("replacement", "what stands there instead"),
        utf8("reason", "the rule that asked for it").range("family.rule"),
    ];
    let fields: Fields = children.iter().map(Column::field).collect();
    let doc = "what rewriting rules change, ascending, without overlap; null where nothing";
    Column { children, ..Column::new("edits", list(DataType::Struct(fields)), doc).null() }
}

fn flag(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Boolean, doc)
}

fn gopher_quality() -> Column {
    Column::group(
        "gopher_quality",
        vec![
            small_count("n_words", "words", "all words, punctuation included"),
            small_count("n_nonsymbol_words", "words", "words with a character that is no punctuation"),
            ratio("avg_word_len", "mean length of the non-symbol words").unit("code points"),
            ratio("hash_word_ratio", "occurrences of # / words"),
            ratio("ellipsis_word_ratio", "occurrences of ... and … / words"),
            unit_interval("bullet_line_ratio", "lines that start with • or - / lines"),
            unit_interval("ellipsis_line_ratio", "lines that end with ... or … / lines"),
            unit_interval("alpha_word_ratio", "words with a letter / words"),
            small_count("n_stop_words", "words", "distinct words of: the be to of and that have with").range("0 to 8"),
        ],
        "Gopher quality values (Rae et al. 2021, appendix A1), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn gopher_repetition() -> Column {
    Column::group(
        "gopher_repetition",
        vec![
            unit_interval("dup_para_frac", "repeated paragraphs / paragraphs"),
            unit_interval("dup_para_char_frac", "characters in repeated paragraphs / characters"),
            unit_interval("dup_line_frac", "repeated lines / lines"),
            unit_interval("dup_line_char_frac", "characters in repeated lines / characters"),
            unit_interval("v1_dup_line_frac", "repeated lines / lines, blank lines included"),
            unit_interval("v1_dup_line_char_frac", "characters in repeated lines / characters, lines as before"),
            ratio("top_2_gram", "characters in occurrences of the most frequent 2-gram / characters"),
            ratio("top_3_gram", "the same for 3-grams"),
            ratio("top_4_gram", "the same for 4-grams"),
            unit_interval("dup_5_gram", "characters in repeated 5-grams / characters"),
            unit_interval("dup_6_gram", "the same for 6-grams"),
            unit_interval("dup_7_gram", "the same for 7-grams"),
            unit_interval("dup_8_gram", "the same for 8-grams"),
            unit_interval("dup_9_gram", "the same for 9-grams"),
            unit_interval("dup_10_gram", "the same for 10-grams"),
        ],
        "Gopher repetition values (Rae et al. 2021, table A1), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn c4() -> Column {
    Column::group(
        "c4",
        vec![
            small_count("n_lines", "lines", "all lines"),
            small_count("n_lines_kept", "lines", "lines that the line rules keep"),
            small_count("n_too_long_word", "lines", "lines dropped for a word that is too long"),
            small_count("n_no_terminal_punct", "lines", "lines dropped for their end"),
            small_count("n_too_few_words", "lines", "lines dropped for too few words, blank ones included"),
            small_count("n_javascript", "lines", "lines dropped for javascript"),
            small_count("n_policy", "lines", "lines dropped for a policy"),
            small_count("n_citations", "citations", "citations taken out"),
            small_count("n_sentences", "sentences", "sentences of the kept lines"),
            flag("lorem_ipsum", "whether a line that came so far holds \"lorem ipsum\""),
            flag("curly_bracket", "whether a line that came so far holds {"),
            small_count(
                "third_longest_line_chars",
                "code points",
                "length of the third-longest line; 0 for fewer lines",
            ),
        ],
        "C4 values (Raffel et al. 2020, section 2.2), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn fineweb() -> Column {
    Column::group(
        "fineweb",
        vec![
            small_count("n_nonblank_lines", "lines", "lines that are not blank"),
            unit_interval("line_punct_ratio", "lines that end with terminal punctuation / lines that are not blank"),
            unit_interval("short_line_ratio", "lines of 30 code points or fewer / lines that are not blank"),
            unit_interval("char_dup_ratio", "characters in repeated lines / characters without line feeds"),
            ratio("list_ratio", "line feeds / words"),
            unit_interval("v1_line_punct_ratio", "lines that end with one of . ' \" ! ? / all lines"),
            unit_interval("v1_short_line_ratio", "lines of 30 code points or fewer / all lines"),
        ],
        "FineWeb values (Penedo et al. 2024, section 3.6), as datatrove 0.10 computes them; v1: as first published",
    )
    .null()
}

fn lines() -> Column {
    Column::group(
        "lines",
        vec![
            small_count("n_lines", "lines", "all lines"),
            small_count("n_upper_case", "lines", "lines mainly in upper case"),
            small_count("n_numeric", "lines", "lines of digits only"),
            small_count("n_counter", "lines", "lines that count something, such as \"3 likes\""),
            small_count("n_one_word", "lines", "lines of one word"),
            small_count("n_navigation", "lines", "short lines with words of navigation"),
            unit_interval("removed_word_ratio", "words in such lines / words"),
        ],
        "RefinedWeb line values (Penedo et al. 2023, appendix G.2), as in DCLM; null without [filter.lines]",
    )
    .null()
}

fn signatures() -> Table {
    aligned(
        "signatures",
        "what deduplication compares, for each document that `language` kept",
        vec![
            Column::new("text_hash", DataType::FixedSizeBinary(16), "xxh3-128 of the text, big-endian").null(),
            Column::new(
                "normalized_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the lower-cased words; null unless dedup.exact compares it",
            )
            .null(),
            Column::new(
                "url_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the URL without fragment; null without one, or unless dedup.exact compares it",
            )
            .null(),
            small_count("n_shingles", "shingles", "word n-grams of the text, repeats included").null(),
            Column::new(
                "probe",
                DataType::UInt64,
                "least shingle under a permutation of its own; draws near_dedup_sample",
            )
            .null(),
            Column::new("bands", list(DataType::UInt64), "MinHash band keys; null where there is no shingle").null(),
            Column::new(
                "signature",
                list(DataType::UInt64),
                "MinHash values, band by band; null without a shingle, or unless dedup.near.keep_signatures",
            )
            .null(),
        ],
    )
}

fn filter() -> Table {
    aligned(
        "filter",
        "the verdict of the rules that the manifest switches on",
        vec![
            removed_by(),
            Column::new("failing", list(DataType::Utf8), "every rule that the document fails, in rule order").null(),
            utf8("url_domain", "entry of filter.url.domains that the document's url matches").null(),
            utf8("url_substring", "entry of filter.url.substrings that the document's url holds").null(),
        ],
    )
}

fn exact_dedup() -> Table {
    aligned(
        "exact_dedup",
        "documents whose text equals that of a document that is kept",
        vec![
            removed_by(),
            utf8("kept_id", "doc_id of the survivor, on documents that were removed").null(),
            utf8("kept_in", "the earlier run of dedup.against that holds the survivor; null: this one").null(),
        ],
    )
}

fn near_dedup() -> Table {
    aligned(
        "near_dedup",
        "documents that are near-duplicates of a document that is kept",
        vec![
            removed_by(),
            utf8("kept_id", "doc_id of the survivor, on documents that were removed").null(),
            small_count("cluster_size", "documents", "documents of the cluster, its survivor included; null outside")
                .null(),
        ],
    )
}

fn near_dedup_evidence() -> Table {
    Table {
        name: "near_dedup_evidence",
        doc: "why each near-duplicate was removed",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            utf8("cluster_id", "doc_id of the cluster's survivor"),
            small_count("cluster_size", "documents", "documents of the cluster, its survivor included"),
            utf8("kept_id", "doc_id of the kept document that it was compared with"),
            utf8("kept_in", "the earlier run of dedup.against that holds that document; null: this one").null(),
            small_count("bands_hit", "bands", "band keys that the two share; 0 only within a component"),
            unit_interval("estimated_jaccard", "share of equal MinHash values; null unless full signatures are kept")
                .null(),
            unit_interval("jaccard", "exact Jaccard similarity of the shingle sets; null without verification").null(),
            unit_interval("containment", "shared shingles / shingles of the smaller set; null without verification")
                .null(),
            utf8("reason", "what the removal rests on").range("verified, estimate, band, component"),
        ],
    }
}

fn near_dedup_sample() -> Table {
    let share = |name, doc| unit_interval(name, doc).null();
    Table {
        name: "near_dedup_sample",
        doc: "how often pairs of documents share a band key, by similarity, from a sample drawn without regard to band keys",
        shape: Shape::Own,
        columns: vec![
            unit_interval(
                "from_jaccard",
                "least exact Jaccard similarity of the pairs; estimated where dedup.near.verify is",
            ),
            unit_interval("to_jaccard", "similarity that they are below; the last row has those of 1"),
            count("pairs", "pairs", "pairs in the sample"),
            share("share_band", "share of such pairs in the corpus that share a band key: recall; null without pairs"),
            share("share_band_low", "lower end of its 95 % interval"),
            share("share_band_high", "upper end of its 95 % interval"),
            share("expected", "the share by the S-curve, 1 - (1 - s^rows)^bands"),
            share("both_kept", "share of such pairs of which both documents are kept"),
        ],
    }
}

fn paragraph_dedup() -> Table {
    aligned(
        "paragraph_dedup",
        "paragraphs or lines that stand in an earlier document, as edits",
        vec![
            removed_by(),
            count("bytes", "bytes", "length of the text after all edits, UTF-8; every later stage sees that text"),
            edits_column(),
        ],
    )
}

fn tokens() -> Table {
    aligned(
        "tokens",
        "token counts under the tokenizer that the manifest names",
        vec![
            count("tokens", "tokens", "tokens of the text, no special tokens added; null where not counted").null(),
            count("tokens_before", "tokens", "tokens of the text before `signals.edits`; null where it has none")
                .null(),
            Column::new(
                "text_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the text that was counted, big-endian",
            )
            .null(),
        ],
    )
}

fn ngram() -> Table {
    aligned(
        "ngram",
        "how surprised the n-gram model of [score.ngram] is by each survivor; which model says model_digest",
        vec![
            Column::new("text_hash", DataType::FixedSizeBinary(16), "xxh3-128 of the text that was scored, big-endian")
                .null(),
            utf8("model", "the model, as the manifest names it; null without a score").null(),
            utf8("model_digest", "BLAKE3 that names the model").null().range("64 hex digits"),
            count(
                "n_tokens",
                "tokens",
                "tokens that were scored, ends of lines apart; null if the model did not score",
            )
            .null(),
            count("n_unknown", "tokens", "tokens that the model does not know; null likewise").null(),
            Column::new(
                "log10_sum",
                DataType::Float64,
                "sum of log10 p over tokens and ends of lines; null without tokens",
            )
            .null()
            .range("0 or less"),
            Column::new(
                "perplexity",
                DataType::Float64,
                "10^(-log10_sum / (n_tokens + lines)), as in CCNet (Wenzek et al. 2020)",
            )
            .null()
            .range("1 or more"),
        ],
    )
}

fn score() -> Table {
    let value = |name, doc| Column::new(name, DataType::Float64, doc).null();
    aligned(
        "score",
        "how surprised the language model of [score.perplexity] is by each survivor; which model says model_digest",
        vec![
            Column::new("text_hash", DataType::FixedSizeBinary(16), "xxh3-128 of the text that was scored, big-endian")
                .null(),
            utf8("model", "the model, as the manifest names it; null without a score").null(),
            utf8("model_digest", "BLAKE3 of the model's weights").null().range("64 hex digits"),
            count(
                "n_scored",
                "tokens",
                "tokens with a probability, by the model's own tokenizer; null if it did not score",
            )
            .null(),
            value("sum_nll", "-sum of ln p(token | those before it) over the scored tokens")
                .unit("nats")
                .range("0 or more"),
            value("mean_nll", "sum_nll / n_scored").unit("nats per token").range("0 or more"),
            value("bits_per_byte", "sum_nll / ln 2 / bytes of the scored tokens")
                .unit("bits per byte")
                .range("0 or more"),
            value("perplexity", "exp(mean_nll)").range("1 or more"),
            utf8("unscored", "why a survivor has no value").null().range("too_short, not_sampled"),
        ],
    )
}

fn quality() -> Table {
    aligned(
        "quality",
        "q of each document that is still there, and the terms it is made of",
        vec![
            removed_by(),
            Column::new("q", DataType::Float64, "quality: what a token of this document is worth")
                .null()
                .range("(0, 1]"),
            Column::new(
                "terms",
                DataType::Map(Arc::new(Field::new_struct("entries", term_fields(), false)), false),
                "the terms of q after their calibration, by the column they are made of",
            )
            .null()
            .range("(0, 1]; any number with combine = \"logistic\""),
            utf8(
                "ccnet",
                "third of the document's language by the n-gram model's perplexity, as in CCNet; null without a score",
            )
            .null()
            .range("head: below its 30th percentile, middle: below its 60th, tail"),
        ],
    )
}

/// What an entry of the map `terms` holds.
fn term_fields() -> Vec<Field> {
    vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Float64, false)]
}

fn quality_calibration() -> Table {
    Table {
        name: "quality_calibration",
        doc: "what values of a column meant in `quality`, by language and domain: knots of percentiles, and cuts of bands",
        shape: Shape::Own,
        columns: vec![
            utf8("measure", "the column that was looked at, as the manifest names it"),
            utf8("kind", "what the row says of it")
                .range("percentile, drop_below, drop_above; head_below, tail_above: CCNet's, of a language"),
            utf8("language", "language of the group; empty where none could be told"),
            utf8("domain", "domain label of the group; empty for a whole language"),
            count("documents", "documents", "documents of the group that have a value"),
            Column::new("value", DataType::Float64, "a value of the column, to 2^-16 of it"),
            unit_interval(
                "share",
                "of the group's tokens, those of smaller values and half of those that share its bin; of its documents, for a cut",
            ),
        ],
    }
}

fn buckets() -> Table {
    Table {
        name: "buckets",
        doc: "the pool by source, domain and quality bin",
        shape: Shape::Own,
        columns: vec![
            utf8("source", "name of the source"),
            utf8("domain", "domain label"),
            small_count("bin", "", "quality bin, token-weighted over the pool").range("0 to 19"),
            unit_interval("q_from", "where the bin begins: the least q that is in it"),
            count("documents", "documents", "documents in the bucket"),
            count("bytes", "bytes", "their text"),
            count("tokens", "tokens", "their tokens: U, each counted once"),
            Column::new("q", DataType::Float64, "their token-weighted mean q").range("(0, 1]"),
        ],
    }
}

fn mix() -> Table {
    Table {
        name: "mix",
        doc: "how often each document is drawn into a mixture; one folder a mixture",
        shape: Shape::Own,
        columns: vec![doc_id(), small_count("draws", "draws", "times the document occurs").range("1 or more")],
    }
}

fn mixture() -> Table {
    Table {
        name: "mixture",
        doc: "the mixture's text in training order; one folder a mixture",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            small_count("draw", "draws", "number of this draw of the document").range("0 or more"),
            utf8("source", "name of the source"),
            utf8("domain", "domain label"),
            count("tokens", "tokens", "tokens of the text"),
            Column::new("q", DataType::Float64, "quality of the document").range("(0, 1]"),
            utf8("text", "the text"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let all = tables();
        for (i, table) in all.iter().enumerate() {
            assert!(!table.doc.is_empty());
            assert!(all[i + 1..].iter().all(|other| other.name != table.name), "{}", table.name);
            for column in &table.columns {
                assert!(!column.doc.is_empty(), "{}.{}", table.name, column.name);
                assert_eq!(table.columns.iter().filter(|other| other.name == column.name).count(), 1);
            }
        }
    }

    #[test]
    fn aligned_tables_start_with_the_identity() {
        for table in tables().iter().filter(|table| table.shape == Shape::Aligned) {
            assert_eq!(table.columns[0].name, "doc_id", "{}", table.name);
        }
    }
}
