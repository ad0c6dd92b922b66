//! End tokens of a tokenizer that is not the embedded one.
