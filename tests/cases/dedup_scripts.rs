//! Near-duplicates in scripts that put no spaces between words.
