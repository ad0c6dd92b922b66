//! `curate budget` answers five questions without a run: what tokens of some quality are worth to a
//! model, which mixture of calibrated text is worth more, how many tokens a loss takes, how compute
//! is best spent, and how much memory the keys and values of a model take.

mod mixtures;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use curate_formats::numbers::grouped;
use curate_schemas::stages::mixtures::LEAST_PARAMS;
use curate_scorers::lm::config::Config;
use curate_scorers::lm::memory::kv_bytes;
use curate_scorers::loss::{LAWS, LossLaw, law, unique_equivalent};
use curate_store::failure::{Exit, Failure};

use self::mixtures::{Comparison, Shares, compare};
use crate::constants::from_json;
use crate::manifest::billions;
use crate::report::{Amounts, print_worth};

/// The question that `curate budget` is asked. At least one part of it must be present.
#[derive(Debug, Args)]
pub struct Question {
    /// Parameters of the model, as in 7e9
    #[arg(long, value_name = "N", value_parser = params)]
    pub params: Option<f64>,
    /// Tokens with their repeats, as in 18e12
    #[arg(long, value_name = "D", value_parser = positive)]
    pub tokens: Option<f64>,
    /// How many of the tokens are different; default: all
    #[arg(long, value_name = "U", value_parser = positive)]
    pub unique: Option<f64>,
    /// Token-weighted mean quality, above 0 and at most 1
    #[arg(long, value_name = "Q", value_parser = quality, default_value = "1")]
    pub quality: f64,
    /// Calibration whose law compares mixtures of --tokens each
    #[arg(long, value_name = "FILE", requires_all = ["mixture", "tokens"], conflicts_with_all = ["quality", "unique", "target_loss"])]
    pub calibration: Option<PathBuf>,
    /// Target of the calibration; default: the only one
    #[arg(long, value_name = "NAME", requires = "calibration")]
    pub target: Option<String>,
    /// Mixture to compare, as in html=0.5,text=0.5, by source, source/domain or bucket; may be
    /// repeated
    #[arg(long, value_name = "SHARES", value_parser = mixtures::shares, requires = "calibration")]
    pub mixture: Vec<Shares>,
    /// Constants of the loss law: besiroglu2024, besiroglu2024_full, hoffmann2022_rounded,
    /// hoffmann2022, muennighoff2023, or a JSON file with e, a, b, alpha, beta and perhaps
    /// covariance, a list of five lists
    #[arg(long, value_name = "NAME", default_value = "besiroglu2024")]
    pub constants: String,
    /// Loss to reach with --params, nats per token; prints how many tokens it takes
    #[arg(long, value_name = "L", value_parser = positive)]
    pub target_loss: Option<f64>,
    /// Compute to spend, FLOPs, as in 5.76e23; prints the best parameters and tokens
    #[arg(long, value_name = "C", value_parser = positive)]
    pub flops: Option<f64>,
    /// Print the memory that keys and values take, for the sizes of qwen2.5 or for a config.json
    #[arg(long, value_name = "MODEL", num_args = 0..=1, default_missing_value = "qwen2.5")]
    pub memory_plan: Option<String>,
}

/// Parses an argument that is a finite number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "expected a number such as 7e9".to_owned())?;

    // Rust also reads `inf` and `NaN`.
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("expected a number above 0".to_owned())
    }
}

/// Parses a number of parameters. A number far below that of any model is a slip.
fn params(text: &str) -> Result<f64, String> {
    let number = positive(text)?;
    if number >= LEAST_PARAMS {
        return Ok(number);
    }

    let least = format!("expected at least {LEAST_PARAMS:e} parameters");
    Err(match billions(number) {
        Some(meant) => format!("{least}: did you mean {meant}?"),
        None => least,
    })
}

/// Parses an argument that is a mean quality, above 0 and at most 1.
fn quality(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|q| *q <= 1.0)
        .ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

/// Prints the answer to each part of the question. The exit code is 1 if the target loss is out of
/// reach.
///
/// # Errors
/// Exit 2 if constants or a configuration cannot be read, if an argument is missing, or if nothing
/// is asked.
pub fn answer(question: &Question, out: &mut impl Write) -> Result<ExitCode> {
    let law = constants(&question.constants)?;
    let mut code = ExitCode::SUCCESS;

    // A question may have several parts. Arguments that belong to none of them are a mistake.
    match (question.params, question.tokens) {
        _ if question.calibration.is_some() => mixtures(question, &law, out)?,
        (Some(params), Some(tokens)) => worth(question, &law, params, tokens, out)?,
        (None, Some(_)) => {
            return Err(Failure::new(Exit::Usage, "--tokens needs --params".to_owned()).into());
        }
        _ if question.target_loss.is_none()
            && question.flops.is_none()
            && question.memory_plan.is_none() =>
        {
            let hint = "for example curate budget --params 7e9 --tokens 18e12 --quality 0.8";
            return Err(Failure::new(Exit::Usage, "nothing is asked".to_owned())
                .hint(hint)
                .into());
        }
        _ => {}
    }

    if let Some(flops) = question.flops {
        let best = law.optimum(flops);
        writeln!(
            out,
            "C = {flops:.3e} FLOPs are best spent on N = {:.4e}, D = {:.4e} effective tokens (D/N = {:.2}), L = {:.4} ({})",
            best.params,
            best.tokens,
            best.tokens / best.params,
            best.loss,
            law.name
        )?;
    }

    if let Some(target) = question.target_loss {
        code = target_loss(question, &law, target, out)?;
    }
    if let Some(model) = &question.memory_plan {
        memory_plan(model, out)?;
    }
    Ok(code)
}

/// Prints mixtures side by side, under the law of a calibration.
fn mixtures(question: &Question, law: &LossLaw, out: &mut impl Write) -> Result<()> {
    let comparison = Comparison {
        calibration: question.calibration.as_deref().unwrap_or(Path::new("")),
        target: question.target.as_deref(),
        mixtures: &question.mixture,
        // clap has seen that --tokens is given.
        tokens: question.tokens.unwrap_or_default(),
        params: question.params,
    };
    compare(&comparison, law, out)
}

/// Prints what tokens are worth: their loss with repeats discounted and weighted by q, beside the
/// losses of the raw and of the unique tokens.
fn worth(
    question: &Question,
    law: &LossLaw,
    params: f64,
    tokens: f64,
    out: &mut impl Write,
) -> Result<()> {
    let unique = question.unique.unwrap_or(tokens);
    if unique > tokens {
        let message = format!("--unique is {unique:e}, expected at most --tokens {tokens:e}");
        return Err(Failure::new(Exit::Usage, message).into());
    }

    // All unique tokens are taken to be seen equally often.
    let d_repeat = unique_equivalent(unique, tokens / unique);
    let d_eff = question.quality * d_repeat;
    print_worth(
        law,
        params,
        Amounts {
            tokens,
            unique,
            d_repeat,
            d_eff,
        },
        question.quality,
        out,
    )?;

    // The losses may be close together, so the table has six digits of them.
    writeln!(out, "{:<30}{:>26}{:>12}", "", "tokens", "L(N, D)")?;
    for (what, count) in [
        ("raw |D|", tokens),
        ("unique U", unique),
        ("D' with q = 1", d_repeat),
        ("D_eff (q uncalibrated)", d_eff),
    ] {
        writeln!(
            out,
            "  {what:<28}{:>26}{:>12.6}",
            grouped(count.round() as u64),
            law.loss(params, count)
        )?;
    }
    Ok(())
}

/// Prints how many effective tokens a loss takes, and how many of them are missing.
fn target_loss(
    question: &Question,
    law: &LossLaw,
    target: f64,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let Some(params) = question.params else {
        return Err(Failure::new(Exit::Usage, "--target-loss needs --params".to_owned()).into());
    };

    // A loss out of reach is an answer, not a mistake.
    let needed = match law.tokens_for(target, params) {
        Ok(needed) => needed,
        Err(infeasible) => {
            writeln!(out, "infeasible at N = {params:.3e}: {infeasible}")?;
            return Ok(ExitCode::from(Exit::No as u8));
        }
    };

    write!(
        out,
        "L = {target} at N = {params:.3e} takes {needed:.4e} effective tokens"
    )?;

    if let Some(tokens) = question.tokens {
        let unique = question.unique.unwrap_or(tokens);
        let d_eff = question.quality * unique_equivalent(unique, tokens / unique);
        // The loss can be reached, as found above, so this does not fail.
        let missing = law.missing_tokens(target, params, d_eff).unwrap_or(0.0);
        write!(
            out,
            "; {missing:.4e} are missing, {:.4e} tokens of this quality",
            missing / question.quality
        )?;
    }
    writeln!(out, " ({})", law.name)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the memory of keys and values by length, for one sequence in bf16, beside the weights and
/// what grouped queries save.
fn memory_plan(model: &str, out: &mut impl Write) -> Result<()> {
    let models = match model {
        "qwen2.5" => QWEN2_5
            .iter()
            .map(|(name, shape)| Ok((*name, qwen2_5(*shape)?)))
            .collect::<Result<Vec<_>>>()?,
        path => {
            let usage =
                |what: String| Failure::new(Exit::Usage, format!("--memory-plan {path}: {what}"));
            let bytes = std::fs::read(path).map_err(|error| usage(error.to_string()))?;
            let config = Config::from_json(&bytes).map_err(|error| usage(error.to_string()))?;
            // The column is narrow, so the file is named without its folders.
            vec![(
                Path::new(path)
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or(path),
                config,
            )]
        }
    };

    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    writeln!(
        out,
        "{:<14}{:>16}{:>14}{:>12}{:>10}{:>10}{:>10}{:>12}",
        "model", "parameters", "weights GiB", "KV B/token", "KV@2K", "KV@8K", "KV@32K", "GQA saves"
    )?;

    for (name, config) in models {
        // A value in bf16 takes 2 bytes, in the weights and in the keys and values.
        let kv = |tokens: u64| gib(kv_bytes(&config, 1, tokens, 2));
        writeln!(
            out,
            "{name:<14}{:>16}{:>14.2}{:>12}{:>10.4}{:>10.4}{:>10.4}{:>11}×",
            grouped(config.parameters()),
            gib(2 * config.parameters()),
            grouped(kv_bytes(&config, 1, 1, 2)),
            kv(2048),
            kv(8192),
            kv(32_768),
            config.num_heads / config.num_kv_heads
        )?;
    }

    writeln!(
        out,
        "GiB in bf16 for one sequence: 2 · batch · length · layers · KV heads · head dimensions · 2 bytes"
    )?;
    Ok(())
}

/// Shape of a model: layers, hidden size, feed-forward size, query heads, KV heads, size of the
/// vocabulary, and true if the embeddings of input and output are tied.
type Shape = (usize, usize, usize, usize, usize, usize, bool);

/// Shapes of the Qwen2.5 models, from table 1 of the technical report and the published
/// configurations.
const QWEN2_5: [(&str, Shape); 7] = [
    ("Qwen2.5-0.5B", (24, 896, 4864, 14, 2, 151_936, true)),
    ("Qwen2.5-1.5B", (28, 1536, 8960, 12, 2, 151_936, true)),
    ("Qwen2.5-3B", (36, 2048, 11_008, 16, 2, 151_936, true)),
    ("Qwen2.5-7B", (28, 3584, 18_944, 28, 4, 152_064, false)),
    ("Qwen2.5-14B", (48, 5120, 13_824, 40, 8, 152_064, false)),
    ("Qwen2.5-32B", (64, 5120, 27_648, 40, 8, 152_064, false)),
    ("Qwen2.5-72B", (80, 8192, 29_568, 64, 8, 152_064, false)),
];

/// The configuration of a Qwen2 model of some shape.
fn qwen2_5((layers, hidden, ffn, heads, kv, vocab, tied): Shape) -> Result<Config> {
    // The reader of configurations checks a shape, and knows what follows from it.
    let json = serde_json::json!({
        "model_type": "qwen2", "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn,
        "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": vocab, "tie_word_embeddings": tied,
        "max_position_embeddings": 32_768,
    });
    Config::from_json(json.to_string().as_bytes()).context("a published shape")
}

/// The law that `name` names: a published law, or a JSON file with e, a, b, alpha, beta and perhaps
/// their covariance.
fn constants(name: &str) -> Result<LossLaw> {
    if let Some(law) = law(name) {
        return Ok(*law);
    }

    // Without the ending a misspelt name would be reported as a missing file.
    let usage = |what: String| Failure::new(Exit::Usage, format!("--constants {name}: {what}"));
    if !name.ends_with(".json") {
        let names: Vec<&str> = LAWS.iter().map(|law| law.name).collect();
        let hint = format!("one of {}, or a JSON file", names.join(", "));
        return Err(usage("no law has this name".to_owned()).hint(hint).into());
    }

    let bytes = std::fs::read(name).map_err(|error| usage(error.to_string()))?;
    Ok(from_json(&bytes).map_err(usage)?)
}
