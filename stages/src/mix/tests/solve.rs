//! The solver: worked values, optimality against other mixtures, errors.

use curate_scorers::loss::unique_equivalent;

use super::*;

fn value(buckets: &[Bucket], epochs: &[f64]) -> f64 {
    buckets
        .iter()
        .zip(epochs)
        .map(|(b, e)| b.q * unique_equivalent(b.tokens as f64, *e))
        .sum()
}

fn bounds(min_share: f64, max_share: f64) -> SourceBounds {
    SourceBounds {
        min_share,
        max_share,
        ..SourceBounds::free("a source")
    }
}

/// A request in which an origin is a source.
fn request(tokens: u64, max_epochs: f64, sources: Vec<SourceBounds>) -> Request {
    let source_of = (0..sources.len() as u32).collect();
    Request {
        tokens,
        max_epochs,
        sources,
        source_of,
        law: Law::default(),
    }
}

#[test]
fn the_budget_is_met_and_better_buckets_are_repeated_more() {
    let buckets = [
        bucket(0, 0, 1.0, 1000),
        bucket(0, 0, 0.5, 2000),
        bucket(0, 0, 0.1, 4000),
    ];
    let epochs = epochs(&buckets, 5000, 4.0).expect("feasible");
    let total: f64 = buckets
        .iter()
        .zip(&epochs)
        .map(|(b, e)| b.tokens as f64 * e)
        .sum();
    assert!((total - 5000.0).abs() < 1e-6, "{total}");
    assert!(epochs[0] > epochs[1] && epochs[1] > epochs[2], "{epochs:?}");
}

#[test]
fn repeats_go_before_fresh_tokens_up_to_the_ratio_of_quality() {
    // Repeat i before taking fresh j until R = R*·ln(q_i / q_j): 10.67, 24.77 and 7.86 repeats.
    for (ratio, repeats) in [(2.0, 10.665978), (5.0, 24.765634), (1.667, 7.863)] {
        let buckets = [
            bucket(0, 0, 1.0, 1000),
            bucket(0, 0, 1.0 / ratio, 1_000_000),
        ];
        let epochs = epochs(&buckets, 500_000, 1000.0).expect("feasible");
        assert!((epochs[0] - 1.0 - repeats).abs() < 1e-3, "{epochs:?}");
    }
}

#[test]
fn a_small_budget_takes_a_part_of_the_best_bucket() {
    let buckets = [bucket(0, 0, 0.9, 1000), bucket(0, 0, 0.5, 2000)];
    let epochs = epochs(&buckets, 400, 4.0).expect("feasible");
    assert!(
        (epochs[0] - 0.4).abs() < 1e-9 && epochs[1] == 0.0,
        "{epochs:?}"
    );
}

#[test]
fn shares_hold_sources_up_and_down() {
    let buckets = [
        bucket(0, 0, 1.0, 1000),
        bucket(1, 0, 0.9, 1000),
        bucket(2, 0, 0.2, 1000),
    ];
    let free = solve(&buckets, &request(1000, 4.0, vec![bounds(0.0, 1.0); 3])).expect("feasible");
    assert_eq!((free.epochs[2], &free.active[..]), (0.0, &[][..]));
    let sources = vec![bounds(0.0, 0.25), bounds(0.0, 1.0), bounds(0.3, 1.0)];
    let bound = solve(&buckets, &request(1000, 4.0, sources)).expect("feasible");
    for (epochs, expected) in bound.epochs.iter().zip([0.25, 0.45, 0.3]) {
        assert!((epochs - expected).abs() < 1e-12, "{bound:?}");
    }
    assert_eq!(
        bound.active,
        [
            Active::MaxShare { source: 0 },
            Active::MinShare { source: 2 }
        ]
    );
    // A token more of each, by a difference of one part in 1e12 at most: no repeats here.
    let marginals: Vec<f64> = bound.sources.iter().map(|source| source.marginal).collect();
    for (marginal, expected) in marginals.iter().zip([1.0, 0.9, 0.2]) {
        assert!((marginal - expected).abs() < 1e-9, "{marginals:?}");
    }
    assert!((bound.marginal - 0.9).abs() < 1e-9);
}

#[test]
fn fixed_shares_say_which_source_they_hold_up() {
    let buckets = [bucket(0, 0, 1.0, 1000), bucket(1, 0, 0.5, 1000)];
    let half = solve(&buckets, &request(1000, 4.0, vec![bounds(0.5, 0.5); 2])).expect("feasible");
    assert_eq!(
        half.active,
        [
            Active::MaxShare { source: 0 },
            Active::MinShare { source: 1 }
        ]
    );
    assert_eq!(
        half.sources
            .iter()
            .map(|source| source.share)
            .collect::<Vec<_>>(),
        [0.5, 0.5]
    );
}

#[test]
fn a_source_has_its_own_cap() {
    let buckets = [bucket(0, 0, 1.0, 1000), bucket(1, 0, 0.9, 1000)];
    let own = SourceBounds {
        max_epochs: Some(1.5),
        ..bounds(0.0, 1.0)
    };
    let capped =
        solve(&buckets, &request(4000, 4.0, vec![own, bounds(0.0, 1.0)])).expect("feasible");
    assert_eq!(capped.epochs[0], 1.5);
    assert!((capped.epochs[1] - 2.5).abs() < 1e-12);
    assert_eq!(capped.active, [Active::MaxEpochs { bucket: 0 }]);
}

/// Every way to divide `left` steps among buckets that hold `most` of them.
fn grid(most: &[usize], left: usize, chosen: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
    if chosen.len() == most.len() {
        if left == 0 {
            visit(chosen);
        }
        return;
    }
    for steps in 0..=left.min(most[chosen.len()]) {
        chosen.push(steps);
        grid(most, left - steps, chosen, visit);
        chosen.pop();
    }
}

#[test]
fn no_mixture_on_a_grid_is_better() {
    let mut numbers = Numbers(11);
    let (mut solved, mut visited) = (0, 0u64);
    for _ in 0..300 {
        let n = 2 + numbers.below(3);
        // Whole steps of 100 tokens, so that the grid has mixtures on the bounds.
        let mut buckets = some_buckets(&mut numbers, n, 2);
        buckets
            .iter_mut()
            .for_each(|bucket| bucket.tokens = 100 * (1 + bucket.tokens % 9));
        let mut request = some_request(&mut numbers, &buckets, 2);
        let steps = 2 + numbers.below(24);
        request.tokens = 100 * steps as u64;
        for bounds in &mut request.sources {
            bounds.min_share = (bounds.min_share * steps as f64).floor() / steps as f64;
            bounds.max_share = (bounds.max_share * steps as f64).ceil() / steps as f64;
        }
        let caps = request.caps(&buckets);
        let most: Vec<usize> = buckets
            .iter()
            .zip(&caps)
            .map(|(b, cap)| (b.tokens as f64 * cap / 100.0) as usize)
            .collect();
        let mut best = f64::NEG_INFINITY;
        grid(&most, steps, &mut Vec::new(), &mut |chosen| {
            let epochs: Vec<f64> = chosen
                .iter()
                .zip(&buckets)
                .map(|(&steps, b)| 100.0 * steps as f64 / b.tokens as f64)
                .collect();
            let by_source = tokens_by_source(&buckets, &request, &epochs);
            let within = by_source
                .iter()
                .zip(&request.sources)
                .all(|(tokens, bounds)| {
                    let share = tokens / request.tokens as f64;
                    share >= bounds.min_share - 1e-9 && share <= bounds.max_share + 1e-9
                });
            if within {
                best = best.max(value(&buckets, &epochs));
                visited += 1;
            }
        });
        match solve(&buckets, &request) {
            Ok(solution) => {
                assert_feasible(&buckets, &request, &solution.epochs);
                let reached = value(&buckets, &solution.epochs);
                assert!(
                    reached >= best - 1e-9 * request.tokens as f64,
                    "{reached} < {best}: {buckets:?} {request:?}"
                );
                // Near enough that a mixture outside the bounds would show: the grid is one step
                // off per bucket.
                if best.is_finite() {
                    assert!(
                        reached - best <= 100.0 * n as f64,
                        "{reached} > {best}: {buckets:?} {request:?}"
                    );
                    solved += 1;
                }
            }
            Err(error) => assert_eq!(best, f64::NEG_INFINITY, "{error}: {buckets:?} {request:?}"),
        }
    }
    assert!(
        solved > 100 && visited > 10_000,
        "{solved} solved, {visited} visited"
    );
}

#[test]
fn no_shift_between_two_buckets_is_better() {
    let mut numbers = Numbers(5);
    let (mut solved, mut tried) = (0, 0);
    for _ in 0..400 {
        let sources = 1 + numbers.below(5);
        let n = 2 + numbers.below(30);
        let buckets = some_buckets(&mut numbers, n, sources);
        let request = some_request(&mut numbers, &buckets, sources);
        let Ok(solution) = solve(&buckets, &request) else {
            continue;
        };
        assert_feasible(&buckets, &request, &solution.epochs);
        solved += 1;
        let value = |epochs: &[f64]| value(&buckets, epochs);
        let steps = [1e-3, 0.1, 30.0];
        tried +=
            assert_no_shift_is_better(&buckets, &request, &solution.epochs, &value, steps, 1e-12);
    }
    assert!(
        solved > 150 && tried > 20_000,
        "{solved} solved, {tried} tried"
    );
}

#[test]
fn order_and_numbers_of_buckets_and_sources_change_nothing() {
    let mut numbers = Numbers(17);
    let mut solved = 0;
    for _ in 0..100 {
        let sources = 1 + numbers.below(6);
        let n = 1 + numbers.below(60);
        let buckets = some_buckets(&mut numbers, n, sources);
        let request = some_request(&mut numbers, &buckets, sources);
        let Ok(solution) = solve(&buckets, &request) else {
            continue;
        };
        solved += 1;
        let mut order: Vec<usize> = (0..n).collect();
        let mut renamed: Vec<usize> = (0..sources).collect();
        numbers.shuffle(&mut order);
        numbers.shuffle(&mut renamed);
        let shuffled: Vec<Bucket> = order.iter().map(|&at| buckets[at].clone()).collect();
        let mut other = request.clone();
        for (source, &new) in renamed.iter().enumerate() {
            other.source_of[source] = new as u32;
            other.sources[new] = request.sources[source].clone();
        }
        let again = solve(&shuffled, &other).expect("it could be met before");
        assert_eq!(again.marginal.to_bits(), solution.marginal.to_bits());
        for (place, &at) in order.iter().enumerate() {
            assert_eq!(again.epochs[place].to_bits(), solution.epochs[at].to_bits());
        }
        for (source, &new) in renamed.iter().enumerate() {
            assert_eq!(again.sources[new], solution.sources[source]);
        }
        assert_eq!(again.active.len(), solution.active.len());
    }
    assert!(solved > 30, "{solved}");
}

#[test]
fn marginals_are_what_a_token_more_brings() {
    let mut numbers = Numbers(23);
    for _ in 0..50 {
        let buckets = some_buckets(&mut numbers, 12, 1);
        let request = Request::new(200_000 + numbers.below(500_000) as u64, 6.0);
        let Ok(one) = solve(&buckets, &request) else {
            continue;
        };
        let more = Request {
            tokens: request.tokens + 10,
            ..request.clone()
        };
        let Ok(two) = solve(&buckets, &more) else {
            continue;
        };
        let gained = (value(&buckets, &two.epochs) - value(&buckets, &one.epochs)) / 10.0;
        assert!(
            (gained / one.marginal - 1.0).abs() < 1e-3,
            "{gained} for {}",
            one.marginal
        );
    }
}

#[test]
fn what_cannot_be_had_says_what_could() {
    let mut numbers = Numbers(29);
    let mut refused = [0; 2];
    for _ in 0..2000 {
        let sources = 1 + numbers.below(5);
        let n = 1 + numbers.below(8);
        let buckets = some_buckets(&mut numbers, n, sources);
        let mut request = some_request(&mut numbers, &buckets, sources);
        request.tokens *= 3;
        let Err(error) = solve(&buckets, &request) else {
            continue;
        };
        match error.constraint {
            Constraint::MinShare { .. } => refused[0] += 1,
            Constraint::Tokens { .. } => refused[1] += 1,
            _ => continue,
        }
        assert!(error.feasible < request.tokens, "{error:?}");
        request.tokens = error.feasible;
        assert!(solve(&buckets, &request).is_ok(), "{error}: {request:?}");
        request.tokens = error.feasible + 2;
        assert!(solve(&buckets, &request).is_err(), "{error}: {request:?}");
    }
    assert!(refused.iter().all(|&n| n > 100), "{refused:?}");
}

#[test]
fn a_source_without_a_share_is_not_held_by_one() {
    let buckets = [bucket(0, 0, 1.0, 1000), bucket(1, 0, 0.5, 1000)];
    let shares = |tokens, sources: Vec<SourceBounds>| {
        let solution = solve(&buckets, &request(tokens, 4.0, sources)).expect("feasible");
        let active = solution.active.into_iter();
        active
            .filter(|active| !matches!(active, Active::MaxEpochs { .. }))
            .collect::<Vec<_>>()
    };

    // The first bucket alone has more than the mixture needs.
    for tokens in [1, 10, 500, 999, 1000, 1001, 3000] {
        assert_eq!(shares(tokens, vec![bounds(0.0, 1.0); 2]), [], "{tokens}");
    }
    let bound = vec![bounds(0.0, 0.25), bounds(0.0, 1.0)];
    assert_eq!(shares(500, bound), [Active::MaxShare { source: 0 }]);
}

#[test]
fn too_much_is_an_error_that_says_what_would_do() {
    let error = epochs(&[bucket(0, 0, 1.0, 100)], 500, 4.0).expect_err("infeasible");
    assert_eq!(error.feasible, 400);
    let message =
        "500 tokens are requested, 100 unique tokens under the caps on epochs and shares give 400";
    assert_eq!(error.to_string(), message);
    assert_eq!(epochs(&[bucket(0, 0, 1.0, 100)], 400, 4.0), Ok(vec![4.0]));
    assert!(epochs(&[], 1, 4.0).is_err());
    assert_eq!(epochs(&[bucket(0, 0, 1.0, 100)], 0, 4.0), Ok(vec![0.0]));
}

#[test]
fn bounds_that_contradict_each_other_are_named() {
    let buckets = [bucket(0, 0, 1.0, 100), bucket(1, 0, 0.5, 100)];
    let says = |sources: Vec<SourceBounds>| {
        solve(&buckets, &request(150, 4.0, sources))
            .expect_err("infeasible")
            .to_string()
    };
    assert_eq!(
        says(vec![bounds(0.7, 1.0); 2]),
        "the least shares of the sources sum to 1.4, more than 1"
    );
    assert_eq!(
        says(vec![bounds(0.0, 0.25); 2]),
        "the greatest shares of the sources sum to 0.5, less than 1"
    );
    assert!(says(vec![bounds(0.5, 0.25)]).starts_with("max_share of source \"a source\" is 0.25"));
    assert!(says(vec![bounds(f64::NAN, 1.0)]).contains("min_share"));
    let capped = SourceBounds {
        max_epochs: Some(0.5),
        ..bounds(0.8, 1.0)
    };
    let expected =
        "source \"a source\" has to give 120 tokens, 100 tokens and its cap of 0.5 epochs give 50";
    assert_eq!(says(vec![capped, bounds(0.0, 1.0)]), expected);
    let never = SourceBounds {
        max_epochs: Some(0.0),
        ..bounds(0.0, 1.0)
    };
    assert!(says(vec![never]).contains("max_epochs of source"));
    assert!(epochs(&buckets, 1, f64::INFINITY).is_err());
}
