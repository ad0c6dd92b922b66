//! Text of strangers: texts of the corpus, and names of sources, files and rules that come from it.
//!
//! Such a text is escaped by the template, stands in an element of its own whose direction is that
//! of the text, and has no character that a reader cannot see. Control characters, marks of
//! direction and joiners are shown by their number, such as U+202E.

use curate_scorers::unseen::is_unseen;
use maud::{Markup, html};

/// Greatest length of a name or a path that is shown, in characters.
const LONGEST_NAME: usize = 200;

/// A name in one line: of a source, a rule, a file or a document.
pub fn name(text: &str) -> Markup {
    let (shown, is_cut) = cut(text, LONGEST_NAME);
    html! { bdi { (seen(shown, |_| false)) @if is_cut { "…" } } }
}

/// A text of several lines, up to `chars` characters.
pub fn block(text: &str, chars: usize) -> Markup {
    let (shown, is_cut) = cut(text, chars);
    html! {
        div.text dir="auto" {
            (seen(shown, |c| matches!(c, '\n' | '\t')))
            @if is_cut { "…" }
        }
    }
}

/// A text of several lines of which the middle part is marked.
pub fn marked(before: &str, middle: &str, after: &str) -> Markup {
    let lines = |c| matches!(c, '\n' | '\t');
    html! {
        div.text dir="auto" {
            (seen(before, lines))
            @if !middle.is_empty() { mark { (seen(middle, lines)) } }
            (seen(after, lines))
        }
    }
}

/// The first `chars` characters of a text, and whether characters follow.
fn cut(text: &str, chars: usize) -> (&str, bool) {
    match text.char_indices().nth(chars) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

/// A text in which each character without a shape is shown by its number, unless `keep` says that
/// the character is kept.
fn seen(text: &str, keep: fn(char) -> bool) -> Markup {
    let is_hidden = |c: char| (c.is_control() || is_unseen(c)) && !keep(c);
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
        parts.push((&rest[..at], Some(c)));
        rest = &rest[at + c.len_utf8()..];
    }
    parts.push((rest, None));

    html! {
        @for (plain, hidden) in parts {
            (plain)
            @if let Some(c) = hidden { span.code { (format!("U+{:04X}", u32::from(c))) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_strangers_is_text() {
        assert_eq!(
            name("<img onerror=x>\"&").into_string(),
            "<bdi>&lt;img onerror=x&gt;&quot;&amp;</bdi>"
        );
    }

    #[test]
    fn characters_without_a_shape_are_named() {
        assert_eq!(
            name("a\u{202e}\n\0b").into_string(),
            "<bdi>a<span class=\"code\">U+202E</span><span class=\"code\">U+000A</span>\
             <span class=\"code\">U+0000</span>b</bdi>"
        );
        let shown = block("a\nb\u{2066}", 10).into_string();
        assert!(
            shown.contains("a\nb<span class=\"code\">U+2066</span>"),
            "{shown}"
        );
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert!(block("漢字かな", 2).into_string().contains(">漢字…<"));
        assert!(block("漢字", 2).into_string().contains(">漢字<"));
    }
}
