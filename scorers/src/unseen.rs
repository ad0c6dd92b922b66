//! Characters that a person cannot see.

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
