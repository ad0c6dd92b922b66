//! Documents to scores: `sum_nll = −Σ ln p(t_i | t_<i)` over the scored tokens, in nats.
//!
//! Everything that depends on a device is behind [`Forward`], so that batching and running out of
//! memory are tested without a device. A batch for which the device lacks memory is halved, and
//! later batches are at most half as large from the start. A document's sum is added up in f64 in
//! the order of its tokens, whatever the batches were. Batches therefore change only how the device
//! rounds: below 1e-4 nats a token in f32.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lm::LmError;
use crate::lm::batch::{PaddingWaste, plan};
use crate::lm::decoder::{Decoder, Input};
use crate::lm::window::{Window, Windowing};

/// What scores a batch: a decoder on a device, or a stand-in in tests.
pub trait Forward: Send + Sync {
    /// Name of the device, for messages.
    fn device(&self) -> String;

    /// For each input, `ln p(t_i | t_<i)` in nats for each i from `first_scored` on.
    ///
    /// # Errors
    /// [`LmError::OutOfMemory`] if a smaller batch may succeed. All other errors are final.
    fn log_probs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, LmError>;
}

impl Forward for Decoder {
    fn device(&self) -> String {
        crate::lm::device::name(&self.options().device)
    }

    fn log_probs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, LmError> {
        Decoder::log_probs(self, inputs).map_err(|error| match error {
            LmError::Backend(error) if crate::lm::device::is_out_of_memory(&error) => {
                LmError::OutOfMemory {
                    device: Forward::device(self),
                    documents: inputs.len(),
                    tokens: inputs.iter().map(|input| input.tokens.len()).sum(),
                }
            }
            error => error,
        })
    }
}

/// The score of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DocScore {
    /// Number of scored tokens. 0 if the document is too short for any.
    pub n_scored: u64,
    /// −Σ ln p over the scored tokens, in nats.
    pub sum_nll: f64,
    /// UTF-8 bytes of the text of the scored tokens, as the tokenizer normalises the text.
    pub bytes_scored: u64,
}

impl DocScore {
    /// Nats per token. `None` if no token was scored.
    pub fn mean_nll(&self) -> Option<f64> {
        (self.n_scored > 0).then(|| self.sum_nll / self.n_scored as f64)
    }

    /// e to the power of the nats per token. `None` if no token was scored.
    pub fn perplexity(&self) -> Option<f64> {
        self.mean_nll().map(f64::exp)
    }

    /// Bits per byte of the scored text. `None` if that text has no bytes.
    pub fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes_scored > 0)
            .then(|| self.sum_nll / std::f64::consts::LN_2 / self.bytes_scored as f64)
    }
}

/// How many tokens were read, and what padding would have cost, for the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScoreStats {
    /// Tokens that were read, without and with padding.
    pub padding: PaddingWaste,
    /// Number of runs, including runs that failed for lack of memory and the runs of their halves.
    pub batches: u64,
    /// Number of batches that were halved because the device ran out of memory.
    pub halved: u64,
}

impl ScoreStats {
    /// Adds the counts of `other` to these.
    pub fn add(&mut self, other: ScoreStats) {
        self.padding.add(other.padding);
        self.batches += other.batches;
        self.halved += other.halved;
    }
}

/// Scores documents in batches.
pub struct Scorer<F> {
    forward: F,
    windowing: Windowing,
    /// The most tokens of a padded batch, as planned. The last digits of a score depend on it.
    budget_tokens: usize,
    /// Bytes of the text of each token, by id. Empty if bytes are not counted.
    token_bytes: Vec<u16>,
    /// The most tokens of a padded batch to run at once. Lowered when the device runs out of
    /// memory.
    fits_tokens: AtomicUsize,
}

impl<F: Forward> Scorer<F> {
    /// A scorer with a budget of tokens for a padded batch. `token_bytes` holds the bytes of each
    /// token's text, by id.
    pub fn new(
        forward: F,
        windowing: Windowing,
        budget_tokens: usize,
        token_bytes: Vec<u16>,
    ) -> Scorer<F> {
        Scorer {
            forward,
            windowing,
            budget_tokens,
            token_bytes,
            fits_tokens: AtomicUsize::new(usize::MAX),
        }
    }

    /// Runs at most `batch_tokens` padded tokens at once. Larger batches go in halves.
    ///
    /// The plan still follows the budget, so the limit changes memory and only the last digits of a
    /// score.
    pub fn limited_to(self, batch_tokens: usize) -> Scorer<F> {
        Scorer {
            fits_tokens: AtomicUsize::new(batch_tokens),
            ..self
        }
    }

    /// The decoder that scores the batches.
    pub fn into_forward(self) -> F {
        self.forward
    }

    /// How documents are cut into windows.
    pub fn windowing(&self) -> &Windowing {
        &self.windowing
    }

    /// One score for each document, in order. A document is its token ids, without a
    /// beginning-of-sequence token.
    ///
    /// # Errors
    /// [`LmError::OutOfMemory`] if not even one window fits, and the errors of the decoder.
    pub fn score(&self, documents: &[Vec<u32>]) -> Result<(Vec<DocScore>, ScoreStats), LmError> {
        let (log_probs, stats) = self.log_probs(documents)?;

        let scores = documents
            .iter()
            .zip(&log_probs)
            .map(|(document, windows)| self.doc_score(document, windows))
            .collect();

        Ok((scores, stats))
    }

    /// Adds up the windows of a document.
    fn doc_score(&self, document: &[u32], windows: &[(Window, Vec<f32>)]) -> DocScore {
        let mut score = DocScore::default();
        for (window, log_probs) in windows {
            score.n_scored += log_probs.len() as u64;
            score.sum_nll -= log_probs.iter().map(|&p| f64::from(p)).sum::<f64>();

            let scored = &document[window.first_scored..window.tokens.end];
            score.bytes_scored += scored
                .iter()
                .map(|&id| u64::from(self.token_bytes.get(id as usize).copied().unwrap_or(0)))
                .sum::<u64>();
        }

        score
    }

    /// For each document its windows, and for each window `ln p` of the scored tokens, in nats.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    #[expect(clippy::type_complexity, reason = "documents, windows, tokens")]
    pub fn log_probs(
        &self,
        documents: &[Vec<u32>],
    ) -> Result<(Vec<Vec<(Window, Vec<f32>)>>, ScoreStats), LmError> {
        let windows: Vec<Vec<Window>> = documents
            .iter()
            .map(|doc| self.windowing.windows(doc.len()))
            .collect();

        // Each input is taken out when its batch runs, so that none is copied.
        let mut inputs: Vec<Option<Input>> = Vec::new();
        for (document, windows) in documents.iter().zip(&windows) {
            inputs.extend(
                windows
                    .iter()
                    .map(|window| Some(self.windowing.input(document, window))),
            );
        }

        let lengths: Vec<usize> = inputs
            .iter()
            .flatten()
            .map(|input| input.tokens.len())
            .collect();
        let plan = plan(&lengths, self.budget_tokens);

        let mut stats = ScoreStats {
            padding: plan.padding,
            ..ScoreStats::default()
        };

        // The plan sorts by length. The results go back to the order of the windows.
        let mut found: Vec<Vec<f32>> = vec![Vec::new(); inputs.len()];
        for batch in plan.batches {
            let members = &plan.order[batch];
            let batch: Vec<Input> = members.iter().filter_map(|&i| inputs[i].take()).collect();
            for (&i, log_probs) in members.iter().zip(self.run(&batch, &mut stats)?) {
                found[i] = log_probs;
            }
        }

        let mut found = found.into_iter();
        let scored = windows
            .into_iter()
            .map(|windows| windows.into_iter().zip(found.by_ref()).collect())
            .collect();

        Ok((scored, stats))
    }

    /// Runs a batch, in halves if the device has too little memory for the whole. The inputs are
    /// sorted, longest first.
    fn run(&self, inputs: &[Input], stats: &mut ScoreStats) -> Result<Vec<Vec<f32>>, LmError> {
        let padded = inputs.first().map_or(0, |input| input.tokens.len()) * inputs.len();

        // A single input cannot be halved, so it runs whatever the limit is.
        if inputs.len() == 1 || padded <= self.fits_tokens.load(Ordering::Relaxed) {
            stats.batches += 1;
            match self.forward.log_probs(inputs) {
                Err(LmError::OutOfMemory { .. }) if inputs.len() > 1 => {
                    // The limit is a hint between threads, so relaxed order is enough: a thread
                    // that misses the change halves its own batch.
                    stats.halved += 1;
                    self.fits_tokens
                        .fetch_min(padded.div_ceil(2), Ordering::Relaxed);
                }
                outcome => return outcome,
            }
        }

        let (first, second) = inputs.split_at(inputs.len().div_ceil(2));
        let mut all = self.run(first, stats)?;
        all.extend(self.run(second, stats)?);
        Ok(all)
    }
}
