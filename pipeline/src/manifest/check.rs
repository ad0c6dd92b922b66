//! The check of a manifest: its tree of values is compared with the table of keys. The result is a
//! table with every default filled in, and all mistakes.
//!
//! The walk goes on after a mistake, so that one run reports all of them.

use std::collections::BTreeMap;

use curate_schemas::config::{Absent, Key, Section, Times};
use curate_schemas::stages::{RENAMED, sections};
use curate_scorers::language::Identifier;
use curate_scorers::language::names::named;

use super::diagnose::{At, Problem, closest, did_you_mean, line, list, quoted};
use super::tree::{Entries, Entry, Node, Value};
use super::{mixtures, terms, value};

/// The engines that label documents, by their words in a manifest.
const ENGINES: [(&str, Identifier); 2] = [
    ("whatlang", Identifier::Whatlang),
    ("whichlang", Identifier::Whichlang),
];

/// Checks a whole manifest. `text` is the text of its file. The returned table fits the types of
/// [`curate_schemas::Manifest`] if the list of problems is empty.
pub(super) fn check(text: &str, manifest: &Entries) -> (toml::Table, Vec<Problem>) {
    let mut check = Check {
        text,
        problems: Vec::new(),
    };
    let mut out = check.group("", manifest);

    // Only tables at the top level can be missing. No path of a table that must be there has a dot,
    // and the types fill in a table that is missing inside another one.
    let is_missing =
        |table: &&Section| !table.path.contains('.') && !manifest.contains_key(table.path);
    for table in sections().filter(is_missing) {
        match table.times {
            Times::Once | Times::OneOrMore => check.missing_table(table),
            Times::Default => {
                let empty = check.table(table, &Entries::new(), At::File(0));
                out.insert(table.path.to_owned(), toml::Value::Table(empty));
            }
            Times::Switch | Times::Any => {}
        }
    }

    // Conflicts come last, because they look at values with their defaults filled in.
    check.conflicts(manifest, &out);
    check.problems.extend(terms::problems(manifest, &out));
    check.problems.extend(mixtures::problems(manifest, &out));
    (out, check.problems)
}

/// A check that is going on.
struct Check<'t> {
    /// Text of the manifest's file, for the numbers of lines.
    text: &'t str,
    /// The mistakes so far.
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Adds a mistake to the list, with its place and perhaps a hint.
    fn problem(&mut self, at: At, message: String, hint: Option<String>) {
        self.problems.push(Problem::new(at, message).hint(hint));
    }

    /// Checks the tables of a group: the whole manifest (`""`), or the tables below a name such as
    /// `filter`. `entries` has no keys of a declared table.
    fn group(&mut self, group: &str, entries: &Entries) -> toml::Table {
        let mut out = toml::Table::new();
        for (name, entry) in entries {
            let path = join(group, name);
            let is_group = sections().any(|table| table.path.starts_with(&format!("{path}.")));

            // A path may be a declared table, a group, or both.
            let value = match (
                sections().find(|table| table.path == path),
                &entry.node.value,
            ) {
                (Some(table), Value::Table(inner)) if is_group => Some(toml::Value::Table(
                    self.table_and_group(table, inner, entry.node.at),
                )),
                (Some(table), _) => self.tables(table, &entry.node),
                (None, Value::Table(inner)) if is_group => {
                    Some(toml::Value::Table(self.group(&path, inner)))
                }
                (None, _) if is_group => self.not_a_table(&format!("[{path}]"), &entry.node),
                (None, value) => {
                    self.unknown_table(
                        group,
                        name,
                        matches!(value, Value::Table(_) | Value::List(_)),
                        entry.at,
                    );
                    None
                }
            };
            out.extend(value.map(|value| (name.clone(), value)));
        }
        out
    }

    /// Checks a declared table that other tables are below. An entry that is not a key of this
    /// table may be one of the tables below.
    fn table_and_group(&mut self, table: &Section, entries: &Entries, at: At) -> toml::Table {
        // An unknown entry is taken as a table if its value looks like one. The message then
        // suggests tables, not keys.
        let (below, own): (Entries, Entries) =
            entries.clone().into_iter().partition(|(name, entry)| {
                let path = join(table.path, name);
                let is_table = sections().any(|other| other.path == path);
                let looks_like_table = matches!(entry.node.value, Value::Table(_) | Value::List(_));
                is_table || table.key(name).is_none() && looks_like_table
            });

        let mut out = self.table(table, &own, at);
        out.extend(self.group(table.path, &below));
        out
    }

    /// Checks that some source names the field that a rule or an order reads. Without it, they would
    /// do nothing and say nothing.
    fn unnamed_fields(&mut self, entries: &Entries, out: &toml::Table) {
        let is_named = |field: &str| {
            let sources = value_at(out, "source").and_then(toml::Value::as_array);
            let mut sources = sources.into_iter().flatten();
            // A web archive has all fields, without being told.
            sources.any(|source| {
                let table = source.as_table();
                source.get(field).is_some() || table.is_some_and(super::is_archive)
            })
        };
        let has_list = |key: &str| value_at(out, &format!("filter.url.{key}")).is_some();
        let is_on = |path: &str| value_at(out, path).and_then(toml::Value::as_bool) == Some(true);
        let order = value_at(out, "dedup.near.prefer").and_then(toml::Value::as_array);
        let mut order = order.into_iter().flatten().filter_map(toml::Value::as_str);

        for (path, field, is_used) in [
            (
                "filter.url",
                "url",
                has_list("domains") || has_list("substrings"),
            ),
            ("dedup.exact.url", "url", is_on("dedup.exact.url")),
            (
                "dedup.near.prefer",
                "date",
                order.any(|word| word == "newest"),
            ),
        ] {
            if is_used && !is_named(field) {
                let message = format!("{path}: no [[source]] names the field {field}");
                let hint = format!("for example {field} = \"{field}\" in the source");
                self.problem(place(entries, path), message, Some(hint));
            }
        }
    }

    /// Checks that some deduplication compares documents with the earlier runs that are named.
    fn unused_earlier_runs(&mut self, entries: &Entries, out: &toml::Table) {
        let path = "dedup.against";
        let is_on = |path: &str| value_at(out, path).is_some();
        if is_on(path) && !is_on("dedup.exact") && !is_on("dedup.near") {
            let message = format!("{path}: no deduplication compares documents with earlier runs");
            let hint = "write [dedup.exact] or [dedup.near]".to_owned();
            self.problem(place(entries, path), message, Some(hint));
        }
    }

    /// Reports a value where a table is expected. Returns `None`, the value of such an entry.
    fn not_a_table(&mut self, header: &str, node: &Node) -> Option<toml::Value> {
        let message = format!(
            "expected the table {header}, found {}",
            value::found(&node.value)
        );
        self.problem(
            node.at,
            message,
            Some(format!("write {header} on a line of its own")),
        );
        None
    }

    /// Checks a declared table, or each table of a list `[[table]]`.
    fn tables(&mut self, table: &Section, node: &Node) -> Option<toml::Value> {
        match (table.is_list(), &node.value) {
            (false, Value::Table(entries)) => {
                Some(toml::Value::Table(self.table(table, entries, node.at)))
            }
            (true, Value::List(items)) => {
                if items.is_empty() && table.times == Times::OneOrMore {
                    self.problem(
                        node.at,
                        format!(
                            "expected at least one {}, found an empty list",
                            table.header()
                        ),
                        None,
                    );
                }

                // A wrong item is left out, and the others are still checked.
                let below = format!("{}.", table.path);
                let is_group = sections().any(|other| other.path.starts_with(&below));
                let out = items.iter().filter_map(|item| match &item.value {
                    Value::Table(entries) => Some(toml::Value::Table(match is_group {
                        true => self.table_and_group(table, entries, item.at),
                        false => self.table(table, entries, item.at),
                    })),
                    _ => self.not_a_table(&table.header(), item),
                });
                let out = out.collect();
                self.names_differ(table, items);
                Some(toml::Value::Array(out))
            }
            _ => self.not_a_table(&table.header(), node),
        }
    }

    /// Checks the keys of one table, and fills in the defaults of absent keys.
    fn table(&mut self, table: &Section, entries: &Entries, at: At) -> toml::Table {
        let mut out = toml::Table::new();
        for (name, entry) in entries {
            let Some(key) = table.key(name) else {
                self.unknown_key(table, name, entry.at);
                continue;
            };
            match value::read(key.path, key.kind, &entry.node) {
                Ok(value) => drop(out.insert(name.clone(), value)),
                Err(problems) => self.problems.extend(problems),
            }
        }

        for key in table
            .keys
            .iter()
            .filter(|key| !entries.contains_key(key.name))
        {
            match key.absent {
                // A table that needs one of several keys is checked in `terms`.
                Absent::Nothing(_) | Absent::OneOf(_) => {}
                Absent::Default(_) => {
                    out.extend(default(key).map(|value| (key.name.to_owned(), value)))
                }
                Absent::Refused(example) => {
                    let hint = format!("for example {} = {example}", key.name);
                    self.problem(
                        at,
                        format!("missing key {} in {}", quoted(key.name), table.header()),
                        Some(hint),
                    );
                }
            }
        }

        self.ordered(table, entries, &out);
        out
    }

    /// Checks the ranges of a table: a key that names another one with `at_most` must not exceed it.
    /// `out` has the checked values of the keys.
    fn ordered(&mut self, table: &Section, entries: &Entries, out: &toml::Table) {
        let ranges = table
            .keys
            .iter()
            .filter_map(|low| Some((low, low.at_most?)));
        for (low, high) in ranges {
            // A key with a mistake of its own is not in `out`, and then nothing is compared.
            let number = |key: &str| {
                out.get(key)
                    .and_then(|value| value.as_float().or(value.as_integer().map(|n| n as f64)))
            };
            let (Some(least), Some(most)) = (number(low.name), number(high)) else {
                continue;
            };

            // Two defaults are in order, so at least one of the two keys was written.
            let written = [low.name, high]
                .into_iter()
                .find_map(|key| entries.get(key));
            if let (true, Some(entry)) = (least > most, written) {
                let message = format!(
                    "{}: must be at most {high} = {most}, found {least}",
                    low.path
                );
                self.problem(entry.node.at, message, None);
            }
        }
    }

    /// Checks keys of different tables against each other. Each of these keys has a valid value.
    fn conflicts(&mut self, entries: &Entries, out: &toml::Table) {
        let word = |path: &str| value_at(out, path).and_then(toml::Value::as_str);

        let unverified =
            value_at(out, "dedup.near.min_jaccard").and_then(toml::Value::as_float) == Some(0.0);
        if word("dedup.near.cluster") == Some("component") && !unverified {
            let message =
                "dedup.near.cluster: a component is never verified, and min_jaccard is above 0"
                    .to_owned();
            let hint = "write min_jaccard = 0, or cluster = \"star\"".to_owned();
            self.problem(place(entries, "dedup.near.cluster"), message, Some(hint));
        }

        match word("language.engine") {
            // The model says which languages it knows, when it is opened.
            Some("fasttext") => self.without_model(entries),
            Some(engine) => {
                self.unknown_languages(entries, out, engine);
                self.unused_model(entries, out, engine);
                if engine != "whatlang" {
                    self.without_confidence(entries, out, engine);
                }
            }
            None => {}
        }
        if word("signals.values") == Some("none") {
            self.without_signals(entries, out);
        }
        self.unnamed_fields(entries, out);
        self.unused_earlier_runs(entries, out);
        self.pseudonyms(entries, out);

        // datatrove draws with numpy's `RandomState`, whose seeds have 32 bits. A seed with a
        // mistake of its own counts as 0 here.
        let seed = value_at(out, "run.seed")
            .and_then(toml::Value::as_integer)
            .unwrap_or(0);
        if word("dedup.near.family") == Some("datatrove-0.10") && seed > i64::from(u32::MAX) {
            let message = format!(
                "run.seed: dedup.near.family = \"datatrove-0.10\" takes seeds below 2^32, found {seed}"
            );
            self.problem(place(entries, "run.seed"), message, None);
        }

        let kept = value_at(out, "dedup.near.keep_signatures").and_then(toml::Value::as_bool)
            == Some(true);
        if word("dedup.near.verify") == Some("estimate") && !kept {
            let message =
                "dedup.near.verify: estimates are made from full signatures, and none are kept"
                    .to_owned();
            let hint = "write keep_signatures = true".to_owned();
            self.problem(place(entries, "dedup.near.verify"), message, Some(hint));
        }
    }

    /// Checks that pseudonyms have a key, and that nothing else has one.
    fn pseudonyms(&mut self, entries: &Entries, out: &toml::Table) {
        let are_made =
            value_at(out, "pii.replace").and_then(toml::Value::as_str) == Some("pseudonym");
        let has_key = value_at(out, "pii.key_file").is_some();
        if are_made && !has_key {
            let message = "pii.replace: pseudonyms need a secret key".to_owned();
            let hint = "write key_file = \"pii.key\", and make the file with \
                        head -c 32 /dev/urandom > pii.key"
                .to_owned();
            self.problem(place(entries, "pii.replace"), message, Some(hint));
        }
        if has_key && !are_made {
            let message = "pii.key_file: only pseudonyms need a key".to_owned();
            let hint = "write replace = \"pseudonym\"".to_owned();
            self.problem(place(entries, "pii.key_file"), message, Some(hint));
        }
    }

    /// Reports filters and criteria that need values of `signals`, for `signals.values = "none"`.
    fn without_signals(&mut self, entries: &Entries, out: &toml::Table) {
        // The family `url` looks at the address of a document, which needs no values.
        let families = value_at(out, "filter").and_then(toml::Value::as_table);
        for (family, _) in families
            .into_iter()
            .flatten()
            .filter(|(family, value)| value.is_table() && *family != "url")
        {
            let path = format!("filter.{family}");
            let message =
                format!("{path}: its values are not computed, signals.values is \"none\"");
            self.problem(place(entries, &path), message, None);
        }

        // The default of `prefer` names the criterion too, so only a written one is refused.
        let path = "dedup.near.prefer";
        let words = value_at(out, path).and_then(toml::Value::as_array);
        let prefers =
            words.is_some_and(|words| words.iter().any(|word| word.as_str() == Some("heuristic")));
        if prefers && is_written(entries, path) {
            let message = format!("{path}: heuristic is not computed, signals.values is \"none\"");
            self.problem(place(entries, path), message, None);
        }
    }

    /// Reports a language engine that needs a model and has none.
    fn without_model(&mut self, entries: &Entries) {
        if !is_written(entries, "language.model") {
            let message = "language.engine = \"fasttext\" needs language.model".to_owned();
            let hint = "name a model file, such as model = \"lid.176.ftz\"".to_owned();
            self.problem(place(entries, "language.engine"), message, Some(hint));
        }
    }

    /// Reports a model that the language engine does not read.
    fn unused_model(&mut self, entries: &Entries, out: &toml::Table, engine: &str) {
        if value_at(out, "language.model").is_some() {
            let message = format!("language.model: language.engine = \"{engine}\" has no model");
            let hint = "write engine = \"fasttext\", or leave model out".to_owned();
            self.problem(place(entries, "language.model"), message, Some(hint));
        }
    }

    /// Reports a least confidence that the language engine cannot serve: `whichlang` and `none` have
    /// no confidence.
    fn without_confidence(&mut self, entries: &Entries, out: &toml::Table, engine: &str) {
        let confident = value_at(out, "language.min_confidence").and_then(toml::Value::as_float);
        if confident.is_some_and(|least| least > 0.0) {
            let message = format!(
                "language.min_confidence: language.engine = \"{engine}\" has no confidence"
            );
            self.problem(place(entries, "language.min_confidence"), message, None);
        }
    }

    /// Reports languages of `language.keep` that the engine never gives. No document would have
    /// such a label, so all documents in the language would be removed.
    fn unknown_languages(&mut self, entries: &Entries, out: &toml::Table, engine: &str) {
        let knows = |(_, identifier): &(&str, Identifier), code: &str| {
            identifier.languages().binary_search(&code).is_ok()
        };
        let own = ENGINES.iter().find(|(word, _)| *word == engine);
        let codes = value_at(out, "language.keep").and_then(toml::Value::as_array);

        for code in codes.into_iter().flatten().filter_map(toml::Value::as_str) {
            if own.is_some_and(|own| knows(own, code)) {
                continue;
            }

            let name = named(code).map_or("such language", |(_, name)| name);
            let others = ENGINES.iter().filter(|other| knows(other, code));
            let others = list(others.map(|(word, _)| *word));
            let message = format!(
                "language.keep: {} has no {name} ({}); engines that do: {}",
                match own {
                    Some((word, _)) => word,
                    None => "language.engine = \"none\"",
                },
                quoted(code),
                if others.is_empty() { "none" } else { &others },
            );

            let hint = match (ENGINES.iter().find(|other| knows(other, code)), own) {
                (Some((word, _)), _) => format!("write engine = \"{word}\""),
                (None, Some((word, identifier))) => {
                    let languages = list(identifier.languages().iter().copied());
                    format!("the languages of {word} are {languages}")
                }
                (None, None) => "without keep, documents of all languages stay".to_owned(),
            };
            self.problem(language_place(entries, code), message, Some(hint));
        }
    }

    /// Checks that the tables of a list have different names. `items` are the tables.
    fn names_differ(&mut self, table: &Section, items: &[Node]) {
        let mut first: BTreeMap<String, At> = BTreeMap::new();
        for item in items {
            let Value::Table(entries) = &item.value else {
                continue;
            };
            let Some(node) = entries.get("name").map(|entry| &entry.node) else {
                continue;
            };
            // The check of the key reports a name of another type.
            let Value::Text(name) = &node.value else {
                continue;
            };

            // Names become views in DuckDB, where case does not count.
            let folded = name.to_ascii_lowercase();
            let Some(earlier) = first.get(&folded) else {
                first.insert(folded, node.at);
                continue;
            };

            let place = match earlier {
                At::File(offset) => format!("on line {}", line(self.text, *offset)),
                At::Set(_) => "by an override".to_owned(),
            };
            self.problem(
                node.at,
                format!(
                    "{}: the name {} is taken {place}",
                    table.header(),
                    quoted(name)
                ),
                None,
            );
        }
    }

    /// Reports a table that a manifest must have. The hint names the keys that the table needs.
    fn missing_table(&mut self, table: &Section) {
        let needed = table.keys.iter().filter_map(|key| match key.absent {
            Absent::Refused(example) => Some(format!("{} = {example}", key.name)),
            Absent::Default(_) | Absent::Nothing(_) | Absent::OneOf(_) => None,
        });

        // A missing table has no place of its own, so the problem is at the beginning of the file.
        let hint = format!(
            "for example {} with {}",
            table.header(),
            needed.collect::<Vec<_>>().join(" and ")
        );
        self.problem(
            At::File(0),
            format!("missing table {}", table.header()),
            Some(hint),
        );
    }

    /// Reports a name that is not a key of its table. The hint is the closest key of the table,
    /// else the other tables with this key, else all keys of the table.
    fn unknown_key(&mut self, table: &Section, name: &str, at: At) {
        let here = || table.keys.iter().map(|key| key.name);
        let renamed = RENAMED
            .iter()
            .find(|(path, old, _)| *path == table.path && *old == name)
            .map(|(_, _, now)| format!("the key is called {now} now"));
        let hint = renamed
            .or_else(|| did_you_mean(name, here()))
            .or_else(|| owners(name))
            .unwrap_or_else(|| format!("its keys are {}", list(here())));
        self.problem(
            at,
            format!("unknown key {} in {}", quoted(name), table.header()),
            Some(hint),
        );
    }

    /// Reports a name at the top level (`group` is empty) or in a group that is not the name of a
    /// table. `is_table` is true if the value of the name is a table or a list.
    fn unknown_table(&mut self, group: &str, name: &str, is_table: bool, at: At) {
        let (place, within) = match group {
            "" => ("at the top level".to_owned(), String::new()),
            group => (format!("in [{group}]"), format!("{group}.")),
        };
        let message = match is_table {
            true => format!("unknown table {} {place}", quoted(name)),
            false => format!("unknown key {} {place}", quoted(name)),
        };

        // The value tells what the author meant: a table is more likely a misspelt table, and
        // another value is more likely a key in the wrong place.
        let table = || near_table(&join(group, name), name);
        let hint = if is_table {
            table().or_else(|| owners(name))
        } else {
            owners(name).or_else(table)
        };
        let hint = hint.unwrap_or_else(|| {
            let tables = sections()
                .filter(|table| table.path.starts_with(&within))
                .map(Section::header);
            format!("the tables are {}", tables.collect::<Vec<_>>().join(", "))
        });
        self.problem(at, message, Some(hint));
    }
}

/// The hint that names the table whose path is closest to `path`, else the table whose last part is
/// closest to `name`. `None` if no table is close enough.
fn near_table(path: &str, name: &str) -> Option<String> {
    let near = closest(path, sections().map(|table| table.path)).or_else(|| {
        let name = closest(name, sections().map(|table| last(table.path)))?;
        sections()
            .map(|table| table.path)
            .find(|path| last(path) == name)
    })?;

    let table = sections().find(|table| table.path == near)?;
    Some(format!("did you mean {}?", table.header()))
}

/// The checked value of a key or table at `path`, or `None` if it is absent and has no default.
pub(super) fn value_at<'t>(out: &'t toml::Table, path: &str) -> Option<&'t toml::Value> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = out.get(first)?;
    rest.map_or(Some(value), |rest| value_at(value.as_table()?, rest))
}

/// True if a key was written in the file or in an override. False for a default.
fn is_written(entries: &Entries, path: &str) -> bool {
    node_at(entries, path).is_some()
}

/// The place where a key was written. An absent key gets the place of the table that it would be
/// in, or the beginning of the file.
pub(super) fn place(entries: &Entries, path: &str) -> At {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (entries.get(first), rest) {
        (
            Some(Entry {
                node:
                    Node {
                        value: Value::Table(inner),
                        at,
                    },
                ..
            }),
            Some(rest),
        ) => match place(inner, rest) {
            // The key is not in the table, so the table itself is the nearest place.
            At::File(0) => *at,
            found => found,
        },
        (Some(entry), _) => entry.node.at,
        (None, _) => At::File(0),
    }
}

/// The place of a language in the list `language.keep`. `code` is its ISO 639-3 code, whichever code
/// was written.
fn language_place(entries: &Entries, code: &str) -> At {
    let table = entries.get("language").map(|entry| &entry.node.value);
    let keep = match table {
        Some(Value::Table(table)) => table.get("keep").map(|entry| &entry.node.value),
        _ => None,
    };

    let is_code = |node: &&Node| match &node.value {
        Value::Text(text) => named(text).is_some_and(|(own, _)| own == code),
        _ => false,
    };
    match keep {
        Some(Value::List(items)) => items.iter().find(is_code).map(|node| node.at),
        _ => None,
    }
    .unwrap_or_else(|| place(entries, "language.keep"))
}

/// The checked tables of the list at `path`, each with its entries as they were written and its
/// place.
pub(super) fn tables_at<'t>(
    entries: &'t Entries,
    out: &'t toml::Table,
    path: &str,
) -> Vec<(&'t toml::Table, &'t Entries, At)> {
    let tables = value_at(out, path).and_then(toml::Value::as_array);
    let tables = tables
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_table);

    // The checked tables have no places. They are in the order of the nodes, which have. An item
    // that is not a table is a mistake of its own, and is not among the tables.
    let nodes: &[Node] = match node_at(entries, path).map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes,
        _ => &[],
    };
    let nodes = nodes.iter().filter_map(|node| match &node.value {
        Value::Table(entries) => Some((entries, node.at)),
        _ => None,
    });

    tables
        .zip(nodes)
        .map(|(table, (entries, at))| (table, entries, at))
        .collect()
}

/// The node at `path` as it was written. `None` if the manifest does not have the path.
fn node_at<'t>(entries: &'t Entries, path: &str) -> Option<&'t Node> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let node = &entries.get(first)?.node;
    match (rest, &node.value) {
        (None, _) => Some(node),
        (Some(rest), Value::Table(inner)) => node_at(inner, rest),
        (Some(_), _) => None,
    }
}

/// The default of a key as a TOML value, or `None` if the key has no default.
fn default(key: &Key) -> Option<toml::Value> {
    toml::Value::try_from(key.default()?).ok()
}

/// The hint that `name` is a key of another table.
fn owners(name: &str) -> Option<String> {
    let tables = sections().filter(|table| table.key(name).is_some());
    let tables = tables.map(Section::header).collect::<Vec<_>>();
    (!tables.is_empty()).then(|| format!("{} is a key of {}", quoted(name), tables.join(" and ")))
}

/// The part of `path` after its last dot, or all of it if it has no dot.
pub(super) fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}

/// The path of `name` in a group. The group is empty at the top level.
fn join(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{group}.{name}")
    }
}
