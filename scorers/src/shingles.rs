//! Shingles for near-duplicate detection: hashed word n-grams, and the exact Jaccard similarity of
//! their sets.
//!
//! Broder 1997, with word 5-grams as in Lee et al. 2022 (arXiv:2107.06499). Words are those of
//! [`compared`]: `\w+` of the lower-cased text as in Python, and single letters in scripts that put
//! no spaces between words. Departs in one more point: n-grams are compared by a 64-bit hash, which
//! combines the hashes of their words. Among 10⁶ different n-grams, the probability that any two
//! share a hash is 3e-8. Cost: each word is hashed once, and each shingle takes n multiplications
//! and 8 bytes.

use xxhash_rust::xxh3::xxh3_64;

use crate::words::compared;

/// Replaces `out` by one hash for each n-gram of `text`, in order, with repeats. `out` is empty if
/// `text` has fewer than `ngram` words.
///
/// # Panics
/// If `ngram` is 0.
///
/// ```
/// use curate_scorers::shingles::shingles;
///
/// let (mut a, mut b) = (Vec::new(), Vec::new());
/// shingles("One two, THREE four.", 3, &mut a);
/// shingles("one (two) three", 3, &mut b);
/// assert_eq!(a[..1], b);
/// ```
pub fn shingles(text: &str, ngram: usize, out: &mut Vec<u64>) {
    assert!(ngram > 0, "a shingle has at least one word");
    out.clear();
    compared::for_each_word(text, |word| out.push(xxh3_64(word.as_bytes())));

    // A shingle takes the place of its first word, which no later shingle needs.
    let shingles = (out.len() + 1).saturating_sub(ngram);
    for at in 0..shingles {
        out[at] = combine(&out[at..at + ngram]);
    }
    out.truncate(shingles);
}

/// Replaces `out` by the set of the n-grams of `text`: their hashes, sorted and without repeats.
///
/// # Panics
/// If `ngram` is 0.
pub fn shingle_set(text: &str, ngram: usize, out: &mut Vec<u64>) {
    shingles(text, ngram, out);
    out.sort_unstable();
    out.dedup();
}

/// One hash for the hashes of the words of an n-gram, in order.
fn combine(words: &[u64]) -> u64 {
    // Each step is a bijection, of the hash so far as well as of the word. So two n-grams that
    // differ in one word collide only if the hashes of the two words do.
    let mixed = words.iter().fold(0u64, |hash, word| {
        (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });

    // A product carries no high bit down, so the finish folds the high bits into the low ones.
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}

/// The Jaccard similarity `|a∩b| / |a∪b|` and the containment `|a∩b| / min(|a|, |b|)` of two sets,
/// each in \[0, 1\]. Both are 0 if either set is empty.
///
/// The sets must be sorted and without repeats, as [`shingle_set`] gives them.
pub fn jaccard(a: &[u64], b: &[u64]) -> (f64, f64) {
    if a.is_empty() || b.is_empty() {
        return (0.0, 0.0);
    }

    // The merge has no branch on the order of the two heads, which cannot be predicted.
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        both += usize::from(a[i] == b[j]);
        let (a_first, b_first) = (a[i] <= b[j], b[j] <= a[i]);
        i += usize::from(a_first);
        j += usize::from(b_first);
    }

    (
        both as f64 / (a.len() + b.len() - both) as f64,
        both as f64 / a.len().min(b.len()) as f64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn all(text: &str, ngram: usize) -> Vec<u64> {
        let mut out = vec![1, 2, 3];
        shingles(text, ngram, &mut out);
        out
    }

    fn set(text: &str, ngram: usize) -> Vec<u64> {
        let mut out = Vec::new();
        shingle_set(text, ngram, &mut out);
        out
    }

    #[test]
    fn fewer_words_than_n_give_nothing() {
        for text in ["", "one", " \r\n\u{3000}", "one two three four", "… 😀 !"] {
            assert_eq!(all(text, 5), [0; 0], "{text}");
        }
        assert_eq!(all("one two three four five", 5).len(), 1);
        assert_eq!(all("one", 1).len(), 1);
    }

    #[test]
    fn shingles_are_in_order_and_keep_repeats() {
        let s = all("a b c a b c a", 3);
        assert_eq!(s.len(), 5);
        assert_eq!((s[0], s[1]), (s[3], s[4]));
        assert_eq!(set("a b c a b c a", 3).len(), 3);
        assert_ne!(all("a b", 2), all("b a", 2));
        assert_ne!(all("ab c", 2), all("a bc", 2));
    }

    #[test]
    fn words_are_those_of_python() {
        assert_eq!(
            all("ΚΌΣΜΟΣ — Straße\r\nשלום", 3),
            all("κόσμος straße (שלום)", 3)
        );
        // lower() of İ ends in a combining dot, which is no word character and so ends the word.
        assert_eq!(all("İstanbul", 2), all("i stanbul", 2));
        assert_eq!(all("cafe\u{301}s", 2), all("cafe s", 2));
    }

    #[test]
    fn two_changed_letters_cost_ten_shingles_in_scripts_without_spaces() {
        let text: String = ('\u{4e00}'..).take(400).collect();
        let edited = text.replace('\u{4e64}', "鑫").replace('\u{4ec8}', "淼");
        let (a, b) = (set(&text, 5), set(&edited, 5));

        assert_eq!(a.len(), 396);
        assert_eq!(jaccard(&a, &b).0, 386.0 / 406.0);
        assert_eq!(set("不够五", 5), [0; 0]);
        assert_eq!(all("Rust 语言很好", 5).len(), 1);
    }

    #[test]
    fn hashes_agree_with_strings() {
        let text: String = (0..3_000)
            .map(|i| format!("w{} ", i * i % 101 % 7))
            .collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let strings: HashSet<&[&str]> = words.windows(4).collect();
        assert_eq!(set(&text, 4).len(), strings.len());
    }

    #[test]
    fn jaccard_and_containment() {
        assert_eq!(jaccard(&[], &[]), (0.0, 0.0));
        assert_eq!(jaccard(&[1], &[]), (0.0, 0.0));
        assert_eq!(jaccard(&[1, 2, 3, 9], &[2, 3, 4]), (2.0 / 5.0, 2.0 / 3.0));
        assert_eq!(jaccard(&[7, 8], &[7, 8]), (1.0, 1.0));

        let (a, b) = (
            set("the cat sat on the mat today", 5),
            set("The cat sat on the mat, again", 5),
        );
        assert_eq!(jaccard(&a, &b), (2.0 / 4.0, 2.0 / 3.0));
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(set(&"ab ".repeat(350_000), 5).len(), 1);
        assert_eq!(all(&"x".repeat(1 << 20), 1).len(), 1);
    }
}
