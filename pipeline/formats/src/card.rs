//! A Hugging Face dataset card: `README.md` whose YAML front matter `datasets` and the Hub read,
//! and whose figures are the run's.
//!
//! Keys are those of the Hub's card specification (`datasetcard.md` in huggingface/hub-docs) and of
//! `datasets`: `configs` say which files a configuration has, `dataset_info` how many rows, which
//! `load_dataset` compares with what it reads. What is not known is left out: a `license` stands
//! there only if a source has one. Languages go by their ISO 639-1 code where they have one, as on
//! the Hub.
//!
//! Names, domains and languages come from strangers and go through `escape.rs`.

use std::fmt::Write;

use curate_scorers::language::iso639_1;

use super::escape::{code_block, markdown, yaml};
use super::licenses;
use crate::numbers::grouped;

/// A language's part of a mixture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Language {
    /// ISO 639-3 code; none where no language could be told.
    pub code: Option<String>,
    /// Distinct documents.
    pub documents: u64,
    /// Tokens with repeats.
    pub tokens: u64,
}

/// What a card says. Nothing is computed here but sums and shares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Name of the mixture.
    pub name: String,
    /// Name of the run.
    pub run: String,
    /// File name of the manifest.
    pub manifest: String,
    /// Version of curate.
    pub curate: String,
    /// Languages of the documents drawn, in the order that they are shown in.
    pub languages: Vec<Language>,
    /// Configurations, the default one first, all in one format: `datasets` reads every one with
    /// the reader of the first.
    pub configs: Vec<Config>,
    /// Distinct documents.
    pub documents: u64,
    /// Rows: documents with their repeats.
    pub draws: u64,
    /// Bytes of text, with repeats.
    pub bytes: u64,
    /// |D|: tokens with repeats.
    pub tokens: u64,
    /// Tokens with each document once.
    pub unique_tokens: u64,
    /// q(D) of the mixture, in (0, 1].
    pub q: f64,
    /// Effective tokens.
    pub d_eff: f64,
    /// Whether q was calibrated against losses.
    pub q_calibrated: bool,
    /// How tokens were counted: the tokenizer's name and the blake3 of its file.
    pub tokenizer: Option<(String, String)>,
    /// What each source gave.
    pub sources: Vec<Source>,
    /// Where documents went, by stage.
    pub funnel: Vec<Stage>,
    /// Ways to load the files beside the card.
    pub uses: Vec<Use>,
}

/// A way to load the files beside a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The language of the code, as a Markdown fence names it.
    pub language: &'static str,
    /// The code, one line.
    pub code: String,
}

impl Use {
    /// The call that loads a configuration in Python.
    pub fn of_config(config: &Config) -> Use {
        // `datasets` 5.2 takes its name for the data from the path's last part, so "." does not do.
        let name = serde_json::Value::from(config.name.as_str());
        Use {
            language: "python",
            code: format!(
                "datasets.load_dataset(\"/path/of/this/folder\", {name}, split=\"train\")"
            ),
        }
    }
}

/// A configuration: one way to load the mixture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Files relative to the card, or patterns of them. Names are safer: a pattern also finds what
    /// an earlier run left.
    pub files: Vec<String>,
    /// Size of the files in bytes.
    pub bytes: u64,
}

/// What a source gave to the mixture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its licence, if the manifest states one.
    pub license: Option<String>,
    /// Distinct documents.
    pub documents: u64,
    /// Documents with their repeats.
    pub draws: u64,
    /// Tokens with repeats.
    pub tokens: u64,
    /// Σ tokens·q / Σ tokens, in (0, 1].
    pub q: f64,
}

/// A row of the funnel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// Name of the stage.
    pub name: String,
    /// Documents that arrived.
    pub arrived: u64,
    /// Documents that went on.
    pub kept: u64,
    /// Documents that a rule removed, by `family.rule`.
    pub removed: Vec<(String, u64)>,
    /// Documents merged into one that is kept.
    pub duplicates: u64,
    /// Documents that could not be read or processed.
    pub quarantined: u64,
}

/// The card's text.
pub fn card(facts: &Facts) -> String {
    let mut out = String::new();
    let written = front_matter(facts, &mut out).and_then(|()| body(facts, &mut out));
    written.expect("a String takes what is written to it");
    out
}

/// The Hub's bucket of a number of rows.
pub fn size_category(rows: u64) -> &'static str {
    const NAMES: [&str; 10] = [
        "n<1K",
        "1K<n<10K",
        "10K<n<100K",
        "100K<n<1M",
        "1M<n<10M",
        "10M<n<100M",
        "100M<n<1B",
        "1B<n<10B",
        "10B<n<100B",
        "100B<n<1T",
    ];
    let powers = rows
        .checked_ilog10()
        .map_or(0, |power| power.saturating_sub(2) as usize);
    NAMES.get(powers).copied().unwrap_or("n>1T")
}

fn front_matter(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "---")?;
    writeln!(out, "pretty_name: {}", yaml(&facts.name))?;
    if let Some((license, name)) = licenses::header(&stated(facts)) {
        writeln!(out, "license: {}", yaml(&license))?;
        name.map_or(Ok(()), |name| {
            writeln!(out, "license_name: {}", yaml(&name))
        })?;
    }
    let codes = facts
        .languages
        .iter()
        .filter_map(|language| language.code.as_deref());
    write_list(
        out,
        "language",
        codes.filter(|code| is_language_code(code)).map(hub_code),
    )?;
    write_list(
        out,
        "size_categories",
        [size_category(facts.draws)].into_iter(),
    )?;
    write_list(out, "task_categories", ["text-generation"].into_iter())?;
    write_list(out, "tags", ["pretraining", "curate"].into_iter())?;
    write_configs(facts, out)?;
    writeln!(out, "---")
}

fn write_configs(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.configs.is_empty() {
        return Ok(());
    }
    writeln!(out, "configs:")?;
    for (at, config) in facts.configs.iter().enumerate() {
        writeln!(out, "- config_name: {}", yaml(&config.name))?;
        if at == 0 {
            writeln!(out, "  default: true")?;
        }
        writeln!(out, "  data_files:\n  - split: train\n    path:")?;
        config
            .files
            .iter()
            .try_for_each(|file| writeln!(out, "    - {}", yaml(file)))?;
    }
    writeln!(out, "dataset_info:")?;
    for config in &facts.configs {
        writeln!(out, "- config_name: {}", yaml(&config.name))?;
        writeln!(out, "  splits:\n  - name: train")?;
        writeln!(
            out,
            "    num_bytes: {}\n    num_examples: {}",
            facts.bytes, facts.draws
        )?;
        writeln!(
            out,
            "  download_size: {}\n  dataset_size: {}",
            config.bytes, facts.bytes
        )?;
    }
    Ok(())
}

/// A key with a list of texts, or nothing for no texts.
fn write_list<'a>(
    out: &mut String,
    key: &str,
    items: impl Iterator<Item = &'a str>,
) -> std::fmt::Result {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{key}:")?;
    items.try_for_each(|item| writeln!(out, "- {}", yaml(item)))
}

/// The licence of each source, if stated.
fn stated(facts: &Facts) -> Vec<Option<&str>> {
    facts
        .sources
        .iter()
        .map(|source| source.license.as_deref())
        .collect()
}

/// A language's code as the Hub's search knows it.
fn hub_code(code: &str) -> &str {
    iso639_1(code).unwrap_or(code)
}

/// The Hub takes codes of two or three letters.
fn is_language_code(code: &str) -> bool {
    matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn body(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n# {}\n", markdown(&facts.name))?;
    writeln!(
        out,
        "A pre-training mixture: text in training order, made by curate {} from the manifest {} (run {}).",
        markdown(&facts.curate),
        markdown(&facts.manifest),
        markdown(&facts.run)
    )?;
    write_worth(facts, out)?;
    write_sources(facts, out)?;
    write_funnel(facts, out)?;
    write_languages(facts, out)?;
    write_columns(out)?;
    write_use(facts, out)?;
    write_licenses(facts, out)
}

fn write_worth(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Size and worth\n\n| what | figure |\n|---|---:|")?;
    writeln!(out, "| documents | {} |", grouped(facts.documents))?;
    writeln!(
        out,
        "| rows: documents with their repeats | {} |",
        grouped(facts.draws)
    )?;
    writeln!(out, "| bytes of text | {} |", grouped(facts.bytes))?;
    writeln!(out, "| tokens | {} |", grouped(facts.tokens))?;
    writeln!(
        out,
        "| tokens, each document once | {} |",
        grouped(facts.unique_tokens)
    )?;
    if facts.unique_tokens > 0 {
        writeln!(
            out,
            "| epochs | {:.2} |",
            facts.tokens as f64 / facts.unique_tokens as f64
        )?;
    }
    let calibrated = if facts.q_calibrated {
        "calibrated"
    } else {
        "uncalibrated"
    };
    writeln!(out, "| quality q, {calibrated} | {} |", quality(facts.q))?;
    writeln!(
        out,
        "| effective tokens D_eff, {calibrated} | {} |",
        grouped(facts.d_eff.round() as u64)
    )?;
    if let Some((name, digest)) = &facts.tokenizer {
        writeln!(
            out,
            "\nTokens are those of the tokenizer {} (blake3 {}).",
            markdown(name),
            markdown(digest)
        )?;
    }
    writeln!(
        out,
        "\nq is the mean quality of the tokens, in (0, 1]; D_eff is what the tokens are worth after quality and repetition."
    )?;
    if !facts.q_calibrated {
        writeln!(
            out,
            "q was not calibrated against losses: D_eff compares mixtures whose q is made the same way, nothing else."
        )?;
    }
    Ok(())
}

fn write_sources(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.sources.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Sources\n\n| source | documents | rows | tokens | share of tokens | q | licence |\n|---|---:|---:|---:|---:|---:|---|"
    )?;
    for source in &facts.sources {
        let share = 100.0 * source.tokens as f64 / facts.tokens.max(1) as f64;
        let [documents, draws, tokens] =
            [source.documents, source.draws, source.tokens].map(grouped);
        let (name, q) = (markdown(&source.name), quality(source.q));
        let license = source
            .license
            .as_deref()
            .map_or("not stated".to_owned(), markdown);
        writeln!(
            out,
            "| {name} | {documents} | {draws} | {tokens} | {share:.2} % | {q} | {license} |"
        )?;
    }
    Ok(())
}

fn write_funnel(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.funnel.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## From records to the pool\n")?;
    writeln!(
        out,
        "Documents by stage. The mixture is drawn from what the last stage kept.\n"
    )?;
    writeln!(
        out,
        "| stage | in | kept | removed | duplicates | quarantined |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for stage in &facts.funnel {
        let removed = stage.removed.iter().map(|(_, n)| n).sum();
        let numbers = [
            stage.arrived,
            stage.kept,
            removed,
            stage.duplicates,
            stage.quarantined,
        ]
        .map(grouped);
        writeln!(
            out,
            "| {} | {} |",
            markdown(&stage.name),
            numbers.join(" | ")
        )?;
    }
    if facts.funnel.iter().all(|stage| stage.removed.is_empty()) {
        return Ok(());
    }
    writeln!(out, "\n| removed by | documents |\n|---|---:|")?;
    for (rule, n) in facts.funnel.iter().flat_map(|stage| &stage.removed) {
        writeln!(out, "| {} | {} |", markdown(rule), grouped(*n))?;
    }
    Ok(())
}

fn write_languages(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.languages.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Languages\n\nOf the documents drawn, as identified; codes are ISO 639-3.\n"
    )?;
    writeln!(
        out,
        "| language | documents | share of documents | tokens | share of tokens |\n|---|---:|---:|---:|---:|"
    )?;
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    for Language {
        code,
        documents,
        tokens,
    } in &facts.languages
    {
        let code = code
            .as_deref()
            .map_or("not identified".to_owned(), markdown);
        let shares = [
            share(*documents, facts.documents),
            share(*tokens, facts.tokens),
        ];
        let [documents, tokens] = [*documents, *tokens].map(grouped);
        writeln!(
            out,
            "| {code} | {documents} | {:.2} % | {tokens} | {:.2} % |",
            shares[0], shares[1]
        )?;
    }
    Ok(())
}

fn write_columns(out: &mut String) -> std::fmt::Result {
    let columns = [
        (
            "`doc_id`, in JSON lines `id`",
            "the document: a hash of where it was read",
        ),
        ("`source`, `domain`", "where it comes from"),
        ("`draw`", "number of this repeat of the document, from 0"),
        ("`tokens`", "tokens of the text"),
        ("`q`", "quality of the document, in (0, 1]"),
        ("`text`", "the text"),
    ];
    writeln!(out, "\n## Columns\n\n| column | meaning |\n|---|---|")?;
    columns
        .iter()
        .try_for_each(|(column, meaning)| writeln!(out, "| {column} | {meaning} |"))
}

fn write_use(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.uses.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Use\n\nRows are in a random order already.\n")?;
    let mut uses = facts.uses.iter();
    uses.try_for_each(|Use { language, code }| out.write_str(&code_block(language, code)))
}

fn write_licenses(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Licence\n")?;
    let stated = stated(facts);
    let mut licenses: Vec<String> = stated
        .iter()
        .flatten()
        .map(|license| markdown(license))
        .collect();
    if licenses.is_empty() {
        return writeln!(
            out,
            "The run does not know the licences of its sources. Each text stays under its own."
        );
    }
    let rest = if licenses.len() < stated.len() {
        " Of the other sources none is stated."
    } else {
        ""
    };
    licenses.sort();
    licenses.dedup();
    writeln!(
        out,
        "As stated for the sources: {}.{rest} Each text stays under its own.",
        licenses.join(", ")
    )
}

/// A mean quality; that of no tokens is none.
fn quality(q: f64) -> String {
    if q.is_finite() {
        format!("{q:.4}")
    } else {
        "-".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "general".into(),
            run: "quickstart".into(),
            manifest: "quickstart.toml".into(),
            curate: "0.1.0".into(),
            languages: vec![
                Language {
                    code: Some("eng".into()),
                    documents: 100,
                    tokens: 270_000,
                },
                Language {
                    code: Some("und".into()),
                    documents: 8,
                    tokens: 21_000,
                },
                Language {
                    code: None,
                    documents: 4,
                    tokens: 9000,
                },
            ],
            configs: vec![
                Config {
                    name: "default".into(),
                    files: vec!["a.parquet".into(), "b.parquet".into()],
                    bytes: 5,
                },
                Config {
                    name: "no".into(),
                    files: vec!["c-*.parquet".into()],
                    bytes: 6,
                },
            ],
            documents: 112,
            draws: 1166,
            bytes: 1_234_567,
            tokens: 300_000,
            unique_tokens: 200_000,
            q: 0.74874,
            d_eff: 222_904.4,
            sources: vec![Source {
                name: "web".into(),
                license: None,
                documents: 112,
                draws: 1166,
                tokens: 300_000,
                q: 0.74874,
            }],
            funnel: vec![Stage {
                name: "filter".into(),
                arrived: 1596,
                kept: 647,
                removed: vec![("gopher_quality.short_doc".into(), 949)],
                ..Stage::default()
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn front_matter_spelled_out() {
        let card = card(&facts());
        let expected = r#"---
pretty_name: "general"
language:
- "en"
- "und"
size_categories:
- "1K<n<10K"
task_categories:
- "text-generation"
tags:
- "pretraining"
- "curate"
configs:
- config_name: "default"
  default: true
  data_files:
  - split: train
    path:
    - "a.parquet"
    - "b.parquet"
- config_name: "no"
  data_files:
  - split: train
    path:
    - "c-*.parquet"
dataset_info:
- config_name: "default"
  splits:
  - name: train
    num_bytes: 1234567
    num_examples: 1166
  download_size: 5
  dataset_size: 1234567
- config_name: "no"
  splits:
  - name: train
    num_bytes: 1234567
    num_examples: 1166
  download_size: 6
  dataset_size: 1234567
---

# general
"#;
        assert_eq!(&card[..expected.len()], expected);
    }

    #[test]
    fn figures_are_the_facts() {
        let mut facts = facts();
        let text = card(&facts);
        for line in [
            "| tokens | 300,000 |",
            "| epochs | 1.50 |",
            "| quality q, uncalibrated | 0.7487 |",
            "| effective tokens D_eff, uncalibrated | 222,904 |",
            "| web | 112 | 1,166 | 300,000 | 100.00 % | 0.7487 | not stated |",
            "| eng | 100 | 89.29 % | 270,000 | 90.00 % |",
            "| not identified | 4 | 3.57 % | 9,000 | 3.00 % |",
            "| filter | 1,596 | 647 | 949 | 0 | 0 |",
            "| gopher\\_quality.short\\_doc | 949 |",
            "curate 0.1.0 from the manifest quickstart.toml (run quickstart).",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        facts.q_calibrated = true;
        assert!(!card(&facts).contains("uncalibrated") && !card(&facts).contains("not calibrated"));
    }

    #[test]
    fn licences_stand_there_only_if_known() {
        let mut facts = facts();
        assert!(!card(&facts).contains("license:"));
        assert!(card(&facts).contains("does not know the licences"));
        facts.sources[0].license = Some("CC-BY-4.0".into());
        let one = card(&facts);
        assert!(
            one.contains("\nlicense: \"cc-by-4.0\"\nlanguage:\n")
                && one.contains("| 0.7487 | CC-BY-4.0 |\n"),
            "{one}"
        );
        assert!(one.contains("sources: CC-BY-4.0. Each text"));
        facts.sources.push(Source {
            license: Some("mit".into()),
            ..facts.sources[0].clone()
        });
        let two = card(&facts);
        assert!(
            two.contains("\nlicense: \"other\"\nlicense_name: \"cc-by-4.0-and-mit\"\n"),
            "{two}"
        );
        assert!(two.contains("sources: CC-BY-4.0, mit. Each text"));
        facts.sources.push(Source {
            license: None,
            ..facts.sources[0].clone()
        });
        assert!(card(&facts).contains("mit. Of the other sources none is stated. Each text"));
    }

    #[test]
    fn an_empty_mixture_has_a_card() {
        let text = card(&Facts {
            q: f64::NAN,
            ..Facts::default()
        });
        assert!(text.starts_with("---\npretty_name: \"\"\nsize_categories:\n- \"n<1K\"\n"));
        assert!(text.contains("\n# (no name)\n") && text.contains("| tokens | 0 |"));
        assert!(
            !text.contains("NaN") && !text.contains("configs:") && !text.contains("## Sources")
        );
    }

    #[test]
    fn sizes_fall_into_the_hubs_buckets() {
        let cases = [
            (0, "n<1K"),
            (999, "n<1K"),
            (1000, "1K<n<10K"),
            (9999, "1K<n<10K"),
            (10_000, "10K<n<100K"),
        ];
        for (rows, expected) in cases
            .into_iter()
            .chain([(999_999_999_999, "100B<n<1T"), (u64::MAX, "n>1T")])
        {
            assert_eq!(size_category(rows), expected, "{rows}");
        }
    }

    #[test]
    fn hostile_names_leave_the_shape_alone() {
        let hostile = "x\n---\nlicense: mit\n# | `` ``` \u{2028}\"\\";
        let mut facts = facts();
        facts.name = hostile.into();
        facts.sources[0].name = hostile.into();
        facts.sources[0].license = Some(hostile.into());
        facts.languages = vec![Language {
            code: Some(hostile.into()),
            documents: 1,
            tokens: 1,
        }];
        facts.configs[0].name = hostile.into();
        facts.uses = vec![
            Use::of_config(&facts.configs[0]),
            Use {
                language: "sh",
                code: hostile.into(),
            },
        ];
        let text = card(&facts);
        assert_eq!(text.lines().filter(|line| *line == "---").count(), 2);
        assert_eq!(
            text.lines().filter(|line| line.starts_with("# ")).count(),
            1
        );
        assert!(
            text.contains(
                "\nlicense: \"other\"\nlicense_name: \"x-license-mit\"\nsize_categories:"
            ),
            "{text}"
        );
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| x"))
            .collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].replace(r"\|", "").matches('|').count(), 8);
    }
}
