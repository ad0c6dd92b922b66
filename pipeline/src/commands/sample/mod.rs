//! `curate sample` shows texts: of documents that were kept, of documents that a rule removed, or of
//! the documents closest to a rule's threshold on both sides.
//!
//! Documents are drawn by a hash of seed and `doc_id`, so the same request shows the same documents,
//! whatever the shards and the number of threads. Narrow columns are scanned first, and only `n`
//! documents are held. Then the rows of the chosen documents are read, and nothing else.

mod card;
mod near;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use clap::Args;
use curate_formats::numbers::{counted, grouped};
use curate_schemas::commit::Commit;
use curate_schemas::rules::rules;
use curate_schemas::spec::{Removes, StageSpec};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::stages::{STAGES, filter::FILTER};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::Zip;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::document::{At, Committed};
use crate::driver::sources_of_shards;
use crate::manifest::closest;
use card::Printer;
use near::Edge;

/// The arguments of `curate sample`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory to read
    run: PathBuf,
    /// Documents that this rule removed; a family, such as gopher_quality, or a stage stands for all
    /// its rules
    #[arg(long, value_name = "RULE")]
    removed_by: Option<String>,
    /// Look at this stage: documents that it kept, or with --removed-by those that it removed;
    /// default: the last stage
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Documents of this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The documents closest to the threshold of a rule, n on each side; a rule, such as
    /// gopher_quality.short_doc, or its key, such as filter.gopher_quality.min_words
    #[arg(long, value_name = "RULE|KEY", conflicts_with_all = ["removed_by", "stage"])]
    near: Option<String>,
    /// Number of documents
    #[arg(short, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    n: u16,
    /// Seed of the draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Show texts as a whole, not their first 400 characters
    #[arg(long)]
    full: bool,
    /// Print a line of JSON for each document
    #[arg(long)]
    json: bool,
}

/// Prints a sample.
///
/// # Errors
/// Exit 2 if the path is no run directory, or if the run has no such rule, stage or source.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(&request.run)?;
    let committed = Committed::of(&run)?;
    let shards = shards_of(&committed, request.source.as_deref())?;
    let mut printer = Printer::new(&committed, request, out)?;

    if let Some(name) = &request.near {
        let edge = Edge::of(&committed, name)?;
        near::print(&committed, &shards, &edge, request, &mut printer)?;
        return Ok(ExitCode::SUCCESS);
    }

    let wanted = match &request.removed_by {
        Some(rule) => removing_stages(&committed, rule, request.stage.as_deref())?,
        None => vec![keeping_stage(&committed, request.stage.as_deref())?],
    };
    let mut drawn = Least::new(request.n);
    let mut documents = 0;
    for stage in &wanted {
        for shard in &shards {
            documents += draw(&committed, stage, *shard, request, &mut drawn)?;
        }
    }

    printer.title(&title(request, &wanted, drawn.len(), documents))?;
    for (number, at) in drawn.into_values().enumerate() {
        printer.document(number + 1, at, None)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a sample shows, in words.
fn title(request: &Request, stages: &[&StageSpec], drawn: usize, documents: u64) -> String {
    let what = match &request.removed_by {
        Some(rule) => format!("removed by {}", printable(rule)),
        None => {
            let names: Vec<&str> = stages.iter().map(|spec| spec.name).collect();
            format!("kept up to {}", names.join(", "))
        }
    };
    let source = request.source.as_ref();
    let source = source.map_or(String::new(), |name| format!(" of {}", printable(name)));
    let of = self::documents(documents);
    format!(
        "{drawn} of {of}{source} {what}, drawn with seed {}",
        request.seed
    )
}

/// The numbers of the shards of a source, or of all shards. A shard has one source.
///
/// # Errors
/// Exit 2 if the run has no such source.
fn shards_of(committed: &Committed, source: Option<&str>) -> Result<Vec<usize>> {
    let documents = committed
        .commit(DOCUMENTS.name)
        .context("documents are committed")?;
    let Some(source) = source else {
        return Ok((0..documents.files.len()).collect());
    };

    if !documents.sources.contains_key(source) {
        let names: Vec<&str> = documents.sources.keys().map(String::as_str).collect();
        let message = format!("the run has no source {}", printable(source));
        let hint = format!("its sources are {}", names.join(", "));
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    let sources = sources_of_shards(documents)?.into_iter().enumerate();
    let own = sources.filter(|(_, of)| *of == source);
    Ok(own.map(|(shard, _)| shard).collect())
}

/// The stage whose kept documents are shown: the one that is named, or the last committed one.
fn keeping_stage(committed: &Committed, name: Option<&str>) -> Result<&'static StageSpec> {
    let stages = &committed.stages;
    let found = match name {
        Some(name) => stages.iter().find(|(spec, _)| spec.name == name),
        None => stages.last(),
    };
    found.map(|(spec, _)| *spec).ok_or_else(|| {
        let names: Vec<&str> = stages.iter().map(|(spec, _)| spec.name).collect();
        let message = format!(
            "the run has no documents of a stage \"{}\"",
            printable(name.unwrap_or_default())
        );
        let hint = format!("its stages are {}", names.join(", "));
        Failure::new(Exit::Usage, message).hint(hint).into()
    })
}

/// The stages in which a rule removed documents.
///
/// # Errors
/// Exit 2 if there is no such rule or stage.
fn removing_stages(
    committed: &Committed,
    rule: &str,
    stage: Option<&str>,
) -> Result<Vec<&'static StageSpec>> {
    if let Some(stage) = stage {
        keeping_stage(committed, Some(stage))?;
    }

    let of_stage = committed.stages.iter();
    let of_stage = of_stage.filter(|(spec, _)| stage.is_none_or(|name| spec.name == name));
    let removing = of_stage.filter(|(spec, commit)| may_have(spec, commit, rule));
    let found: Vec<&StageSpec> = removing.map(|(spec, _)| *spec).collect();

    if found.is_empty() && !is_known(rule) {
        let mut names: Vec<String> = rules().map(|rule| rule.full_name()).collect();
        names.extend(rules().map(|rule| rule.family.to_owned()));
        for spec in STAGES.iter().filter(|spec| spec.may_remove()) {
            names.push(spec.name.to_owned());
            names.extend(spec.removals.iter().map(|removal| removal.name.to_owned()));
        }
        let hint = match closest(rule, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "curate rules lists them".to_owned(),
        };
        let message = format!("there is no rule \"{}\"", printable(rule));
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    Ok(found)
}

/// True if a stage removed documents for a reason that `rule` names, as far as its counts tell.
fn may_have(spec: &StageSpec, commit: &Commit, rule: &str) -> bool {
    let docs = &commit.counts.docs;
    // Duplicates and errors are counted without their reasons.
    let declared = spec.removals.iter().map(|removal| removal.name);
    let is_duplicate = spec.removes == Removes::Duplicates
        && docs.duplicates > 0
        && declared
            .into_iter()
            .any(|reason| is_named(spec.name, reason, rule));
    let is_error =
        docs.quarantined > 0 && is_named(spec.name, &format!("{}.error", spec.name), rule);

    let has_column = spec.may_remove();
    let mut reasons = docs.removed.keys();
    has_column
        && (is_duplicate || is_error || reasons.any(|reason| is_named(spec.name, reason, rule)))
}

/// True if `rule` is the reason, its family, or the stage that gave it.
fn is_named(stage: &str, reason: &str, rule: &str) -> bool {
    let family = reason.strip_prefix(rule);
    stage == rule || family.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// True if a rule, a family or a stage of this name exists, whether or not it removed a document.
fn is_known(rule: &str) -> bool {
    let of_filter = rules().map(|known| (FILTER.name, known.full_name()));
    let others = STAGES
        .iter()
        .filter(|spec| spec.may_remove())
        .flat_map(|spec| {
            let declared = spec.removals.iter().map(|removal| removal.name.to_owned());
            let error = std::iter::once(format!("{}.error", spec.name));
            declared.chain(error).map(move |name| (spec.name, name))
        });
    of_filter.chain(others).any(|(stage, name)| {
        // `<…>` stands for a name from the manifest.
        let open = name.split_once('<').map(|(head, _)| head.to_owned());
        is_named(stage, &name, rule) || open.is_some_and(|head| rule.starts_with(&head))
    })
}

/// Draws from the documents of a shard that are wanted of a stage. Returns their number.
fn draw(
    committed: &Committed,
    stage: &StageSpec,
    shard: usize,
    request: &Request,
    drawn: &mut Least<At>,
) -> Result<u64> {
    // Every document reaches `documents`, which has no column `reached`.
    let mut columns = vec!["doc_id"];
    columns.extend((stage.name != DOCUMENTS.name).then_some("reached"));
    columns.extend(stage.may_remove().then_some("removed_by"));
    let part = committed.part(stage.name, shard, &columns)?;

    let (mut first, mut documents) = (0, 0);
    for batch in Zip::open(&[part])? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(&format!("{}.{name}", stage.name));
        let ids = batch.column(0).as_string::<i32>();
        let reached = column("reached").map(|column| column.as_boolean());
        let removed_by = column("removed_by").map(|column| column.as_string::<i32>());

        for row in 0..batch.num_rows() {
            let reason = removed_by.filter(|column| column.is_valid(row));
            let reason = reason.map(|column| column.value(row));
            let is_wanted = reached.is_none_or(|column| column.value(row))
                && match (&request.removed_by, reason) {
                    (Some(rule), Some(reason)) => is_named(stage.name, reason, rule),
                    (rule, reason) => rule.is_none() && reason.is_none(),
                };
            if !is_wanted {
                continue;
            }

            documents += 1;
            let id = ids.value(row);
            let order = xxh3_64_with_seed(id.as_bytes(), request.seed);
            drawn.offer(order, id, || At {
                shard,
                row: first + row,
            });
        }
        first += batch.num_rows();
    }
    Ok(documents)
}

/// The least of what was offered, by a number and then by `doc_id`. Its memory is that of the values
/// it keeps.
pub struct Least<T> {
    most: usize,
    kept: BTreeMap<(u64, String), T>,
}

impl<T> Least<T> {
    /// Keeps at most `most` values.
    pub fn new(most: u16) -> Self {
        Least {
            most: usize::from(most),
            kept: BTreeMap::new(),
        }
    }

    /// Keeps a value if it is among the least so far.
    pub fn offer(&mut self, order: u64, doc_id: &str, value: impl FnOnce() -> T) {
        let is_full = self.kept.len() >= self.most;
        let last = self.kept.last_key_value();
        let is_beyond = last.is_some_and(|((last, id), _)| (order, doc_id) >= (*last, id.as_str()));
        if is_full && is_beyond {
            return;
        }

        self.kept.insert((order, doc_id.to_owned()), value());
        if self.kept.len() > self.most {
            self.kept.pop_last();
        }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// The values, the least first.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.kept.into_values()
    }
}

/// Documents, in words, with digits in groups.
fn documents(n: u64) -> String {
    match n {
        1 => counted(1, "document"),
        n => format!("{} documents", grouped(n)),
    }
}
