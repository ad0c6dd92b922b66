//! The walk over a page's elements and the text that it writes.
//!
//! The algorithm is that of `extract_plain_text` in chatnoir-resiliparse (Bevendorff et al. 2018;
//! Apache-2.0), version 2.0.1, with basic formatting and without links, form fields and alternative
//! texts. The walk yields *pieces*: a piece begins at each block, table cell and return to a lower
//! depth, and inline text joins the piece before it. The writer collapses white space and margins.
//! Where the original collects all pieces first, this module writes a piece when the next begins.
//! Cost: linear in the page.

use super::dom::{Dom, Kind, NONE, NodeId};
use super::formulas;

/// Decides which nodes are visited. `depth` counts from the body.
pub(super) trait Filter {
    /// True if the node and what is below it are part of the text.
    fn keeps(&mut self, dom: &Dom, id: NodeId, depth: usize) -> bool;
}

/// ASCII white space and the vertical tab.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// A text without white space at its ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8))
}

/// Appends a text with each run of white space as one space.
fn push_collapsed(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        if !is_space(bytes[at]) {
            at += 1;
            continue;
        }

        out.push_str(&text[start..at]);
        out.push(' ');
        while at < bytes.len() && is_space(bytes[at]) {
            at += 1;
        }
        start = at;
    }

    out.push_str(&text[start..]);
}

/// Removes white space from the end.
fn trim_end(out: &mut String) {
    let bytes = out.as_bytes();
    let spaces = bytes
        .iter()
        .rev()
        .take_while(|&&byte| is_space(byte))
        .count();
    out.truncate(out.len() - spaces);
}

/// True for elements whose content is never text.
fn is_skipped(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "audio"
            | "button"
            | "embed"
            | "figcaption"
            | "figure"
            | "frame"
            | "iframe"
            | "img"
            | "input"
            | "label"
            | "noscript"
            | "object"
            | "option"
            | "script"
            | "select"
            | "style"
            | "svg"
            | "template"
            | "textarea"
            | "video"
    )
}

/// True for elements that begin a line.
pub(super) fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "br"
            | "center"
            | "dd"
            | "details"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "li"
            | "main"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "table"
            | "tr"
            | "ul"
    )
}

/// The tags that the writer treats in their own way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Row,
    Cell,
    List,
    Numbered,
    Item,
    Plain,
}

impl Role {
    fn of(name: &str) -> Role {
        match name {
            "tr" => Role::Row,
            "td" | "th" => Role::Cell,
            "ul" => Role::List,
            "ol" => Role::Numbered,
            "li" => Role::Item,
            _ => Role::Plain,
        }
    }
}

/// One piece of the walk.
struct Piece {
    role: Role,
    /// Depth below the walk's root.
    depth: usize,
    /// Number of `pre` elements around the piece.
    pre: usize,
    /// False for `<br>`, whose line breaks add up.
    collapses: bool,
    block: bool,
    /// A paragraph or a heading, which has an empty line around it.
    big: bool,
    /// True if the piece begins where an element ends.
    end: bool,
    /// The piece has a text, which may be empty.
    has_text: bool,
}

/// Writes the pieces.
#[derive(Default)]
struct Writer {
    out: String,
    collapsed: String,
    /// Bullet or number for the next text.
    prefix: String,
    bullet: bool,
    list_depth: usize,
    /// Line breaks due before the next text.
    margin: usize,
    /// The next number of each open list, 0 for lists with bullets.
    numbering: Vec<usize>,
    /// Whether each open row has a cell already.
    rows: Vec<bool>,
    /// Spaces that lists may still be indented by.
    indentation_left: usize,
}

impl Writer {
    fn flush_margin(&mut self, pre: usize) {
        if self.margin == 0 {
            return;
        }

        if pre == 0 {
            trim_end(&mut self.out);
        }
        if !self.out.is_empty() {
            self.out.extend(std::iter::repeat_n('\n', self.margin));
        }
        self.margin = 0;
    }

    fn write(&mut self, piece: &Piece, text: &str) {
        match piece.role {
            Role::Row if piece.end => drop(self.rows.pop()),
            Role::Row => self.rows.push(false),
            // Between the cells of a row there is only white space.
            Role::Cell if piece.end => return,
            Role::Cell => self.begin_cell(piece),
            Role::List | Role::Numbered => self.list_edge(piece),
            Role::Item => self.item_edge(piece),
            Role::Plain => {}
        }

        if piece.block {
            let lines = if piece.big { 2 } else { 1 };
            if !piece.collapses {
                self.margin += lines;
            } else {
                self.margin = self.margin.max(if piece.pre == 0 { lines } else { 1 });
            }
        }
        if piece.has_text {
            self.write_text(piece, text);
        }
    }

    fn begin_cell(&mut self, piece: &Piece) {
        self.flush_margin(piece.pre);
        if let Some(has_cell) = self.rows.last_mut() {
            if *has_cell {
                self.out.push_str("\t\t");
            }
            *has_cell = true;
        }
    }

    fn list_edge(&mut self, piece: &Piece) {
        if piece.end {
            self.list_depth = self.list_depth.saturating_sub(1);
            self.numbering.pop();
            self.bullet = false;
            self.prefix.clear();
        } else {
            self.list_depth += 1;
            self.numbering
                .push(usize::from(piece.role == Role::Numbered));
        }
    }

    fn item_edge(&mut self, piece: &Piece) {
        // An item outside of a list opens a list that nothing closes.
        if self.list_depth == 0 {
            self.list_edge(piece);
        }

        self.prefix.clear();
        match self.numbering.last_mut() {
            Some(number) if *number > 0 => {
                self.prefix.push_str(&number.to_string());
                self.prefix.push_str(". ");
                *number += usize::from(!piece.end);
            }
            _ => self.prefix.push_str("• "),
        }
        self.bullet = !piece.end;
    }

    fn write_text(&mut self, piece: &Piece, text: &str) {
        let mut collapsed = std::mem::take(&mut self.collapsed);
        collapsed.clear();
        let mut text = text;
        if piece.pre == 0 {
            push_collapsed(&mut collapsed, text);
            text = &collapsed;
            if piece.block || self.out.bytes().next_back().is_some_and(is_space) {
                text = text.trim_start_matches(' ');
            }
        }

        if !text.is_empty() {
            self.flush_margin(piece.pre);
            if self.list_depth > 0 {
                let levels = self.list_depth + usize::from(!self.bullet);
                let spaces = (2 * levels.min(LEVELS_MAX)).min(self.indentation_left);
                self.indentation_left -= spaces;
                self.out.extend(std::iter::repeat_n(' ', spaces));
                self.bullet = false;
            }
            self.out.push_str(&self.prefix);
            self.prefix.clear();
            self.out.push_str(text);
        }
        self.collapsed = collapsed;
    }
}

/// Deeper lists are indented no further.
const LEVELS_MAX: usize = 32;

/// The spaces of all lists together are at most this number for each byte of the page, and
/// [`INDENTATION_MIN`] more. Pages with prose do not come near.
const INDENTATION_SHARE: usize = 2;

/// The spaces that the lists of a short page may have.
const INDENTATION_MIN: usize = 4096;

/// Joins the walk's nodes to pieces.
struct Collector {
    writer: Writer,
    piece: Option<Piece>,
    text: String,
}

impl Collector {
    /// An element begins or ends.
    fn element(&mut self, name: &str, depth: usize, end: bool) {
        let block = is_block(name);
        let role = Role::of(name);
        let new = match &self.piece {
            Some(piece) => block || depth < piece.depth || role == Role::Cell,
            None => true,
        };
        if !new {
            return;
        }

        let mut pre = self.piece.as_ref().map_or(0, |piece| piece.pre);
        if name == "pre" {
            pre = if end { pre.saturating_sub(1) } else { pre + 1 };
        }
        self.flush();
        self.piece = Some(Piece {
            role,
            depth,
            pre,
            collapses: name != "br",
            block,
            big: matches!(name, "p" | "h1" | "h2" | "h3" | "h4"),
            end,
            has_text: name == "br",
        });
    }

    fn text(&mut self, text: &str, depth: usize) {
        self.element("", depth, false);
        if let Some(piece) = &mut self.piece {
            piece.has_text = true;
        }
        self.text.push_str(text);
    }

    fn flush(&mut self) {
        if let Some(piece) = &self.piece {
            self.writer.write(piece, &self.text);
        }
        self.text.clear();
    }
}

/// Depth of a node below the body.
fn depth_in_body(dom: &Dom, root: NodeId) -> usize {
    let body = dom.body();
    let above = std::iter::successors(Some(root), |&id| Some(dom.node(id).parent));

    above
        .take_while(|&id| id != NONE && Some(id) != body)
        .count()
}

/// The text below `root` of what the filter keeps.
///
/// With `formulas`, mathematics is written as TeX between dollar signs.
pub(super) fn serialize(
    dom: &Dom,
    root: NodeId,
    filter: &mut impl Filter,
    formulas: Option<&formulas::Formulas>,
) -> String {
    let mut collector = Collector {
        writer: Writer {
            indentation_left: INDENTATION_SHARE * dom.bytes + INDENTATION_MIN,
            ..Writer::default()
        },
        piece: None,
        text: String::new(),
    };
    let base = depth_in_body(dom, root);
    let (mut id, mut depth) = (root, 0);
    loop {
        let mut descend = false;
        let formula = formulas.map_or(formulas::Found::Nothing, |found| found.at(dom, id));
        match (formula, dom.node(id).kind) {
            (formulas::Found::Tex(tex), _) => collector.text(&tex, depth),
            (formulas::Found::Rendering, _) => {}
            (_, Kind::Text(_)) if filter.keeps(dom, id, depth + base) => {
                collector.text(dom.text(id).unwrap_or_default(), depth);
            }
            (_, Kind::Element(_)) => {
                let name = dom.name(id).map_or("", |name| name);
                if (id == root || !is_skipped(name)) && filter.keeps(dom, id, depth + base) {
                    collector.element(name, depth, false);
                    descend = true;
                }
            }
            _ => {}
        }

        if descend && dom.node(id).first_child != NONE {
            id = dom.node(id).first_child;
            depth += 1;
            continue;
        }
        while id != root && dom.node(id).next == NONE {
            id = dom.node(id).parent;
            depth -= 1;
            collector.element(dom.name(id).map_or("", |name| name), depth, true);
        }
        if id == root {
            break;
        }
        id = dom.node(id).next;
    }

    collector.flush();
    let mut out = collector.writer.out;
    trim_end(&mut out);
    out
}
