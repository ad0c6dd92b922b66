//! Paths with brackets, spaces, links and `**`, and one file that two sources read.
