//! Who is removed for whom, within one component.

use std::ops::Range;

use crate::error::Result;
use curate_schemas::stages::near_dedup::{Cluster, NearDedup, Verify};
use curate_scorers::shingles::jaccard;

use super::components::Loaded;

/// What became of one member: removed in favour of `kept`, on this evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) member: usize,
    pub(super) kept: usize,
    /// Buckets that the two share.
    pub(super) bands_hit: u32,
    /// Jaccard similarity and containment of the shingle sets; `None` if they were not compared.
    pub(super) exact: Option<(f64, f64)>,
    /// Share of equal values in the full signatures; `None` if they are not kept.
    pub(super) estimated: Option<f64>,
}

/// Verdicts over some components, and what it took.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) verdicts: Vec<Verdict>,
    /// Pairs that were compared.
    pub(super) compared: u64,
    /// Members that met the bound on comparisons without a match.
    pub(super) capped: u64,
}

/// Decides over a component. Documents from number `own` on are of earlier runs, which keep them.
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

/// All but the preferred member go, in favour of that.
fn closure(loaded: &Loaded, order: &[usize], own: u64, outcome: &mut Outcome) -> Result<()> {
    let (&kept, rest) = order.split_first().expect("a component has members");
    for &member in rest
        .iter()
        .filter(|member| loaded.members[**member].doc < own)
    {
        let shares = |bucket: &&u32| loaded.buckets(kept).binary_search(bucket).is_ok();
        let bands_hit = loaded.buckets(member).iter().filter(shares).count() as u32;
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

/// Members in the order of preference; each goes if it is like a kept one that shares a bucket with
/// it.
fn star(
    near: &NearDedup,
    loaded: &Loaded,
    order: &[usize],
    own: u64,
    outcome: &mut Outcome,
) -> Result<()> {
    let most = near.max_comparisons as usize;
    let buckets = || {
        order
            .iter()
            .flat_map(|member| loaded.buckets(*member).iter().copied())
    };
    let (first, last) = (buckets().min().unwrap_or(0), buckets().max().unwrap_or(0));
    let in_component = |bucket: u32| (bucket - first) as usize;
    // Ranks of the kept members of each bucket.
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
        // Most shared buckets first, then the preferred.
        let mut like: Vec<(u32, usize)> = hits
            .chunk_by(|a, b| a == b)
            .map(|run| (run.len() as u32, order[run[0] as usize]))
            .collect();
        like.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
        let mut found = None;
        let (mut words, mut own_words) = (Vec::new(), Vec::new());
        let own_words = match near.verify {
            _ if like.is_empty() => &[],
            Verify::Exact => loaded.set(member, &mut own_words)?,
            Verify::Estimate => loaded
                .signature(member, &mut own_words)?
                .unwrap_or_default(),
        };
        let is_own = loaded.members[member].doc < own;
        for &(bands_hit, kept) in like.iter().take(most).filter(|_| is_own) {
            let (alike, exact, estimated) =
                compare(near, loaded, (member, own_words), kept, &mut words)?;
            outcome.compared += u64::from(near.min_jaccard > 0.0);
            if alike {
                found = Some(Verdict {
                    member,
                    kept,
                    bands_hit,
                    exact,
                    estimated,
                });
                break;
            }
        }
        if let Some(verdict) = found {
            outcome.verdicts.push(verdict);
            continue;
        }
        let full = |bucket: &u32| kept_in[in_component(*bucket)].len() >= most;
        outcome.capped +=
            u64::from(is_own && (like.len() > most || loaded.buckets(member).iter().any(full)));
        for bucket in loaded.buckets(member) {
            let kept = &mut kept_in[in_component(*bucket)];
            // More could never be compared; the preferred ones came first.
            if kept.len() < most {
                kept.push(rank as u32);
            }
        }
    }
    Ok(())
}

type Compared = (bool, Option<(f64, f64)>, Option<f64>);

/// Whether a member, with its shingles or its signature, is a duplicate of a kept one, and what
/// that rests on.
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
    let estimated = if alike {
        estimate(loaded, member, kept)?
    } else {
        None
    };
    Ok((alike, Some(exact), estimated))
}

/// The estimated similarity of two members, if signatures are kept.
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

/// Share of equal values in two signatures, an estimate of their texts' Jaccard similarity; 0 of
/// empty ones.
pub(super) fn equal_share(a: &[u64], b: &[u64]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    equal as f64 / a.len().max(1) as f64
}
