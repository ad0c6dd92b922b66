//! The pool in buckets, with the q of one target of the calibration.

use std::collections::BTreeMap;

use anyhow::Result;
use curate_schemas::Manifest;
use curate_schemas::calibration::Refit;
use curate_schemas::stages::mixtures::Mixture;
use curate_scorers::loss::unique_equivalent;
use curate_stages::calibrated::{self, Calibrated, CalibrationError};
use curate_stages::mix::{self, Bucket, Law, Parts, Request};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;

use super::{Draws, Pooled, gather_pool, request};

/// The pool with its buckets. Buckets are cut by the score, so that they are the same for all
/// targets.
pub struct Weighed {
    /// The documents.
    pub pool: Pooled,
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// The calibration that q comes from; `None` if q is uncalibrated.
    pub calibrated: Option<Calibrated>,
    /// The target that documents have the q of; `None` for that of `[quality]`.
    target: Option<String>,
    /// True once `calibrated` was looked for.
    is_opened: bool,
}

impl Weighed {
    /// Reads the pool and sorts it into buckets. q is that of the column.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn gather(run: &RunDir) -> Result<Weighed> {
        let pool = gather_pool(&run.shard_files()?)?;
        let buckets = mix::buckets(&pool.documents);
        Ok(Weighed {
            pool,
            buckets,
            calibrated: None,
            target: None,
            is_opened: false,
        })
    }

    /// Gives every document and bucket the q that `mixture` is solved with: of its own target, or
    /// of the target of `[quality]`. `None` stands for no mixture.
    ///
    /// # Errors
    /// Exit 2 if the calibration cannot be used.
    pub fn weigh(&mut self, manifest: &Manifest, mixture: Option<&Mixture>) -> Result<()> {
        let target = mixture.and_then(|mixture| mixture.target.clone());
        if self.is_opened && target == self.target {
            return Ok(());
        }

        self.calibrated = opened(manifest, target.as_deref())?;
        self.is_opened = true;
        let had = std::mem::replace(&mut self.target, target);
        // The column holds the q of the target of `[quality]`.
        if had == self.target {
            return Ok(());
        }

        let q = |document: &mix::Document| self.q(document);
        let all: Vec<f64> = self.pool.documents.iter().map(q).collect();
        for (document, q) in self.pool.documents.iter_mut().zip(all) {
            document.q = q;
        }
        mix::weigh(&self.pool.documents, &mut self.buckets);
        Ok(())
    }

    /// q of a document by the calibration.
    fn q(&self, document: &mix::Document) -> f64 {
        let (source, domain) = &self.pool.origins[document.origin as usize];
        let group = self
            .calibrated
            .as_ref()
            .and_then(|calibrated| calibrated.group(source, domain));
        group.map_or(document.score, |group| group.q(document.score))
    }

    /// The law by which effective tokens add up.
    pub fn law(&self) -> Law {
        let Some(calibrated) = &self.calibrated else {
            return Law::default();
        };
        let part = |(source, domain): &(String, String)| {
            // The stage `quality` has refused a run with a group that was not seen.
            calibrated
                .group(source, domain)
                .map_or(0, |group| group.part as u32)
        };
        Law {
            rho: calibrated.target().law.rho,
            part_of: self.pool.origins.iter().map(part).collect(),
        }
    }

    /// The request of a mixture for tokens of the pool, under the law.
    pub fn request(&self, manifest: &Manifest, mixture: &Mixture) -> Request {
        Request {
            law: self.law(),
            ..request(manifest, mixture, &self.pool)
        }
    }

    /// Token-weighted mean q of each bucket for each target of the calibration, by the name of the
    /// target, of the targets that a run may use. Empty without a calibration.
    ///
    /// # Errors
    /// Exit 2 if the calibration cannot be used.
    pub fn q_by_target(&self, manifest: &Manifest) -> Result<BTreeMap<String, Vec<f64>>> {
        let every = calibrated::of_every_target(&manifest.quality);
        let Some(calibrated) = every.map_err(|error| unusable(manifest, &error))? else {
            return Ok(BTreeMap::new());
        };

        // A step has one q for each target, so a bucket needs its tokens by step only.
        let file = &calibrated.file;
        let mut means: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for bucket in &self.buckets {
            let (source, domain) = &self.pool.origins[bucket.origin as usize];
            let group = calibrated.group(source, domain);
            let mut tokens: BTreeMap<usize, u64> = BTreeMap::new();
            for &at in &bucket.documents {
                let document = &self.pool.documents[at as usize];
                if let Some(group) = group {
                    *tokens.entry(group.bucket(document.score)).or_default() += document.tokens;
                }
            }

            for target in calibrated.usable_targets() {
                let weighted = tokens.iter().map(|(&place, &tokens)| {
                    let q = calibrated.q_of(&file.buckets[place], &target.name);
                    u128::from(mix::fixed_point(q)) * u128::from(tokens)
                });
                let mean = mix::ratio(weighted.sum(), u128::from(bucket.tokens));
                means.entry(target.name.clone()).or_default().push(mean);
            }
        }
        Ok(means)
    }
}

/// What is drawn of a bucket.
struct Drawn {
    origin: u32,
    /// D′ of the draws, in tokens.
    d_repeat: f64,
    /// The share of the drawn tokens in each bucket of the calibration, by its place.
    shares: Vec<(usize, f64)>,
}

impl Weighed {
    /// D_eff of some draws under each refit of the calibration; empty without refits.
    pub fn refitted(&self, draws: &Draws) -> Vec<f64> {
        let Some(calibrated) = &self.calibrated else {
            return Vec::new();
        };
        let refits = &calibrated.target().refits;
        if refits.is_empty() {
            return Vec::new();
        }

        let law = self.law();
        let mut drawn: Vec<Drawn> = Vec::new();
        for bucket in &self.buckets {
            let (source, domain) = &self.pool.origins[bucket.origin as usize];
            let Some(group) = calibrated.group(source, domain) else {
                continue;
            };
            let (mut unique, mut tokens) = (0, 0);
            let mut steps: BTreeMap<usize, u64> = BTreeMap::new();
            for &at in &bucket.documents {
                let (document, draws) = (&self.pool.documents[at as usize], draws[at as usize]);
                if draws > 0 {
                    let repeated = document.tokens * u64::from(draws);
                    unique += document.tokens;
                    tokens += repeated;
                    *steps.entry(group.bucket(document.score)).or_default() += repeated;
                }
            }
            if unique > 0 {
                let d_repeat = unique_equivalent(unique as f64, tokens as f64 / unique as f64);
                let shares = steps
                    .into_iter()
                    .map(|(place, own)| (place, own as f64 / tokens as f64));
                drawn.push(Drawn {
                    origin: bucket.origin,
                    d_repeat,
                    shares: shares.collect(),
                });
            }
        }

        let d_eff = |refit: &Refit| {
            let law = Law {
                rho: refit.rho,
                ..law.clone()
            };
            let mut parts = Parts::default();
            for own in &drawn {
                let shares = own.shares.iter();
                let q: f64 = shares.map(|(at, share)| refit.q[*at] * share).sum();
                parts.add(&law, own.origin, q * own.d_repeat);
            }
            parts.total(&law)
        };
        refits.iter().map(d_eff).collect()
    }
}

/// The calibration of a manifest for a target, or for that of `[quality]`.
///
/// # Errors
/// Exit 2 if the calibration cannot be used.
pub fn opened(manifest: &Manifest, target: Option<&str>) -> Result<Option<Calibrated>> {
    Ok(
        calibrated::chosen(&manifest.quality, target)
            .map_err(|error| unusable(manifest, &error))?,
    )
}

/// The failure of a calibration that cannot be used.
fn unusable(manifest: &Manifest, error: &CalibrationError) -> Failure {
    let name = manifest.quality.calibration.as_deref().unwrap_or_default();
    Failure::new(Exit::Usage, format!("quality.calibration {name}: {error}"))
}
