//! The values behind the rules people name. No threshold stands here: a verdict is made of values
//! elsewhere.
//!
//! | where | what |
//! |---|---|
//! | [`gopher_quality`], [`gopher_repetition`] | Gopher's, as in datatrove 0.10 |
//! | [`c4`], [`fineweb`], [`line_rules`] | those of C4 and FineWeb, as in datatrove 0.10; RefinedWeb's lines, as in DCLM |
//! | [`bad_words`], [`url_rules`] | lists of words and of addresses |
//! | [`sentences`], [`punctuation`] | the sentences that datatrove counts in English, the characters it takes for punctuation |

pub mod bad_words;
pub mod c4;
pub mod fineweb;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod line_rules;
pub mod punctuation;
pub mod sentences;
pub mod url_rules;
