//! The words that deduplication compares: `\w+` of the lower-cased text, and single letters in
//! scripts that put no spaces between words.
//!
//! `\w` and lower case are Python's. In Chinese, Japanese, Thai, Lao, Khmer, Burmese and their
//! relatives, `\w+` finds whole clauses. One changed letter then changes a clause, and a text without
//! punctuation is one word. So each letter of these scripts is a word of its own, wherever it is in
//! the text. A shingle of five words is then a 5-gram of letters. Words of a dictionary were the
//! other choice. They cost three times as much, a new version of the dictionary would change all
//! signatures, and an edit can move the bounds of the words beside it.
//!
//! Combining marks stay with their letter: vowel signs and tone marks of Thai, the coeng of Khmer,
//! the medials of Burmese, the voiced sound marks of kana. Five code points would tell too little:
//! of unlike Burmese texts of 4,000 characters, made of 60 common words, the mean Jaccard similarity
//! of 5-grams is .26 with code points and .03 with marks joined. A subscript consonant of Khmer
//! follows the coeng and is a word of its own. In all other scripts a mark ends the word before it,
//! as in Python. That harms less there, because spaces end words too. Spaces of zero width, which
//! some Khmer and Burmese texts have between words, change nothing.
//!
//! Korean has spaces. Tibetan has a mark after each syllable. Both are left to `\w+`.
//!
//! Cost: text without such letters costs what `\w+` costs. Other text is read letter by letter.
//! Shingles are made at 89 to 111 MB per CPU second in Chinese, Japanese, Thai, Khmer and Burmese,
//! beside 175 in English (one thread, on a busy machine).

use super::dictionary::may_have_dictionary;
use crate::python::{self, Bitmap, bitmap, is_member};

/// The name of this segmentation in stage keys.
pub const WORDS: &str = "python-3.11-words-and-letters-1";

/// Calls `visit` with each word of the lower-cased `text`, in order.
///
/// ```
/// use curate_scorers::words::compared::for_each_word;
///
/// let mut words = Vec::new();
/// for_each_word("He said 「好きです」, TWICE.", |word| words.push(word.to_owned()));
/// assert_eq!(words, ["he", "said", "好", "き", "で", "す", "twice"]);
/// ```
pub fn for_each_word(text: &str, mut visit: impl FnMut(&str)) {
    let text = python::lower(text);
    // First a look at bytes, which settles nearly all text and is fast. It passes over no character
    // of these scripts: tested.
    if !may_have_dictionary(&text) || !text.chars().any(is_unspaced) {
        python::word_runs(&text).for_each(visit);
        return;
    }

    // The word that is being read: its start, and the kind of its first character.
    let mut open: Option<(usize, Kind)> = None;
    for (at, c) in text.char_indices() {
        let kind = Kind::of(c);
        let goes_on = match (open, kind) {
            (Some((_, Kind::Wordy)), Kind::Wordy) => true,
            // A mark without a letter before it opens a word, which further marks then join.
            (Some((_, Kind::Letter | Kind::Mark)), Kind::Mark) => true,
            _ => false,
        };
        if goes_on {
            continue;
        }

        if let Some((start, _)) = open {
            visit(&text[start..at]);
        }
        open = (kind != Kind::Other).then_some((at, kind));
    }

    if let Some((start, _)) = open {
        visit(&text[start..]);
    }
}

/// What a character does to the word before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A letter of a script without spaces. It starts a word.
    Letter,
    /// A mark of a script without spaces. It joins the letter before it.
    Mark,
    /// Any other `\w`. It joins others of its kind.
    Wordy,
    /// A character that is part of no word.
    Other,
}

impl Kind {
    fn of(c: char) -> Kind {
        match c {
            c if is_letter(c) => Kind::Letter,
            c if is_mark(c) => Kind::Mark,
            c if python::is_word_char(c) => Kind::Wordy,
            _ => Kind::Other,
        }
    }
}

/// True for letters and marks of scripts without spaces.
fn is_unspaced(c: char) -> bool {
    is_letter(c) || is_mark(c)
}

fn is_letter(c: char) -> bool {
    is_member(&LETTERS_BELOW_10000, LETTERS, c)
}

fn is_mark(c: char) -> bool {
    is_member(&MARKS_BELOW_10000, MARKS, c)
}

static LETTERS_BELOW_10000: Bitmap = bitmap(LETTERS);
static MARKS_BELOW_10000: Bitmap = bitmap(MARKS);

/// The letters of scripts without spaces: general categories Lo, Lm and Nl of Unicode 14, with
/// unassigned code points between them and those reserved for Han. Digits are not letters. Sorted,
/// both ends inclusive.
#[rustfmt::skip]
const LETTERS: &[(u32, u32)] = &[
    // Thai and Lao.
    (0xe01, 0xe30), (0xe32, 0xe33), (0xe40, 0xe46), (0xe81, 0xeb0), (0xeb2, 0xeb3), (0xebd, 0xec6), (0xedc, 0xedf),
    // Myanmar.
    (0x1000, 0x102a), (0x103f, 0x103f), (0x1050, 0x1055), (0x105a, 0x105d), (0x1061, 0x1061), (0x1065, 0x1066),
    (0x106e, 0x1070), (0x1075, 0x1081), (0x108e, 0x108e),
    // Khmer, Tai Le, New Tai Lue, Tai Tham and Balinese.
    (0x1780, 0x17b3), (0x17d7, 0x17d7), (0x17dc, 0x17dc), (0x1950, 0x1974), (0x1980, 0x19c9), (0x1a20, 0x1a54),
    (0x1aa7, 0x1aa7), (0x1b05, 0x1b33), (0x1b45, 0x1b4c),
    // Han, Hiragana, Katakana, Bopomofo and Yi.
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303c), (0x3041, 0x3096), (0x309d, 0x309f),
    (0x30a1, 0x30fa), (0x30fc, 0x30ff), (0x3105, 0x312f), (0x31a0, 0x31bf), (0x31f0, 0x31ff), (0x3400, 0x4dbf),
    (0x4e00, 0x9fff), (0xa000, 0xa48c),
    // Javanese, further letters of Myanmar, and Tai Viet.
    (0xa984, 0xa9b2), (0xa9cf, 0xa9cf), (0xa9e0, 0xa9e4), (0xa9e6, 0xa9ef), (0xa9fa, 0xa9fe), (0xaa60, 0xaa76),
    (0xaa7a, 0xaa7a), (0xaa7e, 0xaaaf), (0xaab1, 0xaab1), (0xaab5, 0xaab6), (0xaab9, 0xaabd), (0xaac0, 0xaac0),
    (0xaac2, 0xaadd),
    // Compatibility forms of Han and Katakana.
    (0xf900, 0xfad9), (0xff66, 0xff9f),
    // Ahom, Tangut, Khitan, further kana, Nushu, and the further planes of Han.
    (0x11700, 0x1171a), (0x11740, 0x11746), (0x16fe0, 0x16fe1), (0x16fe3, 0x16fe3), (0x17000, 0x18d08),
    (0x1aff0, 0x1affe), (0x1b000, 0x1b167), (0x1b170, 0x1b2fb), (0x20000, 0x3347f),
];

/// The marks of the same scripts: general categories Mn and Mc of Unicode 14.
#[rustfmt::skip]
const MARKS: &[(u32, u32)] = &[
    (0xe31, 0xe31), (0xe34, 0xe3a), (0xe47, 0xe4e), (0xeb1, 0xeb1), (0xeb4, 0xebc), (0xec8, 0xecd), (0x102b, 0x103e),
    (0x1056, 0x1059), (0x105e, 0x1060), (0x1062, 0x1064), (0x1067, 0x106d), (0x1071, 0x1074), (0x1082, 0x108d),
    (0x108f, 0x108f), (0x109a, 0x109d), (0x17b4, 0x17d3), (0x17dd, 0x17dd), (0x1a55, 0x1a7f), (0x1b00, 0x1b04),
    (0x1b34, 0x1b44), (0x1b6b, 0x1b73), (0x302a, 0x302f), (0x3099, 0x309a), (0xa980, 0xa983), (0xa9b3, 0xa9c0),
    (0xa9e5, 0xa9e5), (0xaa7b, 0xaa7d), (0xaab0, 0xaab0), (0xaab2, 0xaab4), (0xaab7, 0xaab8), (0xaabe, 0xaabf),
    (0xaac1, 0xaac1), (0x1171d, 0x1172b), (0x16fe4, 0x16ff1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::line_chars::is_decimal;

    fn split(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        for_each_word(text, |word| out.push(word.to_owned()));
        out
    }

    /// Asserts that a text is split at the bars in `words`, and that white space is left out.
    fn assert_words(words: &str) {
        let expected: Vec<&str> = words.split('|').flat_map(str::split_whitespace).collect();
        assert_eq!(split(&words.replace('|', "")), expected, "{words}");
    }

    #[test]
    fn letters_are_words_and_marks_stay_with_them() {
        assert_words("我|们|编|写|程|序| |很|々|〇");
        assert_words("コ|ン|ピ|ュ|ー|タ|ー| |ｶ|ﾅ| |が|か\u{3099}");
        assert_words("ที่|นี่|มี|น้|ำ");
        assert_words("ພ|າ|ສ|າ|ລ|າ|ວ| |ນ້|ຳ");
        assert_words("ភា|សា|ខ្|មែ|រ");
        assert_words("မြ|န်|မာ|စာ");
        assert_words("ꦗ|ꦮ| |ᬩ|ᬮᬶ| |ꆈ|ꌠ| |ᦑ|ᦺ|ᦟ");
    }

    #[test]
    fn each_stretch_of_a_text_is_split_in_its_own_way() {
        assert_words("第|3|章| |rust|语|言|1| |ไ|ท|ย|๒๕๖๗| |abc|中|文| |한국어| |слово");
        assert_eq!(
            split("He wrote:「你好，世界！」 Then he LEFT."),
            ["he", "wrote", "你", "好", "世", "界", "then", "he", "left"]
        );
        // A mark of another script ends a word, also beside these letters.
        assert_eq!(split("中\u{301}文 cafe\u{301}s"), ["中", "文", "cafe", "s"]);
        // Marks without a letter are one word.
        assert_eq!(split("中 \u{e31}\u{e48} ก"), ["中", "\u{e31}\u{e48}", "ก"]);
    }

    #[test]
    fn spaces_between_these_letters_change_nothing() {
        let plain = split("ភាសាខ្មែរជាភាសាផ្លូវការ");
        assert_eq!(split("ភាសា\u{200b}ខ្មែរ ជា\u{2060}ភាសា\u{3000}ផ្លូវការ។"), plain);
    }

    #[test]
    fn text_of_other_scripts_has_the_words_of_python() {
        for text in [
            "",
            " \t\r\n\u{3000}",
            "Don't panic: 3.14 (π)… “quoted” 😀 x_1",
            "שלום, עולם مرحبا بالعالم",
            "नमस्ते दुनिया, हिन्दी",
            "한국어 문장입니다.",
            "བོད་སྐད་ཡིག",
            "ＡＢＣ１２３ full width",
        ] {
            let lower = python::lower(text);
            let expected: Vec<&str> = python::word_runs(&lower).collect();
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn letters_and_marks_are_noticed_and_apart() {
        for c in '\0'..=char::MAX {
            assert!(!(is_letter(c) && is_mark(c)), "{c:?}");
            if is_letter(c) || is_mark(c) {
                assert!(
                    is_unspaced(c) && may_have_dictionary(&c.to_string()),
                    "{c:?}"
                );
                assert_eq!(python::lower(&c.to_string()), c.to_string());
            }
            assert!(!is_letter(c) || !is_decimal(c), "{c:?}");
            assert!(!is_mark(c) || !python::is_word_char(c), "{c:?}");
        }
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(split(&"中".repeat(1 << 19)).len(), 1 << 19);
        assert_eq!(split(&"\u{e31}".repeat(1 << 19)).len(), 1);
        assert_eq!(split(&format!("{}中", "x".repeat(1 << 20))).len(), 2);
    }
}
