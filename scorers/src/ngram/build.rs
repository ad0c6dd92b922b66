//! Entries to the bytes of a model file.
//!
//! Each level is sorted by its words, last one first. The n-grams that end in the same words are
//! then neighbours: they are the children of the node for those words. So a suffix is never stored
//! twice, and the words of an n-gram are known exactly, without a hash. If the entries lack an
//! n-gram's suffix (as in ARPA files that were pruned by entropy), the suffix gets a node without a
//! probability, which scores pass over.

use rayon::prelude::*;

use crate::ngram::format::{HEADER_BYTES, Header, NAME_BYTES_MAX, slot};
use crate::ngram::model::Model;
use crate::ngram::{Entry, MAX_ORDER, NgramError, SPECIAL, VOCABULARY_MAX};

/// Builds a model of `levels`, one for each order. The unigrams have an entry for each token and
/// each special one, in the order of their numbers. The n-grams of higher orders may come in any
/// order.
///
/// # Errors
/// [`NgramError::Piece`] or [`NgramError::TooLarge`], and [`NgramError::Malformed`] if an n-gram
/// occurs twice.
pub(super) fn build<S: AsRef<str>>(
    tokenizer: &str,
    pieces: &[S],
    mut levels: Vec<Vec<Entry>>,
) -> Result<Model, NgramError> {
    at_most("tokens in the vocabulary", pieces.len(), VOCABULARY_MAX)?;
    at_most("bytes of tokenizer name", tokenizer.len(), NAME_BYTES_MAX)?;
    debug_assert_eq!(levels[0].len(), pieces.len() + SPECIAL);
    complete(&mut levels)?;

    let mut header = Header {
        order: levels.len(),
        vocabulary: pieces.len(),
        name_bytes: pieces.iter().map(|piece| piece.as_ref().len()).sum(),
        nodes: [0; MAX_ORDER],
        vocabulary_digest: vocabulary_digest(pieces),
        payload_digest: [0; 32],
        tokenizer: tokenizer.to_owned(),
    };

    // Children are addressed by `u32`, from 0 to the length of their level.
    for (i, level) in levels.iter().enumerate() {
        header.nodes[i] = level.len();
        at_most(
            &format!("{}-grams", i + 1),
            level.len(),
            u32::MAX as usize - 1,
        )?;
    }
    at_most("bytes of token names", header.name_bytes, u32::MAX as usize)?;

    let mut bytes = vec![0; HEADER_BYTES];
    for i in 0..levels.len() {
        put_level(&mut bytes, i, &levels[i], levels.get(i + 1));
        // Frees the level: its entries take twice as much memory as the bytes made of them.
        levels[i] = Vec::new();
    }

    put_vocabulary(&mut bytes, pieces)?;

    header.payload_digest = *blake3::hash(&bytes[HEADER_BYTES..]).as_bytes();
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());

    // Decoding checks the header and the lengths of all parts once more.
    Model::from_bytes("in memory", bytes)
}

/// BLAKE3 over the names of the tokens, each preceded by its length in bytes.
pub(super) fn vocabulary_digest<S: AsRef<str>>(pieces: &[S]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for piece in pieces {
        hasher
            .update(&(piece.as_ref().len() as u64).to_le_bytes())
            .update(piece.as_ref().as_bytes());
    }

    *hasher.finalize().as_bytes()
}

/// Checks that `found` is at most `most`. For the error, `what` names the things that are counted.
fn at_most(what: &str, found: usize, most: usize) -> Result<(), NgramError> {
    if found <= most {
        Ok(())
    } else {
        Err(NgramError::TooLarge {
            what: what.to_owned(),
            found,
            most,
        })
    }
}

/// Sorts the levels and adds the missing suffixes.
///
/// # Errors
/// [`NgramError::Malformed`] if an n-gram occurs twice.
fn complete(levels: &mut [Vec<Entry>]) -> Result<(), NgramError> {
    // From the highest order down, because an added suffix may lack a suffix of its own.
    for i in (1..levels.len()).rev() {
        let mut missing = Vec::new();
        sort(&mut levels[i]);

        if let Some(pair) = levels[i]
            .windows(2)
            .find(|pair| pair[0].words == pair[1].words)
        {
            let words: Vec<String> = pair[0].words[..=i]
                .iter()
                .rev()
                .map(u32::to_string)
                .collect();

            let reason = format!(
                "the {}-gram of tokens {} occurs twice",
                i + 1,
                words.join(" ")
            );
            return Err(NgramError::Malformed {
                file: "in memory".to_owned(),
                reason,
            });
        }

        // Unigrams are complete: there is one for every number.
        if i > 1 {
            sort(&mut levels[i - 1]);

            // Both levels are sorted, so one walk over the lower level meets every suffix.
            let mut suffixes = levels[i - 1].iter().peekable();
            for suffix in levels[i]
                .chunk_by(|a, b| a.words[..i] == b.words[..i])
                .map(|group| &group[0].words[..i])
            {
                while suffixes
                    .next_if(|entry| entry.words[..i] < *suffix)
                    .is_some()
                {}

                if suffixes
                    .peek()
                    .is_none_or(|entry| entry.words[..i] != *suffix)
                {
                    let mut words = [0; MAX_ORDER];
                    words[..i].copy_from_slice(suffix);
                    missing.push(Entry {
                        words,
                        prob: f32::NAN,
                        backoff: 0.0,
                    });
                }
            }

            // The next round sorts these entries into their places.
            levels[i - 1].extend(missing);
        }
    }
    Ok(())
}

/// Sorts a level by its words.
fn sort(level: &mut [Entry]) {
    // Levels that come from training are sorted already.
    if !level.is_sorted_by(|a, b| a.words <= b.words) {
        level.par_sort_unstable_by_key(|entry| entry.words);
    }
}

/// Writes the nodes of level `i`, each with the place of its first child if there is a next level.
fn put_level(out: &mut Vec<u8>, i: usize, level: &[Entry], children: Option<&Vec<Entry>>) {
    let mut first = 0;
    for entry in level {
        out.extend(entry.words[i].to_le_bytes());
        out.extend(entry.prob.to_le_bytes());
        if let Some(children) = children {
            out.extend(entry.backoff.to_le_bytes());
            out.extend((first as u32).to_le_bytes());

            // Both levels are sorted and no suffix is missing: a node's children begin where those
            // of the node before it end.
            let own = children[first..]
                .iter()
                .take_while(|child| child.words[..=i] == entry.words[..=i]);
            first += own.count();
        }
    }

    // A last record without a word holds the end of the last node's children.
    if children.is_some() {
        out.extend([0; 12]);
        out.extend((first as u32).to_le_bytes());
    }
}

/// Writes the ends of the names, the slots by which names are found, and the names.
///
/// # Errors
/// [`NgramError::Piece`] if two tokens have the same name.
fn put_vocabulary<S: AsRef<str>>(out: &mut Vec<u8>, pieces: &[S]) -> Result<(), NgramError> {
    let mut end = 0u32;
    out.extend(end.to_le_bytes());
    // `build` has checked that all names together have at most `u32::MAX` bytes.
    for piece in pieces {
        end += piece.as_ref().len() as u32;
        out.extend(end.to_le_bytes());
    }

    // More than half of the slots stay free, so the search below always ends.
    let mut slots = vec![0u32; 2 * pieces.len() + 1];
    // A number without a token in its tokenizer has an empty name, which several numbers may share.
    // No name leads to such a number.
    for (id, piece) in pieces
        .iter()
        .map(AsRef::as_ref)
        .enumerate()
        .filter(|(_, piece)| !piece.is_empty())
    {
        let mut at = slot(piece, slots.len());
        while slots[at] != 0 {
            if pieces[slots[at] as usize - 1].as_ref() == piece {
                return Err(NgramError::Piece {
                    id,
                    piece: piece.to_owned(),
                    reason: "has the same name as an earlier token",
                });
            }
            at = (at + 1) % slots.len();
        }

        slots[at] = id as u32 + 1;
    }

    out.extend(slots.iter().flat_map(|slot| slot.to_le_bytes()));
    out.extend(pieces.iter().flat_map(|piece| piece.as_ref().bytes()));

    Ok(())
}
