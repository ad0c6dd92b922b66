//! RefinedWeb's line-wise corrections (Penedo et al. 2023, arXiv:2306.01116, appendix G.2), and the
//! share of words that they remove.
//!
//! The paper lists the lines to remove, but not how to find them. The method is the one that
//! DCLM-Baseline ran (Li et al. 2024, arXiv:2406.11794; `dclm_baseline_refinedweb.yaml` and
//! `baselines/mappers/modifiers.py` of <https://github.com/mlfoundations/dclm>). These steps follow
//! each other over the lines between line feeds:
//!
//! 1. Remove lines in which more than half of the characters are capitals.
//! 2. Remove lines of digits only.
//! 3. Remove counters such as `3 likes`.
//! 4. Remove lines of one word. Empty lines stay.
//! 5. In lines of at most ten words, cut out `items in cart`, `read more` with any three characters
//!    at the end of the line (the dots of `Read more...` are not escaped), and `Sign-in` at the
//!    start of the line. Only the phrase and one space are cut out. The line is removed if no more
//!    than white space is left. `i` and `s` match `İ`, `ı` and `ſ` too, as in Python's
//!    `re.IGNORECASE`.
//!
//! After each step but the fourth the text is stripped. A line is judged as the earlier steps left
//! it, which matters for the first and the last line. Words are those that DCLM counts: pieces
//! between ASCII white space or NUL that start with a letter or digit. DCLM drops a document if
//! more than 0.05 of its words are removed. DCLM's other modifiers (URLs, runs of line feeds) are
//! not done here. Departs in one point: a text without words has a ratio of 1, where DCLM drops the
//! text without a ratio.
//!
//! Cost: linear, about six passes over the text.

use memchr::memchr_iter;

use crate::edits::{Edit, Editor};
use crate::python::line_chars::{is_decimal, is_digit, is_upper};
use crate::python::{self, is_space};
use crate::rules::c4::{has_fewer_words, may_have};

/// The lines to remove. The default is that of DCLM-Baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineSettings {
    /// A line is removed if more than this share of its characters are capitals. 1 keeps all lines.
    pub max_upper_case_ratio: f64,
    /// A line is removed if more than this share of its characters are digits. 1 keeps all lines.
    pub max_numeric_ratio: f64,
    /// True if counters are removed.
    pub counters: bool,
    /// A line that is not empty is removed if it has fewer words than this. White space separates
    /// words. 0 keeps all lines.
    pub min_words: u32,
    /// The most words of a line in which navigation is searched. [`None`] switches the search off.
    pub max_navigation_words: Option<u32>,
}

impl Default for LineSettings {
    fn default() -> LineSettings {
        LineSettings {
            max_upper_case_ratio: 0.5,
            max_numeric_ratio: 0.999999,
            counters: true,
            min_words: 2,
            max_navigation_words: Some(10),
        }
    }
}

/// The numbers of removed lines. A line counts for the step that removed it. The edits have the
/// same reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LineRules {
    /// Lines of the text, empty ones included.
    pub n_lines: u32,
    /// Lines that are left after all steps.
    pub n_lines_kept: u32,
    /// Removed lines of capitals.
    pub n_upper_case: u32,
    /// Removed lines of digits.
    pub n_numeric: u32,
    /// Removed lines that are counters.
    pub n_counter: u32,
    /// Removed lines of one word, or of fewer words than the setting.
    pub n_one_word: u32,
    /// Lines that lost a phrase of navigation, or were removed because nothing else was left.
    pub n_navigation: u32,
    /// Share of words that were removed. The share lies in \[0, 1\] except in odd cases: stripping
    /// or cutting can make a new word.
    pub removed_word_ratio: f64,
}

super::values!(
    LineRules,
    n_lines,
    n_upper_case,
    n_numeric,
    n_counter,
    n_one_word,
    n_navigation,
    removed_word_ratio,
);

// The reasons of edits and of dropped lines.
const UPPER_CASE: &str = "lines.upper_case";
const NUMERIC: &str = "lines.numeric";
const COUNTER: &str = "lines.counter";
const ONE_WORD: &str = "lines.one_word";
const NAVIGATION: &str = "lines.navigation";
const WHITE_SPACE: &str = "lines.white_space";

/// The values of `text`.
///
/// The edits that make `text` the lines that are left are appended to `edits`, if it is given.
/// Their reasons are `lines.upper_case`, `lines.numeric`, `lines.counter`, `lines.one_word`,
/// `lines.navigation` and `lines.white_space`.
pub fn line_rules(text: &str, settings: &LineSettings, edits: Option<&mut Vec<Edit>>) -> LineRules {
    let mut page = Page::new(text);
    let n_lines = page.lines.len() as u32;

    // The order and the stripping are DCLM's: each step sees what the steps before left.
    page.drop_lines(UPPER_CASE, |line| {
        share(line, u8::is_ascii_uppercase, is_upper) > settings.max_upper_case_ratio
    });
    page.strip();
    page.drop_lines(NUMERIC, |line| {
        share(line, u8::is_ascii_digit, is_digit) > settings.max_numeric_ratio
    });
    page.strip();
    if settings.counters {
        page.drop_lines(COUNTER, is_counter);
        page.strip();
    }
    page.drop_lines(ONE_WORD, |line| {
        !line.is_empty() && has_fewer_words(line, settings.min_words)
    });
    if let Some(max_words) = settings.max_navigation_words {
        for phrase in &NAVIGATION_PHRASES {
            page.cut(phrase, max_words);
            page.strip();
        }
    }

    let count = |reason| {
        page.dropped
            .iter()
            .filter(|dropped| dropped.2 == reason)
            .count() as u32
    };
    let n_cut_lines = page
        .lines
        .iter()
        .filter(|line| !line.cuts.is_empty())
        .count() as u32;
    let values = LineRules {
        n_lines,
        n_lines_kept: page.lines.len() as u32,
        n_upper_case: count(UPPER_CASE),
        n_numeric: count(NUMERIC),
        n_counter: count(COUNTER),
        n_one_word: count(ONE_WORD),
        n_navigation: count(NAVIGATION) + n_cut_lines,
        removed_word_ratio: page.removed_word_ratio(),
    };

    if let Some(edits) = edits {
        page.write(edits);
    }
    values
}

/// A start and an end. The end is not included.
type Span = (usize, usize);

/// A character with its position in the text, in bytes.
type PlacedChar = (usize, char);

/// A line that is not dropped, as far as it is left.
struct Line {
    /// The whole line of the text, without its line feed.
    span: Span,
    /// The start of the line after stripping.
    start: usize,
    /// The end of the line after stripping.
    end: usize,
    /// The spans that were cut out, in order, without overlaps.
    cuts: Vec<Span>,
}

impl Line {
    /// The characters that are left of the line, with their positions.
    fn chars(&self, text: &str) -> impl DoubleEndedIterator<Item = PlacedChar> {
        text[self.start..self.end]
            .char_indices()
            .map(|(i, c)| (self.start + i, c))
            .filter(|&(at, _)| {
                let next = self.cuts.partition_point(|cut| cut.1 <= at);
                self.cuts.get(next).is_none_or(|cut| at < cut.0)
            })
    }
}

/// A text during the steps.
struct Page<'a> {
    text: &'a str,
    /// The lines that are left, in order.
    lines: Vec<Line>,
    /// The start and end of each dropped line, in any order, and the reason.
    dropped: Vec<(usize, usize, &'static str)>,
}

impl<'a> Page<'a> {
    /// Splits a text at its line feeds.
    fn new(text: &'a str) -> Page<'a> {
        let mut lines = Vec::new();
        let mut start = 0;

        for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            lines.push(Line {
                span: (start, end),
                start,
                end,
                cuts: Vec::new(),
            });
            start = end + 1;
        }

        Page {
            text,
            lines,
            dropped: Vec::new(),
        }
    }

    /// Drops the lines for which `is_dropped` is true. Nothing must be cut out before.
    fn drop_lines(&mut self, reason: &'static str, is_dropped: impl Fn(&str) -> bool) {
        self.lines.retain(|line| {
            let rest = &self.text[line.start..line.end];

            let drops = is_dropped(rest);
            if drops {
                // A blank line counts as white space, whatever step drops it.
                let reason = if rest.chars().all(is_space) {
                    WHITE_SPACE
                } else {
                    reason
                };
                self.dropped.push((line.span.0, line.span.1, reason));
            }

            !drops
        });
    }

    /// Cuts a phrase out of short lines, and drops lines that are then nothing but white space.
    fn cut(&mut self, phrase: &Phrase, max_words: u32) {
        // The lines share the memory.
        let mut chars = Vec::new();

        self.lines.retain_mut(|line| {
            let rest = &self.text[line.start..line.end];

            // Cutting makes no line longer, so a line with cuts is still short.
            if line.cuts.is_empty() {
                let may_change = (phrase.may_be_in)(rest) || rest.chars().all(is_space);
                if !may_change || !has_fewer_words(rest, max_words.saturating_add(1)) {
                    return true;
                }
            }

            chars.clear();
            chars.extend(line.chars(self.text));
            for (from, to) in (phrase.find)(&chars) {
                // A former cut may lie between two characters. It is not cut again, so the span is
                // split there.
                for run in chars[from..to].chunk_by(|a, b| a.0 + a.1.len_utf8() == b.0) {
                    line.cuts.push((
                        run[0].0,
                        run[0].0 + run.iter().map(|(_, c)| c.len_utf8()).sum::<usize>(),
                    ));
                }
            }
            line.cuts.sort_unstable();

            // A line that is empty already stays.
            let is_left = chars.is_empty() || line.chars(self.text).any(|(_, c)| !is_space(c));
            if !is_left {
                let reason = if line.cuts.is_empty() {
                    WHITE_SPACE
                } else {
                    NAVIGATION
                };
                self.dropped.push((line.span.0, line.span.1, reason));
            }
            is_left
        });
    }

    /// `str.strip()` of the lines, joined by line feeds.
    fn strip(&mut self) {
        let text = self.text;
        let is_blank = |line: &Line| line.chars(text).all(|(_, c)| is_space(c));

        // Blank lines at both ends are white space, and have no count of their own.
        let blank_after = self
            .lines
            .iter()
            .rev()
            .take_while(|line| is_blank(line))
            .count();
        self.lines.truncate(self.lines.len() - blank_after);
        let blank_before = self.lines.iter().take_while(|line| is_blank(line)).count();
        self.lines.drain(..blank_before);

        // The first and the last line have other characters, so the search succeeds.
        if let Some(line) = self.lines.first_mut() {
            let first = line.chars(text).find(|&(_, c)| !is_space(c));
            line.start = first.map_or(line.start, |(at, _)| at);
        }
        if let Some(line) = self.lines.last_mut() {
            let last = line.chars(text).rev().find(|&(_, c)| !is_space(c));
            line.end = last.map_or(line.end, |(at, c)| at + c.len_utf8());
        }
    }

    /// The share of the text's words that the steps removed.
    fn removed_word_ratio(&self) -> f64 {
        let before = count_words(self.text);
        if before == 0 {
            return 1.0;
        }

        let dropped: u32 = self
            .dropped
            .iter()
            .map(|&(start, end, _)| count_words(&self.text[start..end]))
            .sum();

        // Most lines are unchanged and need no count. The difference is negative if a line gained
        // a word.
        let of_changed: f64 = self
            .lines
            .iter()
            .filter(|line| (line.start, line.end) != line.span || !line.cuts.is_empty())
            .map(|line| {
                let rest: String = line.chars(self.text).map(|(_, c)| c).collect();
                f64::from(count_words(&self.text[line.span.0..line.span.1]))
                    - f64::from(count_words(&rest))
            })
            .sum();

        (f64::from(dropped) + of_changed) / f64::from(before)
    }

    /// Appends the edits that make the text the lines that are left.
    fn write(mut self, edits: &mut Vec<Edit>) {
        let text_len_bytes = self.text.len();
        let first = self.lines.first().map_or(text_len_bytes, |line| line.start);
        let last = self.lines.last().map_or(text_len_bytes, |line| line.end);

        // A line is removed with its line feed. If the last lines are removed, the line feed before
        // them is cropped.
        let mut spans: Vec<_> = self
            .dropped
            .iter()
            .map(|&(s, e, reason)| (s, (e + 1).min(text_len_bytes), reason))
            .collect();
        for line in &mut self.lines {
            spans.extend(
                line.cuts
                    .drain(..)
                    .map(|(start, end)| (start, end, NAVIGATION)),
            );
        }
        spans.sort_unstable();

        let mut editor = Editor::new(edits);
        for (start, end, reason) in spans {
            editor.remove(start, end, reason);
        }
        editor.crop(first, last, text_len_bytes, WHITE_SPACE);
    }
}

/// The share of the characters of `line` for which `is` is true. 0 for the empty line. `is_ascii`
/// must agree with `is` on ASCII.
#[inline]
fn share(line: &str, is_ascii: impl Fn(&u8) -> bool, is: impl Fn(char) -> bool) -> f64 {
    // Bytes of ASCII need no decoding.
    let (found, chars) = if line.is_ascii() {
        (
            line.as_bytes().iter().filter(|byte| is_ascii(byte)).count(),
            line.len(),
        )
    } else {
        (
            line.chars().filter(|&c| is(c)).count(),
            line.chars().count(),
        )
    };

    if chars == 0 {
        0.0
    } else {
        found as f64 / chars as f64
    }
}

/// The number of words: pieces that start with a letter or digit, between bytes that fastText takes
/// for white space.
fn count_words(text: &str) -> u32 {
    // Space, NUL and 09 to 0D. There are no branches, so that loops over bytes run on whole
    // vectors.
    let is_space = |byte: u8| (byte == b' ') | (byte.wrapping_sub(b'\t') < 5) | (byte == 0);
    let bytes = text.as_bytes();
    let first = text.starts_with(is_alphanumeric);

    if text.is_ascii() {
        let starts = bytes
            .windows(2)
            .map(|pair| u32::from(is_space(pair[0]) & pair[1].is_ascii_alphanumeric()));
        return u32::from(first) + starts.sum::<u32>();
    }

    // A byte behind white space starts a character, because white space is ASCII.
    let starts = bytes
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| is_space(pair[0]) && !is_space(pair[1]));
    u32::from(first)
        + starts
            .filter(|(i, _)| text[i + 1..].starts_with(is_alphanumeric))
            .count() as u32
}

/// True if `c` is a letter or digit.
fn is_alphanumeric(c: char) -> bool {
    python::is_word_char(c) && c != '_'
}

/// The things that a counter counts.
const COUNTED: [&str; 12] = [
    "likes",
    "shares",
    "comments",
    "retweets",
    "reposts",
    "quotes",
    "bookmarks",
    "upvotes",
    "downvotes",
    "downloads",
    "views",
    "followers",
];

/// `^\W*\d(?:,|\.|\d)*[kmb]?\s+(?:likes|shares|…)\W*$`, in any case.
fn is_counter(line: &str) -> bool {
    // Two parts that follow each other never start with the same character, so that no backtracking
    // is needed.
    let line = line.trim_start_matches(|c| !python::is_word_char(c));
    if !line.starts_with(is_decimal) {
        return false;
    }

    let lower = python::lower(line);
    let number = lower.trim_start_matches(|c| is_decimal(c) || matches!(c, ',' | '.'));
    let unit = number.strip_prefix(['k', 'm', 'b']).unwrap_or(number);
    let counted = unit.trim_start_matches(is_space);
    let rest = COUNTED.iter().find_map(|name| counted.strip_prefix(name));

    // The white space before the name must not be empty.
    counted.len() < unit.len() && rest.is_some_and(|rest| !rest.contains(python::is_word_char))
}

/// A phrase of navigation.
struct Phrase {
    /// A fast test. False if the phrase is certainly not in a line.
    may_be_in: fn(&str) -> bool,
    /// The spans of the phrase, as indices of the characters of a line.
    find: fn(&[PlacedChar]) -> Vec<Span>,
}

const NAVIGATION_PHRASES: [Phrase; 3] = [
    Phrase {
        may_be_in: |line| {
            may_have(
                line.as_bytes(),
                &[(0, b'c'), (1, b'a'), (2, b'r'), (3, b't')],
            )
        },
        find: find_items_in_cart,
    },
    Phrase {
        may_be_in: |line| line.chars().rev().nth(3).is_some_and(|c| fold(c) == 'e'),
        find: find_read_more,
    },
    Phrase {
        may_be_in: |line| line.chars().next().is_some_and(|c| fold(c) == 's'),
        find: find_sign_in,
    },
];

/// All matches of `\s?items in cart`.
fn find_items_in_cart(chars: &[PlacedChar]) -> Vec<Span> {
    const ITEMS_IN_CART: &str = "items in cart";

    let mut found = Vec::new();
    let mut at = 0;
    while at + ITEMS_IN_CART.len() <= chars.len() {
        if starts_with(&chars[at..], ITEMS_IN_CART) {
            // The space must not belong to the match before.
            let after_last = found.last().map_or(0, |&(_, to): &Span| to);
            let from = if at > after_last && is_space(chars[at - 1].1) {
                at - 1
            } else {
                at
            };
            at += ITEMS_IN_CART.len();
            found.push((from, at));
        } else {
            at += 1;
        }
    }
    found
}

/// The match of `\s?read more...$`, in which a dot is any character.
fn find_read_more(chars: &[PlacedChar]) -> Vec<Span> {
    let Some(at) = chars.len().checked_sub("read more...".len()) else {
        return Vec::new();
    };

    let from = if at > 0 && is_space(chars[at - 1].1) {
        at - 1
    } else {
        at
    };

    if starts_with(&chars[at..], "read more") {
        vec![(from, chars.len())]
    } else {
        Vec::new()
    }
}

/// The match of `^sign-in\s?`.
fn find_sign_in(chars: &[PlacedChar]) -> Vec<Span> {
    let to = "sign-in".len();
    let to = if chars.get(to).is_some_and(|&(_, c)| is_space(c)) {
        to + 1
    } else {
        to
    };

    if starts_with(chars, "sign-in") {
        vec![(0, to)]
    } else {
        Vec::new()
    }
}

/// True if `chars` starts with `lower`, in any case.
fn starts_with(chars: &[PlacedChar], lower: &str) -> bool {
    chars.len() >= lower.len()
        && lower
            .chars()
            .zip(chars)
            .all(|(letter, &(_, c))| fold(c) == letter)
}

/// A character in lower case, as Python's `re.IGNORECASE` compares it with ASCII.
fn fold(c: char) -> char {
    match c {
        'İ' | 'ı' => 'i',
        'ſ' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::apply;

    fn run(text: &str) -> (LineRules, String) {
        let mut edits = Vec::new();
        let values = line_rules(text, &LineSettings::default(), Some(&mut edits));
        assert_eq!(line_rules(text, &LineSettings::default(), None), values);
        (
            values,
            apply(text, &edits)
                .expect("edits fit their text")
                .into_owned(),
        )
    }

    /// What is left of `line` between two lines that stay; `None` if it goes.
    fn left(line: &str) -> Option<String> {
        let rest = run(&format!("first line\n{line}\nlast line")).1;
        rest.strip_prefix("first line\n")?
            .strip_suffix("\nlast line")
            .map(str::to_string)
    }

    fn stays(line: &str) -> bool {
        left(line).as_deref() == Some(line)
    }

    #[test]
    fn nothing_gives_nothing() {
        let empty = LineRules {
            n_lines: 1,
            removed_word_ratio: 1.0,
            ..LineRules::default()
        };
        assert_eq!(run(""), (empty, String::new()));
        assert_eq!(run(" \t\u{3000}"), (empty, String::new()));
        let (one_word, rest) = run("word");
        assert_eq!(
            (
                one_word.n_one_word,
                one_word.removed_word_ratio,
                rest.as_str()
            ),
            (1, 1.0, "")
        );
        let (kept, rest) = run("two words\n\nand more");
        assert_eq!(
            (kept.n_lines_kept, kept.removed_word_ratio, rest.as_str()),
            (3, 0.0, "two words\n\nand more")
        );
    }

    #[test]
    fn more_than_half_capitals() {
        assert!(stays("ABCDE e f."));
        assert!(!stays("ABCDEF f."));
        assert!(stays("ÀÉ éé") && !stays("ÀÉÀ é") && stays("שלום לכם"));
    }

    #[test]
    fn digits_only() {
        assert!(!stays("123") && !stays("²③٣"));
        // One other character is enough for this rule, two words for the next.
        assert!(stays("1 23"));
        assert_eq!(run("a b\n12 \nc d").0.n_numeric, 0);
        // The last line is stripped before it is looked at; a `\r` is white space.
        assert_eq!(run("a b\n12 \r").0.n_numeric, 1);
    }

    #[test]
    fn counters() {
        for line in [
            "3 likes",
            "1,234.5K Views",
            "* 12m  downloads!",
            "٣\u{a0}followers …",
            "3 Li\u{212a}es",
            "5b quotes",
        ] {
            assert_eq!(run(line).0.n_counter, 1, "{line}");
        }
        for line in [
            "likes 3",
            "3 likes it",
            "3kk likes",
            "3 dislikes",
            "k likes",
            "a 3 likes",
            "3 likes_",
            "3, 4 likes",
        ] {
            assert_eq!(run(line).0.n_counter, 0, "{line}");
        }
        assert_eq!(run("3likes").0.n_counter, 0);
    }

    #[test]
    fn one_word_goes_and_empty_lines_stay() {
        assert!(
            !stays("word")
                && !stays(" word\t")
                && !stays("two_words")
                && stays("two words")
                && stays("a\u{a0}b")
        );
        assert!(stays("") && !stays(" \t"));
        assert_eq!(run("a b\n \nword\n\nc d").1, "a b\n\nc d");
        // The line goes after the last time the text was stripped by a line rule; navigation strips
        // it again.
        assert_eq!(run("word\n  a b  \nword").1, "a b");
    }

    #[test]
    fn navigation_is_cut_out_of_short_lines() {
        for (line, rest) in [
            ("my items in cart now", Some("my now")),
            ("ITEMS İN CART: 3 items in cart", Some(": 3")),
            ("items in cart items in cart", None),
            ("See here Read more...", Some("See here")),
            ("See here read more now", Some("See here read more now")),
            ("See here read more😀é!", Some("See here")),
            ("read more... here", Some("read more... here")),
            ("Sign-in here", Some("here")),
            ("ſıgn-in\u{a0} here", Some(" here")),
            ("please Sign-in", Some("please Sign-in")),
            ("a b items in cartread more...", Some("a b")),
            ("1 2 3 4 5 6 7 items in cart", Some("1 2 3 4 5 6 7")),
            (
                "1 2 3 4 5 6 7 8 items in cart",
                Some("1 2 3 4 5 6 7 8 items in cart"),
            ),
        ] {
            assert_eq!(left(line).as_deref(), rest, "{line}");
        }
        assert_eq!(
            run("a b\nc items in cart d\nSign-in read more...")
                .0
                .n_navigation,
            2
        );
    }

    #[test]
    fn every_edit_has_the_reason_of_its_line() {
        let text =
            "\n LOUD LINE\n12\n3 likes\nword\nkept line\nSign-in here\n  \nlast line \n7\n\n";
        let mut edits = Vec::new();
        let values = line_rules(text, &LineSettings::default(), Some(&mut edits));
        let cut = |edit: &Edit| {
            (
                text[edit.start as usize..edit.end as usize].to_string(),
                edit.reason,
            )
        };
        let expected = [
            ("\n", WHITE_SPACE),
            (" LOUD LINE\n", UPPER_CASE),
            ("12\n", NUMERIC),
            ("3 likes\n", COUNTER),
            ("word\n", ONE_WORD),
            ("Sign-in ", NAVIGATION),
            ("  \n", WHITE_SPACE),
            (" \n", WHITE_SPACE),
            ("7\n", NUMERIC),
            ("\n", WHITE_SPACE),
        ];
        assert_eq!(
            edits.iter().map(cut).collect::<Vec<_>>(),
            expected.map(|(cut, reason)| (cut.to_string(), reason))
        );
        assert_eq!(
            apply(text, &edits).as_deref(),
            Ok("kept line\nhere\nlast line")
        );
        assert_eq!((values.n_lines, values.n_lines_kept), (12, 3));
        // LOUD LINE 12 3 likes word kept line Sign-in here last line 7
        assert_eq!(values.removed_word_ratio, 8.0 / 13.0);
    }

    #[test]
    fn words_start_with_a_letter_or_digit() {
        assert_eq!(
            count_words("a -b (c d) _e 1\0f\u{a0}g é\r\nש 😀 \u{301}a"),
            6
        );
        assert_eq!(count_words(""), 0);
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        assert!(stays("LOUD\u{2028}and not loud") && stays("two words\r"));
        assert_eq!(
            run("two words\r\nword\r\nthree more words\r\n").1,
            "two words\r\nthree more words"
        );
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(run(&"x".repeat(1 << 20)).0.n_one_word, 1);
        assert_eq!(run(&"7".repeat(1 << 20)).0.n_numeric, 1);
        assert_eq!(run(&"a ".repeat(1 << 19)).1.len(), (1 << 20) - 1);
        let settings = LineSettings {
            max_navigation_words: Some(u32::MAX),
            ..LineSettings::default()
        };
        let mut edits = Vec::new();
        line_rules(
            &"items in cart x".repeat(1 << 16),
            &settings,
            Some(&mut edits),
        );
        // One more for the space that is left at the start.
        assert_eq!(edits.len(), (1 << 16) + 1);
    }
}
