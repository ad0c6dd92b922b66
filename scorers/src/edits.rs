//! Edits: what a step that rewrites changed in a text, and why.
//!
//! A rewriting kernel returns no new text but the spans it replaces, each with a reason. A text
//! then stays reviewable (what was removed, by which rule), and [`apply`] makes the new one. Cost:
//! one copy of the text, none without edits.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Replaces the bytes `start..end` of a text, which begin and end at characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where the span begins, in bytes.
    pub start: u32,
    /// Where it ends, in bytes; the byte there is not in it.
    pub end: u32,
    /// What stands there instead; nothing, if text is removed.
    pub replacement: Cow<'static, str>,
    /// The rule that asked for it, as `family.rule`.
    pub reason: &'static str,
}

/// Why edits do not fit a text. All are bugs of whoever made them, or the edits of another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The span ends before it starts or after the text.
    #[error("edit {start}..{end} is out of range for a text of {text_len_bytes} bytes")]
    OutOfRange {
        /// The span's start.
        start: u32,
        /// Its end.
        end: u32,
        /// The length of the text.
        text_len_bytes: usize,
    },
    /// The span starts before the end of the one before it.
    #[error("edit {start}..{end} starts before the one before it ends, at {previous_end}")]
    Overlap {
        /// The span's start.
        start: u32,
        /// Its end.
        end: u32,
        /// The end of the one before it.
        previous_end: u32,
    },
    /// The span starts or ends inside of a character.
    #[error("edit {start}..{end} cuts a character")]
    CutsCharacter {
        /// The span's start.
        start: u32,
        /// Its end.
        end: u32,
    },
}

/// `text` with all `edits` made, which are in order and do not overlap.
///
/// # Errors
///
/// If an edit is out of range, out of order, overlaps the one before it or cuts a character.
pub fn apply<'a>(text: &'a str, edits: &[Edit]) -> Result<Cow<'a, str>, EditError> {
    if edits.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for &Edit {
        start,
        end,
        ref replacement,
        ..
    } in edits
    {
        if end < start || end as usize > text.len() {
            return Err(EditError::OutOfRange {
                start,
                end,
                text_len_bytes: text.len(),
            });
        }
        if start < at {
            return Err(EditError::Overlap {
                start,
                end,
                previous_end: at,
            });
        }
        if !text.is_char_boundary(start as usize) || !text.is_char_boundary(end as usize) {
            return Err(EditError::CutsCharacter { start, end });
        }
        out.push_str(&text[at as usize..start as usize]);
        out.push_str(replacement);
        at = end;
    }
    out.push_str(&text[at as usize..]);
    Ok(Cow::Owned(out))
}

/// Two steps as one: the edits of a text that give what `second` makes of the text that `first`
/// makes of it. Both are in order and do not overlap.
///
/// Spans of the result are of the text before both. Each edit keeps its reason, except for edits of
/// `first` in text that `second` replaces.
pub fn compose(first: &[Edit], second: &[Edit]) -> Vec<Edit> {
    let mut between = Between::new(first);
    for edit in second {
        between.keep_to(edit.start);
        between.replace(edit);
    }
    between.keep_to(u32::MAX);
    between.out
}

/// The text between two steps, piece by piece from its start.
struct Between {
    /// The pieces from `at` on.
    pieces: VecDeque<Piece>,
    /// Place in the text between, bytes.
    at: u32,
    /// Edits of the text before both steps, up to `at`.
    out: Vec<Edit>,
}

/// A piece of the text between: text that the first step kept, or an edit of it.
enum Piece {
    /// A span of the text before.
    Kept {
        start: u32,
        end: u32,
    },
    Put(Edit),
}

impl Between {
    fn new(first: &[Edit]) -> Between {
        let mut pieces = VecDeque::new();
        let mut at = 0;
        for edit in first {
            pieces.push_back(Piece::Kept {
                start: at,
                end: edit.start,
            });
            pieces.push_back(Piece::Put(edit.clone()));
            at = edit.end;
        }
        // The length of the text does not matter: no edit lies behind its end.
        pieces.push_back(Piece::Kept {
            start: at,
            end: u32::MAX,
        });
        Between {
            pieces,
            at: 0,
            out: Vec::new(),
        }
    }

    /// Takes over all edits before `place`, and cuts at `place` that leave no text.
    fn keep_to(&mut self, place: u32) {
        while let Some(piece) = self.take(place) {
            if let Piece::Put(edit) = piece {
                self.out.push(edit);
            }
        }
    }

    /// Takes over an edit of the second step, which begins here.
    fn replace(&mut self, edit: &Edit) {
        let start = self.pieces.front().map_or(0, Piece::start);
        let mut end = start;
        while self.at < edit.end {
            let Some(piece) = self.take(edit.end) else {
                break;
            };
            end = piece.end();
        }
        self.out.push(Edit {
            start,
            end,
            ..edit.clone()
        });
    }

    /// The next piece, at most up to `place`; `None` at `place`.
    fn take(&mut self, place: u32) -> Option<Piece> {
        let room = place - self.at;
        let piece = self.pieces.pop_front()?;
        if piece.len() <= room {
            self.at += piece.len();
            return Some(piece);
        }
        if room == 0 {
            self.pieces.push_front(piece);
            return None;
        }

        let (taken, rest) = piece.split(room);
        self.pieces.push_front(rest);
        self.at = place;
        Some(taken)
    }
}

impl Piece {
    /// Bytes in the text between.
    fn len(&self) -> u32 {
        match self {
            Piece::Kept { start, end } => end - start,
            Piece::Put(edit) => edit.replacement.len() as u32,
        }
    }

    /// Start of the piece in the text before.
    fn start(&self) -> u32 {
        match self {
            Piece::Kept { start, .. } => *start,
            Piece::Put(edit) => edit.start,
        }
    }

    /// End of the piece in the text before.
    fn end(&self) -> u32 {
        match self {
            Piece::Kept { end, .. } => *end,
            Piece::Put(edit) => edit.end,
        }
    }

    /// The first `n` bytes and the rest. The first part of an edit has all of its span.
    fn split(self, n: u32) -> (Piece, Piece) {
        match self {
            Piece::Kept { start, end } => {
                let middle = start + n;
                let kept = |start, end| Piece::Kept { start, end };
                (kept(start, middle), kept(middle, end))
            }
            Piece::Put(edit) => {
                let (left, right) = edit.replacement.split_at(n as usize);
                let rest = Edit {
                    start: edit.end,
                    replacement: Cow::Owned(right.to_owned()),
                    ..edit
                };
                let first = Edit {
                    start: edit.start,
                    replacement: Cow::Owned(left.to_owned()),
                    ..edit
                };
                (Piece::Put(first), Piece::Put(rest))
            }
        }
    }
}

/// Collects edits in order; those that touch and remove for the same reason become one.
pub(crate) struct Editor<'a> {
    edits: &'a mut Vec<Edit>,
    /// Edits before this one were there already.
    first: usize,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(edits: &'a mut Vec<Edit>) -> Editor<'a> {
        let first = edits.len();
        Editor { edits, first }
    }

    /// Removes `start..end`, which is not before any span so far; nothing if it is empty.
    pub(crate) fn remove(&mut self, start: usize, end: usize, reason: &'static str) {
        self.replace(start, end, "", reason);
    }

    pub(crate) fn replace(
        &mut self,
        start: usize,
        end: usize,
        replacement: &'static str,
        reason: &'static str,
    ) {
        if start == end {
            return;
        }
        let (start, end) = (start as u32, end as u32);
        match self.edits[self.first..].last_mut() {
            Some(last)
                if last.end == start && last.reason == reason && last.replacement.is_empty() =>
            {
                last.end = end;
                last.replacement = Cow::Borrowed(replacement);
            }
            _ => self.edits.push(Edit {
                start,
                end,
                replacement: Cow::Borrowed(replacement),
                reason,
            }),
        }
    }

    /// Removes what is left before `first` and from `last` to `text_len_bytes`: edits there lose
    /// their replacement, and what lies between them goes for `reason`. No edit may reach over
    /// either.
    pub(crate) fn crop(
        &mut self,
        first: usize,
        last: usize,
        text_len_bytes: usize,
        reason: &'static str,
    ) {
        let old: Vec<Edit> = self.edits.drain(self.first..).collect();
        let head = old.partition_point(|edit| (edit.start as usize) < first);
        let tail = head + old[head..].partition_point(|edit| (edit.start as usize) < last);
        self.remove_all(0, first, &old[..head], reason);
        for edit in &old[head..tail] {
            self.edits.push(edit.clone());
        }
        self.remove_all(last, text_len_bytes, &old[tail..], reason);
    }

    fn remove_all(&mut self, start: usize, end: usize, edits: &[Edit], reason: &'static str) {
        let mut at = start;
        for edit in edits {
            self.remove(at, edit.start as usize, reason);
            self.remove(edit.start as usize, edit.end as usize, edit.reason);
            at = edit.end as usize;
        }
        self.remove(at, end, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: u32, end: u32, replacement: &'static str) -> Edit {
        Edit {
            start,
            end,
            replacement: Cow::Borrowed(replacement),
            reason: "test.rule",
        }
    }

    #[test]
    fn edits_are_made_in_order() {
        assert!(matches!(
            apply("שלום 😀", &[]),
            Ok(Cow::Borrowed("שלום 😀"))
        ));
        assert_eq!(apply("", &[edit(0, 0, "a")]).as_deref(), Ok("a"));
        assert_eq!(apply("abc", &[edit(0, 3, "")]).as_deref(), Ok(""));
        assert_eq!(
            apply(
                "añb😀",
                &[edit(0, 1, ""), edit(1, 3, "n"), edit(4, 8, ":)")]
            )
            .as_deref(),
            Ok("nb:)")
        );
        assert_eq!(
            apply("ab", &[edit(1, 1, "x"), edit(1, 1, "y")]).as_deref(),
            Ok("axyb")
        );
    }

    #[test]
    fn edits_that_do_not_fit_are_errors() {
        let message = |text, edits: &[Edit]| apply(text, edits).map_err(|e| e.to_string());
        let err = |message: &str| Err(message.to_string());
        assert_eq!(
            message("ab", &[edit(1, 3, "")]),
            err("edit 1..3 is out of range for a text of 2 bytes")
        );
        assert_eq!(
            message("ab", &[edit(2, 1, "")]),
            err("edit 2..1 is out of range for a text of 2 bytes")
        );
        let overlapping = [edit(0, 2, ""), edit(1, 2, "")];
        assert_eq!(
            message("abc", &overlapping),
            err("edit 1..2 starts before the one before it ends, at 2")
        );
        assert_eq!(
            message("é", &[edit(0, 1, "")]),
            err("edit 0..1 cuts a character")
        );
        assert_eq!(
            message("é", &[edit(1, 2, "")]),
            err("edit 1..2 cuts a character")
        );
    }

    #[test]
    fn touching_removals_become_one_and_the_ends_are_cropped() {
        let mut edits = vec![edit(0, 0, "kept")];
        let mut editor = Editor::new(&mut edits);
        editor.remove(1, 2, "a");
        editor.remove(2, 3, "a");
        editor.remove(3, 3, "b");
        editor.replace(3, 5, "\n", "a");
        editor.remove(7, 8, "b");
        editor.replace(9, 10, "\n", "b");
        editor.crop(6, 8, 12, "c");
        let spans: Vec<_> = edits
            .iter()
            .map(|e| (e.start, e.end, &*e.replacement, e.reason))
            .collect();
        assert_eq!(
            spans,
            [
                (0, 0, "kept", "test.rule"),
                (0, 1, "", "c"),
                (1, 5, "", "a"),
                (5, 6, "", "c"),
                (7, 8, "", "b"),
                (8, 9, "", "c"),
                (9, 10, "", "b"),
                (10, 12, "", "c")
            ]
        );
    }

    /// Edits of a text of `len` letters, drawn at random; replacements may be longer than spans.
    fn drawn(len: u32, below: &mut dyn FnMut(u32) -> u32) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut at = below(4);
        while at < len {
            let end = (at + below(4)).min(len);
            let letters: String = (0..below(4))
                .map(|_| ['x', 'y', 'z'][below(3) as usize])
                .collect();
            if end > at {
                edits.push(Edit {
                    start: at,
                    end,
                    replacement: Cow::Owned(letters),
                    reason: "a.b",
                });
            }
            at = end + below(5);
        }
        edits
    }

    #[test]
    fn two_steps_composed_give_the_text_of_both() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as u32 % bound
        };
        for _ in 0..20_000 {
            let text: String = "abcdefghijklmnopqrstuvwxyz"[..below(27) as usize].to_owned();
            let first = drawn(text.len() as u32, &mut below);
            let between = apply(&text, &first).expect("edits fit").into_owned();
            let second = drawn(between.len() as u32, &mut below);
            let after = apply(&between, &second).expect("edits fit");

            let composed = compose(&first, &second);
            assert_eq!(
                apply(&text, &composed).expect("edits fit"),
                after,
                "{text} {first:?} {second:?}"
            );
            assert_eq!(compose(&first, &[]), first);
            assert_eq!(compose(&[], &first), first);
        }
    }
}
