//! The extractor `resiliparse`: the main content of a page by rules over tags, classes and links.
//!
//! The rules are those of chatnoir-resiliparse 2.0.1 (Bevendorff et al., *Elastic ChatNoir*, 2018;
//! Apache-2.0) with `main_content=True, alt_texts=False`, the setting of DCLM. This module is an
//! own implementation with two savings: the lengths of text and links of every subtree are summed
//! once, and all patterns run as one set whose result is kept for each distinct class string.
//!
//! Departs where html5ever and lexbor build different trees. Cost: linear in the page.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{RegexSet, RegexSetBuilder};

use super::dom::{DOCUMENT, Dom, Kind, NONE, NodeId};
use super::formulas::{self, Formulas};
use super::serialize::{Filter, is_block, is_space, serialize, trim};

/// Classes of elements that hold the main content if a page has exactly one of them.
const CONTENT_CLASSES: [&str; 8] = [
    "article-body",
    "articleBody",
    "contentBody",
    "article-text",
    "main-content",
    "postcontent",
    "post-content",
    "single-post",
];

/// Names of classes and ids. The order is that of [`PATTERNS`].
#[derive(Clone, Copy)]
enum Pattern {
    Hidden,
    SkipLink,
    SignIn,
    Social,
    Logo,
    Advertisement,
    Counter,
    Article,
    Landmark,
    Header,
    Footer,
    Navigation,
    Related,
    Search,
    SideBar,
    Modal,
    Gallery,
    Print,
}

impl Pattern {
    /// Patterns on class and id that refuse an element, unless an article pattern keeps it.
    const BOILERPLATE: u32 = Pattern::Header.bit()
        | Pattern::Footer.bit()
        | Pattern::Navigation.bit()
        | Pattern::Related.bit()
        | Pattern::Search.bit()
        | Pattern::SideBar.bit()
        | Pattern::Modal.bit()
        | Pattern::Gallery.bit()
        | Pattern::Print.bit();

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Thresholds and word lists as in resiliparse 2.0.1.
static PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = [
        concat!(
            r"(?:^|\s)(?:(?:is|visually)[_-])?(?:display-none|hidden|invisible|collapsed|h-0",
            r"|nocontent|expandable)(?:-xs|-sm|-lg|-2?xl)?(?:$|\s)",
        ),
        concat!(
            r"(?:^|\s)(?:link[_-]?)?(?:skip(?:[_-]?(?:to|link))?|scroll[_-]?(?:up|down)|next",
            r"|prev(?:ious)?|permalink|pagination|skip-to-(?:main-)?content)(?:$|\s",
            r"|[_-]?(?:post|article))",
        ),
        concat!(
            r"(?:^|[\s_-])(?:log[_-]?in|sign[_-]?(?:in|up)|account|user[_-](?:info|profile",
            r"|settings|actions))(?:$|[\s_-])",
        ),
        concat!(
            r"(?:^|\s|__|--|mobile-|desktop-|l-|m-|c-)(?:social(?:media|search)?",
            r"|share(?:daddy)?|syndication|newsletter|sharing|follow|email|likes?",
            r"|(?:give[_-]?)?feedback|(?:brand[_-])?engagement|facebook|twitter|subscribe|wa",
            r"|jp|aptf-follow)(?:[_-]?(?:post|links?|section|icons?|btn|buttons?",
            r"|target))?(?:$|[\s_-])",
        ),
        r"logo(?:$|\s)",
        concat!(
            r"(?:^|\s)(?:(?:google|wide)[_-]?ads?|ad(?:vert|vertise(?:ment|link)?|$",
            r"|_[a-f0-9]+)|sponsor(?:ed)?|promoted|paid|(?:wide)?banner|donate)(?:$|[\s_-])",
        ),
        r"(?-i:(?:^|\s)short-view-count|spinner(?:$|[\s_-]))",
        concat!(
            r"(?:^|[\s_-])(?:article|entry|post|story|single[_-]?post|(?:main[_-])?content",
            r"|body|text|page)(?:$|[\s_-])",
        ),
        r"^(?:(?:l|wp|global|page|site|full|sticky)[_-]*)?(?:head|foot|header|footer|right)$",
        concat!(
            r"(?:^|\s)(?:l|m|wp|global|page|site|full|sticky)[_-]*header(?:[_-]?wrap(?:per)?",
            r"|bar)?(?:$|\s)",
        ),
        concat!(
            r"(?:^|\s)(?:(?:global|page|site)[_-]?)?(?:footer|copyright|cookie|consent|legal",
            r"|fcontainer)(?:[_-](?:wrap(?:per)?|container|banner|notice|bar|consent))?(?:$",
            r"|\s)",
        ),
        concat!(
            r"(?:^|\s)(?:(?:l|m|wp|main|site|page|sub|article|global",
            r"|sticky)[_-]*)?(?:nav(?:igation|bar)?(?:[_-](?:bar|menu|container|wrapper))?",
            r"|menu(?:[_-]item)?|drop[_-]?down|bread[_-]?crumbs?|links?[_-]?(?:bar|box|list",
            r"|container|section|wrapper))(?:$|\s)",
        ),
        concat!(
            r"(?:^|[\s_-])(?:trends|trending|recommended|featured|popular|editors?[_-]picks",
            r"|related|read-next|related[_-]?(?:links|articles|posts|guides|stories))(?:$",
            r"|[\s_-])",
        ),
        r"(?:^|\s)search(?:[_-]?(?:bar|facility|box))?(?:$|\s)",
        concat!(
            r"(?:^|\s)(?:(?:l|wp|global|sticky)[_-]*)?(?:(?:side|sticky)[_-]?(?:bars?|box)",
            r"|one-third)(?:$|\s)",
        ),
        r"(?:^|\s)(?:wp-|p-|-l)?(?:modal|popup|lightbox)(?:[_-]*(?:window|pane|box))?(?:$|\s)",
        r"(?:^|\s)(?:gallery|carousel)(?:$|\s)",
        r"(?:^|\s)print[_-]",
    ];

    RegexSetBuilder::new(patterns)
        .case_insensitive(true)
        .unicode(false)
        .dfa_size_limit(16 << 20)
        .build()
        .expect("the patterns are valid")
});

/// Inline styles that hide an element.
static HIDING_STYLE: LazyLock<RegexSet> = LazyLock::new(|| {
    let pattern = r"(?:^|;\s*)(?:display\s?:\s?none|visibility\s?:\s?hidden)(?:$|\s?;)";

    RegexSetBuilder::new([pattern])
        .case_insensitive(true)
        .unicode(false)
        .build()
        .expect("the pattern is valid")
});

/// The main content; empty for a page without a body.
pub(super) fn extract(dom: &Dom, formulas: Option<&Formulas>) -> String {
    let Some(body) = dom.body() else {
        return String::new();
    };
    let root = content_root(dom, body).unwrap_or(body);
    let mut filter = MainContent {
        lengths: lengths(dom),
        matched: HashMap::new(),
        combined: String::new(),
        keeps_formulas: formulas.is_some(),
    };

    serialize(dom, root, &mut filter, formulas)
}

/// The one element that a selector for main content matches. An element counts once a selector.
fn content_root(dom: &Dom, body: NodeId) -> Option<NodeId> {
    let (mut found, mut count) = (None, 0);
    let mut id = dom.following(body, body);
    while id != NONE {
        let matches = content_selectors(dom, id);
        if matches > 0 {
            found = Some(id);
            count += matches;
        }
        if count > 1 {
            return None;
        }
        id = dom.following(id, body);
    }

    found
}

/// How many selectors for main content match an element.
fn content_selectors(dom: &Dom, id: NodeId) -> usize {
    let mut count = 0;
    for (name, value) in dom.attributes(id) {
        match &**name {
            "role" => count += usize::from(&**value == "main"),
            "class" => {
                let has = |wanted: &&&str| {
                    value.split_ascii_whitespace().any(|class| {
                        class == **wanted || (dom.quirks && class.eq_ignore_ascii_case(wanted))
                    })
                };
                // No class below is shorter than eleven letters, and most attributes are.
                if value.len() >= 11 {
                    count += CONTENT_CLASSES.iter().filter(has).count();
                }
            }
            _ => {}
        }
    }

    count
}

/// Lengths in bytes of a subtree's text, with runs of white space as one space.
#[derive(Clone, Copy, Default)]
struct Lengths {
    text: u32,
    links: u32,
    starts_with_space: bool,
    ends_with_space: bool,
}

impl Lengths {
    fn of(text: &str) -> Lengths {
        let bytes = text.as_bytes();
        let (mut length, mut space) = (0, false);
        for &byte in bytes {
            let is_space = is_space(byte);
            length += u32::from(!(is_space && space));
            space = is_space;
        }

        Lengths {
            text: length,
            links: 0,
            starts_with_space: bytes.first().is_some_and(|&byte| is_space(byte)),
            ends_with_space: space,
        }
    }

    /// Adds what follows.
    fn append(&mut self, next: Lengths) {
        self.links += next.links;
        if next.text == 0 {
            return;
        }
        if self.text == 0 {
            self.starts_with_space = next.starts_with_space;
        }

        let joined = self.text > 0 && self.ends_with_space && next.starts_with_space;
        self.text += next.text - u32::from(joined);
        self.ends_with_space = next.ends_with_space;
    }
}

/// The lengths of every node's subtree.
fn lengths(dom: &Dom) -> Vec<Lengths> {
    let mut all = vec![Lengths::default(); dom.len()];
    let mut id = DOCUMENT;
    loop {
        if let Some(text) = dom.text(id) {
            all[id as usize] = Lengths::of(text);
        }
        if dom.node(id).first_child != NONE {
            id = dom.node(id).first_child;
            continue;
        }

        // A subtree is complete: add it to its parent.
        loop {
            if id == DOCUMENT {
                return all;
            }
            let parent = dom.node(id).parent;
            let mut sum = all[id as usize];
            if dom.name(id).is_some_and(|name| &**name == "a") {
                sum.links += sum.text;
            }
            all[parent as usize].append(sum);
            if dom.node(id).next != NONE {
                id = dom.node(id).next;
                break;
            }
            id = parent;
        }
    }
}

/// The attributes of one element that the rules read, white space trimmed where the rules do.
#[derive(Default)]
struct Attributes<'a> {
    class: &'a str,
    id: &'a str,
    role: &'a str,
    rel: &'a str,
    style: &'a str,
    itemprop: &'a str,
    aria_hidden: &'a str,
    aria_expanded: &'a str,
    hidden: bool,
    advertisement: bool,
}

impl<'a> Attributes<'a> {
    fn of(dom: &'a Dom, id: NodeId) -> Attributes<'a> {
        let mut read = Attributes::default();
        for (name, value) in dom.attributes(id) {
            match &**name {
                "class" => read.class = value,
                "id" => read.id = value,
                "role" => read.role = trim(value),
                "rel" => read.rel = trim(value),
                "style" => read.style = value,
                "itemprop" => read.itemprop = trim(value),
                "aria-hidden" => read.aria_hidden = trim(value),
                "aria-expanded" => read.aria_expanded = trim(value),
                "hidden" => read.hidden = true,
                "data-ad" | "data-advertisement" | "data-text-ad" => read.advertisement = true,
                _ => {}
            }
        }

        read
    }

    fn is_refused(&self) -> bool {
        self.hidden
            || matches!(
                self.rel,
                "author" | "icon" | "search" | "prev" | "next" | "tag"
            )
            || matches!(self.itemprop, "datePublished" | "author" | "url")
            || self.aria_hidden == "true"
            || self.aria_expanded == "false"
    }
}

/// The rules, with what they know of the page.
struct MainContent {
    lengths: Vec<Lengths>,
    /// Patterns that match a string of classes or an id, as bits.
    matched: HashMap<String, u32>,
    combined: String,
    keeps_formulas: bool,
}

impl Filter for MainContent {
    fn keeps(&mut self, dom: &Dom, id: NodeId, depth: usize) -> bool {
        match dom.node(id).kind {
            Kind::Text(_) => is_kept_text(dom.text(id).unwrap_or_default()),
            Kind::Element(_) => self.keeps_element(dom, id, depth),
            _ => true,
        }
    }
}

impl MainContent {
    /// True if more than `share` of at most `bytes_max` bytes of text is link text.
    fn is_linky(&self, id: NodeId, share: f64, bytes_max: u32) -> bool {
        let Lengths { text, links, .. } = self.lengths[id as usize];

        text > 0 && text <= bytes_max && links > 0 && f64::from(links) / f64::from(text) > share
    }

    fn matched(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&bits) = self.matched.get(text) {
            return bits;
        }

        let bits = PATTERNS
            .matches(text)
            .iter()
            .fold(0, |bits, at| bits | 1 << at);
        self.matched.insert(text.to_owned(), bits);
        bits
    }

    /// The patterns that match class and id, joined by a space.
    fn matched_both(&mut self, attributes: &Attributes, class: u32) -> u32 {
        if attributes.id.is_empty() {
            return class;
        }

        let mut combined = std::mem::take(&mut self.combined);
        combined.clear();
        combined.push_str(attributes.class);
        if !attributes.class.is_empty() {
            combined.push(' ');
        }
        combined.push_str(attributes.id);
        let bits = self.matched(&combined);
        self.combined = combined;
        bits
    }

    fn keeps_element(&mut self, dom: &Dom, id: NodeId, depth: usize) -> bool {
        let name: &str = dom.name(id).map_or("", |name| name);
        match name {
            "body" | "main" | "h1" => return true,
            "footer" => {
                return depth >= 3 && !self.is_linky(id, 0.2, u32::MAX) && !is_last(dom, id);
            }
            "ul" if depth < 4 || self.is_linky(id, 0.2, u32::MAX) => return false,
            "article" if depth > 2 && self.is_linky(id, 0.2, 500) => return false,
            "nav" | "aside" | "audio" | "video" | "time" => return false,
            _ => {}
        }

        let attributes = Attributes::of(dom, id);
        if self.keeps_formulas && formulas::is_hidden_source(dom, id) {
            return true;
        }
        let class = self.matched(attributes.class);
        if attributes.is_refused()
            || class & Pattern::Hidden.bit() != 0
            || (!attributes.style.is_empty() && HIDING_STYLE.is_match(attributes.style))
        {
            return false;
        }
        if attributes.class.is_empty() && attributes.id.is_empty() {
            return !(name == "div" && depth > 5 && self.is_linky(id, 0.6, 800));
        }

        self.keeps_named(id, name, depth, &attributes, class)
    }

    /// The rules for an element with a class or an id.
    fn keeps_named(
        &mut self,
        id: NodeId,
        name: &str,
        depth: usize,
        attributes: &Attributes,
        class: u32,
    ) -> bool {
        let both = self.matched_both(attributes, class);
        let sign = Pattern::SignIn.bit() | Pattern::Social.bit();
        if (both & Pattern::SkipLink.bit() != 0 && matches!(name, "a" | "div" | "li"))
            || (depth > 2 && class & sign != 0)
            || both & (Pattern::Logo.bit() | Pattern::Advertisement.bit()) != 0
            || attributes.advertisement
            || class & Pattern::Counter.bit() != 0
        {
            return false;
        }

        // Inline elements are not judged any further.
        if (!is_block(name) && name != "td") || attributes.rel == "main" {
            return true;
        }
        if is_refused_role(attributes.role) {
            return false;
        }
        if name == "article" || both & Pattern::Article.bit() != 0 {
            return true;
        }
        if self.matched(attributes.id) & Pattern::Landmark.bit() != 0
            || both & Pattern::BOILERPLATE != 0
        {
            return false;
        }
        !(depth > 2 && name == "div" && self.is_linky(id, 0.6, 1500))
    }
}

/// Refuses paragraph signs and single symbols.
///
/// The original reads three bytes as one little-endian number. Compared so, the range holds private
/// use characters and some others, and the same are refused here.
fn is_kept_text(text: &str) -> bool {
    let text = trim(text);
    if text == "¶" {
        return false;
    }

    match *text.as_bytes() {
        [a, b, c] => !(0x80_80ee..=0xbf_a3ef).contains(&u32::from_le_bytes([a, b, c, 0])),
        _ => true,
    }
}

/// True if nothing but one text follows the element within the body, at any level.
fn is_last(dom: &Dom, id: NodeId) -> bool {
    let mut id = id;
    loop {
        let node = dom.node(id);
        if node.parent == NONE || dom.name(node.parent).is_some_and(|name| &**name == "body") {
            return true;
        }

        if node.next != NONE {
            let next = dom.node(node.next);
            if !matches!(next.kind, Kind::Text(_)) || next.next != NONE {
                return false;
            }
        }
        id = node.parent;
    }
}

/// Roles of navigation, of controls and of decoration.
fn is_refused_role(role: &str) -> bool {
    matches!(
        role,
        "alert"
            | "banner"
            | "checkbox"
            | "comment"
            | "complementary"
            | "contentinfo"
            | "dialog"
            | "img"
            | "menu"
            | "menubar"
            | "menuitem"
            | "navigation"
            | "presentation"
            | "radio"
            | "search"
            | "searchbox"
            | "separator"
            | "tab"
            | "toolbar"
            | "tooltip"
    )
}
