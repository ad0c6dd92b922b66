//! `report.html`: what a browser makes of it, whether its numbers are those of `run.json` and of the
//! query below each figure, and what hostile texts do to it.

use std::fs;
use std::path::Path;

use markup5ever_rcdom::{Handle, NodeData, RcDom};

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};

use crate::support::{Place, corpus, curate, outcome, python, report, repository, run, stage_of};

/// A page as the parser of a browser understands it.
struct Page {
    text: String,
    dom: RcDom,
}

impl Page {
    /// The page of a run.
    #[track_caller]
    fn of(run: &Path) -> Page {
        let text = fs::read_to_string(run.join("report.html")).unwrap();
        let dom = parse_document(RcDom::default(), ParseOpts::default()).one(text.as_str());
        let errors = dom.errors.borrow();
        assert!(errors.is_empty(), "{errors:?}");
        drop(errors);
        Page { text, dom }
    }

    /// All elements below the document.
    fn elements(&self) -> Vec<Handle> {
        let mut found = Vec::new();
        descend(&self.dom.document, &mut found);
        found
    }

    /// The section with this id.
    #[track_caller]
    fn section(&self, id: &str) -> Handle {
        let is_it = |node: &Handle| tag(node) == "section" && attribute(node, "id") == id;
        let found = self.elements().into_iter().find(is_it);
        found.unwrap_or_else(|| panic!("no section {id}"))
    }

    fn has_section(&self, id: &str) -> bool {
        self.text.contains(&format!("<section id=\"{id}\""))
    }

    /// Fails the test if the page shows what is no number.
    #[track_caller]
    fn shows_numbers_only(&self) {
        for data in self.elements().iter().filter(|node| tag(node) == "data") {
            let value = attribute(data, "value");
            let is_number = value.parse::<f64>().is_ok_and(f64::is_finite);
            assert!(value.is_empty() || is_number, "{value:?}");
            assert!(
                !value.starts_with("-0") || value.starts_with("-0."),
                "{value:?}"
            );
        }
        for node in self.elements() {
            for name in [
                "x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx", "cy", "points",
            ] {
                let value = attribute(&node, name);
                assert!(
                    !value.contains("NaN") && !value.contains("inf"),
                    "{name}={value}"
                );
            }
        }
        // Texts of the corpus may hold any word.
        let words = words_of(&self.dom.document, &["text"]);
        for wrong in [" NaN", " inf ", " None ", " null ", " -0 "] {
            let at = words.find(wrong).unwrap_or(usize::MAX);
            assert_eq!(
                at,
                usize::MAX,
                "{wrong:?} in {:?}",
                &words[at.saturating_sub(80)..at + 20]
            );
        }
    }
}

/// Adds all elements below a node.
fn descend(node: &Handle, found: &mut Vec<Handle>) {
    for child in node.children.borrow().iter() {
        if matches!(child.data, NodeData::Element { .. }) {
            found.push(child.clone());
        }
        descend(child, found);
    }
}

/// The elements of a kind below a node.
fn all(node: &Handle, name: &str) -> Vec<Handle> {
    let mut found = Vec::new();
    descend(node, &mut found);
    found.retain(|node| tag(node) == name);
    found
}

/// The name of an element.
fn tag(node: &Handle) -> String {
    match &node.data {
        NodeData::Element { name, .. } => name.local.to_string(),
        _ => String::new(),
    }
}

/// An attribute of an element; empty if it has none of the name.
fn attribute(node: &Handle, name: &str) -> String {
    match &node.data {
        NodeData::Element { attrs, .. } => attrs
            .borrow()
            .iter()
            .find(|attr| *attr.name.local == *name)
            .map(|attr| attr.value.to_string())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn has_class(node: &Handle, class: &str) -> bool {
    attribute(node, "class").split(' ').any(|own| own == class)
}

/// The text below a node, without style and script.
fn words(node: &Handle) -> String {
    words_of(node, &[])
}

/// The text below a node, without style and script and without elements of these classes.
fn words_of(node: &Handle, without: &[&str]) -> String {
    let mut text = String::new();
    for child in node.children.borrow().iter() {
        match &child.data {
            NodeData::Text { contents } => text.push_str(&contents.borrow()),
            _ if ["style", "script"].contains(&tag(child).as_str()) => {}
            _ if without.iter().any(|class| has_class(child, class)) => {}
            _ => text.push_str(&words_of(child, without)),
        }
    }
    text
}

/// The rows of a table that a query gives: a name or an exact value for each cell of the query.
fn rows(table: &Handle) -> Vec<Vec<String>> {
    let body = all(table, "tbody").remove(0);
    let rows = all(&body, "tr").into_iter().map(|row| {
        let cells = row.children.borrow();
        let cells = cells.iter().filter(|cell| !has_class(cell, "beside"));
        let values = cells.map(|cell| match tag(cell).as_str() {
            "th" => words(cell),
            _ => attribute(&all(cell, "data")[0], "value"),
        });
        values.collect()
    });
    rows.collect()
}

/// Runs the query of each figure in DuckDB and compares its rows with the figure's. Returns the
/// number of figures and of values.
#[track_caller]
fn check_queries(dir: &Path, page: &Page) -> (usize, usize) {
    let figures = page
        .elements()
        .into_iter()
        .filter(|node| tag(node) == "figure");
    let mut queries = Vec::new();
    let mut tables = Vec::new();
    for figure in figures {
        let sql = all(&figure, "pre")
            .into_iter()
            .find(|pre| has_class(pre, "sql"));
        let table = all(&figure, "table")
            .into_iter()
            .find(|table| has_class(table, "numbers"));
        if let (Some(sql), Some(table)) = (sql, table) {
            queries.push(words(&sql));
            tables.push(rows(&table));
        }
    }

    let program = "import duckdb, json, sys; c = duckdb.connect(); c.execute(open('views.sql').read())\n\
                   print(json.dumps([[list(row) for row in c.execute(q).fetchall()] for q in json.loads(sys.argv[1])]))";
    let answer = outcome(
        python()
            .arg("-c")
            .arg(program)
            .arg(serde_json::to_string(&queries).unwrap())
            .current_dir(dir),
    )
    .exits(0);
    let found: Vec<Vec<Vec<serde_json::Value>>> = serde_json::from_str(&answer.stdout).unwrap();

    let mut values = 0;
    for ((query, shown), found) in queries.iter().zip(&tables).zip(&found) {
        assert_eq!(
            shown.len(),
            found.len(),
            "rows of {query}\n{shown:?}\n{found:?}"
        );
        for (shown, found) in shown.iter().zip(found) {
            assert_eq!(
                shown.len(),
                found.len(),
                "columns of {query}\n{shown:?}\n{found:?}"
            );
            for (shown, found) in shown.iter().zip(found) {
                assert!(
                    is_same(shown, found),
                    "{query}\npage {shown}, DuckDB {found}"
                );
                values += 1;
            }
        }
    }
    (queries.len(), values)
}

/// True if the page shows what a query gives.
fn is_same(shown: &str, found: &serde_json::Value) -> bool {
    match found {
        serde_json::Value::Null => shown.is_empty(),
        serde_json::Value::String(found) => shown == found,
        serde_json::Value::Number(found) => {
            let (shown, found) = (shown.parse::<f64>(), found.as_f64().unwrap());
            shown.is_ok_and(|shown| (shown - found).abs() <= 1e-9 * found.abs().max(1e-3))
        }
        _ => false,
    }
}

/// The first `data` value after a word in a section.
#[track_caller]
fn value_of(section: &Handle, term: &str) -> f64 {
    let terms = all(section, "dt").into_iter().zip(all(section, "dd"));
    let (_, value) = terms
        .into_iter()
        .find(|(own, _)| words(own) == term)
        .unwrap_or_else(|| panic!("no {term}"));
    attribute(&all(&value, "data")[0], "value").parse().unwrap()
}

#[test]
fn the_page_of_the_quickstart_says_what_its_tables_say() {
    let place = Place::new();
    let dir = place.path("run");
    run(&repository().join("manifests/quickstart.toml"), &dir, &[]).exits(0);

    let (page, report) = (Page::of(&dir), report(&dir));
    page.shows_numbers_only();
    for id in [
        "result",
        "funnel",
        "sources",
        "rules",
        "duplicates",
        "languages",
        "worth",
        "mixtures",
        "loss",
        "cost",
        "record",
    ] {
        page.section(id);
    }

    // The result is that of run.json.
    let result = page.section("result");
    let pool = &report["pool"];
    assert_eq!(
        value_of(&result, "Documents"),
        pool["docs"].as_f64().unwrap()
    );
    assert_eq!(
        value_of(&result, "Tokens"),
        pool["tokens"].as_f64().unwrap()
    );
    let d_eff = pool["d_eff"].as_f64().unwrap().round();
    assert_eq!(value_of(&result, "Effective tokens"), d_eff);
    for warning in report["warnings"].as_array().unwrap() {
        assert!(
            words(&result).contains(warning.as_str().unwrap()),
            "{warning}"
        );
    }

    // So is the funnel, and the rules sum to what filter removed.
    let funnel = page.section("funnel");
    let numbers = all(&funnel, "table")
        .into_iter()
        .find(|table| has_class(table, "numbers"));
    for row in rows(&numbers.unwrap()) {
        let stage = stage_of(&report, &row[0]);
        let expected = ["docs", "bytes", "tokens"].map(|unit| stage[unit]["kept"].to_string());
        assert_eq!(row[1..], expected);
    }
    let rules = all(&page.section("rules"), "table").remove(0);
    let first: u64 = rows(&rules)
        .iter()
        .map(|row| row[1].parse::<u64>().unwrap())
        .sum();
    let removed = stage_of(&report, "filter")["docs"]["removed"]
        .as_object()
        .unwrap()
        .values();
    assert_eq!(first, removed.map(|n| n.as_u64().unwrap()).sum::<u64>());

    // And so is every figure that has a query.
    let (figures, values) = check_queries(&dir, &page);
    assert!(figures >= 16, "{figures} figures");
    assert!(values > 1000, "{values} values");
}

#[test]
fn the_page_follows_from_the_files_and_goes_with_run_json() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let early = Page::of(&dir);
    early.shows_numbers_only();
    assert!(words(&early.section("result")).contains("exact_dedup and what follows is missing"));
    assert!(!early.has_section("worth") && !early.has_section("loss"));
    check_queries(&dir, &early);

    run(&manifest, &dir, &[]).exits(0);
    let page = Page::of(&dir);
    assert!(!words(&page.section("result")).contains("not finished"));
    check_queries(&dir, &page);

    // Written again it has the same bytes, also where it was lost.
    fs::remove_file(dir.join("report.html")).unwrap();
    let path = dir.to_str().unwrap();
    curate(["report", path]).exits(0).prints(&["report.html"]);
    assert!(
        Page::of(&dir).text == page.text,
        "written again, the page is another one"
    );

    // A run that stops half-way leaves no page of what it replaced.
    let broken = [
        "--set",
        "dedup.near.max_source_loss=0.0",
        "--set",
        "filter.gopher_quality.min_words=40",
    ];
    run(&manifest, &dir, &broken).exits(1);
    assert!(!dir.join("run.json").exists() && !dir.join("report.html").exists());
    curate(["report", path]).exits(0);
    let words = words(&Page::of(&dir).section("result"));
    assert!(
        words.contains("This run is not finished: near_dedup"),
        "{words}"
    );

    curate(["report", place.path("data").to_str().unwrap()])
        .exits(2)
        .says(&["is not a run directory"]);
}

/// A run over records of one source, with more of a manifest.
fn run_of(place: &Place, records: &str, more: &str) -> Page {
    place.write("in/records.jsonl", records);
    let manifest = place.write(
        "manifest.toml",
        format!(
            "[run]\nname = \"small\"\n[[source]]\nname = \"only\"\npath = \"in\"\nid = \"id\"\nurl = \"url\"\n{more}"
        ),
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--allow-missing"]).exits(0);
    let page = Page::of(&dir);
    page.shows_numbers_only();
    check_queries(&dir, &page);
    page
}

#[test]
fn extremes_have_no_wrong_number() {
    let text =
        "the cat sat on the mat and it was not the only one to be there that day. ".repeat(9);
    let record = |n: usize| format!("{{\"id\":\"{n}\",\"text\":\"{n} {text}\"}}\n");
    let records: String = (0..5).map(record).collect();

    // One source, nothing removed, no budget and no mixture.
    let page = run_of(&Place::new(), &records, "");
    let funnel = words(&page.section("funnel"));
    assert!(funnel.contains("Nothing was removed"), "{funnel}");
    assert!(words(&page.section("sources")).contains("The one source only kept"));
    for absent in ["mixtures", "loss", "duplicates"] {
        assert!(!page.has_section(absent), "{absent}");
    }

    // Nothing is kept.
    let rules =
        "[filter.gopher_quality]\nmin_words = 90000\n[dedup.near]\n[budget]\nparams = 7e9\n";
    let page = run_of(&Place::new(), &records, rules);
    let result = words(&page.section("result"));
    assert!(
        result.contains("No document is left. The last 5 went at filter"),
        "{result}"
    );
    assert!(result.contains("gopher_quality.short_doc"), "{result}");
    assert!(!page.has_section("worth"));

    // Nothing is read.
    let page = run_of(&Place::new(), "", rules);
    assert!(words(&page.section("result")).contains("No record was read"));
    assert!(!page.has_section("sources"));

    // Tokens are estimated, texts are rewritten.
    let page = run_of(
        &Place::new(),
        &records,
        "[tokens]\nscope = \"survivors\"\n[filter.gopher_quality]\nmin_words = 200\n",
    );
    assert!(words(&page.section("funnel")).contains("estimated"));
    let rewritten = "[filter.c4]\nrewrite = true\nmin_sentences = 1\n[dedup.paragraphs]\n";
    run_of(&Place::new(), &records, rewritten);
}

#[test]
fn hostile_texts_make_no_element_and_turn_nothing_around() {
    let attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>]]>&lt;svg onload=1> \
                  \u{202e}\u{2066}\u{0007}\u{fffd}\u{1F600}";
    let record = |n: usize, words: usize| {
        let text = format!("{attack} {}", "the word of a text ".repeat(words));
        serde_json::json!({"id": format!("{attack}{n}"), "url": format!("http://x/{attack}"), "text": text})
    };
    let records: Vec<String> = (0..6).map(|n| record(n, 6 + n * 6).to_string()).collect();

    let place = Place::new();
    place.write("in/<img src=x onerror=alert(2)>.jsonl", records.join("\n"));
    let rules = "[filter.gopher_quality]\nmin_words = 60\n";
    let page = run_of(&place, "", rules);

    let elements = page.elements();
    let count = |name: &str| elements.iter().filter(|node| tag(node) == name).count();
    assert_eq!(
        [
            count("script"),
            count("style"),
            count("img"),
            count("iframe")
        ],
        [1, 1, 0, 0]
    );
    for node in &elements {
        let NodeData::Element { attrs, .. } = &node.data else {
            continue;
        };
        for attr in attrs.borrow().iter() {
            let name = attr.name.local.to_string();
            assert!(
                !name.starts_with("on") && name != "style",
                "<{} {name}>",
                tag(node)
            );
            assert!(
                name != "href" || attr.value.starts_with('#'),
                "{}",
                attr.value
            );
        }
    }

    // The texts are there as words, and what turns them around is named.
    let shown = words(&page.section("rules"));
    assert!(shown.contains("<img src=x onerror=alert(1)>"), "{shown}");
    assert!(shown.contains("U+202EU+2066U+0007"), "{shown}");
    for hidden in ['\u{202e}', '\u{2066}', '\u{7}'] {
        assert!(!page.text.contains(hidden), "{hidden:?}");
    }
    let texts = elements.iter().filter(|node| has_class(node, "text"));
    assert!(texts.clone().count() > 2);
    assert!(
        texts
            .into_iter()
            .all(|text| attribute(text, "dir") == "auto")
    );
    assert!(
        page.text
            .contains("&lt;img src=x onerror=alert(2)&gt;.jsonl")
    );
}
