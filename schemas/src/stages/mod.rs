//! The stages in the order in which they run, and the manifest that sets them.
//!
//! A new stage is a file here and a line in [`STAGES`]. If the stage has a table of its own in the
//! manifest, it is a field of [`Manifest`] too.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Key, Section};
use crate::fleet::Fleet;
use crate::spec::StageSpec;

pub mod coverage;
pub mod documents;
pub mod exact_dedup;
pub mod filter;
pub mod language;
pub mod mixtures;
pub mod near_dedup;
pub mod ngram;
pub mod paragraph_dedup;
pub mod pii;
pub mod quality;
pub mod score;
pub mod signals;
pub mod signatures;
pub mod tokens;

/// Every stage, in the order in which they run.
pub const STAGES: &[StageSpec] = &[
    documents::DOCUMENTS,
    coverage::COVERAGE,
    language::LANGUAGE,
    signals::SIGNALS,
    signatures::SIGNATURES,
    filter::FILTER,
    exact_dedup::EXACT_DEDUP,
    near_dedup::NEAR_DEDUP,
    paragraph_dedup::PARAGRAPH_DEDUP,
    pii::PII,
    tokens::TOKENS,
    ngram::NGRAM,
    score::SCORE,
    quality::QUALITY,
    mixtures::BUCKETS,
    mixtures::MIX,
    mixtures::MIXTURE,
];

/// A whole manifest, with the values of absent keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manifest {
    /// Name of the run, its directory, and what it may use.
    pub run: documents::Run,
    /// Who computes the shards.
    pub fleet: Fleet,
    /// The raw corpora, in the order of the manifest; never empty.
    pub source: Vec<documents::Source>,
    /// Changes to the text at ingest; `None`: the text stays as it is.
    pub clean: Option<documents::Clean>,
    /// Language identification; `None`: every language is kept.
    pub language: Option<language::Language>,
    /// Values that are computed for the rules.
    pub signals: signals::Signals,
    /// Families of rules, and how their rules are read.
    pub filter: filter::Filter,
    /// Deduplications of documents, paragraphs and lines.
    pub dedup: exact_dedup::Dedup,
    /// Personal data and secrets that are replaced; `None`: the text stays as it is.
    pub pii: Option<pii::Pii>,
    /// The tokenizer, and the documents whose tokens are counted.
    pub tokens: tokens::Tokens,
    /// Models that score documents.
    pub score: score::Score,
    /// How q(d) is made of its terms.
    pub quality: quality::Quality,
    /// The model that the data is meant for; `None`: no loss is predicted.
    pub budget: Option<mixtures::Budget>,
    /// The mixtures to export, in the order of the manifest.
    pub mixture: Vec<mixtures::Mixture>,
    /// Bounds of sources in mixtures.
    pub mixture_source: Vec<mixtures::MixtureSource>,
    /// Directory of the manifest, to which paths in it are relative; empty: the working directory.
    #[serde(skip)]
    pub base: PathBuf,
    /// Path of the manifest as it was given; empty without a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
}

/// The stages whose table has a row for each document, in the order in which they run.
pub fn aligned() -> impl DoubleEndedIterator<Item = &'static StageSpec> {
    STAGES.iter().filter(|stage| stage.scope.is_aligned())
}

/// The stage with this name.
pub fn stage(name: &str) -> Option<&'static StageSpec> {
    STAGES.iter().find(|stage| stage.name == name)
}

/// The stage that writes a folder of the run directory. `score` writes the folder `score`, and
/// `mix` writes `mix/general`.
pub fn stage_of_folder(folder: &str) -> Option<&'static StageSpec> {
    stage(folder.split('/').next().unwrap_or(folder))
}

/// The stage that writes a table or a folder: `documents` writes `quarantine`, too.
pub fn stage_of_table(name: &str) -> Option<&'static StageSpec> {
    let writes = |stage: &&StageSpec| stage.further_tables().contains(&name);
    stage_of_folder(name).or_else(|| STAGES.iter().find(writes))
}

/// The last table with edits before `stage`; `None` if there is no such table, so that the stage
/// sees the ingested text.
///
/// The column `bytes` of this table has the length of the text that the stage sees.
pub fn last_edits_before(stage: &str) -> Option<&'static str> {
    let before = STAGES.iter().take_while(|spec| spec.name != stage);
    let edits = before.filter(|spec| spec.may_rewrite());
    edits.last().map(|spec| spec.name)
}

/// Every table of a manifest, in the order of the reference.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    STAGES.iter().flat_map(|stage| stage.sections)
}

/// Keys that had another name in an earlier version, as (table, old name, name of today).
pub const RENAMED: &[(&str, &str, &str)] = &[("quality.term", "calibration", "map")];

/// The table of a manifest with this path.
pub fn section(path: &str) -> Option<&'static Section> {
    sections().find(|section| section.path == path)
}

/// Every key of a manifest, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    sections().flat_map(|section| section.keys)
}

/// The key with this path.
pub fn key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Shape;

    #[test]
    fn stages_follow_stages_before_them() {
        for (at, spec) in STAGES.iter().enumerate() {
            let before = &STAGES[..at];
            let follows = spec.follows.is_empty() || before.iter().any(|s| s.name == spec.follows);
            assert!(follows, "{} follows {}", spec.name, spec.follows);
            assert_eq!(spec.table().name, spec.name);
            let is_aligned = spec.table().shape == Shape::Aligned;
            assert_eq!(is_aligned, spec.scope.is_aligned(), "{}", spec.name);
        }
    }

    #[test]
    fn a_stage_that_may_remove_says_why() {
        for spec in aligned().filter(|spec| spec.name != "filter") {
            assert_eq!(
                spec.may_remove(),
                !spec.removals.is_empty(),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn a_stage_that_may_rewrite_removes_what_it_leaves_blank() {
        // `pii` puts something in the place of each value, so it leaves no text blank.
        for spec in aligned().filter(|spec| spec.may_rewrite() && spec.name != "pii") {
            let reason = format!("{}.nothing_left", spec.name);
            let reasons = spec.removals.iter().map(|removal| removal.name);
            assert!(reasons.into_iter().any(|name| name == reason), "{reason}");
        }
    }

    #[test]
    fn the_text_of_a_stage_follows_from_the_edits_before_it() {
        let seen = |stage| last_edits_before(stage);
        assert_eq!((seen("language"), seen("signals")), (None, None));
        assert_eq!(seen("signatures"), Some("signals"));
        assert_eq!(seen("paragraph_dedup"), Some("signals"));
        assert_eq!(seen("pii"), Some("paragraph_dedup"));
        assert_eq!(seen("tokens"), Some("pii"));
    }

    #[test]
    fn every_key_is_declared_once_and_means_something() {
        for section in sections() {
            assert!(!section.doc().is_empty(), "{}", section.path);
            for key in section.keys {
                assert_eq!(
                    keys().filter(|other| other.path == key.path).count(),
                    1,
                    "{}",
                    key.path
                );
                assert!(
                    !key.doc().is_empty() && !key.doc().contains('\n'),
                    "{}",
                    key.path
                );
            }
        }
    }
}
