//! The values behind C4's rules (Raffel et al. 2020, JMLR 21:140, section 2.2) and mC4's paragraph
//! rule (Xue et al. 2021, arXiv:2010.11934), and the text that C4's line rules leave.
//!
//! They are computed as `C4QualityFilter` and `C4ParagraphFilter` of datatrove 0.10 do. Lines are
//! those of `str.splitlines()`, stripped. A line goes through the checks in this order, and the
//! first check that fails drops the line:
//!
//! 1. a word that is too long (after this check, citations are removed from the line),
//! 2. no terminal mark,
//! 3. too few words, counted before citations were removed,
//! 4. `lorem ipsum`, javascript, `{`, and a policy, in this order.
//!
//! The kept lines are joined by line feeds, and the result is stripped. A line is not stripped
//! again after its citations were removed. `… end. [1]` therefore ends in a space and has no
//! terminal mark, which is a quirk of the reference.
//!
//! datatrove drops a document at the first line with `lorem ipsum` or `{`, but here all lines are
//! checked. Each flag is then datatrove's decision with the other rule switched off. Both flags
//! together are its decision with both rules on, except that datatrove names the rule whose line
//! comes first (`lorem ipsum` if both are in one line). Sentences, counts and edits are those of
//! datatrove with both rules off, which are the same for every document that datatrove keeps. There
//! is no other departure. Bad words are in [`crate::rules::bad_words`].
//!
//! Cost: linear. A few passes over the text, and the sentences of kept lines.

use memchr::memchr_iter;

use crate::edits::Edit;
use crate::python::line_chars::is_decimal;
use crate::python::lines::for_each_line;
use crate::python::{self, is_space};
use crate::rules::sentences::count_sentences;
use crate::words::spacy;

mod phrases;
mod rewrite;

pub(crate) use phrases::may_have;
use phrases::{Hints, Phrases};
use rewrite::{Rewrite, WHITE_SPACE};

/// The lines that C4 keeps. The default is datatrove's. FineWeb differs only in `terminal_punct`,
/// which it switches off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Drop lines that do not end in `.`, `?`, `!`, `"` or `'`, or that end in `...`.
    pub terminal_punct: bool,
    /// Remove `[edit]`, `[citation needed]`, `[]` and digits in brackets.
    pub citations: bool,
    /// Drop lines with fewer words than this. White space separates words. Blank lines are dropped
    /// too, unless the number is 0.
    pub min_words: u32,
    /// Drop lines with a word of more characters than this. [`u32::MAX`] drops no line.
    pub max_word_len_chars: u32,
    /// Drop lines with `javascript` in any case.
    pub javascript: bool,
    /// Drop lines with one of the [`POLICIES`] in any case.
    pub policy: bool,
}

impl Default for LineSettings {
    fn default() -> LineSettings {
        LineSettings {
            terminal_punct: true,
            citations: true,
            min_words: 3,
            max_word_len_chars: 1000,
            javascript: true,
            policy: true,
        }
    }
}

/// The phrases of lines about terms of use and cookies, in lower case.
pub const POLICIES: [&str; 6] = [
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

/// The values of C4's rules. A blank line is a line, as in datatrove: it has no terminal mark, or
/// too few words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct C4 {
    /// Sentences in the kept lines, counted line by line. A kept line has at least one.
    pub n_sentences: u32,
    /// Lines of the text, blank ones included.
    pub n_lines: u32,
    /// Lines that are kept.
    pub n_lines_kept: u32,
    /// Lines dropped because a word is too long.
    pub n_too_long_word: u32,
    /// Lines dropped because they do not end in a terminal mark.
    pub n_no_terminal_punct: u32,
    /// Lines dropped because they have too few words.
    pub n_too_few_words: u32,
    /// Lines dropped because of `javascript`.
    pub n_javascript: u32,
    /// Lines dropped because of a policy.
    pub n_policy: u32,
    /// Citations in lines without a word that is too long.
    pub n_citations: u32,
    /// True if a line that no earlier check dropped has `lorem ipsum`, in any case.
    pub lorem_ipsum: bool,
    /// True if a line that no earlier check dropped has `{`. The check for `javascript` is earlier.
    pub curly_bracket: bool,
    /// The length in characters of the third longest line of the original text, split at line feeds
    /// only. 0 for fewer than three lines. mC4 requires 200.
    pub third_longest_line_chars: u32,
}

super::values!(
    C4,
    n_lines,
    n_lines_kept,
    n_too_long_word,
    n_no_terminal_punct,
    n_too_few_words,
    n_javascript,
    n_policy,
    n_citations,
    n_sentences,
    lorem_ipsum,
    curly_bracket,
    third_longest_line_chars,
);

/// The values of `text`. `words` are the spaCy words of `text`: subslices of it, in order.
///
/// The edits that make `text` the kept lines are appended to `edits`, if it is given. Their reasons
/// are `c4.too_long_word`, `c4.no_terminal_punct`, `c4.too_few_words`, `c4.javascript`,
/// `c4.policy`, `c4.citation` and, for blank lines, indentation and line ends, `c4.white_space`.
pub fn c4(
    text: &str,
    words: &[&str],
    settings: &LineSettings,
    edits: Option<&mut Vec<Edit>>,
) -> C4 {
    let mut values = C4 {
        third_longest_line_chars: third_longest_line_chars(text),
        ..C4::default()
    };
    let mut words = LineWords { text, words };
    let mut rewrite = edits.map(|edits| Rewrite::new(text, edits));
    let mut citations = Citations::default();
    let hints = Hints::new(text);

    for_each_line(text, |line| {
        let stripped = python::strip(line);

        let fate = values.judge(stripped, settings, hints, &mut citations);
        if fate.is_none() {
            values.n_sentences += if citations.spans.is_empty() {
                count_sentences(stripped, words.of(stripped))
            } else {
                citations.count_sentences()
            };
        }

        if let Some(rewrite) = &mut rewrite {
            match fate {
                None => rewrite.keep(line, stripped, &citations.spans),
                Some(_) if stripped.is_empty() => rewrite.drop(line, WHITE_SPACE),
                Some(reason) => rewrite.drop(line, reason),
            }
        }
    });

    if let Some(rewrite) = rewrite {
        rewrite.finish();
    }
    values
}

/// The byte of `text` at which `part`, a subslice of `text`, starts.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

impl C4 {
    /// Counts a stripped line. Returns the reason for which the line is dropped, `None` if it is
    /// kept. The citations of the line are in `citations` afterwards.
    fn judge(
        &mut self,
        line: &str,
        settings: &LineSettings,
        hints: Hints,
        citations: &mut Citations,
    ) -> Option<&'static str> {
        self.n_lines += 1;
        citations.spans.clear();

        if has_longer_word(line, settings.max_word_len_chars) {
            self.n_too_long_word += 1;
            return Some("c4.too_long_word");
        }

        if settings.citations && hints.square_bracket {
            citations.find(line);
            self.n_citations += citations.spans.len() as u32;
        }
        let rest = if citations.spans.is_empty() {
            line
        } else {
            &citations.rest
        };

        if settings.terminal_punct
            && (!rest.ends_with(['.', '?', '!', '"', '\'']) || rest.ends_with("..."))
        {
            self.n_no_terminal_punct += 1;
            return Some("c4.no_terminal_punct");
        }
        // The reference counts words in the line with its citations.
        if has_fewer_words(line, settings.min_words) {
            self.n_too_few_words += 1;
            return Some("c4.too_few_words");
        }

        // Removing a citation may form a phrase that the hints do not know of.
        let phrases = if hints.phrase || !citations.spans.is_empty() {
            Phrases::find(rest)
        } else {
            Phrases::default()
        };
        // `lorem ipsum` and `{` drop the document in the reference, so they do not end a line here.
        self.lorem_ipsum |= phrases.lorem_ipsum;
        if settings.javascript && phrases.javascript {
            self.n_javascript += 1;
            return Some("c4.javascript");
        }
        self.curly_bracket |=
            hints.curly_bracket && !self.curly_bracket && rest.as_bytes().contains(&b'{');
        if settings.policy && phrases.policy {
            self.n_policy += 1;
            return Some("c4.policy");
        }

        self.n_lines_kept += 1;
        None
    }
}

/// True if `line` has a word of more than `max_chars` characters.
fn has_longer_word(line: &str, max_chars: u32) -> bool {
    let max_chars = max_chars as usize;

    // A word has at least as many bytes as characters, and bytes need no count.
    line.len() > max_chars
        && line
            .split(is_space)
            .any(|word| word.len() > max_chars && word.chars().count() > max_chars)
}

/// True if `line` has fewer than `min` words. Stops reading at word `min`, and decodes no ASCII.
pub(crate) fn has_fewer_words(line: &str, min: u32) -> bool {
    let bytes = line.as_bytes();
    let (mut words, mut at, mut in_word) = (0, 0, false);

    while words < min && at < bytes.len() {
        let c = if bytes[at].is_ascii() {
            bytes[at] as char
        } else {
            line[at..].chars().next().unwrap_or_default()
        };

        let is_space = is_space(c);
        words += u32::from(!is_space && !in_word);
        in_word = !is_space;
        at += c.len_utf8();
    }

    words < min
}

/// The length of the third longest of the lines between line feeds, in characters.
fn third_longest_line_chars(text: &str) -> u32 {
    // The three greatest lengths, in descending order.
    let mut longest = [0; 3];
    let mut start = 0;

    for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
        // A line has at most as many characters as bytes, so most lines need no count.
        if end - start > longest[2] {
            let chars = text[start..end].chars().count();
            let rank = longest.partition_point(|&other| other >= chars);
            if rank < 3 {
                longest[rank..].rotate_right(1);
                longest[rank] = chars;
            }
        }
        start = end + 1;
    }

    longest[2] as u32
}

/// The citations of one line.
#[derive(Default)]
struct Citations {
    /// The start and end of each citation, in bytes of the line.
    spans: Vec<(usize, usize)>,
    /// The line without its citations. Stale if there are no citations.
    rest: String,
}

impl Citations {
    /// `re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)`. The spans must be empty before.
    fn find(&mut self, line: &str) {
        if !line.as_bytes().contains(&b'[') {
            return;
        }

        let mut at = 0;
        while let Some(found) = line[at..].find('[') {
            let start = at + found;
            match citation_len(&line[start..]) {
                Some(len) => {
                    at = start + len;
                    self.spans.push((start, at));
                }
                None => at = start + 1,
            }
        }

        if !self.spans.is_empty() {
            self.rest.clear();
            self.rest.extend(pieces(line, &self.spans));
        }
    }

    /// The number of sentences of the line without its citations.
    #[cold]
    fn count_sentences(&self) -> u32 {
        // Text that a citation parted touches now, so the words are segmented again.
        let mut words = Vec::new();
        spacy::words(&self.rest, &mut words);
        count_sentences(&self.rest, &words)
    }
}

/// The length in bytes of the citation at the start of `text`, which starts with `[`. `None` if
/// `text` does not start with a citation.
fn citation_len(text: &str) -> Option<usize> {
    let inner = &text[1..];
    let digits = inner.len() - inner.trim_start_matches(is_decimal).len();

    let candidates = [digits, "edit".len(), "citation needed".len()];
    let len = candidates.into_iter().find(|&len| {
        // `get` is `None` beyond the end of the text, and inside of a character.
        inner.get(..len).is_some_and(|head| {
            inner[len..].starts_with(']')
                && (len == digits || head == "edit" || head == "citation needed")
        })
    })?;

    // Both brackets belong to the citation.
    Some(len + 2)
}

/// The pieces of `line` between `spans`, which are in order. Pieces may be empty.
fn pieces<'a>(
    line: &'a str,
    spans: &'a [(usize, usize)],
) -> impl DoubleEndedIterator<Item = &'a str> {
    let start = |i: usize| if i == 0 { 0 } else { spans[i - 1].1 };
    let end = |i: usize| spans.get(i).map_or(line.len(), |span| span.0);
    (0..=spans.len()).map(move |i| &line[start(i)..end(i)])
}

/// The words of a text from the line on that was requested last.
struct LineWords<'a, 'w> {
    text: &'a str,
    words: &'w [&'a str],
}

impl<'a, 'w> LineWords<'a, 'w> {
    /// The words of a line. Lines must be requested in order.
    fn of(&mut self, line: &str) -> &'w [&'a str] {
        let text = self.text;
        let start = offset(text, line);

        // Words of dropped lines lie before the line.
        let before = self
            .words
            .iter()
            .take_while(|word| offset(text, word) < start)
            .count();
        let within = self.words[before..]
            .iter()
            .take_while(|word| offset(text, word) < start + line.len())
            .count();

        let (of_line, rest) = self.words[before..].split_at(within);
        self.words = rest;
        of_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::apply;

    fn run(text: &str, settings: LineSettings) -> (C4, String, Vec<Edit>) {
        let (mut words, mut edits) = (Vec::new(), Vec::new());
        spacy::words(text, &mut words);
        let values = c4(text, &words, &settings, Some(&mut edits));
        assert_eq!(c4(text, &words, &settings, None), values);
        let rewritten = apply(text, &edits)
            .expect("edits fit their text")
            .into_owned();
        (values, rewritten, edits)
    }

    fn default(text: &str) -> (C4, String) {
        let (values, rewritten, _) = run(text, LineSettings::default());
        (values, rewritten)
    }

    /// Runs C4 with FineWeb's settings.
    fn no_punct(text: &str) -> (C4, String) {
        let (values, rewritten, _) = run(
            text,
            LineSettings {
                terminal_punct: false,
                ..LineSettings::default()
            },
        );
        (values, rewritten)
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(default(""), (C4::default(), String::new()));
        let (blank, rewritten) = default(" \t\n\u{3000}\r\n");
        assert_eq!(
            blank,
            C4 {
                n_lines: 2,
                n_no_terminal_punct: 2,
                ..C4::default()
            }
        );
        assert_eq!(rewritten, "");
        let (blank, _) = no_punct("\n \n");
        assert_eq!(
            blank,
            C4 {
                n_lines: 2,
                n_too_few_words: 2,
                ..C4::default()
            }
        );
        assert_eq!(
            default("word").0,
            C4 {
                n_lines: 1,
                n_no_terminal_punct: 1,
                ..C4::default()
            }
        );
        assert_eq!(
            default("word.").0,
            C4 {
                n_lines: 1,
                n_too_few_words: 1,
                ..C4::default()
            }
        );
    }

    #[test]
    fn lines_end_in_a_terminal_mark() {
        for (line, is_kept) in [
            ("a b c.", true),
            ("a b c?", true),
            ("a b c!", true),
            ("a b c\"", true),
            ("a b c'", true),
            ("a b c. \t\u{a0}", true),
            ("a b c", false),
            ("a b c,", false),
            ("a b c…", false),
            ("a b c..", true),
            ("a b c...", false),
            ("a b c....", false),
            ("a b c”", false),
            ("a b c。", false),
            ("a b 😀.", true),
            ("שלום לכל העולם.", true),
            // The space before a citation stays, so the mark is not at the end.
            ("a b c.[1]", true),
            ("a b c. [1]", false),
        ] {
            assert_eq!(default(line).0.n_lines_kept == 1, is_kept, "{line}");
        }
    }

    #[test]
    fn lines_have_words_that_are_not_too_long() {
        assert_eq!(default("a b.").0.n_too_few_words, 1);
        assert_eq!(default("a b c.").0.n_lines_kept, 1);
        assert_eq!(default("a\u{a0}b\u{3000}c.").0.n_lines_kept, 1);
        assert_eq!(default("a\u{200b}b c.").0.n_too_few_words, 1);
        // A citation is a word here, though it goes.
        assert_eq!(default("a b [1].").0.n_lines_kept, 1);
        let line = |len: usize| format!("a b {}.", "é".repeat(len - 1));
        assert_eq!(default(&line(1000)).0.n_lines_kept, 1);
        assert_eq!(default(&line(1001)).0.n_too_long_word, 1);
        let all = LineSettings {
            terminal_punct: false,
            min_words: 0,
            max_word_len_chars: u32::MAX,
            ..Default::default()
        };
        let (values, rewritten, _) = run(&format!("{}\n\n \nb\n", "a".repeat(2000)), all);
        assert_eq!(
            (values.n_lines_kept, rewritten),
            (4, "a".repeat(2000) + "\n\n\nb")
        );
    }

    #[test]
    fn citations_go() {
        for (line, rewritten) in [
            ("A b[1] c[] d[edit] e[citation needed].", "A b c d e."),
            ("A b[٣] c[𝟙] d.", "A b c d."),
            (
                "A [²] b [ 1 ] c [1a] d [Edit].",
                "A [²] b [ 1 ] c [1a] d [Edit].",
            ),
            ("A b [[1]] c [1 [2] d [edit.", "A b [] c [1  d [edit."),
            ("[1] A b c.", "A b c."),
            ("[é] A [edité b c.", "[é] A [edité b c."),
        ] {
            assert_eq!(default(line).1, rewritten);
        }
        let keep = LineSettings {
            citations: false,
            ..LineSettings::default()
        };
        assert_eq!(run("A b c[1].", keep).1, "A b c[1].");
        // Without its citations the line has other words, and another sentence.
        assert_eq!(default("One two.[1] Three four.").0.n_sentences, 2);
    }

    #[test]
    fn phrases_count_in_any_case() {
        for line in [
            "Use JavaScript now.",
            "javascript a b.",
            "a b xJAVASCRIPTx.",
        ] {
            assert_eq!(default(line).0.n_javascript, 1, "{line}");
        }
        assert_eq!(default("java script a b.").0.n_javascript, 0);
        for policy in POLICIES {
            for line in [
                format!("a b {policy}."),
                format!("A B {}.", policy.to_uppercase()),
            ] {
                assert_eq!(default(&line).0.n_policy, 1, "{line}");
            }
        }
        // The lower case of the Kelvin sign is k; that of İ is two characters.
        assert_eq!(default("a b coo\u{212a}ie policy.").0.n_policy, 1);
        assert_eq!(default("a b USES COO\u{212a}IES.").0.n_policy, 1);
        assert_eq!(default("a b cook\u{130}e policy.").0.n_policy, 0);
        assert_eq!(default("a b prıvacy policy, use a cookie.").0.n_policy, 0);
        assert!(default("a b c Lorem Ipsum.").0.lorem_ipsum);
        assert!(default("a b lorem[2] ipsum c.").0.lorem_ipsum);
        assert_eq!(default("It has java[edit]script in it.").0.n_javascript, 1);
        assert_eq!(default("We use[1] cookies here.").0.n_policy, 1);
        assert!(!default("a b c lorem\u{a0}ipsum.").0.lorem_ipsum);
        assert!(!default("a b c lorem \u{130}psum.").0.lorem_ipsum);
    }

    #[test]
    fn documents_go_for_lines_that_are_left() {
        let flags = |text: &str| {
            let values = default(text).0;
            (values.lorem_ipsum, values.curly_bracket)
        };
        assert_eq!(flags("a b {c}."), (false, true));
        assert_eq!(flags("a b {c}"), (false, false));
        assert_eq!(flags("{ b."), (false, false));
        // javascript is looked for before {, a policy after it, lorem ipsum before both.
        assert_eq!(flags("javascript {c} d."), (false, false));
        assert_eq!(flags("cookie policy {c}."), (false, true));
        assert_eq!(flags("javascript lorem ipsum."), (true, false));
        // All lines are looked at, and counted.
        let (values, rewritten) = default("a lorem ipsum.\nb {c} d.\ne f g.");
        assert_eq!(
            (values.lorem_ipsum, values.curly_bracket, values.n_sentences),
            (true, true, 3)
        );
        assert_eq!(rewritten, "a lorem ipsum.\nb {c} d.\ne f g.");
    }

    #[test]
    fn lines_are_joined_by_line_feeds() {
        let text = "\u{a0} First line here. \r\nno\r\n\nSecond line here.\u{2028}Third line [1]here.\r\tFourth line here.\n\n";
        let (values, rewritten, edits) = run(text, LineSettings::default());
        assert_eq!(
            rewritten,
            "First line here.\nSecond line here.\nThird line here.\nFourth line here."
        );
        assert_eq!(
            (
                values.n_lines,
                values.n_lines_kept,
                values.n_sentences,
                values.n_citations
            ),
            (7, 4, 4, 1)
        );
        let cut = |edit: &Edit| {
            (
                &text[edit.start as usize..edit.end as usize],
                edit.replacement.to_string(),
                edit.reason,
            )
        };
        let none = String::new;
        assert_eq!(
            edits.iter().map(cut).collect::<Vec<_>>(),
            [
                ("\u{a0} ", none(), "c4.white_space"),
                (" \r", none(), "c4.white_space"),
                ("no\r\n", none(), "c4.no_terminal_punct"),
                ("\n", none(), "c4.white_space"),
                ("\u{2028}", "\n".into(), "c4.white_space"),
                ("[1]", none(), "c4.citation"),
                ("\r", "\n".into(), "c4.white_space"),
                ("\t", none(), "c4.white_space"),
                ("\n\n", none(), "c4.white_space"),
            ]
        );
        assert!(
            run("One line here.\nTwo lines here.", LineSettings::default())
                .2
                .is_empty()
        );
    }

    #[test]
    fn white_space_that_citations_leave_is_stripped_at_both_ends_only() {
        let (values, rewritten) =
            no_punct("[1] [2] [3]\n[4] a b c\nd [5] [6]\ne f g [7]\n[8] [] [9]\nx");
        assert_eq!(
            (values.n_lines_kept, rewritten.as_str()),
            (5, "a b c\nd  \ne f g")
        );
        assert_eq!(no_punct("[1] [2] [3]").1, "");
    }

    #[test]
    fn edits_are_appended() {
        let mut edits = vec![Edit {
            start: 0,
            end: 0,
            replacement: "".into(),
            reason: "c4.white_space",
        }];
        c4(" a b c.", &[], &LineSettings::default(), Some(&mut edits));
        assert_eq!(
            edits
                .iter()
                .map(|edit| (edit.start, edit.end))
                .collect::<Vec<_>>(),
            [(0, 0), (0, 1)]
        );
    }

    #[test]
    fn the_third_longest_line_is_a_paragraph() {
        let third = |text: &str| default(text).0.third_longest_line_chars;
        assert_eq!(third(&["a".repeat(500), "b".repeat(300)].join("\n")), 0);
        let lines = ["a", "b", "", "c"].map(|c| c.repeat(200));
        assert_eq!(third(&lines.join("\n")), 200);
        assert_eq!(third(&lines.join("\r")), 0);
        assert_eq!(
            third(
                &[
                    "é".repeat(199),
                    "b".repeat(199),
                    "c".repeat(900),
                    "d".repeat(198)
                ]
                .join("\n")
            ),
            199
        );
        assert_eq!(third("a\nbb\nccc\nbb\n"), 2);
    }

    #[test]
    fn one_line_of_a_megabyte() {
        let line = "x".repeat(1 << 20);
        assert_eq!(
            default(&line).0,
            C4 {
                n_lines: 1,
                n_too_long_word: 1,
                ..C4::default()
            }
        );
        let values = default(&("[1] ".repeat(1 << 18) + "end.")).0;
        assert_eq!((values.n_lines_kept, values.n_citations), (1, 1 << 18));
    }
}
