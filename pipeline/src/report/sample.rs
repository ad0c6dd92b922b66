//! The estimate of tokens in documents that were not counted, from a hash sample of such documents.

use anyhow::Result;
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use curate_schemas::stages::tokens::TOKENS;
use curate_stages::bytes_read;
use curate_stages::tokens::SAMPLE_BELOW;
use curate_store::run_dir::ShardFiles;
use curate_store::zip::{Zip, part};

/// Sums over the hash sample. They estimate tokens of the documents that `tokens.scope` leaves out.
///
/// The estimate is tokens by bytes, a ratio estimator (Cochran 1977, ch. 6). The sample consists of
/// the sampled documents that did not reach `tokens`.
#[derive(Debug, Default)]
pub(super) struct TokenSample {
    docs: u64,
    tokens: u64,
    bytes: u64,
    /// Σ t², Σ t·b and Σ b², where t is the tokens and b the bytes of a sampled document.
    squares: [f64; 3],
}

impl TokenSample {
    /// The sample of a run, from its committed tables.
    pub(super) fn read(shards: &[ShardFiles]) -> Result<TokenSample> {
        let mut sample = TokenSample::default();

        // Shards in their order: the squares are floats, so the order of additions counts.
        for files in shards {
            let length = bytes_read(TOKENS.name);
            let parts = [
                part(files, length.table, &["doc_id", length.column])?,
                part(files, "tokens", &["reached", "tokens"])?,
            ];

            for batch in Zip::open(&parts)? {
                let batch = batch?;
                let ids = batch.column(0).as_string::<i32>();
                let bytes = batch.column(1).as_primitive::<UInt64Type>();
                let reached = batch.column(2).as_boolean();
                let tokens = batch.column(3).as_primitive::<UInt64Type>();

                // Documents that reached `tokens` need no estimate, and are not like the others.
                for row in (0..batch.num_rows()).filter(|&row| !reached.value(row)) {
                    if ids.value(row) < SAMPLE_BELOW && tokens.is_valid(row) {
                        sample.add(tokens.value(row), bytes.value(row));
                    }
                }
            }
        }
        Ok(sample)
    }

    /// Adds one sampled document.
    fn add(&mut self, tokens: u64, bytes: u64) {
        self.docs += 1;
        self.tokens += tokens;
        self.bytes += bytes;

        let (t, b) = (tokens as f64, bytes as f64);
        for (sum, term) in self.squares.iter_mut().zip([t * t, t * b, b * b]) {
            *sum += term;
        }
    }

    /// The estimated tokens of a text of `bytes` bytes, rounded. 0 if the sample is empty.
    pub(super) fn estimate(&self, bytes: u64) -> u64 {
        // In integers, so that sums of estimates are exact in any order.
        let scaled = u128::from(bytes) * u128::from(self.tokens);
        ((scaled + u128::from(self.bytes) / 2) / u128::from(self.bytes.max(1))) as u64
    }

    /// Half the 95 % interval of the tokens in `bytes` bytes of text. `u64::MAX` if the sample has
    /// fewer than two documents or no bytes.
    ///
    /// The interval has two parts: the error of the ratio, and the spread of single texts about the
    /// ratio. The number of texts is taken to be `bytes` over the mean size of a sampled document.
    pub(super) fn half_width(&self, bytes: u64) -> u64 {
        if self.docs < 2 || self.bytes == 0 {
            return u64::MAX;
        }

        // Σ (t - ratio·b)², expanded. Rounding can take it below 0.
        let ratio = self.tokens as f64 / self.bytes as f64;
        let [tt, tb, bb] = self.squares;
        let residuals = (tt - 2.0 * ratio * tb + ratio * ratio * bb).max(0.0);

        let n = self.docs as f64;
        let docs = bytes as f64 / (self.bytes as f64 / n);
        let variance = residuals / (n - 1.0);
        (1.96 * (docs * docs * variance / n + docs * variance).sqrt()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_constant_ratio_has_no_error() {
        let mut sample = TokenSample::default();
        (1..100).for_each(|n| sample.add(n, 4 * n));
        assert_eq!(sample.estimate(4000), 1000);
        assert_eq!(sample.half_width(1_000_000), 0);

        sample.add(100, 500);
        assert!(sample.half_width(1_000_000) > 0);
        assert_eq!(TokenSample::default().estimate(100), 0);
    }
}
