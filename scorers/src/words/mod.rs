//! The words of the rules.
//!
//! | where | what |
//! |---|---|
//! | [`spacy`] | English: the tokens of spaCy's rule tokenizer, which datatrove 0.10 uses |
//! | [`dictionary`] | other languages: UAX-29 words with punctuation, by a dictionary where words have no spaces |
//! | [`uax29`] | UAX-29 words with punctuation |

pub mod dictionary;
pub mod spacy;
pub mod uax29;
