//! `[pii]`: values that were found are replaced, counted, and in no output but the tables that hold
//! the text as it was read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::export::export;
use crate::support::{
    Outcome, Place, assert_same, check, curate, python, query, report, run, stage_of, tree, visit,
};

/// Letters and digits that are no placeholder.
const TAIL: &str = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zAbCdEfGhIjKlMnOpQrStUvWxYz";

/// A value of every kind, each with its kind, in the order of the columns. Nobody owns them.
fn canaries() -> Vec<(&'static str, String)> {
    vec![
        ("email", "canary.mara@nest-of-canaries.org".to_owned()),
        ("ipv4", "93.184.77.34".to_owned()),
        ("ipv6", "2a00:1450:4001:81b::c0fe".to_owned()),
        ("phone", "+1 415 867 5309".to_owned()),
        ("card", "4007 0707 5369 0781".to_owned()),
        ("iban", "GB59IFUE40226315499137".to_owned()),
        ("us_ssn", "460-89-9847".to_owned()),
        ("national_id", "756.2550.0887.90".to_owned()),
        // From parts, so that no scanner takes it for a leak.
        ("secret", format!("gh{}{}", "p_", &TAIL[..36])),
    ]
}

/// A document for each canary, one with all, and one with none. Paragraphs that are cut out and
/// rules that rewrite have work as well.
fn corpus(place: &Place) -> PathBuf {
    let filler = "The keeper of the house wrote a long letter about the birds that sang in the morning, \
                  and about the garden where they slept at night.\n\n";
    let canaries = canaries();
    let mut texts: Vec<String> = canaries
        .iter()
        .enumerate()
        .map(|(at, (kind, value))| {
            format!("{filler}Note {at} on the {kind} of a friend says: call me, {value}. It ends here. {at}\n")
        })
        .collect();
    let all: Vec<&str> = canaries.iter().map(|(_, value)| value.as_str()).collect();
    texts.push(format!("Everything is in this one: {}\n", all.join(" ; ")));
    texts.push("A text in which nobody is named, about birds and about houses.\n".to_owned());

    let line = |(at, text): (usize, &String)| {
        format!("{}\n", json!({"id": format!("d{at}"), "text": text}))
    };
    place.write(
        "in/a.jsonl",
        texts.iter().enumerate().map(line).collect::<String>(),
    );
    // A record that cannot be read keeps its bytes in quarantine.
    place.write(
        "in/b.jsonl",
        format!("{{\"id\": \"bad\", \"text\": {}\n", canaries[0].1),
    );
    place.write("manifest.toml", MANIFEST)
}

const MANIFEST: &str = r#"
[run]
name = "canaries"
seed = 5
max_quarantine_ratio = 0.5

[[source]]
name = "s"
path = "in"
id = "id"

[language]
engine = "none"

[dedup.near]

[dedup.paragraphs]

[pii]

[[mixture]]
name = "m"
tokens = 400
max_epochs = 8
"#;

/// The files of a run in which a canary may be: the text as it was read.
fn holds_original(name: &str) -> bool {
    name.starts_with("documents/") || name.starts_with("quarantine/")
}

/// Fails the test if `bytes` hold a canary.
#[track_caller]
fn has_no_canary(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (kind, value) in canaries() {
        assert!(!text.contains(&value), "{what} holds the canary of {kind}");
    }
}

/// Fails the test if a program's words hold a canary.
#[track_caller]
fn says_no_canary(what: &str, outcome: &Outcome) {
    has_no_canary(what, outcome.stdout.as_bytes());
    has_no_canary(what, outcome.stderr.as_bytes());
}

/// Every table and file of a run as text: pages of Parquet are compressed, so that a search of
/// their bytes would find nothing.
fn all_text(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let program = "import duckdb, json, pathlib, sys\n\
                   for path in sorted(pathlib.Path('.').rglob('*.parquet')):\n    \
                       rows = duckdb.sql(f\"SELECT * FROM read_parquet('{path}')\").fetchall()\n    \
                       print(json.dumps([str(path), repr(rows)]))";
    let mut python = python();
    python.args(["-c", program]).current_dir(dir);
    let lines = crate::support::outcome(&mut python).exits(0).stdout;
    let mut all: Vec<(String, Vec<u8>)> = lines
        .lines()
        .map(|line| {
            let [name, rows]: [String; 2] = serde_json::from_str(line).unwrap();
            (name, rows.into_bytes())
        })
        .collect();

    // All other files, those of `.curate/` too.
    visit(dir, &mut |path| {
        let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".parquet") {
            all.push((name, fs::read(path).unwrap()));
        }
    });
    all
}

#[test]
fn a_canary_is_in_no_output() {
    let place = Place::new();
    let manifest = corpus(&place);
    place.write("pii.key", [7; 32]);
    let pseudonyms = [
        "--set",
        "pii.replace=pseudonym",
        "--set",
        "pii.key_file=pii.key",
    ];
    for (name, more) in [("constant", &[][..]), ("pseudonym", &pseudonyms[..])] {
        let dir = place.path(name);
        says_no_canary("the log", &run(&manifest, &dir, more).exits(0));
        check(&dir, None).exits(0);

        let mut searched = 0;
        for (file, bytes) in all_text(&dir) {
            if holds_original(&file) {
                continue;
            }
            searched += 1;
            has_no_canary(&file, &bytes);
        }
        assert!(searched > 20, "{searched} files");

        // The search itself finds what is there.
        let texts = all_text(&dir);
        for (kind, value) in canaries() {
            let documents = texts
                .iter()
                .filter(|(file, _)| file.starts_with("documents/"));
            let holds =
                |(_, bytes): &(String, Vec<u8>)| String::from_utf8_lossy(bytes).contains(&value);
            assert!(documents.into_iter().any(holds), "{kind}");
        }

        // What other commands say and write.
        let here = dir.to_str().unwrap();
        for words in [
            &["status", here][..],
            &["verify", here],
            &["plan", manifest.to_str().unwrap(), "--run-dir", here],
        ] {
            says_no_canary(&words.join(" "), &curate(words));
        }
        for at in 0..11 {
            let traced = curate(["trace", here, &format!("d{at}")]).exits(0);
            says_no_canary("a trace", &traced);
        }
        for format in ["jsonl", "parquet"] {
            let out = place.path(&format!("{name}-{format}"));
            says_no_canary(
                "an export",
                &export(&dir, "m", &out, &["--format", format]).exits(0),
            );
            for (file, bytes) in all_text(&out) {
                has_no_canary(&file, &bytes);
            }
        }
    }
}

#[test]
fn each_kind_is_counted_and_replaced() {
    let place = Place::new();
    let manifest = corpus(&place);
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);

    for (at, (kind, _)) in canaries().iter().enumerate() {
        let row = format!(
            "SELECT source_id, p.found, {kind}, edits[1].reason, edits[1].replacement FROM documents d \
             JOIN pii p USING (doc_id) WHERE source_id IN ('d{at}', 'd9', 'd10') ORDER BY length(source_id), 1"
        );
        let [alone, all, none] = &query(&dir, &row)[..] else {
            panic!("three rows")
        };
        let constant = kind.to_uppercase();
        assert_eq!(alone, &format!("d{at}|1|1|pii.{kind}|<{constant}>"));
        assert!(all.starts_with("d9|9|1|pii.email|<EMAIL>"), "{all}");
        assert_eq!(none, "d10|0|0|None|None");
    }
    let edited = stage_of(&report(&dir), "pii")["bytes"]["edited"]
        .as_i64()
        .unwrap();
    let sizes =
        "SELECT sum(c.bytes) - sum(p.bytes) FROM paragraph_dedup c JOIN pii p USING (doc_id)";
    assert_eq!(query(&dir, sizes), [edited.to_string()]);
    assert!(edited > 0);

    // A veto is a cap on a kind.
    let veto = "\n[[quality.veto]]\ncolumn = \"pii.found\"\nabove = 3\n";
    let capped = place.write("capped.toml", MANIFEST.to_owned() + veto);
    run(&capped, &dir, &[]).exits(0);
    let removed = "SELECT source_id FROM documents JOIN quality USING (doc_id) WHERE removed_by = 'veto.pii.found'";
    assert_eq!(query(&dir, removed), ["d9"]);

    // Counting alone changes no text, and only the kinds that are named are looked for.
    let counted = place.path("counted");
    let only = [
        "--set",
        "pii.replace=none",
        "--set",
        "pii.kinds=[\"card\", \"email\"]",
    ];
    run(&manifest, &counted, &only).exits(0);
    check(&counted, None).exits(0);
    let sums = "SELECT count(edits), sum(p.found), sum(email), sum(card), count(phone) FROM pii p";
    assert_eq!(query(&counted, sums), ["0|4|2|2|0"]);
}

#[test]
fn equal_values_have_equal_pseudonyms_in_any_order() {
    let place = Place::new();
    corpus(&place);
    place.write("pii.key", [7; 32]);
    place.write("other.key", [8; 32]);
    let with = |key: &str, more: &str| {
        let pii = format!("[pii]\nreplace = \"pseudonym\"\nkey_file = \"{key}\"\n{more}");
        place.write("manifest.toml", MANIFEST.replace("[pii]\n", &pii))
    };
    let put = "SELECT edits[1].replacement FROM documents d JOIN pii USING (doc_id) \
               WHERE source_id IN ('d0', 'd9') ORDER BY source_id";

    let dir = place.path("run");
    run(&with("pii.key", ""), &dir, &[]).exits(0);
    let [alone, among] = &query(&dir, put)[..] else {
        panic!("two rows")
    };
    assert!(
        alone == among && alone.starts_with("<EMAIL:"),
        "{alone} {among}"
    );

    // The same bytes with other threads and shards; the key's path has no say.
    let again = place.path("again");
    fs::create_dir(place.path("keys")).unwrap();
    fs::copy(place.path("pii.key"), place.path("keys/moved.key")).unwrap();
    run(&with("keys/moved.key", ""), &again, &["--threads", "1"]).exits(0);
    let parts = |dir: &Path| -> Vec<(String, Vec<u8>)> {
        let files = tree(dir).into_iter();
        files
            .filter(|(name, _)| name.ends_with(".parquet"))
            .collect()
    };
    assert_same(
        &parts(&again).into_iter().collect(),
        &parts(&dir).into_iter().collect(),
        "a moved key",
    );

    // Another key is another stage key, and other pseudonyms.
    let computed = run(&with("other.key", ""), &dir, &[]).exits(0);
    computed.prints(&["computed: pii, tokens"]);
    assert_ne!(&query(&dir, put)[0], alone);

    // No byte of a key is in the run directory, nor is the digest of its file.
    for (file, bytes) in all_text(&dir) {
        for key in [[7; 32], [8; 32]] {
            let digest = blake3::hash(&key).to_hex();
            for secret in [&key[..], digest.as_bytes()] {
                let is_there = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!is_there, "{file}");
            }
        }
    }
}

#[test]
fn own_addresses_stay_and_mistakes_name_the_key() {
    let place = Place::new();
    let manifest = corpus(&place);
    let dir = place.path("run");
    place.write("own.txt", "# ours\n@nest-of-canaries.org\n93.184.77.0/24\n");
    run(&manifest, &dir, &["--set", "pii.allow=own.txt"]).exits(0);
    let sums = "SELECT sum(email), sum(ipv4), sum(ipv6) FROM pii";
    assert_eq!(query(&dir, sums), ["0|0|2"]);

    let canary = &canaries()[0].1;
    place.write(
        "wrong.txt",
        format!("@host.org\nmy {canary} of old\n10.0.0.0/40 {canary}\n"),
    );
    place.write("short.key", "canary");
    let pseudonym = "pii.replace=pseudonym";
    for (sets, says) in [
        (
            &["pii.allow=wrong.txt"][..],
            "line 2: expected an address, @domain",
        ),
        (&["pii.allow=no.txt"], "pii.allow"),
        (&[pseudonym], "pii.replace: pseudonyms need a secret key"),
        (
            &["pii.key_file=short.key"],
            "pii.key_file: only pseudonyms need a key",
        ),
        (
            &[pseudonym, "pii.key_file=short.key"],
            "a key has 32 bytes or more, found 6",
        ),
        (&[pseudonym, "pii.key_file=in"], "it is not a regular file"),
        (&["pii.kinds=[\"mail\"]"], "pii.kinds"),
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let refused = run(&manifest, &place.path("refused"), &sets).exits(2);
        refused.says(&[says]);
    }
}

#[test]
fn profiles_find_what_other_tools_find() {
    let place = Place::new();
    let text = "Mail bob@corp.net at 93.184.216.34, call 415-867-5309 now. From v10.4.11.8 on.\n";
    place.write("in/a.jsonl", format!("{}\n", json!({"text": text})));
    let manifest = "[run]\nname = \"p\"\n[[source]]\nname = \"s\"\npath = \"in\"\n\
                    [language]\nengine = \"none\"\n[pii]\n";
    let manifest = place.write("manifest.toml", manifest);
    let found = |profile: &str| -> Value {
        let dir = place.path(profile);
        let set = format!("pii.profile={profile}");
        run(&manifest, &dir, &["--set", &set]).exits(0);
        let rows = query(
            &dir,
            "SELECT to_json(list_transform(edits, lambda e : [e['reason'], e['start']::VARCHAR, e['end']::VARCHAR])) FROM pii",
        );
        serde_json::from_str(&rows[0]).unwrap()
    };

    let email = ["pii.email", "5", "17"];
    let address = ["pii.ipv4", "21", "34"];
    assert_eq!(
        found("curate"),
        json!([email, address, ["pii.phone", "41", "53"]])
    );
    // 10.4.11.8 is private for datatrove; dolma asks nothing of an address, and takes blanks along.
    assert_eq!(found("datatrove-0.10"), json!([email, address]));
    let dolma = json!([
        ["pii.email", "4", "18"],
        address,
        ["pii.phone", "40", "53"],
        ["pii.ipv4", "65", "74"]
    ]);
    assert_eq!(found("dolma-v2"), dolma);
}
