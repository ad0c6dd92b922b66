//! Byte order marks, odd line ends and files of another kind.

use std::collections::BTreeMap;
use std::io::Write;

use crate::support::{Place, check, query, report, run};

/// A text of its own for each tag.
fn text(tag: &str) -> String {
    format!("The text {tag} tells of a mill, a river and a bridge.")
}

/// JSON objects with ids `tag0` and so on.
fn rows(tag: &str, n: usize) -> Vec<String> {
    (0..n)
        .map(|at| {
            let id = format!("{tag}{at}");
            format!("{{\"id\": \"{id}\", \"text\": \"{}\"}}", text(&id))
        })
        .collect()
}

/// The objects on several lines each.
fn pretty(rows: &[String]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            row.replace("{", "{\n  ")
                .replace(", \"text", ",\n  \"text")
                .replace('}', "\n}")
        })
        .collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A manifest of one source over `in/`, with more lines for the source.
fn manifest(place: &Place, more: &str) -> std::path::PathBuf {
    let text = format!(
        "[run]\nname = \"lines\"\nmax_quarantine_ratio = 1\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n{more}\n"
    );
    place.write("manifest.toml", text)
}

/// Rows of a query over a run, as a map from the first column to the others.
fn by_path(place: &Place, sql: &str) -> BTreeMap<String, String> {
    query(&place.path("run"), sql)
        .into_iter()
        .map(|row| {
            let (path, rest) = row.split_once('|').unwrap();
            (path.to_owned(), rest.to_owned())
        })
        .collect()
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(path, rest)| (path.to_owned(), rest.to_owned()))
        .into()
}

const KEPT: &str = "SELECT path, count(*) FROM documents GROUP BY ALL";
const LOST: &str = "SELECT path, reason, count(*), sum(records)::INT FROM quarantine GROUP BY ALL";

#[test]
fn marks_and_odd_line_ends_cost_no_record() {
    let place = Place::new();
    let joined = [rows("c", 4).join("\n"), rows("d", 4).join("\n")];
    let [first, second] = joined.map(|lines| format!("\u{feff}{lines}\n"));
    let bom = |lines: String| format!("\u{feff}{lines}");
    for (name, lines) in [
        ("a_mark", bom(rows("a", 4).join("\n"))),
        ("b_crlf", bom(rows("b", 4).join("\r\n"))),
        ("c_joined", first + &second),
        (
            "e_blank",
            format!("\n\n{}\n\n", rows("e", 4).join("\n  \t\n")),
        ),
        (
            "m_spaces",
            format!("\u{a0}\n{}\n\u{3000}\n", rows("m", 1)[0]),
        ),
        ("n_mark_only", "\u{feff}".to_owned()),
        ("o_ctrl_z", format!("{}\r\n\u{1a}", rows("o", 1)[0])),
    ] {
        place.write(&format!("in/{name}.jsonl"), lines);
    }
    let scalars = "\"text\"\n[\"text\"]\n42\nnull\ntrue\n";
    place.write(
        "in/k_scalars.jsonl",
        format!("{scalars}{}\n", rows("k", 1)[0]),
    );

    run(&manifest(&place, ""), &place.path("run"), &[])
        .exits(0)
        .says(&["source \"s\": a byte order mark was removed in 4 of 23 documents"]);
    let kept = [
        ("a_mark.jsonl", "4"),
        ("b_crlf.jsonl", "4"),
        ("c_joined.jsonl", "8"),
        ("e_blank.jsonl", "4"),
        ("k_scalars.jsonl", "1"),
        ("m_spaces.jsonl", "1"),
        ("o_ctrl_z.jsonl", "1"),
    ];
    assert_eq!(by_path(&place, KEPT), owned(kept));
    let lost = [("k_scalars.jsonl", "invalid_json|5|5")];
    assert_eq!(by_path(&place, LOST), owned(lost));

    let report = report(&place.path("run"));
    assert_eq!(report["sources"][0]["repaired"]["byte_order_mark"], 4);
    let repaired = "SELECT source_id FROM documents WHERE list_contains(repaired, 'byte_order_mark') ORDER BY 1";
    assert_eq!(
        query(&place.path("run"), repaired),
        ["a0", "b0", "c0", "d0"]
    );
    check(&place.path("run"), None).exits(0);
}

#[test]
fn a_file_of_another_kind_is_one_message_that_says_what_to_do() {
    let place = Place::new();
    let lines = |tag: &str| rows(tag, 4).join("\n");
    let array = |tag: &str| format!("[{}]", rows(tag, 4).join(", "));
    let marked = [&b"\xff\xfe"[..], &utf16(&lines("f"))].concat();
    for (name, bytes, kind, records) in [
        ("f_utf16", marked, "UTF-16 text", 4),
        ("f_without_mark", utf16(&lines("f")), "UTF-16 text", 4),
        (
            "g_cr_only",
            rows("g", 4).join("\r").into(),
            "carriage returns",
            4,
        ),
        ("h_array", array("h").into(), "a JSON array", 4),
        (
            "i_pretty",
            pretty(&rows("i", 4)).join("\n").into(),
            "objects of several lines",
            4,
        ),
        (
            "j_array",
            format!("[\n{}\n]", pretty(&rows("j", 4)).join(",\n")).into(),
            "a JSON array",
            4,
        ),
        (
            "l_commas",
            rows("l", 4).join(",\n").into(),
            "commas between the objects",
            4,
        ),
        (
            "p_one_line",
            rows("p", 4).concat().into(),
            "several objects on a line",
            4,
        ),
        (
            "q_gzip",
            gzip(lines("q").as_bytes()),
            "compressed with gzip",
            4,
        ),
        (
            "r_zstd",
            zstd::encode_all(lines("r").as_bytes(), 1).unwrap(),
            "compressed with Zstandard",
            4,
        ),
        (
            "s_zip",
            b"PK\x03\x04\x14\0\0\0".to_vec(),
            "a ZIP archive",
            1,
        ),
        ("t_parquet", b"PAR1\x15\0\x15".to_vec(), "a Parquet file", 1),
        (
            "u_html",
            b"<!DOCTYPE html>\n<p>a</p>\n".to_vec(),
            "HTML or XML",
            1,
        ),
        (
            "v_lfs",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
            "Git LFS",
            1,
        ),
    ] {
        let place = Place::new();
        let file = format!("in/{name}.jsonl");
        place.write(&file, bytes);
        place.write("in/good.jsonl", lines("z"));
        let outcome = run(
            &manifest(&place, ""),
            &place.path("run"),
            &["--until", "documents"],
        )
        .exits(0)
        .says(&["curate: warning: source \"s\": ", name, kind]);
        assert_eq!(
            outcome
                .stderr
                .matches(&format!("{name}.jsonl: the file is"))
                .count(),
            1
        );
        let lost = [(&file["in/".len()..], &*format!("other_format|1|{records}"))];
        assert_eq!(by_path(&place, LOST), owned(lost), "{name}");
        assert_eq!(
            by_path(&place, KEPT),
            owned([("good.jsonl", "4")]),
            "{name}"
        );
    }

    // Names that promise what the bytes are not.
    place.write("in/z.jsonl", lines("z"));
    for (name, bytes, kind, records) in [
        (
            "a.jsonl.gz",
            lines("a").into_bytes(),
            "text that is not compressed",
            4,
        ),
        (
            "b.jsonl.zst",
            gzip(lines("b").as_bytes()),
            "compressed with gzip",
            4,
        ),
        ("c.parquet", lines("c").into_bytes(), "text", 4),
        ("d.arrow", b"PAR1\x15\0\x15".to_vec(), "a Parquet file", 1),
        ("e.parquet.gz", gzip(b"PAR1"), "compressed with gzip", 1),
        ("f.txt", gzip(b"text"), "compressed with gzip", 1),
        ("g.csv", lines("g").into_bytes(), "JSON", 4),
    ] {
        place.write(&format!("in/{name}"), bytes);
        run(
            &manifest(&place, ""),
            &place.path("run"),
            &["--until", "documents"],
        )
        .exits(0)
        .says(&[&format!("{name}: the file is {kind}")]);
        let lost = by_path(&place, LOST);
        assert_eq!(lost[name], format!("other_format|1|{records}"), "{name}");
    }
    assert_eq!(
        report(&place.path("run"))["sources"][0]["quarantined"],
        4 * 4 + 3
    );
}

#[test]
fn a_hidden_file_counts_for_the_share_of_quarantine_with_all_its_records() {
    let place = Place::new();
    place.write("in/good.jsonl", rows("a", 40).join("\n"));
    place.write("in/wide.jsonl", utf16(&rows("b", 10).join("\n")));
    let strict = "[run]\nname = \"lines\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n";
    run(&place.write("strict.toml", strict), &place.path("run"), &[])
        .exits(1)
        .says(&["10 of 50 records", "wide.jsonl", "UTF-16"]);
}

#[test]
fn json_files_of_every_shape_are_read() {
    let place = Place::new();
    let compact = format!("[{}]", rows("h", 4).join(","));
    let laid_out = format!("\u{feff}[\n{}\n]\n", pretty(&rows("j", 4)).join(",\n"));
    place.write("in/h.json", &compact);
    place.write("in/i.json", pretty(&rows("i", 4)).join("\n"));
    place.write("in/j.json", laid_out);
    place.write("in/l.json", rows("l", 4).join(",\n"));
    place.write("in/g.json", rows("g", 4).join("\r"));
    place.write(
        "in/lines.json",
        format!("{}\nbad\n{}", rows("x", 2).join("\n"), rows("y", 1)[0]),
    );
    place.write(
        "in/packed.json.gz",
        gzip(compact.replace("\"h", "\"p").as_bytes()),
    );
    place.write(
        "in/cut.json",
        &compact.replace("\"h", "\"q")[..compact.len() - 20],
    );
    place.write("in/empty.json", "[]");

    run(&manifest(&place, ""), &place.path("run"), &[]).exits(0);
    let kept = [
        ("cut.json", "3"),
        ("g.json", "4"),
        ("h.json", "4"),
        ("i.json", "4"),
        ("j.json", "4"),
        ("l.json", "4"),
        ("lines.json", "3"),
        ("packed.json.gz", "4"),
    ];
    assert_eq!(by_path(&place, KEPT), owned(kept));
    let lost = [
        ("cut.json", "damaged_file|1|1"),
        ("lines.json", "invalid_json|1|1"),
    ];
    assert_eq!(by_path(&place, LOST), owned(lost));
    let texts =
        "SELECT source_id, text FROM documents WHERE path = 'j.json' ORDER BY ordinal LIMIT 1";
    assert_eq!(
        query(&place.path("run"), texts),
        [format!("j0|{}", text("j0"))]
    );

    // The same documents whatever the size of a shard.
    let small = place.path("small");
    let settings = ["--set", "run.shard_size=\"64KiB\"", "--until", "documents"];
    run(&place.path("manifest.toml"), &small, &settings).exits(0);
    let ids = "SELECT md5(string_agg(doc_id, '' ORDER BY doc_id)) FROM documents";
    assert_eq!(query(&small, ids), query(&place.path("run"), ids));
}

#[test]
fn tables_with_a_header_line_are_read() {
    let place = Place::new();
    let (alpha, beta) = (text("alpha"), text("beta"));
    let csv = format!(
        "\u{feff}id,text,score,zip\r\n1,\"{alpha}\n\"\"quoted\"\", and more\",0.5,007\r\n2,{beta},,\r\n"
    );
    place.write("in/a.csv", csv.replace(&beta, &format!("\"{beta}\"")));
    place.write(
        "in/b.tsv",
        format!("score\tid\ttext\n1e-1\tx\t{alpha}, with a comma\n"),
    );
    let packed = format!("text,id\n\"{alpha}\",p\n\"a\" b,q\nshort\n");
    place.write("in/c.csv.gz", gzip(packed.as_bytes()));
    place.write("in/d.csv", format!("text;id\n{alpha};1\n{beta};2\n"));
    place.write("in/e.csv", format!("id,id,text\n1,2,{alpha}\n"));
    place.write("in/f.csv", format!(",text\n0,{alpha}\n"));

    run(&manifest(&place, ""), &place.path("run"), &[]).exits(0);
    let fields = "SELECT path, source_id, text, meta FROM documents ORDER BY path, ordinal";
    let expected = [
        format!("a.csv|1|{alpha}"),
        "\"quoted\", and more|{\"score\":0.5,\"zip\":\"007\"}".to_owned(),
        format!("a.csv|2|{beta}|None"),
        format!("b.tsv|x|{alpha}, with a comma|{{\"score\":1e-1}}"),
        format!("c.csv.gz|p|{alpha}|None"),
    ];
    assert_eq!(query(&place.path("run"), fields), expected);
    let details = "SELECT path, reason, detail, records FROM quarantine ORDER BY path, ordinal";
    let details = query(&place.path("run"), details);
    for (detail, parts) in details.iter().zip([
        ["c.csv.gz|invalid_csv|line 3: a quote within", "|1"],
        [
            "c.csv.gz|invalid_csv|line 4 has 1 fields, the header line has 2",
            "|1",
        ],
        [
            "d.csv|missing_text|no column \"text\"; there are: text;id; the delimiter seems",
            "|2",
        ],
        [
            "e.csv|invalid_csv|column 2 of the header line is a second \"id\"",
            "|1",
        ],
        [
            "f.csv|invalid_csv|column 1 of the header line has no name",
            "|1",
        ],
    ]) {
        assert!(
            detail.starts_with(parts[0]) && detail.ends_with(parts[1]),
            "{detail}"
        );
    }
    assert_eq!(details.len(), 5);

    // A term reads a number of a table.
    let term = "[[quality.term]]\ncolumn = \"meta.score\"\nmissing = \"neutral\"\n";
    run(&manifest(&place, term), &place.path("run"), &[]).exits(0);
    let coverage = "SELECT usable, other_type FROM coverage WHERE field = 'meta.score'";
    assert_eq!(query(&place.path("run"), coverage), ["2|0"]);
    check(&place.path("run"), None).exits(0);
}
