//! Rules end to end: profiles, lists, rules that rewrite, and what a change of each does again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::support::{
    Place, Random, assert_same, check, commit, corpus, curate, outcome, python, query, report,
    repository, run, stage_of, tree,
};

/// A manifest over one file of records, with what is to be set.
fn manifest(place: &Place, records: &[(&str, &str)], more: &str) -> PathBuf {
    let line = |(url, text): &(&str, &str)| {
        format!("{}\n", serde_json::json!({ "url": url, "text": text }))
    };
    place.write("docs.jsonl", records.iter().map(line).collect::<String>());
    let head = "[run]\nname = \"rules\"\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\nurl = \"url\"\nallow_missing = [\"url\"]\n";
    place.write("rules.toml", format!("{head}{more}"))
}

const PROSE: &str = "The first sentence of this page says what it is about. The second one adds a little to that. \
                     A third is there for good measure! Does the fourth ask anything? The fifth ends it.";

#[test]
fn c4_rewrites_what_later_stages_see() {
    let place = Place::new();
    let cited = PROSE.replace("page says", "page[12] says");
    let page =
        format!("Home\n\n  {cited}\nWe use cookies to make this site better for you.\nRead on\n");
    let rules = "[language]\n[filter.c4]\nrewrite = true\n[filter.fineweb]\n[dedup.exact]\n[dedup.near]\n\
                 [budget]\nparams = 1e9\n[[mixture]]\nname = \"all\"\ntokens = 60\n";
    let manifest = manifest(
        &place,
        &[("", &page), ("", PROSE), ("", "Too short.")],
        rules,
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0).prints(&["edited away"]);
    check(&dir, None).exits(0);
    // The first page is, after its edits, the second: one of them is an exact duplicate, told by
    // texts that differ.
    let reasons = query(
        &dir,
        "SELECT removed_by FROM exact_dedup WHERE removed_by IS NOT NULL",
    );
    assert_eq!(reasons, ["exact_dedup.document"]);
    assert_eq!(query(&dir, "SELECT text FROM mixture_all"), [PROSE]);
    let edits = "SELECT e.reason, d.text.encode()[e.start + 1 : e.end].decode() FROM documents d JOIN signals s USING (doc_id), \
                 unnest(s.edits) AS u(e) WHERE d.ordinal = 0 ORDER BY e.start";
    let edits = query(&dir, edits);
    assert!(
        edits.iter().any(|edit| edit == "c4.citation|[12]"),
        "{edits:?}"
    );
    assert!(
        edits
            .iter()
            .any(|edit| edit.starts_with("c4.policy|We use cookies")),
        "{edits:?}"
    );
    let report = report(&dir);
    let signals = stage_of(&report, "signals");
    assert!(
        signals["bytes"]["edited"].as_i64().unwrap() > 60,
        "{signals}"
    );
    assert!(
        signals["tokens"]["edited"].as_i64().unwrap() > 10,
        "{signals}"
    );
    curate([Path::new("verify"), &dir]).exits(0);
    // A verdict's threshold reads no text; a line setting computes the signals again.
    let lower = ["--set", "filter.c4.min_sentences=2"];
    let lower = run(&manifest, &dir, &lower).exits(0);
    lower.prints(&[
        "computed: filter,",
        "cached: documents, coverage, language, signals, signatures",
    ]);
    let lines = run(&manifest, &dir, &["--set", "filter.c4.citations=false"]).exits(0);
    lines.prints(&[
        "computed: signals, signatures, filter,",
        "cached: documents, coverage, language",
    ]);
    check(&dir, None).exits(0);
}

#[test]
fn a_rewriting_corpus_is_what_its_tables_say() {
    let place = Place::new();
    let manifest = corpus(&place, 60);
    let settings = [
        "filter.c4.rewrite=true",
        "filter.c4.terminal_punct=false",
        "filter.c4.min_sentences=1",
        "filter.gopher_quality.min_alpha_word_ratio=0.5",
        "tokens.scope=\"survivors\"",
    ];
    let sets: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
    let (one, two) = (place.path("one"), place.path("two"));
    run(&manifest, &one, &[&sets[..], &["--threads", "1"]].concat()).exits(0);
    check(&one, None).exits(0);
    run(&manifest, &two, &[&sets[..], &["--threads", "2"]].concat()).exits(0);
    assert_same(&tree(&two), &tree(&one), "two threads");
    // Back to the text as it came: nothing of the rewritten one is left.
    let plain: Vec<&str> = sets
        .iter()
        .map(|set| {
            if *set == settings[0] {
                "filter.c4.rewrite=false"
            } else {
                set
            }
        })
        .collect();
    run(&manifest, &one, &plain).exits(0);
    check(&one, None).exits(0);
    assert_eq!(
        query(&one, "SELECT count(*) FROM signals WHERE edits IS NOT NULL"),
        ["0"]
    );
    let fresh = place.path("fresh");
    run(&manifest, &fresh, &plain).exits(0);
    assert_same(&tree(&one), &tree(&fresh), "back to the text as it came");
}

/// Pages in which each line is for one step: C4's line rules, the line rules, or paragraphs.
fn pages_for_every_step() -> Vec<String> {
    let mut random = Random::new(11);
    let mut line = |page: usize, at: u64| match random.below(7) {
        // C4 drops lines without a full stop and of fewer than three words.
        0 => format!("A line without a full stop on page {page}"),
        1 => "Two words.".to_owned(),
        // The line rules drop shouts and cut out a phrase, which C4 leaves alone.
        2 => format!("THE SHOP OF PAGE {page} SHOUTS."),
        3 => format!("You have items in cart on page {page}, {at}."),
        // C4 cuts out the citation; only then is the line a repetition of another line.
        4 => format!(
            "The same line stands on many pages{}.",
            ["", "[1]", "[23]"][page % 3]
        ),
        // The line rules cut out the phrase; only then is the line a repetition.
        5 => format!(
            "So you have {}nothing more to pay.",
            ["", "items in cart "][page % 2]
        ),
        _ => format!("Line {at} of page {page} stands nowhere else."),
    };
    let pages = (0..40).map(|page| (0..12).map(|at| line(page, at)).collect::<Vec<_>>());
    pages.map(|lines| lines.join("\n")).collect()
}

/// What the three steps make of the pages, in plain code: the text after each step.
fn rewritten_plainly(pages: &[String]) -> Vec<[String; 3]> {
    let mut seen = HashSet::new();
    let mut steps = Vec::new();
    for page in pages {
        let is_sentence = |line: &&str| line.ends_with('.') && line.split(' ').count() > 2;
        let c4: Vec<String> = page
            .lines()
            .filter(is_sentence)
            .map(without_citations)
            .collect();
        let is_quiet = |line: &&String| !line.starts_with("THE SHOP");
        let rules = c4.iter().filter(is_quiet);
        let rules: Vec<String> = rules
            .map(|line| line.replace("items in cart ", ""))
            .collect();
        let own = rules.iter().filter(|line| seen.insert(line.to_string()));
        let own: Vec<&str> = own.map(String::as_str).collect();

        steps.push([c4.join("\n"), rules.join("\n"), own.join("\n")]);
    }
    steps
}

fn without_citations(line: &str) -> String {
    line.replace("[1]", "").replace("[23]", "")
}

#[test]
fn three_steps_that_rewrite_give_what_plain_code_gives() {
    let place = Place::new();
    let pages = pages_for_every_step();
    let records: Vec<(&str, &str)> = pages.iter().map(|page| ("", page.as_str())).collect();
    let rules = "[filter.c4]\nrewrite = true\nmin_sentences = 1\n\
                 [filter.lines]\nrewrite = true\nmax_removed_word_ratio = 1\n\
                 [dedup.paragraphs]\nunit = \"line\"\nmin_len = 1\n\
                 [[mixture]]\nname = \"all\"\ntokens = 1_000\nmax_epochs = 1\n";
    let manifest = manifest(&place, &records, rules);
    let (dir, resumed) = (place.path("run"), place.path("resumed"));
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);

    // The plain code keeps line feeds between the lines that stay, the edits those before the
    // lines that go: only the end of a text can differ, by a line feed.
    let plain = rewritten_plainly(&pages);
    let last = texts_after_edits(&dir);
    assert_eq!(last.len(), pages.len());
    for (found, [_, _, expected]) in last.iter().zip(&plain) {
        assert_eq!(found.trim_end_matches('\n'), expected);
    }
    let changed = |step: usize| {
        plain
            .iter()
            .filter(|texts| texts[step] != texts[step - 1])
            .count()
    };
    assert!(
        changed(1) > 20 && changed(2) > 20,
        "{} {}",
        changed(1),
        changed(2)
    );

    // Tokens are counted before each stage that edited the text.
    let stages = "SELECT DISTINCT list_transform(tokens_before, lambda step : step.stage) AS stages FROM tokens ORDER BY 1";
    let both = "['signals', 'paragraph_dedup']";
    assert!(
        query(&dir, stages).contains(&both.to_owned()),
        "{:?}",
        query(&dir, stages)
    );
    // What a stage saw is what a run without this stage and those behind it counts.
    let without = place.path("without");
    for (stage, off) in [
        (
            "signals",
            &["filter.c4.rewrite=false", "filter.lines.rewrite=false"][..],
        ),
        ("paragraph_dedup", &[]),
    ] {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let paragraphs = "[dedup.paragraphs]\nunit = \"line\"\nmin_len = 1\n";
        assert!(text.contains(paragraphs));
        let plain = place.write("plain.toml", text.replace(paragraphs, ""));
        let sets: Vec<&str> = off.iter().flat_map(|set| ["--set", set]).collect();
        let until = [&sets[..], &["--until", "tokens"]].concat();
        run(&plain, &without, &until).exits(0);
        let saw = format!(
            "SELECT doc_id, step.tokens FROM tokens, unnest(tokens_before) AS u(step) \
             WHERE step.stage = '{stage}' ORDER BY 1"
        );
        let saw = query(&dir, &saw);
        assert!(saw.len() > 20, "{stage}: {}", saw.len());
        let counted = query(&without, "SELECT doc_id, tokens FROM tokens");
        let unlike = saw.iter().filter(|row| !counted.contains(row));
        assert_eq!(unlike.collect::<Vec<_>>(), [] as [&String; 0], "{stage}");
    }

    let report = report(&dir);
    for name in ["signals", "paragraph_dedup"] {
        let stage = stage_of(&report, name);
        assert!(stage["tokens"]["edited"].as_i64().unwrap() > 100, "{stage}");
    }

    // A trace shows what each step replaced.
    let id = query(
        &dir,
        "SELECT doc_id FROM tokens WHERE len(tokens_before) = 2 LIMIT 1",
    );
    let trace = ["trace".as_ref(), dir.as_os_str(), id[0].as_ref()];
    let reasons = ["c4.", "paragraph_dedup.repeated"];
    curate(trace)
        .exits(0)
        .prints(&reasons)
        .prints(&["\n  -So you have nothing more"]);
    let json = [&trace[..], &["--json".as_ref()]].concat();
    curate(json)
        .exits(0)
        .prints(&reasons)
        .prints(&["\"was\":\"So you have nothing more"]);

    // Ended between any two of the steps and continued, the run ends in the same bytes.
    for until in [
        "signals",
        "near_dedup",
        "paragraph_dedup",
        "tokens",
        "quality",
    ] {
        run(&manifest, &resumed, &["--until", until, "--threads", "1"]).exits(0);
    }
    run(&manifest, &resumed, &[]).exits(0);
    assert_same(&tree(&resumed), &tree(&dir), "a resumed run");
}

/// The text of each document after all edits, in the order of the input.
fn texts_after_edits(dir: &Path) -> Vec<String> {
    let edits = "SELECT d.text, s.edits, p.edits FROM documents d JOIN signals s USING (doc_id) \
                 JOIN paragraph_dedup p USING (doc_id) ORDER BY d.ordinal";
    let program = "import duckdb, json, sys\n\
                   sys.path.append(sys.argv[1])\n\
                   from check_run import edit\n\
                   c = duckdb.connect()\n\
                   c.execute(open('views.sql').read())\n\
                   for text, first, second in c.execute(sys.argv[2]).fetchall():\n    \
                       print(json.dumps(edit(edit(text, first), second)))";
    let tests = repository().join("tests/it");
    let mut python = python();
    python
        .args(["-c", program, tests.to_str().unwrap(), edits])
        .current_dir(dir);
    let lines = outcome(&mut python).exits(0).stdout;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn line_rules_rewrite_or_judge() {
    let place = Place::new();
    let page = format!(
        "WELCOME TO OUR SHOP\n{PROSE}\n3 likes\n12345\nHome\nThe rest is as good as the page before it was."
    );
    let records = [("", page.as_str()), ("", PROSE)];
    let manifest = manifest(
        &place,
        &records,
        "[filter.lines]\n[[mixture]]\nname = \"all\"\ntokens = 30\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["lines.removed_words"]);
    assert_eq!(query(&dir, "SELECT text FROM mixture_all"), [PROSE]);
    let rewrite = [
        "--set",
        "filter.lines.rewrite=true",
        "--set",
        "filter.lines.max_removed_word_ratio=1",
    ];
    run(&manifest, &dir, &rewrite).exits(0);
    check(&dir, None).exits(0);
    let kept = format!("{PROSE}\nThe rest is as good as the page before it was.").len();
    assert_eq!(
        query(&dir, "SELECT bytes FROM signals ORDER BY bytes"),
        [PROSE.len().to_string(), kept.to_string()]
    );
}

#[test]
fn addresses_are_looked_up_without_reading_text() {
    let place = Place::new();
    place.write("domains.txt", "# unwanted\nbad.example\n");
    place.write("substrings.txt", "/casino/\n");
    let records = [
        ("https://www.BAD.example:8080/a", "one"),
        ("http://notbad.example/", "two"),
        ("http://good.example/Casino/x", "three"),
        ("not a url", "four"),
    ];
    let manifest = manifest(
        &place,
        &records,
        "[filter.url]\ndomains = \"domains.txt\"\nsubstrings = \"substrings.txt\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let verdicts = "SELECT d.ordinal, f.removed_by, f.url_domain, f.url_substring FROM documents d JOIN filter f USING (doc_id) ORDER BY 1";
    let expected = [
        "0|url.domain|bad.example|None",
        "1|None|None|None",
        "2|url.substring|None|/casino/",
        "3|None|None|None",
    ];
    assert_eq!(query(&dir, verdicts), expected);
    // Another list is another verdict, and no more than that.
    place.write("domains.txt", "example\n");
    let again = run(&manifest, &dir, &["--until", "filter"]).exits(0);
    again.prints(&["computed: filter; cached: documents, coverage, language, signals, signatures"]);
    assert_eq!(
        query(
            &dir,
            "SELECT count(*) FROM filter WHERE removed_by = 'url.domain'"
        ),
        ["3"]
    );
    place.write("domains.txt", b"caf\xff\n");
    run(&manifest, &dir, &[])
        .exits(2)
        .says(&["filter.url.domains", "domains.txt: expected UTF-8"]);
    run(
        &manifest,
        &dir,
        &["--set", "filter.url.domains=\"none.txt\""],
    )
    .exits(2)
    .says(&["none.txt"]);
}

#[test]
fn bad_words_come_from_a_file() {
    let place = Place::new();
    place.write("words.txt", "darn\nvery bad\n");
    let records = [
        ("", "Well, Darn it."),
        ("", "A darning needle."),
        ("", "It is very bad; very bad."),
    ];
    let manifest = manifest(
        &place,
        &records,
        "[filter.c4_bad_words]\nfile = \"words.txt\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let verdicts =
        "SELECT d.ordinal, f.removed_by FROM documents d JOIN filter f USING (doc_id) ORDER BY 1";
    let expected = ["0|c4_bad_words.listed", "1|None", "2|c4_bad_words.listed"];
    assert_eq!(query(&dir, verdicts), expected);
    let parts = commit(&dir, "signals")["files"][0]["parts"].to_string();
    assert!(
        parts.contains("bad_words") && !parts.contains("words.txt"),
        "{parts}"
    );
}

#[test]
fn a_change_of_the_lists_language_is_a_change() {
    let place = Place::new();
    place.write("words.txt", "\u{feff}ばか\r\n");
    let manifest = manifest(
        &place,
        &[("", "それはばかげた話だ。")],
        "[filter.c4_bad_words]\nfile = \"words.txt\"\n",
    );
    let dir = place.path("run");
    for (language, matches) in [("en", "0"), ("ja", "1")] {
        let set = format!("filter.c4_bad_words.language=\"{language}\"");
        run(&manifest, &dir, &["--until", "filter", "--set", &set]).exits(0);
        assert_eq!(query(&dir, "SELECT bad_words FROM signals"), [matches]);
    }
    curate([
        "rules".as_ref(),
        "--agreement".as_ref(),
        place.path("none").as_os_str(),
    ])
    .exits(2);
}

#[test]
fn profiles_are_verdicts_over_the_same_values() {
    let place = Place::new();
    // Every second line is blank: three in four lines are short if blank ones count.
    let text = "This line is long enough not to be short, and it ends well.\n\nShort, though.\n\n";
    let manifest = manifest(
        &place,
        &[("", text)],
        "[filter.fineweb]\nmax_list_ratio = 100\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let failing = "SELECT failing FROM filter";
    assert_eq!(query(&dir, failing), ["[]"]);
    let v1 = run(
        &manifest,
        &dir,
        &[
            "--until",
            "filter",
            "--set",
            "filter.profile=\"fineweb-v1-lines\"",
        ],
    )
    .exits(0);
    v1.prints(&["computed: filter; cached: documents, coverage, language, signals, signatures"]);
    assert!(
        query(&dir, failing)[0].contains("fineweb.short_line_ratio"),
        "{:?}",
        query(&dir, failing)
    );
    curate(["rules".as_ref(), "--agreement".as_ref(), dir.as_os_str()])
        .exits(0)
        .prints(&["1 documents", "| `fineweb` | ", "| `all of them` | "]);
}

#[test]
fn strange_texts_have_values_and_verdicts() {
    let place = Place::new();
    let long_line = "word and more words, ".repeat(500_000);
    let million = "same ".repeat(1_000_000);
    let texts = [
        ("empty", ""),
        ("one word", "word"),
        ("white space", " \t\u{a0}\u{3000}\r\n\u{2028}\n"),
        (
            "combining marks",
            "e\u{301}\u{301}\u{301}a\u{300} o\u{308}\n",
        ),
        ("right to left", "שלום עולם. זהו משפט ארוך יותר בעברית.\n"),
        ("emoji", "👩‍👩‍👧 🏳️‍🌈 😀😀😀\n"),
        ("CR LF", "First line here.\r\nSecond line here.\r\n"),
        (
            "line separators",
            "First line here.\u{2028}Second line here.\u{85}Third.",
        ),
        ("no-break spaces", "First\u{a0}line\u{a0}here.\u{a0}"),
        ("controls", "a\u{1c}b\u{1d}c\u{1e}d\u{b}e\u{c}f\u{7f}"),
        ("a line of 10 MB", long_line.as_str()),
        ("one word a million times", million.as_str()),
    ];
    let records: Vec<(&str, &str)> = texts.to_vec();
    let rules = "[filter]\nwords = \"english\"\n[filter.gopher_repetition]\n[filter.gopher_quality]\n[filter.c4]\nrewrite = true\n\
                 [filter.c4_paragraphs]\n[filter.fineweb]\n[filter.lines]\n";
    let manifest = manifest(&place, &records, rules);
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    check(&dir, None).exits(0);
    let values = "SELECT d.url, s.gopher_quality.n_words, s.gopher_repetition.dup_line_frac, s.c4.n_lines, s.fineweb.n_nonblank_lines \
                  FROM documents d JOIN signals s USING (doc_id) ORDER BY d.ordinal";
    let expected = [
        "empty|0|0.0|0|0",
        "one word|1|0.0|1|0",
        "white space|0|0.0|3|0",
        "combining marks|2|0.0|1|0",
        "right to left|9|0.0|1|1",
        "emoji|11|0.0|1|0",
        "CR LF|8|0.0|2|2",
        "line separators|10|0.0|3|2",
        "no-break spaces|4|0.0|1|1",
        "controls|6|0.0|6|0",
        "a line of 10 MB|2500000|0.0|1|0",
        "one word a million times|1000000|0.0|1|0",
    ];
    assert_eq!(query(&dir, values), expected);
    // C4 leaves nothing of most of them, and these are judged no further.
    let emptied = "SELECT count(*) FROM signals WHERE removed_by = 'signals.nothing_left'";
    assert_eq!(query(&dir, emptied), ["8"]);

    // Words and lines are those that datatrove 0.10.1 and Python 3.11 give.
    // All but the long ones are too short; that one word makes a text of one 2-gram.
    let plain = self::manifest(&place, &records, &rules.replace("rewrite = true\n", ""));
    let dir = place.path("plain");
    run(&plain, &dir, &["--until", "filter"]).exits(0);
    check(&dir, None).exits(0);
    let failing = query(
        &dir,
        "SELECT d.url, array_to_string(f.failing, ' ') FROM documents d JOIN filter f USING (doc_id) ORDER BY d.ordinal",
    );
    assert!(
        failing[..10]
            .iter()
            .all(|row| row.contains("gopher_quality.short_doc")),
        "{failing:#?}"
    );
    assert!(
        failing[0].contains("fineweb.empty") && failing[0].contains("c4.too_few_sentences"),
        "{failing:#?}"
    );
    assert!(
        failing[11].contains("top_2_gram") && failing[11].contains("gopher_quality.long_doc"),
        "{failing:#?}"
    );
}

#[test]
fn the_page_on_rules_has_the_list_as_it_is() {
    let list = curate(["rules"]).exits(0).stdout;
    let page = std::fs::read_to_string(repository().join("docs/rules.md")).unwrap();
    let table = list.split("\n\n").next().unwrap();
    assert!(
        page.contains(table),
        "docs/rules.md lacks the output of `curate rules`:\n{table}"
    );
}

#[test]
fn rules_are_listed_and_explained() {
    curate(["rules"]).exits(0).prints(&[
        "language.not_kept",
        "gopher_quality.short_doc",
        "gopher_short_doc",
        "near_dedup.cluster",
    ]);
    curate(["rules", "gopher_quality.short_doc"])
        .exits(0)
        .prints(&[
            "Rae et al. 2021",
            "fails       < 50",
            "key         filter.gopher_quality.min_words",
            "column      signals.gopher_quality.n_nonsymbol_words",
        ]);
    curate(["rules", "fineweb.list_ratio"])
        .exits(0)
        .prints(&["fineweb-v1-lines: there was no such rule"]);
    curate(["rules", "near_dedup.cluster"])
        .exits(0)
        .prints(&["near-duplicate"]);
    curate(["rules", "gopher_quality.short"])
        .exits(2)
        .says(&["there is no rule", "did you mean gopher_quality.short_doc?"]);
}

#[test]
fn the_published_recipe_runs() {
    let place = Place::new();
    let dir = place.path("run");
    run(&repository().join("manifests/fineweb.toml"), &dir, &[])
        .exits(0)
        .prints(&["edited away", "mixture fineweb"]);
    check(&dir, None).exits(0);
}

#[test]
fn what_contradicts_itself_is_a_mistake_in_the_manifest() {
    let place = Place::new();
    for (settings, message) in [
        (
            "[language]\nengine = \"whichlang\"\nmin_confidence = 0.5\n",
            "whichlang\" has no confidence",
        ),
        (
            "[language]\nengine = \"whichlang\"\nkeep = [\"eng\", \"cat\"]\n",
            "whichlang has no Catalan (\"cat\"); engines that do: \"whatlang\"",
        ),
        (
            "[language]\nengine = \"whichlang\"\n[[quality.term]]\ncolumn = \"language.confidence\"\n",
            "language.confidence",
        ),
        (
            "[dedup.near]\ncluster = \"component\"\n",
            "a component is never verified",
        ),
        (
            "[filter]\nc4 = true\n",
            "expected the table [filter.c4], found boolean",
        ),
        (
            "[filter]\nprofile = \"gopher\"\n",
            "filter.profile: unknown word \"gopher\"",
        ),
        (
            "[filter.gopher_qualty]\n",
            "did you mean [filter.gopher_quality]?",
        ),
    ] {
        let manifest = manifest(&place, &[("", "text")], settings);
        run(&manifest, &place.path("run"), &[])
            .exits(2)
            .says(&[message]);
    }
}
