//! The files that a stage must consist of, and the files that exist. Each expected file has a key,
//! which is made from the settings of the stage and from the keys of the files that it reads. No
//! data is read, so `curate plan` finds the same files as a run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use curate_schemas::commit::FileEntry;
use curate_stages::{AnyStage, Stage, all_reads};
use curate_store::run_dir::RunDir;
use curate_store::{key, terminal};
use serde_json::{Map, Value};

/// A file that a stage must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Name of the table that the file belongs to.
    pub table: String,
    /// Name of the file in the folder of the table.
    pub path: String,
    /// Key of the file, 64 hex digits.
    pub key: String,
    /// Parts of the key, by name: settings, resources, and keys of files that are read.
    pub parts: BTreeMap<String, String>,
}

/// Keys of the files of each table so far, by table, in the order of the shards.
pub type Keys = BTreeMap<String, Vec<String>>;

/// The files of a row-aligned stage: one for each file of `documents`, then one for each further
/// table. `arriving` is the number of documents that reach the stage.
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

    // The parts that all files of the stage share.
    let mut common: BTreeMap<String, String> =
        [("config".to_owned(), base.config().to_string())].into();
    common.extend(
        base.resources(arriving)
            .into_iter()
            .map(|(name, digest)| (name.to_owned(), digest)),
    );

    // A shard stage sees one shard, so a file depends on the files of that shard alone.
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

    // Any document may change the decision on any other, so each file depends on all shards of the
    // tables that are read. Its number keeps shards of equal documents apart.
    common.insert("corpus".to_owned(), corpus_digest(&tables, keys)?);
    let mut files = Vec::new();
    for (shard, document) in documents.iter().enumerate() {
        let mut parts = common.clone();
        parts.insert("documents".to_owned(), document.key.clone());
        parts.insert("shard".to_owned(), shard.to_string());
        files.push(file(base, base.name(), number(&document.path), parts));
    }

    // A further table is one file for the whole corpus.
    for table in base.spec().further_tables() {
        files.push(file(base, table, "00000", common.clone()));
    }
    Ok(files)
}

/// A file of `table` with the part number `number` and the parts of its key.
fn file(stage: &dyn Stage, table: &str, number: &str, parts: BTreeMap<String, String>) -> Expected {
    let key = key::of_parts(table, stage.spec().version, &parts);
    Expected {
        table: table.to_owned(),
        path: format!("part-{number}-{}.parquet", key::short(&key)),
        key,
        parts,
    }
}

/// A setting that differs between two keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Path of the setting; empty if a whole value is one setting.
    pub path: String,
    /// The first value; null if the setting is absent.
    pub one: Value,
    /// The other value; null if the setting is absent.
    pub other: Value,
}

/// The settings that differ between two JSON values, in the order of their paths.
pub fn differences(one: &Value, other: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", one, other, &mut found);
    found
}

/// Adds the settings that differ between two values at `path`.
fn compare(path: &str, one: &Value, other: &Value, found: &mut Vec<Difference>) {
    let (Value::Object(inner), Value::Object(others)) = (one, other) else {
        if one != other {
            found.push(Difference {
                path: path.to_owned(),
                one: one.clone(),
                other: other.clone(),
            });
        }
        return;
    };

    let names: BTreeSet<&String> = inner.keys().chain(others.keys()).collect();
    for name in names {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let value = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
        compare(&path, &value(inner), &value(others), found);
    }
}

/// The part number in `part-00000-<key8>.parquet`. Empty for names of another form.
pub fn number(path: &str) -> &str {
    path.strip_prefix("part-")
        .and_then(|rest| rest.split('-').next())
        .unwrap_or_default()
}

/// Names of the tables that a stage reads, each once, sorted.
pub fn tables_read(stage: &dyn Stage) -> Vec<&'static str> {
    let mut tables: Vec<&'static str> = all_reads(stage).iter().map(|read| read.table).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// One digest over the keys of all shards of `tables`, 64 hex digits.
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

/// The files of `wanted` that do not exist and have to be computed.
pub fn missing<'w>(wanted: &'w [Expected], existing: &Existing) -> Vec<&'w Expected> {
    wanted
        .iter()
        .filter(|file| existing.get(&file.key).is_none())
        .collect()
}

/// The files of a stage that exist already, by key. They come from its commit, from its retired
/// commit, and from receipts of finished shards that were not committed.
pub struct Existing(BTreeMap<String, FileEntry>);

impl Existing {
    /// Finds the files of a stage and of its further `tables` in a run directory. A file that is
    /// missing or has another size is left out.
    ///
    /// # Errors
    /// Exit 70 if the commit of the stage is damaged.
    pub fn load(run: &RunDir, stage: &str, tables: &[&str]) -> Result<Existing> {
        let mut found = BTreeMap::new();
        let mut add = |table: &str, entries: Vec<FileEntry>, is_committed: bool| {
            for entry in entries {
                // A receipt has no digest of its own. The name is checked against the key, so that
                // an edited receipt cannot lead to a file of another key.
                let path = run.table(table).join(&entry.path);
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
                    // Only a committed file must exist. Others may have been replaced.
                    _ if !is_committed => {}
                    found => {
                        let size = found.map_or("is missing".to_owned(), |found| {
                            format!("has {} bytes", found.len())
                        });
                        let path = path.display();
                        terminal::say(&format!(
                            "curate: warning: {path} {size}, {} bytes were committed; \
                             it is made again",
                            entry.size
                        ));
                    }
                }
            }
        };

        // Later entries replace earlier ones of the same key. A receipt is written after its file
        // and deleted after the commit, so it describes the newest file.
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

    /// The entry of the file with this key, or `None` if there is no such file.
    pub fn get(&self, key: &str) -> Option<&FileEntry> {
        self.0.get(key)
    }

    /// The entries of all files, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &FileEntry> {
        self.0.values()
    }
}
