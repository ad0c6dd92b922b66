//! `curate plan` prints which stages are cached, which shards are not, and which part of their key
//! changed. It asks the same questions as a run, but reads no input and writes nothing.
//!
//! A stage is cached for a plan if it is cached for the run that follows: if all its files exist.
//! There is one exception. The plan takes an input file that has to be read for new. If the file
//! was only touched, or if it holds no document, the run finds more cached than the plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use curate_formats::numbers::{counted, size};
use curate_ingest::inputs::{Unit, find};
use curate_schemas::Manifest;
use curate_schemas::commit::{Commit, FileEntry};
use curate_schemas::stages::coverage::COVERAGE;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_stages::{AnyStage, Stage};
use curate_store::key;
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use serde_json::Value;

use super::say_notes;
use crate::driver::{
    Difference, EarlierRuns, Existing, Expected, InputState, Keys, coverage_expected, differences,
    expected, input_states, load_stages, missing, number, replaced, tables_read, warn_of_no_list,
};
use crate::mixing::{POOL_TABLES, mixtures_expected, whole_folder};

/// Prints what a run would do. With `until` the last stage is that one.
///
/// # Errors
/// The errors of a run: a missing input, a run directory of another run, a damaged commit.
pub fn print(manifest: &Manifest, until: Option<&str>, out: &mut impl Write) -> Result<ExitCode> {
    let dir = &manifest.run.dir;
    RunDir::check_owner(dir, &manifest.run.name, false)?;

    // A plan must not create the directory that a first run would.
    let run = dir
        .join(".curate/run.json")
        .exists()
        .then(|| RunDir::open(dir))
        .transpose()?;
    let inputs = find(manifest)?;
    say_notes(&inputs.notes);
    let states = input_states(manifest, inputs.units, run.as_ref())?;
    // A plan refuses the same settings as a run.
    let loaded = load_stages(manifest, &EarlierRuns::open(manifest)?, 1)?;
    warn_of_no_list(manifest);

    let new: Vec<&Unit> = states
        .iter()
        .filter(|(_, state)| matches!(state, InputState::New))
        .map(|(unit, _)| unit)
        .collect();
    if !new.is_empty() {
        print_new(manifest, &new, out)?;
    }
    let Some(run) = run else {
        let last = until.map_or(String::new(), |stage| format!(" up to {stage}"));
        writeln!(
            out,
            "then every stage{last}, for the shards that these files become"
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    for sentence in replaced(manifest, &run, &states)? {
        writeln!(out, "note: {}", printable(&sentence))?;
    }

    let committed = run.commit(DOCUMENTS.name)?;
    if let Some(commit) = &committed
        && let Some(outdated) = run.outdated(commit.version, DOCUMENTS.name)
    {
        writeln!(out, "documents: {outdated}")?;
    }

    // Units that are read and not committed have no part numbers yet, so their shards are new.
    let (mut documents, mut unfinished) = (Vec::new(), 0);
    let mut quarantine: Vec<&FileEntry> = Vec::new();
    for (_, state) in &states {
        match state {
            InputState::Committed(result) => {
                documents.extend(result.shards.iter().cloned());
                quarantine.extend(&result.quarantine);
            }
            InputState::Finished(_) => unfinished += 1,
            InputState::New => {}
        }
    }
    if unfinished > 0 {
        let units = counted(unfinished, "unit");
        writeln!(out, "documents: {units} to commit, read by an earlier run")?;
    }
    let is_complete = new.is_empty() && unfinished == 0;
    if is_complete {
        let shards = counted(documents.len() as u64, "shard");
        writeln!(out, "documents: {shards}, cached")?;
    }

    // The key that the commit of `documents` will have, if no input is new.
    let files = documents.iter().chain(quarantine);
    let documents_key = key::of_files(DOCUMENTS.name, DOCUMENTS.version, files);
    let mut plan = Plan {
        run: &run,
        keys: Keys::new(),
        kept: BTreeMap::new(),
        changed: BTreeSet::new(),
        unknown: BTreeSet::new(),
        documents,
        is_complete,
    };
    plan.start(committed.as_ref());
    let coverage = coverage_expected(manifest, documents_key)?;
    plan.folder(&coverage, &[DOCUMENTS.name], out)?;
    if until.is_some_and(|until| [DOCUMENTS.name, COVERAGE.name].contains(&until)) {
        return Ok(ExitCode::SUCCESS);
    }

    for stage in &loaded {
        plan.stage(stage, out)?;
        if until == Some(stage.stage().name()) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    plan.mixtures(manifest, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the input files that a run would read, and the first five units by name.
fn print_new(manifest: &Manifest, new: &[&Unit], out: &mut impl Write) -> Result<()> {
    let files: usize = new.iter().map(|unit| unit.files.len()).sum();
    let bytes: u64 = new
        .iter()
        .flat_map(|unit| &unit.files)
        .map(|file| file.size)
        .sum();

    let files = counted(files as u64, "input file");
    writeln!(out, "documents: {files} to read, {}", size(bytes))?;
    for unit in new.iter().take(5) {
        // A unit has at least one file, and the first names it.
        writeln!(
            out,
            "  {} (source {})",
            printable(&unit.files[0].relative),
            manifest.source[unit.source].name
        )?;
    }
    if new.len() > 5 {
        writeln!(out, "  and {} more", new.len() - 5)?;
    }
    Ok(())
}

/// A plan, as far as it is made.
struct Plan<'a> {
    run: &'a RunDir,
    /// Keys of the files of each table, as the run will have them. The keys of new shards are
    /// unknown and left out.
    keys: Keys,
    /// Documents that each cached stage kept.
    kept: BTreeMap<String, u64>,
    /// Tables whose keys differ from those of the last run.
    changed: BTreeSet<String>,
    /// Tables that rest on all shards while some shards are unknown, so that all their shards
    /// change.
    unknown: BTreeSet<String>,
    /// The committed shards of `documents` that stay.
    documents: Vec<FileEntry>,
    /// True if no input is new, so that the keys of all shards are known.
    is_complete: bool,
}

impl Plan<'_> {
    /// Begins with `documents`, whose commit is that of the last run.
    fn start(&mut self, committed: Option<&Commit>) {
        let keys: Vec<String> = self.documents.iter().map(|file| file.key.clone()).collect();
        let is_same = committed.is_some_and(|commit| is_same(commit, &keys));
        if !is_same || !self.is_complete {
            self.changed.insert(DOCUMENTS.name.to_owned());
        }

        let counts = self.documents.iter().flat_map(|file| &file.counts);
        let kept = counts.map(|counts| counts.docs.kept).sum();
        self.kept.insert(DOCUMENTS.name.to_owned(), kept);
        self.keys.insert(DOCUMENTS.name.to_owned(), keys);
    }

    /// Prints the line of a stage behind `documents`.
    fn stage(&mut self, stage: &AnyStage, out: &mut impl Write) -> Result<()> {
        let base = stage.stage();
        let name = base.name();

        // The number of documents that arrive is that of the last run if the stage before has to
        // run again. The keys of this stage change then in any case.
        let arriving = match self.kept.get(base.follows()) {
            Some(kept) => *kept,
            None => self
                .run
                .commit(base.follows())?
                .or_else(|| self.run.stale(base.follows()))
                .map_or(0, |commit| commit.counts.docs.kept),
        };
        let wanted = expected(stage, arriving, &self.documents, &self.keys)?;
        let own: Vec<&Expected> = wanted.iter().filter(|file| file.table == name).collect();
        let keys: Vec<String> = own.iter().map(|file| file.key.clone()).collect();
        let existing = Existing::load(self.run, name, &base.spec().further_tables())?;

        if !self.is_complete {
            self.incomplete(stage, &own, &existing, out)?;
        } else {
            let missing = missing(&wanted, &existing);
            if missing.is_empty() {
                writeln!(out, "{name}: {}, cached", shards(own.len()))?;
                let files = own.iter().filter_map(|file| existing.get(&file.key));
                let counts = files.filter_map(|file| file.counts.as_ref());
                let kept = counts.map(|counts| counts.docs.kept).sum();
                self.kept.insert(name.to_owned(), kept);
            } else {
                self.to_do(base, &missing, own.len(), out)?;
            }
        }

        let former = self.run.commit(name)?.or_else(|| self.run.stale(name));
        if !self.is_complete || !former.is_some_and(|commit| is_same(&commit, &keys)) {
            self.changed.insert(name.to_owned());
        }
        self.keys.insert(name.to_owned(), keys);
        Ok(())
    }

    /// Prints the line of a stage of which the files `missing` are missing. `all` is the number of
    /// its shards.
    fn to_do(
        &self,
        stage: &dyn Stage,
        missing: &[&Expected],
        all: usize,
        out: &mut impl Write,
    ) -> Result<()> {
        let name = stage.name();
        let why = self.why(name, &tables_read(stage), missing)?;

        let own = missing.iter().filter(|file| file.table == name).count();
        let what = match own {
            // All shards exist, so a further table of the stage is missing.
            0 => format!("the table {}", missing[0].table),
            own => format!("{own} of {}", shards(all)),
        };
        writeln!(out, "{name}: {what} to do: {why}")?;
        Ok(())
    }

    /// Prints the line of a stage while there are new inputs, whose shards are not known. Every
    /// stage has these shards to do.
    fn incomplete(
        &mut self,
        stage: &AnyStage,
        own: &[&Expected],
        existing: &Existing,
        out: &mut impl Write,
    ) -> Result<()> {
        let name = stage.stage().name();
        let reads = tables_read(stage.stage());
        let unknown = reads
            .into_iter()
            .find(|table| self.unknown.contains(*table));

        // What a stage over all shards decides may change in any shard, and so may what rests on
        // such a stage.
        let is_corpus = matches!(stage, AnyStage::Corpus(_));
        if is_corpus || unknown.is_some() {
            self.unknown.insert(name.to_owned());
        }
        let why = match unknown {
            _ if is_corpus => "it looks at all shards, and there are new ones".to_owned(),
            Some(table) => format!("{table} changed"),
            None => {
                let missing = own.iter().filter(|file| existing.get(&file.key).is_none());
                let cached = own.len() - missing.count();
                let shards = shards(own.len());
                writeln!(
                    out,
                    "{name}: {cached} of {shards} cached, and the new files to do"
                )?;
                return Ok(());
            }
        };
        writeln!(out, "{name}: all shards to do: {why}")?;
        Ok(())
    }

    /// Prints the lines of buckets and mixtures.
    fn mixtures(&self, manifest: &Manifest, out: &mut impl Write) -> Result<()> {
        for (file, _) in mixtures_expected(manifest, &self.keys)? {
            self.folder(&file, &POOL_TABLES, out)?;
        }
        Ok(())
    }

    /// Prints the line of a folder that rests on all shards of the tables `reads`. `file` is its
    /// first file.
    fn folder(&self, file: &Expected, reads: &[&str], out: &mut impl Write) -> Result<()> {
        let name = &file.table;
        if !self.is_complete {
            writeln!(
                out,
                "{name}: to do: it looks at all shards, and there are new ones"
            )?;
        } else if whole_folder(self.run, file)?.is_some() {
            writeln!(out, "{name}: cached")?;
        } else {
            let why = self.why(name, reads, &[file])?;
            writeln!(out, "{name}: to do: {why}")?;
        }
        Ok(())
    }

    /// Why files of a stage are missing: what changed in the key of the first one that the last run
    /// had, too. `reads` are the tables that the stage reads.
    fn why(&self, name: &str, reads: &[&str], missing: &[&Expected]) -> Result<String> {
        let commit = self.run.commit(name)?.or_else(|| self.run.stale(name));
        let Some(commit) = commit else {
            return Ok("not done yet".to_owned());
        };
        if let Some(outdated) = self.run.outdated(commit.version, name) {
            return Ok(outdated.to_string());
        }

        let of_table = |table: &str| match table == name {
            true => Some(&commit.files),
            false => commit.tables.get(table),
        };
        let inputs = self.inputs_changed(reads);
        let why = missing.iter().find_map(|file| {
            let former = of_table(&file.table)?
                .iter()
                .find(|had| number(&had.path) == number(&file.path))?;
            let changes = changes(&former.parts, &file.parts, &inputs);
            // An equal key without a usable file: the file is gone or has another size.
            Some(if changes.is_empty() {
                "a file is not as it was committed".to_owned()
            } else {
                changes.join("; ")
            })
        });
        Ok(why.unwrap_or_else(|| "not done yet".to_owned()))
    }

    /// Which of the tables that a stage reads changed, in words.
    fn inputs_changed(&self, reads: &[&str]) -> String {
        let changed = reads.iter().filter(|table| self.changed.contains(**table));
        let names: Vec<&str> = changed.copied().collect();
        match names.is_empty() {
            true => "a table that it reads changed".to_owned(),
            false => format!("{} changed", names.join(" and ")),
        }
    }
}

/// True if a commit has files of these keys, in this order.
fn is_same(commit: &Commit, keys: &[String]) -> bool {
    commit.files.iter().map(|file| &file.key).eq(keys)
}

/// A number of shards, in words.
fn shards(n: usize) -> String {
    counted(n as u64, "shard")
}

/// Parts of a key by name, as [`Expected`] has them.
type Parts = BTreeMap<String, String>;

/// The differences between two keys. A setting is named with both values, another part by its name.
/// `inputs` says in words which tables changed. It stands for the digest of all shards of all
/// tables that a stage reads, which names none of them.
fn changes(before: &Parts, after: &Parts, inputs: &str) -> Vec<String> {
    let mut changes = Vec::new();
    let is_same = |name: &str| before.get(name) == after.get(name);
    for (name, value) in after {
        let former = before.get(name);
        // These two are parts of the digest `corpus`, too.
        let is_said = !is_same("corpus") && ["documents", "shard"].contains(&name.as_str());
        if is_same(name) || is_said {
            continue;
        }

        // Settings are JSON. The values of other parts, such as digests, tell a reader nothing.
        let values = former.and_then(|former| Some((parse(former)?, parse(value)?)));
        match values.filter(|_| name == "config") {
            Some((former, value)) => {
                let differences = differences(&former, &value);
                changes.extend(
                    differences
                        .into_iter()
                        .map(|Difference { path, one, other }| {
                            format!("{path} was {one}, is {other}")
                        }),
                );
            }
            None if name == "corpus" => changes.push(inputs.to_owned()),
            None => changes.push(format!("{name} changed")),
        }
    }

    changes.extend(
        before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .map(|name| format!("{name} is no longer a part of the key")),
    );
    changes
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_setting_is_named_with_both_values() {
        let parts = |min_words: u32, tokenizer: &str| -> Parts {
            let config =
                format!(r#"{{"gopher_quality":{{"min_words":{min_words},"max_words":9}}}}"#);
            [
                ("config".to_owned(), config),
                ("tokenizer".to_owned(), tokenizer.to_owned()),
            ]
            .into()
        };

        assert_eq!(
            changes(&parts(50, "a"), &parts(80, "a"), ""),
            ["gopher_quality.min_words was 50, is 80"]
        );
        assert_eq!(
            changes(&parts(50, "a"), &parts(50, "b"), ""),
            ["tokenizer changed"]
        );

        let corpus = |digest: &str| Parts::from([("corpus".to_owned(), digest.to_owned())]);
        assert_eq!(
            changes(&corpus("a"), &corpus("b"), "signals changed"),
            ["signals changed"]
        );
    }
}
