//! The rules of `filter`, one file a family. A rule is one row. The row has the value that the rule
//! looks at, the side of the threshold that fails, the key of the manifest with default, range and
//! meaning, and datatrove's name. Unit and formula are those of the value's column.
//!
//! The stages `signals` and `filter`, the manifest, `curate rules` and `docs/rules.md` are derived
//! from these rows.

use crate::config::Section;
use crate::stages::filter::{Filter, Profile};
use crate::tables::{self, Column};

mod bad_words;
mod c4;
mod fineweb;
mod gopher_quality;
mod gopher_repetition;
mod lines;
mod paragraphs;
mod url;

pub use bad_words::{BAD_WORDS, BadWordsRules};
pub use c4::{C4, C4Rules};
pub use fineweb::{FINEWEB, FineWebRules};
pub use gopher_quality::{GOPHER_QUALITY, GopherQualityRules};
pub use gopher_repetition::{GOPHER_REPETITION, GopherRepetitionRules};
pub use lines::{LINES, LineRules};
pub use paragraphs::{PARAGRAPHS, ParagraphRules};
pub use url::{URL, UrlRules};

/// The families, in the order of FineWeb's recipe. The first failing rule in this order is named in
/// `removed_by`.
pub const FAMILIES: &[&Family] = &[
    &URL,
    &GOPHER_REPETITION,
    &GOPHER_QUALITY,
    &C4,
    &PARAGRAPHS,
    &BAD_WORDS,
    &FINEWEB,
    &LINES,
];

/// A family of rules: a table of the manifest, and in most cases a struct in `signals`.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Name of the family, `family` in `family.rule` and in `[filter.family]`.
    pub name: &'static str,
    /// Publication that the rules come from.
    pub paper: &'static str,
    /// Departures of the profile `datatrove-0.10` from the paper; empty for none.
    pub departs: &'static str,
    /// The family's table of the manifest.
    pub section: Section,
    /// Meaning of the family's struct in `signals`; empty if the family has no struct.
    pub values_doc: &'static str,
    /// Fields of the family's struct in `signals`.
    pub values: fn() -> Vec<Column>,
    /// The family's rules, in the order in which `failing` names them.
    pub rules: &'static [Rule],
}

impl Family {
    /// The family's struct in `signals`.
    pub(crate) fn column(&self) -> Column {
        Column::group(self.name, (self.values)(), self.values_doc).null()
    }
}

/// A rule: a value, a side and a threshold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Name of the rule's family.
    pub family: &'static str,
    /// Name of the rule, `rule` in `family.rule`.
    pub name: &'static str,
    /// The column that the rule looks at.
    pub value: Signal,
    /// The side that fails.
    pub fails: Fails,
    /// The key of `[filter.family]` that sets the threshold, or that switches the rule on.
    pub key: Option<&'static str>,
    /// The number that the value is compared with, 0 for a flag or a list; `None` if the rule does
    /// not judge.
    threshold: fn(&Filter) -> Option<f64>,
    /// The rule in the profile `fineweb-v1-lines`.
    pub v1: V1,
    /// datatrove 0.10's name of the rule; empty if datatrove has no such rule.
    pub datatrove: &'static str,
}

/// The place of the column that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A field of the family's struct in `signals`.
    Field(&'static str),
    /// A field of another family's struct in `signals`.
    Of(&'static str, &'static str),
    /// A column of `signals` outside any struct.
    Column(&'static str),
    /// A column of `filter` itself.
    Own(&'static str),
}

impl Signal {
    /// Name of the column or of the field.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Field(name) | Signal::Of(_, name) => name,
            Signal::Column(name) | Signal::Own(name) => name,
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
    /// The value is a flag, and the flag is set.
    Set,
    /// The value is the entry of a list that the document matches, and it is not null.
    Listed,
}

impl Fails {
    /// The comparison, as it is written between value and threshold.
    pub fn symbol(self) -> &'static str {
        match self {
            Fails::Below => "<",
            Fails::Above => ">",
            Fails::AtMost => "≤",
            Fails::AtLeast => "≥",
            Fails::Set => "is true",
            Fails::Listed => "is listed",
        }
    }

    /// True if a document with this value fails. The value of a flag that is set is 1, and its
    /// threshold 0. A document that a list names may have any value.
    pub fn is_failed_by(self, value: f64, threshold: f64) -> bool {
        match self {
            Fails::Below => value < threshold,
            Fails::Above | Fails::Set => value > threshold,
            Fails::AtMost => value <= threshold,
            Fails::AtLeast => value >= threshold,
            Fails::Listed => true,
        }
    }
}

/// A rule in the profile `fineweb-v1-lines`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum V1 {
    /// The rule is the same as in `datatrove-0.10`.
    Same,
    /// The rule looks at this field of the same struct, and this side fails.
    Other(&'static str, Fails),
    /// The profile has no such rule.
    None,
}

/// A rule as a manifest sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The column that the rule looks at.
    pub value: Signal,
    /// The side that fails.
    pub fails: Fails,
    /// The number that the value is compared with, 0 for a flag or a list.
    pub threshold: f64,
}

impl Rule {
    /// `family.rule`, as in `removed_by` and `failing`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.family, self.name)
    }

    /// The rule under these settings; `None` if the rule does not judge.
    pub fn judged(&self, filter: &Filter) -> Option<Judged> {
        let threshold = (self.threshold)(filter)?;

        // A profile changes what a rule looks at, never its threshold.
        let (value, fails) = match (filter.profile, self.v1) {
            (Profile::Datatrove010, _) | (_, V1::Same) => (self.value, self.fails),
            (Profile::FineWebV1Lines, V1::Other(field, fails)) => (Signal::Field(field), fails),
            (Profile::FineWebV1Lines, V1::None) => return None,
        };

        Some(Judged {
            value,
            fails,
            threshold,
        })
    }

    /// The path of a column that a rule of this family looks at, such as `signals.c4.n_lines`.
    pub fn path(&self, value: Signal) -> String {
        match value {
            Signal::Field(field) => format!("signals.{}.{field}", self.family),
            Signal::Of(family, field) => format!("signals.{family}.{field}"),
            Signal::Column(column) => format!("signals.{column}"),
            Signal::Own(column) => format!("filter.{column}"),
        }
    }

    /// The declaration of the column that the rule looks at: unit and formula of its value.
    ///
    /// # Panics
    /// If there is no such column. A test walks the rules.
    pub fn column(&self) -> Column {
        let path = self.path(self.value);
        let mut names = path.split('.');
        let table = names.next().and_then(tables::table);

        // Each name leads from a table to a column, or from a struct to one of its fields.
        let mut columns = table.map(|table| table.columns).unwrap_or_default();
        let mut found = None;
        for name in names {
            found = columns.iter().find(|column| column.name == name).cloned();
            columns = found
                .as_ref()
                .map(|column| column.children.clone())
                .unwrap_or_default();
        }

        found.unwrap_or_else(|| panic!("{path} is not declared"))
    }
}

/// The rules of every family, in order.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().flat_map(|family| family.rules)
}

/// A type of settings that can serve as the threshold of a rule.
trait Setting {
    /// The threshold of the rule; `None` if the setting switches the rule off.
    fn threshold(&self) -> Option<f64>;
}

impl Setting for u32 {
    fn threshold(&self) -> Option<f64> {
        Some(f64::from(*self))
    }
}

impl Setting for f64 {
    fn threshold(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Setting for bool {
    fn threshold(&self) -> Option<f64> {
        // A flag is compared with nothing. The number only says that the rule is on.
        self.then_some(0.0)
    }
}

impl Setting for Option<String> {
    fn threshold(&self) -> Option<f64> {
        self.as_ref().map(|_| 0.0)
    }
}

/// Declares a family: its table of the manifest, its values, and its rules.
///
/// A row of `rules` is the doc comment and the declaration of the key as in `config!`, then
/// `=> rule: value, side`, and if needed `, v1 …` and `, datatrove "…"`. A row of `fixed` is a rule
/// that no key sets.
macro_rules! family {
    (
        $(#[doc = $doc:literal])+
        $path:literal => $constant:ident = $family:ident: $name:ident,
        paper: $paper:literal,
        departs: $departs:literal,
        values: $values:expr, $values_doc:expr;
        settings { $($settings:tt)* }
        fixed {
            $( $fixed:ident: $fixed_value:expr, $fixed_side:ident $fixed_threshold:literal,
               datatrove $fixed_datatrove:literal; )*
        }
        rules {
            $(
                $(#[doc = $key_doc:literal])+
                $how:ident $key:ident: $type:ty $(= $default:expr)?;
                $kind:expr $(, $example:literal)? $(, at_most $high:ident)?
                => $rule:ident: $value:expr, $side:ident $(, v1 $v1:expr)? $(, datatrove $datatrove:literal)?;
            )*
        }
    ) => {
        $crate::config::config! {
            $(#[doc = $doc])+
            $path, Switch => $name {
                $($settings)*
                $( $(#[doc = $key_doc])+ $how $key: $type $(= $default)?; $kind $(, $example)? $(, at_most $high)?; )*
            }
        }

        /// The declaration of the family.
        pub const $constant: $crate::rules::Family = $crate::rules::Family {
            name: stringify!($family),
            paper: $paper,
            departs: $departs,
            section: $name::SECTION,
            values_doc: $values_doc,
            values: $values,
            rules: &[
                $( $crate::rules::Rule {
                    key: None,
                    fails: $crate::rules::Fails::$fixed_side,
                    threshold: |filter| filter.$family.as_ref().map(|_| $fixed_threshold),
                    datatrove: $fixed_datatrove,
                    ..$crate::rules::base(stringify!($family), stringify!($fixed), $fixed_value)
                }, )*
                $( $crate::rules::Rule {
                    key: Some(stringify!($key)),
                    fails: $crate::rules::Fails::$side,
                    threshold: |filter| {
                        let family = filter.$family.as_ref()?;
                        $crate::rules::Setting::threshold(&family.$key)
                    },
                    $( v1: $v1, )?
                    $( datatrove: $datatrove, )?
                    ..$crate::rules::base(stringify!($family), stringify!($rule), $value)
                }, )*
            ],
        };
    };
}
use family;

/// The rule that [`family!`] starts from. A row replaces the fields that it names.
const fn base(family: &'static str, name: &'static str, value: Signal) -> Rule {
    Rule {
        family,
        name,
        value,
        fails: Fails::Above,
        key: None,
        threshold: |_| None,
        v1: V1::Same,
        datatrove: "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_values_are_declared() {
        for rule in rules() {
            let name = rule.full_name();
            let same = rules().filter(|other| other.full_name() == name).count();
            assert_eq!(same, 1, "{name}");
            assert!(!rule.column().doc.is_empty(), "{name}");

            if let V1::Other(field, _) = rule.v1 {
                let other = Rule {
                    value: Signal::Field(field),
                    ..*rule
                };
                assert_eq!(other.column().name, field, "{name}");
            }
        }
    }

    #[test]
    fn families_are_tables_of_the_manifest() {
        for family in FAMILIES {
            assert_eq!(family.section.path, format!("filter.{}", family.name));
            for rule in family.rules {
                assert_eq!(rule.family, family.name);
                let is_key = rule.key.is_none_or(|key| family.section.key(key).is_some());
                assert!(is_key, "{}", rule.full_name());
            }
        }
    }

    #[test]
    fn a_family_that_is_absent_does_not_judge() {
        let filter = Filter {
            gopher_quality: Some(GopherQualityRules::default()),
            ..Filter::default()
        };
        let judging: Vec<&str> = rules()
            .filter(|rule| rule.judged(&filter).is_some())
            .map(|rule| rule.family)
            .collect();
        assert_eq!(judging, ["gopher_quality"; 10]);
    }

    #[test]
    fn switches_and_profiles_change_which_rules_judge() {
        let mut filter = Filter {
            c4: Some(C4Rules {
                lorem_ipsum: false,
                ..C4Rules::default()
            }),
            fineweb: Some(FineWebRules::default()),
            gopher_repetition: Some(GopherRepetitionRules::default()),
            ..Filter::default()
        };
        let judged = |filter: &Filter, name: &str| {
            let mut rules = rules();
            rules
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
            (punct.value, punct.fails),
            (Signal::Field("v1_line_punct_ratio"), Fails::AtMost)
        );
        assert!(judged(&filter, "gopher_repetition.top_2_gram").is_some());
    }
}
