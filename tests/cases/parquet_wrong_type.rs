//! A Parquet text column of another type.
