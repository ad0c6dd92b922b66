//! The best division of a budget among the sources of a CES law, `D_eff = (Σ_s Y_s^ρ)^(1/ρ)` with
//! ρ below 1.
//!
//! A further token of a bucket at depth x is worth `e^(−x/R*)·(Y_s/D_eff)^(ρ−1)`. With
//! `μ = λ·D_eff^(ρ−1)` the sources are independent of each other: the depth x of source s solves
//! `e^(−x/R*)·Y_s(x)^(ρ−1) = μ`, whose left side falls in x. One bisection over `−ln μ` meets the
//! budget, and for each of its steps a bisection for each source finds the depth. Buckets of one q
//! begin their first pass at the same depth, so Y jumps there. Inside a jump the depth stays, and
//! the equation gives Y itself.

use curate_scorers::loss::{REPEATS_SCALE, unique_equivalent};

use super::{Filled, Given, Solved, SourceGroup, between, cross, depths, fill, middle, value_at};
use crate::mix::pool::sum;

/// Effective tokens of a source of the law that are as good as none.
const NEXT_TO_NOTHING: f64 = 1e-9;

/// The best mixture. `parts` holds the numbers of the sources that each source of the law is made
/// of. Epochs are written into `epochs`.
pub(super) fn solve(
    sources: &[SourceGroup],
    parts: &[Vec<usize>],
    budget: f64,
    rho: f64,
    epochs: &mut [f64],
) -> Solved {
    let all: Vec<&SourceGroup> = sources.iter().collect();
    let (first, deepest) = depths(&all);
    let parts: Vec<Part> = parts
        .iter()
        .map(|members| Part::new(sources, members, rho, first, deepest, epochs))
        .collect();

    // −ln μ below which next to nothing is given, and above which all is given.
    let most: f64 = parts.iter().map(|part| part.worth(deepest)).sum();
    let low = first / REPEATS_SCALE + (1.0 - rho) * NEXT_TO_NOTHING.ln();
    let high = deepest / REPEATS_SCALE + (1.0 - rho) * most.max(1.0).ln() + 1.0;
    let given = |z: f64| sum(parts.iter().map(|part| part.at(z).tokens));
    let (above, below) = cross(low, high, |z| given(z) >= budget);

    let share = between(budget, given(above), given(below));
    let filled: Vec<Filled> = parts
        .iter()
        .map(|part| {
            let (least, most) = (part.at(above).tokens, part.at(below).tokens);
            fill(&part.sources, least + share * (most - least), epochs)
        })
        .collect();

    // As for a plain sum: the budget may be met over a range of μ.
    let (last, _) = cross(low, high, |z| given(z) > budget);
    let z = if last > below {
        let free = parts
            .iter()
            .zip(&filled)
            .filter(|(part, _)| part.may_give());
        middle(free.map(|(part, filled)| part.own(filled))).clamp(below, last)
    } else {
        below
    };
    solved(sources.len(), &parts, filled, z, rho, epochs)
}

/// Puts the parts of a solution together.
fn solved(
    sources: usize,
    parts: &[Part],
    filled: Vec<Filled>,
    z: f64,
    rho: f64,
    epochs: &[f64],
) -> Solved {
    let worths: Vec<f64> = parts.iter().map(|part| part.worth_of(epochs)).collect();
    let law = crate::mix::Law {
        rho,
        part_of: Vec::new(),
    };
    let d_eff = law.total(&worths);

    let mut solved = Solved {
        marginal: (-z + (1.0 - rho) * d_eff.ln()).exp(),
        gives: Vec::new(),
        marginals: vec![0.0; sources],
        depths: vec![(0.0, 0.0); sources],
    };
    let mut gives: Vec<(usize, Given)> = Vec::new();
    for ((part, filled), worth) in parts.iter().zip(filled).zip(worths) {
        let found = part.at(z);
        let factor = (worth / d_eff).powf(rho - 1.0);
        for (&number, given) in part.numbers.iter().zip(filled.gives) {
            solved.marginals[number] = value_at(given.depth) * factor;
            // Within one source of the law, λ is the depth at which its sources give their tokens.
            // A source of the law that is alone is held by its own shares only.
            solved.depths[number] = match part.numbers.len() {
                1 => (found.above, found.below),
                _ => (filled.above, filled.below),
            };
            gives.push((number, given));
        }
    }
    gives.sort_by_key(|(number, _)| *number);
    solved.gives = gives.into_iter().map(|(_, given)| given).collect();
    solved
}

/// The sources of one source of the law.
struct Part<'a> {
    /// Their numbers.
    numbers: Vec<usize>,
    sources: Vec<&'a SourceGroup<'a>>,
    /// Effective tokens of each source at its least and at its greatest share.
    ends: Vec<(f64, f64)>,
    rho: f64,
    first: f64,
    deepest: f64,
}

/// What a source of the law gives at some μ.
struct Found {
    tokens: f64,
    /// The depths on both sides.
    above: f64,
    below: f64,
}

impl<'a> Part<'a> {
    /// The sources `members`. `scratch` has room for the epochs of all buckets.
    fn new(
        sources: &'a [SourceGroup<'a>],
        members: &[usize],
        rho: f64,
        first: f64,
        deepest: f64,
        scratch: &mut [f64],
    ) -> Part<'a> {
        let own: Vec<&SourceGroup> = members.iter().map(|&number| &sources[number]).collect();
        let mut end = |source: &SourceGroup, tokens: f64| {
            source.fill(tokens, first, deepest, scratch);
            worth(source, |cell| scratch[cell.at])
        };
        let ends = own
            .iter()
            .map(|source| {
                let least = end(source, source.group.least);
                (least, end(source, source.group.most))
            })
            .collect();
        Part {
            numbers: members.to_vec(),
            sources: own,
            ends,
            rho,
            first,
            deepest,
        }
    }

    /// Effective tokens at a depth, within the shares.
    fn worth(&self, depth: f64) -> f64 {
        let own = self.sources.iter().zip(&self.ends).map(|(source, ends)| {
            let tokens = source.tokens(depth);
            if tokens <= source.group.least {
                ends.0
            } else if tokens >= source.group.most {
                ends.1
            } else {
                worth(source, |cell| cell.epochs(depth))
            }
        });
        sum(own)
    }

    /// Effective tokens of some epochs.
    fn worth_of(&self, epochs: &[f64]) -> f64 {
        let own = self.sources.iter();
        sum(own.map(|source| worth(source, |cell| epochs[cell.at])))
    }

    /// The tokens and the depth at `z`, which is −ln μ.
    fn at(&self, z: f64) -> Found {
        let power = 1.0 - self.rho;
        let (above, below) = cross(self.first, self.deepest, |depth| {
            depth / REPEATS_SCALE + power * self.worth(depth).ln() >= z
        });

        // Inside a jump of Y the depth stays, and the equation gives Y.
        let wanted = ((z - below / REPEATS_SCALE) / power).exp();
        let share = between(wanted, self.worth(above), self.worth(below));
        let tokens = |depth: f64| sum(self.sources.iter().map(|source| source.clamped(depth)));
        let (least, most) = (tokens(above), tokens(below));
        Found {
            tokens: least + share * (most - least),
            above,
            below,
        }
    }

    /// The −ln μ that what the part gives has by itself.
    fn own(&self, filled: &Filled) -> f64 {
        let depths = filled.gives.iter().map(|given| given.depth);
        let deepest = depths.fold(self.first, f64::max);
        deepest / REPEATS_SCALE + (1.0 - self.rho) * self.worth(deepest).ln()
    }

    /// True if the part may give tokens.
    fn may_give(&self) -> bool {
        self.sources.iter().any(|source| source.group.most > 0.0)
    }
}

/// Effective tokens of a source with some epochs over each bucket.
fn worth(source: &SourceGroup, epochs: impl Fn(&super::Cell) -> f64) -> f64 {
    let cells = source.cells.iter();
    sum(cells.map(|cell| cell.q * unique_equivalent(cell.unique, epochs(cell))))
}
