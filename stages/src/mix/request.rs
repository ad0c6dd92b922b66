//! What is asked of a mixture: tokens, shares of sources, caps on epochs; and whether it can be
//! had.

use super::Bucket;

/// A mixture to be made. Without sources nothing bounds their shares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Tokens of the mixture, repeats counted.
    pub tokens: u64,
    /// Most epochs over any bucket.
    pub max_epochs: f64,
    /// The sources, by number.
    pub sources: Vec<SourceBounds>,
    /// The number of the source of each bucket's `origin`. An origin that is not here is of source
    /// 0.
    pub source_of: Vec<u32>,
}

/// What bounds one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceBounds {
    /// Its name, for messages.
    pub name: String,
    /// The least share of the mixture's tokens, 0 to 1.
    pub min_share: f64,
    /// The greatest share of the mixture's tokens, 0 to 1.
    pub max_share: f64,
    /// Most epochs over its buckets, in place of the mixture's.
    pub max_epochs: Option<f64>,
}

impl SourceBounds {
    /// A source with no bounds of its own.
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
    /// A mixture of so many tokens with one cap on epochs and no sources told apart.
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

    /// The cap on epochs of each bucket.
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
    /// The constraint in the way.
    pub constraint: Constraint,
    /// The most tokens that could be had; 0 where no number of them would do.
    pub feasible: u64,
}

/// The constraint that a request breaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Constraint {
    /// A source's shares are no range, or a setting is out of its range.
    #[error("{what} of {whose} is {value}, expected {expected}")]
    Setting {
        /// The source, or what else has it.
        whose: String,
        /// What is wrong.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// The least shares are more than the whole.
    #[error("the least shares of the sources sum to {sum:.4}, more than 1")]
    MinShares {
        /// Their sum.
        sum: f64,
    },
    /// The greatest shares are less than the whole.
    #[error("the greatest shares of the sources sum to {sum:.4}, less than 1")]
    MaxShares {
        /// Their sum.
        sum: f64,
    },
    /// A source has less than its least share.
    #[error(
        "source \"{source_name}\" has to give {least} tokens, {unique} tokens and its cap of {max_epochs} epochs give {most}"
    )]
    MinShare {
        /// The source.
        source_name: String,
        /// Tokens of its least share.
        least: u64,
        /// Its tokens, each document once.
        unique: u64,
        /// Its cap.
        max_epochs: f64,
        /// The most it can give.
        most: u64,
    },
    /// All sources together have less than the mixture's tokens.
    #[error(
        "{asked} tokens are asked for, {unique} unique tokens under the caps on epochs and shares give {most}"
    )]
    Tokens {
        /// Tokens asked for.
        asked: u64,
        /// Tokens of the pool, each document once.
        unique: u64,
        /// The most that its sources give to a mixture of this size.
        most: u64,
    },
}

/// A request that can be met, by source.
pub(super) struct Problem {
    pub budget: f64,
    pub groups: Vec<Group>,
}

/// The buckets of one source and how many tokens it may give.
pub(super) struct Group {
    pub buckets: Vec<usize>,
    pub unique: u64,
    pub cap: f64,
    /// Tokens of its least share.
    pub least: f64,
    /// Tokens of its greatest share, or all it has under its cap.
    pub most: f64,
}

/// What rounding may add to a bound, relative to it.
const SLACK: f64 = 1e-9;

impl Problem {
    /// Checks a request. `Infeasible` names the first constraint that it breaks.
    pub fn new(buckets: &[Bucket], request: &Request) -> Result<Problem, Infeasible> {
        check_bounds(request)?;
        let budget = request.tokens as f64;
        let last = buckets
            .iter()
            .map(|bucket| request.source(bucket) + 1)
            .max()
            .unwrap_or(0);
        let groups = (0..last.max(request.sources.len())).map(|source| Group {
            buckets: Vec::new(),
            unique: 0,
            cap: request.cap(source),
            least: 0.0,
            most: 0.0,
        });
        let mut groups: Vec<Group> = groups.collect();
        for (at, bucket) in buckets.iter().enumerate() {
            let group = &mut groups[request.source(bucket)];
            group.buckets.push(at);
            group.unique += bucket.tokens;
        }
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

    fn check(&self, request: &Request) -> Result<(), Infeasible> {
        let fail = |constraint| {
            Err(Infeasible {
                constraint,
                feasible: self.feasible(request) as u64,
            })
        };
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
        let most = super::pool::sum(self.groups.iter().map(|group| group.most));
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

    /// The greatest budget that all constraints allow. Least shares bound it by capacity / share.
    /// Under it the sources give `Σ min(share·B, capacity)`, concave in B: each that is at its
    /// capacity leaves the others less than the whole.
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
        // In the order in which a growing budget exhausts them.
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
            // The sources that are not exhausted give `shares` of the budget: B = given / (1 −
            // shares).
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
    /// Tokens under the cap on epochs.
    pub fn capacity(&self) -> f64 {
        self.unique as f64 * self.cap
    }
}

impl Request {
    fn shares(&self, source: usize) -> (f64, f64) {
        self.sources
            .get(source)
            .map_or((0.0, 1.0), |bounds| (bounds.min_share, bounds.max_share))
    }
}

/// A setting out of its range.
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

fn check_bounds(request: &Request) -> Result<(), Infeasible> {
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
    let of = |share: fn(&SourceBounds) -> f64| super::pool::sum(request.sources.iter().map(share));
    let (least, most) = (of(|bounds| bounds.min_share), of(|bounds| bounds.max_share));
    if least > 1.0 + SLACK {
        return fail(Constraint::MinShares { sum: least });
    }
    if !request.sources.is_empty() && most < 1.0 - SLACK {
        return fail(Constraint::MaxShares { sum: most });
    }
    Ok(())
}
