//! The character encoding of a page, and the page as text.
//!
//! The order is that of the WHATWG HTML Standard (section 13.2.3): byte order mark, HTTP header, a
//! declaration in the first 1,024 bytes, detection. It departs in one point, because archives lie
//! more often than servers. The page is UTF-8 if its bytes are valid UTF-8 with at least one
//! character that is not ASCII, and if the declared encoding cannot decode them or has one byte a
//! character. Text in such an encoding is valid UTF-8 only by a rare accident.
//!
//! The detector is `chardetng`. It reads about 5 MB per CPU second, so it gets only the lines that
//! are not ASCII, up to 64 KiB.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE,
};
use memchr::memmem;

use super::prescan::{PRESCAN, prescan};

/// The number of bytes that the detector gets.
const DETECTED: usize = 64 << 10;
/// More than one replaced character in this number of characters is an error, and so are control
/// characters.
const WRONG_SHARE: usize = 100;
/// The encodings in which a character may have several bytes.
const MULTI_BYTE: [&Encoding; 10] = [
    BIG5,
    EUC_JP,
    EUC_KR,
    GB18030,
    GBK,
    ISO_2022_JP,
    SHIFT_JIS,
    UTF_8,
    UTF_16BE,
    UTF_16LE,
];

/// The reason of a page that cannot be decoded.
pub const CHARSET: &str = "charset";

/// The source of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The byte order mark.
    Bom,
    /// The HTTP header.
    Http,
    /// A `meta` element or an XML declaration.
    Meta,
    /// The bytes are valid UTF-8.
    Utf8,
    /// The detector.
    Detector,
}

impl Source {
    /// The word for the column `charset_from`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Bom => "bom",
            Source::Http => "http",
            Source::Meta => "meta",
            Source::Utf8 => "utf8",
            Source::Detector => "detector",
        }
    }
}

/// A page as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text, without a byte order mark.
    pub text: Cow<'a, str>,
    /// The name of the encoding, as the WHATWG Encoding Standard spells it.
    pub charset: &'static str,
    /// The source of the encoding.
    pub from: Source,
    /// The number of characters that became U+FFFD.
    pub replaced: usize,
}

/// Decodes a page. `http` is the charset of the HTTP header, and `tld` is the last label of the
/// host, a hint for the detector.
///
/// # Errors
/// If more than one character in a hundred had to be replaced, or is a control character that no
/// text has. The error is a description.
pub fn decode<'a>(
    bytes: &'a [u8],
    http: Option<&str>,
    tld: Option<&str>,
) -> Result<Decoded<'a>, String> {
    let (encoding, from, mark) = encoding(bytes, http, tld);
    let (text, has_errors) = encoding.decode_without_bom_handling(&bytes[mark..]);

    let replaced = match has_errors {
        true => count_replaced(&text, bytes, encoding),
        false => 0,
    };
    let controls = text.bytes().filter(|byte| is_control(*byte)).count();
    if replaced + controls > 0 {
        let characters = text.chars().count();
        let name = encoding.name();
        if replaced * WRONG_SHARE > characters {
            return Err(format!(
                "{replaced} of {characters} characters are not valid in {name}"
            ));
        }
        if controls * WRONG_SHARE > characters {
            return Err(format!(
                "{controls} of {characters} characters in {name} are control characters, as in \
                 binary data"
            ));
        }
    }
    Ok(Decoded {
        text,
        charset: encoding.name(),
        from,
        replaced,
    })
}

/// True for control characters other than white space and the escape of terminals.
fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

/// The value of `charset` in a `Content-Type`.
pub fn of_content_type(value: &str) -> Option<&str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        let value = value.trim().trim_matches(['"', '\'']).trim();
        (is_charset && !value.is_empty()).then_some(value)
    })
}

/// The encoding of a page, its source, and the length of the byte order mark.
fn encoding(
    bytes: &[u8],
    http: Option<&str>,
    tld: Option<&str>,
) -> (&'static Encoding, Source, usize) {
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return (encoding, Source::Bom, length);
    }

    let http = http
        .and_then(|label| Encoding::for_label(label.as_bytes()))
        .filter(|encoding| !is_false_utf16(bytes, encoding));
    let declared = match http {
        Some(encoding) => Some((encoding, Source::Http)),
        None => prescan(bytes).map(|encoding| (encoding, Source::Meta)),
    };
    if let Some((encoding, from)) = declared {
        return match is_utf8_instead(bytes, encoding) {
            true => (UTF_8, Source::Utf8, 0),
            false => (encoding, from, 0),
        };
    }

    // Zeros are valid UTF-8, so UTF-16 is looked for first.
    if let Some(encoding) = utf16(bytes) {
        return (encoding, Source::Detector, 0);
    }
    if !bytes.contains(&0x1b) && std::str::from_utf8(bytes).is_ok() {
        return (UTF_8, Source::Utf8, 0);
    }
    match detect(bytes, tld) {
        encoding if encoding == UTF_8 => (UTF_8, Source::Utf8, 0),
        encoding => (encoding, Source::Detector, 0),
    }
}

/// True if UTF-16 was declared, and the bytes are UTF-8. Nearly any bytes can be decoded as UTF-16,
/// but UTF-16 has a zero in each letter of a tag.
fn is_false_utf16(bytes: &[u8], declared: &Encoding) -> bool {
    let is_utf16 = declared == UTF_16LE || declared == UTF_16BE;

    is_utf16 && !bytes[..bytes.len().min(PRESCAN)].contains(&0) && utf8_length(bytes).is_some()
}

/// The length of the bytes as UTF-8 without a character that is cut at their end. `None` if they
/// are not UTF-8.
fn utf8_length(bytes: &[u8]) -> Option<usize> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

/// True if the page is UTF-8 although another encoding was declared.
fn is_utf8_instead(bytes: &[u8], declared: &'static Encoding) -> bool {
    let is_utf8 = utf8_length(bytes).is_some_and(|length| !bytes[..length].is_ascii());
    if declared == UTF_8 || !is_utf8 {
        return false;
    }
    !MULTI_BYTE.contains(&declared)
        || declared
            .decode_without_bom_handling_and_without_replacement(bytes)
            .is_none()
}

/// UTF-16, if most of the first bytes in even or in odd places are zero. That is so for markup.
fn utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(PRESCAN) & !1];
    if head.len() < 8 {
        return None;
    }
    let zeros = |first: usize| {
        head.iter()
            .skip(first)
            .step_by(2)
            .filter(|byte| **byte == 0)
    };
    let (even, odd) = (zeros(0).count(), zeros(1).count());

    let many = head.len() / 5;
    let few = head.len() / 50;
    match (even, odd) {
        _ if odd >= many && even <= few => Some(UTF_16LE),
        _ if even >= many && odd <= few => Some(UTF_16BE),
        _ => None,
    }
}

/// The encoding that the detector finds.
fn detect(bytes: &[u8], tld: Option<&str>) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    if bytes.contains(&0x1b) {
        // ISO-2022-JP is ASCII with escapes, so each byte may matter.
        detector.feed(&bytes[..bytes.len().min(DETECTED)], bytes.len() <= DETECTED);
    } else {
        let mut left = DETECTED;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if left > 0 && !line.is_ascii() {
                let piece = &line[..line.len().min(left)];
                detector.feed(piece, false);
                left -= piece.len();
            }
        }
    }

    // The detector panics on a label that cannot be one.
    let is_label = |tld: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !tld.is_empty() && tld.bytes().all(|byte| is_letter(byte) || byte == b'-')
    };
    let tld = tld.filter(is_label).map(str::as_bytes);
    // A character that is cut at the end of the page is no proof against UTF-8.
    detector.guess(tld, Utf8Detection::Allow)
}

/// The number of characters that were replaced, without those that were U+FFFD before.
fn count_replaced(text: &str, bytes: &[u8], encoding: &'static Encoding) -> usize {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    let found = memmem::find_iter(text.as_bytes(), REPLACEMENT).count();
    match encoding == UTF_8 {
        true => found - memmem::find_iter(bytes, REPLACEMENT).count().min(found),
        false => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The charset and its source.
    fn found(bytes: &[u8], http: Option<&str>) -> (&'static str, &'static str) {
        let decoded = decode(bytes, http, None).expect("a text");
        (decoded.charset, decoded.from.name())
    }

    #[test]
    fn a_mark_wins_over_http_and_http_over_meta_and_meta_over_the_detector() {
        let meta = b"<meta charset=koi8-r>\xe4";
        assert_eq!(found(b"\xef\xbb\xbfa", Some("koi8-r")), ("UTF-8", "bom"));
        assert_eq!(found(b"\xff\xfea\0", Some("utf-8")), ("UTF-16LE", "bom"));
        assert_eq!(found(meta, Some("latin1")), ("windows-1252", "http"));
        assert_eq!(found(meta, Some("no such name")), ("KOI8-R", "meta"));
        assert_eq!(found(meta, None), ("KOI8-R", "meta"));
        assert_eq!(found("ä".as_bytes(), None), ("UTF-8", "utf8"));
        assert_eq!(found(b"stra\xdfe und m\xe4dchen", None).1, "detector");
    }

    #[test]
    fn utf_8_is_seen_behind_a_wrong_declaration() {
        let page = "Grüße aus Köln".as_bytes();
        assert_eq!(found(page, Some("ISO-8859-1")), ("UTF-8", "utf8"));
        let japanese = "日本語のページです".as_bytes();
        assert_eq!(found(japanese, Some("shift_jis")), ("UTF-8", "utf8"));
        assert_eq!(
            found(b"ascii", Some("ISO-8859-1")),
            ("windows-1252", "http")
        );
        // Archives cut pages, and not between two characters.
        let page = "Grüße ß".repeat(40);
        let cut = &page.as_bytes()[..page.len() - 1];
        assert_eq!(found(cut, Some("ISO-8859-1")).0, "UTF-8");
        assert_eq!(found(b"stra\xdf", Some("ISO-8859-1")).0, "windows-1252");
        // These bytes are valid in both.
        assert_eq!(found(b"\xc1\xaa\xcd\xa8", Some("gb2312")), ("GBK", "http"));
    }

    #[test]
    fn labels_mean_what_browsers_take_them_for() {
        let meta = |label: &str| {
            let page = format!("<meta charset=\"{label}\"><p>x");
            found(page.as_bytes(), None).0
        };
        assert_eq!(meta("utf-16"), "UTF-8");
        assert_eq!(meta("x-user-defined"), "windows-1252");
        assert_eq!(meta("ks_c_5601-1987"), "EUC-KR");
        assert_eq!(meta("GB2312"), "GBK");
        assert_eq!(
            found(b"<?xml version='1.0' encoding='koi8-r'?>\xe4", None).0,
            "KOI8-R"
        );
        assert_eq!(
            found(b"<?xml encoding=\"utf-16\"?><a/>", None),
            ("UTF-8", "meta")
        );
    }

    #[test]
    fn utf_16_without_a_mark_is_found() {
        let page = "<html><p>Grüße</p>";
        let little: Vec<u8> = page.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = page.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(found(&little, None), ("UTF-16LE", "detector"));
        assert_eq!(found(&big, None), ("UTF-16BE", "detector"));
        assert_eq!(decode(&little, None, None).expect("a text").text, page);
    }

    #[test]
    fn a_page_without_zeros_is_not_utf_16() {
        for page in ["<html><p>ascii</p></html>", "<p>Grüße aus Köln</p>"] {
            for label in ["utf-16", "utf-16be"] {
                assert_eq!(found(page.as_bytes(), Some(label)), ("UTF-8", "utf8"));
            }
        }
        let meta = b"<meta charset=koi8-r>\xe4";
        assert_eq!(found(meta, Some("utf-16")), ("KOI8-R", "meta"));
        assert_eq!(found(b"\xe4a\xfcb", Some("utf-16")), ("UTF-16LE", "http"));
        let chinese: Vec<u8> = "人人生而自由"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(found(&chinese, Some("utf-16")), ("UTF-16LE", "http"));
    }

    #[test]
    fn japanese_in_escapes_is_found() {
        let (bytes, ..) = ISO_2022_JP.encode("日本語のページです");
        let page = [b"<p>", &bytes[..], b"</p>"].concat();
        assert_eq!(found(&page, None).0, "ISO-2022-JP");
    }

    #[test]
    fn texts_without_a_declaration_are_detected_in_many_languages() {
        for (label, text) in [
            (
                "shift_jis",
                "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
            ),
            (
                "euc-jp",
                "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
            ),
            (
                "euc-kr",
                "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
            ),
            (
                "gbk",
                "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
            ),
            (
                "big5",
                "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心。",
            ),
            (
                "windows-1251",
                "Все люди рождаются свободными и равными в своем достоинстве.",
            ),
            (
                "koi8-r",
                "Все люди рождаются свободными и равными в своем достоинстве.",
            ),
            (
                "windows-1253",
                "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
            ),
            (
                "windows-1254",
                "Bütün insanlar hür doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine karşı \
                 kardeşlik zihniyeti ile hareket etmelidirler. Yaşamak, hürriyet ve kişi emniyeti her ferdin hakkıdır.",
            ),
            (
                "windows-1255",
                "כל בני אדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
            ),
            (
                "windows-1256",
                "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
            ),
            (
                "windows-874",
                "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
            ),
            (
                "windows-1250",
                "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.",
            ),
            (
                "windows-1252",
                "Tous les êtres humains naissent libres et égaux en dignité.",
            ),
        ] {
            let encoding = Encoding::for_label(label.as_bytes()).expect("a known label");
            let (bytes, _, has_errors) = encoding.encode(text);
            assert!(!has_errors, "{label}");
            let page = [b"<html><title>x</title>\n<p>", &bytes[..], b"</p>\n"].concat();
            let decoded = decode(&page, None, None).expect("a text");
            assert!(
                decoded.text.contains(text),
                "{label} as {}",
                decoded.charset
            );
        }
    }

    #[test]
    fn replaced_characters_are_counted_and_more_than_a_hundredth_is_an_error() {
        let page = format!("{}\u{fffd}", "a".repeat(198));
        let one = [page.as_bytes(), b"\xff"].concat();
        let decoded = decode(&one, Some("utf-8"), None).expect("a text");
        assert_eq!(decoded.replaced, 1);
        let many = [&one[..], b"\xff\xff"].concat();
        assert!(decode(&many, Some("utf-8"), None).is_err());
    }

    #[test]
    fn binary_data_is_no_text() {
        let all: Vec<u8> = (0..=255).collect();
        let binary = [b"<p>", &all[..]].concat();
        assert!(decode(&binary, None, None).is_err());
        let error = decode(&binary, Some("windows-1252"), None).expect_err("no text");
        assert!(error.contains("control characters"), "{error}");
        let terminal = b"<pre>\x1b[0m\x0c a page with a bell \x07".repeat(3);
        assert!(decode(&[&terminal[..], &[b'a'; 300]].concat(), None, None).is_ok());
    }

    #[test]
    fn a_content_type_names_its_charset_in_quotes_or_not() {
        assert_eq!(
            of_content_type("text/html; Charset=\"utf-8\""),
            Some("utf-8")
        );
        assert_eq!(
            of_content_type("text/html;x=y; charset = big5 ;z"),
            Some("big5")
        );
        assert_eq!(of_content_type("text/html; charset="), None);
        assert_eq!(of_content_type("charset=utf-8"), None);
    }

    #[test]
    fn no_bytes_make_a_panic() {
        let mut state = 1_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..round % 60)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    b"<>!-/meta charset='\"= \xe4\x1b\0koi8-r?x"[(state >> 33) as usize % 33]
                })
                .collect();
            let _ = decode(&bytes, None, Some("-x.Y"));
        }
    }
}
