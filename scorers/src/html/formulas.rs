//! Formulas of a page as TeX.
//!
//! Read are `<math alttext>`, `annotation[encoding="application/x-tex"]` (KaTeX and MathJax write
//! it) and MathJax's `<script type="math/tex">`. What such a library drew beside its source is left
//! out. The form is `$…$`, and `$$…$$` for a formula on a line of its own.

use super::dom::{DOCUMENT, Dom, NONE, NodeId};

/// What the formulas of a page look like.
pub(super) struct Formulas {
    /// The page has MathJax scripts, so MathJax's drawings repeat them.
    has_scripts: bool,
}

/// What a node is to the formulas.
pub(super) enum Found {
    /// No formula.
    Nothing,
    /// A formula, with its dollar signs.
    Tex(String),
    /// A drawing of a formula whose source stands beside it.
    Rendering,
}

impl Formulas {
    /// Looks for MathJax scripts.
    pub(super) fn new(dom: &Dom) -> Formulas {
        let mut id = DOCUMENT;
        let mut has_scripts = false;
        while id != NONE && !has_scripts {
            has_scripts = dom.name(id).is_some_and(|name| &**name == "script")
                && script_type(dom, id).is_some();
            id = dom.following(id, DOCUMENT);
        }

        Formulas { has_scripts }
    }

    /// What the node is to the formulas.
    pub(super) fn at(&self, dom: &Dom, id: NodeId) -> Found {
        let Some(name) = dom.name(id) else {
            return Found::Nothing;
        };
        match &**name {
            "math" => match math(dom, id) {
                Some(tex) => Found::Tex(tex),
                None => Found::Nothing,
            },
            "script" => match script_type(dom, id) {
                Some(display) => Found::Tex(dollars(&dom.text_of(id), display)),
                None => Found::Nothing,
            },
            "span" | "div" | "mjx-container" if self.is_rendering(dom, id) => Found::Rendering,
            _ => Found::Nothing,
        }
    }

    fn is_rendering(&self, dom: &Dom, id: NodeId) -> bool {
        let classes = dom.attribute(id, "class").unwrap_or_default();

        classes.split_ascii_whitespace().any(|class| match class {
            "katex-html" => true,
            "MathJax" | "MathJax_CHTML" | "MathJax_Display" | "MathJax_Preview" | "MathJax_SVG" => {
                self.has_scripts
            }
            _ => false,
        })
    }
}

/// `Some(display)` for a script that holds TeX.
fn script_type(dom: &Dom, id: NodeId) -> Option<bool> {
    let kind = dom.attribute(id, "type")?.trim();
    let rest = kind.strip_prefix("math/tex")?;

    Some(rest.contains("mode=display"))
}

/// The TeX of a `math` element.
fn math(dom: &Dom, math: NodeId) -> Option<String> {
    let display = dom
        .attribute(math, "display")
        .is_some_and(|value| value.trim() == "block");
    let mut id = math;
    while id != NONE {
        let encoding = dom.attribute(id, "encoding").unwrap_or_default().trim();
        if encoding.eq_ignore_ascii_case("application/x-tex") {
            return Some(dollars(&dom.text_of(id), display));
        }
        // A formula in a formula is looked at by itself, so each node is looked at once.
        let is_inner = id != math && dom.name(id).is_some_and(|name| &**name == "math");
        id = match is_inner {
            true => dom.following_subtree(id, math),
            false => dom.following(id, math),
        };
    }

    let text = dom
        .attribute(math, "alttext")
        .filter(|text| !text.trim().is_empty())?;
    Some(dollars(text, display))
}

/// TeX between dollar signs. MediaWiki's group for display style is taken off.
fn dollars(tex: &str, display: bool) -> String {
    let tex = tex.trim();
    let inner = tex
        .strip_prefix("{\\displaystyle ")
        .and_then(|rest| rest.strip_suffix('}'));
    let tex = inner.unwrap_or(tex).trim();
    if tex.is_empty() {
        return String::new();
    }

    let sign = if display { "$$" } else { "$" };
    format!("{sign}{tex}{sign}")
}

/// True for MediaWiki's span around `math`, which a style hides because an image shows the formula.
pub(super) fn is_hidden_source(dom: &Dom, id: NodeId) -> bool {
    let classes = dom.attribute(id, "class").unwrap_or_default();

    classes.contains("mwe-math-mathml") || classes.contains("katex-mathml")
}
