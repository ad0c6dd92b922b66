//! Characters that a person cannot see, and texts of nothing else.

use std::sync::LazyLock;

use regex::Regex;

/// A character that shows something. The properties are those of Unicode's tables, not a list of
/// our own.
///
/// - `White_Space`, control characters (Cc) and format characters (Cf) are never text.
/// - `Default_Ignorable_Code_Point` adds characters that a program leaves out if it cannot draw
///   them: variation selectors, the fillers of Hangul, the combining grapheme joiner. Without a
///   letter beside them they show nothing.
/// - U+2800 is a Braille cell without dots. Its category is that of symbols, but it is a space.
static SEEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[^\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u{2800}]")
        .expect("a valid pattern")
});

/// True if a text holds nothing to read: it is empty, or all of it is white space, control
/// characters, format characters, and other characters without a shape. Every stage that rewrites
/// texts removes such a document.
///
/// The text is read up to its first character that shows something.
///
/// ```
/// use curate_scorers::unseen::is_blank;
/// assert!(is_blank("") && is_blank(" \n\u{200b}\u{3164}\u{2800}"));
/// assert!(!is_blank("\u{feff}a") && !is_blank("---"));
/// ```
pub fn is_blank(text: &str) -> bool {
    !SEEN.is_match(text)
}

/// True if `c` has no shape of its own, or turns the direction or the lines of the text around it:
/// marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX #9, section 2),
/// separators of lines and paragraphs, joiners, annotation marks and tags.
///
/// ```
/// use curate_scorers::unseen::is_unseen;
/// assert!(is_unseen('\u{202e}') && is_unseen('\u{feff}'));
/// assert!(!is_unseen(' ') && !is_unseen('é'));
/// ```
pub fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_text_shows_nothing() {
        // One character of each kind: white space, controls, zero-width and format characters,
        // joiners, variation selectors, fillers, tags, and the Braille cell without dots.
        let blank = [
            ' ',
            '\t',
            '\n',
            '\r',
            '\u{b}',
            '\u{c}',
            '\u{85}',
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{2028}',
            '\u{202f}',
            '\u{3000}',
            '\0',
            '\u{7}',
            '\u{1c}',
            '\u{7f}',
            '\u{9f}',
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2060}',
            '\u{2062}',
            '\u{feff}',
            '\u{fff9}',
            '\u{180e}',
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{180b}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{e0041}',
            '\u{2800}',
        ];
        for char in blank {
            assert!(is_blank(&char.to_string()), "U+{:04X}", u32::from(char));
        }
        assert!(is_blank(&blank.iter().collect::<String>()));
        assert!(is_blank(&" ".repeat(1 << 20)));

        // Letters of any script, marks, digits, symbols, and U+FFFD, which takes the place of lost text.
        for seen in [
            "a",
            "é",
            "e\u{301}",
            "\u{301}",
            "ש",
            "字",
            "한",
            "ก",
            "-",
            "•",
            "7",
            "😀",
            "\u{2801}",
            "\u{fffd}",
            "\u{e000}",
            " \u{200b}x",
        ] {
            assert!(!is_blank(seen), "{seen:?}");
        }
        assert!(!is_blank(&format!("{}x", "\u{200b}".repeat(1 << 20))));
    }

    #[test]
    fn every_unseen_character_is_blank() {
        for char in ('\0'..=char::MAX).filter(|char| is_unseen(*char) || char.is_whitespace()) {
            assert!(is_blank(&char.to_string()), "U+{:04X}", u32::from(char));
        }
    }
}
