//! The edits that make a text the lines that C4 keeps, joined by line feeds.

use super::{offset, pieces};
use crate::edits::{Edit, Editor};
use crate::python::is_space;

/// The reason of edits that remove blank lines, indentation and line ends.
pub(super) const WHITE_SPACE: &str = "c4.white_space";

/// The edits of a text so far. The lines of the text must come in order.
pub(super) struct Rewrite<'a, 'e> {
    text: &'a str,
    editor: Editor<'e>,
    /// The bytes from the first kept character that is not white space to the end of the last such
    /// character. `None` if there is no such character so far.
    kept: Option<(usize, usize)>,
}

impl<'a, 'e> Rewrite<'a, 'e> {
    /// Starts a rewrite of `text`, whose edits are appended to `edits`.
    pub(super) fn new(text: &'a str, edits: &'e mut Vec<Edit>) -> Rewrite<'a, 'e> {
        Rewrite {
            text,
            editor: Editor::new(edits),
            kept: None,
        }
    }

    /// The start and the end of `line`, and the start of the next line.
    fn span(&self, line: &str) -> (usize, usize, usize) {
        let start = offset(self.text, line);
        let end = start + line.len();

        // `\r\n` is one line end. All other line ends are one character.
        let line_end_len = match self.text[end..].chars().next() {
            Some('\r') if self.text[end + 1..].starts_with('\n') => 2,
            line_end => line_end.map_or(0, char::len_utf8),
        };
        (start, end, end + line_end_len)
    }

    /// Drops `line` together with its line end.
    pub(super) fn drop(&mut self, line: &str, reason: &'static str) {
        let (start, _, next) = self.span(line);
        self.editor.remove(start, next, reason);
    }

    /// Keeps `stripped`, which is `line` without white space around it, and removes its
    /// `citations`.
    pub(super) fn keep(&mut self, line: &str, stripped: &str, citations: &[(usize, usize)]) {
        let (start, end, next) = self.span(line);
        let first = offset(self.text, stripped);
        let last = first + stripped.len();

        self.editor.remove(start, first, WHITE_SPACE);
        for citation in citations {
            self.editor
                .remove(first + citation.0, first + citation.1, "c4.citation");
        }

        // The line end becomes one line feed. A line feed that is there already is not edited.
        if end == next {
            self.editor.remove(last, next, WHITE_SPACE);
        } else if self.text[..next].ends_with('\n') {
            self.editor.remove(last, next - 1, WHITE_SPACE);
        } else {
            self.editor.replace(last, next, "\n", WHITE_SPACE);
        }

        self.extend_kept(stripped, citations);
    }

    /// Extends the kept span by the pieces of a kept line between its `citations`.
    fn extend_kept(&mut self, stripped: &str, citations: &[(usize, usize)]) {
        // The citations are gone when the text is stripped, so white space behind a citation at the
        // start of a line counts as white space at the start.
        let mut first = pieces(stripped, citations).map(|piece| piece.trim_start_matches(is_space));
        let mut last = pieces(stripped, citations)
            .rev()
            .map(|piece| piece.trim_end_matches(is_space));

        if let (Some(first), Some(last)) =
            (first.find(|p| !p.is_empty()), last.find(|p| !p.is_empty()))
        {
            let start = offset(self.text, first);
            let end = offset(self.text, last) + last.len();
            self.kept = Some((self.kept.map_or(start, |kept| kept.0), end));
        }
    }

    /// Strips the joined lines at both ends. If nothing is kept, the whole text is removed.
    pub(super) fn finish(mut self) {
        let (first, last) = self.kept.unwrap_or((self.text.len(), self.text.len()));
        self.editor.crop(first, last, self.text.len(), WHITE_SPACE);
    }
}
