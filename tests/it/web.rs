//! Web archives and HTML files, from the record to the row.

use std::fs;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{
    Outcome, Place, assert_same, check, commit, content, curate, query, report, repository, run,
    start, tree,
};

/// Runs the manifest for web archives over its fixtures.
fn web(place: &Place, name: &str, more: &[&str]) -> Outcome {
    run(
        &repository().join("manifests/web.toml"),
        &place.path(name),
        more,
    )
}

/// A WARC record with this block.
fn record(kind: &str, more: &str, block: &str) -> String {
    format!(
        "WARC/1.0\r\nWARC-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n{block}\r\n\r\n",
        block.len()
    )
}

/// A WARC record of a page with this body.
fn page(number: u32, body: &str) -> String {
    let block = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}");
    let target =
        format!("WARC-Target-URI: http://h/{number}\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n");
    record("response", &target, &block)
}

/// A run over one file of this name.
fn one_file(place: &Place, name: &str, bytes: &[u8], settings: &str) -> Outcome {
    let file = place.write(name, bytes);
    let text = format!(
        "[run]\nname = \"one\"\nmax_quarantine_ratio = 0.9\n[[source]]\nname = \"s\"\npath = {file:?}\n{settings}"
    );
    run(&place.write("one.toml", text), &place.path("one"), &[])
}

#[test]
fn an_archive_becomes_documents_quarantine_and_counts_of_what_is_no_document() {
    let place = Place::new();
    web(&place, "run", &[]).exits(0).says(&[
        "2 of 104 records are in quarantine",
        "1 bad_gzip (crawl.warc.gz, record 30",
        "1 truncated (crawl.warc.gz, record 98",
    ]);
    let dir = place.path("run");
    check(&dir, None).exits(0);

    let counts = &commit(&dir, "documents")["counts"]["docs"];
    let expected = serde_json::json!({
        "in": 105, "kept": 56, "removed": {}, "duplicates": 0, "quarantined": 2, "edited": 0,
        "skipped": {
            "content_type": 1, "empty_payload": 1, "record_type": 43, "revisit": 1, "status": 1
        },
    });
    assert_eq!(*counts, expected);
    let source = &report(&dir)["sources"][0];
    assert_eq!(source["skipped"]["record_type"], 43);

    let rows = |sql: &str| query(&dir, sql);
    assert_eq!(
        rows("SELECT reason, \"offset\" > 0, records FROM quarantine ORDER BY 1"),
        ["bad_gzip|True|1", "truncated|True|1"]
    );
    assert_eq!(
        rows("SELECT path, sum(records)::BIGINT FROM skipped GROUP BY 1 ORDER BY 1"),
        ["crawl.warc.gz|46", "texts.warc.wet.gz|1"]
    );
    // No page of an archive is without an address, a date, an id or an offset.
    let whole = "url IS NOT NULL AND date IS NOT NULL AND source_id LIKE '<urn:uuid:%' \
                 AND json_extract(meta, '$.offset') IS NOT NULL";
    assert_eq!(
        rows(&format!(
            "SELECT count(*) FROM documents WHERE source = 'crawl' AND NOT ({whole})"
        )),
        ["0"]
    );
    // A page without a text is a document, and it is removed where texts are first looked at.
    assert_eq!(
        rows("SELECT bytes FROM documents WHERE url LIKE '%app.example%'"),
        ["0"]
    );
}

#[test]
fn a_page_keeps_its_structure_and_what_it_says_of_itself() {
    let place = Place::new();
    web(&place, "run", &["--until", "documents"]).exits(0);
    let dir = place.path("run");
    let text = |like: &str| {
        let sql = format!("SELECT text FROM documents WHERE url LIKE '%{like}%'");
        query(&dir, &sql).join("\n")
    };
    let meta = |like: &str, fields: &str| {
        let sql = format!("SELECT meta->>[{fields}] FROM documents WHERE url LIKE '%{like}%'");
        query(&dir, &sql).join("\n")
    };

    let shapes = text("shapes.example");
    let expected = "Shapes\n\nMass is energy: $E = m c^2$\n\nriver\t\tlength\nElbe\t\t1094\ndef f(x):\n    \
                    return x\n  • one\n  • two\n\nA page keeps";
    assert!(shapes.starts_with(expected), "{shapes:?}");
    assert!(!text("packed.example").contains("Imprint"));

    // The same page, in three encodings of its content.
    let packed = query(
        &dir,
        "SELECT count(*), count(DISTINCT text) FROM documents WHERE url LIKE '%packed.example%'",
    );
    assert_eq!(packed, ["3|1"]);

    let charset = "'$.charset', '$.charset_from', '$.lang_html'";
    assert_eq!(
        meta("//de.example.org/' AND path LIKE '%crawl", charset),
        "['windows-1252', 'meta', 'de']"
    );
    assert_eq!(
        meta("//ru.example.org/' AND path LIKE '%crawl", charset),
        "['KOI8-U', 'detector', 'ru']"
    );
    assert_eq!(
        meta("//ja.example.org/' AND path LIKE '%crawl", charset),
        "['Shift_JIS', 'meta', 'ja']"
    );
    assert!(text("//ja.example.org/").contains("朝早く、川の上には深い霧が立ちこめていた。"));
    assert_eq!(
        meta("reserved.example", "'$.optout'"),
        "['[\"noai\",\"noindex\",\"tdm\"]']"
    );
    assert_eq!(
        meta("free.example", "'$.licence.id', '$.licence.from'"),
        "['CC-BY-4.0', 'link']"
    );

    // A saved page has no address of its own, and may say which one it had.
    let saved = "SELECT url, meta->>'$.canonical' FROM documents WHERE source = 'saved'";
    assert_eq!(
        query(&dir, saved),
        ["None|https://pages.example.org/file?b=2"]
    );
}

#[test]
fn threads_and_kills_do_not_change_the_bytes() {
    let place = Place::in_memory();
    web(&place, "unbroken", &["--threads", "1"]).exits(0);
    let unbroken = tree(&place.path("unbroken"));

    for (number, pause) in [5, 20, 40, 80, 160, 320].into_iter().enumerate() {
        let dir = place.path(&format!("killed{number}"));
        let mut child = start(
            &repository().join("manifests/web.toml"),
            &dir,
            &["--threads", "4"],
        );
        std::thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().unwrap();

        web(&place, &format!("killed{number}"), &["--threads", "3"]).exits(0);
        assert_same(&tree(&dir), &unbroken, &format!("killed after {pause} ms"));
    }
}

#[test]
fn a_changed_extractor_reads_the_pages_of_its_source_again() {
    let place = Place::new();
    web(&place, "run", &[]).exits(0);
    let before = content(&place.path("run"), "documents");
    web(&place, "run", &[])
        .exits(0)
        .prints(&["everything was cached"]);

    let all = [
        "--set",
        "source.crawl.web.extractor=text",
        "--until",
        "documents",
    ];
    web(&place, "run", &all).exits(0);
    let dir = place.path("run");
    let menu = "SELECT source, count(*) FILTER (text LIKE '%Imprint%') FROM documents GROUP BY 1 ORDER BY 1";
    assert_eq!(query(&dir, menu), ["crawl|50", "saved|0"]);
    assert_ne!(content(&dir, "documents"), before);
    // What was skipped is still counted, although the files were not all read again.
    assert_eq!(
        query(&dir, "SELECT sum(records)::BIGINT FROM skipped"),
        ["47"]
    );
}

#[test]
fn an_archive_without_a_page_stops_the_run() {
    let place = Place::new();
    let requests = record("request", "", "GET / HTTP/1.1\r\n\r\n").repeat(3)
        + &record("response", "", "HTTP/1.1 404 No\r\n\r\nno");
    one_file(&place, "a.warc", requests.as_bytes(), "")
        .exits(1)
        .says(&["source \"s\": none of 4 records is a document: 3 record_type, 1 status"]);
}

#[test]
fn pages_that_are_too_long_or_no_text_are_quarantined() {
    let place = Place::new();
    let long = format!("<p>{}", "word ".repeat(400));
    let file = [page(1, "<p>A short page."), page(2, &long)].concat();
    let settings = "[source.web]\nmax_html = \"1KiB\"\n";
    one_file(&place, "a.warc", file.as_bytes(), settings).exits(0);
    let reasons = "SELECT reason, ordinal FROM quarantine";
    assert_eq!(query(&place.path("one"), reasons), ["html_too_long|1"]);

    let arc = b"filedesc://a.arc 0.0.0.0 20060101000000 text/plain 76\n1 0 x\n";
    one_file(&place, "b.warc", arc, "")
        .exits(1)
        .says(&["other_format", "ARC"]);
}

#[test]
fn an_archive_under_another_name_is_named() {
    let place = Place::new();
    one_file(&place, "b.jsonl", page(1, "<p>A").as_bytes(), "")
        .exits(1)
        .says(&["the file is a WARC archive: let its name end with .warc"]);
}

#[test]
fn a_file_that_is_no_page_is_named_and_gives_no_text() {
    let place = Place::new();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"<p>A page.").unwrap();
    let binary: Vec<u8> = (0..20).flat_map(|_| 0..=255).collect();
    let wide: Vec<u8> = "\u{feff}<p>Wide."
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let archive = page(1, "<p>A");
    let files: [(&str, &[u8]); 7] = [
        ("archive.html", archive.as_bytes()),
        ("binary.html", &binary),
        ("document.html", b"%PDF-1.4 x"),
        ("packed.html", &packed.finish().unwrap()),
        ("page.html", b"<p>A page."),
        ("program.html", b"\x7fELF\x02\x01"),
        ("wide.html", &wide),
    ];
    for (name, bytes) in files {
        place.write(&format!("pages/{name}"), bytes);
    }
    let text = format!(
        "[run]\nname = \"one\"\nmax_quarantine_ratio = 0.9\n[[source]]\nname = \"s\"\npath = {:?}\n",
        place.path("pages")
    );
    let dir = place.path("one");
    run(
        &place.write("one.toml", text),
        &dir,
        &["--until", "documents"],
    )
    .exits(0)
    .says(&["the file is a WARC archive: let its name end with .warc"]);

    assert_eq!(
        query(&dir, "SELECT path, reason FROM quarantine ORDER BY 1"),
        [
            "archive.html|other_format",
            "binary.html|charset",
            "document.html|other_format",
            "packed.html|other_format",
            "program.html|other_format",
        ]
    );
    assert_eq!(
        query(&dir, "SELECT path, text FROM documents ORDER BY 1"),
        ["page.html|A page.", "wide.html|Wide."]
    );
}

#[test]
fn a_record_without_an_id_has_its_place_in_the_file() {
    let place = Place::new();
    let file = [page(1, "<p>A"), page(2, "<p>B")].concat();
    one_file(&place, "a.warc", file.as_bytes(), "").exits(0);
    let offsets = "SELECT (meta->>'$.offset')::INT FROM documents ORDER BY 1";
    let second = page(1, "<p>A").len().to_string();
    assert_eq!(query(&place.path("one"), offsets), ["0", &second]);
}

#[test]
fn a_bomb_is_quarantined_and_takes_no_memory() {
    let place = Place::new();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let blanks = " ".repeat(1 << 20);
    let header = "WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 209715200\r\n\r\n";
    bomb.write_all(header.as_bytes()).unwrap();
    for _ in 0..200 {
        bomb.write_all(blanks.as_bytes()).unwrap();
    }
    let mut good = GzEncoder::new(Vec::new(), Compression::fast());
    good.write_all(page(1, "<p>A page behind it.").as_bytes())
        .unwrap();
    let file = [bomb.finish().unwrap(), good.finish().unwrap()].concat();

    one_file(&place, "a.warc.gz", &file, "").exits(0);
    let dir = place.path("one");
    assert_eq!(
        query(&dir, "SELECT text FROM documents"),
        ["A page behind it."]
    );
    assert_eq!(
        query(&dir, "SELECT reason FROM quarantine"),
        ["record_too_large"]
    );
}

#[test]
fn the_table_of_a_source_is_checked_like_any_other() {
    let place = Place::new();
    let says = |settings: &str, more: &[&str]| {
        let text = format!(
            "[run]\nname = \"one\"\n[[source]]\nname = \"cc.web\"\npath = {:?}\n{settings}",
            repository().join("fixtures/web/crawl.warc.gz")
        );
        let manifest = place.write("bad.toml", text);
        let mut command = vec!["plan".to_owned(), manifest.display().to_string()];
        command.extend(more.iter().map(|word| (*word).to_owned()));
        curate(command)
    };

    says("[source.web]\nextracter = \"text\"\n", &[])
        .exits(2)
        .says(&["unknown key \"extracter\" in [source.web]", "extractor"]);
    says("[source.web]\nextractor = \"lynx\"\n", &[])
        .exits(2)
        .says(&["resiliparse"]);
    says("[source.webs]\nextractor = \"text\"\n", &[])
        .exits(2)
        .says(&["[source.web]"]);
    says("[[source.web]]\nextractor = \"text\"\n", &[])
        .exits(2)
        .says(&["[source.web]"]);
    says("", &["--set", "source.cc.web.web.formulas=maybe"])
        .exits(2)
        .says(&["formulas", "true or false"]);
    says(
        "",
        &[
            "--set",
            "source.cc.web.web.formulas=true",
            "--set",
            "source.cc.web.priority=3",
        ],
    )
    .exits(0);
    // A table without effect is a mistake.
    let lines = place.write("a.jsonl", "{\"text\":\"a\"}\n");
    let text = format!(
        "[run]\nname = \"one\"\n[[source]]\nname = \"s\"\npath = {lines:?}\n[source.web]\nformulas = true\n"
    );
    run(&place.write("idle.toml", text), &place.path("idle"), &[])
        .exits(2)
        .says(&[
            "source \"s\": [source.web] says how pages are read",
            "format = \"warc\"",
        ]);

    // An archive names its address, so a rule may read it without being told.
    let list = fs::write(place.path("domains.txt"), "h.example\n");
    list.unwrap();
    says("[filter.url]\ndomains = \"domains.txt\"\n", &[]).exits(0);
}

#[test]
fn a_page_is_looked_at_without_a_run() {
    let archive = repository().join("fixtures/web/crawl.warc.gz");
    let saved = repository().join("fixtures/web/page.html");
    let extract = |words: &[&str]| {
        let mut arguments = vec!["extract"];
        arguments.extend(words);
        curate(arguments)
    };
    let (archive, saved) = (archive.to_str().unwrap(), saved.to_str().unwrap());

    extract(&[archive])
        .exits(0)
        .prints(&[
            "https://shapes.example.org/  Shapes",
            "https://app.example.org/  App",
        ])
        .says(&["bad_gzip", "truncated"]);
    let shapes = "https://shapes.example.org/";
    let plain = extract(&[archive, shapes]).exits(0).stdout;
    assert!(
        plain.starts_with("Shapes\n\nMass is energy:") && !plain.contains('$'),
        "{plain}"
    );
    extract(&[archive, shapes, "--formulas"])
        .exits(0)
        .prints(&["$E = m c^2$"]);

    // The menu is in one of the two texts only.
    let difference = extract(&[saved, "--diff", "text"]).exits(0).stdout;
    let lines = |mark: char| {
        difference
            .lines()
            .filter(move |line| line.starts_with(mark))
    };
    assert!(
        difference.starts_with("--- resiliparse\n+++ text\n"),
        "{difference}"
    );
    assert!(
        lines('+').any(|line| line.contains("Archive")),
        "{difference}"
    );
    assert_eq!(lines('-').count(), 1, "{difference}");

    extract(&[archive, "https://no.example.org/"])
        .exits(1)
        .says(&["no page of", "lists the pages"]);
    extract(&["no.warc"])
        .exits(2)
        .says(&["no.warc is not a file"]);
    extract(&[saved, "--extractor", "lynx"])
        .exits(2)
        .says(&["resiliparse"]);
}
