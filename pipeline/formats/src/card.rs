//! A Hugging Face dataset card: a `README.md` with the run's figures. The Hub and `datasets` read
//! its YAML front matter.
//!
//! The keys are those of the Hub's card specification (`datasetcard.md` in huggingface/hub-docs)
//! and of `datasets`. `configs` lists the files of each configuration. `dataset_info` gives the
//! number of rows, which `load_dataset` compares with the rows that it reads. Unknown facts are
//! left out, so the card has the key `license` only if a source states a licence. A language has
//! its ISO 639-1 code if there is one, as on the Hub.
//!
//! Names, licences and languages come from strangers and pass through `escape.rs`.

use std::fmt::Write;

use curate_scorers::language::iso639_1;

use super::escape::{code_block, markdown, yaml};
use super::licenses;
use crate::dataset::{TokenIds, TokenizerName};
use crate::numbers::grouped;

/// The share of one language in a mixture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanguageShare {
    /// ISO 639-3 code; `None` for documents whose language was not identified.
    pub code: Option<String>,
    /// Number of distinct documents.
    pub documents: u64,
    /// Number of tokens, with repeats.
    pub tokens: u64,
}

/// The facts that a card prints. The card only adds sums and shares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Name of the mixture.
    pub name: String,
    /// Name of the run.
    pub run: String,
    /// File name of the manifest.
    pub manifest: String,
    /// Version of curate that made the export.
    pub curate: String,
    /// Languages of the documents drawn, in the order in which the card lists them.
    pub languages: Vec<LanguageShare>,
    /// Configurations, the default one first. All are in one format, because `datasets` reads every
    /// configuration with the reader of the first.
    pub configs: Vec<Config>,
    /// Number of distinct documents.
    pub documents: u64,
    /// Rows: documents with their repeats.
    pub draws: u64,
    /// Bytes of text, with repeats.
    pub bytes: u64,
    /// |D|: tokens with repeats.
    pub tokens: u64,
    /// Tokens with each document once.
    pub unique_tokens: u64,
    /// q(D) of the mixture, in (0, 1]. A number that is not finite is printed as `-`.
    pub q: f64,
    /// D_eff, the number of effective tokens.
    pub d_eff: f64,
    /// What q was calibrated on, in one sentence without a full stop; `None` if it was not.
    pub calibration: Option<String>,
    /// The words that must stand beside D_eff where the mixture is outside the range in which the
    /// calibration was checked.
    pub calibration_range: Option<String>,
    /// The tokenizer that counted the tokens.
    pub tokenizer: Option<TokenizerName>,
    /// The token ids in the files, if there are any.
    pub token_ids: Option<TokenIds>,
    /// The rule that orders the rows.
    pub order: &'static str,
    /// Seed of the order, if it is known.
    pub seed: Option<u64>,
    /// Digest of the mixture's commit in the run, in hex.
    pub run_digest: String,
    /// The sources with their parts of the mixture.
    pub sources: Vec<SourceShare>,
    /// The stages with the documents that they kept and removed, in the order of the stages.
    pub funnel: Vec<FunnelRow>,
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
        // A JSON string is also a Python string, so a quote in the name cannot end the string.
        let name = serde_json::Value::from(config.name.as_str());
        Use {
            language: "python",
            // `datasets` 5.2 names the data after the last part of the path, so "." does not work.
            code: format!(
                "datasets.load_dataset(\"/path/of/this/folder\", {name}, split=\"train\")"
            ),
        }
    }
}

/// A configuration: one way to load the mixture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Name of the configuration.
    pub name: String,
    /// Paths or patterns of the files, relative to the card. Paths are safer, because a pattern
    /// also finds the files of an earlier run.
    pub files: Vec<String>,
    /// Size of the files in bytes.
    pub bytes: u64,
}

/// The part of a mixture that one source gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceShare {
    /// Name of the source.
    pub name: String,
    /// Licence of the source, if the manifest states one.
    pub license: Option<String>,
    /// Number of distinct documents.
    pub documents: u64,
    /// Documents with their repeats.
    pub draws: u64,
    /// Number of tokens, with repeats.
    pub tokens: u64,
    /// Σ tokens·q / Σ tokens, in (0, 1].
    pub q: f64,
}

/// A row of the funnel: one stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FunnelRow {
    /// Name of the stage.
    pub name: String,
    /// Documents that arrived at the stage.
    pub arrived: u64,
    /// Documents that the stage kept.
    pub kept: u64,
    /// Documents that a rule removed, by `family.rule`.
    pub removed: Vec<(String, u64)>,
    /// Documents that were merged into a kept duplicate.
    pub duplicates: u64,
    /// Documents that could not be read or processed.
    pub quarantined: u64,
}

/// The text of the card, in Markdown.
pub fn card(facts: &Facts) -> String {
    let mut out = String::new();
    let written = front_matter(facts, &mut out).and_then(|()| body(facts, &mut out));
    written.expect("writing to a String does not fail");
    out
}

/// The Hub's size category for a number of rows.
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

    // The first category ends at 10^3, and each further one at the next power of ten. 0 has no
    // logarithm.
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
        if let Some(name) = name {
            writeln!(out, "license_name: {}", yaml(&name))?;
        }
    }

    // A code that the Hub does not take stays in the table of languages, where it does no harm.
    let codes = facts
        .languages
        .iter()
        .filter_map(|language| language.code.as_deref())
        .filter(|code| is_language_code(code));
    write_list(out, "language", codes.map(hub_code))?;
    // Repeats count, because each repeat is a row of the files.
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

/// The keys `configs` and `dataset_info`, or nothing without configurations.
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
        for file in &config.files {
            writeln!(out, "    - {}", yaml(file))?;
        }
    }

    // Every configuration has all rows of the mixture, repeats included. Only the files differ.
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

/// A key with a list of texts, or nothing if the list is empty.
fn write_list<'a>(
    out: &mut String,
    key: &str,
    items: impl Iterator<Item = &'a str>,
) -> std::fmt::Result {
    // A key without items would be null in YAML, which is not a list.
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }

    writeln!(out, "{key}:")?;
    items.try_for_each(|item| writeln!(out, "- {}", yaml(item)))
}

/// The licence of each source; `None` for a source without a stated licence.
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

/// True if the Hub takes the code, which has two or three lower-case letters.
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

    write_order(facts, out)?;
    write_worth(facts, out)?;
    write_token_ids(facts, out)?;
    write_sources(facts, out)?;
    write_funnel(facts, out)?;
    write_languages(facts, out)?;
    write_columns(out)?;
    write_use(facts, out)?;
    write_licenses(facts, out)
}

/// The sentences that say how the rows are ordered, and of which mixture they are.
fn write_order(facts: &Facts, out: &mut String) -> std::fmt::Result {
    let seed = facts
        .seed
        .map_or("not known".to_owned(), |seed| seed.to_string());

    writeln!(
        out,
        "\nRows are in the order of {}, and the seed is {seed}. The digest of the mixture in the run is {}.",
        markdown(facts.order),
        markdown(&facts.run_digest)
    )
}

/// The table of the ids in the files, or nothing if no file holds ids.
fn write_token_ids(facts: &Facts, out: &mut String) -> std::fmt::Result {
    let Some(ids) = &facts.token_ids else {
        return Ok(());
    };
    let tokenizer = named(&ids.tokenizer);

    writeln!(
        out,
        "\n## Token ids\n\nThe `.bin` files hold ids of the tokenizer {tokenizer}."
    )?;
    if facts.tokenizer.as_ref().map(|counted| &counted.digest) != Some(&ids.tokenizer.digest) {
        writeln!(
            out,
            "The other figures of tokens on this card are of another tokenizer."
        )?;
    }
    writeln!(out, "\n| what | value |\n|---|---:|")?;

    let end = match (&ids.end_token, ids.end_id) {
        (Some(name), Some(id)) => format!("{}, id {id}", markdown(name)),
        _ => "none".to_owned(),
    };
    for (what, value) in [
        ("end of each document", end),
        ("ids, ends included", grouped(ids.ids)),
        ("documents with their repeats", grouped(ids.documents)),
        (
            "documents left out, because they have no ids",
            grouped(ids.documents_left_out),
        ),
        ("type of an id", ids.dtype.to_owned()),
        ("vocabulary, entries", grouped(u64::from(ids.vocabulary))),
    ] {
        writeln!(out, "| {what} | {value} |")?;
    }
    Ok(())
}

/// A tokenizer with its digest.
fn named(tokenizer: &TokenizerName) -> String {
    format!(
        "{} (blake3 {})",
        markdown(&tokenizer.name),
        markdown(&tokenizer.digest)
    )
}

fn write_worth(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Size and worth\n\n| what | figure |\n|---|---:|")?;
    for (what, n) in [
        ("documents", facts.documents),
        ("rows: documents with their repeats", facts.draws),
        ("bytes of text", facts.bytes),
        ("tokens", facts.tokens),
        ("tokens, each document once", facts.unique_tokens),
    ] {
        writeln!(out, "| {what} | {} |", grouped(n))?;
    }

    // An empty mixture has no epochs, and 0 / 0 would print NaN.
    if facts.unique_tokens > 0 {
        let epochs = facts.tokens as f64 / facts.unique_tokens as f64;
        writeln!(out, "| epochs | {epochs:.2} |")?;
    }

    let calibrated = match facts.calibration {
        Some(_) => "calibrated",
        None => "uncalibrated",
    };
    writeln!(out, "| quality q, {calibrated} | {} |", quality(facts.q))?;
    writeln!(
        out,
        "| effective tokens D_eff, {calibrated} | {} |",
        grouped(facts.d_eff.round() as u64)
    )?;

    write_meaning(facts, out)
}

/// The sentences below the table of figures: how tokens were counted, and what q and D_eff mean.
fn write_meaning(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if let Some(tokenizer) = &facts.tokenizer {
        writeln!(
            out,
            "\nThe run counted these tokens with the tokenizer {}.",
            named(tokenizer)
        )?;
    }

    writeln!(
        out,
        "\nq is the mean quality of the tokens, in (0, 1]. D_eff is the number of tokens that the mixture is worth after quality and repetition."
    )?;
    match &facts.calibration {
        Some(calibration) => writeln!(out, "The calibration: {calibration}.")?,
        None => writeln!(
            out,
            "q was not calibrated against losses. D_eff therefore only compares mixtures whose q is made in the same way."
        )?,
    }
    if let Some(range) = &facts.calibration_range {
        writeln!(out, "Note that {range}.")?;
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
        // Sources without tokens have a share of 0, not NaN.
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
        "Documents by stage. The mixture is drawn from the documents that the last stage kept.\n"
    )?;
    writeln!(
        out,
        "| stage | in | kept | removed | duplicates | quarantined |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for stage in &facts.funnel {
        // Duplicates and damaged records are counted apart from removals by a rule.
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

    // The name of a rule has its family in front, so this table needs no column for the stage.
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
        "\n## Languages\n\nThe languages identified in the documents drawn. Codes are ISO 639-3.\n"
    )?;
    writeln!(
        out,
        "| language | documents | share of documents | tokens | share of tokens |\n|---|---:|---:|---:|---:|"
    )?;

    // `max(1)`: the shares of an empty mixture are 0, not NaN.
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    for LanguageShare {
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
    // One table for all formats. JSON lines differ in one name only.
    writeln!(out, "\n## Columns\n\n| column | meaning |\n|---|---|")?;
    for (column, meaning) in [
        (
            "`doc_id`, in JSON lines `id`",
            "identity of the document, a hash of the place where it was read",
        ),
        ("`source`, `domain`", "where the document comes from"),
        ("`draw`", "number of this repeat of the document, from 0"),
        ("`tokens`", "tokens of the text"),
        ("`q`", "quality of the document, in (0, 1]"),
        ("`text`", "the text"),
    ] {
        writeln!(out, "| {column} | {meaning} |")?;
    }
    Ok(())
}

fn write_use(facts: &Facts, out: &mut String) -> std::fmt::Result {
    if facts.uses.is_empty() {
        return Ok(());
    }

    writeln!(out, "\n## Use\n\nRows are already in a random order.\n")?;
    for Use { language, code } in &facts.uses {
        // The code may hold the name of a configuration, so the fence must hold any text.
        out.write_str(&code_block(language, code))?;
    }
    Ok(())
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
            "The run does not know the licences of its sources. Each text stays under its own licence."
        );
    }

    // Compared before equal licences are merged: here each licence stands for one source.
    let rest = if licenses.len() < stated.len() {
        " Of the other sources none is stated."
    } else {
        ""
    };
    licenses.sort();
    licenses.dedup();
    writeln!(
        out,
        "As stated for the sources: {}.{rest} Each text stays under its own licence.",
        licenses.join(", ")
    )
}

/// A mean quality with four decimals. A mean over no tokens may be NaN and is printed as `-`.
fn quality(q: f64) -> String {
    if q.is_finite() {
        format!("{q:.4}")
    } else {
        "-".to_owned()
    }
}

#[cfg(test)]
mod tests;
