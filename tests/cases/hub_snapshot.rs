//! A snapshot of a data set from a hub, with its card and its dot files.
