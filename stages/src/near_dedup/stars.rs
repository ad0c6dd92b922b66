//! Decides within one component which member is removed in favour of which.

use std::ops::Range;

use crate::error::Result;
use curate_schemas::stages::near_dedup::{Cluster, NearDedup, Verify};
use curate_scorers::shingles::jaccard;

use super::components::Loaded;

/// The verdict that `member` is removed in favour of `kept`, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) member: usize,
    pub(super) kept: usize,
    /// The number of buckets that the two members share.
    pub(super) bands_hit: u32,
    /// Jaccard similarity and containment of the shingle sets; `None` if they were not compared.
    pub(super) exact: Option<(f64, f64)>,
    /// Share of equal values in the full signatures; `None` if signatures are not kept.
    pub(super) estimated: Option<f64>,
}

/// Verdicts over some components, and counts of the comparisons.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) verdicts: Vec<Verdict>,
    /// Pairs that were compared.
    pub(super) compared: u64,
    /// Members that reached the bound on comparisons without a match.
    pub(super) capped: u64,
}

/// Decides over a component. Documents from number `own` on belong to earlier runs and are never
/// removed.
///
/// # Errors
/// If a shingle set or a signature cannot be read.
pub(super) fn decide(
    near: &NearDedup,
    loaded: &Loaded,
    component: Range<usize>,
    own: u64,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut order: Vec<usize> = component.collect();
    order.sort_unstable_by_key(|member| loaded.members[*member].rank);

    match near.cluster {
        Cluster::Star => star(near, loaded, &order, own, outcome),
        Cluster::Component => closure(loaded, &order, own, outcome),
    }
}

/// Removes all members but the preferred one, in its favour.
fn closure(loaded: &Loaded, order: &[usize], own: u64, outcome: &mut Outcome) -> Result<()> {
    let (&kept, rest) = order.split_first().expect("a component has members");

    for &member in rest
        .iter()
        .filter(|member| loaded.members[**member].doc < own)
    {
        // Members of a chain may share no bucket with the preferred one.
        let bands_hit = loaded
            .buckets(member)
            .iter()
            .filter(|bucket| loaded.buckets(kept).binary_search(bucket).is_ok())
            .count() as u32;
        let estimated = estimate(loaded, member, kept)?;
        outcome.verdicts.push(Verdict {
            member,
            kept,
            bands_hit,
            exact: None,
            estimated,
        });
    }
    Ok(())
}

/// Visits members in the order of preference, and removes each that resembles a kept member in one
/// of its buckets.
fn star(
    near: &NearDedup,
    loaded: &Loaded,
    order: &[usize],
    own: u64,
    outcome: &mut Outcome,
) -> Result<()> {
    let most = near.max_comparisons as usize;
    // The buckets of a component have consecutive numbers, so a list by offset has no gaps.
    let buckets = || {
        order
            .iter()
            .flat_map(|member| loaded.buckets(*member).iter().copied())
    };
    let (first, last) = (buckets().min().unwrap_or(0), buckets().max().unwrap_or(0));
    let in_component = |bucket: u32| (bucket - first) as usize;
    // For each bucket, the places of its kept members in `order`.
    let mut kept_in: Vec<Vec<u32>> = vec![Vec::new(); in_component(last) + 1];
    let mut hits: Vec<u32> = Vec::new();

    for (rank, &member) in order.iter().enumerate() {
        hits.clear();
        hits.extend(
            loaded
                .buckets(member)
                .iter()
                .flat_map(|bucket| &kept_in[in_component(*bucket)]),
        );
        hits.sort_unstable();

        // Members that share the most buckets come first. The sort is stable, so the preferred
        // member comes first among equals.
        let mut like: Vec<(u32, usize)> = hits
            .chunk_by(|a, b| a == b)
            .map(|run| (run.len() as u32, order[run[0] as usize]))
            .collect();
        like.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));

        // Documents of earlier runs stay, so they are not compared.
        let is_own = loaded.members[member].doc < own;
        let compared = if is_own { like.len().min(most) } else { 0 };
        let found = first_match(near, loaded, member, &like[..compared], outcome)?;
        if let Some(verdict) = found {
            outcome.verdicts.push(verdict);
            continue;
        }

        // A full bucket may have left out kept members.
        let is_capped = like.len() > most
            || loaded
                .buckets(member)
                .iter()
                .any(|bucket| kept_in[in_component(*bucket)].len() >= most);
        outcome.capped += u64::from(is_own && is_capped);

        for bucket in loaded.buckets(member) {
            let kept = &mut kept_in[in_component(*bucket)];
            // More members would never be compared, and the preferred ones came first.
            if kept.len() < most {
                kept.push(rank as u32);
            }
        }
    }
    Ok(())
}

/// Compares a member with kept members, in the order of `like`, up to the first match. `like` has
/// the number of shared buckets and the kept member.
fn first_match(
    near: &NearDedup,
    loaded: &Loaded,
    member: usize,
    like: &[(u32, usize)],
    outcome: &mut Outcome,
) -> Result<Option<Verdict>> {
    // The words of a member that is compared with nothing are not read.
    if like.is_empty() {
        return Ok(None);
    }

    let (mut words, mut own_words) = (Vec::new(), Vec::new());
    let own_words = match near.verify {
        Verify::Exact => loaded.set(member, &mut own_words)?,
        Verify::Estimate => loaded
            .signature(member, &mut own_words)?
            .unwrap_or_default(),
    };

    for &(bands_hit, kept) in like {
        let (alike, exact, estimated) =
            compare(near, loaded, (member, own_words), kept, &mut words)?;
        // Without `min_jaccard` a shared bucket is enough, and nothing is compared.
        outcome.compared += u64::from(near.min_jaccard > 0.0);
        if alike {
            return Ok(Some(Verdict {
                member,
                kept,
                bands_hit,
                exact,
                estimated,
            }));
        }
    }
    Ok(None)
}

/// True for duplicates, then the fields `exact` and `estimated` of a [`Verdict`].
type Compared = (bool, Option<(f64, f64)>, Option<f64>);

/// Decides if a member is a duplicate of a kept member, and returns the evidence. `words` are the
/// shingle set or the signature of the member.
fn compare(
    near: &NearDedup,
    loaded: &Loaded,
    (member, words): (usize, &[u64]),
    kept: usize,
    buffer: &mut Vec<u64>,
) -> Result<Compared> {
    if near.min_jaccard == 0.0 {
        return Ok((true, None, estimate(loaded, member, kept)?));
    }
    if near.verify == Verify::Estimate {
        let share = equal_share(words, loaded.signature(kept, buffer)?.unwrap_or_default());
        return Ok((share >= near.min_jaccard, None, Some(share)));
    }

    let exact = jaccard(words, loaded.set(kept, buffer)?);
    let alike = exact.0 >= near.min_jaccard;
    // Only a removal needs the estimate, for its evidence.
    let estimated = if alike {
        estimate(loaded, member, kept)?
    } else {
        None
    };
    Ok((alike, Some(exact), estimated))
}

/// The estimated similarity of two members, `None` if signatures are not kept.
fn estimate(loaded: &Loaded, a: usize, b: usize) -> Result<Option<f64>> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let both = (
        loaded.signature(a, &mut first)?,
        loaded.signature(b, &mut second)?,
    );
    let (Some(a), Some(b)) = both else {
        return Ok(None);
    };
    Ok(Some(equal_share(a, b)))
}

/// Share of equal values in two signatures, which estimates the Jaccard similarity of their texts.
/// 0 for empty signatures.
pub(super) fn equal_share(a: &[u64], b: &[u64]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    equal as f64 / a.len().max(1) as f64
}
