//! Paragraphs that are cut out, and what is left of each document.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Place, check, curate, query, run};

/// A notice in several scripts, with a character of several code points: a cut inside a character
/// would show.
const NOTICE: &str =
    "Сайт хранит файлы, чтобы работать удобнее — 继续即表示同意本站条款 👩‍👩‍👧 спасибо за внимание.";
const FIRST: &str =
    "The gardener measured the broken window before the rain began, and wrote it down.";
const TWICE: &str =
    "Every pilot counted the stone steps twice; nobody else on the coast would do it.";

/// A paragraph that only one document has.
fn own(id: char) -> String {
    format!(
        "Paragraph {id} is about a matter of its own, which no other page of this site mentions."
    )
}

/// Documents by their ids, in the order of the input.
fn documents() -> Vec<(char, String)> {
    vec![
        ('a', format!("{FIRST}\n\n{NOTICE}\n\n{}", own('a'))),
        ('b', format!("{NOTICE}\n\n{}", own('b'))),
        ('c', format!("{}\n\n{NOTICE}", own('c'))),
        ('d', NOTICE.to_owned()),
        ('e', format!("{TWICE}\n\n{TWICE}\n\n{}", own('e'))),
        ('f', format!("{FIRST}\r\n\r\n{}", own('f'))),
        ('g', format!("  {FIRST}  \n\n{}", own('g'))),
        ('h', format!("{FIRST}\n \t\n{}", own('h'))),
        ('i', format!("{FIRST}\n{}", own('i'))),
        ('j', format!("{}\n\n{}", FIRST.to_uppercase(), own('j'))),
        ('k', format!("{}\u{2029}{FIRST}", own('k'))),
        ('l', format!("{NOTICE}\n\n{FIRST}\n\n{TWICE}\n")),
    ]
}

/// The text of each document that is left, by plain code: blocks of lines between blank lines, or
/// single lines, without those that an earlier place has. White space around a block is not
/// compared.
fn plainly(is_line: bool) -> Vec<(char, Vec<String>)> {
    let mut seen = HashSet::new();
    let mut left = Vec::new();
    for (id, text) in documents() {
        let mut blocks: Vec<String> = vec![String::new()];
        for line in text.split('\n') {
            let last = blocks.last_mut().unwrap();
            if line.trim().is_empty() {
                blocks.push(String::new());
            } else if is_line || last.is_empty() {
                blocks.push(line.trim().to_owned());
            } else {
                last.push('\n');
                last.push_str(line.trim());
            }
        }
        blocks.retain(|block| !block.is_empty() && seen.insert(block.clone()));
        if !blocks.is_empty() {
            left.push((id, blocks));
        }
    }
    left
}

fn manifest(place: &Place, unit: &str) -> PathBuf {
    let lines: String = documents()
        .iter()
        .map(|(id, text)| format!("{}\n", json!({ "id": id.to_string(), "text": text })))
        .collect();
    place.write("in.jsonl", lines);
    place.write(
        "paragraphs.toml",
        format!(
            "[run]\nname = \"paragraphs\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\nid = \"id\"\n\
             [language]\nengine = \"none\"\n[dedup.paragraphs]\nmin_len = 20\nunit = \"{unit}\"\n"
        ),
    )
}

/// The blocks of each text of the mixture, by the ids of the documents.
fn mixture(dir: &Path) -> Vec<(char, Vec<String>)> {
    let sql = "SELECT source_id, to_json(m.text) FROM mixture_m m JOIN documents USING (doc_id) ORDER BY source_id";
    let rows = query(dir, sql).into_iter();
    rows.map(|row| {
        let (id, text) = row.split_once('|').unwrap();
        let text: String = serde_json::from_str(text).unwrap();
        let mut blocks = vec![String::new()];
        for line in text.split('\n') {
            let last = blocks.last_mut().unwrap();
            match (line.trim(), last.is_empty()) {
                ("", _) => blocks.push(String::new()),
                (line, true) => *last = line.to_owned(),
                (line, false) => *last = format!("{last}\n{line}"),
            }
        }
        blocks.retain(|block| !block.is_empty());
        (id.chars().next().unwrap(), blocks)
    })
    .collect()
}

#[test]
fn one_copy_of_each_paragraph_is_left() {
    for unit in ["paragraph", "line"] {
        let place = Place::new();
        let (manifest, dir) = (manifest(&place, unit), place.path("run"));
        run(&manifest, &dir, &["--until", "quality"]).exits(0);
        check(&dir, None).exits(0);

        // The whole pool once.
        let pool = "SELECT sum(tokens) FROM quality q JOIN tokens USING (doc_id) WHERE q.reached AND q.removed_by IS NULL";
        let tokens = query(&dir, pool).remove(0);
        let set = format!("mixture=[{{ name = 'm', tokens = {tokens}, max_epochs = 1 }}]");
        run(&manifest, &dir, &["--set", &set]).exits(0);
        check(&dir, None).exits(0);

        // In the first document of the order, and nowhere else.
        let found = mixture(&dir);
        let expected = plainly(unit == "line");
        let lines = |blocks: &[String]| blocks.join("\n");
        assert_eq!(found.len(), expected.len(), "{unit}: {found:?}");
        for ((id, found), (expected_id, expected)) in found.iter().zip(&expected) {
            assert_eq!((id, lines(found)), (expected_id, lines(expected)), "{unit}");
        }
        let all: Vec<String> = found.iter().map(|(_, blocks)| lines(blocks)).collect();
        for paragraph in [NOTICE, TWICE] {
            assert_eq!(all.join("\n").matches(paragraph).count(), 1, "{paragraph}");
        }

        // A document of repeated paragraphs alone is gone.
        let gone = "SELECT source_id FROM documents JOIN paragraph_dedup USING (doc_id) WHERE removed_by = 'paragraph_dedup.nothing_left' ORDER BY 1";
        assert_eq!(query(&dir, gone), ["d", "l"], "{unit}");

        // What is exported is what the mixture holds, in UTF-8.
        let out = place.path("export");
        curate([
            "export".as_ref(),
            dir.as_os_str(),
            "m".as_ref(),
            "-o".as_ref(),
            out.as_os_str(),
            "--format".as_ref(),
            "jsonl".as_ref(),
        ])
        .exits(0);
        let bytes =
            zstd::decode_all(std::fs::File::open(out.join("part-00000.jsonl.zst")).unwrap());
        let text = String::from_utf8(bytes.unwrap()).unwrap();
        assert_eq!(text.lines().count(), found.len());
        assert_eq!(text.matches("спасибо за внимание").count(), 1);
    }
}
