//! `documents`: raw files become the text that every stage reads.

use std::path::PathBuf;

use arrow::datatypes::{DataType, TimeUnit};

use crate::config::{GIB, KIB, Kind, MIB, NO_MAX, SHARE, config, integer, size, words};
use crate::fleet::Fleet;
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Shape, Table, count, doc_id, list, utf8};

/// The declaration of the stage.
pub const DOCUMENTS: StageSpec = StageSpec {
    name: "documents",
    version: 6,
    scope: Scope::Input,
    follows: "",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[
        Run::SECTION,
        Fleet::SECTION,
        Source::SECTION,
        Web::SECTION,
        Clean::SECTION,
    ],
    tables: || vec![documents(), quarantine()],
};

config! {
    /// Name of the run, its directory, and what it may use.
    "run", Once => Run {
        /// Name of the run.
        required name: String; Kind::Name, "\"quickstart\"";
        /// Run directory, relative to the working directory. Absent: `runs/<name>`.
        derived dir: PathBuf; Kind::Path, "\"runs/quickstart\"";
        /// Seed of every random sample.
        key seed: u64 = 0; integer(0, NO_MAX);
        /// Memory for pools and kernels, bytes. The process takes 150 to 400 MB more.
        key memory: u64 = 4 * GIB; size(512 * MIB, NO_MAX);
        /// Text in one shard before compression, bytes.
        key shard_size: u64 = 64 * MIB; size(64 * KIB, GIB);
        /// Longest record, bytes. A longer record is quarantined.
        key max_record: u64 = 64 * MIB; size(KIB, GIB);
        /// Largest window of a Zstandard frame, bytes, in addition to `memory`. A file with a
        /// larger window is quarantined.
        key max_window: u64 = 2 * GIB; size(MIB, 2 * GIB);
        /// Memory for the pages of a Parquet file that are read at once, one a column, or for a
        /// record batch of an Arrow file, bytes, in addition to `memory`. What takes more is
        /// quarantined.
        key max_pages: u64 = GIB; size(MIB, 64 * GIB);
        /// Largest tokenizer, list or other file that the manifest names, bytes. Models are not
        /// limited.
        key max_file: u64 = GIB; size(MIB, 64 * GIB);
        /// Share of records that may be quarantined before the run stops, of all records and of each
        /// source's.
        key max_quarantine_ratio: f64 = 0.05; SHARE;
        /// Share of a source's records with a usable value in a field that the source names. Below
        /// it the log warns.
        key min_coverage: f64 = 0.5; SHARE;
    }
}

config! {
    /// One raw corpus: its files and their fields.
    "source", OneOrMore => Source {
        /// Name of the source, unique.
        required name: String; Kind::Name, "\"web\"";
        /// Files of the source on this machine, relative to the manifest. `*`, `?` and `[…]` match
        /// in names, `**` any number of directories, and a name that exists as it is written is
        /// taken literally. A directory stands for all files in it. Directories and wildcards leave
        /// out names that begin with `.` or `_`, and what describes a data set: `README.md`,
        /// `LICENSE`, `dataset_infos.json` and the like. A name that is written out is always read.
        /// Each file is read once, whatever links exist.
        required path: Vec<String>; Kind::Paths, "\"docs/web-*.jsonl.zst\"";
        /// Field that holds the text.
        key text: String = "text".to_owned(); Kind::Field;
        /// Field that holds the record's own id. Absent: none.
        optional id: Option<String>; Kind::Field, "\"id\"";
        /// Field that holds the record's URL. Absent: none.
        optional url: Option<String>; Kind::Field, "\"url\"";
        /// Domain label of its documents. Absent: the name of the source.
        derived domain: String; Kind::Label, "\"web\"";
        /// Field that holds the record's date: ISO 8601, RFC 2822, `YYYYMMDD`, or a number since
        /// 1970 in seconds, milli-, micro- or nanoseconds. Absent: none.
        optional date: Option<String>; Kind::Field, "\"published\"";
        /// Rank among duplicates. The document of the source with the smaller number survives.
        key priority: u32 = 0; integer(0, u32::MAX as u64);
        /// Format of the files. Absent: told by the file name.
        optional format: Option<Format>; Kind::Word(Format::WORDS), "\"jsonl\"";
        /// Licence of the texts, for dataset cards: an identifier of SPDX or of the Hugging Face
        /// Hub, or words. Absent: not stated.
        optional license: Option<String>; Kind::Label, "\"cc-by-4.0\"";
        /// Named fields that no record of the source needs to have. Without this, a run stops if no
        /// record has a usable value.
        key allow_missing: Vec<NamedField> = Vec::new(); Kind::Words(NamedField::WORDS);
        /// Share of the source's records that may be quarantined before the run stops. A source of
        /// which no record can be read stops the run in any case. Absent:
        /// `run.max_quarantine_ratio`.
        optional max_quarantine_ratio: Option<f64>; SHARE, "0.2";
    }
    tables {
        /// The table `[source.web]` below it.
        web: Web,
    }
}

config! {
    /// How the web archives and HTML files of a source are read. It stands below the keys of its
    /// `[[source]]`.
    "source.web", Default => Web {
        /// How the text is taken out of HTML. `resiliparse` finds the main content by the rules of
        /// the extractor of that name, and `text` takes all text that shows.
        key extractor: Extractor = Extractor::Resiliparse; Kind::Word(Extractor::WORDS);
        /// Write formulas of MathML, MathJax and KaTeX as TeX between dollar signs.
        key formulas: bool = false; Kind::Bool;
        /// MIME types of pages. Pages of other types are skipped.
        key types: Vec<PageType> = vec![PageType::Html, PageType::Xhtml]; Kind::Words(PageType::WORDS);
        /// Longest page, bytes before its characters are decoded. A longer page is quarantined.
        key max_html: u64 = 8 * MIB; size(KIB, GIB);
        /// Compute the SHA-1 digests that archives give, and say in `meta` if they are right.
        key verify: bool = false; Kind::Bool;
    }
}

words! {
    /// How the text is taken out of HTML.
    Extractor {
        /// The main content, by the rules of the extractor of this name.
        Resiliparse = "resiliparse",
        /// All text that shows.
        Text = "text",
    }
}

words! {
    /// MIME type of a page.
    PageType {
        /// HTML.
        Html = "text/html",
        /// XHTML.
        Xhtml = "application/xhtml+xml",
        /// Text without markup, which is taken as it is.
        Plain = "text/plain",
    }
}

impl Source {
    /// True if the source is declared to hold web archives: by its format, or else by the end of
    /// each of its paths.
    pub fn is_archive(&self) -> bool {
        self.is_declared(Format::Warc)
    }

    /// True if the source is declared to hold pages of the web.
    pub fn is_web(&self) -> bool {
        self.is_archive() || self.is_declared(Format::Html)
    }

    fn is_declared(&self, format: Format) -> bool {
        match self.format {
            Some(own) => own == format,
            None => {
                let endings = format.web_endings();
                !self.path.is_empty() && self.path.iter().all(|path| ends_with(path, endings))
            }
        }
    }
}

impl Format {
    /// Endings of the names of web archives or HTML files, without the dot. Empty for other
    /// formats.
    pub const fn web_endings(self) -> &'static [&'static str] {
        match self {
            Format::Warc => &["warc", "wet"],
            Format::Html => &["html", "htm", "xhtml"],
            _ => &[],
        }
    }
}

/// True if a path or a pattern has one of the endings, before the ending of a compression.
fn ends_with(path: &str, endings: &[&str]) -> bool {
    let lower = path.to_ascii_lowercase();
    let stem = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|ending| lower.strip_suffix(ending))
        .unwrap_or(&lower);
    let ending = stem.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| endings.contains(&ending))
}

words! {
    /// A field that a source can name.
    NamedField {
        /// The record's own id.
        Id = "id",
        /// The record's URL.
        Url = "url",
        /// The record's date.
        Date = "date",
    }
}

words! {
    /// Format of the files of a source.
    Format {
        /// One JSON object per line.
        Jsonl = "jsonl",
        /// An array of JSON objects, or objects one after another, on one line each or on several.
        Json = "json",
        /// Comma-separated values with a header line, quoted as in RFC 4180. One document per row.
        Csv = "csv",
        /// Tab-separated values with a header line, quoted like `csv`. One document per row.
        Tsv = "tsv",
        /// One document per row.
        Parquet = "parquet",
        /// One document per row, in Arrow IPC as `datasets.save_to_disk` writes it.
        Arrow = "arrow",
        /// One document per file.
        Txt = "txt",
        /// A web archive of WARC or WET records, plain or compressed. One document per page.
        Warc = "warc",
        /// One page per file.
        Html = "html",
    }
}

config! {
    /// Changes to the text at ingest. Absent: the text stays as it is, except that a byte order mark
    /// is removed and a lone surrogate becomes U+FFFD. If a step is on, the stage `signals` removes
    /// documents that show nothing.
    "clean", Switch => Clean {
        /// Compose to Unicode NFC.
        key nfc: bool = false; Kind::Bool;
        /// Remove control characters, and join no words. Tab, LF, CR and NEL stay. VT, FF, FS, GS
        /// and RS become LF, unless a line ends or starts there anyway. US becomes a space between
        /// other characters than white space, each other control a space between two letters or
        /// digits. U+2028 and U+2029 are not control characters.
        key control: bool = false; Kind::Bool;
        /// Turn CR LF, CR, NEL, U+2028 and U+2029 into LF.
        key newlines: bool = false; Kind::Bool;
        /// Remove spaces (U+0020) and tabs at the ends of lines: before LF, CR, NEL, U+2028 and
        /// U+2029, and at the end of the text.
        key trailing_space: bool = false; Kind::Bool;
    }
}

impl Clean {
    /// True if a step is switched on, so that a text may change.
    pub fn rewrites(&self) -> bool {
        self.nfc || self.control || self.newlines || self.trailing_space
    }
}

/// The repair of a record from which U+FEFF was removed: before the record, at the start of its
/// text, or at the start of a line of a text file. The column `repaired` has this word.
pub const BYTE_ORDER_MARK: &str = "byte_order_mark";
/// The repair of a record in which an escaped half of a surrogate pair, without its other half,
/// became U+FFFD. The column `repaired` has this word.
pub const LONE_SURROGATE: &str = "lone_surrogate";

fn documents() -> Table {
    // `doc_id` alone: every record that can be read reaches this stage, so there is no `reached`.
    let columns = vec![
        doc_id(),
        utf8("source", "name of the source in the manifest"),
        utf8(
            "source_id",
            "the record's own id, if the source names an id field",
        )
        .null(),
        utf8("domain", "domain label of the source in the manifest"),
        utf8("path", "input file, relative to the source's fixed prefix"),
        count(
            "ordinal",
            "records",
            "number of records before this one in its file",
        ),
        utf8("url", "the record's URL, if the source names a url field").null(),
        Column::new(
            "date",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "the record's date, if the source names a date field and the date can be read",
        )
        .null()
        .unit("microseconds since 1970, UTC"),
        utf8(
            "text",
            "the text after [clean]; without [clean] the input's, byte for byte, but for the \
             repairs in `repaired`",
        ),
        // The stage's tally counts the difference between this and `bytes` as edited.
        count(
            "raw_bytes",
            "bytes",
            "length of the text with its byte order marks and before [clean], UTF-8",
        ),
        count("bytes", "bytes", "length of the text, UTF-8"),
        count("chars", "code points", "length of the text"),
        utf8(
            "meta",
            "the record's other fields, as a JSON object; a number that JSON does not have, such as \
             NaN, is null",
        )
        .null(),
        Column::new(
            "repaired",
            list(DataType::Utf8),
            "what was repaired while the record was read; null for a record without a repair",
        )
        .null()
        .range("byte_order_mark, lone_surrogate"),
    ];

    Table {
        name: "documents",
        doc: "the ingested text, written once",
        shape: Shape::Aligned,
        columns,
    }
}

fn quarantine() -> Table {
    let columns = vec![
        utf8("source", "name of the source in the manifest"),
        utf8("path", "input file, relative to the source's fixed prefix"),
        count(
            "ordinal",
            "records",
            "number of records before this one in its file",
        ),
        count(
            "offset",
            "bytes",
            "where the record starts in the (decompressed) file; the row number in a Parquet or \
             Arrow file; in a compressed web archive, where its member starts in the file",
        ),
        utf8("reason", "what is wrong, one word").range(
            "invalid_utf8, invalid_json, missing_text, text_not_string, record_too_large, \
             nul_byte, invalid_csv, other_format, damaged_file; in web archives also truncated, \
             bad_gzip, bad_zstd, bad_header, bad_length, header_too_long, garbage, segmented, \
             http_bad_encoding, html_too_long, charset",
        ),
        utf8("detail", "what exactly was found"),
        // A record may be quarantined because it is no UTF-8, so it is kept as bytes.
        Column::new(
            "raw",
            DataType::Binary,
            "the first 4 KiB as they are in the input",
        )
        .unit("bytes"),
        count(
            "raw_bytes",
            "bytes",
            "length of the unreadable part, if it is known",
        ),
        count(
            "records",
            "records",
            "records that the damage hides, as far as it is known: the rows of a row group, or of a \
             table whose text has another type; the lines of a file of another kind, or of an \
             unclosed quote; else 1",
        ),
    ];

    Table {
        name: "quarantine",
        doc: "records and files that could not be read",
        shape: Shape::Own,
        columns,
    }
}
