//! Perplexity of a document and normalisation of its lines as in CCNet.
//!
//! Wenzek et al. 2020 (CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data).
//! What the paper leaves open is as in its code, <https://github.com/facebookresearch/cc_net>,
//! `perplexity.py` and `text_normalizer.py`. Lines are separated by line feeds, and empty lines
//! count. Each line has one token more than it has words, its end.
//!
//! One thing differs. CCNet counts tokens as Python splits a string but scores them as Python
//! splits bytes. Here the tokens that are counted are those that are scored. SentencePiece leaves
//! no white space for which the two differ. Marks and decompositions are those of this build's
//! Unicode. Of 2.1 million lines, those that differ from Python 3.11's have characters that are
//! newer than its Unicode 14.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::ngram::model::LineScore;
use crate::python::{self, line_chars::is_decimal};

/// The score of one document under a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentScore {
    /// Σ log₁₀ p over tokens and ends of lines; at most 0.
    pub log10_sum: f64,
    /// Number of tokens, without the ends of lines.
    pub tokens: u64,
    /// Number of tokens that the model does not know.
    pub oov: u64,
    /// Number of lines, empty ones included.
    pub lines: u64,
    /// 10^(−`log10_sum` / (`tokens` + `lines`)); at least 1. CCNet rounds it to one decimal.
    pub perplexity: f64,
}

impl DocumentScore {
    /// The score of the document that has these lines; `None` if there are no lines.
    ///
    /// ```
    /// use curate_scorers::ngram::{DocumentScore, LineScore};
    ///
    /// let line = LineScore { log10_sum: -6.0, tokens: 2, oov: 0 };
    /// let document = DocumentScore::of([line, line]).expect("it has lines");
    /// assert_eq!((document.tokens, document.lines, document.perplexity), (4, 2, 100.0));
    /// ```
    pub fn of(lines: impl IntoIterator<Item = LineScore>) -> Option<DocumentScore> {
        let mut sum = DocumentScore {
            log10_sum: 0.0,
            tokens: 0,
            oov: 0,
            lines: 0,
            perplexity: 1.0,
        };

        for line in lines {
            sum.log10_sum += line.log10_sum;
            sum.tokens += line.tokens;
            sum.oov += line.oov;
            sum.lines += 1;
        }

        sum.perplexity = 10f64.powf(-sum.log10_sum / (sum.tokens + sum.lines) as f64);
        (sum.lines > 0).then_some(sum)
    }
}

/// Runs of nonspacing marks, category Mn.
static MARKS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{Mn}+").expect("the expression is valid"));

/// A line in the form that CCNet's models expect: stripped, in lower case, without accents and
/// control characters, with every digit a 0 and punctuation in ASCII.
///
/// Accents are the characters of category Mn once the line is decomposed (NFD). The line stays
/// decomposed, Hangul for instance. Tabs are control characters, so removing a tab joins the words
/// around it.
///
/// ```
/// use curate_scorers::ngram::ccnet_normalize;
///
/// assert_eq!(ccnet_normalize(" Élan — «1984»… "), "elan  -  \"0000\"...");
/// ```
pub fn ccnet_normalize(line: &str) -> Cow<'_, str> {
    let line = python::strip(line);

    // Printable ASCII without capitals and without digits but 0 stays as it is.
    if line
        .bytes()
        .all(|b| matches!(b, b' '..=b'/' | b':'..=b'@' | b'['..=b'~' | b'0'))
    {
        return Cow::Borrowed(line);
    }

    let lower = python::lower(line);
    let mut out = String::with_capacity(lower.len());
    // ASCII has no marks and does not decompose.
    if lower.is_ascii() {
        lower.chars().for_each(|c| push(&mut out, c));
    } else {
        let decomposed: String = lower.nfd().collect();
        MARKS
            .replace_all(&decomposed, "")
            .chars()
            .for_each(|c| push(&mut out, c));
    }

    Cow::Owned(out)
}

/// Appends a character of a line without accents, in CCNet's form.
fn push(out: &mut String, c: char) {
    match c {
        // Decimal digits of any script, full-width ones included, before the table below sees them.
        _ if is_decimal(c) => out.push('0'),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => {}
        _ if c.is_ascii() => out.push(c),
        _ => match PUNCTUATION.iter().find(|(from, _)| *from == c) {
            Some((_, to)) => out.push_str(to),
            None => out.push(c),
        },
    }
}

/// The table of `text_normalizer.py` without U+FF11 (full-width 1), which is a digit and has become
/// 0.
#[rustfmt::skip]
const PUNCTUATION: [(char, &str); 33] = [
    // Commas and stops, as Chinese and Japanese have them.
    ('，', ","), ('、', ","), ('。', "."), ('．', ". "), ('：', ":"), ('∶', ":"), ('；', ";"), ('？', "?"), ('！', "!"),
    // Quotation marks.
    ('„', "\""), ('”', "\""), ('“', "\""), ('«', "\""), ('»', "\""), ('」', "\""), ('「', "\""), ('《', "\""), ('》', "\""),
    ('´', "'"), ('’', "'"),
    // Brackets.
    ('（', "("), ('）', ")"), ('【', "["), ('】', "]"), ('〈', "<"), ('〉', ">"),
    // Dashes and the rest.
    ('–', "-"), ('—', " - "), ('━', "-"), ('►', "-"), ('…', "..."), ('～', "~"), ('％', "%"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_ccnet_has_them() {
        // The right side is what `text_normalizer.normalize` of cc_net gives.
        for (line, expected) in [
            ("", ""),
            (" \t ", ""),
            ("plain 000 text.", "plain 000 text."),
            ("Tab\there 42", "tabhere 00"),
            ("\u{1d7d9}７ ٣ ²", "00 0 ²"),
            ("１", "0"),
            ("Cafe\u{301} naïve ÅNGSTRÖM", "cafe naive angstrom"),
            (
                "，。、„”“«»」「《》´∶：？！（）；–—．～’…━〈〉【】％►",
                ",.,\"\"\"\"\"\"\"\"\"'::?!();- - . ~'...-<>[]%-",
            ),
            ("a\u{85}b\u{7f}c", "abc"),
            ("가", "\u{1100}\u{1161}"),
            ("İstanbul ΟΔΟΣ", "istanbul οδος"),
        ] {
            assert_eq!(ccnet_normalize(line), expected, "{line:?}");
        }

        assert!(matches!(
            ccnet_normalize(" plain 000 text. "),
            Cow::Borrowed("plain 000 text.")
        ));
    }

    #[test]
    fn perplexity_is_over_tokens_and_ends() {
        let line = |log10_sum, tokens| LineScore {
            log10_sum,
            tokens,
            oov: 1,
        };

        let document =
            DocumentScore::of([line(-3.0, 1), line(-1.0, 0), line(-8.0, 6)]).expect("three lines");

        // 7 tokens and 3 ends: 10^(12/10).
        assert_eq!((document.tokens, document.lines, document.oov), (7, 3, 3));
        assert!((document.perplexity - 15.848_931_924_611_135).abs() < 1e-12);
        assert_eq!(DocumentScore::of([]), None);
    }
}
