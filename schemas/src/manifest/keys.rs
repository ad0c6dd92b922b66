//! What may be written in a manifest: every table and key with kind, range, default and meaning,
//! declared once.

/// A table that a manifest may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table {
    /// Where it stands, such as `filter.gopher_quality`.
    pub path: &'static str,
    /// How often it stands there, and what its absence means.
    pub times: Times,
    /// What it is for, in one line.
    pub doc: &'static str,
}

/// How often a table may stand in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Exactly once.
    Once,
    /// Once or not at all; absent is the same as empty.
    Default,
    /// Once or not at all; it switches its subject on.
    Switch,
    /// `[[table]]`, once or more, told apart by `name`.
    OneOrMore,
    /// `[[table]]`, any number of times, told apart by `name`.
    Any,
}

/// A key that a table may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The table's path, a dot and the key, such as `run.shard_size`.
    pub path: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What its absence means.
    pub absent: Absent,
    /// What it is, with its unit, in one line.
    pub doc: &'static str,
}

/// What it means that a key is not written. Values are TOML.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absent {
    /// A mistake; with an example.
    Refused(&'static str),
    /// The same as this value.
    Default(&'static str),
    /// What the key's line says; with an example.
    Nothing(&'static str),
    /// Nothing, if another of the table's keys of this kind is there; with an example.
    OneOf(&'static str),
}

/// The type of a key and the range of its values. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// An integer.
    Integer {
        /// Least value.
        min: u64,
        /// Greatest value; [`NO_MAX`]: none.
        max: u64,
    },
    /// An integer from 1, which may be written as a float such as `3e11`.
    Count,
    /// A finite integer or float.
    Number {
        /// Least value; infinite: none.
        min: f64,
        /// Greatest value; infinite: none.
        max: f64,
    },
    /// A finite integer or float above 0.
    Positive {
        /// Greatest value; infinite: none.
        max: f64,
    },
    /// Bytes: an integer, or a string such as `"64MiB"`.
    Size {
        /// Least value, bytes.
        min: u64,
        /// Greatest value, bytes; [`NO_MAX`]: none.
        max: u64,
    },
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`, the first not a dot.
    Name,
    /// 1 to 64 characters, none a control character.
    Label,
    /// A field of a record; dots go into nested fields.
    Field,
    /// A file or directory.
    Path,
    /// A glob, file or directory, or a list of them.
    Paths,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or the path of a file whose name ends with `.json`.
    WordOrJson(&'static [&'static str]),
    /// A list of these words, each at most once.
    Words(&'static [&'static str]),
    /// A list of ISO 639-3 or 639-1 codes.
    Languages,
}

/// The greatest integer that TOML must carry; as a bound it stands for none.
pub const NO_MAX: u64 = i64::MAX as u64;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0 };
const NOT_NEGATIVE: Kind = Kind::Number {
    min: 0.0,
    max: f64::INFINITY,
};
const ANY_NUMBER: Kind = Kind::Number {
    min: f64::NEG_INFINITY,
    max: f64::INFINITY,
};
const WORD_COUNT: Kind = integer(0, u32::MAX as u64);

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

const fn table(path: &'static str, times: Times, doc: &'static str) -> Table {
    Table { path, times, doc }
}

const fn required(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        absent: Absent::Refused(example),
        doc,
    }
}

const fn optional(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        absent: Absent::Nothing(example),
        doc,
    }
}

const fn one_of(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        absent: Absent::OneOf(example),
        doc,
    }
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        absent: Absent::Default(default),
        doc,
    }
}

/// Every table of a manifest, in the order of the reference.
pub const TABLES: &[Table] = &[
    table(
        "run",
        Times::Once,
        "what the run is called, where it is written and what it may use",
    ),
    table("source", Times::OneOrMore, "one raw corpus"),
    table(
        "clean",
        Times::Switch,
        "rewriting of text at ingest; absent: text as it came",
    ),
    table(
        "language",
        Times::Switch,
        "language identification; absent: every language is kept",
    ),
    table(
        "signals",
        Times::Default,
        "which values are computed for the rules",
    ),
    table(
        "filter",
        Times::Default,
        "what holds for every family of rules",
    ),
    table(
        "filter.url",
        Times::Switch,
        "lists of unwanted addresses; absent: off",
    ),
    table(
        "filter.gopher_repetition",
        Times::Switch,
        "Gopher's repetition rules (Rae et al. 2021); absent: off",
    ),
    table(
        "filter.gopher_quality",
        Times::Switch,
        "Gopher's quality rules (Rae et al. 2021); absent: off",
    ),
    table(
        "filter.c4",
        Times::Switch,
        "C4's rules (Raffel et al. 2020); absent: off",
    ),
    table(
        "filter.c4_paragraphs",
        Times::Switch,
        "C4's rule that three lines must be long; absent: off",
    ),
    table(
        "filter.c4_bad_words",
        Times::Switch,
        "a list of unwanted words; absent: off",
    ),
    table(
        "filter.fineweb",
        Times::Switch,
        "FineWeb's rules (Penedo et al. 2024); absent: off",
    ),
    table(
        "filter.lines",
        Times::Switch,
        "RefinedWeb's line rules (Penedo et al. 2023); absent: off",
    ),
    table(
        "dedup",
        Times::Default,
        "what holds for every deduplication",
    ),
    table(
        "dedup.exact",
        Times::Switch,
        "one document of each text; absent: off",
    ),
    table(
        "dedup.near",
        Times::Switch,
        "one document of each cluster of similar texts, by MinHash; absent: off",
    ),
    table(
        "dedup.paragraphs",
        Times::Switch,
        "one copy of each paragraph or line; absent: off",
    ),
    table("tokens", Times::Default, "how tokens are counted"),
    table(
        "score.perplexity",
        Times::Switch,
        "how surprised a language model is by each survivor; absent: off",
    ),
    table(
        "score.perplexity.drop",
        Times::Switch,
        "the tails of a language and domain, by nats per token or by bits per byte, go; absent: nothing goes",
    ),
    table(
        "score.ngram",
        Times::Switch,
        "how surprised an n-gram model is by each survivor; absent: off",
    ),
    table(
        "score.ngram.drop",
        Times::Switch,
        "the tails of a language and domain, by perplexity, go; absent: nothing goes",
    ),
    table("quality", Times::Default, "how q(d) is made of its terms"),
    table(
        "quality.term",
        Times::Any,
        "a column that counts in q(d); absent: signals.heuristic",
    ),
    table(
        "quality.veto",
        Times::Any,
        "values of a column that remove a document, before q",
    ),
    table(
        "budget",
        Times::Switch,
        "the model the data is meant for; absent: no loss is predicted",
    ),
    table("mixture", Times::Any, "one training mixture to export"),
    table(
        "mixture_source",
        Times::Any,
        "bounds of one source in one mixture",
    ),
];

/// Every key of a manifest, in the order of the reference.
#[rustfmt::skip] // One line per key reads as a table.
pub const KEYS: &[Key] = &[
    required("run.name", Kind::Name, r#""quickstart""#, "name of the run"),
    optional("run.dir", Kind::Path, r#""runs/quickstart""#, "run directory, relative to the working directory; absent: runs/<name>"),
    key("run.seed", integer(0, NO_MAX), "0", "seed of every sample that is drawn"),
    key("run.memory", size(512 * MIB, NO_MAX), r#""4GiB""#, "memory for pools and kernels, bytes; the process takes 150 to 400 MB more"),
    key("run.shard_size", size(64 * KIB, GIB), r#""64MiB""#, "text in one shard before compression, bytes"),
    key("run.max_record", size(KIB, GIB), r#""64MiB""#, "longest record that is read, bytes; a longer one is quarantined"),
    key("run.max_window", size(MIB, 2 * GIB), r#""2GiB""#, "largest window of a Zstandard frame, bytes, which comes on top of memory; a file with a larger one is quarantined"),
    key("run.max_pages", size(MIB, 64 * GIB), r#""1GiB""#, "memory for the pages of a Parquet file that are read at once, one a column, bytes, which comes on top of memory; a row group that takes more is quarantined"),
    key("run.max_file", size(MIB, 64 * GIB), r#""1GiB""#, "largest tokenizer, list or other file, but a model's, that the manifest names, bytes"),
    key("run.max_quarantine_ratio", SHARE, "0.05", "share of records that may be quarantined before the run stops"),

    required("source.name", Kind::Name, r#""web""#, "name of the source, unique"),
    required("source.path", Kind::Paths, r#""docs/web-*.jsonl.zst""#, "its files, relative to the manifest; of a directory, all in it but names that begin with . or _, each file once whatever links there are"),
    key("source.text", Kind::Field, r#""text""#, "field that holds the text"),
    optional("source.id", Kind::Field, r#""id""#, "field that holds the record's own id; absent: none"),
    optional("source.url", Kind::Field, r#""url""#, "field that holds the record's URL; absent: none"),
    optional("source.domain", Kind::Label, r#""web""#, "label of the domain that its documents belong to; absent: the source's name"),
    optional("source.date", Kind::Field, r#""published""#, "field that holds the record's date; absent: none"),
    key("source.priority", integer(0, u32::MAX as u64), "0", "rank among duplicates; the smaller number survives"),
    optional("source.format", Kind::Word(&["jsonl", "parquet", "txt"]), r#""jsonl""#, "how the files are read; absent: by the file name"),
    optional("source.license", Kind::Label, r#""cc-by-4.0""#, "licence of its texts, for dataset cards: an identifier of SPDX or of the Hugging Face Hub, or words; absent: not stated"),

    key("clean.nfc", Kind::Bool, "false", "compose to Unicode NFC"),
    key("clean.control", Kind::Bool, "false", "remove control characters other than tab and newline"),
    key("clean.newlines", Kind::Bool, "false", "turn CR LF and CR into LF"),
    key("clean.trailing_space", Kind::Bool, "false", "remove white space at the ends of lines"),

    key("language.keep", Kind::Languages, "[]", "languages that are kept; empty: all"),
    key("language.min_confidence", SHARE, "0.0", "least confidence of the identification; only whatlang has one"),
    key("language.keep_mixed", Kind::Bool, "true", "keep documents whose parts are in different languages"),
    key("language.engine", Kind::Word(&["whatlang", "whichlang", "none"]), r#""whatlang""#, "whatlang: 70 languages; whichlang: 16, several times faster, no confidence; none: no label"),

    key("signals.values", Kind::Word(&["all", "none"]), r#""all""#, "all: the values of every rule, in use or not, and the heuristic score; none: for runs that only deduplicate"),

    key("filter.profile", Kind::Word(&["datatrove-0.10", "fineweb-v1-lines"]), r#""datatrove-0.10""#, "whose reading of the rules is applied"),
    key("filter.words", Kind::Word(&["by_language", "english"]), r#""by_language""#, "by_language: spaCy's words of English, else UAX-29 with dictionaries; english: spaCy's of all"),

    optional("filter.url.domains", Kind::Path, r#""domains.txt""#, "file of unwanted domains, a line each, relative to the manifest; their subdomains are meant too"),
    optional("filter.url.substrings", Kind::Path, r#""substrings.txt""#, "file of unwanted substrings of URLs, a line each, relative to the manifest; case does not count"),

    key("filter.gopher_repetition.max_dup_para_frac", SHARE, "0.3", "duplicate paragraphs, of paragraphs"),
    key("filter.gopher_repetition.max_dup_para_char_frac", SHARE, "0.2", "characters in duplicate paragraphs, of characters"),
    key("filter.gopher_repetition.max_dup_line_frac", SHARE, "0.3", "duplicate lines, of lines"),
    key("filter.gopher_repetition.max_dup_line_char_frac", SHARE, "0.2", "characters in duplicate lines, of characters"),
    key("filter.gopher_repetition.max_top_2_gram", SHARE, "0.2", "characters in the most frequent 2-gram, of characters"),
    key("filter.gopher_repetition.max_top_3_gram", SHARE, "0.18", "characters in the most frequent 3-gram, of characters"),
    key("filter.gopher_repetition.max_top_4_gram", SHARE, "0.16", "characters in the most frequent 4-gram, of characters"),
    key("filter.gopher_repetition.max_dup_5_gram", SHARE, "0.15", "characters in duplicate 5-grams, of characters"),
    key("filter.gopher_repetition.max_dup_6_gram", SHARE, "0.14", "characters in duplicate 6-grams, of characters"),
    key("filter.gopher_repetition.max_dup_7_gram", SHARE, "0.13", "characters in duplicate 7-grams, of characters"),
    key("filter.gopher_repetition.max_dup_8_gram", SHARE, "0.12", "characters in duplicate 8-grams, of characters"),
    key("filter.gopher_repetition.max_dup_9_gram", SHARE, "0.11", "characters in duplicate 9-grams, of characters"),
    key("filter.gopher_repetition.max_dup_10_gram", SHARE, "0.1", "characters in duplicate 10-grams, of characters"),

    key("filter.gopher_quality.min_words", WORD_COUNT, "50", "fewest words"),
    key("filter.gopher_quality.max_words", WORD_COUNT, "100000", "most words"),
    key("filter.gopher_quality.min_avg_word_len", NOT_NEGATIVE, "3.0", "least mean word length, chars"),
    key("filter.gopher_quality.max_avg_word_len", NOT_NEGATIVE, "10.0", "greatest mean word length, chars"),
    key("filter.gopher_quality.max_hash_word_ratio", NOT_NEGATIVE, "0.1", "most hash signs per word"),
    key("filter.gopher_quality.max_ellipsis_word_ratio", NOT_NEGATIVE, "0.1", "most ellipses per word"),
    key("filter.gopher_quality.max_bullet_line_ratio", SHARE, "0.9", "greatest share of lines that begin with a bullet"),
    key("filter.gopher_quality.max_ellipsis_line_ratio", SHARE, "0.3", "greatest share of lines that end with an ellipsis"),
    key("filter.gopher_quality.min_alpha_word_ratio", SHARE, "0.8", "least share of words with an alphabetic character"),
    key("filter.gopher_quality.min_stop_words", WORD_COUNT, "2", "fewest stop words, of Gopher's eight English ones"),

    key("filter.c4.terminal_punct", Kind::Bool, "true", "drop lines that do not end with . ? ! or a quotation mark"),
    key("filter.c4.citations", Kind::Bool, "true", "take out citations such as [12], [edit], [citation needed]"),
    key("filter.c4.min_line_words", WORD_COUNT, "3", "fewest words of a line that is kept"),
    key("filter.c4.max_word_len", WORD_COUNT, "1000", "longest word of a line that is kept, chars"),
    key("filter.c4.javascript", Kind::Bool, "true", "drop lines with \"javascript\""),
    key("filter.c4.policy", Kind::Bool, "true", "drop lines about terms of use, privacy or cookies"),
    key("filter.c4.rewrite", Kind::Bool, "false", "make the kept lines the text that later rules and stages see"),
    key("filter.c4.lorem_ipsum", Kind::Bool, "true", "fail documents with \"lorem ipsum\" on a line that came so far"),
    key("filter.c4.curly_bracket", Kind::Bool, "true", "fail documents with { on a line that came so far"),
    key("filter.c4.min_sentences", WORD_COUNT, "5", "fewest sentences on kept lines"),

    key("filter.c4_paragraphs.min_line_len", WORD_COUNT, "200", "least length of the third-longest line, chars"),

    required("filter.c4_bad_words.file", Kind::Path, r#""bad-words.txt""#, "file of unwanted words, a line each, relative to the manifest"),
    key("filter.c4_bad_words.language", Kind::Label, r#""en""#, "ISO 639-1 code of the list's language; in ja, th and zh words need no bounds"),
    key("filter.c4_bad_words.max_matches", WORD_COUNT, "0", "most matches"),

    key("filter.fineweb.min_line_punct_ratio", SHARE, "0.12", "least share of lines that end with terminal punctuation"),
    key("filter.fineweb.max_short_line_ratio", SHARE, "0.67", "greatest share of lines of 30 characters or fewer"),
    key("filter.fineweb.max_char_dup_ratio", SHARE, "0.01", "characters in duplicate lines, of characters"),
    key("filter.fineweb.max_list_ratio", NOT_NEGATIVE, "0.3", "most line feeds per word"),

    key("filter.lines.rewrite", Kind::Bool, "false", "make the kept lines the text that later rules and stages see"),
    key("filter.lines.max_removed_word_ratio", SHARE, "0.05", "words on removed lines, of words"),

    optional("dedup.against", Kind::Paths, r#"["runs/2023"]"#, "directories of earlier runs, relative to the working directory; what they kept is kept, and what is like it goes"),

    key("dedup.exact.text", Kind::Word(&["as_is", "normalized"]), r#""as_is""#, "what must be equal; as_is: every byte; normalized: the words, without case"),
    key("dedup.exact.url", Kind::Bool, "false", "keep one of the documents that share a URL: case of the host and the fragment aside"),

    key("dedup.near.ngram", integer(1, 64), "5", "words in a shingle"),
    key("dedup.near.bands", integer(1, 256), "14", "bands of the signature; one equal band makes a candidate pair"),
    key("dedup.near.rows", integer(1, 64), "8", "hashes in a band"),
    key("dedup.near.shingles", Kind::Word(&["words", "datatrove-0.10"]), r#""words""#, "words: letters and digits, lower-cased; datatrove-0.10: spaCy's, of its simplified text, for parity"),
    key("dedup.near.family", Kind::Word(&["fast", "datatrove-0.10"]), r#""fast""#, "permutations of MinHash; datatrove-0.10: its own, ten times slower, for parity"),
    key("dedup.near.min_jaccard", SHARE, "0.8", "least exact Jaccard similarity of a pair; 0: pairs are not verified"),
    key("dedup.near.verify", Kind::Word(&["exact", "estimate"]), r#""exact""#, "exact: by the texts of candidates; estimate: by full signatures, no text is read"),
    key("dedup.near.keep_signatures", Kind::Bool, "false", "store full signatures, 8 bytes a value before compression, and put estimates into the evidence"),
    key("dedup.near.max_comparisons", integer(1, 10_000), "64", "kept members that a document is compared with at the most"),
    key("dedup.near.max_component", integer(2, NO_MAX), "1000000", "documents of a component of candidates above which it is cut; memory follows, about 700 bytes a document"),
    key("dedup.near.cluster", Kind::Word(&["star", "component"]), r#""star""#, "star: a kept document and those like it; component: all that equal bands connect, with min_jaccard = 0"),
    key("dedup.near.max_source_loss", SHARE, "1.0", "greatest share of a source's documents that may go as near-duplicates before the run stops"),
    key("dedup.near.prefer", Kind::Words(&["source_priority", "heuristic", "bytes", "newest"]), r#"["source_priority", "heuristic", "bytes"]"#,
        "what decides which document of a cluster survives, most important first"),

    key("dedup.paragraphs.unit", Kind::Word(&["paragraph", "line"]), r#""paragraph""#, "what is cut out where it stands in an earlier document; paragraph: lines between blank ones"),
    key("dedup.paragraphs.min_len", integer(1, u32::MAX as u64), "50", "fewest characters of a unit that is compared"),
    key("dedup.paragraphs.set", Kind::Word(&["exact", "bloom"]), r#""exact""#, "what holds the units so far; exact: up to 21 bytes a unit; bloom: 3.6 bytes at the default rate"),
    key("dedup.paragraphs.false_positive_rate", Kind::Number { min: 1e-12, max: 0.5 }, "1e-6", "share of new units that the Bloom filter takes for old ones"),

    key("tokens.scope", Kind::Word(&["all", "survivors"]), r#""all""#, "documents that are counted; with survivors, earlier stages' tokens are estimates"),
    key("tokens.tokenizer", Kind::Path, r#""embedded""#, "embedded, or the path of a tokenizer.json, relative to the manifest"),

    key("score.perplexity.model", Kind::Path, r#""embedded""#, "embedded: 3.7 million parameters, compiled in; else a directory with config.json, tokenizer.json and safetensors, a GGUF file, relative to the manifest, or hf://owner/name@commit"),
    optional("score.perplexity.digest", Kind::Name, r#""af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262""#, "BLAKE3 of the model's weights, 64 hex digits as the log shows them; others are refused"),
    key("score.perplexity.window", Kind::Word(&["start", "start+middle", "all"]), r#""start""#, "which tokens are read; start: the first min(512, context); start+middle: as many again from the middle; all: every one"),
    key("score.perplexity.device", Kind::Word(&["auto", "cpu", "cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6", "cuda:7", "metal"]), r#""auto""#, "where the model runs; all but cpu need a build with the feature of that name"),
    optional("score.perplexity.batch_tokens", integer(1, 1 << 24), "8192", "tokens of a batch, padding included; absent: 8,192 on a CPU, 65,536 on a GPU; it moves the last digits of a score"),

    key("score.perplexity.sample", Kind::Number { min: 0.0, max: 1.0 }, "1.0", "share of survivors that are scored, chosen by a hash of seed and doc_id"),

    optional("score.perplexity.max_tokens", Kind::Count, "1_000_000_000", "tokens that windows of the documents scored may hold on average over samples: fewer survivors are scored, by the same hash; absent: no bound"),

    key("score.perplexity.drop.below", SHARE, "0.0", "share of a group's documents that may go as the least surprising"),
    key("score.perplexity.drop.above", SHARE, "1.0", "share of a group's documents below the most surprising, which go"),

    required("score.ngram.model", Kind::Path, r#""reference.ngram""#, "a file of `curate train ngram`, or an ARPA file (*.arpa), relative to the manifest"),
    key("score.ngram.tokenizer", Kind::Path, r#""embedded""#, "embedded; words: what is between white space; or the path of a tokenizer.json, relative to the manifest"),
    key("score.ngram.normalize", Kind::Word(&["none", "ccnet"]), r#""none""#, "ccnet: lower case, no accents, digits 0, plain punctuation, as CCNet's models want lines"),

    key("score.ngram.drop.below", SHARE, "0.0", "share of a group's documents that may go as the least surprising"),
    key("score.ngram.drop.above", SHARE, "1.0", "share of a group's documents below the most surprising, which go"),

    key("quality.combine", Kind::Word(&["weighted_geometric", "mean", "min", "max", "logistic"]), r#""weighted_geometric""#, "how terms become q; max: of twentieths, as Nemotron-CC's ensemble; logistic: 1 / (1 + e^-(intercept + Σ weight·term))"),
    key("quality.intercept", ANY_NUMBER, "0.0", "the constant of combine = \"logistic\""),

    required("quality.term.column", Kind::Field, r#""signals.heuristic""#, "table.column, table.column.field, or meta.field for a field of the record"),
    key("quality.term.weight", ANY_NUMBER, "1.0", "its weight, above 0; with combine = \"logistic\" its coefficient"),
    key("quality.term.calibration", Kind::Word(&["identity", "logistic", "percentile", "two_sided", "isotonic"]), r#""identity""#, "how a value becomes a term in (0, 1]; percentiles are of tokens, within language and domain"),
    key("quality.term.prefer", Kind::Word(&["high", "low"]), r#""high""#, "which values are the better ones, for percentile"),
    key("quality.term.low", SHARE, "0.25", "share below which two_sided falls"),
    key("quality.term.high", SHARE, "0.75", "share above which two_sided falls"),
    key("quality.term.midpoint", ANY_NUMBER, "0.0", "value at which logistic is one half"),
    key("quality.term.slope", ANY_NUMBER, "1.0", "how fast logistic rises, per unit of the value"),
    optional("quality.term.file", Kind::Path, r#""curve.json""#, "for isotonic: a JSON list of [value, term], both ascending, relative to the manifest"),

    required("quality.veto.column", Kind::Field, r#""meta.toxicity""#, "table.column, table.column.field, or meta.field for a field of the record"),
    one_of("quality.veto.below", ANY_NUMBER, "0.2", "smaller values remove the document; absent: none does"),
    one_of("quality.veto.above", ANY_NUMBER, "0.8", "greater values remove the document; absent: none does"),

    required("budget.params", Kind::Positive { max: f64::INFINITY }, "7e9", "parameters of the model"),
    key("budget.constants", Kind::WordOrJson(&["besiroglu2024", "besiroglu2024_full", "hoffmann2022_rounded", "hoffmann2022", "muennighoff2023"]), r#""besiroglu2024""#,
        "constants of the loss curve L(N, D): published ones, or a file of one's own, relative to the manifest, with e, a, b, alpha, beta and, if known, covariance"),
    key("budget.represents", Kind::Number { min: 1.0, max: f64::INFINITY }, "1.0", "how many times larger the corpus is than this run's sample of it"),

    required("mixture.name", Kind::Name, r#""general""#, "name of the mixture, unique"),
    required("mixture.tokens", Kind::Count, "300_000", "tokens to draw, repeats counted"),
    key("mixture.max_epochs", Kind::Positive { max: 1000.0 }, "4.0", "most epochs over any bucket"),
    key("mixture.strategy", Kind::Word(&["effective", "natural", "unimax", "temperature", "fixed", "quality_curve"]), r#""effective""#,
        "how epochs are chosen; effective: the most effective tokens; the others are baselines: by unique tokens, sources alike, by U^(1/temperature), by given shares, Olmo 3's curve"),
    key("mixture.temperature", Kind::Positive { max: 1e6 }, "3.3", "for temperature: 1 is natural, more makes sources more alike"),
    key("mixture.discard", SHARE, "0.4", "for quality_curve: share of each source's tokens, the worst, that is left out"),
    key("mixture.part_size", size(MIB, 4 * GIB), r#""256MiB""#, "text in one exported file before compression, bytes"),

    required("mixture_source.mixture", Kind::Name, r#""general""#, "the mixture"),
    required("mixture_source.source", Kind::Name, r#""web""#, "the source"),
    key("mixture_source.min_share", SHARE, "0.0", "least share of the mixture's tokens"),
    key("mixture_source.max_share", SHARE, "1.0", "greatest share of the mixture's tokens"),
    optional("mixture_source.share", SHARE, "0.5", "its share with strategy = \"fixed\""),
    optional("mixture_source.max_epochs", Kind::Positive { max: 1000.0 }, "8.0", "most epochs over its buckets; absent: the mixture's"),
];
