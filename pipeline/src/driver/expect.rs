//! Which files a stage must consist of: a key for each shard, from settings and from the keys of
//! what the shard is made of. Nothing is read, so `curate plan` asks the same questions as a run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use curate_schemas::commit::FileEntry;
use curate_stages::{AnyStage, Stage, all_reads};
use curate_store::run_dir::RunDir;
use curate_store::{key, terminal};

/// A file that a stage must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its table.
    pub table: String,
    /// Its name.
    pub path: String,
    /// Its key.
    pub key: String,
    /// The parts of its key.
    pub parts: BTreeMap<String, String>,
}

/// Keys of the files of each table so far, in the documents' order.
pub type Keys = BTreeMap<String, Vec<String>>;

/// The files of a row-aligned stage that `arriving` documents reach: one for each file of
/// `documents`, and those of its further tables.
///
/// # Errors
/// If a table that the stage reads is not in `keys`.
pub fn expected(
    stage: &AnyStage,
    arriving: u64,
    documents: &[FileEntry],
    keys: &Keys,
) -> Result<Vec<Expected>> {
    let base = stage.stage();
    let tables = tables_read(base);
    let mut common: BTreeMap<String, String> =
        [("config".to_owned(), base.config().to_string())].into();
    common.extend(
        base.resources(arriving)
            .into_iter()
            .map(|(name, digest)| (name.to_owned(), digest)),
    );
    let AnyStage::Corpus(_) = stage else {
        let shards = documents.iter().enumerate().map(|(shard, document)| {
            let mut parts = common.clone();
            for table in &tables {
                let key = keys.get(*table).and_then(|keys| keys.get(shard));
                parts.insert(
                    (*table).to_owned(),
                    key.with_context(|| format!("{table} has no shard {shard}"))?
                        .clone(),
                );
            }
            Ok(file(base, base.name(), number(&document.path), parts))
        });
        return shards.collect();
    };
    common.insert("corpus".to_owned(), corpus_digest(&tables, keys)?);
    let mut files = Vec::new();
    for (shard, document) in documents.iter().enumerate() {
        let mut parts = common.clone();
        parts.insert("documents".to_owned(), document.key.clone());
        parts.insert("shard".to_owned(), shard.to_string());
        files.push(file(base, base.name(), number(&document.path), parts));
    }
    let further = base.spec().further_tables();
    let further = further.iter();
    files.extend(further.map(|table| file(base, table, "00000", common.clone())));
    Ok(files)
}

fn file(stage: &dyn Stage, table: &str, number: &str, parts: BTreeMap<String, String>) -> Expected {
    let key = key::of_parts(table, stage.spec().version, &parts);
    Expected {
        table: table.to_owned(),
        path: format!("part-{number}-{}.parquet", key::short(&key)),
        key,
        parts,
    }
}

/// The number in `part-00000-<key8>.parquet`; empty for other names.
pub fn number(path: &str) -> &str {
    path.strip_prefix("part-")
        .and_then(|rest| rest.split('-').next())
        .unwrap_or_default()
}

/// The tables a stage reads, each once, sorted.
pub fn tables_read(stage: &dyn Stage) -> Vec<&'static str> {
    let mut tables: Vec<&'static str> = all_reads(stage).iter().map(|read| read.table).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// One digest over all shards of some tables.
///
/// # Errors
/// If a table has no keys yet.
pub fn corpus_digest(tables: &[&str], keys: &Keys) -> Result<String> {
    let mut all = Vec::new();
    for table in tables {
        all.push(*table);
        let keys = keys
            .get(*table)
            .with_context(|| format!("stage {table} has not run"))?;
        all.extend(keys.iter().map(String::as_str));
    }
    Ok(key::digest(&all))
}

/// The files that are there already, by key: of the commit, of a retired one, and finished shards
/// that were not committed.
pub struct Existing(BTreeMap<String, FileEntry>);

impl Existing {
    /// What the run directory holds of a stage and its tables. A file that is gone or has another
    /// size does not count.
    pub fn load(run: &RunDir, stage: &str, tables: &[&str]) -> Result<Existing> {
        let mut found = BTreeMap::new();
        let mut add = |table: &str, entries: Vec<FileEntry>, is_committed: bool| {
            for entry in entries {
                let path = run.table(table).join(&entry.path);
                // A receipt that somebody edited is as good as none.
                let named = number(&entry.path);
                if entry.path != format!("part-{named}-{}.parquet", key::short(&entry.key))
                    || named.is_empty()
                {
                    continue;
                }
                match std::fs::metadata(&path) {
                    Ok(metadata) if metadata.len() == entry.size => {
                        drop(found.insert(entry.key.clone(), entry))
                    }
                    // A receipt may be older than what it speaks of.
                    _ if !is_committed => {}
                    found => {
                        let size = found.map_or("is missing".to_owned(), |found| {
                            format!("has {} bytes", found.len())
                        });
                        let path = path.display();
                        terminal::say(&format!(
                            "curate: warning: {path} {size}, {} were committed; it is made again",
                            entry.size
                        ));
                    }
                }
            }
        };
        for (commit, is_committed) in [(run.stale(stage), false), (run.commit(stage)?, true)] {
            let Some(commit) = commit else { continue };
            for (table, files) in commit.tables {
                add(&table, files, is_committed);
            }
            add(stage, commit.files, is_committed);
        }
        add(stage, run.read_receipts(stage), false);
        for table in tables {
            add(table, run.read_receipts(table), false);
        }
        Ok(Existing(found))
    }

    /// The entry with this key.
    pub fn get(&self, key: &str) -> Option<&FileEntry> {
        self.0.get(key)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &FileEntry> {
        self.0.values()
    }
}
