//! Writes a manifest with a comment on each choice. Texts and comments are escaped, so that no name of a
//! file or field can break a line, and `init` reads the manifest before it is written.

use std::collections::BTreeMap;

use curate_formats::numbers::{counted, grouped, size};
use curate_schemas::stages::documents::{Format, Run};
use curate_scorers::unseen::is_unseen;
use curate_store::terminal::printable;
use toml::Value;

use super::fields::{Choice, median};
use super::recipes::{Languages, Recipe};
use super::sample::Seen;
use super::survey::{Group, word};
use crate::manifest::size_text;

/// Greatest width of a comment on a line of its own.
const WIDTH: usize = 110;
/// The most fields and languages that a comment lists.
const MOST_LISTED: usize = 12;
/// The least share of a language among the texts that it is kept.
const MAIN_SHARE: f64 = 0.1;
/// Languages whose words are shorter than Gopher's least mean length of a word: scripts without
/// spaces between words.
const SHORT_WORDS: [&str; 6] = ["cmn", "jpn", "tha", "khm", "mya", "lao"];

/// What a manifest is written from.
pub struct Draft<'a> {
    /// Name of the run.
    pub name: &'a str,
    /// The recipe of the tables behind the sources.
    pub recipe: &'a Recipe,
    /// The line about the schema, without `#:schema `. `None` if there is no file of the schema.
    pub schema: Option<&'a str>,
    /// `run.memory` in bytes, and why, if it is not the default.
    pub memory: Option<(u64, String)>,
    /// The sources and what was seen of them.
    pub sources: &'a [(Group, Seen)],
    /// The number of files that no source reads, by the endings of their names.
    pub unread: &'a BTreeMap<String, u64>,
}

/// The text of the manifest.
pub fn manifest(draft: &Draft) -> String {
    let mut out = Text::default();
    if let Some(schema) = draft.schema {
        out.0 += &format!("#:schema {schema}\n");
    }
    let recipe = draft.recipe;
    out.comment(&format!(
        "Written by `curate init` with the recipe {}: {}.",
        recipe.name, recipe.about
    ));
    out.comment(
        "The comments say what was seen in a sample. `curate schema manifest` lists every key. \
         Ask `curate plan` before a change what it would redo.",
    );

    out.table("[run]", "");
    let results = format!("the results are in runs/{}", draft.name);
    out.key("name", draft.name, &results);
    if let Some((memory, why)) = &draft.memory {
        out.key("memory", size_text(*memory), why);
    }

    let mut unusable = Vec::new();
    for (group, seen) in draft.sources {
        match seen.is_usable(group.format) {
            true => source(&mut out, recipe, group, seen),
            false => unusable.push((group, seen)),
        }
    }
    for (group, seen) in unusable {
        left_out(&mut out, group, seen);
    }
    unread(&mut out, draft.unread);

    let languages = Shares::of(draft.sources);
    let kept = language(&mut out, recipe, &languages);
    if recipe.has_quality {
        quality(&mut out, draft.sources, &languages, &kept);
    }
    out.0 += "\n";
    out.0 += recipe.tables;
    mixture(&mut out, recipe);
    out.0
}

/// The text that is written so far.
#[derive(Default)]
struct Text(String);

impl Text {
    /// A comment on lines of its own.
    fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        for word in printable(text).split(' ') {
            if line.chars().count() + word.chars().count() >= WIDTH && line.len() > 1 {
                self.0 += &line;
                line = String::from("\n#");
            }
            line.push(' ');
            line += word;
        }
        self.0 += &line;
        self.0.push('\n');
    }

    /// The first line of a table.
    fn table(&mut self, name: &str, comment: &str) {
        self.0 += "\n";
        self.0 += name;
        self.end(comment);
    }

    /// The line of a key.
    fn key(&mut self, key: &str, value: impl Into<Value>, comment: &str) {
        self.0 += &format!("{key} = {}", on_one_line(&value.into()));
        self.end(comment);
    }

    fn end(&mut self, comment: &str) {
        if !comment.is_empty() {
            // A comment of any length is one line of the file.
            self.0 += &format!("  # {}", printable(comment));
        }
        self.0.push('\n');
    }
}

/// A value on one line, as TOML. Characters that cannot be seen or change the direction of text are
/// escapes, so that the line reads as it is.
fn on_one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(on_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => {
            // The library would write several lines for a text with a newline. All escapes of JSON are
            // escapes of TOML.
            let json = serde_json::to_string(text).expect("a string is JSON");
            let escaped = json.chars().map(|c| match c {
                c if c.is_control() || is_unseen(c) => format!("\\U{:08X}", u32::from(c)),
                c => c.to_string(),
            });
            escaped.collect()
        }
        other => other.to_string(),
    }
}

/// The table of a source.
fn source(out: &mut Text, recipe: &Recipe, group: &Group, seen: &Seen) {
    out.table("[[source]]", "");
    out.comment(&files(group));
    for note in notes(group, seen) {
        out.comment(&note);
    }
    if group.is_code && recipe.languages != Languages::Off {
        out.comment(
            "The rules for prose remove most source code. `curate init --recipe code` writes a manifest \
             without them.",
        );
    }

    out.key("name", group.name.as_str(), "");
    let is_relative = group.paths.iter().all(|path| !path.starts_with('/'));
    let place = if is_relative {
        "relative to this file"
    } else {
        ""
    };
    match group.paths.as_slice() {
        [path] => out.key("path", path.as_str(), place),
        paths => out.key("path", paths.to_vec(), place),
    }
    if group.is_set {
        let why = "the names of the files do not tell it";
        out.key("format", word(group.format), why);
    }
    for (key, choice) in [
        ("text", &seen.text),
        ("id", &seen.id),
        ("url", &seen.url),
        ("date", &seen.date),
    ] {
        match &choice.path {
            Some(path) => out.key(key, path.as_str(), &choice.why),
            None if choice.why.is_empty() => {}
            None => out.comment(&choice.why),
        }
    }
    match &seen.licence {
        Choice {
            path: Some(licence),
            why,
        } => out.key("license", licence.as_str(), why),
        _ => out
            .comment("license = \"cc-by-4.0\" states the licence of the texts, for dataset cards"),
    }

    let n = seen.n_damaged();
    let share = n as f64 / (n + seen.records).max(1) as f64;
    if share > Run::default().max_quarantine_ratio / 2.0 {
        out.comment(&format!(
            "The run stops if more than {} of the records cannot be read. If that is fine, write: \
             max_quarantine_ratio = {:.1}",
            percent(Run::default().max_quarantine_ratio),
            (share * 2.0).clamp(0.1, 1.0)
        ));
    }
}

/// A sentence about the files of a source.
fn files(group: &Group) -> String {
    let bytes = group.files.iter().map(|file| file.size).sum();
    format!(
        "{} of {}, {}.",
        counted(group.files.len() as u64, "file"),
        word(group.format),
        size(bytes)
    )
}

/// Sentences about the sample of a source.
fn notes(group: &Group, seen: &Seen) -> Vec<String> {
    let mut notes = vec![format!(
        "Sample: {} of {}, median {} characters, languages: {}.",
        counted(seen.records, "record"),
        counted(seen.files as u64, "file"),
        grouped(median(&seen.chars)),
        Shares::of_one(seen)
    )];
    if seen.duplicates > 0 {
        notes.push(format!(
            "{} of its {} texts are equal to an earlier one.",
            grouped(seen.duplicates),
            grouped(seen.chars.len() as u64)
        ));
    }
    if !seen.fields.is_empty() {
        notes.push(listed_fields(seen));
    }

    let missing = seen.records
        - seen.text.path.as_ref().map_or(seen.records, |path| {
            let field = seen.fields.iter().find(|field| field.path == *path);
            field.map_or(0, |field| field.strings())
        });
    if missing > 0 {
        notes.push(format!(
            "{} of {} records have no text in this field. They go to quarantine.",
            grouped(missing),
            grouped(seen.records)
        ));
    }
    for (reason, (n, detail)) in &seen.damaged {
        let detail: String = detail.chars().take(200).collect();
        notes.push(format!(
            "Not readable: {} ({reason}: {detail}).",
            grouped(*n)
        ));
    }

    let longest = Run::default().max_record;
    let mut texts = group.files.iter();
    let is_text = matches!(group.format, Format::Txt | Format::Html);
    if is_text && let Some(file) = texts.find(|file| file.size > longest) {
        notes.push(format!(
            "{} is longer than run.max_record = \"{}\", so it goes to quarantine.",
            file.relative,
            size_text(longest)
        ));
    }
    notes
}

/// A sentence with the fields of the records.
fn listed_fields(seen: &Seen) -> String {
    let named = seen.fields.iter().take(MOST_LISTED).map(|field| {
        let cut: String = field.path.chars().take(60).collect();
        format!("{cut} ({})", field.coverage(seen.records))
    });
    let more = match seen.fields.len().saturating_sub(MOST_LISTED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("Fields: {}{more}.", named.collect::<Vec<_>>().join(", "))
}

/// The comment in place of a source without a text.
fn left_out(out: &mut Text, group: &Group, seen: &Seen) {
    out.0 += "\n";
    out.comment(&format!(
        "Left out: {}: {}",
        group.paths.join(", "),
        files(group)
    ));
    let why = match (seen.records, seen.fields.is_empty()) {
        (0, _) => notes(group, seen).join(" "),
        (_, true) => "Its records have no fields.".to_owned(),
        (_, false) => format!(
            "No field of strings looks like a text. {} Name one of them to read it:",
            listed_fields(seen)
        ),
    };
    out.comment(&why);
    if seen.fields.is_empty() {
        return;
    }
    out.0 += "# [[source]]\n";
    for (key, value) in [
        ("name", Value::from(group.name.as_str())),
        ("path", Value::from(group.paths.clone())),
        ("text", Value::from("FIELD")),
    ] {
        out.0 += &format!("# {key} = {}\n", on_one_line(&value));
    }
}

/// The comment about files that no source reads.
fn unread(out: &mut Text, unread: &BTreeMap<String, u64>) {
    if unread.is_empty() {
        return;
    }
    let named = unread.iter().take(MOST_LISTED).map(|(ending, n)| {
        let name = match ending.is_empty() {
            true => "no ending".to_owned(),
            false => format!(".{ending}"),
        };
        format!("{} ({name})", grouped(*n))
    });
    out.0 += "\n";
    out.comment(&format!(
        "Not read, because the names tell no format: {}. A source with format = \"txt\" reads each \
         file as one text.",
        named.collect::<Vec<_>>().join(", ")
    ));
}

/// Shares of languages among texts, the largest first. An unknown language has an empty code.
struct Shares(Vec<(&'static str, f64)>);

impl Shares {
    fn of(sources: &[(Group, Seen)]) -> Shares {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (code, n) in sources.iter().flat_map(|(_, seen)| &seen.languages) {
            *counts.entry(code).or_default() += n;
        }
        Shares::counted(&counts)
    }

    fn of_one(seen: &Seen) -> Shares {
        Shares::counted(&seen.languages)
    }

    fn counted(counts: &BTreeMap<&'static str, u64>) -> Shares {
        let all: u64 = counts.values().sum();
        let share = |n: u64| n as f64 / all.max(1) as f64;
        let mut shares: Vec<_> = counts.iter().map(|(code, n)| (*code, share(*n))).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        Shares(shares)
    }

    /// The known languages of a share or more.
    fn above(&self, least: f64) -> Vec<&'static str> {
        let known = self.0.iter().filter(|(code, _)| !code.is_empty());
        known
            .filter(|(_, share)| *share >= least)
            .map(|(code, _)| *code)
            .collect()
    }

    fn share(&self, code: &str) -> f64 {
        let found = self.0.iter().find(|(own, _)| *own == code);
        found.map_or(0.0, |(_, share)| *share)
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none seen");
        }
        // The largest is always named, and others from a hundredth on.
        let is_named = |(number, (_, share)): &(usize, &(_, f64))| {
            *number == 0 || *number < MOST_LISTED && *share >= 0.01
        };
        let named = self.0.iter().enumerate().take_while(is_named).count();
        for (number, (code, share)) in self.0.iter().take(named).enumerate() {
            let code = if code.is_empty() { "unknown" } else { code };
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{code} {}", percent(*share))?;
        }
        match self.0.len() - named {
            0 => Ok(()),
            n => write!(f, " and {n} more"),
        }
    }
}

/// A share as a percentage, which is 0 only if the share is.
fn percent(share: f64) -> String {
    match share * 100.0 {
        none if none <= 0.0 => "0 %".to_owned(),
        small if small < 1.0 => "below 1 %".to_owned(),
        large => format!("{large:.0} %"),
    }
}

/// The table about languages. Returns the languages that are kept, none for all.
fn language(out: &mut Text, recipe: &Recipe, shares: &Shares) -> Vec<&'static str> {
    if recipe.languages == Languages::Off {
        out.table("[language]", "");
        out.key("engine", "none", "no label, so that every language is kept");
        return Vec::new();
    }

    let main = shares.above(MAIN_SHARE);
    let is_main = recipe.languages == Languages::Main && !main.is_empty();
    out.table("[language]", &format!("in the samples: {shares}"));
    if !is_main {
        out.comment("All languages are kept. For some alone: keep = [\"eng\"]");
        return Vec::new();
    }
    out.key(
        "keep",
        main.iter()
            .map(|code| (*code).to_owned())
            .collect::<Vec<_>>(),
        "what a tenth of the samples is in; an empty list keeps every language",
    );
    out.key(
        "min_confidence",
        0.5,
        "less keeps more texts that are short or mixed",
    );
    main
}

/// The table with Gopher's quality rules, as far as they fit the languages of the sample.
fn quality(out: &mut Text, sources: &[(Group, Seen)], shares: &Shares, kept: &[&str]) {
    out.table(
        "[filter.gopher_quality]",
        "a table switches its rules on, with the thresholds of the paper",
    );

    let words: Vec<u64> = sources
        .iter()
        .flat_map(|(_, seen)| seen.words.iter().copied())
        .collect();
    let short = words.iter().filter(|words| **words < 50).count();
    let why = format!(
        "{} of {} sampled texts have fewer words between spaces",
        grouped(short as u64),
        grouped(words.len() as u64)
    );
    out.key("min_words", 50, &why);

    let codes: Vec<&str> = match kept.is_empty() {
        true => shares.above(0.01),
        false => kept.to_vec(),
    };
    if codes.iter().any(|code| SHORT_WORDS.contains(code)) {
        let why = "the paper's 3 is for English; some languages here have shorter words";
        out.key("min_avg_word_len", 1.0, why);
    }
    if codes != ["eng"] && shares.share("eng") < 1.0 {
        let why = "the paper asks for 2 of eight English words, which other languages lack";
        out.key("min_stop_words", 0, why);
    }
    out.key(
        "min_alpha_word_ratio",
        0.8,
        "less keeps more technical texts, which are rich in numbers and symbols",
    );
}

/// The mixture, as a comment: how many tokens there are to draw from is known after a run.
fn mixture(out: &mut Text, recipe: &Recipe) {
    out.0 += "\n";
    let quality = match recipe.tables.contains("values = \"none\"") {
        true => "",
        false => " by quality",
    };
    out.comment(&format!(
        "A training mixture, drawn{quality} from what is kept. The funnel of a first run says how \
         many tokens are kept. Then remove the marks below, and write how many tokens to draw: at \
         most four times as many."
    ));
    out.0 += "# [[mixture]]\n# name = \"general\"\n# tokens = 1_000_000\n";
}
