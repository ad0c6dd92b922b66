//! The caps on depth, formatting elements and nodes, in front of the tree builder.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use html5ever::LocalName;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult};
use html5ever::tree_builder::{Tracer, TreeBuilder, TreeSink};

use super::sink::{Sink, is_void};
use super::{DEPTH_MAX, Dom, NodeId};

/// Handles of the tree builder (open elements and formatting elements) above which formatting tags
/// are dropped.
const HANDLES_MAX: usize = 768;

/// Formatting start tags between two counts of the tree builder's handles.
const HANDLES_EVERY: usize = 32;

/// Counts the handles that the tree builder holds.
struct Handles(Cell<usize>);

impl Tracer for Handles {
    type Handle = NodeId;

    fn trace_handle(&self, _node: &NodeId) {
        self.0.set(self.0.get() + 1);
    }
}

/// The token sink in front of the tree builder that drops tags beyond the caps.
pub(super) struct Capped {
    builder: TreeBuilder<NodeId, Sink>,
    nodes_max: usize,
    /// Dropped start tags whose end tags are still to come.
    dropped: RefCell<HashMap<LocalName, usize>>,
    /// Formatting start tags since the tree builder's handles were counted.
    formatting: Cell<usize>,
    depth_capped: Cell<bool>,
    nodes_capped: Cell<bool>,
    /// True if the last tag opened an element whose content the tokenizer reads as text.
    pub(super) is_raw: Cell<bool>,
}

impl Capped {
    pub(super) fn new(builder: TreeBuilder<NodeId, Sink>, nodes_max: usize) -> Capped {
        Capped {
            builder,
            nodes_max,
            dropped: RefCell::default(),
            formatting: Cell::new(0),
            depth_capped: Cell::new(false),
            nodes_capped: Cell::new(false),
            is_raw: Cell::new(false),
        }
    }

    /// The tree, and what the caps did.
    pub(super) fn finish(self) -> Dom {
        let mut dom = self.builder.sink.finish();
        dom.depth_capped = self.depth_capped.get();
        dom.nodes_capped = self.nodes_capped.get();

        dom
    }

    fn is_dropped(&self, token: &Token) -> bool {
        let full = self.builder.sink.dom.borrow().nodes.len() >= self.nodes_max;
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                self.nodes_capped.set(self.nodes_capped.get() || full);
                !is_raw_text(&tag.name) && (full || self.is_too_deep(tag))
            }
            Token::TagToken(tag) if full => !is_raw_text(&tag.name),
            Token::TagToken(tag) => self.is_end_of_dropped(tag),
            Token::CommentToken(_) => full,
            _ => false,
        }
    }

    fn is_too_deep(&self, tag: &Tag) -> bool {
        // `html`, `body` and `frameset` add attributes to elements that are open already.
        let root = matches!(&*tag.name, "html" | "body" | "frameset" | "head");
        let deep = !root && self.builder.sink.level.get() as usize >= DEPTH_MAX;
        let too_deep = deep || (is_formatting(&tag.name) && self.is_formatting_full());
        if !too_deep {
            return false;
        }

        self.depth_capped.set(true);
        if !is_void(&tag.name) {
            *self
                .dropped
                .borrow_mut()
                .entry(tag.name.clone())
                .or_default() += 1;
        }
        true
    }

    fn is_formatting_full(&self) -> bool {
        self.formatting.set(self.formatting.get() + 1);
        if self.formatting.get() < HANDLES_EVERY {
            return false;
        }

        let handles = Handles(Cell::new(0));
        self.builder.trace_handles(&handles);
        let full = handles.0.get() > HANDLES_MAX;
        if !full {
            self.formatting.set(0);
        }
        full
    }

    fn is_end_of_dropped(&self, tag: &Tag) -> bool {
        let mut dropped = self.dropped.borrow_mut();
        match dropped.get_mut(&tag.name) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

impl TokenSink for Capped {
    type Handle = NodeId;

    fn process_token(&self, token: Token, line_number: u64) -> TokenSinkResult<NodeId> {
        let is_tag = matches!(token, Token::TagToken(_));
        #[cfg(test)]
        if let Token::TagToken(tag) = &token {
            assert!(tag.attrs.len() <= super::feed::TAG_ATTRIBUTES_MAX);
        }

        let result = match self.is_dropped(&token) {
            true => TokenSinkResult::Continue,
            false => self.builder.process_token(token, line_number),
        };

        if is_tag {
            let is_raw = matches!(
                result,
                TokenSinkResult::RawData(_) | TokenSinkResult::Plaintext
            );
            self.is_raw.set(is_raw);
        }
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// True for elements whose content the tokenizer reads as text. Without their start tag their
/// content would be read as tags.
pub(super) fn is_raw_text(name: &str) -> bool {
    matches!(
        name,
        "iframe"
            | "noembed"
            | "noframes"
            | "plaintext"
            | "script"
            | "style"
            | "textarea"
            | "title"
            | "xmp"
    )
}

/// True for elements that the tree builder opens again after a block closed them.
fn is_formatting(name: &str) -> bool {
    matches!(
        name,
        "a" | "b"
            | "big"
            | "code"
            | "em"
            | "font"
            | "i"
            | "nobr"
            | "s"
            | "small"
            | "strike"
            | "strong"
            | "tt"
            | "u"
    )
}
