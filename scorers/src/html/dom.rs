//! A page as a tree in an arena, with bounds on what a hostile page can cost.
//!
//! html5ever (WHATWG parsing) builds the tree. Its stack of open elements and its attribute lists
//! are searched linearly, so four caps are in front of the parser:
//!
//! - A tag's text is cut at 64 KiB and at 512 attributes before the tokenizer sees the page.
//! - Start tags below depth 512 are dropped, with their end tags, as browsers do.
//! - Formatting elements waiting to be opened again are limited, because each paragraph opens all.
//! - A page has at most one node for each 8 bytes (and 262,144 more). Later tags are dropped and
//!   their text is kept.
//!
//! One pass after the parse moves up what the tree builder's own repairs put below the depth cap.
//! Nothing recurses, and dropping a [`Dom`] drops a few vectors. Time is linear in the page.

mod caps;
mod feed;
mod sink;

use std::collections::{HashMap, HashSet};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{LocalName, QualName, local_name, ns};

use caps::Capped;
use feed::feed;
use sink::Sink;

/// The deepest level of an element. The document is level 0.
pub const DEPTH_MAX: usize = 512;

/// Nodes that a page may have whatever its length.
const NODES_MIN: usize = 1 << 18;

/// Index of a node in a [`Dom`].
pub type NodeId = u32;

/// The index that stands for "no node".
pub const NONE: NodeId = u32::MAX;

/// The document's node.
pub const DOCUMENT: NodeId = 0;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The document, or the contents of a template.
    Document,
    /// An element, with its index in the list of elements.
    Element(u32),
    /// A text, with its index in the list of texts.
    Text(u32),
    /// A comment or a processing instruction. Its text is not kept.
    Other,
}

/// A node's links and kind.
#[derive(Clone, Debug)]
pub struct Node {
    /// The parent, or [`NONE`].
    pub parent: NodeId,
    /// The first child, or [`NONE`].
    pub first_child: NodeId,
    /// The last child, or [`NONE`].
    pub last_child: NodeId,
    /// The sibling before, or [`NONE`].
    pub previous: NodeId,
    /// The sibling after, or [`NONE`].
    pub next: NodeId,
    /// What the node is.
    pub kind: Kind,
}

/// An element's name and attributes, as indices: hostile pages consist of small elements.
#[derive(Debug)]
struct Element {
    /// Index in the list of names.
    name: u32,
    /// Index of the first attribute in the list of attributes.
    attributes: u32,
    attributes_len: u16,
    /// Level at which the element was inserted. Later moves do not change the value.
    level: u16,
}

/// A parsed page.
#[derive(Debug, Default)]
pub struct Dom {
    nodes: Vec<Node>,
    elements: Vec<Element>,
    /// The distinct names of elements.
    names: Vec<QualName>,
    name_ids: HashMap<QualName, u32>,
    attributes: Vec<(LocalName, StrTendril)>,
    /// The nodes that hold the contents of templates.
    contents: HashMap<NodeId, NodeId>,
    /// Elements of MathML whose content is HTML.
    integration_points: HashSet<NodeId>,
    texts: Vec<StrTendril>,
    /// True if the page asks for quirks mode, in which class names ignore case.
    pub quirks: bool,
    /// True if something lay below [`DEPTH_MAX`] and was moved up.
    pub depth_capped: bool,
    /// True if the page had more nodes than its length allows.
    pub nodes_capped: bool,
    /// Tags whose text was cut.
    pub tags_cut: usize,
    /// Length of the page.
    pub bytes: usize,
}

impl Dom {
    /// Parses a page. Any text is a page.
    ///
    /// A byte order mark is text here, so the caller takes it off while decoding.
    pub fn parse(html: &str) -> Dom {
        let sink = Sink::new();
        // As for a reader without scripts: what stands in `noscript` is parsed, as lexbor does.
        let builder_options = TreeBuilderOpts {
            scripting_enabled: false,
            ..Default::default()
        };
        let builder = TreeBuilder::new(sink, builder_options);
        let capped = Capped::new(builder, html.len() / 8 + NODES_MIN);
        let options = TokenizerOpts {
            discard_bom: false,
            ..TokenizerOpts::default()
        };
        let tokenizer = Tokenizer::new(capped, options);

        let tags_cut = feed(&tokenizer, html);
        tokenizer.end();

        let mut dom = tokenizer.sink.finish();
        dom.tags_cut = tags_cut;
        dom.bytes = html.len();
        dom.flatten();
        dom
    }

    /// Number of nodes, those of templates and those no longer attached included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True if there is no node; a parsed page has at least the document.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node's links and kind.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// A text node's text.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match self.node(id).kind {
            Kind::Text(at) => Some(&self.texts[at as usize]),
            _ => None,
        }
    }

    /// An element's name without its namespace.
    pub fn name(&self, id: NodeId) -> Option<&LocalName> {
        match self.node(id).kind {
            Kind::Element(at) => Some(&self.name_of(at).local),
            _ => None,
        }
    }

    /// True if the node is an element of HTML with this name.
    pub fn is_html(&self, id: NodeId, name: &LocalName) -> bool {
        match self.node(id).kind {
            Kind::Element(at) => {
                let found = self.name_of(at);
                found.ns == ns!(html) && found.local == *name
            }
            _ => false,
        }
    }

    /// An element's attributes in the page's order. Attributes that nothing reads are absent.
    pub fn attributes(&self, id: NodeId) -> &[(LocalName, StrTendril)] {
        match self.node(id).kind {
            Kind::Element(at) => {
                let element = &self.elements[at as usize];
                &self.attributes[element.attributes as usize..][..element.attributes_len.into()]
            }
            _ => &[],
        }
    }

    /// An attribute's value, or `None` if the element does not have the attribute.
    pub fn attribute(&self, id: NodeId, name: &str) -> Option<&str> {
        let found = self.attributes(id).iter().find(|(key, _)| &**key == name)?;

        Some(&found.1)
    }

    /// The children of a node.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let first = Some(self.node(id).first_child).filter(|&id| id != NONE);

        std::iter::successors(first, |&id| {
            Some(self.node(id).next).filter(|&id| id != NONE)
        })
    }

    /// The node after `id` in the page's order, within the subtree of `root`; [`NONE`] at its end.
    pub fn following(&self, id: NodeId, root: NodeId) -> NodeId {
        let first = self.node(id).first_child;
        if first != NONE {
            return first;
        }

        self.following_subtree(id, root)
    }

    /// As [`Dom::following`], past the subtree of `id`.
    pub fn following_subtree(&self, mut id: NodeId, root: NodeId) -> NodeId {
        while id != root {
            let node = self.node(id);
            if node.next != NONE {
                return node.next;
            }
            id = node.parent;
        }

        NONE
    }

    /// The texts of a subtree, joined.
    pub fn text_of(&self, root: NodeId) -> String {
        let mut text = String::new();
        let mut id = root;
        while id != NONE {
            text.push_str(self.text(id).unwrap_or_default());
            id = self.following(id, root);
        }

        text
    }

    /// The `html` element.
    pub fn root(&self) -> Option<NodeId> {
        self.children(DOCUMENT)
            .find(|&id| self.is_html(id, &local_name!("html")))
    }

    /// The `body` element. A page of frames has none.
    pub fn body(&self) -> Option<NodeId> {
        self.children(self.root()?)
            .find(|&id| self.is_html(id, &local_name!("body")))
    }

    fn name_of(&self, element: u32) -> &QualName {
        &self.names[self.elements[element as usize].name as usize]
    }

    fn name_id(&mut self, name: QualName) -> u32 {
        if let Some(&id) = self.name_ids.get(&name) {
            return id;
        }

        let id = self.names.len() as u32;
        self.names.push(name.clone());
        self.name_ids.insert(name, id);
        id
    }

    fn push(&mut self, kind: Kind) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Node {
            parent: NONE,
            first_child: NONE,
            last_child: NONE,
            previous: NONE,
            next: NONE,
            kind,
        });

        id
    }

    fn push_text(&mut self, text: StrTendril) -> NodeId {
        self.texts.push(text);

        self.push(Kind::Text((self.texts.len() - 1) as u32))
    }

    fn level(&self, id: NodeId) -> u16 {
        match self.node(id).kind {
            Kind::Element(at) => self.elements[at as usize].level,
            _ => 0,
        }
    }

    fn set_level(&mut self, id: NodeId, level: u16) {
        if let Kind::Element(at) = self.node(id).kind {
            self.elements[at as usize].level = level;
        }
    }

    fn detach(&mut self, id: NodeId) {
        let Node {
            parent,
            previous,
            next,
            ..
        } = self.nodes[id as usize];
        if parent == NONE {
            return;
        }

        if previous == NONE {
            self.nodes[parent as usize].first_child = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next == NONE {
            self.nodes[parent as usize].last_child = previous;
        } else {
            self.nodes[next as usize].previous = previous;
        }

        let node = &mut self.nodes[id as usize];
        node.parent = NONE;
        node.previous = NONE;
        node.next = NONE;
    }

    /// Inserts a detached node before `next`, or as the last child if `next` is [`NONE`].
    fn insert(&mut self, parent: NodeId, id: NodeId, next: NodeId) {
        let previous = match next {
            NONE => self.nodes[parent as usize].last_child,
            next => self.nodes[next as usize].previous,
        };
        let node = &mut self.nodes[id as usize];
        node.parent = parent;
        node.previous = previous;
        node.next = next;

        match previous {
            NONE => self.nodes[parent as usize].first_child = id,
            previous => self.nodes[previous as usize].next = id,
        }
        match next {
            NONE => self.nodes[parent as usize].last_child = id,
            next => self.nodes[next as usize].previous = id,
        }
    }

    /// Inserts a text, joined with the text before the place if there is one.
    fn insert_text(&mut self, parent: NodeId, text: StrTendril, next: NodeId) {
        let previous = match next {
            NONE => self.nodes[parent as usize].last_child,
            next => self.nodes[next as usize].previous,
        };
        if previous != NONE
            && let Kind::Text(at) = self.nodes[previous as usize].kind
        {
            self.texts[at as usize].push_tendril(&text);
            return;
        }

        let id = self.push_text(text);
        self.insert(parent, id, next);
    }

    /// Moves the children of elements at the depth cap up, behind their parents.
    fn flatten(&mut self) {
        let mut id = DOCUMENT;
        let mut depth = 0;
        loop {
            if depth == DEPTH_MAX && self.children(id).any(|child| self.name(child).is_some()) {
                self.depth_capped = true;
                let (parent, next) = (self.node(id).parent, self.node(id).next);
                while self.node(id).first_child != NONE {
                    let child = self.node(id).first_child;
                    self.detach(child);
                    self.insert(parent, child, next);
                }
            }

            if self.node(id).first_child != NONE {
                id = self.node(id).first_child;
                depth += 1;
                continue;
            }
            while id != DOCUMENT && self.node(id).next == NONE {
                id = self.node(id).parent;
                depth -= 1;
            }
            if id == DOCUMENT {
                return;
            }
            id = self.node(id).next;
        }
    }
}
