//! Whole cards spelled out, their figures and licences, and names that try to break the layout.

use super::*;

fn facts() -> Facts {
    Facts {
        name: "general".into(),
        run: "quickstart".into(),
        manifest: "quickstart.toml".into(),
        curate: "0.1.0".into(),
        languages: vec![
            LanguageShare {
                code: Some("eng".into()),
                documents: 100,
                tokens: 270_000,
            },
            LanguageShare {
                code: Some("und".into()),
                documents: 8,
                tokens: 21_000,
            },
            LanguageShare {
                code: None,
                documents: 4,
                tokens: 9000,
            },
        ],
        configs: vec![
            Config {
                name: "default".into(),
                files: vec!["a.parquet".into(), "b.parquet".into()],
                bytes: 5,
            },
            Config {
                name: "no".into(),
                files: vec!["c-*.parquet".into()],
                bytes: 6,
            },
        ],
        documents: 112,
        draws: 1166,
        bytes: 1_234_567,
        tokens: 300_000,
        unique_tokens: 200_000,
        q: 0.74874,
        d_eff: 222_904.4,
        sources: vec![SourceShare {
            name: "web".into(),
            license: None,
            documents: 112,
            draws: 1166,
            tokens: 300_000,
            q: 0.74874,
        }],
        funnel: vec![FunnelRow {
            name: "filter".into(),
            arrived: 1596,
            kept: 647,
            removed: vec![("gopher_quality.short_doc".into(), 949)],
            ..FunnelRow::default()
        }],
        ..Facts::default()
    }
}

#[test]
fn front_matter_spelled_out() {
    let card = card(&facts());
    let expected = r#"---
pretty_name: "general"
language:
- "en"
- "und"
size_categories:
- "1K<n<10K"
task_categories:
- "text-generation"
tags:
- "pretraining"
- "curate"
configs:
- config_name: "default"
  default: true
  data_files:
  - split: train
    path:
    - "a.parquet"
    - "b.parquet"
- config_name: "no"
  data_files:
  - split: train
    path:
    - "c-*.parquet"
dataset_info:
- config_name: "default"
  splits:
  - name: train
    num_bytes: 1234567
    num_examples: 1166
  download_size: 5
  dataset_size: 1234567
- config_name: "no"
  splits:
  - name: train
    num_bytes: 1234567
    num_examples: 1166
  download_size: 6
  dataset_size: 1234567
---

# general
"#;
    assert_eq!(&card[..expected.len()], expected);
}

#[test]
fn figures_are_the_facts() {
    let mut facts = facts();
    let text = card(&facts);
    for line in [
        "| tokens | 300,000 |",
        "| epochs | 1.50 |",
        "| quality q, uncalibrated | 0.7487 |",
        "| effective tokens D_eff, uncalibrated | 222,904 |",
        "| web | 112 | 1,166 | 300,000 | 100.00 % | 0.7487 | not stated |",
        "| eng | 100 | 89.29 % | 270,000 | 90.00 % |",
        "| not identified | 4 | 3.57 % | 9,000 | 3.00 % |",
        "| filter | 1,596 | 647 | 949 | 0 | 0 |",
        "| gopher\\_quality.short\\_doc | 949 |",
        "curate 0.1.0 from the manifest quickstart.toml (run quickstart).",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    facts.calibration = Some("q calibrated on docs with a 5-gram model".to_owned());
    assert!(card(&facts).contains("The calibration: q calibrated on docs with a 5-gram model."));
    assert!(!card(&facts).contains("uncalibrated") && !card(&facts).contains("not calibrated"));
}

#[test]
fn the_card_says_whose_ids_the_files_hold() {
    let tokenizer = |name: &str, digest: &str| TokenizerName {
        name: name.into(),
        digest: digest.into(),
    };
    let mut facts = facts();
    assert!(!card(&facts).contains("## Token ids"));
    facts.tokenizer = Some(tokenizer("embedded", "ab"));
    facts.order = "a hash";
    facts.seed = Some(7);
    facts.run_digest = "00ff".into();
    facts.token_ids = Some(TokenIds {
        tokenizer: tokenizer("my_own.json", "cd"),
        vocabulary: 70_401,
        end_token: Some("<|eos|>".into()),
        end_id: Some(3),
        dtype: "int32",
        ids: 12_345,
        documents: 1165,
        documents_left_out: 1,
        documents_without_ids: 1,
    });

    let other = card(&facts);
    for line in [
        "Rows are in the order of a hash, and the seed is 7. The digest of the mixture in the run is 00ff.",
        "The run counted these tokens with the tokenizer embedded (blake3 ab).",
        "The `.bin` files hold ids of the tokenizer my\\_own.json (blake3 cd).",
        "The other figures of tokens on this card are of another tokenizer.",
        "| end of each document | \\<\\|eos\\|\\>, id 3 |",
        "| ids, ends included | 12,345 |",
        "| documents with their repeats | 1,165 |",
        "| documents left out, because they have no ids | 1 |",
        "| type of an id | int32 |",
        "| vocabulary, entries | 70,401 |",
    ] {
        assert!(other.contains(line), "{line} is not in\n{other}");
    }

    // The same tokenizer counted, and no token ends a document.
    let mut ids = facts.token_ids.expect("set above");
    (ids.tokenizer, ids.end_token, ids.end_id) = (tokenizer("embedded", "ab"), None, None);
    facts.token_ids = Some(ids);
    let same = card(&facts);
    assert!(same.contains("| end of each document | none |"), "{same}");
    assert!(!same.contains("another tokenizer"), "{same}");
}

#[test]
fn licences_stand_there_only_if_known() {
    let mut facts = facts();
    assert!(!card(&facts).contains("license:"));
    assert!(card(&facts).contains("does not know the licences"));
    facts.sources[0].license = Some("CC-BY-4.0".into());
    let one = card(&facts);
    assert!(
        one.contains("\nlicense: \"cc-by-4.0\"\nlanguage:\n")
            && one.contains("| 0.7487 | CC-BY-4.0 |\n"),
        "{one}"
    );
    assert!(one.contains("sources: CC-BY-4.0. Each text"));
    facts.sources.push(SourceShare {
        license: Some("mit".into()),
        ..facts.sources[0].clone()
    });
    let two = card(&facts);
    assert!(
        two.contains("\nlicense: \"other\"\nlicense_name: \"cc-by-4.0-and-mit\"\n"),
        "{two}"
    );
    assert!(two.contains("sources: CC-BY-4.0, mit. Each text"));
    facts.sources.push(SourceShare {
        license: None,
        ..facts.sources[0].clone()
    });
    assert!(card(&facts).contains("mit. Of the other sources none is stated. Each text"));
}

#[test]
fn an_empty_mixture_has_a_card() {
    let text = card(&Facts {
        q: f64::NAN,
        ..Facts::default()
    });
    assert!(text.starts_with("---\npretty_name: \"\"\nsize_categories:\n- \"n<1K\"\n"));
    assert!(text.contains("\n# (no name)\n") && text.contains("| tokens | 0 |"));
    assert!(!text.contains("NaN") && !text.contains("configs:") && !text.contains("## Sources"));
}

#[test]
fn sizes_fall_into_the_hubs_buckets() {
    let cases = [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
    ];
    for (rows, expected) in cases
        .into_iter()
        .chain([(999_999_999_999, "100B<n<1T"), (u64::MAX, "n>1T")])
    {
        assert_eq!(size_category(rows), expected, "{rows}");
    }
}

#[test]
fn hostile_names_leave_the_shape_alone() {
    let hostile = "x\n---\nlicense: mit\n# | `` ``` \u{2028}\"\\";
    let mut facts = facts();
    facts.name = hostile.into();
    facts.sources[0].name = hostile.into();
    facts.sources[0].license = Some(hostile.into());
    facts.languages = vec![LanguageShare {
        code: Some(hostile.into()),
        documents: 1,
        tokens: 1,
    }];
    facts.configs[0].name = hostile.into();
    facts.uses = vec![
        Use::of_config(&facts.configs[0]),
        Use {
            language: "sh",
            code: hostile.into(),
        },
    ];
    let text = card(&facts);
    assert_eq!(text.lines().filter(|line| *line == "---").count(), 2);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("# ")).count(),
        1
    );
    assert!(
        text.contains("\nlicense: \"other\"\nlicense_name: \"x-license-mit\"\nsize_categories:"),
        "{text}"
    );
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| x"))
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].replace(r"\|", "").matches('|').count(), 8);
}
