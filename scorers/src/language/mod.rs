//! The language of a document, from a bounded sample, and whether its parts are in different
//! languages.
//!
//! A long text is judged by a sample of 2 KiB from its start, middle and end. A shorter text is
//! read whole. The result depends on the text alone. If the script of the sample belongs to one
//! language, or is Han or kana, the script decides. For all other scripts an [`Identifier`] tells the
//! language: `whatlang` 0.18 (trigrams and alphabets) or `whichlang` 0.1 (a linear model of hashed
//! n-grams). `whatlang` used directly gives another answer only where scripts are mixed, because it
//! counts scripts in another way.
//!
//! A document is *mixed* if two of the three parts of its sample are in different languages. First
//! a cheap sign must differ: the scripts of the two parts, or their languages by `whichlang`. Then
//! `whatlang` must give each part, read alone, a language of its own with at least
//! [`MIXED_CONFIDENCE`]. The label stays that of the whole sample. Four kinds of mixes are missed:
//! languages that alternate throughout, a second language that fills less than a third, two
//! languages in Cyrillic, Arabic, Devanagari or Hebrew script, and half of the mixes of two Latin
//! languages that `whichlang` does not know.
//!
//! Of 4,446 documents in 45 languages, `whatlang` is right on .923, and on .987 of those whose
//! language it knows. 1.0 % of them are flagged as mixed. Of mixes of two such documents, .80 are
//! flagged at 600 bytes, .87 at 1,200 and .94 at 6,000
//! (`cargo bench -p curate-scorers --bench language`).
//!
//! Cost: with `whatlang` 130 µs for a document in English, 105 µs of them in `whatlang` itself.
//! With `whichlang` 15 to 35 µs, but 100 µs and more for a Latin language that it does not know. 60
//! µs in Cyrillic, and 5 to 10 µs in a script of one language.

mod script;

use std::sync::LazyLock;

use whatlang::{Detector, Lang};

use script::{Script, Scripts};

/// The size of the largest sample in bytes. Texts of up to this size are read whole.
pub const SAMPLE_BYTES: usize = 2048;

/// The least confidence of `whatlang`, in \[0, 1\], in the languages of two parts for a text to be
/// mixed.
pub const MIXED_CONFIDENCE: f64 = 0.5;

/// Parts with fewer letters are ignored when a text is judged as mixed or not.
const PART_LETTERS_MIN: u32 = 30;

/// The library that tells apart languages with the same script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier {
    /// `whatlang`: 70 languages, with a confidence.
    Whatlang,
    /// `whichlang`: 16 languages, without a confidence. Any text in a script of these languages is
    /// taken for one of them. Text in other scripts has no language.
    Whichlang,
}

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Language {
    /// The ISO 639-3 code, one of [`Identifier::languages`]. `None` for a text without letters of a
    /// script that the engine knows.
    pub code: Option<&'static str>,
    /// The lead of the first language over the second, in \[0, 1\]. It is not a probability. 0 for
    /// a text without a language, `None` from an engine that gives no confidence.
    pub confidence: Option<f64>,
    /// True if parts of the text are in different languages.
    pub mixed: bool,
}

/// The language of `text` by `engine`. `scratch` is overwritten, and spares an allocation if it is
/// used again.
///
/// ```
/// use curate_scorers::language::{Identifier, detect};
///
/// let language = detect(Identifier::Whatlang, "Der schnelle braune Fuchs springt über den faulen Hund.", &mut String::new());
/// assert_eq!(language.code, Some("deu"));
/// ```
pub fn detect(engine: Identifier, text: &str, scratch: &mut String) -> Language {
    let parts = parts(text).map(Part::new);
    let scripts = Scripts::sum(parts.each_ref().map(|part| part.scripts));
    let whole = Part {
        text: sample(text, &parts, scratch),
        scripts,
    };

    let signs = parts.each_ref().map(Part::sign);
    let (code, confidence) = match engine {
        Identifier::Whatlang => {
            let (code, confidence) = whole.whatlang().unzip();
            (code, Some(confidence.unwrap_or(0.0)))
        }
        // `whichlang` has read the parts already. If all agree, the whole is not read again.
        Identifier::Whichlang => match signs {
            [Some(sign), ..] if signs == [Some(sign); 3] => (sign.1, None),
            _ => (whole.whichlang(), None),
        },
    };

    Language {
        code,
        confidence,
        mixed: is_mixed(&parts, &signs, code),
    }
}

/// True if two of the parts are surely in different languages. `code` is the language of the whole.
fn is_mixed(parts: &[Part; 3], signs: &[Option<Sign>; 3], code: Option<&'static str>) -> bool {
    let differing: Vec<usize> = (0..3)
        .filter(|&i| signs[i].is_some() && !signs[..i].contains(&signs[i]))
        .collect();
    if differing.len() < 2 {
        return false;
    }

    // If `whichlang` knows the language of the whole, signs seldom differ without reason. Otherwise
    // they often do, so `whatlang` chooses among a few languages, at a third of the cost.
    let among = match code.is_some_and(|code| {
        Identifier::Whichlang
            .languages()
            .binary_search(&code)
            .is_ok()
    }) {
        true => Detector::new(),
        false => {
            let few = signs
                .iter()
                .flatten()
                .filter_map(|&(_, code)| code)
                .chain(code);
            Detector::with_allowlist(few.filter_map(Lang::from_code).collect())
        }
    };

    let mut languages = differing
        .into_iter()
        .filter_map(|i| parts[i].sure_language(&among));
    languages
        .next()
        .is_some_and(|first| languages.any(|other| other != first))
}

impl Identifier {
    /// The ISO 639-3 codes of all languages that this engine may give, in alphabetical order.
    pub fn languages(self) -> &'static [&'static str] {
        static WHATLANG: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| sorted(Lang::all().iter().map(Lang::code)));
        static WHICHLANG: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
            sorted(
                whichlang::LANGUAGES
                    .iter()
                    .map(|language| language.three_letter_code()),
            )
        });

        match self {
            Identifier::Whatlang => &WHATLANG,
            Identifier::Whichlang => &WHICHLANG,
        }
    }
}

fn sorted(codes: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    codes
}

/// A cheap sign of a part's language: its script and its language by `whichlang`. The sign differs
/// between most languages, even those that `whichlang` does not know.
type Sign = (Script, Option<&'static str>);

/// A text or a part of it, and the letters of each script in it.
struct Part<'a> {
    text: &'a str,
    scripts: Scripts,
}

impl Part<'_> {
    fn new(text: &str) -> Part<'_> {
        Part {
            text,
            scripts: Scripts::of(text),
        }
    }

    /// The sign of this part. `None` for a part with fewer than [`PART_LETTERS_MIN`] letters.
    fn sign(&self) -> Option<Sign> {
        let enough = self.scripts.letters() >= PART_LETTERS_MIN;
        self.scripts
            .main()
            .filter(|_| enough)
            .map(|script| (script, self.whichlang()))
    }

    /// The language of this part alone, if its confidence is [`MIXED_CONFIDENCE`] or more. In Latin
    /// script, `among` decides which languages are possible.
    fn sure_language(&self, among: &Detector) -> Option<&'static str> {
        let (code, confidence) = match self.scripts.main()? {
            Script::Latin => among
                .detect(self.text)
                .map(|info| (info.lang().code(), info.confidence())),
            _ => self.whatlang(),
        }?;
        (confidence >= MIXED_CONFIDENCE).then_some(code)
    }

    /// The language by its script, or else by `whatlang`, and the confidence in \[0, 1\].
    fn whatlang(&self) -> Option<(&'static str, f64)> {
        self.scripts.main()?;
        self.scripts.language().or_else(|| {
            whatlang::detect(self.text).map(|info| (info.lang().code(), info.confidence()))
        })
    }

    /// The language by its script, or else by `whichlang`.
    fn whichlang(&self) -> Option<&'static str> {
        let code = match (self.scripts.language(), self.scripts.main()?) {
            (Some((code, _)), _) => code,
            (None, Script::Latin) => whichlang::detect_language(self.text).three_letter_code(),
            (None, Script::Cyrillic) => "rus",
            (None, Script::Arabic) => "ara",
            (None, Script::Devanagari) => "hin",
            (None, _) => return None,
        };

        // A script may tell a language that is not among the sixteen.
        Identifier::Whichlang
            .languages()
            .binary_search(&code)
            .is_ok()
            .then_some(code)
    }
}

/// The three parts of the sample: thirds of a short text, or stretches at the start, middle and end
/// of a long one.
fn parts(text: &str) -> [&str; 3] {
    let len = text.len();
    if len <= SAMPLE_BYTES {
        let (first, second) = (word_end(text, len / 3), word_end(text, len * 2 / 3));
        return [&text[..first], &text[first..second], &text[second..]];
    }

    // One byte less than a third, for the line feed that `sample` puts after each part.
    const PART: usize = SAMPLE_BYTES / 3 - 1;
    [0, (len - PART) / 2, len - PART].map(|start| whole_words(text, start, start + PART))
}

/// The whole sample: a short text itself, or the parts of a long one, each on a line of its own.
fn sample<'a>(text: &'a str, parts: &[Part; 3], scratch: &'a mut String) -> &'a str {
    if text.len() <= SAMPLE_BYTES {
        return text;
    }

    scratch.clear();
    for part in parts {
        scratch.push_str(part.text);
        scratch.push('\n');
    }
    scratch
}

/// The place of the last white space within 64 bytes before `end`. Without white space there, the
/// last character bound at or before `end`.
fn word_end(text: &str, end: usize) -> usize {
    let (start, end) = (
        text.ceil_char_boundary(end.saturating_sub(64)),
        text.floor_char_boundary(end),
    );

    text.get(start..end)
        .and_then(|near| near.rfind(char::is_whitespace))
        .map_or(end, |at| start + at)
}

/// `text[start..end]` without the words that are cut at its ends. An end stays as it is, at a
/// character bound, if there is no white space within an eighth of the stretch.
fn whole_words(text: &str, start: usize, end: usize) -> &str {
    let (first, last) = (
        text.ceil_char_boundary(start),
        text.floor_char_boundary(end),
    );
    let piece = &text[first..last];
    let near = |at: usize| at < piece.len() / 8;

    // Nothing is cut at the start and the end of the text itself.
    let from = if first == 0 {
        0
    } else {
        piece
            .find(char::is_whitespace)
            .filter(|&at| near(at))
            .unwrap_or(0)
    };

    let to = if last == text.len() {
        piece.len()
    } else {
        piece.rfind(char::is_whitespace).unwrap_or(0)
    };
    let to = if near(piece.len() - to) {
        to
    } else {
        piece.len()
    };

    &piece[from..to]
}

/// The ISO 639-3 codes of all languages that any engine may give, in alphabetical order.
pub fn language_codes() -> &'static [&'static str] {
    // A test checks that `whatlang` knows all languages of `whichlang`.
    Identifier::Whatlang.languages()
}

/// The ISO 639-3 code of a known language, from its 639-1, 639-3 or macrolanguage code in lower
/// case. `None` for any other text.
///
/// ```
/// use curate_scorers::language::iso639_3;
///
/// assert_eq!([iso639_3("zh"), iso639_3("zho"), iso639_3("cmn"), iso639_3("xx")], [Some("cmn"), Some("cmn"), Some("cmn"), None]);
/// ```
pub fn iso639_3(code: &str) -> Option<&'static str> {
    let code = ALIASES
        .iter()
        .find(|(alias, _)| *alias == code)
        .map_or(code, |(_, code)| code);

    // The table's own copy of the code lives as long as the program.
    language_codes()
        .binary_search(&code)
        .ok()
        .map(|i| language_codes()[i])
}

/// The ISO 639-1 code of a language, from its ISO 639-3 code. `None` for a code that is not one of
/// [`language_codes`].
pub fn iso639_1(code: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(alias, own)| alias.len() == 2 && *own == code)
        .map(|(alias, _)| *alias)
}

/// Other codes and the ISO 639-3 codes they stand for: all ISO 639-1 codes, and the 639-3
/// macrolanguages of which `whatlang` knows only one member.
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

    const ENGLISH: &str = "It was a bright cold day in April, and the clocks were striking thirteen. Nobody who walked past \
        the old house thought that anything could be wrong with it; the windows were open and people talked inside. ";
    const GERMAN: &str = "Das ist ein ganz gewöhnlicher Satz, wie er in jedem Buch stehen könnte. Niemand, der an dem alten \
        Haus vorbeiging, dachte daran, dass etwas nicht stimmen könnte; die Fenster waren offen und man sprach darin. ";
    const UKRAINIAN: &str = "Це звичайне речення, написане українською мовою, щоб його можна було легко розпізнати. Ніхто \
        з тих, хто проходив повз старий будинок, не думав, що там щось не так. ";
    const CHINESE: &str = "这是一个普通的句子，用中文写成，以便人们可以很容易地识别它的语言。";

    fn found(text: &str) -> Language {
        detect(Identifier::Whatlang, text, &mut String::from("stale"))
    }

    fn code(text: &str) -> Option<&'static str> {
        found(text).code
    }

    fn whichlang(text: &str) -> Option<&'static str> {
        detect(Identifier::Whichlang, text, &mut String::new()).code
    }

    #[test]
    fn text_without_letters_has_no_language() {
        for text in ["", " \r\n\t", "12345 -- !?", "😀😀 👩‍👩‍👧", "，。！", "« – »"]
        {
            assert_eq!(
                found(text),
                Language {
                    code: None,
                    confidence: Some(0.0),
                    mixed: false
                },
                "{text}"
            );
            assert_eq!(whichlang(text), None, "{text}");
        }
    }

    #[test]
    fn scripts_and_languages_are_told_apart() {
        assert_eq!(
            code("This is a sentence that anybody would take for English."),
            Some("eng")
        );
        assert_eq!(code("שלום עולם, זהו משפט בעברית."), Some("heb"));
        assert_eq!(code("Це речення написане українською мовою."), Some("ukr"));
        assert_eq!(code("今日は良い天気ですね。"), Some("jpn"));
        assert_eq!(
            code("Il s'e\u{301}tait passe\u{301} quelque chose de très étrange pendant l'été."),
            Some("fra")
        );
        assert_eq!(code("안녕"), Some("kor"));
    }

    #[test]
    fn a_script_of_one_language_decides() {
        let greetings = "kor 안녕하세요 ell Γειά σου hye Բարեւ ben নমস্কার pan ਸਤ ਸ੍ਰੀ ਅਕਾਲ guj નમસ્તે ori ନମସ୍କାର tam வணக்கம் tel నమస్కారం \
                         kan ನಮಸ್ಕಾರ mal നമസ്കാരം sin ආයුබෝවන් tha สวัสดี mya မင်္ဂလာပါ kat გამარჯობა amh ሰላም khm សួស្តី jpn カタカナ cmn 你好";

        let mut words = greetings.split_whitespace().peekable();
        while let Some(expected) = words.next() {
            let mut text = String::new();
            while let Some(word) = words.next_if(|word| !word.is_ascii()) {
                text.push_str(word);
            }

            assert_eq!(
                found(&text),
                Language {
                    code: Some(expected),
                    confidence: Some(1.0),
                    mixed: false
                },
                "{text}"
            );
            assert_eq!(
                whatlang::detect_lang(&text).map(|lang| lang.code()),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn ideographs_weigh_more_than_letters() {
        assert_eq!(
            code("DefStr ステートメントは文字範囲に従って型を設定 Syntax DefStr sStr REM sStr"),
            Some("jpn")
        );
        // To `whatlang` the full-width punctuation is Hangul.
        assert_eq!(code("好！！！（Ａ）"), Some("cmn"));
    }

    #[test]
    fn whichlang_knows_sixteen_languages() {
        assert_eq!(Identifier::Whichlang.languages().len(), 16);
        assert_eq!(whichlang(GERMAN), Some("deu"));
        assert_eq!(whichlang(CHINESE), Some("cmn"));
        assert_eq!(whichlang("안녕하세요"), Some("kor"));

        // Any language in Cyrillic script is taken for Russian.
        assert_eq!(whichlang(UKRAINIAN), Some("rus"));
        assert_eq!(
            [
                whichlang("გამარჯობა"),
                whichlang("שלום עולם"),
                whichlang("Γειά σου")
            ],
            [None; 3]
        );
        assert_eq!(
            detect(Identifier::Whichlang, GERMAN, &mut String::new()).confidence,
            None
        );

        assert!(
            Identifier::Whichlang
                .languages()
                .iter()
                .all(|code| Identifier::Whatlang.languages().contains(code))
        );
    }

    #[test]
    fn parts_in_other_languages_are_flagged() {
        for (text, mixed) in [
            (ENGLISH, GERMAN),
            (GERMAN, ENGLISH),
            (UKRAINIAN, ENGLISH),
            (CHINESE, GERMAN),
        ] {
            for times in [4, 400] {
                let (a, b) = (text.repeat(times), mixed.repeat(times));
                for engine in [Identifier::Whatlang, Identifier::Whichlang] {
                    let is_mixed = |text: &str| detect(engine, text, &mut String::new()).mixed;
                    assert!(is_mixed(&format!("{a}{b}")), "{text}{mixed}");
                    assert!(!is_mixed(&a) && !is_mixed(&b), "{text}{mixed}");
                }
            }
        }

        // One sentence is too little, and program code is no language.
        assert!(!found(&format!("{}{ENGLISH}", GERMAN.repeat(20))).mixed);
        assert!(
            !found(&format!(
                "{}\n{}",
                GERMAN.repeat(8),
                "for (i = 0; i < n; ++i) x[i] += y[i];\n".repeat(8)
            ))
            .mixed
        );
    }

    #[test]
    fn a_long_text_is_sampled_in_three_places() {
        let text = format!(
            "{}{}{}",
            "start ".repeat(1000),
            "middle ".repeat(1000),
            "end ".repeat(2000)
        );

        let of = |text: &str| parts(text).map(str::to_owned);
        for (part, word) in of(&text).iter().zip(["start", "middle", "end"]) {
            assert!(part.split_whitespace().all(|w| w == word), "{part}");
            assert!(
                part.len() <= SAMPLE_BYTES / 3 && part.len() > SAMPLE_BYTES / 3 * 7 / 8,
                "{}",
                part.len()
            );
        }

        // No white space, and no character boundary where the cuts fall.
        for text in [
            "日本語文".repeat(90_000),
            "x".repeat(1 << 20),
            format!("a{}", "😀".repeat(9_999)),
        ] {
            let got: usize = of(&text).iter().map(String::len).sum();
            assert!(got <= SAMPLE_BYTES && got > SAMPLE_BYTES * 7 / 8, "{got}");
        }
    }

    #[test]
    fn a_short_text_is_taken_whole() {
        for text in [
            "",
            "a",
            "é",
            "日本",
            "one two",
            "日本語文".repeat(99).as_str(),
            "some words here ".repeat(100).as_str(),
        ] {
            assert_eq!(parts(text).concat(), text);
        }
        assert_eq!(parts("one two three four"), ["one", " two", " three four"]);
    }

    #[test]
    fn the_language_of_most_of_the_text_wins() {
        assert_eq!(
            code(&format!("{}\n{}", ENGLISH.repeat(3), GERMAN.repeat(100))),
            Some("deu")
        );
    }

    #[test]
    fn every_language_has_one_short_code() {
        let mut codes: Vec<_> = whatlang::Lang::all()
            .iter()
            .map(|language| language.code())
            .collect();
        codes.sort_unstable();
        assert_eq!(language_codes(), codes);

        for &code in language_codes() {
            assert_eq!(iso639_3(code), Some(code));
            let shorts = ALIASES
                .iter()
                .filter(|(short, long)| short.len() == 2 && *long == code)
                .count();
            assert_eq!(shorts.min(1), 1, "{code}");
        }

        for (alias, code) in ALIASES {
            assert_eq!(iso639_3(alias), Some(*code));
        }
        assert_eq!(
            [iso639_3(""), iso639_3("EN"), iso639_3("english")],
            [None; 3]
        );
    }

    #[test]
    fn codes_of_two_letters_lead_back() {
        assert_eq!(
            [
                iso639_1("eng"),
                iso639_1("cmn"),
                iso639_1("nob"),
                iso639_1("xxx")
            ],
            [Some("en"), Some("zh"), Some("nb"), None]
        );

        for code in language_codes()
            .iter()
            .filter_map(|code| Some((code, iso639_1(code)?)))
        {
            assert_eq!(iso639_3(code.1), Some(*code.0));
        }
    }
}
