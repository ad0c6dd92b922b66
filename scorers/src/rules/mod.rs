//! The values behind the named rules of papers and of FineWeb. No threshold is here: the stage
//! `filter` makes verdicts from the values.
//!
//! | module | values |
//! |---|---|
//! | [`gopher_quality`], [`gopher_repetition`] | Gopher's, as in datatrove 0.10 |
//! | [`c4`], [`fineweb`], [`line_rules`] | C4's and FineWeb's, as in datatrove 0.10; RefinedWeb's rules for lines, as in DCLM |
//! | [`bad_words`], [`url_rules`] | matches with the user's lists of words and of addresses |
//! | [`sentences`], [`punctuation`] | the sentences that datatrove counts in English, and its punctuation characters |

pub mod bad_words;
pub mod c4;
pub mod fineweb;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod line_rules;
pub mod punctuation;
pub mod sentences;
pub mod url_rules;

/// One value of one document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number of words, lines, characters and so on.
    Count(u32),
    /// A ratio or a mean.
    Ratio(f64),
    /// True if the document has a property.
    Flag(bool),
}

impl From<u32> for Value {
    fn from(count: u32) -> Value {
        Value::Count(count)
    }
}

impl From<f64> for Value {
    fn from(ratio: f64) -> Value {
        Value::Ratio(ratio)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

/// The values of a family of rules, each under the name of its column in `signals`.
pub trait Values {
    /// The names of the columns, in the order of [`Values::values`].
    const NAMES: &'static [&'static str];

    /// Appends the values of one document.
    fn values(&self, out: &mut Vec<Value>);
}

/// Implements [`Values`] for a struct. Each field has its own name as a column. Further columns
/// follow as `name: expression`.
macro_rules! values {
    ($type:ty, $($field:ident),* $(,)?; |$row:ident| $($name:ident: $value:expr),* $(,)?) => {
        impl $crate::rules::Values for $type {
            const NAMES: &'static [&'static str] = &[$(stringify!($field),)* $(stringify!($name),)*];

            fn values(&self, out: &mut Vec<$crate::rules::Value>) {
                let $row = self;
                $( out.push($row.$field.into()); )*
                $( out.push($value.into()); )*
            }
        }
    };
    ($type:ty, $($field:ident),* $(,)?) => {
        $crate::rules::values!($type, $($field),*; |row| );
    };
}
use values;
