//! Blend files tell a trainer which parts it reads, and how much of each part.
//!
//! Megatron-LM takes `weight prefix weight prefix …` in one of three ways: on the command line
//! (`--data-path`), from a file (`--data-args-path`, split at white space), or as JSON with a list
//! for each of train, valid and test (`--per-split-data-args-path`). See
//! `get_blend_and_blend_per_split` in `megatron/training/utils.py` and `get_blend_from_list` in
//! `megatron/core/datasets/utils.py` of NVIDIA/Megatron-LM. Megatron scales the weights to a sum of
//! 1 and draws *samples* of a fixed number of tokens by these weights, so a weight is a share of
//! tokens. `datasets.interleave_datasets` draws *examples*, so its probabilities are shares of
//! documents: `weight · documents / tokens`, scaled to a sum of 1.
//!
//! If the weight of each part is its number of tokens, both trainers read every part once. Parts
//! without tokens are left out. Megatron cannot open an empty `.bin`, and such a part has a share
//! of 0 anyway.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// The strategy of `datasets` that reads each example exactly once. When a part ends, the other
/// parts go on.
const STOPPING: &str = "all_exhausted_without_replacement";

/// One part of a mixture in a blend.
#[derive(Debug, Clone, PartialEq)]
pub struct BlendPart {
    /// Path of the Megatron pair without `.bin` and `.idx`: absolute, or relative to the folder in
    /// which the trainer runs.
    pub prefix: String,
    /// Path of the file that `datasets` reads, relative to the blend file.
    pub file: String,
    /// Share of the tokens that the trainer takes from this part, at least 0 and in any scale.
    pub weight: f64,
    /// Tokens in the part.
    pub tokens: u64,
    /// Documents in the part, with their repeats.
    pub documents: u64,
}

impl BlendPart {
    /// A part that the trainer reads once: its weight is its number of tokens.
    pub fn once(
        prefix: impl Into<String>,
        file: impl Into<String>,
        tokens: u64,
        documents: u64,
    ) -> BlendPart {
        BlendPart {
            prefix: prefix.into(),
            file: file.into(),
            weight: tokens as f64,
            tokens,
            documents,
        }
    }
}

/// The words of `--data-path`: a weight and a prefix for each part.
///
/// # Errors
/// If no part has tokens, if a weight is negative or not a number, or if a prefix is empty or has
/// white space at its ends, which Megatron strips.
pub fn megatron_words(rows: &[BlendPart]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for row in filled(rows)? {
        // Megatron would look for another file than the one that was written.
        let is_bare =
            !row.prefix.starts_with(is_python_space) && !row.prefix.ends_with(is_python_space);
        ensure!(
            is_bare && !row.prefix.is_empty(),
            "Megatron cannot read the path \"{}\": it is empty or has white space at an end",
            row.prefix.escape_debug()
        );

        words.extend([row.weight.to_string(), row.prefix.clone()]);
    }
    Ok(words)
}

/// The file for `--data-args-path`, with a line for each part.
///
/// # Errors
/// As [`megatron_words`], and if a prefix contains white space, because Megatron would split the
/// prefix there.
pub fn megatron_text(rows: &[BlendPart]) -> Result<String> {
    let words = megatron_words(rows)?;

    // A weight never contains white space, so only a prefix is refused here.
    if let Some(word) = words.iter().find(|word| word.contains(is_python_space)) {
        anyhow::bail!(
            "Megatron splits the path \"{}\" at its white space",
            word.escape_debug()
        );
    }
    Ok(words.chunks(2).map(|pair| pair.join(" ") + "\n").collect())
}

/// The file for `--per-split-data-args-path`. All parts are for training. The lists for valid and
/// test are null, so give Megatron `--eval-iters 0` or fill them in.
///
/// # Errors
/// As [`megatron_words`].
pub fn megatron_json(rows: &[BlendPart]) -> Result<String> {
    Ok(pretty(
        &json!({ "train": megatron_words(rows)?, "valid": null, "test": null }),
    ))
}

/// The arguments of `datasets.interleave_datasets`. `data_files` lists the files to load, in the
/// order of `probabilities`.
///
/// # Errors
/// If no part has tokens, or if a weight is negative or not a number.
pub fn interleave_json(rows: &[BlendPart], seed: u64) -> Result<String> {
    let rows = filled(rows)?;

    // `filled` leaves parts without tokens out, so no divisor is 0.
    let shares: Vec<f64> = rows
        .iter()
        .map(|row| row.weight * row.documents as f64 / row.tokens as f64)
        .collect();
    // Finite weights may have a sum that is not finite.
    let sum: f64 = shares.iter().sum();
    ensure!(sum.is_finite(), "the weights sum to {sum}");

    let probabilities: Vec<f64> = shares.iter().map(|share| share / sum).collect();
    let files: Vec<&str> = rows.iter().map(|row| row.file.as_str()).collect();

    Ok(pretty(&json!({
        "data_files": files, "probabilities": probabilities, "seed": seed, "stopping_strategy": STOPPING,
    })))
}

/// The parts that have tokens and a weight above 0.
fn filled(rows: &[BlendPart]) -> Result<Vec<&BlendPart>> {
    for row in rows {
        let is_weight = row.weight.is_finite() && row.weight >= 0.0;
        ensure!(
            is_weight,
            "the weight of {} is {}, expected 0 or more",
            row.prefix.escape_debug(),
            row.weight
        );
    }

    let filled: Vec<&BlendPart> = rows
        .iter()
        .filter(|row| row.tokens > 0 && row.documents > 0 && row.weight > 0.0)
        .collect();
    ensure!(
        !filled.is_empty(),
        "nothing to blend: none of {} parts has tokens and a weight",
        rows.len()
    );
    Ok(filled)
}

/// True for a character that Python's `str.split` and `str.strip` take for white space. They know
/// four control characters more than Unicode.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<BlendPart> {
        vec![
            BlendPart::once("part-00000", "a.parquet", 3000, 10),
            BlendPart::once("part-00001", "b.parquet", 1000, 30),
        ]
    }

    #[test]
    fn text_spelled_out() {
        assert_eq!(
            megatron_text(&two()).expect("a blend"),
            "3000 part-00000\n1000 part-00001\n"
        );
    }

    #[test]
    fn json_spelled_out() {
        let text = "{\n  \"train\": [\n    \"3000\",\n    \"part-00000\",\n    \"1000\",\n    \"part-00001\"\n  ],\n  \
                    \"valid\": null,\n  \"test\": null\n}\n";
        assert_eq!(megatron_json(&two()).expect("a blend"), text);
    }

    #[test]
    fn probabilities_are_shares_of_documents() {
        let value: Value =
            serde_json::from_str(&interleave_json(&two(), 7).expect("a blend")).expect("JSON");
        assert_eq!(value["probabilities"], json!([0.25, 0.75]));
        assert_eq!(value["data_files"], json!(["a.parquet", "b.parquet"]));
        assert_eq!(
            (&value["seed"], &value["stopping_strategy"]),
            (&json!(7), &json!(STOPPING))
        );
    }

    #[test]
    fn other_weights_are_shares_of_tokens() {
        let mut rows = two();
        (rows[0].weight, rows[1].weight) = (0.5, 0.5);
        assert_eq!(
            megatron_text(&rows).expect("a blend"),
            "0.5 part-00000\n0.5 part-00001\n"
        );
        let value: Value =
            serde_json::from_str(&interleave_json(&rows, 7).expect("a blend")).expect("JSON");
        // Each part gives half of the tokens. A document of part 0 has 300 tokens, and one of part
        // 1 has 33.3.
        assert_eq!(value["probabilities"], json!([0.1, 0.9]));
    }

    #[test]
    fn probabilities_sum_to_one() {
        let row = |n: u64| BlendPart::once(format!("p{n}"), format!("f{n}"), n * n + 1, n % 97 + 1);
        let rows: Vec<BlendPart> = (0..5000).map(row).collect();
        let value: Value =
            serde_json::from_str(&interleave_json(&rows, 0).expect("a blend")).expect("JSON");
        let shares = value["probabilities"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|p| p.as_f64().expect("a number"));
        let sum: f64 = shares.sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn empty_parts_are_left_out_and_an_empty_mixture_is_refused() {
        let mut rows = two();
        rows.push(BlendPart::once("part-00002", "c.parquet", 0, 0));
        assert_eq!(megatron_words(&rows).expect("a blend").len(), 4);
        assert!(
            !interleave_json(&rows, 0)
                .expect("a blend")
                .contains("c.parquet")
        );
        for rows in [&rows[2..], &[]] {
            assert!(
                megatron_text(rows)
                    .expect_err("empty")
                    .to_string()
                    .contains("nothing to blend")
            );
            assert!(interleave_json(rows, 0).is_err());
        }
    }

    #[test]
    fn hostile_paths_are_refused_or_kept() {
        let named = |prefix: &str| vec![BlendPart::once(prefix, "f", 1, 1)];
        for prefix in ["a b", "a\u{1f}b", "a\u{a0}b", "a\nb"] {
            assert!(megatron_text(&named(prefix)).is_err(), "{prefix:?}");
            assert_eq!(
                megatron_words(&named(prefix)).expect("a list keeps it")[1],
                prefix
            );
        }
        for prefix in ["", " a", "a\n"] {
            assert!(megatron_words(&named(prefix)).is_err(), "{prefix:?}");
        }
        assert_eq!(megatron_text(&named("0.5")).expect("a blend"), "1 0.5\n");
        let json: Value =
            serde_json::from_str(&megatron_json(&named("a\"],\"b")).expect("a blend"))
                .expect("JSON");
        assert_eq!(json["train"][1], "a\"],\"b");
    }

    #[test]
    fn weights_that_are_none_are_refused() {
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            let rows = vec![BlendPart {
                weight,
                ..BlendPart::once("p", "f", 1, 1)
            }];
            assert!(
                megatron_text(&rows).is_err() && interleave_json(&rows, 0).is_err(),
                "{weight}"
            );
        }
    }
}
