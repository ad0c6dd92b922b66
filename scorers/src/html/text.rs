//! The extractor `text`: all text of a page's body.
//!
//! Equal to `extract_plain_text` of resiliparse 2.0.1 with `main_content=False, alt_texts=False`.
//! Scripts, styles, form fields and media are left out. Hidden text is in, because nothing is
//! judged.

use super::dom::{Dom, NodeId};
use super::formulas::Formulas;
use super::serialize::{Filter, serialize};

/// Keeps every node.
struct Everything;

impl Filter for Everything {
    fn keeps(&mut self, _dom: &Dom, _id: NodeId, _depth: usize) -> bool {
        true
    }
}

/// All text of the body; empty for a page without a body.
pub(super) fn extract(dom: &Dom, formulas: Option<&Formulas>) -> String {
    match dom.body() {
        Some(body) => serialize(dom, body, &mut Everything, formulas),
        None => String::new(),
    }
}
