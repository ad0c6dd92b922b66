//! Documents in which only white space is left.
