//! Tests of the extractors. `golden.json` holds texts of resiliparse 2.0.1, made by `golden.py`.

use std::collections::HashSet;

use super::dom::{DEPTH_MAX, DOCUMENT, Dom, NONE};
use super::head::{LicencePlace, merge_headers};
use super::{Extracted, Extractor, Options, extract};

const FORMULAS: Options = Options { formulas: true };

fn main_text(html: &str) -> String {
    extract(html, Extractor::Resiliparse, Options::default()).text
}

fn all_text(html: &str) -> String {
    extract(html, Extractor::Text, Options::default()).text
}

/// Runs in a stack of 256 KiB. A recursion over the page would overflow it.
fn in_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run);

    thread
        .expect("a thread starts")
        .join()
        .expect("the thread does not panic")
}

/// Panics if a link of the tree has no counterpart or an element lies too deep.
fn check_tree(dom: &Dom) {
    let mut id = DOCUMENT;
    let mut seen = HashSet::new();
    while id != NONE {
        assert!(seen.insert(id), "node {id} occurs twice");
        let mut previous = NONE;
        for child in dom.children(id) {
            assert_eq!(dom.node(child).parent, id);
            assert_eq!(dom.node(child).previous, previous);
            previous = child;
        }
        assert_eq!(dom.node(id).last_child, previous);
        id = dom.following(id, DOCUMENT);
    }

    let (mut id, mut depth) = (DOCUMENT, 0);
    loop {
        assert!(
            depth <= DEPTH_MAX || dom.name(id).is_none(),
            "depth {depth}"
        );
        if dom.node(id).first_child != NONE {
            id = dom.node(id).first_child;
            depth += 1;
            continue;
        }
        while id != DOCUMENT && dom.node(id).next == NONE {
            id = dom.node(id).parent;
            depth -= 1;
        }
        if id == DOCUMENT {
            return;
        }
        id = dom.node(id).next;
    }
}

/// Pseudo-random numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;

        (self.0 % bound as u64) as usize
    }
}

fn golden() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("golden.json")).expect("golden.json is JSON")
}

#[test]
fn texts_equal_those_of_resiliparse() {
    for page in golden() {
        let html = page["html"].as_str().expect("a page");
        assert_eq!(
            main_text(html),
            page["main"],
            "main content of {}",
            page["name"]
        );
        assert_eq!(all_text(html), page["text"], "text of {}", page["name"]);
    }
}

#[test]
fn preformatted_text_is_verbatim() {
    let html = "<body><pre>fn main() {\n    let a  = 1;\n}</pre>";

    assert_eq!(main_text(html), "fn main() {\n    let a  = 1;\n}");
}

#[test]
fn cells_are_joined_by_tabs_and_rows_are_lines() {
    let html = "<body><table><tr><th>a</th> <th>b</th></tr><tr><td>1</td><td>2</td></tr></table>";

    assert_eq!(main_text(html), "a\t\tb\n1\t\t2");
}

#[test]
fn ordered_lists_are_numbered_and_others_have_bullets() {
    let html = "<body><ol><li>one<li>two</ol><ul><li>three</ul>";

    assert_eq!(all_text(html), "  1. one\n  2. two\n  • three");
}

#[test]
fn the_indentation_of_lists_is_bounded_by_the_page() {
    let html = format!("<body>{}{}", "<ol>".repeat(40), "<li>a".repeat(10_000));
    let text = all_text(&html);
    assert!(text.starts_with(&format!("{}1. a\n", " ".repeat(64))));
    assert!(text.ends_with("\n10000. a"));

    let spaces = text.bytes().filter(|byte| *byte == b' ').count();
    // A space follows each number.
    assert!(spaces <= 2 * html.len() + 4096 + 10_000, "{spaces}");
}

#[test]
fn runs_of_line_breaks_add_up() {
    assert_eq!(main_text("<body>a<br>b<br><br><br>c"), "a\nb\n\n\nc");
}

#[test]
fn entities_are_characters_and_invisible_characters_stay() {
    let html = "<body>&lt;p&gt;&nbsp;so&shy;ft&#8203;&amp;";

    assert_eq!(main_text(html), "<p>\u{a0}so\u{ad}ft\u{200b}&");
}

#[test]
fn hidden_text_is_left_out() {
    let html =
        "<body><p hidden>a</p><p style='display : none'>b</p><p style='display:none'>c</p><p>d";

    assert_eq!(main_text(html), "d");
}

#[test]
fn scripts_templates_and_noscript_are_left_out() {
    let html = "<body><script>a</script><template>b</template><noscript>c</noscript>d";

    assert_eq!(all_text(html), "d");
}

#[test]
fn framesets_and_application_shells_are_empty() {
    assert_eq!(main_text("<frameset><frame src=a></frameset>"), "");
    assert_eq!(
        main_text("<title>App</title><div id=root></div><script>run()</script>"),
        ""
    );
}

#[test]
fn formulas_are_tex_if_asked_for() {
    let cases = [
        ("<math alttext='x^2'><mi>x</mi></math>", "a $x^2$ b"),
        (
            "<math display=block alttext='x'><mi>x</mi></math>",
            "a $$x$$ b",
        ),
        (
            "<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>\\frac{1}{2}\
             </annotation></semantics></math>",
            "a $\\frac{1}{2}$ b",
        ),
        (
            "<span class=MathJax>drawn</span><script type='math/tex'>x&lt;1</script>",
            "a $x&lt;1$ b",
        ),
        (
            "<script type='math/tex; mode=display'>y</script>",
            "a $$y$$ b",
        ),
        (
            "<span class=katex><span class=katex-mathml><math><annotation \
             encoding='application/x-tex'>k</annotation></math></span><span class=katex-html \
             aria-hidden=true>kk</span></span>",
            "a $k$ b",
        ),
        (
            "<span class=mwe-math-mathml-inline style='display: none;'>\
             <math alttext='{\\displaystyle E}'><mi>E</mi></math></span>",
            "a $E$ b",
        ),
    ];

    for (formula, expected) in cases {
        let html = format!("<body><p>a {formula} b");
        for extractor in [Extractor::Resiliparse, Extractor::Text] {
            assert_eq!(
                extract(&html, extractor, FORMULAS).text,
                expected,
                "{formula}"
            );
        }
    }
}

#[test]
fn mathematics_without_tex_is_its_text() {
    let html = "<body><math><mi>x</mi><mo>=</mo><mn>1</mn></math>";

    assert_eq!(extract(html, Extractor::Text, FORMULAS).text, "x=1");
}

/// A head, its signals, its licence and the licence's place.
type HeadCase = (
    &'static str,
    &'static [&'static str],
    Option<(&'static str, LicencePlace)>,
);

const HEADS: &[HeadCase] = &[
    ("<meta name=robots content='noindex'>", &["noindex"], None),
    (
        "<meta name=ROBOTS content='NOINDEX, NOFOLLOW'>",
        &["noindex"],
        None,
    ),
    ("<meta name=robots content='index, follow'>", &[], None),
    (
        "<meta name=robots content='noai, noimageai'>",
        &["noai", "noimageai"],
        None,
    ),
    (
        "<meta name=robots content='noarchive,nosnippet'>",
        &["noarchive", "nosnippet"],
        None,
    ),
    ("<meta name=robots content='none'>", &["none"], None),
    (
        "<meta name=robots content='max-snippet:0'>",
        &["max-snippet:0"],
        None,
    ),
    (
        "<meta name=robots content='max-snippet: 0'>",
        &["max-snippet:0"],
        None,
    ),
    (
        "<meta name=robots content='max-snippet:-1, max-image-preview:large'>",
        &[],
        None,
    ),
    (
        "<meta name=googlebot content=noindex>",
        &["googlebot:noindex"],
        None,
    ),
    ("<meta name=GPTBot content=noai>", &["gptbot:noai"], None),
    (
        "<meta name=CCBot content='noindex, noai'>",
        &["ccbot:noai", "ccbot:noindex"],
        None,
    ),
    ("<meta name=description content=noai>", &[], None),
    ("<meta name=tdm-reservation content=1>", &["tdm"], None),
    ("<meta name=tdm-reservation content=0>", &[], None),
    (
        "<meta http-equiv=content-usage content='train-ai=n'>",
        &["train-ai=n"],
        None,
    ),
    (
        "<link rel=license href='https://creativecommons.org/licenses/by/4.0/'>",
        &[],
        Some(("CC-BY-4.0", LicencePlace::Link)),
    ),
    (
        "<body><a rel=license href='http://creativecommons.org/licenses/by-nc-sa/3.0/de/'>x</a>",
        &[],
        Some(("CC-BY-NC-SA-3.0", LicencePlace::Anchor)),
    ),
    (
        "<body><a rel='noopener license' href='//creativecommons.org/licenses/by-sa/4.0'>x</a>",
        &[],
        Some(("CC-BY-SA-4.0", LicencePlace::Anchor)),
    ),
    (
        "<link rel=license href=https://creativecommons.org/publicdomain/zero/1.0/>",
        &[],
        Some(("CC0-1.0", LicencePlace::Link)),
    ),
    (
        "<link rel=license href=https://creativecommons.org/publicdomain/mark/1.0/>",
        &[],
        Some(("CC-PDM-1.0", LicencePlace::Link)),
    ),
    (
        "<meta name=dcterms.license content='https://creativecommons.org/licenses/by-nd/4.0/'>",
        &[],
        Some(("CC-BY-ND-4.0", LicencePlace::Meta)),
    ),
    (
        "<meta name=copyright content='see https://creativecommons.org/licenses/by/'>",
        &[],
        Some(("CC-BY", LicencePlace::Meta)),
    ),
    (
        "<script type=application/ld+json>{\"license\": \
         \"https:\\/\\/creativecommons.org\\/licenses\\/by\\/4.0\\/\"}</script>",
        &[],
        Some(("CC-BY-4.0", LicencePlace::JsonLd)),
    ),
    (
        "<script type=application/ld+json>{\"license\":{\"@id\":\
         \"https://creativecommons.org/licenses/by/2.0/\"}}</script>",
        &[],
        Some(("CC-BY-2.0", LicencePlace::JsonLd)),
    ),
    (
        "<script type=application/ld+json>{\"license\":\"https://x.org\",\"a\":\
         \"https://creativecommons.org/licenses/by/2.0/\"}</script>",
        &[],
        None,
    ),
    (
        "<link rel=license href=https://creativecommons.org/licenses/by/4.0/><body>\
         <a rel=license href=https://creativecommons.org/licenses/by-nc/4.0/>x</a>",
        &[],
        Some(("CC-BY-4.0", LicencePlace::Link)),
    ),
    (
        "<body><a href=https://creativecommons.org/licenses/by/4.0/>photo</a>",
        &[],
        None,
    ),
    (
        "<link rel=license href=https://example.org/licence>",
        &[],
        None,
    ),
    (
        "<link rel=license href=https://creativecommons.org/about/>",
        &[],
        None,
    ),
];

#[test]
fn heads_give_their_signals_and_licences() {
    for (html, signals, licence) in HEADS {
        let head = extract(html, Extractor::Text, Options::default()).head;
        assert_eq!(head.optout, *signals, "{html}");
        let found = head
            .licence
            .as_ref()
            .map(|found| (found.id.as_str(), found.from));
        assert_eq!(found, *licence, "{html}");
    }
}

#[test]
fn a_head_has_title_language_and_address() {
    let html = "<html lang=de-AT><title> Ein\n Titel </title><link rel=canonical href=/a>\
                <meta name=tdm-policy content=/p><body><svg><title>no</title></svg>";
    let head = extract(html, Extractor::Text, Options::default()).head;

    assert_eq!(head.title.as_deref(), Some("Ein Titel"));
    assert_eq!(head.lang.as_deref(), Some("de-AT"));
    assert_eq!(head.canonical.as_deref(), Some("/a"));
    assert_eq!(head.tdm_policy.as_deref(), Some("/p"));
}

#[test]
fn headers_add_signals() {
    let page = extract(
        "<meta name=robots content=noai>",
        Extractor::Text,
        Options::default(),
    );
    let headers = [
        ("X-Robots-Tag", "noindex, noai"),
        ("x-robots-tag", "GPTBot: noindex, nosnippet"),
        (
            "X-Robots-Tag",
            "unavailable_after: 25 Jun 2030 15:00:00 PST",
        ),
        ("TDM-Reservation", "1"),
        ("Content-Usage", "train-ai=n, search=y"),
        ("Content-Type", "noindex"),
    ];

    let expected = [
        "gptbot:noindex",
        "gptbot:nosnippet",
        "noai",
        "noindex",
        "tdm",
        "train-ai=n",
    ];
    assert_eq!(merge_headers(&page.head, headers), expected);
}

/// Hostile pages, each small enough for a test and large enough for a quadratic step to show.
fn hostile_pages() -> Vec<(&'static str, String)> {
    let attributes: String = (0..200_000).map(|at| format!("a{at}=\"b\" ")).collect();
    let formatting: String = (0..5_000)
        .map(|at| format!("<p><b id={at}>x</p>"))
        .collect();
    let many: String = (0..400).map(|at| format!("<b id={at}>")).collect();

    vec![
        ("div", "<div>".repeat(20_000)),
        ("lists", "<ul><li>".repeat(20_000)),
        ("bold", "<b>".repeat(20_000)),
        (
            "links",
            "<a>".repeat(9_000) + &"<i>".repeat(9_000) + &"</a>".repeat(9_000),
        ),
        ("svg", format!("<svg>{}", "<g>".repeat(20_000))),
        ("tables", "<table><tr><td>x".repeat(5_000)),
        ("templates", "<template>".repeat(20_000)),
        ("attributes", format!("<p {attributes}>x</p>")),
        (
            "attributes after a comment",
            format!("<!-- --!><p {attributes}>x</p>"),
        ),
        (
            "licences",
            format!(
                "<script type='application/ld+json'>{}</script>",
                "\"license\":{".repeat(200_000)
            ),
        ),
        (
            "formulas",
            format!("{}{}", "<math>".repeat(400), "<mi/>".repeat(200_000)),
        ),
        ("paragraphs", "<p>".repeat(200_000)),
        ("siblings", "<span>a</span>".repeat(50_000)),
        (
            "script",
            format!("<script>{}</script>", "a<b;".repeat(500_000)),
        ),
        (
            "link text",
            format!("<div>{}", "<div><a href=x>link</a>".repeat(20_000)),
        ),
        ("less", "<".repeat(300_000)),
        ("class", format!("<p class='{}'>x", "word ".repeat(200_000))),
        ("NUL", "\0".repeat(300_000)),
        ("comment", format!("<!--{}", "x".repeat(1_000_000))),
        (
            "brackets",
            format!("<script type=application/ld+json>{}", "[".repeat(200_000)),
        ),
        ("formatting", formatting),
        ("opened again", many + &"<p>x</p>".repeat(20_000)),
        (
            "adoption",
            "<b><div>".repeat(10_000) + &"</b>".repeat(10_000),
        ),
        ("fostered", format!("<table>{}", "<b>x<tr>".repeat(10_000))),
    ]
}

#[test]
fn hostile_pages_are_bounded_in_depth_nodes_time_and_stack() {
    for (name, html) in hostile_pages() {
        let clock = std::time::Instant::now();
        in_small_stack(move || {
            let dom = Dom::parse(&html);
            check_tree(&dom);
            assert!(dom.len() <= html.len() / 8 + (1 << 18) + 2_000, "{name}");
            for extractor in [Extractor::Resiliparse, Extractor::Text] {
                let text = extract(&html, extractor, FORMULAS).text;
                assert!(text.len() <= 8 * html.len(), "{name}");
            }
        });
        assert!(clock.elapsed().as_secs() < 60, "{name}");
    }
}

#[test]
fn tags_beyond_the_depth_cap_keep_their_text() {
    let html = format!(
        "{}deep{}after",
        "<div>".repeat(2_000),
        "</div>".repeat(2_000)
    );
    let page = extract(&html, Extractor::Text, Options::default());

    assert_eq!(page.text, "deep\nafter");
    assert!(page.depth_capped);
}

#[test]
fn long_tags_are_cut_and_the_page_goes_on() {
    let long = "x".repeat(100_000);
    for html in [
        format!("<p title=\"{long}\">text</p>after"),
        format!("<p title='{long}'>text</p>after"),
        format!("<p title={long}>text</p>after"),
        format!("<p a=\">\" {}>text</p>after", "b ".repeat(1_000)),
    ] {
        let page = extract(&html, Extractor::Text, Options::default());
        assert_eq!((page.text.as_str(), page.tags_cut), ("text\n\nafter", 1));
    }
}

#[test]
fn scripts_and_comments_are_not_cut() {
    let html = format!(
        "<!-- <p {} --><script>if(a<b){}</script>x",
        "a ".repeat(1_000),
        "c ".repeat(1_000)
    );
    let page = extract(&html, Extractor::Text, Options::default());

    assert_eq!((page.text.as_str(), page.tags_cut), ("x", 0));
}

/// 600 attributes after markup that looks like the start of a comment, a text or a value, and is
/// none. No tag that the tokenizer gives has more than 512, which `Capped` checks in tests.
#[test]
fn no_markup_hides_a_tag_from_the_cut() {
    let attributes: String = (0..600).map(|n| format!("a{n} ")).collect();
    for hidden in [
        "<!-- --!>",
        "<!-->",
        "<!--->",
        "<svg><style>",
        "<svg><title>",
        "<! <a b=\">",
        "<? <a b=\">",
        "</ <a b=\">",
        "<a =\"x>",
        "<a b=c\"x>",
        "<svg><![CDATA[<a b=\"]]>",
        "<![CDATA[<a b=\">]]>",
        "<script><!--<script></script><x a=\"</script></script>",
        "<script><!--><script></script>",
        "<script><!--</script>",
        "<style></styles></style>",
        "<textarea></TEXTAREA\n>",
        "<plaintexts>",
        "<aéééééé>",
        "<abéééééé>",
    ] {
        let html = format!("<body>{hidden}<div {attributes}>y</div>\">z");
        let page = extract(&html, Extractor::Text, Options::default());
        assert_eq!(page.tags_cut, 1, "{hidden}");
    }
}

#[test]
fn tags_are_cut_where_the_tokenizer_sees_them_and_nowhere_else() {
    const PARTS: [&str; 40] = [
        "<!--",
        "-->",
        "--!>",
        "-",
        "<!",
        "<?x",
        ">",
        ">",
        "\"",
        "\"",
        "'",
        "=",
        "<a ",
        "</a ",
        "<div",
        "<p>",
        "<svg>",
        "</svg>",
        "<style>",
        "</style>",
        "<title>",
        "</title>",
        "<script>",
        "</script>",
        "<script ",
        "</script x",
        "<textarea>",
        "</textarea>",
        "<select>",
        "</select>",
        "<math>",
        "<![CDATA[",
        "]]>",
        "<xmp>",
        "</xmp",
        "/",
        "x",
        " ",
        "RUN",
        "RUN",
    ];
    let run = |count: usize| -> String { (0..count).map(|n| format!(" c{n}")).collect() };
    let (short, long) = (run(3), run(520));
    let letters = |html: &str| -> String {
        let text = all_text(html);
        text.chars()
            .filter(|c| !c.is_ascii_digit() && !c.is_whitespace() && *c != 'c')
            .collect()
    };

    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..20_000 {
        let length = 2 + random.below(24);
        let html: String = (0..length)
            .map(|_| PARTS[random.below(PARTS.len())])
            .collect();
        if html.contains("RUN") {
            let one = html.replace("RUN", &short);
            assert_eq!(
                letters(&html.replace("RUN", &long)),
                letters(&one),
                "{html}"
            );
        }
    }
}

#[test]
fn every_prefix_of_a_page_is_a_page() {
    in_small_stack(|| {
        for page in golden() {
            let html = page["html"].as_str().expect("a page");
            let step = 1 + html.len() / 400;
            for (at, _) in html.char_indices().step_by(step) {
                check_tree(&Dom::parse(&html[..at]));
                extract(&html[..at], Extractor::Resiliparse, FORMULAS);
            }
        }
    });
}

#[test]
fn random_tags_keep_the_tree_consistent() {
    const PARTS: [&str; 48] = [
        "<a>",
        "</a>",
        "<b>",
        "</b>",
        "<i id=x>",
        "</i>",
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<table>",
        "</table>",
        "<tr>",
        "<td>",
        "</td>",
        "<caption>",
        "<ul>",
        "<li>",
        "</ul>",
        "<ol>",
        "<svg>",
        "</svg>",
        "<g>",
        "<math>",
        "<mi>",
        "<annotation-xml encoding=text/html>",
        "</math>",
        "<template>",
        "</template>",
        "<select>",
        "<option>",
        "</select>",
        "<button>",
        "<form>",
        "</form>",
        "<h1>",
        "<br>",
        "</br>",
        "<body class=b>",
        "<html lang=c>",
        "<head>",
        "<frameset>",
        "<script>x</script>",
        "<noscript>",
        "text",
        " ",
        "<!--c-->",
        "<nobr>",
    ];

    in_small_stack(|| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..4_000 {
            let length = 1 + random.below(60);
            let html: String = (0..length)
                .map(|_| PARTS[random.below(PARTS.len())])
                .collect();
            check_tree(&Dom::parse(&html));
            let first = extract(&html, Extractor::Resiliparse, FORMULAS);
            assert_eq!(
                first,
                extract(&html, Extractor::Resiliparse, FORMULAS),
                "{html}"
            );
        }

        // Few tags, long pages: the shapes that reach the caps.
        for _ in 0..40 {
            let parts = [
                random.below(48),
                random.below(48),
                random.below(48),
                random.below(48),
            ];
            let html: String = (0..6_000).map(|_| PARTS[parts[random.below(4)]]).collect();
            check_tree(&Dom::parse(&html));
            extract(&html, Extractor::Text, FORMULAS);
        }
    });
}

#[test]
fn empty_pages_are_empty() {
    for html in ["", " ", "\n\n", "<!doctype html>"] {
        assert_eq!(
            extract(html, Extractor::Text, Options::default()),
            Extracted::default()
        );
    }
}
