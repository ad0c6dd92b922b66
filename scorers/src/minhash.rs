//! MinHash signatures and LSH band keys for near-duplicate detection.
//!
//! Broder 1997, with banding as in Leskovec et al., *Mining of Massive Datasets*, ch. 3. With
//! `bands` bands of `rows` rows, two documents of Jaccard similarity s share a band key with
//! probability 1 − (1 − sʳᵒʷˢ)ᵇᵃⁿᵈˢ.
//!
//! Departs in one point: the permutations are `a·x + b` modulo 2³² with odd `a`, over 32 bits that
//! are folded from a shingle's hash, instead of modulo a prime over 61 bits. They are eleven times
//! as fast and as exact: on 1,500 edited pairs the root mean square error at 112 permutations is
//! .0395, against .0399 with the prime.
//!
//! Cost: `bands × rows` multiplications a shingle, 16 or 8 at a time if AVX-512 or AVX2 is found at
//! run time. The result is the same with any instruction set.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Permutations that are computed in one pass over the shingles. As many as stay in registers.
const LANES: usize = 32;

/// The permutations behind a signature of `bands × rows` values.
#[derive(Debug, Clone)]
pub struct MinHash {
    rows: usize,
    permutations: usize,
    /// Multipliers (odd) and addends, padded to a multiple of `LANES`.
    a: Vec<[u32; LANES]>,
    b: Vec<[u32; LANES]>,
}

impl MinHash {
    /// The permutations for a seed. They never change, because signatures are stored.
    ///
    /// # Panics
    /// If `bands` or `rows` is 0.
    pub fn new(bands: usize, rows: usize, seed: u64) -> MinHash {
        assert!(
            bands > 0 && rows > 0,
            "a signature has at least one band of one row"
        );

        let permutations = bands * rows;
        let blocks = permutations.div_ceil(LANES);
        let (mut a, mut b) = (vec![[1; LANES]; blocks], vec![[0; LANES]; blocks]);

        let mut state = seed;
        for k in 0..permutations {
            let random = splitmix64(&mut state);
            // Only an odd multiplier permutes the numbers modulo 2³².
            a[k / LANES][k % LANES] = random as u32 | 1;
            b[k / LANES][k % LANES] = (random >> 32) as u32;
        }

        MinHash {
            rows,
            permutations,
            a,
            b,
        }
    }

    /// The number of values of a signature: bands × rows.
    pub fn signature_len(&self) -> usize {
        self.permutations
    }

    /// Writes the signature of `shingles`, which has `bands × rows` values, to `out`. Order and
    /// repeats of the shingles do not matter.
    ///
    /// Without shingles all values are `u32::MAX`. Such a document has no near-duplicates and
    /// should get no keys.
    ///
    /// # Panics
    /// If the length of `out` is not bands × rows.
    #[expect(
        unsafe_code,
        reason = "kernels for instruction sets that are found at run time: 2 times as fast as without"
    )]
    pub fn signature(&self, shingles: &[u64], out: &mut [u32]) {
        assert_eq!(
            out.len(),
            self.permutations,
            "a signature has bands × rows values"
        );

        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the instruction set was found.
                return unsafe { self.signature_avx512(shingles, out) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the instruction set was found.
                return unsafe { self.signature_avx2(shingles, out) };
            }
        }

        self.signature_scalar(shingles, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn signature_avx512(&self, shingles: &[u64], out: &mut [u32]) {
        self.signature_scalar(shingles, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn signature_avx2(&self, shingles: &[u64], out: &mut [u32]) {
        self.signature_scalar(shingles, out);
    }

    // Inlined into the two functions above, where the compiler uses their instruction sets for the
    // inner loop.
    #[inline(always)]
    fn signature_scalar(&self, shingles: &[u64], out: &mut [u32]) {
        for ((a, b), out) in self.a.iter().zip(&self.b).zip(out.chunks_mut(LANES)) {
            let mut least = [u32::MAX; LANES];
            for &shingle in shingles {
                let x = (shingle ^ shingle >> 32) as u32;
                for k in 0..LANES {
                    least[k] = least[k].min(x.wrapping_mul(a[k]).wrapping_add(b[k]));
                }
            }
            // The lanes that pad the last block are left out.
            out.copy_from_slice(&least[..out.len()]);
        }
    }

    /// Replaces `out` by one key for each band of `signature`. Documents that share a key are
    /// candidates.
    ///
    /// The band's index seeds the hash, so keys of different bands differ even if their rows agree.
    ///
    /// # Panics
    /// If the length of `signature` is not bands × rows.
    pub fn band_keys(&self, signature: &[u32], out: &mut Vec<u64>) {
        assert_eq!(
            signature.len(),
            self.permutations,
            "a signature has bands × rows values"
        );

        out.clear();
        let mut bytes = Vec::with_capacity(4 * self.rows);
        for (band, rows) in signature.chunks_exact(self.rows).enumerate() {
            bytes.clear();
            bytes.extend(rows.iter().flat_map(|row| row.to_le_bytes()));
            out.push(xxh3_64_with_seed(&bytes, band as u64));
        }
    }
}

/// The least shingle under a permutation that no signature uses. `None` without shingles.
///
/// Two documents of Jaccard similarity s have the same probe with probability s.
pub fn probe(shingles: &[u64]) -> Option<u64> {
    shingles
        .iter()
        .map(|shingle| (shingle ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0xd134_2543_de82_ef95))
        .min()
}

/// The next random number of SplitMix64: Steele, Lea and Flood 2014, *Fast splittable pseudorandom
/// number generators*.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(hash: &MinHash, shingles: &[u64]) -> Vec<u32> {
        let mut out = vec![0; hash.signature_len()];
        hash.signature(shingles, &mut out);
        out
    }

    fn keys(hash: &MinHash, shingles: &[u64]) -> Vec<u64> {
        let mut out = vec![1];
        hash.band_keys(&signature(hash, shingles), &mut out);
        out
    }

    /// Two sets with `both` shingles in common and `each` of their own.
    fn pair(state: &mut u64, both: usize, each: usize) -> (Vec<u64>, Vec<u64>) {
        let mut random = |n| (0..n).map(|_| splitmix64(state)).collect::<Vec<_>>();
        let common = random(both);
        (
            [common.clone(), random(each)].concat(),
            [random(each), common].concat(),
        )
    }

    #[test]
    fn every_instruction_set_gives_the_same() {
        let mut state = 5;
        for (bands, rows) in [(1, 1), (3, 5), (14, 8), (20, 13), (9, 32)] {
            let hash = MinHash::new(bands, rows, 42);
            for n in [0, 1, 2, 100] {
                let (shingles, _) = pair(&mut state, n, 0);
                let mut scalar = vec![0; bands * rows];
                hash.signature_scalar(&shingles, &mut scalar);
                assert_eq!(signature(&hash, &shingles), scalar);

                // The definition, without blocks.
                let defined: Vec<u32> = (0..bands * rows)
                    .map(|k| {
                        let (a, b) = (hash.a[k / LANES][k % LANES], hash.b[k / LANES][k % LANES]);
                        let values = shingles
                            .iter()
                            .map(|s| ((s ^ s >> 32) as u32).wrapping_mul(a).wrapping_add(b));
                        values.min().unwrap_or(u32::MAX)
                    })
                    .collect();
                assert_eq!(scalar, defined);
            }
        }
    }

    #[test]
    fn signatures_never_change() {
        // A change here invalidates every stored signature: bump the stage's version.
        let hash = MinHash::new(2, 2, 1);
        assert_eq!(signature(&hash, &[1, 2, 3, u64::MAX]), SIGNATURE);
        assert_eq!(keys(&hash, &[1, 2, 3, u64::MAX]), KEYS);
    }
    const SIGNATURE: [u32; 4] = [437029549, 612006408, 3928662795, 1015669169];
    const KEYS: [u64; 2] = [1652730342517927813, 10910744650225871196];

    #[test]
    fn order_and_repeats_do_not_matter_but_the_seed_does() {
        let hash = MinHash::new(14, 8, 1);
        assert_eq!(
            signature(&hash, &[5, 6, 7]),
            signature(&hash, &[7, 5, 5, 6, 7])
        );
        assert_ne!(
            signature(&hash, &[5, 6, 7]),
            signature(&MinHash::new(14, 8, 2), &[5, 6, 7])
        );
        assert_eq!(signature(&hash, &[]), [u32::MAX; 112]);
    }

    #[test]
    fn equal_rows_in_two_bands_give_two_keys() {
        let keys = keys(&MinHash::new(4, 3, 1), &[]);
        assert_eq!(
            keys.iter().collect::<std::collections::HashSet<_>>().len(),
            4
        );
    }

    #[test]
    fn the_estimator_is_unbiased_and_as_precise_as_theory() {
        let hash = MinHash::new(14, 8, 1);
        let (mut state, mut sum, mut squares, mut expected) = (11, 0.0, 0.0, 0.0);
        const PAIRS: usize = 1000;

        for n in 0..PAIRS {
            let (both, each) = (50 + n % 300, 1 + n % 97);
            let (a, b) = pair(&mut state, both, each);
            let jaccard = both as f64 / (both + 2 * each) as f64;

            let equal = signature(&hash, &a)
                .iter()
                .zip(signature(&hash, &b))
                .filter(|(x, y)| **x == *y)
                .count();
            let error = equal as f64 / 112.0 - jaccard;
            sum += error;
            squares += error * error;
            // The variance of a mean of 112 independent trials.
            expected += jaccard * (1.0 - jaccard) / 112.0;
        }

        let (bias, rmse, theory) = (
            sum / PAIRS as f64,
            (squares / PAIRS as f64).sqrt(),
            (expected / PAIRS as f64).sqrt(),
        );
        assert!(bias.abs() < 0.005, "bias {bias}");
        assert!(
            (rmse / theory - 1.0).abs() < 0.1,
            "root mean square error {rmse}, expected {theory}"
        );
    }

    #[test]
    fn pairs_meet_as_often_as_the_s_curve_says() {
        let hash = MinHash::new(14, 8, 3);
        let mut state = 13;
        for (both, each) in [(100, 50), (140, 30), (160, 20), (180, 10)] {
            let s = both as f64 / (both + 2 * each) as f64;
            let expected = 1.0 - (1.0 - s.powi(8)).powi(14);

            const PAIRS: usize = 1000;
            let met = (0..PAIRS)
                .filter(|_| {
                    let (a, b) = pair(&mut state, both, each);
                    keys(&hash, &a)
                        .iter()
                        .zip(keys(&hash, &b))
                        .any(|(x, y)| *x == y)
                })
                .count();
            let found = met as f64 / PAIRS as f64;
            assert!(
                (found - expected).abs() < 0.06,
                "similarity {s}: {found} of pairs meet, expected {expected}"
            );
        }
    }
}
