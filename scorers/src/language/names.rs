//! The names of languages in English, so that a message can name a language that an engine lacks.
//!
//! The codes and names are those of ISO 639-3. Beside the languages of the engines, the table has
//! every language with a code of ISO 639-1, and those that common identifiers label: fastText's
//! lid.176 (Joulin et al. 2016) and the languages of FLORES-200 (NLLB Team 2022).

use whatlang::Lang;

use super::{iso639_3, language_codes};

/// The code and the name of a language, from its ISO 639-3, 639-1 or macrolanguage code in lower
/// case. `None` for a code that is not in the table and that no engine gives.
///
/// ```
/// use curate_scorers::language::names::named;
///
/// assert_eq!(named("sw"), Some(("swa", "Swahili")));
/// assert_eq!(named("de"), Some(("deu", "German")));
/// assert_eq!(named("xx"), None);
/// ```
pub fn named(code: &str) -> Option<(&'static str, &'static str)> {
    if let Some(code) = iso639_3(code) {
        return Some((code, name_of(code)));
    }

    OTHERS
        .iter()
        .find(|(long, short, _)| *long == code || !short.is_empty() && *short == code)
        .map(|(long, _, name)| (*long, *name))
}

/// The code of the language that a code of another standard stands for: of ISO 639-2/B, which
/// libraries use, or one that ISO 639 withdrew. `None` for any other text.
///
/// ```
/// use curate_scorers::language::names::renamed;
///
/// assert_eq!([renamed("ger"), renamed("iw"), renamed("deu")], [Some("deu"), Some("heb"), None]);
/// ```
pub fn renamed(code: &str) -> Option<&'static str> {
    let (_, now) = RENAMED.iter().find(|(before, _)| *before == code)?;
    named(now).map(|(code, _)| code)
}

/// Codes beside those of ISO 639-1 and 639-3, each with the code of ISO 639-1. The first twenty are
/// those of ISO 639-2/B that differ, the others are withdrawn (Library of Congress, *ISO 639-2
/// registration authority*).
#[rustfmt::skip]
const RENAMED: &[(&str, &str)] = &[
    ("alb", "sq"), ("arm", "hy"), ("baq", "eu"), ("bur", "my"), ("chi", "zh"), ("cze", "cs"), ("dut", "nl"),
    ("fre", "fr"), ("geo", "ka"), ("ger", "de"), ("gre", "el"), ("ice", "is"), ("mac", "mk"), ("mao", "mi"),
    ("may", "ms"), ("per", "fa"), ("rum", "ro"), ("slo", "sk"), ("tib", "bo"), ("wel", "cy"),
    ("in", "id"), ("iw", "he"), ("ji", "yi"), ("jw", "jv"), ("mo", "ro"), ("mol", "ro"), ("scc", "sr"),
    ("scr", "hr"),
];

/// The code of the language with this English name, whatever the case of its letters. `None` if no
/// language has the name.
///
/// ```
/// use curate_scorers::language::names::code_of;
///
/// assert_eq!([code_of("english"), code_of("Swahili"), code_of("Dothraki")], [Some("eng"), Some("swa"), None]);
/// ```
pub fn code_of(name: &str) -> Option<&'static str> {
    let is_name = |known: &str| known.to_lowercase() == name.to_lowercase();

    let own = language_codes()
        .iter()
        .copied()
        .find(|code| is_name(name_of(code)));
    own.or_else(|| {
        let mut others = OTHERS.iter();
        others
            .find(|(_, _, name)| is_name(name))
            .map(|(code, _, _)| *code)
    })
}

/// The name of a language that an engine gives. Empty for another code.
fn name_of(code: &str) -> &'static str {
    Lang::from_code(code).map_or("", Lang::eng_name)
}

/// Languages that no engine gives: ISO 639-3 code, ISO 639-1 code or the empty text, and name. The
/// codes ascend.
#[rustfmt::skip]
const OTHERS: &[(&str, &str, &str)] = &[
    ("aar", "aa", "Afar"), ("abk", "ab", "Abkhazian"), ("ace", "", "Acehnese"), ("acm", "", "Mesopotamian Arabic"),
    ("aeb", "", "Tunisian Arabic"), ("als", "", "Tosk Albanian"), ("ang", "", "Old English"),
    ("apc", "", "Levantine Arabic"), ("arg", "an", "Aragonese"), ("ars", "", "Najdi Arabic"),
    ("ary", "", "Moroccan Arabic"), ("arz", "", "Egyptian Arabic"), ("asm", "as", "Assamese"),
    ("ast", "", "Asturian"), ("ava", "av", "Avaric"), ("ave", "ae", "Avestan"), ("awa", "", "Awadhi"),
    ("aym", "ay", "Aymara"), ("azb", "", "South Azerbaijani"), ("bak", "ba", "Bashkir"), ("bam", "bm", "Bambara"),
    ("ban", "", "Balinese"), ("bar", "", "Bavarian"), ("bcl", "", "Central Bikol"), ("bem", "", "Bemba"),
    ("bho", "", "Bhojpuri"), ("bis", "bi", "Bislama"), ("bjn", "", "Banjar"), ("bod", "bo", "Tibetan"),
    ("bos", "bs", "Bosnian"), ("bpy", "", "Bishnupriya"), ("bre", "br", "Breton"), ("brx", "", "Bodo"),
    ("bug", "", "Buginese"), ("bxr", "", "Russia Buriat"), ("cbk", "", "Chavacano"), ("ceb", "", "Cebuano"),
    ("cha", "ch", "Chamorro"), ("che", "ce", "Chechen"), ("chr", "", "Cherokee"), ("chu", "cu", "Church Slavonic"),
    ("chv", "cv", "Chuvash"), ("cjk", "", "Chokwe"), ("ckb", "", "Central Kurdish"), ("cor", "kw", "Cornish"),
    ("cos", "co", "Corsican"), ("cre", "cr", "Cree"), ("crh", "", "Crimean Tatar"), ("csb", "", "Kashubian"),
    ("diq", "", "Zazaki"), ("div", "dv", "Divehi"), ("doi", "", "Dogri"), ("dsb", "", "Lower Sorbian"),
    ("dyu", "", "Dyula"), ("dzo", "dz", "Dzongkha"), ("eml", "", "Emiliano-Romagnolo"), ("eus", "eu", "Basque"),
    ("ewe", "ee", "Ewe"), ("fao", "fo", "Faroese"), ("fij", "fj", "Fijian"), ("fil", "", "Filipino"),
    ("fon", "", "Fon"), ("frr", "", "North Frisian"), ("fry", "fy", "Western Frisian"), ("ful", "ff", "Fulah"),
    ("fur", "", "Friulian"), ("fuv", "", "Nigerian Fulfulde"), ("gaz", "", "West Central Oromo"),
    ("gla", "gd", "Scottish Gaelic"), ("gle", "ga", "Irish"), ("glg", "gl", "Galician"), ("glv", "gv", "Manx"),
    ("gom", "", "Goan Konkani"), ("grc", "", "Ancient Greek"), ("grn", "gn", "Guarani"), ("gsw", "", "Swiss German"),
    ("hak", "", "Hakka Chinese"), ("hat", "ht", "Haitian Creole"), ("hau", "ha", "Hausa"), ("haw", "", "Hawaiian"),
    ("hbs", "sh", "Serbo-Croatian"), ("her", "hz", "Herero"), ("hif", "", "Fiji Hindi"), ("hmn", "", "Hmong"),
    ("hmo", "ho", "Hiri Motu"), ("hne", "", "Chhattisgarhi"), ("hsb", "", "Upper Sorbian"), ("ibo", "ig", "Igbo"),
    ("ido", "io", "Ido"), ("iii", "ii", "Sichuan Yi"), ("iku", "iu", "Inuktitut"), ("ile", "ie", "Interlingue"),
    ("ilo", "", "Iloko"), ("ina", "ia", "Interlingua"), ("ipk", "ik", "Inupiaq"), ("isl", "is", "Icelandic"),
    ("jbo", "", "Lojban"), ("kab", "", "Kabyle"), ("kac", "", "Kachin"), ("kal", "kl", "Kalaallisut"),
    ("kam", "", "Kamba"), ("kas", "ks", "Kashmiri"), ("kau", "kr", "Kanuri"), ("kaz", "kk", "Kazakh"),
    ("kbp", "", "Kabiye"), ("kea", "", "Kabuverdianu"), ("kik", "ki", "Kikuyu"), ("kin", "rw", "Kinyarwanda"),
    ("kir", "ky", "Kyrgyz"), ("kmb", "", "Kimbundu"), ("kmr", "", "Northern Kurdish"), ("kok", "", "Konkani"),
    ("kom", "kv", "Komi"), ("kon", "kg", "Kongo"), ("krc", "", "Karachay-Balkar"), ("kua", "kj", "Kuanyama"),
    ("kur", "ku", "Kurdish"), ("lao", "lo", "Lao"), ("lez", "", "Lezghian"), ("lij", "", "Ligurian"),
    ("lim", "li", "Limburgish"), ("lin", "ln", "Lingala"), ("lmo", "", "Lombard"), ("lrc", "", "Northern Luri"),
    ("ltg", "", "Latgalian"), ("ltz", "lb", "Luxembourgish"), ("lua", "", "Luba-Lulua"),
    ("lub", "lu", "Luba-Katanga"), ("lug", "lg", "Ganda"), ("luo", "", "Luo"), ("lus", "", "Mizo"),
    ("lzh", "", "Literary Chinese"), ("mag", "", "Magahi"), ("mah", "mh", "Marshallese"), ("mai", "", "Maithili"),
    ("mhr", "", "Meadow Mari"), ("min", "", "Minangkabau"), ("mlg", "mg", "Malagasy"), ("mlt", "mt", "Maltese"),
    ("mni", "", "Manipuri"), ("mon", "mn", "Mongolian"), ("mos", "", "Mossi"), ("mri", "mi", "Maori"),
    ("mrj", "", "Hill Mari"), ("msa", "ms", "Malay"), ("mwl", "", "Mirandese"), ("myv", "", "Erzya"),
    ("mzn", "", "Mazanderani"), ("nah", "", "Nahuatl"), ("nan", "", "Min Nan Chinese"), ("nap", "", "Neapolitan"),
    ("nau", "na", "Nauru"), ("nav", "nv", "Navajo"), ("nbl", "nr", "South Ndebele"), ("nde", "nd", "North Ndebele"),
    ("ndo", "ng", "Ndonga"), ("nds", "", "Low German"), ("new", "", "Newari"), ("nno", "nn", "Norwegian Nynorsk"),
    ("nso", "", "Northern Sotho"), ("nus", "", "Nuer"), ("nya", "ny", "Chichewa"), ("oci", "oc", "Occitan"),
    ("oji", "oj", "Ojibwa"), ("orm", "om", "Oromo"), ("oss", "os", "Ossetic"), ("pag", "", "Pangasinan"),
    ("pam", "", "Pampanga"), ("pap", "", "Papiamento"), ("pcm", "", "Nigerian Pidgin"),
    ("pfl", "", "Palatine German"), ("pli", "pi", "Pali"), ("plt", "", "Plateau Malagasy"),
    ("pms", "", "Piedmontese"), ("pnb", "", "Western Punjabi"), ("prs", "", "Dari"), ("pus", "ps", "Pashto"),
    ("que", "qu", "Quechua"), ("quy", "", "Ayacucho Quechua"), ("roh", "rm", "Romansh"), ("rom", "", "Romany"),
    ("rue", "", "Rusyn"), ("run", "rn", "Rundi"), ("sag", "sg", "Sango"), ("sah", "", "Sakha"),
    ("san", "sa", "Sanskrit"), ("sat", "", "Santali"), ("scn", "", "Sicilian"), ("sco", "", "Scots"),
    ("sgs", "", "Samogitian"), ("shn", "", "Shan"), ("sme", "se", "Northern Sami"), ("smo", "sm", "Samoan"),
    ("snd", "sd", "Sindhi"), ("som", "so", "Somali"), ("sot", "st", "Southern Sotho"), ("sqi", "sq", "Albanian"),
    ("srd", "sc", "Sardinian"), ("ssw", "ss", "Swati"), ("sun", "su", "Sundanese"), ("swa", "sw", "Swahili"),
    ("swh", "", "Swahili"), ("syr", "", "Syriac"), ("szl", "", "Silesian"), ("tah", "ty", "Tahitian"),
    ("tat", "tt", "Tatar"), ("tcy", "", "Tulu"), ("tet", "", "Tetum"), ("tgk", "tg", "Tajik"),
    ("tir", "ti", "Tigrinya"), ("tlh", "", "Klingon"), ("ton", "to", "Tongan"), ("tpi", "", "Tok Pisin"),
    ("tsn", "tn", "Tswana"), ("tso", "ts", "Tsonga"), ("tum", "", "Tumbuka"), ("twi", "tw", "Twi"),
    ("tyv", "", "Tuvinian"), ("tzm", "", "Central Atlas Tamazight"), ("udm", "", "Udmurt"), ("uig", "ug", "Uyghur"),
    ("umb", "", "Umbundu"), ("uzn", "", "Northern Uzbek"), ("vec", "", "Venetian"), ("ven", "ve", "Venda"),
    ("vep", "", "Veps"), ("vls", "", "West Flemish"), ("vol", "vo", "Volapük"), ("vro", "", "Võro"),
    ("war", "", "Waray"), ("wln", "wa", "Walloon"), ("wol", "wo", "Wolof"), ("wuu", "", "Wu Chinese"),
    ("xal", "", "Kalmyk"), ("xho", "xh", "Xhosa"), ("xmf", "", "Mingrelian"), ("ydd", "", "Eastern Yiddish"),
    ("yor", "yo", "Yoruba"), ("yue", "", "Cantonese"), ("zea", "", "Zeelandic"), ("zha", "za", "Zhuang"),
    ("zsm", "", "Standard Malay"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_belong_to_no_engine() {
        assert!(OTHERS.is_sorted_by(|a, b| a.0 < b.0));

        for (long, short, name) in OTHERS {
            assert_eq!((long.len(), name.is_empty()), (3, false), "{long}");
            assert!(short.is_empty() || short.len() == 2, "{long}");
            for code in [long, short] {
                assert_eq!(iso639_3(code), None, "{code}");
            }
        }
        assert!(
            language_codes()
                .iter()
                .all(|code| !name_of(code).is_empty())
        );
    }

    #[test]
    fn other_codes_lead_to_a_language_and_are_none_themselves() {
        for (before, now) in RENAMED {
            assert_eq!(named(before), None, "{before}");
            assert_eq!(
                renamed(before),
                named(now).map(|(code, _)| code),
                "{before}"
            );
            assert!(renamed(before).is_some(), "{before}");
        }
        let found = ["chi", "fre", "per", "in", "zho", ""].map(renamed);
        assert_eq!(
            found,
            [
                Some("cmn"),
                Some("fra"),
                Some("pes"),
                Some("ind"),
                None,
                None
            ]
        );
    }

    #[test]
    fn a_language_goes_by_either_code_and_by_its_name() {
        for code in ["sw", "swa"] {
            assert_eq!(named(code), Some(("swa", "Swahili")));
        }
        // A code of ISO 639-1 belongs to one language.
        for (long, short, _) in OTHERS.iter().filter(|(_, short, _)| !short.is_empty()) {
            assert_eq!(named(short).map(|(code, _)| code), Some(*long));
        }
        assert_eq!((named(""), named("zzz"), named("EN")), (None, None, None));
        assert_eq!((code_of(""), code_of("WELSH")), (None, Some("cym")));
    }
}
