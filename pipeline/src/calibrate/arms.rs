//! Arms of the controls: text whose worth is known to be less, made of clean text of the pool.
//!
//! The damage is done to tokens, not to words of a list. A list of words teaches an n-gram model
//! how words are spelt, and then counts as good text.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use curate_scorers::calibrate::verdict::Arm;
use curate_scorers::tokenizer::Tokenizer;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::texts::pieces;

/// A line is boilerplate if this many documents have it.
const DOCUMENTS_OF_A_LINE: usize = 15;

/// The pieces of each arm, made of `texts`. An arm for which the texts give nothing is absent.
///
/// # Errors
/// If the tokenizer fails.
pub fn arms(
    tokenizer: &Tokenizer,
    texts: &[String],
    seed: u64,
) -> Result<BTreeMap<Arm, Vec<Vec<u32>>>> {
    let ids = tokenizer.text_ids();
    let repeated = repeated_lines(texts);

    let mut arms: BTreeMap<Arm, Vec<Vec<u32>>> = BTreeMap::new();
    for (number, text) in (0u64..).zip(texts) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);

        let clean = pieces(tokenizer, text)?;
        for percent in [10, 30, 60] {
            let damaged = clean
                .iter()
                .map(|piece| replaced(piece, percent, &ids, &mut random));
            arms.entry(Arm::Random(percent))
                .or_default()
                .extend(damaged);
        }
        let shuffled = pieces(tokenizer, &shuffled(text, &mut random))?;
        arms.entry(Arm::Shuffled).or_default().extend(shuffled);
        arms.entry(Arm::Control).or_default().extend(clean);

        let lines: Vec<&str> = text
            .lines()
            .filter(|line| repeated.contains(&xxh3_64(line.as_bytes())))
            .collect();
        if !lines.is_empty() {
            let boilerplate = pieces(tokenizer, &lines.join("\n"))?;
            arms.entry(Arm::Boilerplate)
                .or_default()
                .extend(boilerplate);
        }
    }
    Ok(arms)
}

/// A piece in which each token is replaced with a probability of `percent` by any of `ids`.
fn replaced(piece: &[u32], percent: u8, ids: &[u32], random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut token = |&id: &u32| match random.random_range(0..100) < percent {
        true => *ids.choose(random).unwrap_or(&id),
        false => id,
    };
    piece.iter().map(&mut token).collect()
}

/// A text with its words in a random order. Each line keeps its number of words.
fn shuffled(text: &str, random: &mut ChaCha8Rng) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.shuffle(random);

    let mut words = words.into_iter();
    let mut line = |line: &str| {
        let number = line.split_whitespace().count();
        words.by_ref().take(number).collect::<Vec<_>>().join(" ")
    };
    text.split('\n')
        .map(&mut line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The hashes of lines that many documents have. Lines without a letter are left out.
fn repeated_lines(texts: &[String]) -> BTreeSet<u64> {
    let mut documents: BTreeMap<u64, usize> = BTreeMap::new();
    for text in texts {
        let lines = text
            .lines()
            .filter(|line| line.chars().any(char::is_alphabetic));
        let own: BTreeSet<u64> = lines.map(|line| xxh3_64(line.as_bytes())).collect();
        own.into_iter()
            .for_each(|line| *documents.entry(line).or_default() += 1);
    }
    documents.retain(|_, documents| *documents >= DOCUMENTS_OF_A_LINE);
    documents.into_keys().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use super::*;

    #[test]
    fn arms_are_as_long_as_their_text() {
        let tokenizer = Tokenizer::embedded().unwrap();
        let text =
            |n: usize| format!("The harbour keeps {n} boats\nin winter, and {n} ropes.\nHome");
        let texts: Vec<String> = (0..20).map(text).collect();
        let arms = arms(&tokenizer, &texts, 1).unwrap();

        let tokens = |arm: Arm| arms[&arm].iter().map(Vec::len).sum::<usize>();
        let differing = |arm: Arm| {
            let pairs = arms[&arm]
                .iter()
                .flatten()
                .zip(arms[&Arm::Control].iter().flatten());
            pairs.filter(|(a, b)| a != b).count() as f64 / tokens(Arm::Control) as f64
        };
        assert_eq!(tokens(Arm::Random(60)), tokens(Arm::Control));
        assert!((differing(Arm::Random(10)) - 0.1).abs() < 0.05);
        assert!((differing(Arm::Random(60)) - 0.6).abs() < 0.1);
        // Only "Home" is a line of every document.
        let home = tokenizer.encode("Home", None).unwrap();
        assert_eq!(arms[&Arm::Boilerplate], vec![home; 20]);
    }

    #[test]
    fn a_shuffled_text_keeps_its_words_and_lines() {
        let text = "one two three\n\nfour five six seven";
        let found = shuffled(text, &mut ChaCha8Rng::seed_from_u64(3));
        assert_ne!(found, text);
        let words = |text: &str| {
            text.lines()
                .map(|line| line.split(' ').count())
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&found), words(text));
        let mut sorted: Vec<_> = found.split_whitespace().collect();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            ["five", "four", "one", "seven", "six", "three", "two"]
        );
    }
}
