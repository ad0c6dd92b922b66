//! Lookup of the character classes in spaCy's patterns: a table below U+10000, a binary search
//! above.

use super::tables::CLASSES;
pub(crate) use super::tables::{
    ALPHA, DIGIT, DOT_BEHIND, INFIX, LOWER, PREFIX, PUNCT, QUOTE, SENTENCE_END, SUFFIX, UPPER,
};

static BELOW_10000: [u16; 0x10000] = below_10000();

const fn below_10000() -> [u16; 0x10000] {
    let mut table = [0; 0x10000];

    let mut i = 0;
    while i < CLASSES.len() && CLASSES[i].0 < 0x10000 {
        let (mut c, last, flags) = CLASSES[i];
        // A range may reach beyond the table.
        while c <= last && c < 0x10000 {
            table[c as usize] = flags;
            c += 1;
        }
        i += 1;
    }

    table
}

/// The classes of `c`, as a mask of the constants above.
#[inline]
pub(crate) fn flags(c: char) -> u16 {
    match BELOW_10000.get(c as usize) {
        Some(&flags) => flags,
        None => match CLASSES.partition_point(|&(first, ..)| first <= c as u32) {
            0 => 0,
            after if c as u32 <= CLASSES[after - 1].1 => CLASSES[after - 1].2,
            _ => 0,
        },
    }
}

/// The classes of an ASCII character. Usable in constants.
pub(super) const fn ascii(byte: u8) -> u16 {
    BELOW_10000[byte as usize]
}

/// True if `c` belongs to at least one of the classes in the mask `wanted`.
#[inline]
pub(crate) fn is(c: char, wanted: u16) -> bool {
    flags(c) & wanted != 0
}
