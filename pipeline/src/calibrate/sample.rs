//! The text that runs draw from: a sample of each bucket as pieces of tokens, and the arms.

use std::collections::BTreeMap;

use anyhow::Result;
use curate_scorers::calibrate::plan::{PlannedRun, Supply};
use curate_scorers::calibrate::verdict::{Arm, Bucket};
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::mix::Document;
use curate_store::key;
use curate_store::run_dir::RunDir;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cells::{Cell, CutConfig, cut};
use super::texts::{each_text, pieces};
use super::{Request, arms, natural_bucket};
use crate::mixing::Pooled;

/// Number of documents, of ten in the largest source and domain, that become arms.
const RESERVED: u64 = 3;
/// The share of the memory that sampled tokens may take: 4 bytes each, a quarter of it.
const BYTES_A_TOKEN: u64 = 16;

/// Buckets with the text at hand.
#[derive(Debug)]
pub struct Sample {
    /// The buckets of natural text. Their documents do not include those of the arms.
    pub cells: Vec<Cell>,
    /// The pieces of each bucket, those of the arms behind those of the cells.
    pieces: Vec<Vec<Vec<u32>>>,
    /// The arms, in the order of their buckets.
    arms: Vec<Arm>,
    /// The cell whose source and score the arms have.
    clean: usize,
}

impl Sample {
    /// Cuts the pool, and reads as much of each bucket as runs can draw and memory allows.
    ///
    /// # Errors
    /// Exit 2 if the pool gives fewer than two buckets. If a text cannot be read.
    pub fn take(
        request: &Request,
        run: &RunDir,
        pool: &Pooled,
        config: &CutConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Sample> {
        let most = request.memory / BYTES_A_TOKEN;
        let keyed =
            |document: &Document| xxh3_64_with_seed(&document.doc_id.0.to_le_bytes(), request.seed);

        // The documents of the arms leave the pool before it is cut.
        let reserved = match request.no_controls {
            true => Vec::new(),
            false => reserved(pool, keyed, (request.tokens.1 as u64).min(most / 10)),
        };
        let mut rest = pool.documents.clone();
        let mut is_reserved = vec![false; rest.len()];
        reserved
            .iter()
            .for_each(|&place| is_reserved[place as usize] = true);
        for (document, reserved) in rest.iter_mut().zip(&is_reserved) {
            // A document of no tokens is in its bucket and takes no part in anything.
            document.tokens = if *reserved { 0 } else { document.tokens };
        }
        let mut cells = cut(&rest, &pool.origins, config)?;
        for cell in &mut cells {
            cell.documents.retain(|&place| !is_reserved[place as usize]);
        }

        let each = (most / cells.len() as u64).min((3.0 * request.tokens.1) as u64);
        let chosen: Vec<Vec<u32>> = cells
            .iter()
            .map(|cell| head(&pool.documents, &cell.documents, keyed, each))
            .collect();
        let mut natural = natural_pieces(run, pool, &chosen, tokenizer)?;

        let texts = texts(run, pool, &is_reserved)?;
        let damaged = arms::arms(tokenizer, &texts, request.seed)?;
        let clean = reserved.first().map_or(0, |&place| {
            let origin = pool.documents[place as usize].origin;
            cells
                .iter()
                .position(|cell| cell.origins.contains(&origin))
                .unwrap_or(0)
        });

        let arms: Vec<Arm> = damaged.keys().copied().collect();
        natural.extend(damaged.into_values());
        Ok(Sample {
            cells,
            pieces: natural,
            arms,
            clean,
        })
    }

    /// The tokens that runs may draw of each bucket.
    pub fn supplies(&self) -> Vec<Supply> {
        let supply = |(bucket, pieces): (usize, &Vec<Vec<u32>>)| {
            let tokens = pieces.iter().map(|piece| piece.len() as u64).sum();
            Supply {
                tokens,
                in_pool: self.cells.get(bucket).map_or(tokens, |cell| cell.tokens),
                natural: bucket < self.cells.len(),
            }
        };
        self.pieces.iter().enumerate().map(supply).collect()
    }

    /// The buckets for the verdict. Arms have the source and the score of their clean text.
    pub fn buckets(&self) -> Vec<Bucket> {
        let clean = natural_bucket(&self.cells[self.clean]);
        let groups = self
            .cells
            .iter()
            .map(|cell| cell.group)
            .max()
            .map_or(0, |last| last + 1);
        let planted = self.arms.iter().map(|&arm| Bucket {
            arm: Some(arm),
            group: groups,
            ..clean
        });
        self.cells
            .iter()
            .map(natural_bucket)
            .chain(planted)
            .collect()
    }

    /// The arms, in the order of their buckets behind the cells.
    pub fn arms(&self) -> Vec<Arm> {
        self.arms.clone()
    }

    /// A digest of all text at hand.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for bucket in &self.pieces {
            hasher.update(&(bucket.len() as u64).to_le_bytes());
            for piece in bucket {
                hasher.update(&(piece.len() as u64).to_le_bytes());
                piece.iter().for_each(|id| {
                    hasher.update(&id.to_le_bytes());
                });
            }
        }
        key::digest(&["sample", hasher.finalize().to_hex().as_str()])
    }

    /// The text of a run by bucket, each piece once: of each bucket that the run has, the head of its
    /// pieces in an order that the run's seed decides.
    pub fn pieces(&self, run: &PlannedRun) -> Vec<Vec<&[u32]>> {
        let used = run
            .unique
            .iter()
            .enumerate()
            .filter(|(_, tokens)| **tokens > 0);

        used.map(|(bucket, &tokens)| {
            let mut order: Vec<usize> = (0..self.pieces[bucket].len()).collect();
            let mut random = ChaCha8Rng::seed_from_u64(run.seed);
            random.set_stream(bucket as u64);
            order.shuffle(&mut random);

            let mut drawn: Vec<&[u32]> = Vec::new();
            let mut left = tokens as usize;
            for at in order {
                let piece = &self.pieces[bucket][at];
                drawn.push(&piece[..piece.len().min(left)]);
                left -= piece.len().min(left);
                if left == 0 {
                    break;
                }
            }
            drawn
        })
        .collect()
    }
}

/// The documents that become arms: three of ten of the source and domain with the most tokens, by
/// a keyed hash, up to `most` tokens.
fn reserved(pool: &Pooled, keyed: impl Fn(&Document) -> u64, most: u64) -> Vec<u32> {
    let mut tokens: BTreeMap<u32, u64> = BTreeMap::new();
    for document in &pool.documents {
        *tokens.entry(document.origin).or_default() += document.tokens;
    }
    let Some(largest) = tokens
        .iter()
        .max_by_key(|(origin, tokens)| (**tokens, u32::MAX - **origin))
    else {
        return Vec::new();
    };

    let own = (0..)
        .zip(&pool.documents)
        .filter(|(_, document)| document.origin == *largest.0 && keyed(document) % 10 < RESERVED);
    let places: Vec<u32> = own.map(|(place, _)| place).collect();
    head(&pool.documents, &places, keyed, most)
}

/// The first documents in the order of a keyed hash, until they have `most` tokens; ascending.
fn head(
    pool: &[Document],
    places: &[u32],
    keyed: impl Fn(&Document) -> u64,
    most: u64,
) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = places
        .iter()
        .map(|&place| (keyed(&pool[place as usize]), place))
        .collect();
    order.sort_unstable();

    let mut tokens = 0;
    let mut chosen: Vec<u32> = order
        .into_iter()
        .map(|(_, place)| place)
        .take_while(|&place| {
            let before = tokens;
            tokens += pool[place as usize].tokens;
            before < most
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// The pieces of the chosen documents of each bucket.
fn natural_pieces(
    run: &RunDir,
    pool: &Pooled,
    chosen: &[Vec<u32>],
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<Vec<u32>>>> {
    let mut bucket_of = vec![usize::MAX; pool.documents.len()];
    for (bucket, places) in chosen.iter().enumerate() {
        places
            .iter()
            .for_each(|&place| bucket_of[place as usize] = bucket);
    }
    let wanted: Vec<bool> = bucket_of
        .iter()
        .map(|&bucket| bucket != usize::MAX)
        .collect();

    let found = each_text(run, &pool.documents, &wanted, |place, text| {
        Ok((bucket_of[place as usize], pieces(tokenizer, text)?))
    })?;
    let mut buckets = vec![Vec::new(); chosen.len()];
    for (bucket, pieces) in found {
        buckets[bucket].extend(pieces);
    }
    Ok(buckets)
}

/// The texts of the wanted documents.
fn texts(run: &RunDir, pool: &Pooled, wanted: &[bool]) -> Result<Vec<String>> {
    each_text(run, &pool.documents, wanted, |_, text| Ok(text.to_owned()))
}
