//! Words of languages that are written without spaces: UAX-29 pieces, joined where a dictionary
//! lists them as one word.
//!
//! UAX-29 takes each Chinese character and each Thai syllable for a word. Where such pieces follow
//! each other, the dictionaries of ICU say which of them belong together, by the longest match from
//! the left. They come with the crate `icu_segmenter`: one for Chinese and Japanese, and one each
//! for Thai, Lao, Khmer and Burmese.
//!
//! Nothing else changes. Every bound is also a bound of [`uax29`], so marks stay with the character
//! that they mark, and text in other scripts has the words of [`uax29`]. A stretch of Katakana is
//! one word, as in UAX-29, and Korean has spaces.
//!
//! Cost: the cost of [`uax29`] where there is nothing to join, 30 MB/s in Chinese and Japanese, and
//! 44 MB/s in Thai. One stretch of 10 MB takes as long as many short stretches.

use std::sync::LazyLock;

use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};

use super::uax29;

/// The name of this segmentation in stage keys. It includes the version of the dictionaries.
pub const WORDS: &str = "uax29-icu_segmenter_data-2.4.0";

static SEGMENTER: LazyLock<WordSegmenterBorrowed<'static>> =
    LazyLock::new(|| WordSegmenter::new_dictionary(WordBreakInvariantOptions::default()));

/// Replaces `out` by the words of `text`, in order. White space is left out.
///
/// ```
/// let mut words = Vec::new();
/// curate_scorers::words::dictionary::words("我们用Python编写程序，很简单。", &mut words);
/// assert_eq!(words, ["我们", "用", "Python", "编写", "程序", "，", "很简单", "。"]);
/// ```
pub fn words<'a>(text: &'a str, out: &mut Vec<&'a str>) {
    uax29::words(text, out);
    if !may_have_dictionary(text) {
        return;
    }

    // Words are joined in place. Each piece ends at most one word, so `write` never passes `read`.
    let (mut read, mut write) = (0, 0);
    while read < out.len() {
        let pieces = adjacent(&out[read..]);
        if pieces < 2 {
            out[write] = out[read];
            (read, write) = (read + 1, write + 1);
            continue;
        }

        // The pieces of a stretch touch, so the stretch is one slice of the text.
        let start = address(out[read]) - address(text);
        let last = out[read + pieces - 1];
        let stretch = &text[start..address(last) + last.len() - address(text)];

        // A word ends where a dictionary break and the end of a piece coincide. A break inside a
        // piece is passed over. The last break is the end of the stretch, so no piece is lost.
        let (mut from, mut end) = (0, 0);
        let mut breaks = SEGMENTER.segment_str(stretch).peekable();
        for piece in read..read + pieces {
            end += out[piece].len();
            while breaks.next_if(|&at| at < end).is_some() {}
            if breaks.peek() == Some(&end) {
                out[write] = &stretch[from..end];
                (from, write) = (end, write + 1);
            }
        }
        read += pieces;
    }
    out.truncate(write);
}

/// The number of leading pieces that follow each other without white space and may be joined.
fn adjacent(pieces: &[&str]) -> usize {
    if !is_joinable(pieces[0]) {
        return 0;
    }
    1 + pieces
        .windows(2)
        .take_while(|pair| {
            address(pair[0]) + pair[0].len() == address(pair[1]) && is_joinable(pair[1])
        })
        .count()
}

fn address(text: &str) -> usize {
    text.as_ptr().addr()
}

/// True if some character may belong to a script with a dictionary. Judged by the first byte of
/// characters, which these scripts share with few others.
pub(super) fn may_have_dictionary(text: &str) -> bool {
    // A chunk has no early exit, so that its loop is vectorised. 0xe2 starts U+2000 to U+2FFF:
    // punctuation and symbols, and no character with a dictionary.
    text.as_bytes().chunks(256).any(|chunk| {
        chunk
            .iter()
            .fold(false, |any, &byte| any | (byte >= 0xe0) & (byte != 0xe2))
    })
}

/// True if a piece starts with a character of a script with a dictionary.
fn is_joinable(piece: &str) -> bool {
    // The first byte decides most cases cheaply. A piece is never empty.
    piece.as_bytes()[0] >= 0xe0 && piece.chars().next().is_some_and(has_dictionary)
}

/// True for characters of Han, Hiragana, Thai, Lao, Khmer and Myanmar. The ranges are those of
/// `icu_segmenter`, without the radicals.
#[rustfmt::skip]
fn has_dictionary(c: char) -> bool {
    matches!(
        c as u32,
        0xe01..=0xe3a | 0xe40..=0xe4e | 0xe81..=0xebd | 0xec0..=0xec6 | 0xec8..=0xece | 0xedc..=0xedf
            | 0x1000..=0x103f | 0x1050..=0x108f | 0x109a..=0x109f | 0xa9e0..=0xa9ef | 0xa9fa..=0xa9fe | 0xaa60..=0xaa7f
            | 0x1780..=0x17d3 | 0x17d7 | 0x17dc..=0x17dd
            | 0x3005 | 0x3007 | 0x3021..=0x3029 | 0x3038..=0x303b | 0x3041..=0x3096 | 0x309d..=0x309f
            | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfad9 | 0x1b001..=0x1b11f | 0x20000..=0x3347f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        let mut out = vec!["stale"];
        words(text, &mut out);
        out
    }

    fn plain(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        uax29::words(text, &mut out);
        out
    }

    /// Asserts that a text is split at the bars in `words` and at white space, and nowhere else.
    fn assert_words(words: &str) {
        let expected: Vec<&str> = words.split('|').flat_map(str::split_whitespace).collect();
        assert_eq!(split(&words.replace('|', "")), expected);
    }

    #[test]
    fn sentences_have_words() {
        assert_words(
            "这|是|一个|普通|的|句子|，|用|中文|写成|。|中华|人民|共和国|成立|于|1949|年|。",
        );
        assert_words(
            "私|は|東京|大学|の|学生|です|。|コンピューター|の|プログラム|を|書き|ます|。",
        );
        assert_words("ทุก|สอง|สัปดาห์|ฉัน|ไป|โรงเรียน| |ใน|ปี| |๒๕๖๗|!");
        assert_words("ភាសាខ្មែរ|ជា|ភាសាផ្លូវការ|។");
        assert_words("မြန်မာ|စာ|ကို|လေ့လာ|သည်|။");
        assert_words("ພາສາ|ລາວ|ເປັນ|ພາສາ");
        assert_words("안녕하세요| |세계");
    }

    #[test]
    fn scripts_may_be_mixed() {
        assert_words("第|3|章|:| |Rust|语言|(|1.0|版|)|,| |ไทย|中文|です|カタカナ|abc");
        // No word reaches over white space or a line's end.
        assert_words("中| |文|\n|中文");
    }

    #[test]
    fn text_of_other_scripts_is_as_in_uax29() {
        for text in [
            "",
            " \t\r\n\u{3000}",
            "Don't panic: 3.14 (π)…",
            "שלום, עולם 👩‍👩‍👧 مرحبا",
            "नमस्ते दुनिया",
            "ー・。",
        ] {
            assert_eq!(split(text), plain(text));
        }
    }

    #[test]
    fn marks_stay_with_what_they_mark() {
        assert_eq!(
            split("中\u{301}文\u{fe0f}中文\u{301}"),
            ["中\u{301}", "文\u{fe0f}", "中文\u{301}"]
        );
        assert_eq!(
            split("\u{301}か\u{3099}く"),
            ["\u{301}", "か\u{3099}", "く"]
        );
    }

    #[test]
    fn every_bound_is_one_of_uax29() {
        let alphabet: Vec<char> =
            "a9_.' \n中文人民共和国学日カタ々〇のです。，กทยสอง\u{e31}\u{e48}ខ្មែរမြန်မာພາສາ한é\u{301}\u{3099}\u{200d}\u{fe0f}\u{3000}😀𠀀ー"
                .chars()
                .collect();

        let mut state = 1u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };

        for _ in 0..60_000 {
            let text: String = (0..next(24))
                .map(|_| alphabet[next(alphabet.len())])
                .collect();
            let ends = |words: Vec<&str>| {
                words
                    .iter()
                    .map(|w| address(w) + w.len())
                    .collect::<Vec<_>>()
            };

            let (joined, pieces) = (split(&text), plain(&text));
            assert_eq!(joined.concat(), pieces.concat(), "{text:?}");

            let pieces = ends(pieces);
            assert!(
                ends(joined)
                    .iter()
                    .all(|end| pieces.binary_search(end).is_ok()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(split(&"中华人民共和国".repeat(50_000)).len(), 150_000);
        assert_eq!(split(&"我".repeat(1 << 19)).len(), 1 << 19);
        assert_eq!(split(&"x".repeat(1 << 20)).len(), 1);
    }

    #[test]
    fn characters_with_a_dictionary_are_noticed() {
        for c in ('\0'..=char::MAX).filter(|&c| has_dictionary(c)) {
            assert!(
                may_have_dictionary(&c.to_string()) && is_joinable(&c.to_string()),
                "{c}"
            );
        }
    }

    #[test]
    fn the_name_has_the_version_of_the_dictionaries() {
        let lock = include_str!("../../../Cargo.lock");
        let version = lock
            .split("name = \"icu_segmenter_data\"\nversion = \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());

        assert_eq!(version, WORDS.strip_prefix("uax29-icu_segmenter_data-"));
    }
}
