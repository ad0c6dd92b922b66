//! Text to numbers: pure kernels over `&str`, without I/O, clock or hidden state. The same text gives the same numbers on
//! any machine, thread and batch.
//!
//! | where | what |
//! |---|---|
//! | [`words`] | UAX-29 words with punctuation, the words of all rules |
//! | [`python`] | CPython's `\w`, `lower`, `strip`, `splitlines`, for what must agree with Python to the bit |
//! | [`punctuation`] | the characters datatrove counts as punctuation |
//! | [`gopher_quality`], [`gopher_repetition`] | the values behind the Gopher rules, as in datatrove 0.10 |
//! | [`study_note`] | the heuristic score of one document |
//! | [`language`] | the language of a document, from a bounded sample |
//! | [`shingles`], [`minhash`] | near-duplicates: word n-grams, exact Jaccard, signatures and LSH band keys |
//! | [`tokenizer`] | token counts, with the embedded or any other `tokenizer.json` |
//! | [`loss`] | scaling laws: loss of N parameters on D tokens, and what repeated tokens are worth |

mod hash_index;
mod python_tables;

pub mod gopher_quality;
pub mod gopher_repetition;
pub mod language;
pub mod loss;
pub mod minhash;
pub mod punctuation;
pub mod python;
pub mod shingles;
pub mod study_note;
pub mod tokenizer;
pub mod words;
