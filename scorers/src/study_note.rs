//! The heuristic quality score of the study note: lexical variety, length and repeated lines, in one number.
//!
//! With the `\w+` words and the non-blank lines of the trimmed, lower-cased text,
//! `0.4·(distinct words / words) + 0.3·min(words / 500, 1) + 0.3·(1 − dup)`, `dup = 1 − distinct lines / lines`, clamped to
//! \[0, 1\]. Characters, words, lines and the order of the sum are Python's, so the score is Python's to the bit.
//! Departs in one point: words and lines are compared by 64-bit hash.
//! Cost: one lower-cased copy of the text and two passes over it.

use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::HashIndex;
use crate::python;

/// The score of what is too short to judge: fewer than 20 characters, or no word.
pub const TOO_SHORT: f64 = 0.1;

/// The score of `text`, in \[0, 1\].
///
/// ```
/// use curate_scorers::study_note::study_note;
///
/// assert_eq!(study_note("too short"), 0.1);
/// assert!((study_note(&"Clear prose. ".repeat(200)) - 0.542).abs() < 1e-12);
/// ```
pub fn study_note(text: &str) -> f64 {
    let trimmed = python::strip(text);
    if trimmed.chars().nth(19).is_none() {
        return TOO_SHORT;
    }
    let text = python::lower(trimmed);
    let mut hashes: Vec<u64> = python::word_runs(&text).map(|word| xxh3_64(word.as_bytes())).collect();
    if hashes.is_empty() {
        return TOO_SHORT;
    }
    let mut index = HashIndex::default();
    let (words, distinct_words) = (hashes.len() as f64, count_distinct(&mut index, &hashes));
    hashes.clear();
    let lines = python::splitlines(&text).filter(|line| !python::strip(line).is_empty());
    hashes.extend(lines.map(|line| xxh3_64(line.as_bytes())));
    let (lines, distinct_lines) = (hashes.len() as f64, count_distinct(&mut index, &hashes));

    let dup = 1.0 - distinct_lines / lines;
    let score = 0.4 * (distinct_words / words) + 0.3 * (words / 500.0).min(1.0) + 0.3 * (1.0 - dup);
    score.clamp(0.0, 1.0)
}

fn count_distinct(index: &mut HashIndex, hashes: &[u64]) -> f64 {
    index.start(hashes.len());
    for &hash in hashes {
        index.insert(hash);
    }
    f64::from(index.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        name: String,
        text: String,
        score: Box<serde_json::value::RawValue>,
    }

    #[test]
    fn agrees_with_python_to_the_bit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/golden/study_note.jsonl");
        let file = std::fs::read_to_string(path).expect("the golden file is in the repository");
        let rows: Vec<Golden> =
            file.lines().map(|line| serde_json::from_str(line).expect("a line is one object")).collect();
        assert!(rows.len() >= 60, "{} rows", rows.len());
        for Golden { name, text, score } in rows {
            // serde_json's own numbers may be off by one unit in the last place.
            let score: f64 = score.get().parse().expect("the score is a number");
            assert_eq!(study_note(&text).to_bits(), score.to_bits(), "{name}: {} is not {score}", study_note(&text));
        }
    }

    #[test]
    fn short_or_wordless_text_scores_a_tenth() {
        for text in [
            "",
            "word",
            " \u{3000}\n",
            "nineteen characters",
            "…………………………………………………………………",
            "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
        ] {
            assert_eq!(study_note(text), TOO_SHORT, "{text}");
        }
        // 20 characters, not bytes, after trimming.
        assert_eq!(study_note(&format!("  {}  ", "é".repeat(19))), TOO_SHORT);
        assert_eq!(study_note(&"é".repeat(20)), 0.4 + 0.3 * (1.0 / 500.0) + 0.3);
    }

    #[test]
    fn words_and_lines_are_compared_in_lower_case() {
        // Two words of four differ, one line of two.
        let expected = 0.4 * (2.0 / 4.0) + 0.3 * (4.0 / 500.0) + 0.3 * (1.0 - (1.0 - 1.0 / 2.0));
        for text in ["ΚΌΣΜΟΣ Καλημέρα\r\nκόσμος καλημέρα", "Shalom (שלום)\u{2028}SHALOM (שלום)\n \n"]
        {
            assert_eq!(study_note(text), expected, "{text}");
        }
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(study_note(&"ab ".repeat(350_000)), 0.4 * (1.0 / 350_000.0) + 0.3 + 0.3);
    }
}
