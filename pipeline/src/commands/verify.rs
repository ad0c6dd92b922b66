//! `curate verify` reads all committed files again. It checks digests, rows, schemas, alignment,
//! counts and conservation between stages, and whether `run.json` and `views.sql` follow from the
//! committed files.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use curate_formats::numbers::{counted, size};
use curate_schemas::commit::{Commit, Counts, FileEntry};
use curate_schemas::spec::Removes;
use curate_schemas::stages::{self, documents::DOCUMENTS};
use curate_schemas::tables::{self, Shape};
use curate_stages::bytes_read;
use curate_store::failure::Exit;
use curate_store::run_dir::{COMMIT, Outdated, RunDir};
use curate_store::terminal::printable;
use curate_store::writer::content_digest;
use curate_store::zip::{Part, Zip, file_digest, open_parquet};
use curate_store::{durable, terminal};

use crate::driver::{count, edit, edited_bytes};
use crate::report;
use crate::report::views;

/// The files of the same shard that a row-aligned file is checked against.
#[derive(Clone, Copy, Default)]
struct Beside<'a> {
    /// The file of `documents`.
    documents: Option<&'a FileEntry>,
    /// The file with the lengths of the texts that the stage read.
    bytes: Option<&'a FileEntry>,
}

/// Prints each damage and how to repair it. The exit code is 1 if anything is damaged.
///
/// # Errors
/// If the directory is not a run directory, or if a file cannot be read for a reason that is not in
/// the file.
pub fn print(root: &Path, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(root)?;
    let check = Check::of(&run)?;

    for Damage { path, what } in &check.damages {
        writeln!(
            out,
            "{}: {}",
            printable(&path.to_string_lossy()),
            printable(what)
        )?;
    }

    if check.damages.is_empty() {
        // A run that is not finished has no `run.json`.
        let state = if run.report().exists() {
            "whole"
        } else {
            "whole, but the run is not finished"
        };
        writeln!(
            out,
            "{}, {}: {state}",
            counted(check.files, "file"),
            size(check.bytes)
        )?;
        for outdated in &check.outdated {
            writeln!(
                out,
                "{}: only bytes were checked: {outdated}",
                outdated.stage
            )?;
        }
        return Ok(ExitCode::SUCCESS);
    }

    writeln!(
        out,
        "{} damages in {} files",
        check.damages.len(),
        check.files
    )?;

    // The copy of the manifest may be damaged or not there yet. Then the reader fills in its path.
    let file = run
        .manifest()
        .map(|manifest| manifest.file)
        .unwrap_or_default();
    let manifest = if file.is_empty() { "MANIFEST" } else { &file };
    let command = format!(
        "curate run {manifest} --run-dir {} --repair",
        root.display()
    );
    writeln!(
        out,
        "\nhint: this command makes the named files again, and nothing else (with the --set that the run had): {}",
        printable(&command)
    )?;
    Ok(ExitCode::from(Exit::No as u8))
}

/// Deletes damaged files, so that a run makes them again, and names each of them on stderr.
///
/// # Errors
/// If a damaged file cannot be deleted, or if the check itself fails.
pub fn clear(run: &RunDir) -> Result<()> {
    for Damage { path, what } in Check::of(run)?.damages {
        terminal::say(&format!("curate: repair: {}: {what}", path.display()));
        durable::remove(&path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(())
}

/// A file, and what is wrong with it.
struct Damage {
    path: PathBuf,
    what: String,
}

/// The state of a check: what was read so far, and what is damaged.
struct Check<'a> {
    run: &'a RunDir,
    /// Number of files that were checked.
    files: u64,
    /// Size of the committed data files, bytes.
    bytes: u64,
    damages: Vec<Damage>,
    /// Stages that other versions of their code wrote. Only the bytes of their files are checked.
    outdated: Vec<Outdated>,
    /// Error of a file that could not be read for a reason that is not in the file.
    unread: Option<anyhow::Error>,
}

impl<'a> Check<'a> {
    /// Checks a whole run directory.
    fn of(run: &'a RunDir) -> Result<Self> {
        let mut check = Check {
            run,
            files: 0,
            bytes: 0,
            damages: Vec::new(),
            outdated: Vec::new(),
            unread: None,
        };
        check.stages()?;
        check.summaries();

        // A disk that cannot be read is not damage, and no file may be deleted for it.
        match check.unread.take() {
            Some(error) => Err(error),
            None => Ok(check),
        }
    }

    /// Checks the commits of all stages, each against the earlier ones.
    fn stages(&mut self) -> Result<()> {
        let mut commits: Vec<Commit> = Vec::new();

        // Folders come in the order of the stages.
        for name in self.run.folders()? {
            match self.run.commit(&name) {
                Ok(Some(commit)) if commit.stage == name => {
                    self.commit(&commit, &commits);
                    commits.push(commit);
                }
                // A commit that was copied from another folder is whole in itself.
                Ok(Some(commit)) => self.damage(
                    &name,
                    COMMIT,
                    &format!("it says that it belongs to stage {}", commit.stage),
                ),
                Ok(None) => {}
                Err(error) if is_of_the_system(&error) => return Err(error),
                Err(error) => self.damage(&name, COMMIT, &format!("{error:#}")),
            }
            self.files += u64::from(self.run.table(&name).join(COMMIT).exists());
        }
        Ok(())
    }

    /// Notes a damage of a file in the folder of a table.
    fn damage(&mut self, table: &str, file: &str, what: &str) {
        self.damages.push(Damage {
            path: self.run.table(table).join(file),
            what: what.to_owned(),
        });
    }

    /// Checks the files of a commit, its counts, and its fit with the commits `before` it.
    fn commit(&mut self, commit: &Commit, before: &[Commit]) {
        let stage = &commit.stage;
        let documents = before.iter().find(|commit| commit.stage == DOCUMENTS.name);
        let mut counts = Counts::default();

        let outdated = self.run.outdated(commit.version, stage);
        let is_outdated = outdated.is_some();
        self.outdated.extend(outdated);
        for (shard, file) in commit.files.iter().enumerate() {
            // A file cannot be compared with columns of another version.
            let of = |stage: &str| {
                let commit = before.iter().find(|commit| commit.stage == stage)?;
                let is_current = self.outdated.iter().all(|outdated| outdated.stage != stage);
                commit.files.get(shard).filter(|_| is_current)
            };
            let beside = Beside {
                documents: of("documents"),
                bytes: of(bytes_read(stage).table),
            };
            self.file(stage, file, beside, is_outdated);
            counts.add(file.counts.as_ref().unwrap_or(&Counts::default()));
        }
        for (table, files) in &commit.tables {
            for file in files {
                // Further tables are not row-aligned, so there is nothing to compare them with.
                self.file(table, file, Beside::default(), is_outdated);
                counts.add(file.counts.as_ref().unwrap_or(&Counts::default()));
            }
        }

        if counts != commit.counts {
            self.damage(
                stage,
                COMMIT,
                "its counts are not the sum of the counts of its files",
            );
        }
        if !commit.counts.is_conserved() {
            self.damage(stage, COMMIT, "documents or bytes are lost or doubled");
        }

        let mut aligned = stages::aligned().skip(1);
        let is_aligned = aligned.any(|spec| spec.name == stage);
        if is_aligned
            && documents.is_some_and(|documents| documents.files.len() != commit.files.len())
        {
            self.damage(
                stage,
                COMMIT,
                "its number of shards differs from that of documents",
            );
        }

        // The stage before is looked up by name: if its commit is damaged, the last commit in
        // `before` is that of an earlier stage.
        let earlier = stages::aligned().take_while(|spec| spec.name != stage);
        let before_it = earlier.last().map(|spec| spec.name);
        let previous = before
            .iter()
            .find(|previous| before_it == Some(&previous.stage));
        if is_aligned
            && previous
                .is_some_and(|previous| previous.counts.docs.kept != commit.counts.docs.arrived)
        {
            self.damage(
                stage,
                COMMIT,
                "the number of documents that arrived is not the number that the stage before kept",
            );
        }
    }

    /// Checks one file and notes its damage.
    fn file(&mut self, folder: &str, file: &FileEntry, beside: Beside, is_outdated: bool) {
        self.files += 1;
        self.bytes += file.size;
        let path = self.run.table(folder).join(&file.path);

        if let Err(error) = self.check_file(folder, &path, file, beside, is_outdated) {
            if is_of_the_system(&error) {
                self.unread = Some(error.context(format!("cannot read {}", path.display())));
                return;
            }
            self.damages.push(Damage {
                path,
                what: format!("{error:#}"),
            });
        }
    }

    /// Compares one file with its entry in the commit. The columns of an outdated file are not read.
    fn check_file(
        &self,
        folder: &str,
        path: &Path,
        file: &FileEntry,
        beside: Beside,
        is_outdated: bool,
    ) -> Result<()> {
        check_bytes(path, file)?;
        if is_outdated {
            return Ok(());
        }

        // A folder such as `mix/general` holds the table `mix`.
        let table = folder.split('/').next().unwrap_or(folder);
        let schema = tables::schema(table);
        let found = open_parquet(path)?;
        ensure!(
            found.schema().fields() == schema.fields(),
            "its columns are not those of {table}"
        );

        let columns: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        // The digest was compared above, so the reader need not compare it again.
        let mut parts = vec![Part::of(self.run.unchecked(folder, &file.path), &columns)];
        let aligned = tables::table(table).is_some_and(|table| table.shape == Shape::Aligned)
            && table != "documents";

        // A file is not blamed for the damage of a file that it would be compared with.
        let is_damaged = |table: &str, file: Option<&FileEntry>| {
            let path = self
                .run
                .table(table)
                .join(file.map_or(COMMIT, |file| &file.path));
            self.damages.iter().any(|damage| damage.path == path)
        };
        let read = bytes_read(table);
        let has_damage = beside.bytes.is_none()
            || is_damaged("documents", beside.documents)
            || is_damaged(read.table, beside.bytes);
        if let Some(documents) = beside.documents.filter(|_| aligned && !has_damage) {
            let columns = vec![("doc_id".to_owned(), "documents.doc_id".to_owned())];
            parts.push(Part {
                file: self.run.unchecked(DOCUMENTS.name, &documents.path),
                columns,
            });

            let of = beside
                .bytes
                .with_context(|| format!("it depends on {}, which is not committed", read.table))?;
            let columns = vec![(read.column.to_owned(), "seen.bytes".to_owned())];
            parts.push(Part {
                file: self.run.unchecked(read.table, &of.path),
                columns,
            });
        }

        let removes = stages::stage(table).map_or(Removes::Documents, |stage| stage.removes);
        check_rows(parts, removes, file)
    }

    /// Checks that `run.json` and `views.sql` follow from the committed files. A run that is not
    /// finished has no `run.json`, and its views may be one commit behind, so nothing is checked.
    fn summaries(&mut self) {
        let (report, views) = (self.run.report(), self.run.root().join("views.sql"));
        // What another version wrote is not what this one would write.
        if !report.exists() || !self.outdated.is_empty() {
            return;
        }

        let manifest = self.run.manifest();
        let expected = manifest
            .and_then(|manifest| report::build(self.run, &manifest))
            .and_then(|report| report::to_bytes(&report));
        self.summary(report, expected);
        self.summary(views, views::sql(self.run).map(String::into_bytes));
    }

    /// Compares one summary with the bytes that it must have.
    fn summary(&mut self, path: PathBuf, expected: Result<Vec<u8>>) {
        self.files += 1;
        let what = match (fs::read(&path), expected) {
            (Ok(found), Ok(expected)) if expected == found => return,
            (Ok(_), Ok(_)) => "it does not follow from what is committed".to_owned(),
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => format!("it cannot be checked: {error:#}"),
        };
        self.damages.push(Damage { path, what });
    }
}

/// True if reading failed rather than what was read. A file that may not be opened, for example, is
/// not damaged.
fn is_of_the_system(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, NotFound, Other, UnexpectedEof};

    // These kinds are the fault of the file: it is missing, or its content is damaged.
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| {
        !matches!(cause.kind(), NotFound | UnexpectedEof | InvalidData | Other)
    })
}

/// Compares the size and the digest of a file with the committed ones.
fn check_bytes(path: &Path, file: &FileEntry) -> Result<()> {
    let handle = match File::open(path) {
        Ok(handle) => handle,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("it is missing"),
        Err(error) => return Err(error.into()),
    };

    // The size first: a file of another size need not be read.
    let size = handle.metadata()?.len();
    ensure!(
        size == file.size,
        "it has {size} bytes, {} were committed",
        file.size
    );

    let digest = file_digest(path)?;
    ensure!(
        digest == file.digest,
        "its digest is {digest}, {} was committed",
        file.digest
    );
    Ok(())
}

/// Compares the rows of a file with what was committed: their number and digest, their order, and
/// where their documents went. `parts[0]` is the file. A row-aligned file comes with the parts that
/// it is compared with.
fn check_rows(parts: Vec<Part>, removes: Removes, file: &FileEntry) -> Result<()> {
    let own: Vec<usize> = (0..parts[0].columns.len()).collect();
    let aligned = parts.len() > 1;
    let (mut rows, mut content, mut counts) = (0u64, 0u128, Counts::default());

    for batch in Zip::open(&parts)? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        // The digest of a file is the sum of its batches', so batches of any size give it.
        content = content.wrapping_add(content_digest(&batch.project(&own)?)?);
        if !aligned {
            continue;
        }

        let column = |name: &str| {
            batch
                .column_by_name(name)
                .with_context(|| format!("it has no column {name}"))
        };
        let (ids, documents) = (
            column("doc_id")?.as_string::<i32>(),
            column("documents.doc_id")?.as_string::<i32>(),
        );
        ensure!(ids == documents, "its rows are not in the documents' order");

        let bytes = column("seen.bytes")?.as_primitive::<UInt64Type>();
        let reached = column("reached")?.as_boolean();
        let removed = batch
            .column_by_name("removed_by")
            .map(|column| column.as_string::<i32>());

        // Counted as the run counts, so that a changed verdict shows.
        for row in (0..batch.num_rows()).filter(|&row| reached.value(row)) {
            let reason = removed
                .filter(|removed| removed.is_valid(row))
                .map(|removed| removed.value(row));
            count(&mut counts.docs, removes, reason, 1);
            count(&mut counts.bytes, removes, reason, bytes.value(row));
            if let Some(after) = edited_bytes(&batch) {
                edit(&mut counts.bytes, bytes.value(row), after.value(row));
            }
        }
    }

    ensure!(
        rows == file.rows,
        "it has {rows} rows, {} were committed",
        file.rows
    );
    let content = format!("{content:032x}");
    ensure!(
        content == file.content,
        "its rows' digest is {content}, {} was committed",
        file.content
    );
    ensure!(
        !aligned || file.counts.as_ref() == Some(&counts),
        "its counts of documents or bytes are not those that were committed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::driver::{Driver, EarlierRuns};
    use curate_store::zip::Reading;

    const MANIFEST: &str = r#"
        [run]
        name = "small"
        max_quarantine_ratio = 0.5
        [[source]]
        name = "s"
        path = "in.jsonl"
        [clean]
        [dedup.exact]
        [dedup.near]
        [[mixture]]
        name = "m"
        tokens = 20
    "#;

    /// A finished run of six documents and a record that cannot be read.
    fn finished(folder: &Path) -> RunDir {
        let lines: String = (0..6)
            .map(|n| format!("{{\"text\": \"Prose number {n}, and what it says.\"}}\n"))
            .collect();
        fs::write(folder.join("in.jsonl"), lines + "no record\n").expect("written");
        fs::write(folder.join("manifest.toml"), MANIFEST).expect("written");

        let mut manifest =
            crate::manifest::load(&folder.join("manifest.toml"), &[]).expect("a manifest");
        manifest.run.dir = folder.join("run");
        let run = RunDir::create(&manifest.run.dir, "small", false, Reading::new(None))
            .expect("a run directory");
        let earlier = EarlierRuns::open(&manifest).expect("no earlier run");
        let driver = Driver::new(manifest, run, earlier, 1, false).expect("a driver");
        let mut done = driver.run(None).expect("a run");
        driver.run_mixtures(&mut done).expect("mixtures");

        driver
            .run
            .write_manifest(&driver.manifest)
            .expect("written");
        let report = report::build(&driver.run, &driver.manifest).expect("a report");
        driver
            .run
            .write(
                &driver.run.report(),
                &report::to_bytes(&report).expect("JSON"),
            )
            .expect("written");
        driver.run
    }

    /// Flips a bit of each byte of a file, one byte at a time, and asserts that `objects` returns
    /// true each time. Returns the number of bytes.
    fn each_byte(path: &Path, mut objects: impl FnMut() -> bool) -> u64 {
        let bytes = fs::read(path).expect("a file");
        let file = File::options().write(true).open(path).expect("a file");
        for (at, byte) in bytes.iter().enumerate() {
            file.write_all_at(&[byte ^ 1 << (at % 8)], at as u64)
                .expect("written");
            assert!(
                objects(),
                "{}: a changed byte at {at} is not seen",
                path.display()
            );
            file.write_all_at(&[*byte], at as u64).expect("written");
        }
        bytes.len() as u64
    }

    #[test]
    fn every_byte_of_every_committed_file_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = finished(folder.path());
        let mut check = Check::of(&run).expect("a check");
        let damages: Vec<&String> = check.damages.iter().map(|damage| &damage.what).collect();
        assert!(damages.is_empty(), "{damages:?}");

        let (mut files, mut flipped) = (0, 0);
        let stages = run.folders().expect("folders");
        for stage in stages.iter().map(String::as_str) {
            let commit = run.commit(stage).expect("a commit").expect("it is there");
            let own = commit.files.iter().map(|file| (stage, file));
            let others = commit
                .tables
                .iter()
                .flat_map(|(table, files)| files.iter().map(|file| (table.as_str(), file)));
            for (table, file) in own.chain(others) {
                flipped += each_byte(&run.table(table).join(&file.path), || {
                    check.damages.clear();
                    check.file(table, file, Beside::default(), false);
                    !check.damages.is_empty()
                });
                files += 1;
            }

            let path = run.table(stage).join(COMMIT);
            flipped += each_byte(
                &path,
                || !matches!(run.commit(stage), Ok(Some(commit)) if commit.stage == stage),
            );
            files += 1;
        }

        for path in [run.report(), run.root().join("views.sql")] {
            let expected = fs::read(&path).expect("a file");
            flipped += each_byte(&path, || {
                check.damages.clear();
                check.summary(path.clone(), Ok(expected.clone()));
                !check.damages.is_empty()
            });
            files += 1;
        }

        assert!(
            Check::of(&run).expect("a check").damages.is_empty(),
            "every byte was put back"
        );
        println!(
            "figure: bytes flipped: {flipped}\nfigure: files with every byte flipped: {files}"
        );
        assert!(flipped > 50_000);
    }
}
