//! Every rule by name: what it looks at, what fails, whose idea it is. One list, which `filter`
//! turns into expressions and `curate rules` prints.

use curate_schemas::manifest::{Filter, Profile};
use serde_json::Value;

/// A family of rules: a table of the manifest, and mostly a struct in `signals`.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// `family` in `family.rule` and in `[filter.family]`.
    pub name: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Where the profile `datatrove-0.10` departs from the paper.
    pub departs: &'static str,
}

/// A rule: a signal, a side and a threshold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The family's name.
    pub family: &'static str,
    /// `rule` in `family.rule`.
    pub name: &'static str,
    /// The column it looks at.
    pub signal: Signal,
    /// The side that fails.
    pub fails: Fails,
    /// What the signal is compared with.
    pub threshold: Threshold,
    /// What is different in the profile `fineweb-v1-lines`.
    pub v1: V1,
    /// Unit of signal and threshold.
    pub unit: &'static str,
    /// How the signal is computed.
    pub formula: &'static str,
    /// datatrove 0.10's name of the rule; empty where it has none.
    pub datatrove: &'static str,
}

/// The column that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A field of the family's struct in `signals`.
    Field(&'static str),
    /// A field of another family's struct in `signals`.
    Of(&'static str, &'static str),
    /// A column of `signals`.
    Column(&'static str),
    /// A column of `filter` itself.
    Own(&'static str),
}

impl Signal {
    /// The name of the column or field.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Field(name)
            | Signal::Of(_, name)
            | Signal::Column(name)
            | Signal::Own(name) => name,
        }
    }
}

/// Which side of its threshold fails a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// Values below the threshold.
    Below,
    /// Values above the threshold.
    Above,
    /// The threshold and values below it.
    AtMost,
    /// The threshold and values above it.
    AtLeast,
    /// The signal is a flag, and it is set.
    Set,
    /// The signal is an entry of a list, and there is one.
    Listed,
}

impl Fails {
    /// As it stands between signal and threshold.
    pub fn symbol(self) -> &'static str {
        match self {
            Fails::Below => "<",
            Fails::Above => ">",
            Fails::AtMost => "≤",
            Fails::AtLeast => "≥",
            Fails::Set => "is true",
            Fails::Listed => "is there",
        }
    }
}

/// What a signal is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// A number of the manifest's `[filter.family]`.
    Key(&'static str),
    /// The rule judges where this key of `[filter.family]` is true, or names a file.
    Switch(&'static str),
    /// A number that no key sets.
    Fixed(f64),
}

/// What is different in the profile `fineweb-v1-lines`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum V1 {
    /// Nothing.
    Same,
    /// Another signal of the same struct, or another side.
    Other(&'static str, Fails),
    /// There was no such rule.
    None,
}

/// A rule as a manifest sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The column it looks at.
    pub signal: Signal,
    /// The side that fails.
    pub fails: Fails,
    /// What the signal is compared with; nothing for flags.
    pub threshold: f64,
}

impl Rule {
    /// `family.rule`, as in `removed_by` and `failing`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.family, self.name)
    }

    /// The rule under these settings, if it judges at all.
    pub fn judged(&self, filter: &Filter) -> Option<Judged> {
        let settings = serde_json::to_value(filter).expect("settings are numbers, words and paths");
        let family = settings
            .get(self.family)
            .filter(|family| !family.is_null())?;
        let threshold = match self.threshold {
            Threshold::Key(key) => family[key].as_f64()?,
            Threshold::Switch(key) => match &family[key] {
                Value::Bool(true) | Value::String(_) => 0.0,
                _ => return None,
            },
            Threshold::Fixed(threshold) => threshold,
        };
        let (signal, fails) = match (filter.profile, self.v1) {
            (Profile::Datatrove010, _) | (_, V1::Same) => (self.signal, self.fails),
            (Profile::FineWebV1Lines, V1::Other(field, fails)) => (Signal::Field(field), fails),
            (Profile::FineWebV1Lines, V1::None) => return None,
        };
        Some(Judged {
            signal,
            fails,
            threshold,
        })
    }
}

/// The families, in the order of [`RULES`].
pub const FAMILIES: &[Family] = &[
    Family {
        name: "url",
        paper: "Penedo et al. 2023 (RefinedWeb, arXiv:2306.01116), appendix G.1",
        departs: "lists are the user's; no scoring of single words",
    },
    Family {
        name: "gopher_repetition",
        paper: "Rae et al. 2021 (Gopher, arXiv:2112.11446), appendix A1, table A1",
        departs: "the most frequent n-gram counts even if it occurs once; repeated n-grams are compared without separators",
    },
    Family {
        name: "gopher_quality",
        paper: "Rae et al. 2021 (Gopher, arXiv:2112.11446), appendix A1",
        departs: "# and ellipsis are judged apart; punctuation counts as words in ratios; stop words are distinct and case counts",
    },
    Family {
        name: "c4",
        paper: "Raffel et al. 2020 (T5, arXiv:1910.10683), section 2.2",
        departs: "no deduplication of three-sentence spans, no bad words (a family of its own), no language filter",
    },
    Family {
        name: "c4_paragraphs",
        paper: "Xue et al. 2021 (mT5, arXiv:2010.11934), section 3.1",
        departs: "",
    },
    Family {
        name: "c4_bad_words",
        paper: "Raffel et al. 2020 (T5, arXiv:1910.10683), section 2.2",
        departs: "the list is the user's; no share of failing documents is kept",
    },
    Family {
        name: "fineweb",
        paper: "Penedo et al. 2024 (FineWeb, arXiv:2406.17557), section 3.6",
        departs: "list_ratio is not in the paper",
    },
    Family {
        name: "lines",
        paper: "Penedo et al. 2023 (RefinedWeb, arXiv:2306.01116), appendix G.2, as in DCLM (Li et al. 2024, arXiv:2406.11794)",
        departs: "",
    },
];

const BASE: Rule = Rule {
    family: "",
    name: "",
    signal: Signal::Own(""),
    fails: Fails::Above,
    threshold: Threshold::Fixed(0.0),
    v1: V1::Same,
    unit: "",
    formula: "",
    datatrove: "",
};

const fn url(
    name: &'static str,
    signal: &'static str,
    list: &'static str,
    formula: &'static str,
) -> Rule {
    let signal = Signal::Own(signal);
    Rule {
        family: "url",
        name,
        signal,
        fails: Fails::Listed,
        threshold: Threshold::Switch(list),
        formula,
        ..BASE
    }
}

const fn repetition(
    name: &'static str,
    signal: &'static str,
    key: &'static str,
    formula: &'static str,
) -> Rule {
    let (signal, threshold) = (Signal::Field(signal), Threshold::Key(key));
    Rule {
        family: "gopher_repetition",
        name,
        signal,
        threshold,
        unit: "share",
        formula,
        datatrove: name,
        ..BASE
    }
}

const fn quality(
    name: &'static str,
    signal: &'static str,
    fails: Fails,
    key: &'static str,
) -> Rule {
    Rule {
        family: "gopher_quality",
        name,
        signal: Signal::Field(signal),
        fails,
        threshold: Threshold::Key(key),
        ..BASE
    }
}

const fn c4(name: &'static str, signal: &'static str, formula: &'static str) -> Rule {
    let (signal, threshold) = (Signal::Field(signal), Threshold::Switch(name));
    Rule {
        family: "c4",
        name,
        signal,
        fails: Fails::Set,
        threshold,
        formula,
        datatrove: name,
        ..BASE
    }
}

const fn fineweb(
    name: &'static str,
    signal: &'static str,
    fails: Fails,
    key: &'static str,
) -> Rule {
    let (signal, threshold) = (Signal::Field(signal), Threshold::Key(key));
    Rule {
        family: "fineweb",
        name,
        signal,
        fails,
        threshold,
        unit: "share",
        datatrove: name,
        ..BASE
    }
}

/// Every rule of `filter`, in the order in which the first failing one is named: that of FineWeb's
/// recipe.
#[rustfmt::skip] // A line or two per rule reads as a table.
pub const RULES: &[Rule] = &[
    Rule { datatrove: "domain", ..url("domain", "url_domain", "domains", "the url's host, or a domain above it, is in the list") },
    Rule { datatrove: "url_substring", ..url("substring", "url_substring", "substrings", "the lower-cased url holds an entry of the list") },

    repetition("dup_para_frac", "dup_para_frac", "max_dup_para_frac", "paragraphs (split at 2 or more line feeds, text stripped) that repeat an earlier one / paragraphs"),
    repetition("dup_para_char_frac", "dup_para_char_frac", "max_dup_para_char_frac", "characters of such paragraphs / characters of the text"),
    Rule { v1: V1::Other("v1_dup_line_frac", Fails::Above),
        ..repetition("dup_line_frac", "dup_line_frac", "max_dup_line_frac", "lines (split at runs of line feeds) that repeat an earlier one / lines") },
    Rule { v1: V1::Other("v1_dup_line_char_frac", Fails::Above),
        ..repetition("dup_line_char_frac", "dup_line_char_frac", "max_dup_line_char_frac", "characters of such lines / characters of the text") },
    repetition("top_2_gram", "top_2_gram", "max_top_2_gram", "length × count of the most frequent 2-gram (words joined by spaces; the first of equals; also at count 1) / characters"),
    repetition("top_3_gram", "top_3_gram", "max_top_3_gram", "the same for 3-grams"),
    repetition("top_4_gram", "top_4_gram", "max_top_4_gram", "the same for 4-grams"),
    repetition("duplicated_5_n_grams", "dup_5_gram", "max_dup_5_gram", "characters of 5-grams (words joined by nothing) that repeat an earlier one, read without overlap / characters"),
    repetition("duplicated_6_n_grams", "dup_6_gram", "max_dup_6_gram", "the same for 6-grams"),
    repetition("duplicated_7_n_grams", "dup_7_gram", "max_dup_7_gram", "the same for 7-grams"),
    repetition("duplicated_8_n_grams", "dup_8_gram", "max_dup_8_gram", "the same for 8-grams"),
    repetition("duplicated_9_n_grams", "dup_9_gram", "max_dup_9_gram", "the same for 9-grams"),
    repetition("duplicated_10_n_grams", "dup_10_gram", "max_dup_10_gram", "the same for 10-grams"),

    Rule { unit: "words", datatrove: "gopher_short_doc", formula: "words with a character that is no punctuation",
        ..quality("short_doc", "n_nonsymbol_words", Fails::Below, "min_words") },
    Rule { unit: "words", datatrove: "gopher_long_doc", formula: "words with a character that is no punctuation",
        ..quality("long_doc", "n_nonsymbol_words", Fails::Above, "max_words") },
    Rule { unit: "code points", datatrove: "gopher_below_avg_threshold", formula: "mean length of those words",
        ..quality("below_avg", "avg_word_len", Fails::Below, "min_avg_word_len") },
    Rule { unit: "code points", datatrove: "gopher_above_avg_threshold", formula: "mean length of those words",
        ..quality("above_avg", "avg_word_len", Fails::Above, "max_avg_word_len") },
    Rule { unit: "per word", datatrove: "gopher_too_many_hashes", formula: "occurrences of # / all words, punctuation included",
        ..quality("too_many_hashes", "hash_word_ratio", Fails::Above, "max_hash_word_ratio") },
    Rule { unit: "per word", datatrove: "gopher_too_many_ellipsis", formula: "occurrences of ... and … / all words; ...... is two",
        ..quality("too_many_ellipsis", "ellipsis_word_ratio", Fails::Above, "max_ellipsis_word_ratio") },
    Rule { unit: "share", datatrove: "gopher_too_many_bullets", formula: "lines (str.splitlines, blank ones included) that begin with • or - after white space / lines",
        ..quality("too_many_bullets", "bullet_line_ratio", Fails::Above, "max_bullet_line_ratio") },
    Rule { unit: "share", datatrove: "gopher_too_many_end_ellipsis", formula: "lines that end with ... or … before white space / lines",
        ..quality("too_many_end_ellipsis", "ellipsis_line_ratio", Fails::Above, "max_ellipsis_line_ratio") },
    Rule { unit: "share", datatrove: "gopher_below_alpha_threshold", formula: "words with a letter / all words",
        ..quality("below_alpha", "alpha_word_ratio", Fails::Below, "min_alpha_word_ratio") },
    Rule { unit: "words", datatrove: "gopher_enough_stop_words", formula: "distinct words of: the be to of and that have with; The is none",
        ..quality("enough_stop_words", "n_stop_words", Fails::Below, "min_stop_words") },

    c4("lorem_ipsum", "lorem_ipsum", "a line that came so far holds \"lorem ipsum\", lower-cased"),
    c4("curly_bracket", "curly_bracket", "a line that came so far holds {"),
    Rule { unit: "sentences", fails: Fails::Below, threshold: Threshold::Key("min_sentences"),
        ..c4("too_few_sentences", "n_sentences", "sentences (spaCy's sentencizer) of the lines that are kept") },
    Rule { family: "c4_paragraphs", name: "too_short", signal: Signal::Of("c4", "third_longest_line_chars"), fails: Fails::Below,
        threshold: Threshold::Key("min_line_len"), unit: "code points", formula: "length of the third-longest line", datatrove: "< 3 paragraphs", ..BASE },
    Rule { family: "c4_bad_words", name: "listed", signal: Signal::Column("bad_words"), threshold: Threshold::Key("max_matches"),
        unit: "matches", formula: "words of the list in the lower-cased text, between characters that are none of a word", datatrove: "document_removed_with_badwords", ..BASE },

    Rule { unit: "lines", threshold: Threshold::Fixed(1.0), datatrove: "empty", formula: "lines that are not blank",
        ..fineweb("empty", "n_nonblank_lines", Fails::Below, "") },
    Rule { v1: V1::Other("v1_line_punct_ratio", Fails::AtMost), formula: "lines that end with terminal punctuation, nothing behind it / lines that are not blank",
        ..fineweb("line_punct_ratio", "line_punct_ratio", Fails::Below, "min_line_punct_ratio") },
    Rule { v1: V1::Other("v1_short_line_ratio", Fails::AtLeast), formula: "lines of 30 characters or fewer / lines that are not blank",
        ..fineweb("short_line_ratio", "short_line_ratio", Fails::Above, "max_short_line_ratio") },
    Rule { v1: V1::Other("char_dup_ratio", Fails::AtLeast), formula: "characters of lines that repeat an earlier one / characters without line feeds",
        ..fineweb("char_dup_ratio", "char_dup_ratio", Fails::Above, "max_char_dup_ratio") },
    Rule { v1: V1::None, unit: "per word", formula: "line feeds / all words",
        ..fineweb("list_ratio", "list_ratio", Fails::Above, "max_list_ratio") },

    Rule { family: "lines", name: "removed_words", signal: Signal::Field("removed_word_ratio"), threshold: Threshold::Key("max_removed_word_ratio"),
        unit: "share", formula: "words on lines in upper case, of digits, counters, of one word, of navigation / words", ..BASE },
];

/// What other stages remove documents for: name, and what it means.
pub const OTHER_REMOVALS: &[(&str, &str)] = &[
    ("language.not_kept", "the language is none of language.keep"),
    (
        "language.low_confidence",
        "the engine's confidence is below language.min_confidence",
    ),
    (
        "language.mixed",
        "parts are in different languages, and language.keep_mixed is false",
    ),
    (
        "exact_dedup.document",
        "the text equals that of a document that is kept",
    ),
    (
        "exact_dedup.url",
        "the URL is that of a document that is kept",
    ),
    (
        "near_dedup.cluster",
        "the text is a near-duplicate of a document that is kept",
    ),
    (
        "paragraph_dedup.nothing_left",
        "every paragraph or line stands in an earlier document",
    ),
    (
        "veto.<column>",
        "the value is one that a [[quality.veto]] removes",
    ),
    (
        "ngram.low",
        "the n-gram model's perplexity is in the lower tail of the language and domain",
    ),
    (
        "ngram.high",
        "the n-gram model's perplexity is in the upper tail of the language and domain",
    ),
    (
        "perplexity.low",
        "nats per token or bits per byte are in the lower tail of the language and domain",
    ),
    (
        "perplexity.high",
        "nats per token or bits per byte are in the upper tail of the language and domain",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use curate_schemas::manifest::{C4, FineWeb, GopherQuality, GopherRepetition, KEYS};
    use curate_schemas::tables;
    use datafusion::arrow::datatypes::DataType;

    #[test]
    fn names_signals_and_keys_are_declared() {
        let schema = tables::schema("signals");
        let has = |family: &str, field: &str| match schema
            .field_with_name(family)
            .expect("a column")
            .data_type()
        {
            DataType::Struct(fields) => fields.find(field).is_some(),
            _ => false,
        };
        for rule in RULES {
            let name = rule.full_name();
            assert!(
                FAMILIES.iter().any(|family| family.name == rule.family),
                "{name}"
            );
            assert_eq!(
                RULES
                    .iter()
                    .filter(|other| other.full_name() == name)
                    .count(),
                1,
                "{name}"
            );
            assert!(!rule.formula.is_empty(), "{name}");
            match rule.signal {
                Signal::Field(field) => assert!(has(rule.family, field), "{name}"),
                Signal::Of(family, field) => assert!(has(family, field), "{name}"),
                Signal::Column(column) => assert!(schema.field_with_name(column).is_ok(), "{name}"),
                Signal::Own(_) => {}
            }
            if let V1::Other(field, _) = rule.v1 {
                assert!(has(rule.family, field), "{name}");
            }
            if let Threshold::Key(key) | Threshold::Switch(key) = rule.threshold {
                let path = format!("filter.{}.{key}", rule.family);
                assert!(KEYS.iter().any(|key| key.path == path), "{path}");
            }
        }
        let families: Vec<&str> = RULES.iter().map(|rule| rule.family).collect();
        let mut order = families.clone();
        order.dedup();
        assert_eq!(
            order,
            FAMILIES
                .iter()
                .map(|family| family.name)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_family_that_is_absent_does_not_judge() {
        let filter = Filter {
            gopher_quality: Some(GopherQuality::default()),
            ..Filter::default()
        };
        let on = RULES.iter().filter(|rule| rule.judged(&filter).is_some());
        assert_eq!(
            on.map(|rule| rule.family).collect::<Vec<_>>(),
            ["gopher_quality"; 10]
        );
    }

    #[test]
    fn switches_and_profiles_change_what_judges() {
        let mut filter = Filter {
            c4: Some(C4 {
                lorem_ipsum: false,
                ..C4::default()
            }),
            fineweb: Some(FineWeb::default()),
            gopher_repetition: Some(GopherRepetition::default()),
            ..Filter::default()
        };
        let judged = |filter: &Filter, name: &str| {
            RULES
                .iter()
                .find(|rule| rule.full_name() == name)
                .expect("a rule")
                .judged(filter)
        };
        assert_eq!(judged(&filter, "c4.lorem_ipsum"), None);
        assert!(judged(&filter, "c4.curly_bracket").is_some());
        let list = judged(&filter, "fineweb.list_ratio").expect("it judges");
        assert_eq!((list.fails, list.threshold), (Fails::Above, 0.3));
        filter.profile = Profile::FineWebV1Lines;
        assert_eq!(judged(&filter, "fineweb.list_ratio"), None);
        let punct = judged(&filter, "fineweb.line_punct_ratio").expect("it judges");
        assert_eq!(
            (punct.signal, punct.fails),
            (Signal::Field("v1_line_punct_ratio"), Fails::AtMost)
        );
        assert!(judged(&filter, "gopher_repetition.top_2_gram").is_some());
    }
}
