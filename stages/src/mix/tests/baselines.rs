//! Baselines: published values, feasibility, and that none beats the solver.

use super::super::baselines::Curve;
use super::*;

#[test]
fn the_curve_has_its_published_values() {
    let at = |mean: f64| Curve::new(&[100; 20], mean, 0.4, 7.0);
    for (mean, power) in [(1.0, 4.9509), (1.5, 3.0537), (2.5, 1.7334)] {
        assert!(
            (at(mean).power - power).abs() < 5e-5,
            "{mean}: {}",
            at(mean).power
        );
    }
    let tails = [
        (1.5, vec![4.730, 5.808, 7.0]),
        (
            2.5,
            vec![
                0.674, 1.566, 2.283, 2.924, 3.517, 4.075, 4.606, 5.116, 5.608, 6.085, 6.548, 7.0,
            ],
        ),
    ];
    for (mean, tail) in tails {
        let factors = at(mean).factors();
        for (factor, expected) in factors[20 - tail.len()..].iter().zip(&tail) {
            assert!((factor - expected).abs() < 5.1e-4, "{mean}: {factors:?}");
        }
        assert!(factors[..8].iter().all(|&factor| factor == 0.0));
    }
}

#[test]
fn the_curve_rises_to_the_cap_and_keeps_its_mean() {
    let mut numbers = Numbers(3);
    for _ in 0..500 {
        let n = 1 + numbers.below(20);
        let widths: Vec<u64> = (0..n).map(|_| numbers.below(1000) as u64 + 1).collect();
        let cap = 1.0 + 9.0 * numbers.uniform();
        let mean = cap * numbers.uniform();
        let curve = Curve::new(&widths, mean, 0.9 * numbers.uniform(), cap);
        let factors = curve.factors();
        let total: u64 = widths.iter().sum();
        let tokens: f64 = widths
            .iter()
            .zip(&factors)
            .map(|(&width, factor)| width as f64 * factor)
            .sum();
        assert!(
            (tokens / (mean * total as f64) - 1.0).abs() < 1e-9,
            "{curve:?}"
        );
        assert!(
            factors.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9),
            "{factors:?}"
        );
        assert!(
            factors[n - 1] <= cap * (1.0 + 1e-9),
            "{factors:?} above {cap}"
        );
        // Either the best bin is at the cap or nothing but it is drawn from.
        let rest: f64 = factors[..n - 1].iter().sum();
        assert!(
            (factors[n - 1] / cap - 1.0).abs() < 1e-6 || rest < 1e-9,
            "{factors:?} below {cap}"
        );
    }
}

/// UniMax as its paper has it: ascending by size, each takes its part of what is left, or all it
/// has.
fn unimax(capacities: &[f64], budget: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..capacities.len()).collect();
    order.sort_by(|&a, &b| capacities[a].total_cmp(&capacities[b]));
    let (mut left, mut tokens) = (budget, vec![0.0; capacities.len()]);
    for (place, at) in order.into_iter().enumerate() {
        tokens[at] = capacities[at].min(left / (capacities.len() - place) as f64);
        left -= tokens[at];
    }
    tokens
}

#[test]
fn unimax_is_that_of_its_paper() {
    let mut numbers = Numbers(7);
    for _ in 0..200 {
        let sources = 1 + numbers.below(8);
        let buckets: Vec<Bucket> = (0..sources)
            .map(|at| bucket(at as u32, 0, 0.5, 1 + numbers.below(1000) as u64))
            .collect();
        let unique: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
        let mut request = Request::new(1 + numbers.below(4 * unique as usize) as u64, 4.0);
        request.source_of = (0..sources as u32).collect();
        let epochs = baseline(&Method::Unimax, &buckets, &request).expect("the cap allows it");
        let capacities: Vec<f64> = buckets
            .iter()
            .map(|bucket| bucket.tokens as f64 * 4.0)
            .collect();
        for ((bucket, epochs), expected) in buckets
            .iter()
            .zip(&epochs)
            .zip(unimax(&capacities, request.tokens as f64))
        {
            let tokens = bucket.tokens as f64 * epochs;
            assert!(
                (tokens / expected - 1.0).abs() < 1e-9,
                "{tokens} is not {expected}"
            );
        }
    }
}

#[test]
fn weights_are_what_they_are_called() {
    let buckets = [bucket(0, 0, 0.5, 1000), bucket(1, 0, 0.9, 9000)];
    let request = Request {
        source_of: vec![0, 1],
        ..Request::new(4000, 4.0)
    };
    let tokens = |method: Method| {
        let epochs = baseline(&method, &buckets, &request).expect("feasible");
        [epochs[0] * 1000.0, epochs[1] * 9000.0]
    };
    let expected = [
        (Method::Natural, [400.0, 3600.0]),
        (Method::Unimax, [2000.0, 2000.0]),
        (Method::Temperature(1.0), [400.0, 3600.0]),
        (Method::Temperature(2.0), [1000.0, 3000.0]),
        (Method::Temperature(1e12), [2000.0, 2000.0]),
        (Method::Fixed(vec![0.75, 0.25]), [3000.0, 1000.0]),
    ];
    for (method, expected) in expected {
        let name = method.name();
        let tokens = tokens(method);
        assert!(
            tokens
                .iter()
                .zip(expected)
                .all(|(t, e)| (t / e - 1.0).abs() < 1e-9),
            "{name}: {tokens:?}"
        );
    }
}

fn methods() -> Vec<Method> {
    vec![
        Method::Solved,
        Method::Natural,
        Method::Unimax,
        Method::Temperature(3.0),
        Method::QualityCurve { discard: 0.4 },
    ]
}

#[test]
fn all_keep_to_the_request_and_none_is_worth_more_than_the_solved_one() {
    let mut numbers = Numbers(41);
    let (mut met, mut better) = (0, 0);
    for _ in 0..300 {
        let sources = 1 + numbers.below(5);
        let n = 1 + numbers.below(40);
        let buckets = some_buckets(&mut numbers, n, sources);
        let request = some_request(&mut numbers, &buckets, sources);
        let compared = compare(&buckets, &request, &methods());
        let Ok(solved) = &compared[0].worth else {
            assert!(compared.iter().all(|compared| compared.worth.is_err()));
            continue;
        };
        met += 1;
        for (method, compared) in methods().iter().zip(&compared) {
            let epochs =
                baseline(method, &buckets, &request).expect("as feasible as the solved one");
            assert_feasible(&buckets, &request, &epochs);
            let worth = compared.worth.as_ref().expect("feasible");
            assert!(
                worth.d_eff <= solved.d_eff * (1.0 + 1e-12),
                "{}: {worth:?} {solved:?}",
                compared.name
            );
            better += usize::from(worth.d_eff < 0.99 * solved.d_eff);
            assert!(
                worth.d_eff <= worth.d_repeat && worth.d_repeat <= worth.tokens * (1.0 + 1e-12)
            );
            assert!(worth.unique <= worth.tokens && worth.unique <= worth.d_repeat * (1.0 + 1e-12));
            assert!((worth.epochs - worth.tokens / worth.unique).abs() < 1e-12);
        }
    }
    assert!(met > 80 && better > 80, "{met} met, {better} better");
}

#[test]
fn fixed_shares_are_kept_or_refused() {
    let buckets = [bucket(0, 0, 0.5, 1000), bucket(1, 0, 0.9, 9000)];
    let request = Request {
        source_of: vec![0, 1],
        ..Request::new(8000, 4.0)
    };
    let refused = |shares: &[f64]| {
        baseline(&Method::Fixed(shares.to_vec()), &buckets, &request)
            .expect_err("not to be had")
            .to_string()
    };
    assert!(
        refused(&[0.6, 0.4])
            .contains("has to give 4800 tokens, 1000 tokens and its cap of 4 epochs give 4000")
    );
    assert!(refused(&[0.6, 0.6]).contains("sum to 1.2, expected 1"));
    assert!(refused(&[0.6, 0.3]).contains("sum to 0.9, expected 1"));
    assert!(refused(&[]).contains("sum to 0, expected 1"));
    assert!(refused(&[1.5, -0.5]).contains("min_share"));
}

/// Whatever the check without a pool refuses, every pool refuses, with the same words.
#[test]
fn shares_are_checked_without_a_pool() {
    let buckets = [bucket(0, 0, 0.5, 1000), bucket(1, 0, 0.9, 9000)];
    let bounds = |min_share, max_share| SourceBounds {
        min_share,
        max_share,
        ..SourceBounds::free("a source")
    };
    let request = |one, other| Request {
        sources: vec![one, other],
        source_of: vec![0, 1],
        ..Request::new(100, 4.0)
    };

    let impossible = [
        request(bounds(0.6, 1.0), bounds(0.6, 1.0)),
        request(bounds(0.0, 0.3), bounds(0.0, 0.3)),
        request(bounds(0.5, 0.4), bounds(0.0, 1.0)),
    ];
    for request in &impossible {
        for method in [
            Method::Solved,
            Method::Natural,
            Method::QualityCurve { discard: 0.4 },
        ] {
            let refused = check(&method, request).expect_err("impossible");
            assert_eq!(baseline(&method, &buckets, request), Err(refused));
        }
        // Fixed shares replace the bounds.
        assert_eq!(check(&Method::Fixed(vec![0.25, 0.75]), request), Ok(()));
    }

    let free = request(bounds(0.0, 1.0), bounds(0.0, 1.0));
    for shares in [
        vec![0.5, 0.5 + 1e-8],
        vec![0.5, 0.5 - 1e-8],
        vec![f64::NAN, 1.0],
    ] {
        let fixed = Method::Fixed(shares);
        let refused = check(&fixed, &free).expect_err("impossible");
        // The sum that is shown is not the one that is expected.
        assert!(!refused.to_string().contains("sum to 1,"), "{refused}");
        assert!(baseline(&fixed, &buckets, &free).is_err());
    }
    assert_eq!(check(&Method::Fixed(vec![0.1, 0.2, 0.7]), &free), Ok(()));
}

#[test]
fn settings_of_methods_are_checked() {
    let buckets = [bucket(0, 0, 0.5, 1000)];
    for method in [
        Method::Temperature(0.0),
        Method::Temperature(f64::NAN),
        Method::QualityCurve { discard: 1.5 },
    ] {
        let error = baseline(&method, &buckets, &Request::new(100, 4.0)).expect_err("out of range");
        assert!(
            matches!(error.constraint, Constraint::Setting { .. }),
            "{error}"
        );
    }
}

#[test]
fn worth_is_the_worked_value() {
    // (U = 2e12, q = 1, T = 3e12) and (U = 5e12, q = .6, T = 5e12).
    let buckets = [
        bucket(0, 0, 1.0, 2_000_000_000_000),
        bucket(0, 0, 0.6, 5_000_000_000_000),
    ];
    let worth = worth(&buckets, &[1.5, 1.0], &Law::default());
    assert!(
        (worth.d_eff / 5.983927866e12 - 1.0).abs() < 1e-9,
        "{worth:?}"
    );
    assert_eq!([worth.tokens, worth.unique], [8e12, 7e12]);
}
