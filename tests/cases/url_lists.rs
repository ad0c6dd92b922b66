//! Lists of domains, addresses and words, against addresses in many spellings.
