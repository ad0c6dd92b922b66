//! Documents by source and language, the identity of a run's documents, and documents as examples.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

/// The documents of one source and language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// Name of the source.
    pub source: String,
    /// ISO 639-3 code of the language; `und` if the language is not known.
    pub language: String,
}

/// A value for each group. A look-up copies no names.
#[derive(Debug, Clone)]
pub struct Groups<T>(BTreeMap<String, BTreeMap<String, T>>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Groups(BTreeMap::new())
    }
}

impl<T> Groups<T> {
    /// The value of a group.
    pub fn get(&self, source: &str, language: &str) -> Option<&T> {
        self.0.get(source)?.get(language)
    }

    /// The value of a group. `new` makes the value if the group has none yet.
    pub fn entry(&mut self, source: &str, language: &str, new: impl FnOnce() -> T) -> &mut T {
        // Names are copied only for the first document of a group.
        if self.get(source, language).is_none() {
            self.0
                .entry(source.to_owned())
                .or_default()
                .insert(language.to_owned(), new());
        }

        self.0
            .get_mut(source)
            .and_then(|languages| languages.get_mut(language))
            .expect("the value was inserted above if it was missing")
    }

    /// Adds the values of `other`. `join` adds the second value of a group to the first.
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
        let mut all = Vec::new();
        for (source, languages) in self.0 {
            for (language, own) in languages {
                let source = source.clone();
                all.push((Group { source, language }, own));
            }
        }
        all.into_iter()
    }
}

/// The identity of a run's documents. Equal for runs of the same frozen input, whatever the
/// division into shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// The number of documents.
    pub rows: u64,
    /// The sum of the documents' hashes modulo 2^128, 32 hex digits.
    pub content: String,
}

/// A document that is shown as an example.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Identity of the document, 32 hex digits.
    pub doc_id: String,
    /// Name of the document's source.
    pub source: String,
    /// URL of the document, if it has one.
    pub url: Option<String>,
    /// The former score, or the rule that removed the document before. `None` if the former value
    /// is not known, or there was no value.
    pub before: Option<String>,
    /// The present score, or the rule that removes the document now. `None` without a value.
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
