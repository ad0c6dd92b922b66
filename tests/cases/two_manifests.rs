//! Two manifests that write to one run directory.
