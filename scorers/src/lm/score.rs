//! Documents to scores: `sum_nll = −Σ ln p(t_i | t_<i)` over the scored tokens, in nats.
//!
//! Everything that depends on a device is behind [`Forward`], so that batching and running out of
//! memory are tested without one. Out of memory halves a batch and goes on; later batches are cut
//! to what did fit. A document's sum is added up in f64 in the order of its tokens, whatever the
//! batches were: they change only how the device rounds (below 1e-4 nats a token in f32).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lm::LmError;
use crate::lm::batch::{PaddingWaste, plan};
use crate::lm::decoder::{Decoder, Input};
use crate::lm::window::{Window, Windowing};

/// What scores a batch: a decoder on some device, or a stand-in for it in tests.
pub trait Forward: Send + Sync {
    /// The device, for messages.
    fn device(&self) -> String;

    /// For each input, `ln p(t_i | t_<i)` in nats for i from `first_scored` on.
    ///
    /// # Errors
    /// [`LmError::OutOfMemory`] if a smaller batch may succeed; all others are final.
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
    /// Tokens that were scored; 0 if the document is too short for any.
    pub n_scored: u64,
    /// −Σ ln p of them, in nats.
    pub sum_nll: f64,
    /// UTF-8 bytes of the text of the scored tokens, as the tokenizer normalises it.
    pub bytes_scored: u64,
}

impl DocScore {
    /// Nats per token; null if none was scored.
    pub fn mean_nll(&self) -> Option<f64> {
        (self.n_scored > 0).then(|| self.sum_nll / self.n_scored as f64)
    }

    /// exp of the nats per token; null if none was scored.
    pub fn perplexity(&self) -> Option<f64> {
        self.mean_nll().map(f64::exp)
    }

    /// Bits per byte of the scored text; null if it has no bytes.
    pub fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes_scored > 0)
            .then(|| self.sum_nll / std::f64::consts::LN_2 / self.bytes_scored as f64)
    }
}

/// How many tokens were read and what padding would have cost, for the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScoreStats {
    /// Tokens read, and with padding.
    pub padding: PaddingWaste,
    /// Batches that ran, retried halves included.
    pub batches: u64,
    /// Batches halved because the device ran out of memory.
    pub halved: u64,
}

impl ScoreStats {
    /// Adds another's.
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
    /// Tokens of a padded batch. Part of what determines the last digits of a score.
    budget_tokens: usize,
    /// Bytes of the text of each token, by id; empty if not wanted.
    token_bytes: Vec<u16>,
    /// The most tokens of a padded batch that the device has had memory for.
    fits_tokens: AtomicUsize,
}

impl<F: Forward> Scorer<F> {
    /// A scorer with a budget of tokens for a padded batch; `token_bytes` are the bytes of each
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

    /// Runs no batch of more padded tokens than that at once: larger ones go in halves. The plan
    /// stays what the budget made it, so this changes what is in memory and only the last digits of
    /// a score.
    pub fn limited_to(self, batch_tokens: usize) -> Scorer<F> {
        Scorer {
            fits_tokens: AtomicUsize::new(batch_tokens),
            ..self
        }
    }

    /// What scores the batches.
    pub fn into_forward(self) -> F {
        self.forward
    }

    /// How documents are cut.
    pub fn windowing(&self) -> &Windowing {
        &self.windowing
    }

    /// One score for each document, in order; a document is its token ids without
    /// beginning-of-sequence token.
    ///
    /// # Errors
    /// [`LmError::OutOfMemory`] if not even one window fits; those of the decoder.
    pub fn score(&self, documents: &[Vec<u32>]) -> Result<(Vec<DocScore>, ScoreStats), LmError> {
        let (log_probs, stats) = self.log_probs(documents)?;
        let score = |(document, windows): (&Vec<u32>, &Vec<(Window, Vec<f32>)>)| {
            let mut score = DocScore::default();
            for (window, log_probs) in windows {
                score.n_scored += log_probs.len() as u64;
                score.sum_nll -= log_probs.iter().map(|&p| f64::from(p)).sum::<f64>();
                let scored = &document[window.first_scored..window.tokens.end];
                let bytes =
                    |&id: &u32| u64::from(self.token_bytes.get(id as usize).copied().unwrap_or(0));
                score.bytes_scored += scored.iter().map(bytes).sum::<u64>();
            }
            score
        };
        Ok((documents.iter().zip(&log_probs).map(score).collect(), stats))
    }

    /// For each document its windows, and for each window `ln p` of the scored tokens.
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
        let mut found: Vec<Vec<f32>> = vec![Vec::new(); inputs.len()];
        for batch in plan.batches {
            let members = &plan.order[batch];
            let batch: Vec<Input> = members.iter().filter_map(|&i| inputs[i].take()).collect();
            for (&i, log_probs) in members.iter().zip(self.run(&batch, &mut stats)?) {
                found[i] = log_probs;
            }
        }
        let mut found = found.into_iter();
        let zip = |windows: Vec<Window>| windows.into_iter().zip(found.by_ref()).collect();
        Ok((windows.into_iter().map(zip).collect(), stats))
    }

    /// Runs a batch, in halves if the device has too little memory for all of it. The inputs are
    /// sorted, longest first.
    fn run(&self, inputs: &[Input], stats: &mut ScoreStats) -> Result<Vec<Vec<f32>>, LmError> {
        let padded = inputs.first().map_or(0, |input| input.tokens.len()) * inputs.len();
        if inputs.len() == 1 || padded <= self.fits_tokens.load(Ordering::Relaxed) {
            stats.batches += 1;
            match self.forward.log_probs(inputs) {
                Err(LmError::OutOfMemory { .. }) if inputs.len() > 1 => {
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
