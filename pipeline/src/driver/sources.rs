//! The documents of each source, stage by stage. A shard never spans input files, so it has one
//! source, and the counts of a source are those of its shards.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use curate_schemas::commit::{Commit, Counts, Tally};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_store::terminal;

use super::Driver;

/// The source of each shard, in the order of the shards. `documents` is the commit of `documents`.
///
/// # Errors
/// If the commit does not say from which input a shard was read.
pub fn sources_of_shards(documents: &Commit) -> Result<Vec<&str>> {
    let of_unit: BTreeMap<&str, &str> = documents
        .inputs
        .iter()
        .map(|input| (input.unit.as_str(), input.source.as_str()))
        .collect();

    let shards = documents.files.iter().map(|file| {
        let unit = file.unit.as_deref().unwrap_or_default();
        let source = of_unit.get(unit).copied();
        source.with_context(|| format!("no input of the shard {} is committed", file.path))
    });
    shards.collect()
}

/// The counts of a row-aligned stage by source. Every source of `documents` has an entry, also if
/// no document of the source reached the stage.
///
/// # Errors
/// If the commits do not fit together.
pub fn counts_by_source(documents: &Commit, stage: &Commit) -> Result<BTreeMap<String, Counts>> {
    // Quarantined records are in no shard, so `documents` counts its sources itself.
    if stage.stage == documents.stage {
        return Ok(documents.sources.clone());
    }

    let names = documents.sources.keys();
    let mut all: BTreeMap<String, Counts> = names
        .map(|name| (name.clone(), Counts::default()))
        .collect();
    // File n of every commit belongs to shard n.
    for (source, file) in sources_of_shards(documents)?.into_iter().zip(&stage.files) {
        let counts = file
            .counts
            .as_ref()
            .context("a row-aligned file has counts")?;
        all.entry(source.to_owned()).or_default().add(counts);
    }
    Ok(all)
}

/// A sentence about a source of which a stage removed the last document. `None` if the stage kept
/// some, or if none reached it.
pub fn loss(source: &str, stage: &str, docs: &Tally) -> Option<String> {
    if docs.arrived == 0 || docs.kept > 0 {
        return None;
    }

    let other = [
        ("duplicates", docs.duplicates),
        ("quarantined", docs.quarantined),
    ];
    let mut reasons: Vec<(&str, u64)> = docs
        .removed
        .iter()
        .map(|(rule, n)| (rule.as_str(), *n))
        .chain(other)
        .filter(|(_, n)| *n > 0)
        .collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));

    let most: Vec<String> = reasons
        .iter()
        .take(REASONS_SHOWN)
        .map(|(reason, n)| format!("{n} {reason}"))
        .collect();
    Some(format!(
        "source \"{source}\": {stage} removed all {} documents that reached it, so no document of \
         the source is left ({})",
        docs.arrived,
        most.join(", ")
    ))
}

/// Greatest number of reasons that a message names.
pub(super) const REASONS_SHOWN: usize = 3;

impl Driver {
    /// Warns of every source of which a stage removed the last document.
    ///
    /// # Errors
    /// If a commit is damaged.
    pub(super) fn warn_of_lost_sources(&self, stage: &str) -> Result<()> {
        let (documents, commit) = (self.committed(DOCUMENTS.name)?, self.committed(stage)?);
        for (source, counts) in counts_by_source(&documents, &commit)? {
            if let Some(loss) = loss(&source, stage, &counts.docs) {
                terminal::say(&format!("curate: warning: {loss}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_schemas::commit::{FileEntry, Input};

    /// A file with `kept` documents and `removed` ones.
    fn file(unit: &str, kept: u64, removed: u64) -> FileEntry {
        let docs = Tally {
            arrived: kept + removed,
            kept,
            removed: [("filter.short".to_owned(), removed)].into(),
            ..Tally::default()
        };
        FileEntry {
            path: String::new(),
            key: String::new(),
            parts: BTreeMap::new(),
            rows: 0,
            size: 0,
            digest: String::new(),
            content: String::new(),
            counts: Some(Counts {
                docs,
                bytes: Tally::default(),
                repaired: BTreeMap::new(),
            }),
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
        }
    }

    fn commit(stage: &str, files: Vec<FileEntry>) -> Commit {
        let input = |source: &str, unit: &str| Input {
            source: source.to_owned(),
            path: String::new(),
            size: 0,
            digest: String::new(),
            unit: unit.to_owned(),
            skipped: BTreeMap::new(),
        };
        let sources = ["a", "b", "none"].map(|name| (name.to_owned(), Counts::default()));
        Commit {
            format: 0,
            stage: stage.to_owned(),
            version: 0,
            key: String::new(),
            counts: Counts::default(),
            files,
            tables: BTreeMap::new(),
            inputs: vec![input("a", "1"), input("b", "2"), input("a", "3")],
            sources: sources.into(),
            digest: String::new(),
        }
    }

    #[test]
    fn the_counts_of_a_source_are_those_of_its_shards() {
        let shards = vec![
            file("1", 2, 0),
            file("3", 1, 0),
            file("2", 4, 0),
            file("2", 5, 0),
        ];
        let documents = commit("documents", shards);
        assert_eq!(
            sources_of_shards(&documents).expect("inputs"),
            ["a", "a", "b", "b"]
        );

        let stage = commit(
            "filter",
            vec![
                file("", 0, 2),
                file("", 0, 1),
                file("", 3, 1),
                file("", 5, 0),
            ],
        );
        let found = counts_by_source(&documents, &stage).expect("counts");
        let docs = |name: &str| (found[name].docs.arrived, found[name].docs.kept);
        assert_eq!(
            (docs("a"), docs("b"), docs("none")),
            ((3, 0), (9, 8), (0, 0))
        );

        assert!(loss("b", "filter", &found["b"].docs).is_none());
        assert!(loss("none", "filter", &found["none"].docs).is_none());
        let said = loss("a", "filter", &found["a"].docs).expect("a loss");
        assert!(said.contains("all 3 documents") && said.contains("(3 filter.short)"));
    }

    #[test]
    fn a_shard_without_an_input_is_an_error() {
        let documents = commit("documents", vec![file("9", 1, 0)]);
        assert!(sources_of_shards(&documents).is_err());
    }
}
