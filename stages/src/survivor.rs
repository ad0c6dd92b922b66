//! The choice of the duplicate that is kept: the first under a total order from the manifest. Ties
//! go by a hash of source name and own id, and among documents without an own id by `doc_id`.
//!
//! The `doc_id` covers path and ordinal, so it decides only where nothing else can: a renamed file
//! changes no survivor among documents with own ids. A document with an own id goes before one
//! without. To compare such a pair by `doc_id` would give no order: if only a and c have own ids, a
//! could go before b and b before c by `doc_id`, but c before a by own id. Thread timing and model
//! scores do not matter.

use std::collections::BTreeMap;

use crate::error::{Result, StageError};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType, UInt64Type};
use curate_schemas::doc_id::NoDocId;
use curate_schemas::stages::near_dedup::Prefer;
use curate_schemas::{DocId, Manifest};
use xxhash_rust::xxh3::Xxh3;

use crate::{Read, column, read};

/// The order of preference among duplicates.
#[derive(Debug, Clone)]
pub struct Preference {
    /// Criteria, most important first.
    order: Vec<Prefer>,
    /// The priority of each source, by name. The first source by name has number 0.
    priority: BTreeMap<String, u32>,
}

/// The place of a document in the order of preference. The lesser rank is preferred.
///
/// The words are 0 for a document of an earlier run and 1 for one of this run, the criteria, the
/// hash of the own id, and the `doc_id`. A document without an own id has the greatest hash.
pub type Rank = [u64; WORDS];

/// The number of words of a [`Rank`].
pub(crate) const WORDS: usize = CRITERIA + 5;

/// Most criteria of an order: each variant of [`Prefer`] once, since the manifest refuses repeats.
const CRITERIA: usize = 4;

/// The values of one document that criteria look at.
struct Facts<'a> {
    source: &'a str,
    own_id: Option<&'a str>,
    heuristic: Option<f64>,
    /// Length of the text, bytes.
    bytes: u64,
    /// Microseconds since 1970; `None` without a date.
    date: Option<i64>,
}

impl Preference {
    /// The manifest's order. The order of `[dedup.near]` serves exact duplicates too.
    pub fn new(manifest: &Manifest) -> Self {
        let near = manifest.dedup.near.clone().unwrap_or_default();
        let priority = manifest
            .source
            .iter()
            .map(|source| (source.name.clone(), source.priority));
        Preference {
            order: near.prefer,
            priority: priority.collect(),
        }
    }

    /// An order over sources of equal priority.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(order: &[Prefer], sources: [&str; N]) -> Self {
        Preference {
            order: order.to_vec(),
            priority: sources.map(|source| (source.to_owned(), 0)).into(),
        }
    }

    /// The order as a part of a stage's key.
    pub fn config(&self) -> serde_json::Value {
        serde_json::json!({ "prefer": self.order, "priority": self.priority })
    }

    /// The number of a source, by name; `None` for a source that the manifest does not name.
    pub(crate) fn source(&self, name: &str) -> Option<usize> {
        self.priority.keys().position(|source| source == name)
    }

    /// The names of all sources, by number.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.priority.keys().map(String::as_str)
    }

    /// The rank of a document, with 0 as its first word, which [`ranks`] sets.
    fn rank(&self, facts: &Facts<'_>, doc_id: &str) -> Result<Rank> {
        let mut rank = [0; WORDS];

        // Ranks ascend, so a value of which more is better is complemented.
        for (prefer, word) in self.order.iter().zip(&mut rank[1..=CRITERIA]) {
            *word = match prefer {
                Prefer::SourcePriority => self
                    .priority
                    .get(facts.source)
                    .map_or(u64::MAX, |rank| u64::from(*rank)),
                Prefer::Heuristic => !ordered(facts.heuristic.unwrap_or(0.0)),
                Prefer::Bytes => !facts.bytes,
                // The flipped sign bit orders dates before 1970 as unsigned numbers too.
                Prefer::Newest => facts.date.map_or(u64::MAX, |date| !(date as u64 ^ 1 << 63)),
            };
        }

        let (own_id, id) = rank[CRITERIA + 1..].split_at_mut(2);
        own_id.copy_from_slice(&own_id_words(facts.source, facts.own_id));
        id.copy_from_slice(&parse_id(doc_id)?.words());
        Ok(rank)
    }
}

/// The xxh3-128 of a source's name and an own id, each with its length before it, upper half first.
/// The greatest words without an own id, which an empty one counts as.
fn own_id_words(source: &str, own_id: Option<&str>) -> [u64; 2] {
    let Some(own_id) = own_id.filter(|own_id| !own_id.is_empty()) else {
        return [u64::MAX; 2];
    };

    let mut hash = Xxh3::new();
    for part in [source, own_id] {
        // The length keeps the pairs ("a", "bc") and ("ab", "c") apart.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.digest128();
    [(hash >> 64) as u64, hash as u64]
}

/// The `doc_id` in a rank.
pub(crate) fn id_of(rank: &Rank) -> DocId {
    DocId::from_words([rank[WORDS - 2], rank[WORDS - 1]])
}

/// Parses an identity from a column `doc_id`.
///
/// # Errors
/// If the text is not 32 hex digits.
pub(crate) fn parse_id(text: &str) -> Result<DocId> {
    text.parse()
        .map_err(|error: NoDocId| StageError::Bug(error.to_string()))
}

/// An integer for each float. The integers have the total order of the floats.
fn ordered(value: f64) -> u64 {
    // The bits of a negative float order by magnitude, so all of them are flipped. The sign bit
    // puts the others above.
    let bits = value.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

/// The columns that [`ranks`] needs.
pub(crate) fn reads() -> Vec<Read> {
    vec![
        read("documents", "doc_id"),
        read("documents", "source"),
        read("documents", "source_id"),
        read("signals", "bytes"),
        read("documents", "date"),
        read("signals", "heuristic"),
    ]
}

/// A function from a row to its rank, for a batch with the columns of [`reads`]. Documents of an
/// earlier run come before all documents of this run.
///
/// # Errors
/// If the batch lacks a column. The function fails if a `doc_id` is not 32 hex digits.
pub(crate) fn ranks<'a>(
    preference: &'a Preference,
    batch: &'a RecordBatch,
    is_earlier: bool,
) -> Result<impl Fn(usize) -> Result<Rank> + 'a> {
    let ids = column(batch, "doc_id")?.as_string::<i32>();
    let sources = column(batch, "source")?.as_string::<i32>();
    let own_ids = column(batch, "source_id")?.as_string::<i32>();
    let bytes = column(batch, "bytes")?.as_primitive::<UInt64Type>();
    let dates = column(batch, "date")?.as_primitive::<TimestampMicrosecondType>();
    let heuristics = column(batch, "heuristic")?.as_primitive::<Float64Type>();

    Ok(move |row| {
        let facts = Facts {
            source: sources.value(row),
            own_id: own_ids.is_valid(row).then(|| own_ids.value(row)),
            heuristic: heuristics.is_valid(row).then(|| heuristics.value(row)),
            bytes: bytes.value(row),
            date: dates.is_valid(row).then(|| dates.value(row)),
        };
        let mut rank = preference.rank(&facts, ids.value(row))?;
        // Earlier runs keep their documents, so no document of this run may come before.
        rank[0] = u64::from(!is_earlier);
        Ok(rank)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(source: &str, heuristic: f64, bytes: u64, date: Option<i64>) -> Facts<'_> {
        Facts {
            source,
            own_id: None,
            heuristic: Some(heuristic),
            bytes,
            date,
        }
    }

    fn order(prefer: &[Prefer]) -> Preference {
        let priority = [("books".to_owned(), 0), ("web".to_owned(), 1)];
        Preference {
            order: prefer.to_vec(),
            priority: priority.into(),
        }
    }

    #[test]
    fn earlier_criteria_win_and_ties_fall_to_the_next() {
        let (web, a) = (document("web", 0.9, 900, None), "0".repeat(32));
        let (book, b) = (document("books", 0.1, 10, None), "1".repeat(32));

        let first = |prefer: &[Prefer]| {
            let order = order(prefer);
            let ranks = [
                order.rank(&web, &a).expect("hex"),
                order.rank(&book, &b).expect("hex"),
            ];
            if ranks[0] < ranks[1] { "web" } else { "books" }
        };

        assert_eq!(first(&[Prefer::SourcePriority, Prefer::Heuristic]), "books");
        assert_eq!(first(&[Prefer::Heuristic, Prefer::SourcePriority]), "web");
        assert_eq!(first(&[Prefer::Newest]), "web");
        assert_eq!(first(&[]), "web");
        assert_eq!(first(&[Prefer::Bytes]), "web");
    }

    #[test]
    fn ranks_order_as_their_values_do() {
        let ordered = |prefer, documents: [Facts; 3]| {
            let ranks =
                documents.map(|facts| order(&[prefer]).rank(&facts, &"0".repeat(32)).expect("hex"));
            assert!(
                ranks.is_sorted() && ranks[0] < ranks[2],
                "{prefer:?}: {ranks:?}"
            );
        };

        ordered(
            Prefer::Heuristic,
            [1.0, 0.25, -0.5].map(|heuristic| document("web", heuristic, 1, None)),
        );
        ordered(
            Prefer::Bytes,
            [u64::MAX, 2, 0].map(|bytes| document("web", 0.5, bytes, None)),
        );
        // A document without a date comes last.
        ordered(
            Prefer::Newest,
            [Some(5), Some(-5), None].map(|date| document("web", 0.5, 1, date)),
        );

        let unknown = Facts {
            heuristic: None,
            ..document("web", 0.0, 1, None)
        };
        let rank = |facts, doc_id| {
            order(&[Prefer::Heuristic])
                .rank(facts, doc_id)
                .expect("hex")
        };
        assert!(
            rank(&document("web", 0.1, 1, None), "f".repeat(32).as_str())
                < rank(&unknown, &"0".repeat(32))
        );
    }

    #[test]
    fn ties_go_by_own_id_then_by_doc_id() {
        let rank = |source, own_id, doc_id: char| {
            let facts = Facts {
                own_id,
                ..document(source, 0.5, 1, None)
            };
            let doc_id = doc_id.to_string().repeat(32);
            order(&[Prefer::Bytes])
                .rank(&facts, &doc_id)
                .expect("hex digits")
        };

        // Equal own ids tie, so the `doc_id` decides, and only then.
        let (first, second) = (rank("web", Some("7"), '0'), rank("web", Some("7"), '1'));
        assert!(first < second);
        assert_eq!(first[..WORDS - 2], second[..WORDS - 2]);

        let by_id = rank("web", Some("7"), '0').cmp(&rank("web", Some("8"), '0'));
        for doc_ids in ["01", "10", "ff"] {
            let [a, b] = [0, 1].map(|at| doc_ids.chars().nth(at).expect("two digits"));
            assert_eq!(
                rank("web", Some("7"), a).cmp(&rank("web", Some("8"), b)),
                by_id
            );
        }

        // The source is part of the hash, and its end is known.
        assert_ne!(
            rank("web", Some("7"), '0')[..WORDS - 2],
            rank("books", Some("7"), '0')[..WORDS - 2]
        );
        assert_ne!(
            own_id_words("web7", Some("7")),
            own_id_words("web", Some("77"))
        );

        // A document with an own id goes before one without, whatever their `doc_id`.
        assert!(rank("web", Some("7"), 'f') < rank("web", None, '0'));
        assert!(rank("web", None, '0') < rank("web", None, '1'));
        assert_eq!(rank("web", Some(""), '0'), rank("web", None, '0'));
    }
}
