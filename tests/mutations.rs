//! Mutated bytes for whatever reads files. Crates include this file in their tests by its path.
//!
//! `CURATE_FUZZ_CASES` sets the number of cases for each reader and `CURATE_FUZZ_SEED` where they
//! begin. `make fuzz` takes many cases.

/// splitmix64 (Steele et al. 2014): each case has a state of its own, so that one case can be made again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const WORDS: [&[u8]; 14] = [
            b"\"",
            b"\\",
            b"\\ud800",
            b"{",
            b"[[[[",
            b"null",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\0",
            b"\r\n",
            b"\n\n",
            b"1e999",
            b"\x7f\xff\xff\xff",
            b"\xf0\x80\x80\xaf",
        ];
        for _ in 0..=self.below(6) {
            let (at, to) = (self.below(bytes.len()), self.below(bytes.len() + 1));
            let range = at.min(to)..at.max(to);
            match self.below(8) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(range.start..range.end.min(range.start + 64))),
                3 => bytes.truncate(range.end),
                4 => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                5 => {
                    let copy = bytes[range.start..range.end.min(range.start + 512)].to_vec();
                    bytes.splice(to..to, copy);
                }
                6 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len());
                    bytes.splice(
                        at..at,
                        other[from..].iter().take(200).copied().collect::<Vec<u8>>(),
                    );
                }
                _ => bytes.extend((0..self.below(5000)).map(|_| b'a')),
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Calls `each` with mutations of the seeds and prints the seed of a case that fails.
pub(crate) fn cases(what: &str, seeds: &[Vec<u8>], mut each: impl FnMut(&[u8])) {
    let (cases, first) = (
        setting("CURATE_FUZZ_CASES", 3000),
        setting("CURATE_FUZZ_SEED", 1),
    );
    println!("{what}: seed {first}");
    for case in 0..cases {
        let seed = first.wrapping_add(case);
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut bytes = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut bytes, seeds);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(&bytes)));
        if let Err(panic) = outcome {
            println!(
                "{what}: CURATE_FUZZ_SEED={seed} CURATE_FUZZ_CASES=1 shows it again: {bytes:?}"
            );
            std::panic::resume_unwind(panic);
        }
    }
    println!("figure: fuzz cases, {what}: {cases}");
}
