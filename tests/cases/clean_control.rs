//! Control characters, white space and newlines under `[clean]`.

use serde_json::json;

use crate::support::{Place, curate, query, run};

/// The texts of some records after `[clean]` with one key.
fn cleaned(key: &str, texts: &[&str]) -> Vec<String> {
    let place = Place::new();
    let records = texts
        .iter()
        .map(|text| format!("{}\n", json!({ "text": text })));
    place.write("in.jsonl", records.collect::<String>());
    let manifest = place.write(
        "clean.toml",
        format!(
            "[run]\nname = \"clean\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\n[clean]\n{key} = true\n"
        ),
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "documents"]).exits(0);
    query(&dir, "SELECT to_json(text) FROM documents ORDER BY ordinal")
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

/// A table of texts, and of what becomes of them.
#[track_caller]
fn assert_cleaned(key: &str, table: &[(&str, &str)]) {
    let (texts, expected): (Vec<&str>, Vec<&str>) = table.iter().copied().unzip();
    assert_eq!(cleaned(key, &texts), expected, "{key}");
}

#[test]
fn control_never_joins_words() {
    assert_cleaned(
        "control",
        &[
            // Line ends stay for the key `newlines`, and these two are no control characters.
            ("one\ttwo", "one\ttwo"),
            ("one\r\ntwo", "one\r\ntwo"),
            ("one\rtwo", "one\rtwo"),
            ("one\u{85}two", "one\u{85}two"),
            ("one\u{2028}two", "one\u{2028}two"),
            ("one\u{2029}two", "one\u{2029}two"),
            // The end of a line, a page or a record.
            ("one\u{b}two", "one\ntwo"),
            (
                "the end of a page\u{c}The next",
                "the end of a page\nThe next",
            ),
            (
                "the end of a page\n\u{c}The next",
                "the end of a page\nThe next",
            ),
            ("one\u{1c}two\u{1d}three\u{1e}four", "one\ntwo\nthree\nfour"),
            ("one\u{1f}two", "one two"),
            // The others leave a space where they alone keep two words apart.
            ("one\u{7}two", "one two"),
            ("one\0\0two", "one two"),
            ("one\u{97}two", "one two"),
            ("one\u{7f} two", "one two"),
            ("\u{c}one.\u{1b}[0m\0", "one.[0m"),
        ],
    );

    // The description of the key names each kind.
    let description = curate(["schema", "manifest"]).exits(0).stdout;
    for word in [
        "join no words",
        "CR and NEL stay",
        "VT, FF, FS, GS and RS",
        "U+2028 and U+2029",
    ] {
        let words = description.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(word), "{word}");
    }
}

#[test]
fn newlines_and_trailing_space_do_what_their_lines_say() {
    assert_cleaned(
        "newlines",
        &[
            ("a\r\nb\rc\u{85}d\u{2028}e\u{2029}f\n", "a\nb\nc\nd\ne\nf\n"),
            ("a\u{c}b\u{b}c", "a\u{c}b\u{b}c"),
        ],
    );
    assert_cleaned(
        "trailing_space",
        &[
            (
                "one \r\ntwo \u{a0}\nthree\u{3000}\nfour \t\n",
                "one\r\ntwo \u{a0}\nthree\u{3000}\nfour\n",
            ),
            ("one \u{85}two\t\u{2028}three ", "one\u{85}two\u{2028}three"),
        ],
    );
}
