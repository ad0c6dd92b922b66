//! A byte order mark at the start of a text, in every format.
