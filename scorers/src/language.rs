//! The language of a document, with `whatlang` 0.18 (trigrams and alphabets, 70 languages), from a bounded sample.
//!
//! Detection reads about 5 to 10 MB/s, slower than any other kernel here but token counts, so a long text is judged by three stretches of it: its
//! start, middle and end, 2 KiB together. The result depends on the text alone.
//! Cost: about 100 µs a document, whatever its length.

use std::sync::LazyLock;

use whatlang::Lang;

/// Texts up to this many bytes are read whole, and no more than this of longer ones.
pub const SAMPLE_BYTES: usize = 2048;

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Language {
    /// ISO 639-3, one of [`language_codes`]; none for a text without letters of a known script.
    pub code: Option<&'static str>,
    /// How far the first language is ahead of the second, in \[0, 1\]; not a probability. 0 without a language.
    pub confidence: f64,
}

/// The language of `text`. `scratch` is overwritten.
///
/// ```
/// use curate_scorers::language::detect;
///
/// let language = detect("Der schnelle braune Fuchs springt über den faulen Hund.", &mut String::new());
/// assert_eq!(language.code, Some("deu"));
/// ```
pub fn detect(text: &str, scratch: &mut String) -> Language {
    match whatlang::detect(sample(text, scratch)) {
        Some(info) => Language { code: Some(info.lang().code()), confidence: info.confidence() },
        None => Language { code: None, confidence: 0.0 },
    }
}

/// `text` itself, or a third of the sample from each of three places, a line each.
fn sample<'a>(text: &'a str, scratch: &'a mut String) -> &'a str {
    if text.len() <= SAMPLE_BYTES {
        return text;
    }
    const PIECE: usize = SAMPLE_BYTES / 3 - 1;
    scratch.clear();
    for start in [0, (text.len() - PIECE) / 2, text.len() - PIECE] {
        scratch.push_str(whole_words(text, start, start + PIECE));
        scratch.push('\n');
    }
    scratch
}

/// The part of `text[start..end]` between white space, if that is most of it, and between characters in any case.
fn whole_words(text: &str, start: usize, end: usize) -> &str {
    let (first, last) = (text.ceil_char_boundary(start), text.floor_char_boundary(end));
    let piece = &text[first..last];
    let near = |at: usize| at < piece.len() / 8;
    let from = if first == 0 { 0 } else { piece.find(char::is_whitespace).filter(|&at| near(at)).unwrap_or(0) };
    let to = if last == text.len() { piece.len() } else { piece.rfind(char::is_whitespace).unwrap_or(0) };
    let to = if near(piece.len() - to) { to } else { piece.len() };
    &piece[from..to]
}

/// All ISO 639-3 codes that [`detect`] may give, in alphabetical order.
pub fn language_codes() -> &'static [&'static str] {
    static CODES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut codes: Vec<_> = Lang::all().iter().map(Lang::code).collect();
        codes.sort_unstable();
        codes
    });
    &CODES
}

/// The ISO 639-3 code of a known language given by its 639-1, 639-3 or macrolanguage code, in lower case.
///
/// ```
/// use curate_scorers::language::iso639_3;
///
/// assert_eq!([iso639_3("zh"), iso639_3("zho"), iso639_3("cmn"), iso639_3("xx")], [Some("cmn"), Some("cmn"), Some("cmn"), None]);
/// ```
pub fn iso639_3(code: &str) -> Option<&'static str> {
    let code = ALIASES.iter().find(|(alias, _)| *alias == code).map_or(code, |(_, code)| code);
    language_codes().binary_search(&code).ok().map(|i| language_codes()[i])
}

/// ISO 639-1 codes, and the 639-3 macrolanguages that `whatlang` knows by one member only.
#[rustfmt::skip]
const ALIASES: &[(&str, &str)] = &[
    ("af", "afr"), ("ak", "aka"), ("am", "amh"), ("ar", "ara"), ("az", "aze"), ("be", "bel"), ("bg", "bul"), ("bn", "ben"),
    ("ca", "cat"), ("cs", "ces"), ("cy", "cym"), ("da", "dan"), ("de", "deu"), ("el", "ell"), ("en", "eng"), ("eo", "epo"),
    ("es", "spa"), ("et", "est"), ("fa", "pes"), ("fi", "fin"), ("fr", "fra"), ("gu", "guj"), ("he", "heb"), ("hi", "hin"),
    ("hr", "hrv"), ("hu", "hun"), ("hy", "hye"), ("id", "ind"), ("it", "ita"), ("ja", "jpn"), ("jv", "jav"), ("ka", "kat"),
    ("km", "khm"), ("kn", "kan"), ("ko", "kor"), ("la", "lat"), ("lt", "lit"), ("lv", "lav"), ("mk", "mkd"), ("ml", "mal"),
    ("mr", "mar"), ("my", "mya"), ("nb", "nob"), ("ne", "nep"), ("nl", "nld"), ("no", "nob"), ("or", "ori"), ("pa", "pan"),
    ("pl", "pol"), ("pt", "por"), ("ro", "ron"), ("ru", "rus"), ("si", "sin"), ("sk", "slk"), ("sl", "slv"), ("sn", "sna"),
    ("sr", "srp"), ("sv", "swe"), ("ta", "tam"), ("te", "tel"), ("th", "tha"), ("tk", "tuk"), ("tl", "tgl"), ("tr", "tur"),
    ("uk", "ukr"), ("ur", "urd"), ("uz", "uzb"), ("vi", "vie"), ("yi", "yid"), ("zh", "cmn"), ("zu", "zul"),
    ("fas", "pes"), ("nor", "nob"), ("zho", "cmn"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<&'static str> {
        detect(text, &mut String::new()).code
    }

    #[test]
    fn text_without_letters_has_no_language() {
        for text in ["", " \r\n\t", "12345 -- !?", "😀😀 👩‍👩‍👧"] {
            assert_eq!(detect(text, &mut String::new()), Language { code: None, confidence: 0.0 }, "{text}");
        }
    }

    #[test]
    fn scripts_and_languages_are_told_apart() {
        assert_eq!(code("This is a sentence that anybody would take for English."), Some("eng"));
        assert_eq!(code("שלום עולם, זהו משפט בעברית."), Some("heb"));
        assert_eq!(code("Це речення написане українською мовою."), Some("ukr"));
        assert_eq!(code("今日は良い天気ですね。"), Some("jpn"));
        assert_eq!(code("Il s'e\u{301}tait passe\u{301} quelque chose de très étrange pendant l'été."), Some("fra"));
        assert_eq!(code("안녕"), Some("kor"));
    }

    #[test]
    fn a_long_text_is_sampled_in_three_places() {
        let mut scratch = String::from("stale");
        let text = format!("{}{}{}", "start ".repeat(1000), "middle ".repeat(1000), "end ".repeat(2000));
        let got = sample(&text, &mut scratch).to_owned();
        assert!(got.len() <= SAMPLE_BYTES && got.len() > SAMPLE_BYTES * 7 / 8, "{}", got.len());
        let words: std::collections::BTreeSet<&str> = got.split_whitespace().collect();
        assert_eq!(words.into_iter().collect::<Vec<_>>(), ["end", "middle", "start"]);
        // No white space, and no character boundary where the cuts fall.
        for text in ["日本語文".repeat(90_000), "x".repeat(1 << 20), format!("a{}", "😀".repeat(9_999))] {
            let got = sample(&text, &mut scratch);
            assert!(got.len() <= SAMPLE_BYTES && got.len() > SAMPLE_BYTES * 7 / 8, "{}", got.len());
        }
    }

    #[test]
    fn the_language_of_most_of_the_text_wins() {
        let german = "Das ist ein ganz gewöhnlicher Satz, wie er in jedem Buch stehen könnte. ".repeat(100);
        assert_eq!(code(&format!("{}\n{german}", "This licence text is in English. ".repeat(10))), Some("deu"));
    }

    #[test]
    fn every_language_has_one_short_code() {
        assert_eq!(language_codes().len(), Lang::all().len());
        for &code in language_codes() {
            assert_eq!(iso639_3(code), Some(code));
            assert_eq!(
                ALIASES.iter().filter(|(short, long)| short.len() == 2 && *long == code).count().min(1),
                1,
                "{code}"
            );
        }
        for (alias, code) in ALIASES {
            assert_eq!(iso639_3(alias), Some(*code));
        }
        assert_eq!([iso639_3(""), iso639_3("EN"), iso639_3("english")], [None; 3]);
    }
}
