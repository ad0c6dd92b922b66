//! A small source that is lost as a whole.
