//! Which tokens of a document a model reads, and which of them are scored.
//!
//! * `start`: the first min(512, context) tokens, including the beginning-of-sequence token if the
//!   model has one. FineWeb-Edu's classifier reads as much (arXiv:2406.17557).
//! * `start+middle`: also as many tokens from the middle of the document.
//! * `all`: every token, in windows that overlap by half. Every token after the first window has at
//!   least half a window before it.
//!
//! No token is scored twice. The first token of a document is scored only after a
//! beginning-of-sequence token, because otherwise nothing predicts it. The first token of a middle
//! window is never scored: before it in the window is nothing, or a beginning-of-sequence token
//! that is not before it in the document.

use std::ops::Range;

use crate::lm::LmError;
use crate::lm::decoder::Input;

/// The longest window of `start` and `start+middle`, in tokens.
pub const START_TOKENS: usize = 512;

/// The longest window of `all`, in tokens. The cost of attention grows with the window: 32,768
/// tokens would triple the cost of the 0.5B model.
pub const ALL_TOKENS: usize = 2048;

/// Which part of a document is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// The first window.
    Start,
    /// The first window, and one from the middle of the document.
    StartMiddle,
    /// All tokens, in overlapping windows.
    All,
}

impl WindowKind {
    /// Reads the name that a manifest uses: `start`, `start+middle` or `all`.
    ///
    /// # Errors
    /// [`LmError::Config`] for any other name.
    pub fn parse(name: &str) -> Result<WindowKind, LmError> {
        match name {
            "start" => Ok(WindowKind::Start),
            "start+middle" => Ok(WindowKind::StartMiddle),
            "all" => Ok(WindowKind::All),
            _ => Err(LmError::config(
                "window",
                name,
                "start, start+middle or all",
            )),
        }
    }

    /// The name that a manifest uses.
    pub fn name(self) -> &'static str {
        match self {
            WindowKind::Start => "start",
            WindowKind::StartMiddle => "start+middle",
            WindowKind::All => "all",
        }
    }
}

/// How documents are cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowing {
    /// Which part of a document is scored.
    pub kind: WindowKind,
    /// The model's context, in tokens.
    pub context: usize,
    /// The token that is put before each window, if the model has one.
    pub bos: Option<u32>,
}

/// A window of a document. The model reads `tokens` and scores those from `first_scored` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Positions in the document that the window covers.
    pub tokens: Range<usize>,
    /// Position in the document of the first scored token.
    pub first_scored: usize,
}

impl Windowing {
    /// Tokens in the longest window, including the beginning-of-sequence token. The decoder needs
    /// as many positions.
    pub fn positions(&self) -> usize {
        match self.kind {
            WindowKind::All => self.context.min(ALL_TOKENS),
            _ => self.context.min(START_TOKENS),
        }
    }

    /// Number of leading tokens of a document that determine its windows. Later text need not be
    /// tokenised. `None` if all tokens are needed.
    pub fn tokens_needed(&self) -> Option<usize> {
        (self.kind == WindowKind::Start).then(|| self.text_tokens())
    }

    /// Tokens of the document in a full window, at least 1.
    fn text_tokens(&self) -> usize {
        self.positions()
            .saturating_sub(usize::from(self.bos.is_some()))
            .max(1)
    }

    /// The windows of a document of `document_tokens` tokens, in order. Windows in which nothing is
    /// scored are left out.
    pub fn windows(&self, document_tokens: usize) -> Vec<Window> {
        let width = self.text_tokens();
        let first = usize::from(self.bos.is_none());

        let mut windows = vec![Window {
            tokens: 0..document_tokens.min(width),
            first_scored: first,
        }];

        match self.kind {
            WindowKind::Start => {}
            WindowKind::StartMiddle => {
                // The middle of the document. A short document has no room there: the window then
                // starts where the first one ends.
                let start = width.max(document_tokens.saturating_sub(width) / 2);
                let tokens = start..document_tokens.min(start + width);
                windows.push(Window {
                    first_scored: start + 1,
                    tokens,
                });
            }
            WindowKind::All => {
                let stride = width.div_ceil(2);

                // The last window is full too: it reaches back over more tokens instead of being
                // short.
                let mut scored = width;
                while scored < document_tokens {
                    let end = document_tokens.min(scored + stride);
                    windows.push(Window {
                        tokens: end.saturating_sub(width)..end,
                        first_scored: scored,
                    });
                    scored = end;
                }
            }
        }

        windows.retain(|window| window.first_scored < window.tokens.end);
        windows
    }

    /// The decoder's input for a window of `document`.
    pub fn input(&self, document: &[u32], window: &Window) -> Input {
        let tokens: Vec<u32> = self
            .bos
            .into_iter()
            .chain(document[window.tokens.clone()].iter().copied())
            .collect();

        let first_scored =
            window.first_scored - window.tokens.start + usize::from(self.bos.is_some());

        Input {
            tokens,
            first_scored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(
        kind: WindowKind,
        context: usize,
        bos: Option<u32>,
        tokens: usize,
    ) -> Vec<(Range<usize>, usize)> {
        let windows = Windowing { kind, context, bos }.windows(tokens);
        windows
            .into_iter()
            .map(|window| (window.tokens, window.first_scored))
            .collect()
    }

    #[test]
    fn start() {
        use WindowKind::Start;
        assert_eq!(windows(Start, 2048, None, 1000), [(0..512, 1)]);
        assert_eq!(windows(Start, 256, None, 1000), [(0..256, 1)]);
        assert_eq!(windows(Start, 256, Some(0), 1000), [(0..255, 0)]);
        assert_eq!(windows(Start, 256, None, 2), [(0..2, 1)]);
        assert_eq!(windows(Start, 256, Some(0), 1), [(0..1, 0)]);

        for (bos, tokens) in [(None, 0), (None, 1), (Some(0), 0)] {
            assert_eq!(windows(Start, 256, bos, tokens), []);
        }
    }

    #[test]
    fn start_and_middle() {
        use WindowKind::StartMiddle;

        // No room for a second window, then room for one that is short.
        assert_eq!(windows(StartMiddle, 10, None, 8), [(0..8, 1)]);
        assert_eq!(windows(StartMiddle, 10, None, 11), [(0..10, 1)]);
        assert_eq!(
            windows(StartMiddle, 10, None, 12),
            [(0..10, 1), (10..12, 11)]
        );
        assert_eq!(
            windows(StartMiddle, 10, None, 100),
            [(0..10, 1), (45..55, 46)]
        );
        assert_eq!(
            windows(StartMiddle, 10, Some(7), 100),
            [(0..9, 0), (45..54, 46)]
        );
    }

    #[test]
    fn all_scores_every_token_once() {
        assert_eq!(
            windows(WindowKind::All, 8, None, 17),
            [(0..8, 1), (4..12, 8), (8..16, 12), (9..17, 16)]
        );

        for bos in [None, Some(0)] {
            for context in 2..12 {
                for tokens in 0..60 {
                    let windowing = Windowing {
                        kind: WindowKind::All,
                        context,
                        bos,
                    };
                    let document: Vec<u32> = (0..tokens as u32).collect();

                    let mut scored = Vec::new();
                    for window in windowing.windows(tokens) {
                        let input = windowing.input(&document, &window);
                        assert!(input.tokens.len() <= context && input.first_scored >= 1);
                        scored.extend_from_slice(&input.tokens[input.first_scored..]);

                        let context_tokens = window.first_scored - window.tokens.start;
                        assert!(
                            window.tokens.start == 0
                                || context_tokens >= windowing.text_tokens() / 2
                        );
                    }

                    let first = usize::from(bos.is_none()).min(tokens);
                    assert_eq!(scored, document[first..]);
                }
            }
        }
    }

    #[test]
    fn names() {
        for kind in [WindowKind::Start, WindowKind::StartMiddle, WindowKind::All] {
            assert_eq!(WindowKind::parse(kind.name()).expect("a name"), kind);
        }
        assert!(WindowKind::parse("middle").is_err());
    }
}
