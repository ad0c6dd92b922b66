//! Draws of documents.

use curate_schemas::DocId;
use curate_scorers::loss::unique_equivalent;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;

pub(super) fn pool(n: usize) -> Vec<Document> {
    let q = |i: usize| (i % 10 + 1) as f64 / 10.0;
    let document = |i: usize| Document {
        doc: i as u64,
        doc_id: DocId(i as u128),
        origin: (i % 2) as u32,
        tokens: 50 + (i as u64 * 37) % 100,
        bytes: 3 * i as u64,
        score: q(i),
        q: q(i),
    };
    (0..n).map(document).collect()
}

fn drawn(pool: &[Document], draws: &[u32]) -> u64 {
    pool.iter()
        .zip(draws)
        .map(|(d, n)| d.tokens * u64::from(*n))
        .sum()
}

fn solved_draws(pool: &[Document], request: &Request) -> Vec<u32> {
    let buckets = buckets(pool);
    let epochs = solve(&buckets, request).expect("feasible").epochs;
    draws(
        pool,
        &buckets,
        &epochs,
        &request.caps(&buckets),
        7,
        "general",
    )
}

#[test]
fn draws_come_within_one_document_of_the_budget() {
    let pool = pool(1000);
    for budget in [10_000, 99_999, 250_000] {
        let total = drawn(&pool, &solved_draws(&pool, &Request::new(budget, 4.0)));
        assert!(total.abs_diff(budget) <= 150, "{total} for {budget}");
    }
}

#[test]
fn no_document_is_drawn_more_often_than_the_cap() {
    let pool = pool(300);
    let unique: u64 = pool.iter().map(|document| document.tokens).sum();
    for budget in [unique * 4 - 100, unique * 4 - unique / 50, unique * 4] {
        let draws = solved_draws(&pool, &Request::new(budget, 4.0));
        assert!(draws.iter().all(|n| *n <= 4));
        assert!(drawn(&pool, &draws).abs_diff(budget) <= 150);
    }
}

#[test]
fn sources_have_their_own_caps_and_shares() {
    let pool = pool(2000);
    let by_source = |draws: &[u32], source: u32| -> u64 {
        let of = pool
            .iter()
            .zip(draws)
            .filter(|(document, _)| document.origin == source);
        of.map(|(document, n)| document.tokens * u64::from(*n))
            .sum()
    };
    let first: u64 = pool
        .iter()
        .filter(|document| document.origin == 0)
        .map(|document| document.tokens)
        .sum();
    let mut sources = vec![SourceBounds::free("first"), SourceBounds::free("second")];
    // A cap between two passes is met by a part of the bucket.
    (sources[0].max_epochs, sources[0].min_share) = (Some(1.5), 0.3);
    let budget = first * 5;
    let request = Request {
        tokens: budget,
        max_epochs: 4.0,
        sources,
        source_of: vec![0, 1],
        law: Law::default(),
    };
    let draws = solved_draws(&pool, &request);
    assert!(drawn(&pool, &draws).abs_diff(budget) <= 150);
    assert!(
        by_source(&draws, 0).abs_diff(first * 3 / 2) <= 150,
        "{} of {first}",
        by_source(&draws, 0)
    );
    assert!(
        pool.iter()
            .zip(&draws)
            .all(|(document, n)| *n <= if document.origin == 0 { 2 } else { 4 })
    );
}

#[test]
fn a_fraction_is_the_head_of_the_keyed_order() {
    let pool = pool(400);
    let buckets = buckets(&pool);
    let draws = draws(
        &pool,
        &buckets,
        &vec![0.3; buckets.len()],
        &vec![4.0; buckets.len()],
        7,
        "general",
    );
    let key = |document: &Document| {
        xxh3_64_with_seed(format!("general\0{}", document.doc_id).as_bytes(), 7)
    };
    for bucket in &buckets {
        let with = |n: u32| {
            bucket
                .documents
                .iter()
                .filter(|at| draws[**at as usize] == n)
                .collect::<Vec<_>>()
        };
        let keys = |n: u32| {
            with(n)
                .into_iter()
                .map(|&at| key(&pool[at as usize]))
                .collect::<Vec<_>>()
        };
        assert!(!keys(1).is_empty() && keys(1).iter().max() < keys(0).iter().min());
    }
}

#[test]
fn adding_a_source_does_not_reshuffle_the_others() {
    let mut pool = pool(200);
    let own = buckets(&pool);
    let drawn = |pool: &[Document]| {
        draws(
            pool,
            &own,
            &vec![0.5; own.len()],
            &vec![4.0; own.len()],
            7,
            "general",
        )
    };
    let first = drawn(&pool);
    for i in 0..50 {
        pool.push(Document {
            origin: 9,
            doc_id: DocId((15 << 124) + i as u128),
            score: 0.05,
            q: 0.05,
            ..pool[i].clone()
        });
    }
    assert_eq!(first, drawn(&pool)[..200]);
}

#[test]
fn draws_are_worth_what_their_epochs_are() {
    let pool = pool(3000);
    let buckets = buckets(&pool);
    let epochs = epochs(&buckets, 500_000, 4.0).expect("feasible");
    let draws = draws(
        &pool,
        &buckets,
        &epochs,
        &vec![4.0; buckets.len()],
        7,
        "general",
    );
    let (d_eff, d_repeat) = effective_tokens(&pool, &buckets, &draws, &Law::default());
    let planned = worth(&buckets, &epochs, &Law::default());
    // Apart by less than a document a bucket.
    assert!((d_eff - planned.d_eff).abs() < 150.0 * buckets.len() as f64);
    assert!((d_repeat - planned.d_repeat).abs() < 150.0 * buckets.len() as f64);
    let twice = vec![2; pool.len()];
    let unique: f64 = pool.iter().map(|document| document.tokens as f64).sum();
    let (_, d_repeat) = effective_tokens(&pool, &buckets, &twice, &Law::default());
    assert!((d_repeat / unique_equivalent(unique, 2.0) - 1.0).abs() < 1e-12);
}
