//! English words as given by spaCy 3.8's rule tokenizer, `spacy.blank("en")`. datatrove 0.10 splits
//! texts by the same tokenizer.
//!
//! Tokens of white space are left out, as in datatrove. The method is the one of spaCy's
//! `tokenizer.pyx`. Patterns and special cases come from its `lang/en`, `lang/punctuation.py` and
//! `lang/tokenizer_exceptions.py`.
//!
//! | where | what |
//! |---|---|
//! | `scan` | cuts at white space; takes prefixes and suffixes off a stretch; byte loops for plain words |
//! | `specials` | special cases, looked up whole, and found again among the finished tokens |
//! | `affixes` | prefixes, suffixes and infixes |
//! | `url` | hosts, addresses and URLs, which are not split |
//! | `classes`, `tables` | character classes and special cases, generated from the package |
//!
//! The words and the sentences of [`crate::rules::sentences`] equal those of datatrove 0.10.1 with
//! spaCy 3.8.18 on 5,000 technical documents, on 4,446 documents in 45 languages and on 900,000
//! strings put together at random from pieces of the patterns. Departs in one point: from the
//! second time on that a process meets the word `IS_ALPHA`, spaCy fails, and datatrove tries again
//! with the word taken out of the text. Here `IS_ALPHA` is a word like any other.
//!
//! Cost: one pass, linear for any input because nothing backtracks. 215 MB/s on English technical
//! prose.

mod affixes;
mod classes;
mod scan;
mod specials;
mod tables;
mod url;

pub(crate) use classes::{PUNCT, SENTENCE_END, is};

/// The name of this segmentation in stage keys.
pub const WORDS: &str = "spacy-en-3.8";

/// Replaces `out` by the words of `text`, in order. A word is a spaCy token with at least one
/// character that is not white space.
///
/// ```
/// let mut words = Vec::new();
/// curate_scorers::words::spacy::words("I can't pay Mr. Li $5m (e.g. now) :)", &mut words);
/// assert_eq!(words.join(" "), "I ca n't pay Mr. Li $ 5 m ( e.g. now ) :)");
/// ```
pub fn words<'a>(text: &'a str, out: &mut Vec<&'a str>) {
    out.clear();
    let marked = scan::tokens(text, out);
    if !marked.is_empty() {
        specials::respan(text, &marked, out);
    }
}

/// The white space between two neighbouring words, as spaCy sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// No white space: the words touch.
    None,
    /// One space, which spaCy attaches to the word before it.
    Space,
    /// Other white space, which spaCy makes a token of its own.
    Token,
}

/// The white space between two neighbouring words. Both must be subslices of `text`.
#[inline]
pub(crate) fn gap(text: &str, before: &str, after: &str) -> Gap {
    let end = offset(text, before) + before.len();
    match offset(text, after) - end {
        0 => Gap::None,
        1 if text.as_bytes()[end] == b' ' => Gap::Space,
        _ => Gap::Token,
    }
}

/// The byte of `text` at which `word`, a subslice of `text`, starts.
#[inline]
pub(crate) fn offset(text: &str, word: &str) -> usize {
    word.as_ptr().addr() - text.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sentences::count_sentences;

    fn split(text: &str) -> Vec<&str> {
        let mut out = vec!["stale"];
        words(text, &mut out);
        out
    }

    /// Asserts that the words of `text`, joined by spaces, are `expected`.
    fn check(text: &str, expected: &str) {
        assert_eq!(split(text).join(" "), expected, "{text:?}");
    }

    #[test]
    fn words_as_in_spacy() {
        #[derive(serde::Deserialize)]
        struct Case {
            text: String,
            words: Vec<String>,
            sentences: u32,
        }

        let golden = include_str!("../../../../fixtures/golden/spacy_words.jsonl");
        let cases: Vec<Case> = golden
            .lines()
            .map(|line| serde_json::from_str(line).expect("golden case"))
            .collect();
        assert!(cases.len() > 300);

        for Case {
            text,
            words,
            sentences,
        } in &cases
        {
            let found = split(text);
            assert_eq!(&found, words, "{text:?}");
            assert_eq!(count_sentences(text, &found), *sentences, "{text:?}");
        }
    }

    #[test]
    fn white_space_is_no_word() {
        check("", "");
        check(" \t\r\n\u{1c}\u{85}\u{a0}\u{2028}\u{3000}", "");
        check("a\u{a0}b\u{2009}c\u{3000}d\u{1f}e", "a b c d e");
        check("a\u{200b}b", "a\u{200b}b");
    }

    #[test]
    fn prefixes_and_suffixes() {
        check(
            "(\"Yes!\") [no?]; +x +1 x+ 1+",
            "( \" Yes ! \" ) [ no ? ] ; + x +1 x+ 1 +",
        );
        check("US$5 A$5 AU$5 5US$ 5$ x$", "US$ 5 A$ 5 AU$5 5 US$ 5 $ x$");
        check(
            "5km 5km/h 5kmx xkm 5,5m² ٣km 5кг",
            "5 km 5 km/h 5kmx xkm 5,5 m² ٣km 5 кг",
        );
        check("dog's DOG'S dog’s dog's'", "dog 's DOG 'S dog ’s dog 's '");
        check("... a... …… ………a", "... a ... … … … … … a");
    }

    #[test]
    fn full_stops_end_small_letters_digits_and_two_capitals() {
        check(
            "end. A. AB. aB. 5. é. É. 語. ). °C.",
            "end . A. AB . aB. 5 . é . É. 語 . ) . ° C .",
        );
    }

    #[test]
    fn infixes() {
        check(
            "a-b a--b a---b a----b a—b a——b",
            "a - b a -- b a --- b a----b a — b a —— b",
        );
        check("1-a a-1 1-2 1--2 -a", "1 - a a-1 1 - 2 1 - -2 -a");
        check(
            "a,b 1,2 a:b a=1 a/b a.B a.b.c. A.b",
            "a , b 1,2 a : b a=1 a / b a. B a.b.c . A.b",
        );
        check(
            "x…y x..y 2+3 2*3 2^3 2/3 2+a 👍👍",
            "x … y x .. y 2 + 3 2 * 3 2 ^ 3 2/3 2+a 👍 👍",
        );
    }

    #[test]
    fn urls_are_whole() {
        check(
            "http://a.bc/d-e?f=g, (www.x-y.com).",
            "http://a.bc/d-e?f=g , ( www.x-y.com ) .",
        );
        check(
            "me@x.org:80/a-b a-b@c-d.ef mailto:a@b.co",
            "me@x.org:80/a-b a-b@c-d.ef mailto:a@b.co",
        );

        // A top-level domain has two small letters or more.
        check("a-b.com a-b.Com a-b.c", "a-b.com a - b. Com a - b.c");

        // The pattern excludes addresses of local networks.
        check(
            "8.8.8.8/a-b 10.8.8.8/a-b 192.168.8.8/a-b",
            "8.8.8.8/a-b 10.8.8.8 / a - b 192.168.8.8 / a - b",
        );

        // A label has 64 characters at most.
        let label = "x".repeat(64);
        assert_eq!(split(&format!("a@{label}.com/b-c")).len(), 1);
        assert_eq!(split(&format!("a@x{label}.com/b-c")).len(), 5);
    }

    #[test]
    fn special_cases() {
        check(
            "can't CAN'T Can’t cannot dont its im 9am 9a.m.",
            "ca n't CAN'T Ca n’t can not do nt its i m 9 am 9 a.m.",
        );
        check(
            "(can't) \"Mr.\" e.g., vs.) w/o and/or",
            "( ca n't ) \" Mr. \" e.g. , vs. ) w/o and/or",
        );
    }

    #[test]
    fn special_cases_among_finished_tokens() {
        check("foo(x): y:) x8) =8)", "foo(x ): y :) x8 ) = 8)");
        check("im. (im.)", "i m. ( i m. )");
        check("x°C.…b", "x ° C . … b");
        // Across a space nothing is joined, but the longer `: ) )` takes the tokens of `:)`.
        check("y: ) z", "y : ) z");
        check("x: )) y): z", "x : ) ) y ): z");
        check("y :-( ): z", "y :-( ): z");
    }

    #[test]
    fn any_input_takes_linear_time() {
        const MB: usize = 1 << 20;
        let count = |piece: &str, times: usize| split(&piece.repeat(times)).len();

        for one in ["x", "é", ".", ".x", "-", "http://", "a@", "x.com/"] {
            assert_eq!(count(one, 2 * MB), 1, "{one:?}");
        }
        for none in [" ", "\u{3000}", "\r\n"] {
            assert_eq!(count(none, 2 * MB), 0, "{none:?}");
        }
        for each in ["(", ")", "'s", "US$", "x. "] {
            assert_eq!(count(each, MB), MB, "{each:?}");
        }

        assert_eq!(count("'", MB), MB - 3);
        assert_eq!(count("a-", MB), 2 * MB - 1);
        assert_eq!(count("a.b@c.d:", MB), 2 * MB);
        assert_eq!(count("1km", MB), 2);
        assert_eq!(count("):", MB), 2 * MB - 3);
        assert_eq!(count("):(", MB), MB + 2);
        assert_eq!(count(": ( ", MB), 2 * MB);
        assert_eq!(count("👍🏽", MB), 2 * MB);
    }
}
