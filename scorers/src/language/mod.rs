//! The languages of a document, from a bounded sample: which has the larger part, and how much.
//!
//! A long text is judged by sixteen stretches of 128 bytes, which lie all over it. So a language
//! with a tenth of the text has about a tenth of the sample, wherever it stands. A shorter text is
//! read whole, in stretches of this size. Each run of white space of any kind counts as one space.
//! The result depends on the text alone.
//!
//! Each stretch belongs to the script of most of its letters, by bytes. If a script has only one
//! language, or is Han or kana, the script decides. For all other scripts an [`Identifier`] tells
//! the language: `whatlang` 0.18 (trigrams and alphabets) or `whichlang` 0.1 (a linear model of
//! hashed n-grams). The engine reads letters of one script only.
//!
//! The stretches of a script can be in two languages. `whichlang` reads the stretches in Latin
//! script in pairs. Where it finds another language than that of the whole, and `whatlang` agrees,
//! each stretch goes to the likelier of the two. In the other scripts with several languages,
//! `whatlang` reads the thirds of a text that it is not sure of. The label is the language with the
//! most bytes of letters, and a *mixed* text has a second one with at least [`SECOND_SHARE_MIN`].
//!
//! Mixes of these kinds are often missed: languages that change within 128 bytes, close relatives
//! (Danish and Norwegian), two languages in Cyrillic, Arabic, Devanagari or Hebrew script of which
//! `whatlang` is sure, two Latin languages that `whichlang` does not know, and short texts that
//! repeat themselves.
//!
//! Of 4,446 documents in 45 languages, `whatlang` is right on .923, and on .987 of those whose
//! language it knows. 1.4 % of them are flagged as mixed. The label of a document of 14 KB stays in
//! .99 or more if up to 16 % of its bytes are in another language, at the start, in the middle or
//! at the end (`cargo bench -p curate-scorers --bench language`).
//!
//! Cost: a million instructions for a document in English with `whatlang`, four fifths of them in
//! `whatlang` itself, and 0.4 million with `whichlang`.

mod model;
pub mod names;
mod parts;
mod sample;
mod script;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::LazyLock;

use whatlang::Lang;

use parts::Part;
use sample::Sample;
use script::Script;

pub use model::LanguageModel;
pub use sample::SAMPLE_BYTES;

/// The least share of the sample's letters, in \[0, 1\], that a second language has in a mixed text.
pub const SECOND_SHARE_MIN: f64 = 0.1;

/// The least confidence of `whatlang`, in \[0, 1\], in a second language.
pub const SECOND_CONFIDENCE_MIN: f64 = 0.5;

/// The lead of the first share over the second, in \[0, 1\], from which the first language surely
/// has the larger part of the text. The sample is coarse, so a smaller lead may be chance, and
/// without a lead either language may have it.
const SURE_LEAD: f64 = 0.15;

/// What tells apart languages with the same script.
#[derive(Debug, Clone, Copy)]
pub enum Identifier<'a> {
    /// `whatlang`: 70 languages, with a confidence.
    Whatlang,
    /// `whichlang`: 16 languages, without a confidence. Any text in a script of these languages is
    /// taken for one of them. Text in other scripts has no language.
    Whichlang,
    /// A fastText model: the languages of its labels in any script, with a confidence.
    FastText(&'a LanguageModel),
}

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Language<'a> {
    /// The ISO 639-3 code of the language with the largest share, one of [`Identifier::languages`].
    /// `None` if most letters are of a script that the engine does not know, or if the text has no
    /// letters.
    pub code: Option<&'a str>,
    /// How sure it is that the largest part of the text is in this language, in \[0, 1\]: the
    /// confidence of the engine in the language of this part, lowered if a second language has
    /// nearly as much of the text. 0 for a text without a language, `None` from an engine that
    /// gives no confidence.
    pub confidence: Option<f64>,
    /// The share of this language of the letters in the sample, by bytes, in (0, 1\]. `None` for a
    /// text without a language.
    pub share: Option<f64>,
    /// The language with the second largest share, and this share, from [`SECOND_SHARE_MIN`] to
    /// 0.5. `None` if the text is not mixed.
    pub second: Option<(&'a str, f64)>,
}

/// The language of `text` by `engine`. `scratch` is overwritten, and spares an allocation if it is
/// used again.
///
/// ```
/// use curate_scorers::language::{Identifier, detect};
///
/// let language = detect(Identifier::Whatlang, "Der schnelle braune Fuchs springt über den faulen Hund.", &mut String::new());
/// assert_eq!(language.code, Some("deu"));
/// assert_eq!(language.share, Some(1.0));
/// ```
pub fn detect<'a>(engine: Identifier<'a>, text: &str, scratch: &mut String) -> Language<'a> {
    let others = match engine {
        Identifier::FastText(_) => Script::Other,
        _ => Script::None,
    };
    let sample = Sample::of(text, others, scratch);

    let mut parts = Vec::new();
    for (script, stretches) in sample.by_script() {
        // The first script has the most letters. The others matter only if they have enough.
        if parts.is_empty() || sample.share(&stretches) >= SECOND_SHARE_MIN {
            parts.extend(parts::of(engine, &sample, script, stretches));
        }
    }
    // The sort is stable: among equals the first script wins, and the language of the whole.
    parts.sort_by_key(|part| Reverse(sample.bytes(&part.stretches)));

    let has_confidence = !matches!(engine, Identifier::Whichlang);
    let Some((first, told)) = parts.first().and_then(|part| Some((part, part.told?))) else {
        return Language {
            code: None,
            confidence: has_confidence.then_some(0.0),
            share: None,
            second: None,
        };
    };

    let share = sample.share(&first.stretches);
    let second = second(engine, &sample, &parts).filter(|(code, _)| *code != told.code);
    let lead = share - second.map_or(0.0, |(_, share)| share);
    let is_larger = (0.5 + 0.5 * lead / SURE_LEAD).min(1.0);

    Language {
        code: Some(told.code),
        confidence: has_confidence.then_some(told.confidence * is_larger),
        share: Some(share),
        second,
    }
}

/// The language of the largest part after the first that is sure, and its share.
fn second<'a>(engine: Identifier, sample: &Sample, parts: &[Part<'a>]) -> Option<(&'a str, f64)> {
    parts[1..]
        .iter()
        .filter(|part| sample.share(&part.stretches) >= SECOND_SHARE_MIN)
        .filter(|part| part.is_sure(engine, sample))
        .find_map(|part| Some((part.told?.code, sample.share(&part.stretches))))
}

impl<'a> Identifier<'a> {
    /// The ISO 639-3 codes of all languages that this engine may give, in alphabetical order.
    pub fn languages(self) -> Cow<'a, [&'a str]> {
        static WHICHLANG: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
            sorted(
                whichlang::LANGUAGES
                    .iter()
                    .map(|language| language.three_letter_code()),
            )
        });

        match self {
            Identifier::Whatlang => Cow::Borrowed(language_codes()),
            Identifier::Whichlang => Cow::Borrowed(&WHICHLANG),
            Identifier::FastText(model) => Cow::Owned(model.languages()),
        }
    }
}

fn sorted(codes: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    codes
}

/// The ISO 639-3 codes of all languages that an engine without a model may give, in alphabetical
/// order.
pub fn language_codes() -> &'static [&'static str] {
    // A test checks that `whatlang` knows all languages of `whichlang`.
    static WHATLANG: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| sorted(Lang::all().iter().map(Lang::code)));
    &WHATLANG
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

    fn found(text: &str) -> Language<'static> {
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
                    share: None,
                    second: None
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
                    share: Some(1.0),
                    second: None
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

    const ENGINES: [Identifier; 2] = [Identifier::Whatlang, Identifier::Whichlang];
    const RUSSIAN: &str = "Это обычное предложение, написанное на русском языке, чтобы его можно было легко узнать. Никто \
        из тех, кто проходил мимо старого дома, не думал, что там что-то не так. ";

    /// `host` in which `percent` of `bytes` are `guest`, at the end, the start and in the middle.
    fn with_guest(host: &str, guest: &str, percent: usize, bytes: usize) -> [String; 3] {
        let of = |text: &str, bytes: usize| {
            let long = text.repeat(bytes / text.len() + 1);
            long[..long.floor_char_boundary(bytes)].to_owned()
        };
        let guest = of(guest, bytes * percent / 100);
        let host = of(host, bytes - guest.len());

        let middle = host.floor_char_boundary(host.len() / 2);
        [host.len(), 0, middle].map(|at| format!("{}\n{guest}\n{}", &host[..at], &host[at..]))
    }

    #[test]
    fn the_larger_part_gives_the_label_wherever_it_stands() {
        let texts = [
            (ENGLISH, "eng"),
            (GERMAN, "deu"),
            (RUSSIAN, "rus"),
            (CHINESE, "cmn"),
        ];
        for ((host, code), (guest, other)) in texts
            .iter()
            .flat_map(|host| texts.iter().map(move |guest| (host, guest)))
            .filter(|(host, guest)| host != guest)
        {
            for (percent, bytes, engine) in [3, 7, 16, 30, 40]
                .into_iter()
                .flat_map(|percent| [1_500, 14_000].map(|bytes| (percent, bytes)))
                .flat_map(|(percent, bytes)| ENGINES.map(|engine| (percent, bytes, engine)))
            {
                for text in with_guest(host, guest, percent, bytes) {
                    let found = detect(engine, &text, &mut String::new());
                    let what = format!("{code}, {percent} % {other} of {bytes}: {found:?}");
                    assert_eq!(found.code, Some(*code), "{what}");

                    // The sample has sixteen stretches, so a share is coarse, and a second language
                    // that is not found counts as the first.
                    let share = found.share.expect("a text with letters has a share");
                    let is_near = (share - 1.0 + percent as f64 / 100.0).abs() < 0.12;
                    assert!(is_near || found.second.is_none(), "{what}");
                    if let Some((second, share)) = found.second {
                        assert_eq!(second, *other, "{what}");
                        assert!((SECOND_SHARE_MIN..=0.5).contains(&share), "{what}");
                    }

                    // In a short text that repeats itself a second language may be missed.
                    let is_clear = percent >= 30 && bytes > SAMPLE_BYTES;
                    assert!(!is_clear || found.second.is_some(), "{what}");
                    assert!(percent > 3 || found.second.is_none(), "{what}");
                }
            }
        }
    }

    #[test]
    fn two_languages_in_another_script_are_told_apart() {
        for (percent, text) in [7, 30, 40].into_iter().flat_map(|percent| {
            with_guest(RUSSIAN, UKRAINIAN, percent, 14_000).map(|text| (percent, text))
        }) {
            let found = found(&text);
            assert_eq!(found.code, Some("rus"), "{percent} %: {found:?}");
            assert!(
                found.second.is_none_or(|(second, _)| second == "ukr"),
                "{found:?}"
            );
        }

        let japanese =
            "これは日本語で書かれた普通の文です。古い家の前を通った人は誰も気にしなかった。";
        for text in with_guest(CHINESE, japanese, 30, 14_000) {
            let found = found(&text);
            assert_eq!(found.code, Some("cmn"), "{found:?}");
            assert_eq!(found.second.unzip().0, Some("jpn"), "{found:?}");
        }
    }

    #[test]
    fn without_a_lead_the_label_is_half_sure() {
        let half = found(&with_guest(ENGLISH, GERMAN, 50, 14_000)[0]);
        let most = found(&with_guest(ENGLISH, GERMAN, 20, 14_000)[0]);
        assert!(half.confidence.expect("whatlang has one") < 0.8, "{half:?}");
        assert_eq!(most.confidence, Some(1.0), "{most:?}");
    }

    #[test]
    fn one_sentence_and_program_code_are_no_second_language() {
        assert_eq!(
            found(&format!("{}{ENGLISH}", GERMAN.repeat(20))).second,
            None
        );

        let code = "for (i = 0; i < n; ++i) x[i] += y[i];\n".repeat(8);
        assert_eq!(found(&format!("{}\n{code}", GERMAN.repeat(8))).second, None);
    }

    #[test]
    fn white_space_of_any_kind_is_white_space() {
        let spaces = "\u{a0} \u{1680} \u{2000} \u{2003} \u{2009} \u{200b} \u{2028} \u{2029} \u{202f} \u{205f} \u{3000} \u{85} \t \n \u{b} \u{c} \r";
        for text in [ENGLISH, GERMAN, RUSSIAN] {
            for engine in ENGINES {
                let plain = detect(engine, text, &mut String::new());
                for space in spaces.split(' ') {
                    for spaced in [
                        text.replace(' ', space),
                        text.replace(' ', &space.repeat(3)),
                    ] {
                        let found = detect(engine, &spaced, &mut String::new());
                        assert_eq!(found.code, plain.code, "{space:?} {engine:?}");
                        assert_eq!(found.share, plain.share, "{space:?} {engine:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_of_a_script_that_the_engine_lacks_has_no_language() {
        let greek = "Κανείς από όσους περνούσαν δεν σκέφτηκε ότι κάτι δεν πάει καλά. ";
        let text = format!("{}{}", greek.repeat(20), ENGLISH.repeat(5));
        let found = |engine| detect(engine, &text, &mut String::new());

        assert_eq!(found(Identifier::Whatlang).code, Some("ell"));
        assert_eq!(found(Identifier::Whatlang).second.unzip().0, Some("eng"));
        assert_eq!(
            [
                found(Identifier::Whichlang).code,
                found(Identifier::Whichlang).second.unzip().0
            ],
            [None; 2]
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
