//! Documents in which only white space is left.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Place, check, query, report, run, stage_of};

const FOOTER: &str = "The members of this club meet on the first Monday of each month.";
const NOTICE: &str = "Everything on this page may be copied if the copy names its author.";
const PROSE: &str = "A heron stood in the shallow water. It waited for an hour. Then it flew away.";

/// Characters that show nothing, one of each kind: spaces, controls, zero-width characters, a soft
/// hyphen, a variation selector, fillers of Hangul, and the Braille cell without dots.
const UNSEEN: [&str; 12] = [
    " ",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{7}",
    "\u{200b}",
    "\u{feff}",
    "\u{2060}",
    "\u{ad}",
    "\u{fe0f}",
    "\u{3164}\u{115f}",
    "\u{2800}",
];

/// A manifest over these texts with more settings. The records have their numbers as ids.
fn manifest(place: &Place, texts: &[String], more: &str) -> PathBuf {
    let lines: String = texts
        .iter()
        .enumerate()
        .map(|(id, text)| format!("{}\n", json!({ "id": id.to_string(), "text": text })))
        .collect();
    place.write("in.jsonl", lines);
    let head = "[run]\nname = \"white\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\nid = \"id\"\n\
                [language]\nengine = \"none\"\n";
    place.write("white.toml", format!("{head}{more}"))
}

/// The ids of the documents that a stage removed for this reason, in the order of the input.
fn removed(dir: &Path, stage: &str, reason: &str) -> Vec<usize> {
    let sql = format!(
        "SELECT source_id FROM documents JOIN {stage} USING (doc_id) WHERE removed_by = '{reason}' ORDER BY ordinal"
    );
    let ids = query(dir, &sql).into_iter();
    ids.map(|id| id.parse().unwrap()).collect()
}

#[test]
fn of_repeated_paragraphs_only_white_space_is_left() {
    for unit in ["paragraph", "line"] {
        let place = Place::new();
        let mut texts = vec![
            format!("{FOOTER}\n\n{NOTICE}\n\n{PROSE}"),
            FOOTER.to_owned(),
            format!("\n\n{FOOTER}"),
            format!("  \t\n{FOOTER}\n\n{NOTICE}\n"),
            format!("{FOOTER}\n\n\n  \n"),
        ];
        for unseen in UNSEEN {
            texts.push(format!("{unseen}\n\n{FOOTER}"));
            texts.push(format!(
                "{NOTICE}\n\n{}\n{unseen}\n\n{FOOTER}",
                unseen.repeat(40)
            ));
        }
        let blank = 1..texts.len();

        // A mark, a letter and a word are text, wherever they stand.
        texts.extend(["---", "é", "\u{200b}word"].map(|rest| format!("{rest}\n\n{FOOTER}")));
        texts.push(format!("{FOOTER}\n\n{NOTICE}\n\n\u{feff}."));

        let more = format!(
            "[dedup.paragraphs]\nmin_len = 20\nunit = \"{unit}\"\n[[mixture]]\nname = \"m\"\ntokens = 60\n"
        );
        let (manifest, dir) = (manifest(&place, &texts, &more), place.path("run"));
        run(&manifest, &dir, &[]).exits(0);
        check(&dir, None).exits(0);

        let reason = "paragraph_dedup.nothing_left";
        assert_eq!(
            removed(&dir, "paragraph_dedup", reason),
            blank.clone().collect::<Vec<_>>(),
            "{unit}"
        );
        let report = report(&dir);
        let counted = &stage_of(&report, "paragraph_dedup")["docs"]["removed"];
        assert_eq!(*counted, json!({ reason: blank.len() }));

        // A removed document keeps its text, and nothing of it reaches the stages behind.
        let whole = "SELECT count(*) FROM paragraph_dedup p JOIN documents d USING (doc_id) JOIN tokens t USING (doc_id) \
                     WHERE p.removed_by IS NOT NULL AND (p.edits IS NOT NULL OR p.bytes <> d.bytes OR t.reached)";
        assert_eq!(query(&dir, whole), ["0"]);
    }
}

#[test]
fn rules_that_rewrite_leave_no_blank_document() {
    let place = Place::new();
    let mut texts = vec![PROSE.to_owned()];
    // C4 drops lines without a full stop; the line rules drop counters and shouted lines.
    texts.extend(["Home", "Home\nMenu\nBack to the list", "\n\nRead on\n \n"].map(str::to_owned));
    texts.extend(UNSEEN.map(|unseen| format!("Home\n{unseen}\nMenu")));
    let of_c4 = texts.len();
    texts.extend(["WELCOME TO ALL OF YOU.", "WE ARE OPEN.\nCOME AND SEE US."].map(str::to_owned));

    let rules = "[filter.c4]\nrewrite = true\nmin_sentences = 0\n\
                 [filter.lines]\nrewrite = true\nmax_removed_word_ratio = 1\n\
                 [dedup.exact]\n[dedup.near]\n[[mixture]]\nname = \"m\"\ntokens = 20\n";
    let (manifest, dir) = (manifest(&place, &texts, rules), place.path("run"));
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["signals.nothing_left"]);
    check(&dir, None).exits(0);
    assert_eq!(
        removed(&dir, "signals", "signals.nothing_left"),
        (1..texts.len()).collect::<Vec<_>>()
    );

    // No later stage sees them, and the mixture is what is left.
    for stage in ["signatures", "filter", "near_dedup", "tokens"] {
        let reached = format!("SELECT count(*) FROM {stage} WHERE reached");
        assert_eq!(query(&dir, &reached), ["1"], "{stage}");
    }
    assert_eq!(query(&dir, "SELECT DISTINCT text FROM mixture_m"), [PROSE]);

    // Without the line rules, the shouted sentences stay.
    let c4_alone = ["--set", "filter.lines.rewrite=false"];
    run(&manifest, &dir, &c4_alone).exits(0);
    check(&dir, None).exits(0);
    assert_eq!(
        removed(&dir, "signals", "signals.nothing_left"),
        (1..of_c4).collect::<Vec<_>>()
    );
}

#[test]
fn cleaning_leaves_no_blank_document() {
    let place = Place::new();
    let mut texts = vec![
        PROSE.to_owned(),
        String::new(),
        "\0\u{7}\r\n \u{1b}".to_owned(),
    ];
    texts.extend(UNSEEN.map(|unseen| format!("{unseen}\n{unseen}")));
    let blank: Vec<usize> = (1..texts.len()).collect();
    texts.push("\u{7}.".to_owned());

    // Whether values are computed or not, the removal is the same.
    let more = "[clean]\ncontrol = true\n[dedup.exact]\n[[mixture]]\nname = \"m\"\ntokens = 20\n";
    for values in ["all", "none"] {
        let set = format!("signals.values={values}");
        let (manifest, dir) = (manifest(&place, &texts, more), place.path(values));
        run(&manifest, &dir, &["--until", "tokens", "--set", &set])
            .exits(0)
            .prints(&["signals.nothing_left"]);
        check(&dir, None).exits(0);
        assert_eq!(
            removed(&dir, "signals", "signals.nothing_left"),
            blank,
            "{values}"
        );

        let reached = "SELECT count(*) FROM exact_dedup WHERE reached";
        assert_eq!(query(&dir, reached), ["2"], "{values}");
    }

    // A table without a step rewrites nothing, so a text that came blank stays.
    let dir = place.path("no-step");
    let no_step = ["--until", "signals", "--set", "clean.control=false"];
    run(&manifest(&place, &texts, more), &dir, &no_step).exits(0);
    assert_eq!(
        removed(&dir, "signals", "signals.nothing_left"),
        [] as [usize; 0]
    );
}

#[test]
fn what_one_step_leaves_another_may_take() {
    let place = Place::new();
    let texts = [
        format!("Home\n{FOOTER}\nMenu"),
        // C4 leaves the sentence, and the paragraph was seen before.
        format!("Menu\n{FOOTER}\nRead on\n\u{200b}"),
        format!("Menu\n{PROSE}"),
    ];
    let rules = "[filter.c4]\nrewrite = true\nmin_sentences = 0\n\
                 [dedup.paragraphs]\nmin_len = 20\n[[mixture]]\nname = \"m\"\ntokens = 30\n";
    let (manifest, dir) = (manifest(&place, &texts, rules), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    assert_eq!(
        removed(&dir, "signals", "signals.nothing_left"),
        [] as [usize; 0]
    );
    assert_eq!(
        removed(&dir, "paragraph_dedup", "paragraph_dedup.nothing_left"),
        [1]
    );
}

#[test]
fn a_text_that_came_blank_goes_where_texts_are_rewritten() {
    let place = Place::new();
    let texts = ["", " \n", "\u{200b}", PROSE].map(str::to_owned);
    let more = "[[mixture]]\nname = \"m\"\ntokens = 20\n";

    // No step rewrites, so the text of the input stays, whatever it is.
    let plain = place.path("plain");
    run(&manifest(&place, &texts, more), &plain, &[]).exits(0);
    let kept = "SELECT count(*) FROM quality WHERE reached AND removed_by IS NULL";
    assert_eq!(query(&plain, kept), ["4"]);

    let rewriting = ["[filter.lines]\nrewrite = true\n", "[dedup.paragraphs]\n"];
    for (at, (step, stage)) in rewriting
        .iter()
        .zip(["signals", "paragraph_dedup"])
        .enumerate()
    {
        let dir = place.path(&at.to_string());
        run(
            &manifest(&place, &texts, &format!("{step}{more}")),
            &dir,
            &[],
        )
        .exits(0);
        check(&dir, None).exits(0);
        let reason = format!("{stage}.nothing_left");
        assert_eq!(removed(&dir, stage, &reason), [0, 1, 2]);
    }
}
