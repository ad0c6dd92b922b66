//! The request for a mixture (tokens, shares of sources, caps on epochs), and the check whether it
//! can be met.

use super::pool::sum;
use super::{Bucket, Law};

/// A request for a mixture. Shares are not bounded if the list of sources is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Tokens of the mixture, with repeats.
    pub tokens: u64,
    /// Most epochs over any bucket, above 0.
    pub max_epochs: f64,
    /// Bounds of the sources, by the source's number.
    pub sources: Vec<SourceBounds>,
    /// Number of the source, by a bucket's `origin`. An origin beyond the end belongs to source 0.
    pub source_of: Vec<u32>,
    /// How the effective tokens of sources add up. All origins of a source of the request must be
    /// of one source of the law.
    pub law: Law,
}

/// The bounds of one source in a mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceBounds {
    /// Name of the source, for messages.
    pub name: String,
    /// Least share of the mixture's tokens, 0 to 1.
    pub min_share: f64,
    /// Greatest share of the mixture's tokens, `min_share` to 1.
    pub max_share: f64,
    /// Most epochs over the source's buckets, above 0; `None`: the mixture's.
    pub max_epochs: Option<f64>,
}

impl SourceBounds {
    /// A source without bounds of its own.
    pub fn free(name: impl Into<String>) -> Self {
        SourceBounds {
            name: name.into(),
            min_share: 0.0,
            max_share: 1.0,
            max_epochs: None,
        }
    }
}

impl Request {
    /// A request for `tokens` tokens with one cap on epochs. All buckets belong to one source.
    pub fn new(tokens: u64, max_epochs: f64) -> Self {
        Request {
            tokens,
            max_epochs,
            ..Request::default()
        }
    }

    /// The number of a bucket's source.
    pub fn source(&self, bucket: &Bucket) -> usize {
        self.source_of
            .get(bucket.origin as usize)
            .map_or(0, |&source| source as usize)
    }

    /// The caps on epochs, one for each bucket.
    pub fn caps(&self, buckets: &[Bucket]) -> Vec<f64> {
        buckets
            .iter()
            .map(|bucket| self.cap(self.source(bucket)))
            .collect()
    }

    fn cap(&self, source: usize) -> f64 {
        self.sources
            .get(source)
            .and_then(|bounds| bounds.max_epochs)
            .unwrap_or(self.max_epochs)
    }
}

/// A request that cannot be met.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{constraint}")]
pub struct Infeasible {
    /// The constraint that cannot be met.
    pub constraint: Constraint,
    /// The most tokens that are possible; 0 if no number of tokens is.
    pub feasible: u64,
}

/// The constraint that a request breaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Constraint {
    /// A setting is out of its range, or a source's least share is above its greatest.
    #[error("{what} of {whose} is {value}, expected {expected}")]
    Setting {
        /// The source, mixture or method that has the setting.
        whose: String,
        /// Name of the setting.
        what: &'static str,
        /// Value of the setting.
        value: f64,
        /// Range of the setting, in words.
        expected: &'static str,
    },
    /// The least shares sum to more than 1.
    #[error("the least shares of the sources sum to {}, more than 1", shown(*sum))]
    MinShares {
        /// Sum of the least shares.
        sum: f64,
    },
    /// The greatest shares sum to less than 1.
    #[error("the greatest shares of the sources sum to {}, less than 1", shown(*sum))]
    MaxShares {
        /// Sum of the greatest shares.
        sum: f64,
    },
    /// The fixed shares do not sum to 1.
    #[error("the shares of the sources sum to {}, expected 1", shown(*sum))]
    FixedShares {
        /// Sum of the shares. A source without a share counts as 0.
        sum: f64,
    },
    /// A source cannot give its least share under its cap on epochs.
    #[error(
        "source \"{source_name}\" has to give {least} tokens, {unique} tokens and its cap of {max_epochs} epochs give {most}"
    )]
    MinShare {
        /// Name of the source.
        source_name: String,
        /// Tokens of the least share.
        least: u64,
        /// Tokens of the source, each document once.
        unique: u64,
        /// The source's cap on epochs.
        max_epochs: f64,
        /// The most tokens that the source can give.
        most: u64,
    },
    /// All sources together cannot give the mixture's tokens.
    #[error(
        "{asked} tokens are requested, {unique} unique tokens under the caps on epochs and shares give {most}"
    )]
    Tokens {
        /// Tokens of the request.
        asked: u64,
        /// Tokens of the pool, each document once.
        unique: u64,
        /// The most tokens that the sources give to a mixture of this size.
        most: u64,
    },
}

/// A request that can be met, with the buckets of each source.
pub(super) struct Problem {
    /// Tokens of the mixture, with repeats.
    pub budget: f64,
    /// The sources, by number.
    pub groups: Vec<Group>,
}

/// The buckets of one source, and the tokens that the source may give.
pub(super) struct Group {
    /// Places of the buckets, ascending.
    pub buckets: Vec<usize>,
    /// The number of the law's source.
    pub part: usize,
    /// Tokens of the buckets, each document once.
    pub unique: u64,
    /// The cap on epochs of every bucket.
    pub cap: f64,
    /// Tokens of the least share.
    pub least: f64,
    /// Tokens of the greatest share, or the capacity if that is less.
    pub most: f64,
}

/// Relative error that rounding may add to a bound.
pub(super) const SLACK: f64 = 1e-9;

/// A sum of shares with up to 10 decimals, so that a sum which differs from 1 by more than [`SLACK`]
/// is never shown as 1, and none by the rounding of [`super::pool::sum`] to 2^-40.
fn shown(sum: f64) -> String {
    let text = format!("{sum:.10}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Problem {
    /// Checks a request and sorts the buckets by source.
    ///
    /// # Errors
    /// [`Infeasible`] names the first constraint that the request breaks.
    pub fn new(buckets: &[Bucket], request: &Request) -> Result<Problem, Infeasible> {
        check_bounds(request)?;

        // Both lists may be the longer one: a source may have bounds but no bucket, or buckets but
        // no bounds.
        let budget = request.tokens as f64;
        let last = buckets
            .iter()
            .map(|bucket| request.source(bucket) + 1)
            .max()
            .unwrap_or(0);
        let groups = (0..last.max(request.sources.len())).map(|source| Group {
            buckets: Vec::new(),
            part: 0,
            unique: 0,
            cap: request.cap(source),
            least: 0.0,
            most: 0.0,
        });
        let mut groups: Vec<Group> = groups.collect();

        for (at, bucket) in buckets.iter().enumerate() {
            let group = &mut groups[request.source(bucket)];
            group.part = request.law.part(bucket.origin);
            group.buckets.push(at);
            group.unique += bucket.tokens;
        }

        // The least is clamped too. A least share within `SLACK` of the capacity passes the check
        // below, and `clamp(least, most)` panics if the least is above the most.
        for (source, group) in groups.iter_mut().enumerate() {
            let (min, max) = request.shares(source);
            let capacity = group.capacity();
            group.least = (min * budget).min(capacity);
            group.most = (max * budget).min(capacity);
        }

        let problem = Problem { budget, groups };
        problem.check(request)?;
        Ok(problem)
    }

    /// Checks that the sources can give the tokens of the request.
    fn check(&self, request: &Request) -> Result<(), Infeasible> {
        // The number is rounded down, so that a request for it can be met.
        let fail = |constraint| {
            Err(Infeasible {
                constraint,
                feasible: self.feasible(request) as u64,
            })
        };

        // A source is checked before the total, because its message says more.
        for (source, group) in self.groups.iter().enumerate() {
            let least = request.shares(source).0 * self.budget;
            if least > group.capacity() * (1.0 + SLACK) {
                let source_name = request.sources[source].name.clone();
                let (unique, max_epochs, most) = (group.unique, group.cap, group.capacity() as u64);
                return fail(Constraint::MinShare {
                    source_name,
                    least: least as u64,
                    unique,
                    max_epochs,
                    most,
                });
            }
        }

        let most = sum(self.groups.iter().map(|group| group.most));
        if self.budget > most * (1.0 + SLACK) {
            let unique = self.groups.iter().map(|group| group.unique).sum();
            return fail(Constraint::Tokens {
                asked: request.tokens,
                unique,
                most: most as u64,
            });
        }
        Ok(())
    }

    /// The greatest budget B that all constraints allow.
    ///
    /// A least share bounds B by capacity / share. For a budget B the sources can give
    /// `Σ min(share·B, capacity)` with their greatest shares. This sum is concave in B, and B is
    /// possible as long as the sum is at least B.
    fn feasible(&self, request: &Request) -> f64 {
        let mut by_capacity: Vec<(f64, f64)> = Vec::new();
        let mut bound = f64::INFINITY;
        for (source, group) in self.groups.iter().enumerate() {
            let (min, max) = request.shares(source);
            if min > 0.0 {
                bound = bound.min(group.capacity() / min);
            }
            if max > 0.0 {
                by_capacity.push((group.capacity(), max));
            }
        }

        // In the order in which a growing budget exhausts the sources.
        by_capacity.sort_by(|a, b| {
            (a.0 / a.1)
                .total_cmp(&(b.0 / b.1))
                .then_with(|| a.1.total_cmp(&b.1))
        });

        let mut given = 0.0;
        for (at, &(capacity, _)) in by_capacity.iter().enumerate() {
            given += capacity;
            let rest = &by_capacity[at + 1..];
            let shares: f64 = rest.iter().map(|(_, max)| max).sum();
            let next = rest
                .first()
                .map_or(f64::INFINITY, |(capacity, max)| capacity / max);

            // The sources that are not exhausted give `shares` of the budget, so the largest B is
            // given / (1 − shares). It holds if B exhausts no further source.
            let most = if shares < 1.0 - SLACK {
                given / (1.0 - shares)
            } else {
                f64::INFINITY
            };
            if most <= next {
                return bound.min(most);
            }
        }

        bound.min(given)
    }
}

impl Group {
    /// The most tokens that the cap on epochs allows.
    pub fn capacity(&self) -> f64 {
        self.unique as f64 * self.cap
    }
}

impl Request {
    /// The least and the greatest share of a source.
    fn shares(&self, source: usize) -> (f64, f64) {
        self.sources
            .get(source)
            .map_or((0.0, 1.0), |bounds| (bounds.min_share, bounds.max_share))
    }
}

/// The error for a setting that is out of its range.
pub(super) fn bad<T>(
    whose: String,
    what: &'static str,
    value: f64,
    expected: &'static str,
) -> Result<T, Infeasible> {
    Err(Infeasible {
        constraint: Constraint::Setting {
            whose,
            what,
            value,
            expected,
        },
        feasible: 0,
    })
}

/// Checks what does not depend on the buckets: the range of each setting, and the sums of shares.
///
/// # Errors
/// [`Infeasible`] names the first constraint that no pool can meet.
pub(super) fn check_bounds(request: &Request) -> Result<(), Infeasible> {
    let fail = |constraint| {
        Err(Infeasible {
            constraint,
            feasible: 0,
        })
    };
    let of_source = |name: &str, what, value, expected| {
        bad(format!("source \"{name}\""), what, value, expected)
    };
    let good_cap = |cap: f64| cap > 0.0 && cap.is_finite();

    if !good_cap(request.max_epochs) {
        return bad(
            "the mixture".to_owned(),
            "max_epochs",
            request.max_epochs,
            "a number above 0",
        );
    }

    // `contains` is false for NaN, so a share that is not a number is refused here.
    for SourceBounds {
        name,
        min_share,
        max_share,
        max_epochs,
    } in &request.sources
    {
        if !(0.0..=1.0).contains(min_share) {
            return of_source(name, "min_share", *min_share, "0 to 1");
        }
        if !(*min_share..=1.0).contains(max_share) {
            return of_source(name, "max_share", *max_share, "min_share to 1");
        }
        if let Some(cap) = max_epochs.filter(|cap| !good_cap(*cap)) {
            return of_source(name, "max_epochs", cap, "a number above 0");
        }
    }

    let least = sum(request.sources.iter().map(|bounds| bounds.min_share));
    let most = sum(request.sources.iter().map(|bounds| bounds.max_share));
    if least > 1.0 + SLACK {
        return fail(Constraint::MinShares { sum: least });
    }
    if !request.sources.is_empty() && most < 1.0 - SLACK {
        return fail(Constraint::MaxShares { sum: most });
    }
    Ok(())
}
