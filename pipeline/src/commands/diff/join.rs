//! Joins the documents of two runs by `doc_id`, in bounded memory.
//!
//! Shards that hold the same documents are joined one pair at a time. The documents of all other
//! shards are joined in passes: each pass takes the documents of a part of all `doc_id`s, and reads
//! the narrow columns of these shards again. Counts are integers, and movements are summed in fixed
//! point, so neither shards nor passes change a figure.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::tables::Measure;
use curate_stages::quality::values::values;
use curate_store::zip::Zip;

use super::super::document::Committed;
use crate::driver::sources_of_shards;

/// The most documents of a run that are joined at a time: about 100 MB.
const MOST_DOCUMENTS: u64 = 1 << 20;
/// The number of examples of each count.
const EXAMPLES: usize = 3;
/// Movements are summed in units of 2^-40.
const FIXED_POINT: f64 = (1u64 << 40) as f64;

/// The columns that are compared: stages that may remove documents, and numbers.
pub struct Compared {
    /// Stages that both runs have and that may remove documents, in their order.
    pub removing: Vec<&'static str>,
    /// Numbers that both runs have.
    pub measures: Vec<Measure>,
}

/// A number of documents, with examples.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The number of documents.
    pub documents: u64,
    /// The least `doc_id`s of them, ascending.
    pub examples: Vec<String>,
}

impl Group {
    fn add(&mut self, id: u128) {
        self.documents += 1;
        let id = format!("{id:032x}");
        let at = self.examples.partition_point(|known| *known < id);
        self.examples.insert(at, id);
        self.examples.truncate(EXAMPLES);
    }
}

/// How a number changed between two runs.
#[derive(Debug, Clone, Default)]
pub struct Movement {
    /// Documents with a value in both runs.
    pub both: u64,
    /// Documents with a value in one run only.
    pub only: [u64; 2],
    /// Documents whose value changed.
    pub changed: u64,
    /// Σ of the changes, in units of 2^-40.
    sum: i128,
    /// Σ of the absolute changes, in units of 2^-40.
    absolute: i128,
    /// The largest changes: `doc_id` and both values.
    pub largest: Vec<(String, f64, f64)>,
}

impl Movement {
    /// The mean change of the documents with a value in both runs. 0 without such documents.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / FIXED_POINT / self.both.max(1) as f64
    }

    /// The mean absolute change of the documents with a value in both runs.
    pub fn mean_absolute(&self) -> f64 {
        self.absolute as f64 / FIXED_POINT / self.both.max(1) as f64
    }

    fn add(&mut self, id: u128, one: f64, other: f64) {
        match (one.is_nan(), other.is_nan()) {
            (true, true) => return,
            (false, true) => self.only[0] += 1,
            (true, false) => self.only[1] += 1,
            (false, false) => self.both += 1,
        }
        if one.is_nan() || other.is_nan() || one == other {
            return;
        }

        self.changed += 1;
        let change = other - one;
        // The cast saturates, and so do the sums.
        let fixed = (change * FIXED_POINT).round() as i128;
        self.sum = self.sum.saturating_add(fixed);
        self.absolute = self.absolute.saturating_add(fixed.saturating_abs());

        let of = |(id, one, other): &(String, f64, f64)| ((other - one).abs(), id.clone());
        let new = (format!("{id:032x}"), one, other);
        let (size, id) = of(&new);
        let at = self.largest.partition_point(|known| {
            let (known_size, known_id) = of(known);
            known_size > size || known_size == size && known_id < id
        });
        if at < EXAMPLES {
            self.largest.insert(at, new);
            self.largest.truncate(EXAMPLES);
        }
    }
}

/// What became of the documents of two runs.
#[derive(Debug, Default)]
pub struct Joined {
    /// Documents that both runs have.
    pub both: u64,
    /// Documents that only one run has, by source.
    pub only: [BTreeMap<String, u64>; 2],
    /// Documents that the second run kept and the first one did not, by the rule of the first and
    /// by source.
    pub won: BTreeMap<String, BTreeMap<String, Group>>,
    /// Documents that the first run kept and the second one did not, by the rule of the second and
    /// by source.
    pub lost: BTreeMap<String, BTreeMap<String, Group>>,
    /// Documents that both runs removed for different reasons, by both reasons.
    pub other_rule: BTreeMap<(String, String), Group>,
    /// The movement of each measure, in their order.
    pub movements: Vec<Movement>,
}

/// Reasons for removal by number. 0 stands for a kept document.
struct Reasons {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Reasons {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// A document of one run.
struct Document {
    id: u128,
    /// Number of the shard.
    shard: u32,
    /// Number of the reason for its removal.
    reason: u32,
    /// Its first value in [`Documents::values`].
    value: usize,
}

/// Some documents of one run.
#[derive(Default)]
struct Documents {
    all: Vec<Document>,
    /// The values of the measures, NaN without a value.
    values: Vec<f64>,
}

/// Joins the documents of two runs.
///
/// # Errors
/// If a file cannot be read.
pub fn join(runs: [&Committed; 2], compared: &Compared) -> Result<Joined> {
    let mut joining = Joining {
        runs,
        sources: [sources(runs[0])?, sources(runs[1])?],
        compared,
        reasons: Reasons {
            names: vec![String::new()],
            numbers: HashMap::new(),
        },
        joined: Joined {
            movements: vec![Movement::default(); compared.measures.len()],
            ..Joined::default()
        },
    };

    let Pairs { pairs, rest, rows } = pairs(runs)?;
    for (one, other) in pairs {
        joining.pass([&[one], &[other]], |_| true)?;
    }
    let passes = u128::from(rows.div_ceil(MOST_DOCUMENTS));
    for pass in 0..passes {
        joining.pass([&rest[0], &rest[1]], |id| id % passes == pass)?;
    }
    Ok(joining.joined)
}

/// The source of each shard of a run.
fn sources(run: &Committed) -> Result<Vec<String>> {
    let documents = run
        .commit(DOCUMENTS.name)
        .context("documents are committed")?;
    let sources = sources_of_shards(documents)?.into_iter();
    Ok(sources.map(str::to_owned).collect())
}

/// The shards of two runs.
struct Pairs {
    /// Shards that hold the same documents.
    pairs: Vec<(usize, usize)>,
    /// All other shards.
    rest: [Vec<usize>; 2],
    /// Rows of the other shards of the run that has more of them.
    rows: u64,
}

/// Pairs the shards whose files of `documents` are equal.
fn pairs(runs: [&Committed; 2]) -> Result<Pairs> {
    let mut files = Vec::new();
    for run in runs {
        files.push(
            &run.commit(DOCUMENTS.name)
                .context("documents are committed")?
                .files,
        );
    }

    let second = files[1].iter().enumerate();
    let mut by_digest: HashMap<&str, usize> = second
        .map(|(shard, file)| (file.digest.as_str(), shard))
        .collect();
    let mut found = Pairs {
        pairs: Vec::new(),
        rest: [Vec::new(), Vec::new()],
        rows: 0,
    };
    for (shard, file) in files[0].iter().enumerate() {
        // A shard with very many small documents is joined in passes.
        let is_small = file.rows <= MOST_DOCUMENTS;
        match by_digest.remove(file.digest.as_str()).filter(|_| is_small) {
            Some(other) => found.pairs.push((shard, other)),
            None => found.rest[0].push(shard),
        }
    }

    let paired: HashSet<usize> = found.pairs.iter().map(|(_, other)| *other).collect();
    found.rest[1] = (0..files[1].len())
        .filter(|shard| !paired.contains(shard))
        .collect();
    let rows = |run: usize| -> u64 { found.rest[run].iter().map(|&at| files[run][at].rows).sum() };
    found.rows = rows(0).max(rows(1));
    Ok(found)
}

/// A join that is going on.
struct Joining<'c> {
    runs: [&'c Committed<'c>; 2],
    /// The source of each shard, by run.
    sources: [Vec<String>; 2],
    compared: &'c Compared,
    reasons: Reasons,
    joined: Joined,
}

impl Joining<'_> {
    /// Joins the documents of some shards whose `doc_id` is wanted.
    fn pass(&mut self, shards: [&[usize]; 2], is_wanted: impl Fn(u128) -> bool) -> Result<()> {
        let mut sides = [Documents::default(), Documents::default()];
        for (run, side) in sides.iter_mut().enumerate() {
            for &shard in shards[run] {
                self.read(run, shard, &is_wanted, side)?;
            }
            side.all.sort_unstable_by_key(|document| document.id);
        }

        let [one, other] = &sides;
        let (mut a, mut b) = (one.all.iter().peekable(), other.all.iter().peekable());
        loop {
            match (a.peek().copied(), b.peek().copied()) {
                (None, None) => return Ok(()),
                (Some(x), Some(y)) if x.id == y.id => {
                    self.both(x, y, &one.values, &other.values);
                    a.next();
                    b.next();
                }
                (Some(x), y) if y.is_none_or(|y| x.id < y.id) => {
                    self.only(0, x);
                    a.next();
                }
                (_, Some(y)) => {
                    self.only(1, y);
                    b.next();
                }
                (Some(_), None) => unreachable!("the third arm takes it"),
            }
        }
    }

    /// Counts a document that one run has.
    fn only(&mut self, run: usize, document: &Document) {
        let source = &self.sources[run][document.shard as usize];
        *self.joined.only[run].entry(source.clone()).or_default() += 1;
    }

    /// Counts a document that both runs have.
    fn both(&mut self, one: &Document, other: &Document, ones: &[f64], others: &[f64]) {
        self.joined.both += 1;
        let name = |document: &Document| self.reasons.names[document.reason as usize].clone();
        let source = || self.sources[1][other.shard as usize].clone();

        let group = match (one.reason, other.reason) {
            (before, after) if before == after => None,
            (_, 0) => Some(
                self.joined
                    .won
                    .entry(name(one))
                    .or_default()
                    .entry(source())
                    .or_default(),
            ),
            (0, _) => Some(
                self.joined
                    .lost
                    .entry(name(other))
                    .or_default()
                    .entry(source())
                    .or_default(),
            ),
            _ => Some(
                self.joined
                    .other_rule
                    .entry((name(one), name(other)))
                    .or_default(),
            ),
        };
        if let Some(group) = group {
            group.add(one.id);
        }

        for (at, movement) in self.joined.movements.iter_mut().enumerate() {
            movement.add(one.id, ones[one.value + at], others[other.value + at]);
        }
    }

    /// Reads the wanted documents of a shard.
    fn read(
        &mut self,
        run: usize,
        shard: usize,
        is_wanted: &impl Fn(u128) -> bool,
        into: &mut Documents,
    ) -> Result<()> {
        let mut columns: Vec<(&str, Vec<&str>)> = vec![(DOCUMENTS.name, vec!["doc_id"])];
        let removing = self
            .compared
            .removing
            .iter()
            .map(|stage| (*stage, "removed_by"));
        let measured = self.compared.measures.iter();
        let measured = measured.map(|measure| (measure.table, measure.column));
        for (table, column) in removing.chain(measured) {
            match columns.iter_mut().find(|(known, _)| *known == table) {
                Some((_, known)) => known.push(column),
                None => columns.push((table, vec![column])),
            }
        }
        let mut parts = Vec::new();
        for (table, columns) in &columns {
            parts.push(self.runs[run].part(table, shard, columns)?);
        }

        for batch in Zip::open(&parts)? {
            self.add(&batch?, shard, is_wanted, into)?;
        }
        Ok(())
    }

    /// Adds the wanted documents of a batch.
    fn add(
        &mut self,
        batch: &RecordBatch,
        shard: usize,
        is_wanted: &impl Fn(u128) -> bool,
        into: &mut Documents,
    ) -> Result<()> {
        let ids = batch.column(0).as_string::<i32>();
        let mut removed_by = Vec::new();
        for stage in &self.compared.removing {
            let column = batch.column_by_name(&format!("{stage}.removed_by"));
            removed_by.push(column.context("it was read")?.as_string::<i32>());
        }
        let mut numbers: Vec<Float64Array> = Vec::new();
        for measure in &self.compared.measures {
            numbers.push(values(batch, measure)?);
        }

        for row in 0..batch.num_rows() {
            let id =
                u128::from_str_radix(ids.value(row), 16).context("a doc_id is 32 hex digits")?;
            if !is_wanted(id) {
                continue;
            }

            let mut reasons = removed_by.iter().filter(|column| column.is_valid(row));
            let reason = reasons.next().map(|column| column.value(row));
            let value = into.values.len();
            into.values
                .extend(numbers.iter().map(|column| match column.is_valid(row) {
                    true => column.value(row),
                    false => f64::NAN,
                }));
            into.all.push(Document {
                id,
                shard: shard as u32,
                reason: reason.map_or(0, |reason| self.reasons.number(reason)),
                value,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_movements_are_kept_in_any_order() {
        let values = [
            (1, 0.5, 0.5),
            (2, 0.5, 0.75),
            (3, 0.5, 0.25),
            (4, 0.0, 1.0),
            (5, 1.0, 1.125),
        ];
        let of = |order: &[usize]| {
            let mut movement = Movement::default();
            for &at in order {
                let (id, one, other) = values[at];
                movement.add(id, one, other);
            }
            movement
        };
        let movement = of(&[0, 1, 2, 3, 4]);
        assert_eq!(movement.largest, of(&[4, 2, 0, 3, 1]).largest);
        let ids: Vec<&str> = movement.largest.iter().map(|(id, ..)| &id[30..]).collect();
        assert_eq!(ids, ["04", "02", "03"]);
        assert_eq!((movement.both, movement.changed), (5, 4));
        assert_eq!((movement.mean(), movement.mean_absolute()), (0.225, 0.325));
    }

    #[test]
    fn what_is_no_number_moves_nothing() {
        let mut movement = Movement::default();
        movement.add(1, f64::NAN, 2.0);
        movement.add(2, 2.0, f64::NAN);
        movement.add(3, f64::NAN, f64::NAN);
        movement.add(4, f64::INFINITY, f64::INFINITY);
        movement.add(5, 1.0, f64::INFINITY);
        assert_eq!(
            (movement.only, movement.both, movement.changed),
            ([1, 1], 2, 1)
        );
    }
}
