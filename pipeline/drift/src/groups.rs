//! Documents by source and language, which documents a run is of, and how one of them is shown.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

/// Documents of one source and language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// Name of the source.
    pub source: String,
    /// ISO 639-3 code, `und` where none could be told.
    pub language: String,
}

/// Something for each group; looked up without a copy of the names.
#[derive(Debug, Clone)]
pub struct Groups<T>(BTreeMap<String, BTreeMap<String, T>>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Groups(BTreeMap::new())
    }
}

impl<T> Groups<T> {
    /// What there is for a group.
    pub fn get(&self, source: &str, language: &str) -> Option<&T> {
        self.0.get(source)?.get(language)
    }

    /// What there is for a group, made where there is nothing.
    pub fn entry(&mut self, source: &str, language: &str, new: impl FnOnce() -> T) -> &mut T {
        // Names are copied for the first document of a group only.
        if self.get(source, language).is_none() {
            self.0
                .entry(source.to_owned())
                .or_default()
                .insert(language.to_owned(), new());
        }
        let found = self
            .0
            .get_mut(source)
            .and_then(|languages| languages.get_mut(language));
        found.expect("it was put there")
    }

    /// Adds another's, joining what is of one group.
    pub fn merge(mut self, other: Groups<T>, join: impl Fn(&mut T, T)) -> Self {
        for (group, more) in other {
            match self
                .0
                .entry(group.source)
                .or_default()
                .entry(group.language)
            {
                Entry::Vacant(place) => drop(place.insert(more)),
                Entry::Occupied(mut own) => join(own.get_mut(), more),
            }
        }
        self
    }
}

impl<T> IntoIterator for Groups<T> {
    type Item = (Group, T);
    type IntoIter = std::vec::IntoIter<(Group, T)>;

    fn into_iter(self) -> Self::IntoIter {
        let of = |(source, languages): (String, BTreeMap<String, T>)| {
            languages.into_iter().map(move |(language, own)| {
                (
                    Group {
                        source: source.clone(),
                        language,
                    },
                    own,
                )
            })
        };
        self.0
            .into_iter()
            .flat_map(of)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Which documents a run is of: equal for runs of the same frozen input, however it lies in shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// How many.
    pub rows: u64,
    /// The sum of their hashes modulo 2^128, 32 hex digits.
    pub content: String,
}

/// A document that is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Its identity.
    pub doc_id: String,
    /// Name of its source.
    pub source: String,
    /// Its url, if it has one.
    pub url: Option<String>,
    /// What it was: a score or what removed it; none where that is not known or there was nothing.
    pub before: Option<String>,
    /// What it is.
    pub now: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_and_sorted() {
        let of = |groups: &[(&str, &str, u64)]| {
            let mut all = Groups::default();
            groups
                .iter()
                .for_each(|(source, language, n)| *all.entry(source, language, || 0) += n);
            all
        };
        let merged = of(&[("web", "eng", 1), ("web", "eng", 2), ("a", "und", 4)])
            .merge(of(&[("web", "eng", 8), ("web", "deu", 16)]), |own, more| {
                *own += more
            });
        assert_eq!(
            (merged.get("web", "eng"), merged.get("web", "fra")),
            (Some(&11), None)
        );
        let rows = merged
            .into_iter()
            .map(|(group, n)| format!("{}/{} {n}", group.source, group.language));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            ["a/und 4", "web/deu 16", "web/eng 11"]
        );
    }
}
