//! How a table of the manifest is declared. One field gives a key its name, type, range, default
//! and meaning. Everything else is derived from the field: the type that stages read, the check of
//! a manifest, `curate schema manifest`, the reference page and the JSON Schema.
//!
//! [`config!`] declares a table, and [`words!`] declares the words that a key may hold. A library
//! of derives (`garde`, `schemars`) was weighed against these macros. Deserialising stops at the
//! first wrong type and loses positions, so the walk that reports all problems with their places
//! would stay.

use serde_json::Value;

/// A table that a manifest may hold, with its keys.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Path of the table, such as `filter.gopher_quality`.
    pub path: &'static str,
    /// How often the table may occur, and what its absence means.
    pub times: Times,
    /// Meaning of the table, one sentence.
    pub doc: &'static str,
    /// Keys of the table, in the order of the reference.
    pub keys: &'static [Key],
}

impl Section {
    /// The meaning, without the leading space and the full stop of its doc comment.
    pub fn doc(&self) -> &'static str {
        plain(self.doc)
    }

    /// True for `[[table]]`, which may occur several times.
    pub fn is_list(&self) -> bool {
        matches!(self.times, Times::OneOrMore | Times::Any)
    }

    /// The header in TOML: `[table]`, or `[[table]]` if the table may occur several times.
    pub fn header(&self) -> String {
        match self.is_list() {
            true => format!("[[{}]]", self.path),
            false => format!("[{}]", self.path),
        }
    }

    /// The key of the table with this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// How often a table may occur in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The table occurs exactly once.
    Once,
    /// Once or not at all. An absent table means the same as an empty one.
    Default,
    /// Once or not at all. The table switches its subject on.
    Switch,
    /// `[[table]]`, once or more. Tables differ by their `name`.
    OneOrMore,
    /// `[[table]]`, any number of times. Tables differ by their `name` where they have one.
    Any,
}

/// A key that a table may hold.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Path of the table, a dot, and the name of the key, such as `run.shard_size`.
    pub path: &'static str,
    /// Name of the key, such as `shard_size`.
    pub name: &'static str,
    /// Type and range of the key's values.
    pub kind: Kind,
    /// The meaning of an absent key.
    pub absent: Absent,
    /// Name of the key of the same table whose value this key's value must not exceed; `None` if
    /// the key is not the lower end of a range.
    pub at_most: Option<&'static str>,
    /// Meaning of the key with unit, one sentence.
    pub doc: &'static str,
}

impl Key {
    /// The meaning, without the leading space and the full stop of its doc comment.
    pub fn doc(&self) -> &'static str {
        plain(self.doc)
    }

    /// The value that an absent key has; `None` if an absent key has no value.
    pub fn default(&self) -> Option<Value> {
        match self.absent {
            Absent::Default(value) => Some(value()),
            Absent::Refused(_) | Absent::Nothing(_) | Absent::OneOf(_) => None,
        }
    }
}

/// A doc comment without its leading space and full stop.
fn plain(doc: &'static str) -> &'static str {
    let doc = doc.trim();
    doc.strip_suffix('.').unwrap_or(doc)
}

/// The meaning of an absent key. The examples are values in TOML.
#[derive(Debug, Clone, Copy)]
pub enum Absent {
    /// An absent key is a mistake. With an example.
    Refused(&'static str),
    /// An absent key means the same as this value.
    Default(fn() -> Value),
    /// The key's description says what its absence means. With an example.
    Nothing(&'static str),
    /// The key may be absent if another key of this kind is in the table. With an example.
    OneOf(&'static str),
}

/// Type of a key, and range of its values. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The words `true` and `false`.
    Bool,
    /// An integer in a range.
    Integer {
        /// The least value allowed.
        min: u64,
        /// The greatest value; [`NO_MAX`] for no bound.
        max: u64,
    },
    /// An integer of 1 or more. It may be written as a float such as `3e11`.
    Count,
    /// A finite integer or float in a range.
    Number {
        /// The least value; infinite for no bound.
        min: f64,
        /// The greatest value; infinite for no bound.
        max: f64,
    },
    /// A finite integer or float above 0.
    Positive {
        /// The greatest value; infinite for no bound.
        max: f64,
    },
    /// A finite integer or float so large that people say it in billions, such as `7e9`. A small
    /// number is a slip, such as 7 for 7e9.
    Large {
        /// The least value allowed, above 0.
        min: f64,
        /// Name of what is counted, such as `parameters`.
        unit: &'static str,
    },
    /// A number of bytes: an integer, or a string such as `"64MiB"`.
    Size {
        /// The least value, in bytes.
        min: u64,
        /// The greatest value, in bytes; [`NO_MAX`] for no bound.
        max: u64,
    },
    /// 1 to 64 of the characters `A-Z a-z 0-9 . _ -`. The first is not a dot.
    Name,
    /// 1 to 64 characters without control characters.
    Label,
    /// The name of a field of a record. Dots lead into nested fields.
    Field,
    /// The path of a file or directory.
    Path,
    /// A glob, file or directory, or a list of them.
    Paths,
    /// A program and its arguments, as a list of strings.
    Command,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or the path of a file whose name ends with `.json`.
    WordOrJson(&'static [&'static str]),
    /// One of these words, or a number above 0 and at most 1.
    WordOrShare(&'static [&'static str]),
    /// A list of these words. Each word occurs at most once.
    Words(&'static [&'static str]),
    /// A list of ISO 639-3 or 639-1 codes.
    Languages,
}

/// The greatest integer that every TOML parser must read. As a bound it means no bound.
pub const NO_MAX: u64 = i64::MAX as u64;
/// One KiB, 2^10 bytes.
pub const KIB: u64 = 1 << 10;
/// One MiB, 2^20 bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB, 2^30 bytes.
pub const GIB: u64 = 1 << 30;
/// A share from 0 to 1.
pub const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0 };
/// A number of 0 or more.
pub const NOT_NEGATIVE: Kind = Kind::Number {
    min: 0.0,
    max: f64::INFINITY,
};
/// A finite number without bounds.
pub const ANY_NUMBER: Kind = Kind::Number {
    min: f64::NEG_INFINITY,
    max: f64::INFINITY,
};
/// A number of words, lines or characters.
pub const WORD_COUNT: Kind = integer(0, u32::MAX as u64);

/// An integer in a range.
pub const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

/// A size in a range of bytes.
pub const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

/// Declares a table of the manifest: its type, the type's default, and its [`Section`].
///
/// The form is `"path", Times => Name { keys } tables { tables }`. A key is a doc comment and one
/// of these lines:
/// - `required name: Type; kind, "example";` for a key whose absence is a mistake,
/// - `optional name: Option<Type>; kind, "example";` for a key that is `None` if absent,
/// - `derived name: Type; kind, "example";` for a key that the loader fills in if absent,
/// - `one_of name: Option<Type>; kind, "example";` for several keys, one of which must be present,
/// - `key name: Type = default; kind;` for a key with a default.
///
/// The lower end of a range names the upper end before the semicolon: `kind, at_most max_words;`.
/// The check of a manifest refuses a range whose lower end exceeds its upper end.
///
/// The fields in `tables` are not keys. They are tables of their own, or values that the loader
/// adds.
macro_rules! config {
    (
        $(#[doc = $doc:literal])+
        $path:literal, $times:ident => $name:ident {
            $(
                $(#[doc = $key_doc:literal])+
                $how:ident $field:ident: $type:ty $(= $default:expr)?;
                $kind:expr $(, $example:literal)? $(, at_most $high:ident)?;
            )*
        }
        $(tables {
            $( $(#[doc = $table_doc:literal])+ $table:ident: $table_type:ty, )*
        })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $key_doc])+ pub $field: $type, )*
            $($( $(#[doc = $table_doc])+ pub $table: $table_type, )*)?
        }

        impl Default for $name {
            /// The values of absent keys. Required keys are empty.
            fn default() -> Self {
                Self {
                    $( $field: $crate::config::config!(@value $($default)?), )*
                    $($( $table: Default::default(), )*)?
                }
            }
        }

        impl $name {
            /// The declaration of the table.
            pub const SECTION: $crate::config::Section = $crate::config::Section {
                path: $path,
                times: $crate::config::Times::$times,
                doc: concat!($($doc),+),
                keys: &[ $(
                    $crate::config::Key {
                        path: concat!($path, ".", stringify!($field)),
                        name: stringify!($field),
                        kind: $kind,
                        absent: $crate::config::config!(
                            @absent $how, $type $(= $default)? $(, $example)?
                        ),
                        at_most: $crate::config::config!(@at_most $($high)?),
                        doc: concat!($($key_doc),+),
                    },
                )* ],
            };
        }
    };

    (@at_most) => { None };
    (@at_most $high:ident) => { Some(stringify!($high)) };
    (@value) => { Default::default() };
    (@value $default:expr) => { $default };
    (@absent required, $type:ty, $example:literal) => { $crate::config::Absent::Refused($example) };
    (@absent optional, $type:ty, $example:literal) => { $crate::config::Absent::Nothing($example) };
    (@absent derived, $type:ty, $example:literal) => { $crate::config::Absent::Nothing($example) };
    (@absent one_of, $type:ty, $example:literal) => { $crate::config::Absent::OneOf($example) };
    (@absent key, $type:ty = $default:expr) => {
        $crate::config::Absent::Default(|| {
            let value: $type = $default;
            serde_json::to_value(value).expect("a default is plain data")
        })
    };
}
pub(crate) use config;

/// Declares the words that a key may hold, as an enum. `WORDS` lists them in the order of
/// declaration. The first word is the default.
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $(#[doc = $first_doc:literal])+
            $first:ident = $first_word:literal,
            $( $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal, )*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $(#[doc = $first_doc])+
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $( $(#[doc = $word_doc])+ #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// The words, as a manifest writes them.
            pub const WORDS: &'static [&'static str] = &[$first_word $(, $word)*];
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    words! {
        /// A size of a shirt.
        Shirt {
            /// The size in the middle.
            Medium = "medium",
            /// The size above it.
            Large = "x-large",
        }
    }

    config! {
        /// A wardrobe. Absent: none.
        "home.wardrobe", Switch => Wardrobe {
            /// Name of its owner.
            required owner: String; Kind::Name, "\"ada\"";
            /// What hangs in it.
            /// Sizes are European.
            key shirt: Shirt = Shirt::Large; Kind::Word(Shirt::WORDS);
            /// Least temperature, degrees.
            optional cold: Option<f64>; ANY_NUMBER, "18.5", at_most warm;
            /// Greatest temperature, degrees.
            key warm: f64 = 25.0; ANY_NUMBER;
        }
    }

    #[test]
    fn a_field_is_a_key() {
        let section = Wardrobe::SECTION;
        assert_eq!(
            (section.path, section.doc()),
            ("home.wardrobe", "A wardrobe. Absent: none")
        );
        let [owner, shirt, cold, warm] = section.keys else {
            panic!("four keys")
        };
        assert_eq!((owner.path, owner.name), ("home.wardrobe.owner", "owner"));
        assert_eq!(shirt.doc(), "What hangs in it. Sizes are European");
        assert_eq!(shirt.default(), Some("x-large".into()));
        assert_eq!(shirt.kind, Kind::Word(&["medium", "x-large"]));
        assert!(matches!(owner.absent, Absent::Refused("\"ada\"")));
        assert!(matches!(cold.absent, Absent::Nothing("18.5")) && cold.default().is_none());
        assert_eq!((cold.at_most, warm.at_most), (Some("warm"), None));
    }

    #[test]
    fn an_absent_key_has_its_default() {
        let found: Wardrobe = serde_json::from_str(r#"{"owner": "ada"}"#).expect("a wardrobe");
        assert_eq!(
            (found.owner.as_str(), found.shirt, found.cold),
            ("ada", Shirt::Large, None)
        );
        assert!(serde_json::from_str::<Wardrobe>(r#"{"shoes": 2}"#).is_err());
    }
}
