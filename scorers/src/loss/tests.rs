//! Values of the papers and of their notebooks, and properties of the laws.

use super::*;

/// Asserts that two numbers differ by less than the share `relative`.
fn near(got: f64, expected: f64, relative: f64) {
    assert!(
        (got / expected - 1.0).abs() < relative,
        "{got} is not {expected}"
    );
}

/// The published fit called `name`.
fn named(name: &str) -> &'static LossLaw {
    law(name).expect("it is listed")
}

/// Normal numbers that are the same in every run: a linear congruential generator (Knuth's MMIX),
/// then Box and Muller.
struct Normals(u64);

impl Normals {
    /// A number in (0, 1), of 53 random bits; never 0, whose logarithm is infinite.
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);

        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[test]
fn losses_are_those_of_the_papers() {
    let points = [(70e9, 1.4e12), (7e9, 18e12), (0.5e9, 18e12), (72e9, 18e12)];
    let expected = [
        (
            "hoffmann2022_rounded",
            [1.936645, 1.952459, 2.217835, 1.852500],
        ),
        ("hoffmann2022", [1.920846, 1.948199, 2.217613, 1.846506]),
        ("besiroglu2024", [1.973882, 2.028263, 2.301262, 1.927441]),
    ];

    for (name, losses) in expected {
        for ((params, tokens), loss) in points.into_iter().zip(losses) {
            near(named(name).loss(params, tokens), loss, 1e-6);
        }
    }

    near(named("besiroglu2024_full").loss(7e9, 18e12), 2.027823, 5e-7);
}

#[test]
fn full_precision_constants_are_the_published_logarithms() {
    let logarithms = [
        (
            "besiroglu2024_full",
            [0.59711196f64, 6.17795598, 7.64273236],
        ),
        ("muennighoff2023", [0.6254804, 6.255414, 7.3049974]),
    ];

    for (name, logarithms) in logarithms {
        let full = named(name);
        for (constant, logarithm) in [full.e, full.a, full.b].into_iter().zip(logarithms) {
            near(constant, logarithm.exp(), 1e-15);
        }
    }
}

#[test]
fn muennighoff_agrees_with_its_authors() {
    // parametric_fit.ipynb of huggingface/datablations: N, D and U = 25e9.
    let law = named("muennighoff2023");
    near(
        law.repeated_loss(6.34e9, 242e9, 25e9),
        2.2256440889984477,
        1e-12,
    );
    near(
        law.repeated_loss(8.67e9, 178e9, 25e9),
        2.2269634075087867,
        1e-12,
    );

    near(law.params_of_optimum(25e9), 1.2746629e9, 1e-7);
    near(unique_equivalent(25e9, 242.0 / 25.0), 1.90849034e11, 1e-8);
    near(
        law.loss(4.8406682e9, 1.90849034e11),
        2.2256440889984477,
        1e-8,
    );
}

#[test]
fn without_repeats_and_excess_the_loss_is_the_plain_one() {
    let law = named("muennighoff2023");
    assert_eq!(law.repeated_loss(1e9, 25e9, 25e9), law.loss(1e9, 25e9));
    assert_eq!(law.repeated_loss(1e9, 25e9, 99e9), law.loss(1e9, 25e9));
}

#[test]
fn repeats_are_worth_less_and_less() {
    let worth = [
        1.0, 1.968199, 3.725673, 6.624119, 10.582457, 15.167465, 16.387756,
    ];
    for (epochs, worth) in [1.0, 2.0, 4.0, 8.0, 16.0, 40.0, f64::INFINITY]
        .into_iter()
        .zip(worth)
    {
        near(unique_equivalent(1.0, epochs), worth, 1e-6);
    }

    assert_eq!(
        [unique_equivalent(5.0, 0.0), unique_equivalent(0.0, 7.0)],
        [0.0, 0.0]
    );
    near(unique_equivalent(2e12, 1.5), 2.983927866e12, 1e-9);
}

#[test]
fn a_worked_mixture_has_its_worth() {
    // (U = 2e12, q = 1, T = 3e12) and (U = 5e12, q = .6, T = 5e12).
    let supplies = [
        Supply {
            q: 1.0,
            unique: 2e12,
            epochs: 1.5,
        },
        Supply {
            q: 0.6,
            unique: 5e12,
            epochs: 1.0,
        },
    ];

    let d_eff: f64 = supplies.iter().map(Supply::d_eff).sum();
    near(d_eff, 5.983927866e12, 1e-9);

    let law = named("besiroglu2024");
    near(law.loss(7e9, d_eff), 2.042918, 3e-7);
    near(law.loss(7e9, 8e12), 2.038464, 3e-7);
    near(law.delta_loss(d_eff, 8e12), 0.004454, 2e-4);
}

#[test]
fn optima_are_those_of_the_closed_form() {
    let expected = [
        (
            "hoffmann2022_rounded",
            [6.44858e8, 2.58455e10, 2.599850],
            [3.21899e10, 2.98231e12, 1.930748, 92.65],
            139.0,
        ),
        (
            "hoffmann2022",
            [7.74874e8, 2.15089e10, 2.553419],
            [4.03609e10, 2.37854e12, 1.918412, 58.93],
            84.83,
        ),
        (
            "besiroglu2024",
            [8.53477e8, 1.95280e10, 2.553405],
            [7.22487e10, 1.32874e12, 1.974441, 18.39],
            16.55,
        ),
    ];

    for (name, small, large, largest) in expected {
        let at = |flops: f64| named(name).optimum(flops);
        let (first, second, third) = (at(1e20), at(5.76e23), at(3.8e25));

        let got = [
            first.params,
            first.tokens,
            first.loss,
            second.params,
            second.tokens,
            second.loss,
        ];

        for (got, expected) in got.into_iter().zip(small.into_iter().chain(large)) {
            near(got, expected, 1e-4);
        }

        near(second.tokens / second.params, large[3], 1e-4);
        near(third.tokens / third.params, largest, 5e-4);
    }
}

#[test]
fn no_other_split_of_the_compute_is_better() {
    for law in LAWS {
        for flops in [1e18, 1e22, 1e26] {
            let best = law.optimum(flops);
            near(6.0 * best.params * best.tokens, flops, 1e-12);
            near(law.params_of_optimum(best.tokens), best.params, 1e-9);

            for factor in [0.5, 0.9, 0.999, 1.001, 1.1, 2.0] {
                assert!(
                    law.loss(best.params * factor, best.tokens / factor) > best.loss,
                    "{} {factor}",
                    law.name
                );
            }
        }
    }
}

#[test]
fn a_loss_says_how_many_tokens_it_takes() {
    let law = named("besiroglu2024");
    let tokens = law.tokens_for(2.1, 7e9).expect("it can be had");
    near(tokens, 6.20104e11, 1e-5);
    near(law.loss(7e9, tokens), 2.1, 1e-12);

    near(
        law.params_for(2.1, tokens).expect("it can be had"),
        7e9,
        1e-9,
    );
    near(
        law.missing_tokens(2.1, 7e9, 5e11).expect("it can be had"),
        1.20104e11,
        1e-4,
    );
    assert_eq!(law.missing_tokens(2.1, 7e9, 7e11), Ok(0.0));
}

#[test]
fn a_loss_at_the_asymptote_cannot_be_had() {
    let law = named("besiroglu2024");

    // Just above the asymptote the law still gives a number, but it is no answer.
    let error = law
        .tokens_for(2.0, 7e9)
        .expect_err("1e17 tokens are no answer");
    near(
        error.asymptote,
        1.8172 + 482.01 / 7e9f64.powf(0.3478),
        1e-15,
    );
    near(error.needed, 9.6e16, 1e-2);
    assert!(error.to_string().contains("stays above 1.9987"), "{error}");

    let asymptote = error.asymptote;
    for target in [asymptote, 1.9, 0.0, -1.0] {
        let error = law
            .missing_tokens(target, 7e9, 1e12)
            .expect_err("below the asymptote");
        assert_eq!((error.asymptote, error.needed), (asymptote, f64::INFINITY));
    }

    assert_eq!(
        law.params_for(1.8, 1e12).expect_err("below E").what,
        "parameters"
    );
}

#[test]
fn a_difference_of_losses_is_exact_when_small() {
    let law = named("besiroglu2024");
    near(
        law.delta_loss(6e12, 8e12),
        law.loss(7e9, 6e12) - law.loss(7e9, 8e12),
        1e-11,
    );
    near(
        law.delta_loss(1e9, 8e12),
        law.loss(7e9, 1e9) - law.loss(7e9, 8e12),
        1e-11,
    );
    assert_eq!(law.delta_loss(5e11, 5e11), 0.0);

    // One token more: the derivative −dL/dD = βB/D^(β+1). 2^39 and 2^39 + 1 are exact.
    let tokens = (1u64 << 39) as f64;
    near(
        law.delta_loss(tokens, tokens + 1.0),
        law.beta * law.b / tokens.powf(law.beta + 1.0),
        1e-11,
    );
}

#[test]
fn the_next_tokens_are_worth_what_the_difference_says() {
    let law = named("besiroglu2024");
    for epochs in [0.0, 0.4, 0.9, 1.0, 3.0, 20.0] {
        let supply = Supply {
            q: 0.7,
            unique: 2e10,
            epochs,
        };
        let after = Supply {
            epochs: epochs + 0.5,
            ..supply
        };

        let next = law.next_tokens(1e11, &supply, 1e10);
        near(next.d_eff, after.d_eff() - supply.d_eff(), 1e-9);
        near(
            next.loss,
            law.loss(7e9, 1e11) - law.loss(7e9, 1e11 + next.d_eff),
            1e-9,
        );
    }

    // One more token after R repeats is worth q·e^(−R/R*); four epochs are three repeats.
    let one = law.next_tokens(
        1e11,
        &Supply {
            q: 0.7,
            unique: 2e10,
            epochs: 4.0,
        },
        1.0,
    );
    near(one.d_eff, 0.7 * 0.822867, 1e-6);

    let none = law.next_tokens(
        1e11,
        &Supply {
            q: 0.7,
            unique: 0.0,
            epochs: 0.0,
        },
        1e9,
    );
    assert_eq!((none.d_eff, none.loss), (0.0, 0.0));
}

/// The 2.5 % and 97.5 % quantiles of ΔL over 200,000 draws of ln B and β. Both are normal, and
/// `correlation` is the correlation between them.
fn simulated(law: &LossLaw, tokens: f64, other: f64, correlation: f64) -> (f64, f64) {
    let Some(Errors::Independent([_, _, b, _, beta])) = law.errors else {
        panic!("{} has errors", law.name)
    };

    let mut normals = Normals(20241);
    let mut draws: Vec<f64> = (0..200_000)
        .map(|_| {
            let (one, two) = (normals.normal(), normals.normal());
            let exponent = law.beta
                + beta * (correlation * one + (1.0 - correlation * correlation).sqrt() * two);

            let drawn = LossLaw {
                b: law.b * (b / law.b * one).exp(),
                beta: exponent,
                ..*law
            };
            drawn.delta_loss(tokens, other)
        })
        .collect();

    draws.sort_by(f64::total_cmp);
    (draws[5_000], draws[195_000])
}

#[test]
fn intervals_agree_with_a_monte_carlo() {
    for name in ["besiroglu2024", "besiroglu2024_full"] {
        let law = named(name);
        for (tokens, other) in [
            (2.2e11, 3e11),
            (3e10, 3e11),
            (1e9, 1e13),
            (2.99e11, 3e11),
            (8e12, 6e12),
        ] {
            let interval = law
                .delta_loss_interval(tokens, other)
                .expect("its errors are published");

            let (low, high) = simulated(law, tokens, other, 0.0);
            near(interval.low, low, 0.02);
            near(interval.high, high, 0.02);

            assert!(
                interval.independent
                    && interval.low < interval.value
                    && interval.value < interval.high
            );
        }
    }
}

#[test]
fn a_covariance_narrows_what_independence_leaves_wide() {
    let base = named("besiroglu2024");
    let Some(Errors::Independent(errors)) = base.errors else {
        panic!("its errors are published")
    };

    let mut covariance = [[0.0; 5]; 5];
    for (i, error) in errors.into_iter().enumerate() {
        covariance[i][i] = error * error;
    }

    let with = |covariance| LossLaw {
        errors: Some(Errors::Covariance(covariance)),
        ..*base
    };

    let independent = base.delta_loss_interval(2.2e11, 3e11).expect("errors");
    let diagonal = with(covariance)
        .delta_loss_interval(2.2e11, 3e11)
        .expect("errors");
    assert!(!diagonal.independent);
    near(diagonal.low, independent.low, 1e-12);

    covariance[2][4] = 0.9 * errors[2] * errors[4];
    covariance[4][2] = covariance[2][4];
    let correlated = with(covariance)
        .delta_loss_interval(2.2e11, 3e11)
        .expect("errors");

    let (low, high) = simulated(base, 2.2e11, 3e11, 0.9);
    near(correlated.low, low, 0.02);
    near(correlated.high, high, 0.02);
    assert!(correlated.low > diagonal.low && correlated.high < diagonal.high);
}

#[test]
fn intervals_are_absent_where_nothing_is_known() {
    assert_eq!(named("hoffmann2022").delta_loss_interval(2e11, 3e11), None);

    let law = named("besiroglu2024");
    assert_eq!(law.delta_loss_interval(0.0, 3e11), None);
    let same = law.delta_loss_interval(3e11, 3e11).expect("errors");
    assert_eq!([same.low, same.value, same.high], [0.0; 3]);
}

/// Constants without a covariance.
fn own() -> UserConstants {
    UserConstants {
        e: 1.8,
        a: 480.0,
        b: 2000.0,
        alpha: 0.35,
        beta: 0.36,
        covariance: None,
    }
}

#[test]
fn ones_own_constants_make_a_law() {
    let law = LossLaw::try_from(own()).expect("they are fine");
    near(
        law.loss(7e9, 1e11),
        1.8 + 480.0 / 7e9f64.powf(0.35) + 2000.0 / 1e11f64.powf(0.36),
        1e-15,
    );

    assert!(law.errors.is_none() && law.in_fitted_range(1e6, 1e15));

    let mut covariance = [[0.0; 5]; 5];
    (covariance[2][2], covariance[4][4]) = (1e6, 4e-4);
    (covariance[2][4], covariance[4][2]) = (20.0, 20.0);
    let law = LossLaw::try_from(UserConstants {
        covariance: Some(covariance),
        ..own()
    })
    .expect("correlation 1");

    assert!(
        law.delta_loss_interval(2e11, 3e11)
            .is_some_and(|interval| !interval.independent)
    );
}

#[test]
fn impossible_constants_are_refused() {
    let refused = |own: UserConstants| LossLaw::try_from(own).expect_err("impossible").to_string();

    assert!(refused(UserConstants { beta: 0.0, ..own() }).contains("beta is 0"));
    assert!(
        refused(UserConstants {
            e: f64::NAN,
            ..own()
        })
        .contains("constant e")
    );
    assert!(
        refused(UserConstants {
            a: f64::INFINITY,
            ..own()
        })
        .contains("constant a")
    );

    let mut covariance = [[0.0; 5]; 5];
    covariance[0][1] = 1.0;
    assert!(
        refused(UserConstants {
            covariance: Some(covariance),
            ..own()
        })
        .contains("covariance of e and a")
    );

    covariance = [[0.0; 5]; 5];
    covariance[3][3] = -1.0;
    assert!(
        refused(UserConstants {
            covariance: Some(covariance),
            ..own()
        })
        .contains("alpha and alpha")
    );
}

#[test]
fn names_are_unique_and_ranges_hold() {
    for (i, entry) in LAWS.iter().enumerate() {
        assert_eq!(
            LAWS.iter().position(|other| other.name == entry.name),
            Some(i)
        );
        assert!(entry.params.0 < entry.params.1 && entry.tokens.0 < entry.tokens.1);
    }

    let default = &LAWS[0];
    assert!(default.in_fitted_range(7e9, 1e11));
    assert!(!default.in_fitted_range(7e9, 18e12) && !default.in_fitted_range(72e9, 1e11));
    assert_eq!(law("kaplan2020"), None);
}
