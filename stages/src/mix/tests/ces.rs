//! The solver under a CES law: worked values, optimality against other mixtures, the plain sum as
//! its limit.

use super::*;

/// A request in which an origin is a source, and a source is one of the law.
fn with_rho(request: Request, sources: usize, rho: f64) -> Request {
    Request {
        law: Law {
            rho,
            part_of: (0..sources as u32).collect(),
        },
        ..request
    }
}

fn value(buckets: &[Bucket], epochs: &[f64], request: &Request) -> f64 {
    worth(buckets, epochs, &request.law).d_eff
}

fn two(tokens: u64, rho: f64) -> Request {
    let request = Request {
        sources: ["a", "b"].map(SourceBounds::free).to_vec(),
        source_of: vec![0, 1],
        ..Request::new(tokens, 4.0)
    };
    with_rho(request, 2, rho)
}

#[test]
fn tokens_go_to_sources_as_their_worth_to_the_power() {
    // Without repeats the shares are ∝ q^(ρ/(1−ρ)): 0.8 and 0.2 to the power 1.5 are 8 to 1.
    let buckets = [bucket(0, 0, 0.8, 1_000_000), bucket(1, 0, 0.2, 1_000_000)];
    let request = two(90_000, 0.6);
    let solution = solve(&buckets, &request).expect("feasible");
    let given: Vec<f64> = solution
        .sources
        .iter()
        .map(|source| source.tokens)
        .collect();
    assert!((given[0] - 80_000.0).abs() < 1e-3, "{given:?}");
    assert!((given[1] - 10_000.0).abs() < 1e-3, "{given:?}");
    assert_eq!(solution.active, []);

    // Both sources are worth the same at the margin, and that is D_eff / D.
    let per_token = value(&buckets, &solution.epochs, &request) / 90_000.0;
    for source in &solution.sources {
        assert!(
            (source.marginal / per_token - 1.0).abs() < 1e-9,
            "{source:?}"
        );
    }
    assert!((solution.marginal / per_token - 1.0).abs() < 1e-9);

    // The plain sum takes the better source only.
    let plain = solve(&buckets, &two(90_000, 1.0)).expect("feasible");
    assert_eq!(plain.epochs[1], 0.0);
}

#[test]
fn a_plain_law_gives_the_bits_that_no_law_gives() {
    let mut numbers = Numbers(31);
    let mut solved = 0;
    for _ in 0..200 {
        let sources = 1 + numbers.below(4);
        let n = 1 + numbers.below(20);
        let buckets = some_buckets(&mut numbers, n, sources);
        let request = some_request(&mut numbers, &buckets, sources);
        let plain = solve(&buckets, &request);
        assert_eq!(
            plain,
            solve(&buckets, &with_rho(request.clone(), sources, 1.0))
        );

        // One source of the law is a plain sum for any ρ.
        let one = Request {
            law: Law {
                rho: 0.5,
                part_of: vec![3; sources],
            },
            ..request
        };
        assert_eq!(plain, solve(&buckets, &one));
        solved += usize::from(plain.is_ok());
    }
    assert!(solved > 100, "{solved}");
}

#[test]
fn nothing_that_holds_the_bounds_is_worth_more() {
    let mut numbers = Numbers(37);
    let (mut solved, mut tried) = (0, 0);
    for _ in 0..400 {
        let sources = 2 + numbers.below(3);
        let n = 2 + numbers.below(8);
        let buckets = some_buckets(&mut numbers, n, sources);
        let rho = 0.05 + 0.9 * numbers.uniform();
        let mut request = with_rho(some_request(&mut numbers, &buckets, sources), sources, rho);
        // Now and then two sources of the request are one of the law.
        if numbers.below(3) == 0 {
            request.law.part_of[0] = request.law.part_of[1];
        }
        let Ok(solution) = solve(&buckets, &request) else {
            continue;
        };
        assert_feasible(&buckets, &request, &solution.epochs);
        solved += 1;

        let value = |epochs: &[f64]| value(&buckets, epochs, &request);
        let steps = [0.1, 30.0, 1000.0];
        tried +=
            assert_no_shift_is_better(&buckets, &request, &solution.epochs, &value, steps, 1e-11);
    }
    assert!(
        solved > 80 && tried > 5_000,
        "{solved} solved, {tried} tried"
    );
}

#[test]
fn a_share_that_binds_is_named() {
    let buckets = [bucket(0, 0, 0.8, 1_000_000), bucket(1, 0, 0.2, 1_000_000)];
    let bounded = |min_share: f64, max_share: f64| {
        let mut request = two(90_000, 0.6);
        (request.sources[1].min_share, request.sources[1].max_share) = (min_share, max_share);
        solve(&buckets, &request).expect("feasible")
    };
    // Free, the second source would give a ninth.
    assert_eq!(bounded(0.05, 0.5).active, []);
    let up = bounded(0.3, 1.0);
    assert_eq!(up.active, [Active::MinShare { source: 1 }]);
    assert!((up.sources[1].share - 0.3).abs() < 1e-9);
    let down = bounded(0.0, 0.05);
    assert_eq!(down.active, [Active::MaxShare { source: 1 }]);
    assert!(down.sources[1].marginal > down.sources[0].marginal);
}

#[test]
fn the_limits_of_the_law_and_of_the_budget() {
    let buckets = [
        bucket(0, 0, 0.8, 1_000),
        bucket(0, 1, 0.8, 1_000),
        bucket(1, 0, 0.5, 2_000),
    ];
    // Close to 1 the plain solution is as good to a part in a thousand.
    let (near, plain) = (two(2_500, 0.9999), two(2_500, 1.0));
    let [a, b] = [&near, &plain].map(|request| {
        let epochs = solve(&buckets, request).expect("feasible").epochs;
        value(&buckets, &epochs, &plain)
    });
    assert!((a / b - 1.0).abs() < 1e-3, "{a} and {b}");

    // All that is there, next to nothing, and nothing.
    for tokens in [16_000, 1] {
        let request = two(tokens, 0.4);
        let solution = solve(&buckets, &request).expect("feasible");
        assert_feasible(&buckets, &request, &solution.epochs);
    }
    let nothing = solve(&buckets, &two(0, 0.4)).expect("feasible");
    assert!(nothing.epochs.iter().all(|epochs| *epochs < 1e-9));
    assert!(solve(&buckets, &two(16_001, 0.4)).is_err());
    assert!(solve(&[], &two(0, 0.4)).is_ok());

    // A law that names fewer origins than there are.
    let mut short = two(2_500, 0.5);
    short.law.part_of = vec![0];
    assert!(solve(&buckets, &short).is_ok());
}
