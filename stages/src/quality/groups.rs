//! Groups of documents, and how the values of a column are distributed in each group. A group is a
//! language and a domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, StringBuilder, UInt64Array,
};
use curate_schemas::tables::{self, Measure};
use curate_scorers::maps::{Counts, Knots};

use crate::column;
use crate::error::{Result, StageError};

/// The group of each document of a batch: language and domain, as one name.
pub(super) struct Origin<'b> {
    languages: &'b StringArray,
    domains: &'b StringArray,
    /// The name that was formed last. Its memory is used again for the next row.
    name: String,
}

impl<'b> Origin<'b> {
    /// The groups of a batch with the columns `language` and `domain`.
    pub(super) fn of(batch: &'b RecordBatch) -> Result<Origin<'b>> {
        let text = |name: &str| Ok::<_, StageError>(column(batch, name)?.as_string::<i32>());
        Ok(Origin {
            languages: text("language")?,
            domains: text("domain")?,
            name: String::new(),
        })
    }

    /// The name of a row's group: the language, [`SEPARATOR`] and the domain. The language is empty
    /// if none could be told.
    pub(super) fn name(&mut self, row: usize) -> &str {
        self.name.clear();
        if self.languages.is_valid(row) {
            self.name.push_str(self.languages.value(row));
        }
        self.name.push(SEPARATOR);
        self.name.push_str(self.domains.value(row));
        &self.name
    }

    /// The name of a whole language, for the row that [`Self::name`] was called with last.
    pub(super) fn language(&self) -> &str {
        // The separator is one byte, and `name` has put it there.
        &self.name[..=self.name.find(SEPARATOR).unwrap_or_default()]
    }
}

/// The character between language and domain, and at the end of the name of a whole language. A
/// language or a domain has no control character.
pub(super) const SEPARATOR: char = '\0';

/// What the values of a column mean in a group.
pub(super) struct Distribution {
    pub(super) documents: u64,
    pub(super) percentiles: Knots,
    /// The share of documents in the lower tail at most, and the value at which the tail ends.
    pub(super) low: Option<(f64, f64)>,
    /// The share of documents below the upper tail at least, and the value at which the tail
    /// begins.
    pub(super) high: Option<(f64, f64)>,
}

impl Distribution {
    /// The thirds of CCNet (Wenzek et al. 2020): head below the 30th percentile of documents, tail
    /// from the 60th on.
    pub(super) fn thirds(counts: &Counts) -> Distribution {
        Distribution {
            documents: counts.documents(),
            percentiles: Knots::default(),
            low: counts.low_cut(0.3).map(|cut| (0.3, cut)),
            high: counts.high_cut(0.6).map(|cut| (0.6, cut)),
        }
    }

    /// Kind, value and share of each row of `quality_maps`. A whole language has kinds of
    /// its own.
    fn rows(&self, is_language: bool) -> Vec<(&'static str, f64, f64)> {
        let (below, above) = if is_language {
            ("head_below", "tail_above")
        } else {
            ("drop_below", "drop_above")
        };

        let mut rows: Vec<(&'static str, f64, f64)> = self
            .percentiles
            .points()
            .iter()
            .map(|&(value, share)| ("percentile", value, share))
            .collect();
        rows.extend(self.low.map(|(share, value)| (below, value, share)));
        rows.extend(self.high.map(|(share, value)| (above, value, share)));
        rows
    }
}

/// The studied columns, and what their values mean in each group.
pub(super) struct Groups {
    pub(super) studied: Vec<Measure>,
    /// A distribution for each studied column, by the name of the group.
    pub(super) groups: BTreeMap<String, Vec<Distribution>>,
    /// Score of a document of which no term is left.
    pub(super) mean_score: f64,
}

impl Groups {
    /// The place of a column among the studied ones.
    pub(super) fn place(&self, measure: &Measure) -> Option<usize> {
        self.studied.iter().position(|studied| studied == measure)
    }

    /// The rows of `quality_maps`.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        let mut texts: [StringBuilder; 4] = Default::default();
        let (mut documents, mut numbers) = (Vec::new(), [Vec::new(), Vec::new()]);

        for (at, measure) in self.studied.iter().enumerate() {
            let name = measure.name();
            for (origin, group) in &self.groups {
                let (language, domain) = origin.split_once(SEPARATOR).unwrap_or_default();
                let found = &group[at];
                for (kind, value, share) in found.rows(origin.ends_with(SEPARATOR)) {
                    let row = [name.as_str(), kind, language, domain];
                    for (column, text) in texts.iter_mut().zip(row) {
                        column.append_value(text);
                    }
                    documents.push(found.documents);
                    numbers[0].push(value);
                    numbers[1].push(share);
                }
            }
        }

        let mut columns: Vec<ArrayRef> = texts
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef)
            .collect();
        columns.push(Arc::new(UInt64Array::from(documents)));
        columns.extend(numbers.map(|column| Arc::new(Float64Array::from(column)) as ArrayRef));
        Ok(RecordBatch::try_new(
            tables::schema("quality_maps"),
            columns,
        )?)
    }
}
