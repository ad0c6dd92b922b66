//! Lone surrogates, NUL and noncharacters in JSON strings.
