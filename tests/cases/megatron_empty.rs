//! A Megatron data set of documents that have few tokens or none.
