//! HTML to text: pages in, plain text and what the head says out.
//!
//! [`extract`] parses a page once, within the bounds of [`dom`], and writes its text with one of
//! two extractors. [`head`] reads title, language, opt-out signals and licence from the same tree.
//! Nothing here knows a file, a charset or a WARC.

pub mod dom;
mod formulas;
pub mod head;
mod resiliparse;
mod serialize;
mod text;

use dom::Dom;
use head::Head;

/// Which text of a page is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extractor {
    /// The main content, as resiliparse 2.0.1 finds it.
    #[default]
    Resiliparse,
    /// All text of the body.
    Text,
}

/// What [`extract`] does beside its extractor's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Write formulas as TeX between dollar signs. Off, the text equals resiliparse's.
    pub formulas: bool,
}

/// A page's text and head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The text; empty if the extractor found nothing.
    pub text: String,
    /// Title, language, opt-out signals and licence.
    pub head: Head,
    /// True if elements below depth 512 were moved up or dropped.
    pub depth_capped: bool,
    /// True if the page had more nodes than its length allows, so that later tags were dropped.
    pub nodes_capped: bool,
    /// Tags that were cut at 64 KiB or 512 attributes.
    pub tags_cut: usize,
}

/// Extracts a page's text and head.
pub fn extract(html: &str, extractor: Extractor, options: Options) -> Extracted {
    let dom = Dom::parse(html);
    let formulas = options.formulas.then(|| formulas::Formulas::new(&dom));
    let text = match extractor {
        Extractor::Resiliparse => resiliparse::extract(&dom, formulas.as_ref()),
        Extractor::Text => text::extract(&dom, formulas.as_ref()),
    };

    Extracted {
        text,
        head: head::read(&dom),
        depth_capped: dom.depth_capped,
        nodes_capped: dom.nodes_capped,
        tags_cut: dom.tags_cut,
    }
}

#[cfg(test)]
mod tests;
