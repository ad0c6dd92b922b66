//! Lists, vetoes and terms over a field that no record has.
