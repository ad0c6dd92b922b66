//! Buckets of a pool.

use curate_schemas::DocId;
use std::collections::BTreeMap;

use super::draws::pool;
use super::*;

#[test]
fn bins_do_not_depend_on_the_documents_order() {
    let mut shuffled = pool(997);
    let bins = |pool: &[Document]| -> BTreeMap<DocId, u32> {
        let bin = |bucket: &Bucket| {
            bucket
                .documents
                .iter()
                .map(|&at| (pool[at as usize].doc_id, bucket.bin))
                .collect::<Vec<_>>()
        };
        buckets(pool).iter().flat_map(bin).collect()
    };
    let first = bins(&shuffled);
    shuffled.sort_by_key(|document| (document.tokens, document.doc_id));
    assert_eq!(bins(&shuffled), first);
}

#[test]
fn bins_hold_about_equal_tokens_and_equal_q_shares_a_bin() {
    let pool = pool(5000);
    let buckets = buckets(&pool);
    let total: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
    assert_eq!(
        total,
        pool.iter().map(|document| document.tokens).sum::<u64>()
    );
    for bucket in &buckets {
        let q = pool[bucket.documents[0] as usize].q;
        assert!(bucket.documents.iter().all(|&at| pool[at as usize].q == q));
    }
    let mut by_bin: BTreeMap<u32, u64> = BTreeMap::new();
    for bucket in &buckets {
        *by_bin.entry(bucket.bin).or_default() += bucket.tokens;
    }
    // Ten values of q, each a tenth of the tokens.
    assert_eq!(by_bin.len(), 10);
    assert!(
        by_bin
            .values()
            .all(|&tokens| tokens.abs_diff(total / 10) < total / 100),
        "{by_bin:?}"
    );
}

#[test]
fn buckets_have_the_sums_of_their_documents() {
    let pool = pool(1234);
    let buckets = buckets(&pool);
    assert!(buckets.is_sorted_by_key(|bucket| (bucket.origin, bucket.bin)));
    assert_eq!(
        buckets
            .iter()
            .map(|bucket| bucket.documents.len())
            .sum::<usize>(),
        1234
    );
    for bucket in &buckets {
        let documents = || bucket.documents.iter().map(|&at| &pool[at as usize]);
        assert!(documents().all(|document| document.origin == bucket.origin));
        assert_eq!(
            bucket.tokens,
            documents().map(|document| document.tokens).sum::<u64>()
        );
        assert_eq!(
            bucket.bytes,
            documents().map(|document| document.bytes).sum::<u64>()
        );
        assert_eq!(bucket.q, mean_q(documents().map(|document| (document, 1))));
    }
    assert!(super::buckets(&[]).is_empty());
}
