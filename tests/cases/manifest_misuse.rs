//! Mistakes that people make in a manifest, each with its place and its correction.
