//! Edits: the changes that a rewriting step makes to a text, each with a reason.
//!
//! A rewriting kernel does not return a new text. It returns the spans that it replaces, so people
//! can review what was removed, and by which rule. [`apply`] makes the new text. Cost: one copy of
//! the text, and no copy without edits.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Replaces the bytes `start..end` of a text. Both ends lie between characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Start of the span, in bytes.
    pub start: u32,
    /// End of the span, in bytes. The byte at `end` is not in the span.
    pub end: u32,
    /// The text that replaces the span; empty if the span is removed.
    pub replacement: Cow<'static, str>,
    /// The rule that made the edit, as `family.rule`.
    pub reason: &'static str,
}

/// Reasons why edits do not fit a text. Each is a bug in the kernel that made the edits, or the
/// edits belong to another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The span ends before its start, or behind the end of the text.
    #[error("edit {start}..{end} is out of range for a text of {text_len_bytes} bytes")]
    OutOfRange {
        /// Start of the span, in bytes.
        start: u32,
        /// End of the span, in bytes.
        end: u32,
        /// Length of the text in bytes.
        text_len_bytes: usize,
    },
    /// The span starts before the end of the previous span.
    #[error("edit {start}..{end} starts before the previous edit ends, at {previous_end}")]
    Overlap {
        /// Start of the span, in bytes.
        start: u32,
        /// End of the span, in bytes.
        end: u32,
        /// End of the previous span, in bytes.
        previous_end: u32,
    },
    /// The span starts or ends inside a character.
    #[error("edit {start}..{end} cuts a character")]
    CutsCharacter {
        /// Start of the span, in bytes.
        start: u32,
        /// End of the span, in bytes.
        end: u32,
    },
}

/// The text after all `edits`, which are in order and do not overlap.
///
/// # Errors
///
/// If an edit is out of range, cuts a character, or starts before the end of the previous edit.
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

        // The slice is in range: the checks above hold for this edit and the previous one.
        out.push_str(&text[at as usize..start as usize]);
        out.push_str(replacement);
        at = end;
    }

    out.push_str(&text[at as usize..]);
    Ok(Cow::Owned(out))
}

/// Composes two steps into one. `first` holds the edits of a text, and `second` those of the text
/// that `first` makes. Both are in order and do not overlap.
///
/// The result holds edits of the text before both steps, and gives the text after both steps. Each
/// edit keeps its reason, except edits of `first` in text that `second` replaces.
pub fn compose(first: &[Edit], second: &[Edit]) -> Vec<Edit> {
    let mut between = Between::new(first);
    for edit in second {
        between.keep_to(edit.start);
        between.replace(edit);
    }

    between.keep_to(u32::MAX);
    between.out
}

/// The text between two steps, which is read piece by piece from its start.
struct Between {
    /// The pieces of the text from `at` on.
    pieces: VecDeque<Piece>,
    /// The position in the text between the steps, in bytes.
    at: u32,
    /// The edits of the text before both steps, up to `at`.
    out: Vec<Edit>,
}

/// A piece of the text between two steps: text that the first step kept, or an edit of this step.
enum Piece {
    /// A span of the text before both steps.
    Kept { start: u32, end: u32 },
    /// The replacement of an edit.
    Put(Edit),
}

impl Between {
    /// The text that `first` makes, from its start.
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

        // The length of the text does not matter, because no edit lies behind its end.
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

    /// Copies all edits of the first step before `place` to the result, and also the edits at
    /// `place` without a replacement.
    fn keep_to(&mut self, place: u32) {
        while let Some(piece) = self.take(place) {
            if let Piece::Put(edit) = piece {
                self.out.push(edit);
            }
        }
    }

    /// Adds an edit of the second step to the result. The edit begins at the current position.
    fn replace(&mut self, edit: &Edit) {
        // The span in the text before both steps covers all pieces that the edit replaces. Edits of
        // the first step among them are part of this edit now.
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

    /// The next piece, cut at `place`. `None` if `place` is reached.
    fn take(&mut self, place: u32) -> Option<Piece> {
        let room = place - self.at;
        let piece = self.pieces.pop_front()?;
        // A piece without text is taken even at `place`.
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
    /// Length of the piece in the text between the steps, in bytes.
    fn len(&self) -> u32 {
        match self {
            Piece::Kept { start, end } => end - start,
            Piece::Put(edit) => edit.replacement.len() as u32,
        }
    }

    /// Start of the piece in the text before both steps.
    fn start(&self) -> u32 {
        match self {
            Piece::Kept { start, .. } => *start,
            Piece::Put(edit) => edit.start,
        }
    }

    /// End of the piece in the text before both steps.
    fn end(&self) -> u32 {
        match self {
            Piece::Kept { end, .. } => *end,
            Piece::Put(edit) => edit.end,
        }
    }

    /// The first `n` bytes and the rest. The whole span of an edit goes to the first part.
    fn split(self, n: u32) -> (Piece, Piece) {
        match self {
            Piece::Kept { start, end } => {
                let middle = start + n;
                let kept = |start, end| Piece::Kept { start, end };
                (kept(start, middle), kept(middle, end))
            }
            Piece::Put(edit) => {
                // The cut lies between characters, as both ends of an edit do.
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

/// Collects edits in order. Removals that touch and have the same reason become one edit.
pub(crate) struct Editor<'a> {
    edits: &'a mut Vec<Edit>,
    /// The number of edits that the list held before. These edits do not change.
    first: usize,
}

impl<'a> Editor<'a> {
    /// An editor that appends to `edits`.
    pub(crate) fn new(edits: &'a mut Vec<Edit>) -> Editor<'a> {
        let first = edits.len();
        Editor { edits, first }
    }

    /// Removes `start..end`, which lies behind all earlier spans. An empty span is ignored.
    pub(crate) fn remove(&mut self, start: usize, end: usize, reason: &'static str) {
        self.replace(start, end, "", reason);
    }

    /// Replaces `start..end`, which lies behind all earlier spans. An empty span is ignored.
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

        // Texts come from columns with 32-bit offsets, so the positions fit.
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

    /// Removes all text before `first`, and from `last` to `text_len_bytes`. Edits in these places
    /// lose their replacement, and the text between them is removed for `reason`. No edit may span
    /// `first` or `last`.
    pub(crate) fn crop(
        &mut self,
        first: usize,
        last: usize,
        text_len_bytes: usize,
        reason: &'static str,
    ) {
        // Removals go in front of the kept edits too, so the list is made again in order.
        let old: Vec<Edit> = self.edits.drain(self.first..).collect();
        let head = old.partition_point(|edit| (edit.start as usize) < first);
        let tail = head + old[head..].partition_point(|edit| (edit.start as usize) < last);

        self.remove_all(0, first, &old[..head], reason);
        self.edits.extend_from_slice(&old[head..tail]);
        self.remove_all(last, text_len_bytes, &old[tail..], reason);
    }

    /// Removes `start..end`. `edits` lie within it and keep their reasons. The rest is removed for
    /// `reason`.
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
            err("edit 1..2 starts before the previous edit ends, at 2")
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

    /// Random edits of a text of `len` letters. Replacements may be longer than their spans.
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
