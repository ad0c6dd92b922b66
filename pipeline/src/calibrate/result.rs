//! `calibration.json`, and the verdict as it is printed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use curate_schemas::calibration::{
    Bits, Bucket, Calibration, Criterion, HeldOut, Law, Member, Proxy, Refit, SCHEMA, Target,
    TargetText, Verdict, Worth,
};
use curate_schemas::stages::quality::QUALITY;
use curate_scorers::calibrate::fit::DELTA;
use curate_scorers::calibrate::plan::Set;
use curate_scorers::calibrate::verdict::{Arm, Judged};
use curate_stages::quality::score_digest;
use curate_store::durable;
use curate_store::run_dir::RunDir;

use super::Request;
use super::cells::Cell;
use crate::mixing::Pooled;

/// A judged target: its name, its text where curate read it, and the judgement.
pub type JudgedTarget = (String, Option<TargetText>, Judged);

/// Writes the calibration and prints the verdicts. Exit 1 if a verdict is not passed.
///
/// # Errors
/// If the file cannot be written.
#[expect(clippy::too_many_arguments, reason = "each is a part of the file")]
pub fn finish(
    request: &Request,
    run: &RunDir,
    pool: &Pooled,
    cells: &[Cell],
    arms: &[Arm],
    proxy: Proxy,
    losses: String,
    judged: Vec<JudgedTarget>,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let calibration = Calibration {
        schema: SCHEMA.to_owned(),
        created_by: concat!("curate ", env!("CARGO_PKG_VERSION")).to_owned(),
        run: run.name()?,
        score: score_digest(&run.manifest()?.quality, &curves(run)?),
        proxy,
        losses,
        buckets: buckets(cells, pool, &judged),
        targets: judged
            .iter()
            .map(|target| self::target(request, cells.len(), arms, target))
            .collect(),
    };

    let path = request.output.as_deref().unwrap_or(Path::new(""));
    let text = serde_json::to_string_pretty(&calibration)? + "\n";
    durable::replace(path, |part| durable::write(part, text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;

    print(&calibration, out)?;
    let passed = calibration
        .targets
        .iter()
        .all(|target| target.verdict.passed);
    writeln!(out, "\nwritten to {}", path.display())?;
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// The digests of the curves of isotonic terms, as the key of `quality` names them.
fn curves(run: &RunDir) -> Result<String> {
    let commit = run.commit(QUALITY.name)?;
    let parts = commit
        .as_ref()
        .and_then(|commit| commit.files.first())
        .map(|file| &file.parts);
    Ok(parts
        .and_then(|parts| parts.get("isotonic"))
        .cloned()
        .unwrap_or_default())
}

/// The buckets with their worth to each target.
fn buckets(cells: &[Cell], pool: &Pooled, judged: &[JudgedTarget]) -> Vec<Bucket> {
    let worth = |bucket: usize, judged: &Judged| Worth {
        q: judged.worths.pinned.q[bucket],
        low: judged.worths.q[bucket].low,
        high: judged.worths.q[bucket].high,
        isotonic: judged.isotonic.as_ref().ok().map(|q| q[bucket]),
    };
    let member = |&origin: &u32| {
        let (source, domain) = pool.origins[origin as usize].clone();
        Member { source, domain }
    };

    cells
        .iter()
        .enumerate()
        .map(|(number, cell)| Bucket {
            name: cell.name.clone(),
            members: cell.origins.iter().map(member).collect(),
            source: cell.source,
            from: Bits(cell.from),
            to: Bits(cell.to),
            documents: cell.documents.len() as u64,
            tokens: cell.tokens,
            score: cell.score,
            worth: judged
                .iter()
                .map(|(name, _, judged)| (name.clone(), worth(number, judged)))
                .collect(),
        })
        .collect()
}

/// A target with its law and its verdict.
fn target(
    request: &Request,
    natural: usize,
    arms: &[Arm],
    (name, text, judged): &JudgedTarget,
) -> Target {
    let chosen = &judged.tried[judged.chosen];
    let others = judged.tried[2..]
        .iter()
        .map(|tried| (tried.name.to_owned(), tried.all.mae));
    let controls = arms.iter().zip(&judged.worths.pinned.q[natural..]);

    // Beyond the fitted range only if the law held there.
    let held = judged
        .criteria
        .iter()
        .any(|criterion| criterion.name == "range" && criterion.met);
    let beyond = if held { 3.0 } else { 1.0 };
    Target {
        name: name.clone(),
        text: text.clone(),
        valid_tokens: [request.tokens.0 as u64, (request.tokens.1 * beyond) as u64],
        law: Law {
            name: chosen.name.to_owned(),
            e: chosen.fit.e(),
            beta: chosen.fit.beta(),
            rho: chosen.fit.rho(),
            rho_interval: [judged.worths.rho.low, judged.worths.rho.high],
            worth_of_best: judged.worths.pinned.scale.exp(),
            lambda: chosen.fit.lambda,
            delta: DELTA,
        },
        held_out: HeldOut {
            runs: judged.held_out as u64,
            error: chosen.all.mae,
            error_of_equal_worth: judged.tried[0].all.mae,
            error_of_score: judged.tried[1].all.mae,
            ratio: judged.ratio.0,
            ratio_interval: judged.ratio.1,
            tau: chosen.on(Set::Equal).and_then(|scores| scores.tau),
            iso_r2: chosen.iso_r2,
            sigma_seed: judged.sigma_seed,
            lack_of_fit: judged.lack_of_fit,
            others: others.collect(),
        },
        controls: controls
            .map(|(arm, q)| (arm.name().to_owned(), *q))
            .collect::<BTreeMap<_, _>>(),
        refits: refits(natural, judged),
        verdict: Verdict {
            passed: judged.passed(),
            grade: match (judged.passed(), judged.strong()) {
                (false, _) => "failed",
                (true, false) => "plain",
                (true, true) => "strong",
            }
            .to_owned(),
            criteria: judged
                .criteria
                .iter()
                .map(|criterion| Criterion {
                    name: criterion.name.to_owned(),
                    met: criterion.met,
                    required: criterion.required,
                    found: criterion.found.clone(),
                })
                .collect(),
        },
    }
}

/// q of the `natural` buckets in each resample.
fn refits(natural: usize, judged: &Judged) -> Vec<Refit> {
    let worths = &judged.worths;
    let fits = worths.refits.iter().zip(&worths.pins);
    // Five decimals: the least q is 0.001, and an interval needs no more.
    let rounded = |q: &f64| (q * 1e5).round() / 1e5;
    fits.map(|(fit, pinned)| Refit {
        rho: fit.rho(),
        q: pinned.q[..natural].iter().map(rounded).collect(),
    })
    .collect()
}

/// Prints the verdict of each target and the worth of each bucket.
fn print(calibration: &Calibration, out: &mut impl Write) -> Result<()> {
    for target in &calibration.targets {
        let (law, held_out) = (&target.law, &target.held_out);
        writeln!(out, "\ntarget {}: {}", target.name, target.verdict.grade)?;
        if let Some(text) = &target.text {
            writeln!(
                out,
                "  {} tokens in {} documents; {} documents dropped because the pool holds more \
                 than a fifth of them",
                text.tokens, text.documents, text.dropped_documents
            )?;
        }
        writeln!(
            out,
            "  law {}: E {:.3}, β {:.3}, ρ {:.2} [{:.2}, {:.2}]",
            law.name, law.e, law.beta, law.rho, law.rho_interval[0], law.rho_interval[1]
        )?;
        writeln!(
            out,
            "  error on {} unseen mixtures {:.4} bits per byte; with every token worth 1 {:.4}, \
             with the uncalibrated q {:.4}",
            held_out.runs, held_out.error, held_out.error_of_equal_worth, held_out.error_of_score
        )?;
        for criterion in &target.verdict.criteria {
            let mark = match (criterion.met, criterion.required) {
                (true, _) => "met",
                (false, true) => "NOT MET",
                (false, false) => "not met",
            };
            writeln!(
                out,
                "  {:<15} {mark:<8} {}",
                criterion.name, criterion.found
            )?;
        }

        writeln!(
            out,
            "\n  {:<28} {:>12} {:>7} {:>7}  90 % interval",
            "bucket", "tokens", "score", "q"
        )?;
        for bucket in &calibration.buckets {
            let worth = &bucket.worth[&target.name];
            writeln!(
                out,
                "  {:<28} {:>12} {:>7.3} {:>7.3}  [{:.3}, {:.3}]",
                bucket.name, bucket.tokens, bucket.score, worth.q, worth.low, worth.high
            )?;
        }
        for (arm, q) in &target.controls {
            writeln!(
                out,
                "  {:<28} {:>12} {:>7} {q:>7.3}",
                format!("({arm})"),
                "",
                ""
            )?;
        }
    }
    Ok(())
}
