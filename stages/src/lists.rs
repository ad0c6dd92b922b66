//! What stages look up in files that the manifest names. Keys of stages hold their digests, never
//! their paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use curate_scorers::calibration::Knots;
use curate_scorers::rules::bad_words::BadWords;
use curate_scorers::rules::url_rules::Blocklist;

/// The files that a manifest names, read.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// `filter.url.domains`.
    pub domains: Option<List>,
    /// `filter.url.substrings`.
    pub substrings: Option<List>,
    /// `filter.c4_bad_words.file`, with its digest.
    pub bad_words: Option<(Arc<BadWords>, String)>,
    /// `quality.term.file` of isotonic terms, by path as written, with its digest.
    pub isotonic: BTreeMap<String, (Knots, String)>,
}

/// A list of addresses.
#[derive(Debug, Clone)]
pub struct List {
    /// Its entries.
    pub blocklist: Arc<Blocklist>,
    /// blake3 of the file.
    pub digest: String,
}
