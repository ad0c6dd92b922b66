//! Paragraphs that are cut out, and what is left of each document.
