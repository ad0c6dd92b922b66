//! The small models that measure mixtures.

use std::hash::BuildHasher;

use anyhow::Result;
use curate_scorers::calibrate::ngram_proxy::{self, NgramProxy};
use curate_scorers::calibrate::plan::PlannedRun;
use curate_scorers::calibrate::transformer_proxy::{Training, TransformerProxy};
use curate_scorers::lm::device::DeviceChoice;
use curate_store::failure::{Exit, Failure};
use xxhash_rust::xxh3::Xxh3Builder;

use super::target::Target;
use super::texts;

/// The id before the start of a piece and of a target's document.
const SEPARATOR: u32 = 0;
/// Tokens of a target that a transformer is measured on. Measuring a token costs a third of training
/// on one, so a whole target would cost more than the training.
const MEASURED: usize = 60_000;

/// The model that measures a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyKind {
    /// One n-gram model of the mixture
    Ngram,
    /// N-gram models of the mixture and of each bucket, weighted anew in each document; three times
    /// the work
    Experts,
    /// A transformer of 0.4 million parameters on the CPU, half a minute of a core for each mixture
    /// of 400k tokens, or of 9 million parameters on a GPU
    Transformer,
}

impl ProxyKind {
    /// The name in `calibration.json`.
    pub fn name(self) -> &'static str {
        match self {
            ProxyKind::Ngram => "ngram",
            ProxyKind::Experts => "experts",
            ProxyKind::Transformer => "transformer",
        }
    }

    /// The length of the longest n-gram; `None` for a model that is no n-gram model.
    pub fn order(self) -> Option<usize> {
        (self != ProxyKind::Transformer).then_some(ngram_proxy::ORDER)
    }

    /// True if exact repeats must not lower the loss, as with n-gram models.
    pub fn counts_once(self) -> bool {
        self != ProxyKind::Transformer
    }
}

/// A proxy that is ready to measure mixtures.
pub enum Proxy {
    /// N-gram models, and true if they adapt to each document.
    Ngram(Box<NgramProxy>, bool),
    /// A transformer, with what its losses depend on in words.
    Transformer(Box<TransformerProxy>, String),
}

impl Proxy {
    /// Prepares the targets. `vocabulary` is the number of token ids.
    ///
    /// # Errors
    /// Exit 2 if the device cannot be used, or if there are too many token ids.
    pub fn open(
        kind: ProxyKind,
        device: &str,
        targets: &[Target],
        vocabulary: usize,
    ) -> Result<Proxy> {
        let usage = |error: String| Failure::new(Exit::Usage, error);
        if kind != ProxyKind::Transformer {
            let prepared: Vec<_> = targets.iter().map(|target| target.tokens.clone()).collect();
            let proxy = NgramProxy::new(&prepared, vocabulary, SEPARATOR)
                .map_err(|error| usage(error.to_string()))?;
            return Ok(Proxy::Ngram(Box::new(proxy), kind == ProxyKind::Experts));
        }

        let device = DeviceChoice::parse(device)
            .and_then(DeviceChoice::open)
            .map_err(|error| usage(format!("--device: {error}")))?;
        let training = Training::on(&device);
        let words = format!(
            "transformer {training:?} {} {MEASURED}",
            curate_scorers::lm::device::name(&device)
        );
        let prepared: Vec<_> = targets.iter().map(head).collect();
        let proxy = TransformerProxy::new(&prepared, vocabulary, SEPARATOR, training, device)
            .map_err(|error| usage(error.to_string()))?;
        Ok(Proxy::Transformer(Box::new(proxy), words))
    }

    /// All that a loss depends on beside the draws and the targets.
    pub fn words(&self) -> String {
        match self {
            Proxy::Ngram(_, adapts) => {
                let kind = if *adapts { "experts" } else { "ngram" };
                format!("{kind} {} {}", ngram_proxy::ORDER, texts::PIECE)
            }
            Proxy::Transformer(_, words) => format!("{words} {}", texts::PIECE),
        }
    }

    /// True if several mixtures are measured at a time. A transformer has threads of its own.
    pub fn is_parallel(&self) -> bool {
        matches!(self, Proxy::Ngram(..))
    }

    /// The loss of a run on each target, in bits per byte. `pieces` is the text of the run by
    /// bucket, each piece once.
    ///
    /// # Errors
    /// If a transformer cannot be trained.
    pub fn losses(&self, pieces: Vec<Vec<&[u32]>>, run: &PlannedRun) -> Result<Vec<f64>> {
        match self {
            Proxy::Ngram(proxy, adapts) => {
                let mut pieces = pieces;
                for own in &mut pieces {
                    let once = own.len();
                    for _ in 1..run.epochs {
                        own.extend_from_within(..once);
                    }
                }
                Ok(match adapts {
                    true => proxy.adapted_losses(&pieces),
                    false => proxy.losses(pieces.iter().flatten().copied()),
                })
            }
            Proxy::Transformer(proxy, _) => {
                let pieces: Vec<&[u32]> = pieces.into_iter().flatten().collect();
                Ok(proxy.losses(&pieces, run.epochs, run.seed)?)
            }
        }
    }
}

/// The documents of a target that a transformer is measured on: about [`MEASURED`] tokens, in an
/// order that follows from the tokens. Documents of a tenth of that or more are left out.
fn head(target: &Target) -> ngram_proxy::Target {
    let hasher = Xxh3Builder::new();
    let mut order: Vec<usize> = (0..target.tokens.documents.len())
        .filter(|&at| target.tokens.documents[at].len() < MEASURED / 10)
        .collect();
    order.sort_by_cached_key(|&at| (hasher.hash_one(&target.tokens.documents[at]), at));

    let mut head = ngram_proxy::Target::default();
    let mut tokens = 0;
    for at in order {
        if tokens >= MEASURED {
            break;
        }
        let document = &target.tokens.documents[at];
        tokens += document.len();
        head.bytes += target.lengths[at];
        head.documents.push(document.clone());
    }
    head
}
