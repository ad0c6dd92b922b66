//! Segmentation of a text into the words that the rules count, and those that deduplication
//! compares.
//!
//! | where | what |
//! |---|---|
//! | [`spacy`] | English: the tokens of spaCy's rule tokenizer, which datatrove 0.10 uses |
//! | [`dictionary`] | other languages: UAX-29 words, by a dictionary where words have no spaces |
//! | [`uax29`] | UAX-29 words with punctuation |
//! | [`compared`] | deduplication: `\w+`, and single letters where words have no spaces |

pub mod compared;
pub mod dictionary;
pub mod spacy;
pub mod uax29;
