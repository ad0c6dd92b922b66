//! The tree builder's changes, applied to the arena.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};

use html5ever::tendril::StrTendril;
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, LocalName, QualName};

use super::{DOCUMENT, Dom, Element, Kind, NONE, NodeId};

/// Receives the tree builder's changes.
pub(super) struct Sink {
    pub(super) dom: RefCell<Dom>,
    /// Level of the current element, from the last element that was opened or closed.
    pub(super) level: Cell<u16>,
}

impl Sink {
    pub(super) fn new() -> Sink {
        let mut dom = Dom::default();
        dom.push(Kind::Document);

        Sink {
            dom: RefCell::new(dom),
            level: Cell::new(0),
        }
    }

    /// Inserts a node or a text before `next`, or as the last child.
    fn place(&self, parent: NodeId, child: NodeOrText<NodeId>, next: NodeId) {
        let mut dom = self.dom.borrow_mut();
        match child {
            NodeOrText::AppendText(text) => dom.insert_text(parent, text, next),
            NodeOrText::AppendNode(id) => {
                dom.detach(id);
                dom.insert(parent, id, next);
                let level = dom.level(parent).saturating_add(1);
                dom.set_level(id, level);
                if dom.name(id).is_some_and(|name| !is_void(name)) {
                    self.level.set(level);
                }
            }
        }
    }
}

impl TreeSink for Sink {
    type Handle = NodeId;
    type Output = Dom;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Dom {
        self.dom.into_inner()
    }

    fn parse_error(&self, _message: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Ref<'a, QualName> {
        Ref::map(self.dom.borrow(), |dom| {
            match dom.nodes[*target as usize].kind {
                Kind::Element(at) => dom.name_of(at),
                _ => unreachable!("the tree builder asks for names of elements only"),
            }
        })
    }

    fn create_element(
        &self,
        name: QualName,
        attributes: Vec<Attribute>,
        flags: ElementFlags,
    ) -> NodeId {
        let mut dom = self.dom.borrow_mut();
        let name = dom.name_id(name);
        let start = dom.attributes.len();
        dom.attributes.extend(kept(attributes));
        let element = Element {
            name,
            attributes: start as u32,
            attributes_len: (dom.attributes.len() - start) as u16,
            level: 0,
        };
        dom.elements.push(element);
        let at = (dom.elements.len() - 1) as u32;

        let id = dom.push(Kind::Element(at));
        if flags.template {
            let contents = dom.push(Kind::Document);
            dom.contents.insert(id, contents);
        }
        if flags.mathml_annotation_xml_integration_point {
            dom.integration_points.insert(id);
        }
        id
    }

    fn create_comment(&self, _text: StrTendril) -> NodeId {
        self.dom.borrow_mut().push(Kind::Other)
    }

    fn create_pi(&self, _target: StrTendril, _data: StrTendril) -> NodeId {
        self.dom.borrow_mut().push(Kind::Other)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        self.place(*parent, child, NONE);
    }

    fn append_based_on_parent_node(
        &self,
        element: &NodeId,
        previous: &NodeId,
        child: NodeOrText<NodeId>,
    ) {
        if self.dom.borrow().node(*element).parent == NONE {
            self.append(previous, child);
        } else {
            self.append_before_sibling(element, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn pop(&self, node: &NodeId) {
        self.level
            .set(self.dom.borrow().level(*node).saturating_sub(1));
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        self.dom.borrow().contents[target]
    }

    fn same_node(&self, one: &NodeId, other: &NodeId) -> bool {
        one == other
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.dom.borrow_mut().quirks = mode == QuirksMode::Quirks;
    }

    fn append_before_sibling(&self, sibling: &NodeId, child: NodeOrText<NodeId>) {
        if let NodeOrText::AppendNode(id) = &child {
            self.dom.borrow_mut().detach(*id);
        }
        let parent = self.dom.borrow().node(*sibling).parent;
        if parent != NONE {
            self.place(parent, child, *sibling);
        }
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attributes: Vec<Attribute>) {
        let mut dom = self.dom.borrow_mut();
        let Kind::Element(at) = dom.node(*target).kind else {
            return;
        };

        // The attributes of an element stand together, so they move to the end of the list.
        let mut all = dom.attributes(*target).to_vec();
        let known = all.len();
        for (name, value) in kept(attributes) {
            if all.iter().all(|(found, _)| *found != name) {
                all.push((name, value));
            }
        }
        if all.len() > known {
            let start = dom.attributes.len() as u32;
            let element = &mut dom.elements[at as usize];
            element.attributes = start;
            element.attributes_len = all.len() as u16;
            dom.attributes.append(&mut all);
        }
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.dom.borrow_mut().detach(*target);
    }

    fn reparent_children(&self, node: &NodeId, new_parent: &NodeId) {
        let mut dom = self.dom.borrow_mut();
        while dom.node(*node).first_child != NONE {
            let child = dom.node(*node).first_child;
            dom.detach(child);
            dom.insert(*new_parent, child, NONE);
        }
    }

    fn is_mathml_annotation_xml_integration_point(&self, target: &NodeId) -> bool {
        self.dom.borrow().integration_points.contains(target)
    }
}

/// True for an attribute that some reader of the tree asks for.
fn is_read(name: &str) -> bool {
    matches!(
        name,
        "alttext"
            | "aria-expanded"
            | "aria-hidden"
            | "class"
            | "content"
            | "data-ad"
            | "data-advertisement"
            | "data-text-ad"
            | "display"
            | "encoding"
            | "hidden"
            | "href"
            | "http-equiv"
            | "id"
            | "itemprop"
            | "lang"
            | "name"
            | "property"
            | "rel"
            | "role"
            | "style"
            | "type"
    )
}

/// The attributes to keep.
fn kept(attributes: Vec<Attribute>) -> impl Iterator<Item = (LocalName, StrTendril)> {
    let kept = attributes
        .into_iter()
        .filter(|found| is_read(&found.name.local));

    kept.map(|found| (found.name.local, found.value))
}

/// True for elements without an end tag.
pub(super) fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "basefont"
            | "bgsound"
            | "br"
            | "col"
            | "embed"
            | "frame"
            | "hr"
            | "img"
            | "input"
            | "keygen"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}
