//! What one rule of `filter` did: the documents that fail it, its histogram, and the documents
//! nearest to its threshold.

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use curate_schemas::rules::{Judged, Rule, Signal, rules};
use curate_schemas::stages::filter::Filter;
use curate_schemas::tables::Column;

use crate::bins::{Bins, Place};

/// Documents that are shown on each side of a threshold.
const NEAREST: usize = 2;

/// What one rule did to the documents that reached `filter`.
#[derive(Debug, Clone)]
pub struct RuleCounts {
    /// `family.rule`.
    pub name: String,
    /// The rule as the manifest sets it.
    pub judged: Judged,
    /// The declaration of its value: unit and formula.
    pub declared: Column,
    /// The column of `signals` that holds the value.
    pub column: &'static str,
    /// The field of this column that is the value; `None`: the column itself.
    pub field: Option<&'static str>,
    /// Documents whose first failing rule it is.
    pub first: u64,
    /// Documents that fail it.
    pub fails: u64,
    /// Documents that fail it and no other rule.
    pub alone: u64,
    /// Tokens of these.
    pub alone_tokens: u64,
    /// The bins of its histogram; `None` for a flag or a list.
    pub bins: Option<Bins>,
    /// Documents in each bin: kept, failing this rule alone, decided by another rule.
    pub counts: Vec<[u64; 3]>,
    /// Documents whose value lies below the axis, above it, and documents without a value.
    pub beyond: [u64; 3],
    /// Documents that pass all rules and lie nearest to the threshold.
    pub inside: Vec<Candidate>,
    /// Documents that fail the rule and lie nearest to the threshold. Those that fail it alone come
    /// first.
    pub outside: Vec<Candidate>,
    /// The document with the least `doc_id`, a hash, among those that the rule removed.
    pub random: Vec<Candidate>,
}

/// A document that may be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Order of candidates, the least first: whether other rules decide, then the distance.
    order: (bool, u64),
    /// The document.
    pub doc_id: String,
    /// Its value.
    pub value: f64,
    /// Numbers of all rules that the document fails.
    pub failed: Vec<usize>,
    /// Number of the shard and of the row in it.
    pub place: (usize, usize),
}

/// A document that reached `filter`.
pub struct Document<'a> {
    /// `doc_id`.
    pub id: &'a str,
    /// Its tokens; 0 if they were not counted.
    pub tokens: u64,
    /// Numbers of the rules that it fails, ascending.
    pub failed: &'a [usize],
    /// Number of the shard and of the row in it.
    pub place: (usize, usize),
}

/// Every rule that judges under these settings, in the order of the rules, with counts of zero.
pub fn judging(filter: &Filter) -> Vec<RuleCounts> {
    rules()
        .filter_map(|rule| Some(RuleCounts::new(rule, rule.judged(filter)?)))
        .collect()
}

impl RuleCounts {
    fn new(rule: &Rule, judged: Judged) -> RuleCounts {
        // The profile may make the rule look at another column than the declared one.
        let mut looking = *rule;
        looking.value = judged.value;
        let declared = looking.column();
        let (column, field) = match judged.value {
            Signal::Field(field) => (rule.family, Some(field)),
            Signal::Of(family, field) => (family, Some(field)),
            Signal::Column(column) | Signal::Own(column) => (column, None),
        };

        let bins = Bins::of(&judged, &declared);
        let len = bins.as_ref().map_or(0, Bins::len);
        RuleCounts {
            name: rule.full_name(),
            judged,
            declared,
            column,
            field,
            first: 0,
            fails: 0,
            alone: 0,
            alone_tokens: 0,
            bins,
            counts: vec![[0; 3]; len],
            beyond: [0; 3],
            inside: Vec::new(),
            outside: Vec::new(),
            random: Vec::new(),
        }
    }

    /// The name of the value in SQL, in the view `signals`.
    pub fn sql(&self) -> String {
        match self.field {
            Some(field) => format!("{}.{field}", self.column),
            None => self.column.to_owned(),
        }
    }

    /// Counts a document. `number` is the number of this rule, and `value` the document's value;
    /// `None` in it stands for null.
    pub fn add_document(&mut self, number: usize, document: &Document, value: Option<Option<f64>>) {
        let fails = document.failed.contains(&number);
        let alone = fails && document.failed.len() == 1;
        self.fails += u64::from(fails);
        self.first += u64::from(document.failed.first() == Some(&number));
        if alone {
            self.alone += 1;
            self.alone_tokens += document.tokens;
        }

        let (Some(bins), Some(value)) = (&self.bins, value) else {
            return;
        };
        let Some(value) = value else {
            self.beyond[2] += 1;
            return;
        };
        let what = match (document.failed.is_empty(), alone) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        match bins.place(value) {
            Place::Bin(bin) => self.counts[bin][what] += 1,
            Place::Below => self.beyond[0] += 1,
            Place::Above => self.beyond[1] += 1,
        }

        let distance = (value - self.judged.threshold).abs().to_bits();
        if document.failed.is_empty() {
            offer(
                &mut self.inside,
                NEAREST,
                (false, distance),
                document,
                value,
            );
        } else if fails {
            offer(
                &mut self.outside,
                NEAREST,
                (!alone, distance),
                document,
                value,
            );
            if document.failed.first() == Some(&number) {
                offer(&mut self.random, 1, (false, 0), document, value);
            }
        }
    }

    /// Adds what the same rule did in another shard.
    pub fn add(&mut self, other: RuleCounts) {
        self.first += other.first;
        self.fails += other.fails;
        self.alone += other.alone;
        self.alone_tokens += other.alone_tokens;
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            own.iter_mut().zip(other).for_each(|(own, n)| *own += n);
        }
        self.beyond
            .iter_mut()
            .zip(other.beyond)
            .for_each(|(own, n)| *own += n);

        for (own, others, most) in [
            (&mut self.inside, other.inside, NEAREST),
            (&mut self.outside, other.outside, NEAREST),
            (&mut self.random, other.random, 1),
        ] {
            own.extend(others);
            own.sort_by(|a, b| (a.order, &a.doc_id).cmp(&(b.order, &b.doc_id)));
            own.truncate(most);
        }
    }
}

/// Puts a document among the `most` best candidates, if it belongs there. Ties are decided by
/// `doc_id`.
fn offer(best: &mut Vec<Candidate>, most: usize, order: (bool, u64), of: &Document, value: f64) {
    let is_before = |other: &Candidate| (order, of.id) < (other.order, other.doc_id.as_str());
    if best.len() == most && !best.last().is_some_and(is_before) {
        return;
    }

    let at = best.iter().position(is_before).unwrap_or(best.len());
    let candidate = Candidate {
        order,
        doc_id: of.id.to_owned(),
        value,
        failed: of.failed.to_vec(),
        place: of.place,
    };
    best.insert(at, candidate);
    best.truncate(most);
}

/// The values of a rule in a batch.
pub struct Value<'a> {
    /// The struct that holds the values; null where they are.
    outer: &'a ArrayRef,
    values: &'a ArrayRef,
}

impl Value<'_> {
    /// The values of a rule in a batch; `None` for a flag or a list.
    ///
    /// # Errors
    /// If the column was not read.
    pub fn of<'a>(batch: &'a RecordBatch, rule: &RuleCounts) -> Result<Option<Value<'a>>> {
        if rule.bins.is_none() {
            return Ok(None);
        }
        let place = || format!("signals.{} was not read", rule.column);
        let outer = batch
            .column_by_name(&format!("signals.{}", rule.column))
            .with_context(place)?;
        let values = match rule.field {
            Some(field) => outer
                .as_struct()
                .column_by_name(field)
                .with_context(place)?,
            None => outer,
        };
        Ok(Some(Value { outer, values }))
    }

    /// The value of a row; `None` for null.
    pub fn get(&self, row: usize) -> Option<f64> {
        if self.outer.is_null(row) || self.values.is_null(row) {
            return None;
        }
        Some(match self.values.data_type() {
            DataType::UInt32 => f64::from(self.values.as_primitive::<UInt32Type>().value(row)),
            _ => self.values.as_primitive::<Float64Type>().value(row),
        })
    }
}

/// Greatest number of histograms.
const SHOWN: usize = 10;

/// Numbers of the rules that some document fails, in the order of the page: those that decide most
/// documents alone come first, then those that most documents fail.
pub fn ordered(rules: &[RuleCounts]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..rules.len()).filter(|n| rules[*n].fails > 0).collect();
    numbers.sort_by(|a, b| {
        let key = |n: &usize| (rules[*n].alone, rules[*n].fails);
        key(b)
            .cmp(&key(a))
            .then(rules[*a].name.cmp(&rules[*b].name))
    });
    numbers
}

/// Numbers of the rules with a histogram on the page.
pub fn shown(rules: &[RuleCounts]) -> Vec<usize> {
    let ordered = ordered(rules).into_iter();
    let with_bins = ordered.filter(|number| rules[*number].bins.is_some());
    with_bins.take(SHOWN).collect()
}
