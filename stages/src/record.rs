//! Records of fixed size in a [`Spill`](crate::spill::Spill): structs with named fields in code,
//! 64-bit words in memory and on disk.

use curate_schemas::DocId;

/// A record of fixed size. Records order as their words do, field by field.
pub(crate) trait Record: Sized {
    /// The array of the words of a record.
    type Words: Copy + Ord + AsRef<[u64]> + 'static;

    /// The words of the record.
    fn words(&self) -> Self::Words;

    /// The record with the words `words`.
    fn read(words: &Self::Words) -> Self;

    /// The words of a partition, cut into records.
    fn chunks(words: &[u64]) -> &[Self::Words];

    /// The words of a partition, cut into records to sort them in place.
    fn chunks_mut(words: &mut [u64]) -> &mut [Self::Words];
}

/// The records of a partition, as they are stored.
pub(crate) fn records<R: Record>(words: &[u64]) -> impl Iterator<Item = R> {
    R::chunks(words).iter().map(R::read)
}

/// The records of a partition, sorted by their words.
pub(crate) fn sorted<R: Record>(mut words: Vec<u64>) -> Vec<R> {
    R::chunks_mut(&mut words).sort_unstable();
    records(&words).collect()
}

/// A field of a record, of a fixed number of words.
pub(crate) trait Field: Sized {
    /// The number of words of the field.
    const WORDS: usize;

    /// Writes the field into `words`, which has [`Field::WORDS`] words.
    fn write(&self, words: &mut [u64]);

    /// Reads the field from `words`, which has [`Field::WORDS`] words.
    fn read(words: &[u64]) -> Self;
}

impl Field for u64 {
    const WORDS: usize = 1;

    fn write(&self, words: &mut [u64]) {
        words[0] = *self;
    }

    fn read(words: &[u64]) -> u64 {
        words[0]
    }
}

impl Field for bool {
    const WORDS: usize = 1;

    fn write(&self, words: &mut [u64]) {
        words[0] = u64::from(*self);
    }

    fn read(words: &[u64]) -> bool {
        words[0] == 1
    }
}

/// An optional number. `None` is NaN in the words, so a number must not be NaN.
impl Field for Option<f64> {
    const WORDS: usize = 1;

    fn write(&self, words: &mut [u64]) {
        words[0] = self.unwrap_or(f64::NAN).to_bits();
    }

    fn read(words: &[u64]) -> Option<f64> {
        Some(f64::from_bits(words[0])).filter(|value| !value.is_nan())
    }
}

impl Field for DocId {
    const WORDS: usize = 2;

    fn write(&self, words: &mut [u64]) {
        words.copy_from_slice(&DocId::words(*self));
    }

    fn read(words: &[u64]) -> DocId {
        DocId::from_words([words[0], words[1]])
    }
}

impl<const N: usize> Field for [u64; N] {
    const WORDS: usize = N;

    fn write(&self, words: &mut [u64]) {
        words.copy_from_slice(self);
    }

    fn read(words: &[u64]) -> [u64; N] {
        words
            .try_into()
            .expect("a record cuts its words to the fields")
    }
}

/// Declares a record: a struct whose fields implement [`Field`].
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq)]
        $visibility struct $name {
            $( $(#[doc = $field_doc])* pub(crate) $field: $type, )+
        }

        impl $crate::record::Record for $name {
            type Words = [u64; 0 $( + <$type as $crate::record::Field>::WORDS )+];

            fn words(&self) -> Self::Words {
                let mut words = [0; 0 $( + <$type as $crate::record::Field>::WORDS )+];
                let mut rest: &mut [u64] = &mut words;
                $(
                    let (own, after) =
                        rest.split_at_mut(<$type as $crate::record::Field>::WORDS);
                    $crate::record::Field::write(&self.$field, own);
                    rest = after;
                )+
                debug_assert!(rest.is_empty());
                words
            }

            fn read(words: &Self::Words) -> Self {
                let mut rest: &[u64] = words;
                $(
                    let (own, after) = rest.split_at(<$type as $crate::record::Field>::WORDS);
                    let $field = <$type as $crate::record::Field>::read(own);
                    rest = after;
                )+
                debug_assert!(rest.is_empty());
                $name { $( $field, )+ }
            }

            fn chunks(words: &[u64]) -> &[Self::Words] {
                words.as_chunks().0
            }

            fn chunks_mut(words: &mut [u64]) -> &mut [Self::Words] {
                words.as_chunks_mut().0
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        /// A record with every kind of field.
        struct Sample {
            /// The field that decides the order.
            doc: u64,
            id: DocId,
            rank: [u64; 3],
            is_removed: bool,
            similarity: Option<f64>,
        }
    }

    #[test]
    fn records_come_back_in_the_order_of_their_fields() {
        let sample = |doc, similarity| Sample {
            doc,
            id: DocId(u128::from(doc) << 70 | 5),
            rank: [1, 2, 3],
            is_removed: doc == 2,
            similarity,
        };
        let (first, second) = (sample(1, None), sample(2, Some(0.5)));

        let words = [second.words(), first.words()].concat();
        assert_eq!(words.len(), 16);
        assert_eq!(sorted::<Sample>(words), [first, second]);
    }
}
