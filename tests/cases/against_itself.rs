//! `dedup.against` with the run directory itself.
