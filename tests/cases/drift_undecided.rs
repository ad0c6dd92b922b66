//! Drift between runs that have nothing in common.
