//! Text to numbers: pure kernels over `&str`, without I/O, clock or hidden state. The same text gives the same numbers on
//! any machine, thread and batch.
//!
//! | where | what |
//! |---|---|
//! | [`words`] | the words of the rules: spaCy's for English, UAX-29 with punctuation for others |
//! | [`sentences`] | the sentences that datatrove counts in English |
//! | [`python`] | CPython's `\w`, `lower`, `strip`, `splitlines`, for what must agree with Python to the bit |
//! | [`python_line_chars`] | its digits and capitals |
//! | [`punctuation`] | the characters datatrove counts as punctuation |
//! | [`gopher_quality`], [`gopher_repetition`] | the values behind the Gopher rules, as in datatrove 0.10 |
//! | [`c4`], [`fineweb`], [`line_rules`] | the values behind the rules of C4, FineWeb and RefinedWeb |
//! | [`bad_words`], [`url_rules`] | lists of words and of domains |
//! | [`edits`] | what a step that rewrites a text changed in it, and why |
//! | [`study_note`] | the heuristic score of one document |
//! | [`language`] | the language of a document, from a bounded sample, and whether it is mixed |
//! | [`shingles`], [`minhash`] | near-duplicates: word n-grams, exact Jaccard, signatures and LSH band keys |
//! | [`tokenizer`] | token counts, with the embedded or any other `tokenizer.json` |
//! | [`loss`] | scaling laws: loss of N parameters on D tokens, and what repeated tokens are worth |

mod hash_index;
mod lines;
mod python_line_tables;
mod python_tables;

pub mod bad_words;
pub mod c4;
pub mod edits;
pub mod fineweb;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod language;
pub mod line_rules;
pub mod loss;
pub mod minhash;
pub mod punctuation;
pub mod python;
pub mod python_line_chars;
pub mod sentences;
pub mod shingles;
pub mod study_note;
pub mod tokenizer;
pub mod url_rules;
pub mod words;
