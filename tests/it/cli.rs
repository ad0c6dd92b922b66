//! The subcommands: what they print, and that those that only ask change nothing.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamReader;
use curate_schemas::tables;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{
    Outcome, Place, STAGES, assert_same, corpus, curate, files, query, run, tree,
};

/// Every table of a run directory.
fn table_names() -> Vec<&'static str> {
    tables::tables().iter().map(|table| table.name).collect()
}

#[test]
fn help_lists_every_exit_code_and_subcommand() {
    let help = curate(["--help"]).exits(0);
    for line in ["0 ", "1 ", "2 ", "11 ", "70 ", "74 ", "130/143 "] {
        let is_listed = help
            .stdout
            .lines()
            .any(|text| text.trim_start().starts_with(line));
        assert!(is_listed, "{line}: {}", help.stdout);
    }
    for command in [
        "run", "plan", "status", "verify", "trace", "sample", "diff", "gc", "schema",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}: {}",
            help.stdout
        );
        curate([command, "--help"])
            .exits(0)
            .prints(&["Usage: curate "]);
    }
    curate(["--version"]).exits(0).prints(&["curate 0."]);
    curate(["nonsense"]).exits(2);
    curate(["run"]).exits(2);
    curate(["run", "x.toml", "--threads", "0"]).exits(2);
}

#[test]
fn schema_describes_the_manifest_and_every_table() {
    let list = curate(["schema"]).exits(0).stdout;
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        names,
        [&["manifest", "calibration"][..], &table_names()].concat()
    );
    curate(["schema", "manifest"]).exits(0).prints(&[
        "[run]\n",
        "[[source]]\n",
        "max_quarantine_ratio = 0.05",
    ]);
    for table in table_names() {
        curate(["schema", table])
            .exits(0)
            .prints(&[&format!("{table}: ")]);
    }
    curate(["schema", "nonsense"]).exits(2).says(&[
        "\"nonsense\"",
        "hint: manifest, calibration, or one of: documents, ",
    ]);
}

#[test]
fn a_table_without_rows_has_the_types_of_the_table() {
    for table in table_names() {
        let stream = outcome_bytes(["schema", table, "--arrow"]);
        let reader = StreamReader::try_new(stream.as_slice(), None).unwrap();
        assert_eq!(reader.schema(), tables::schema(table), "{table}");
        assert_eq!(reader.count(), 0, "{table}");
    }

    for name in ["manifest", "nonsense"] {
        let refused = curate(["schema", name, "--arrow"]).exits(2);
        refused.says(&[name, "hint: manifest, calibration, or one of: documents, "]);
    }
    curate(["schema", "--arrow"]).exits(2);
    curate(["schema", "manifest", "--arrow", "--json"]).exits(2);
}

/// What the program writes to stdout, as it is.
fn outcome_bytes(arguments: [&str; 3]) -> Vec<u8> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_curate"));
    let output = program.args(arguments).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Columns as `curate schema` prints them: name, type, whether null is allowed.
fn declared(table: &str) -> Vec<(String, String, bool)> {
    let text = curate(["schema", table]).exits(0).stdout;
    let columns = text
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '));
    let column = |line: &str| {
        let (name, rest) = line.split_once(": ").unwrap();
        let data_type = ["Timestamp(µs, \"UTC\")"]
            .into_iter()
            .find(|name| rest.starts_with(name));
        let data_type = data_type.unwrap_or_else(|| rest.split([':', ',']).next().unwrap());
        (
            name.to_owned(),
            data_type.to_owned(),
            rest[data_type.len()..].starts_with(", null"),
        )
    };
    columns.map(column).collect()
}

#[test]
fn files_have_the_columns_that_schema_prints() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let mut checked = 0;
    for name in tree(&dir)
        .into_keys()
        .filter(|name| name.ends_with(".parquet"))
    {
        let path = dir.join(&name);
        let file = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let columns = file.schema().fields().iter().map(|field| {
            let data_type = match field.data_type() {
                DataType::Struct(_) => "Struct".to_owned(),
                DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)) => {
                    "List(Struct)".to_owned()
                }
                DataType::Map(..) => "Map(Utf8 to Float64)".to_owned(),
                other => other.to_string(),
            };
            (field.name().clone(), data_type, field.is_nullable())
        });
        assert_eq!(
            columns.collect::<Vec<_>>(),
            declared(name.split('/').next().unwrap()),
            "{name}"
        );
        checked += 1;
    }
    assert!(checked > 50, "{checked} files");
}

#[test]
fn a_plan_changes_nothing_and_names_what_changed() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    let plan = |more: &[&str]| {
        let arguments = [
            "plan".as_ref(),
            manifest.as_os_str(),
            "--run-dir".as_ref(),
            dir.as_os_str(),
        ];
        curate(
            arguments
                .into_iter()
                .chain(more.iter().map(|more| more.as_ref())),
        )
        .exits(0)
    };
    plan(&[]).prints(&[
        "documents: 6 input files to read",
        "a.jsonl (source manuals)",
    ]);
    assert!(!dir.exists());
    run(&manifest, &dir, &[]).exits(0);
    let before = tree(&dir);
    let cached = plan(&[]).stdout;
    let all_cached = cached
        .lines()
        .all(|line| line.ends_with(" shards, cached") || line.ends_with(": cached"));
    assert!(
        all_cached && cached.lines().count() == STAGES.len() + 6,
        "{cached}"
    );
    let changed = plan(&["--set", "filter.gopher_quality.min_words=120"]);
    let changed = changed
        .prints(&[
            "gopher_quality.min_words was 50, is 120\n",
            "signatures: ",
            "\nexact_dedup: ",
        ])
        .stdout;
    let line = |stage: &str| {
        changed
            .lines()
            .find(|line| line.starts_with(&format!("{stage}: ")))
            .unwrap()
    };
    assert!(
        line("signals").ends_with("cached") && line("near_dedup").contains(" to do: "),
        "{changed}"
    );
    place.write("data/web/a.jsonl", "{\"text\": \"new\"}\n");
    plan(&[]).prints(&[
        "documents: 1 input file to read, 16 bytes\n",
        "a.jsonl (source web)",
        // The shards of the changed file are not known yet.
        "\ncoverage: to do: it looks at all shards, and there are new ones\n",
        "\nsignals: 10 of 10 shards cached, and the new files to do\n",
        "\nquality: all shards to do: it looks at all shards, and there are new ones\n",
        "\nmixture/long: to do: ",
    ]);
    assert_same(&tree(&dir), &before, "after plans");
}

#[test]
fn status_prints_the_funnel_of_the_run() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    let printed = run(&manifest, &dir, &[]).exits(0).stdout;
    let (funnel, _) = printed.split_once("\ncomputed: ").unwrap();
    assert_eq!(
        curate(["status".as_ref(), dir.as_os_str()]).exits(0).stdout,
        funnel
    );
    fs::remove_dir_all(&dir).unwrap();
    let printed = run(&manifest, &dir, &["--until", "filter"])
        .exits(0)
        .prints(&["filter "])
        .stdout;
    let (funnel, _) = printed.split_once("\ncomputed: ").unwrap();
    assert_eq!(
        curate(["status".as_ref(), dir.as_os_str()]).exits(0).stdout,
        funnel
    );
}

/// The first value of a text column of a stage, in any of its shards.
fn first(run: &Path, stage: &str, folder: &str, column: &str) -> String {
    let names = match stage == folder {
        true => files(run, stage),
        false => tree(&run.join(folder)).into_keys().collect(),
    };
    let rows = names.iter().flat_map(|name| {
        let file = File::open(run.join(folder).join(name)).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap()
    });
    let mut values = rows.filter_map(|batch| {
        let column = batch
            .unwrap()
            .column_by_name(column)
            .unwrap()
            .as_string::<i32>()
            .clone();
        (!column.is_empty()).then(|| column.value(0).to_owned())
    });
    values.next().unwrap()
}

#[test]
fn status_shows_a_run_that_has_not_finished() {
    let place = Place::new();
    let manifest = corpus(&place, 12);
    let dir = place.path("run");
    // A mixture that is impossible ends a first run after all stages. The run prints the funnel all
    // the same, and is not finished.
    let greedy = ["--set", "mixture.general.tokens=1000000000"];
    run(&manifest, &dir, &greedy)
        .exits(1)
        .says(&["is not possible"])
        .prints(&["near_dedup ", "quality ", "pool"]);
    assert!(!dir.join("run.json").exists());
    curate(["status".as_ref(), dir.as_os_str()])
        .exits(0)
        .prints(&["near_dedup", "quality", "manuals"]);
}

#[test]
fn a_trace_shows_everything_that_happened_to_a_document() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 60), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let trace = |id: &str| curate(["trace".as_ref(), dir.as_os_str(), id.as_ref()]);
    let kept = first(&dir, "mix/general", "mix/general", "doc_id");
    let json = |id: &str| {
        let words = [
            "trace".as_ref(),
            dir.as_os_str(),
            id.as_ref(),
            "--json".as_ref(),
        ];
        curate(words).exits(0).stdout
    };
    let lines = json(&kept);
    let rows: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for table in STAGES.iter().chain(&["mix/general", "mixture/general"]) {
        let is_there = rows.iter().any(|row| row["table"] == *table);
        assert!(is_there, "{table}: {lines}");
    }
    assert!(!lines.contains("removed_by"), "{lines}");
    let page = trace(&kept).exits(0).stdout;
    for table in STAGES.iter().skip(1) {
        assert!(page.contains(&format!("\n{table}: ")), "{table}: {page}");
    }
    let duplicate = first(&dir, "near_dedup", "near_dedup_evidence", "doc_id");
    let found = json(&duplicate);
    for part in [
        "\"table\":\"near_dedup\"",
        "\"removed_by\":\"near_dedup.cluster\"",
        "\"table\":\"near_dedup_evidence\"",
        "\"jaccard\":",
        "\"kept_id\":",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(!found.contains("mixture/"), "{found}");
    let parts = ["near_dedup: merged by near_dedup.cluster\n", ", jaccard "];
    trace(&duplicate).exits(0).prints(&parts);
    for unknown in ["00000000000000000000000000000000", "", "nonsense"] {
        trace(unknown).exits(1).says(&[
            "no document is called",
            "it is no doc_id, own id or URL of the run",
        ]);
    }

    // The case of a doc_id does not matter.
    assert_eq!(json(&kept.to_uppercase()), lines);
    curate([
        "trace".as_ref(),
        place.path("none").as_os_str(),
        kept.as_ref(),
    ])
    .exits(2);
}

#[test]
fn a_trace_takes_own_ids_and_urls() {
    let place = Place::new();
    let text = "The ferry left the harbour at noon, and nobody stood on the pier that day.";
    let record = |id: &str, url: &str| {
        format!("{{\"id\":\"{id}\",\"url\":\"{url}\",\"text\":\"{text} {id}\"}}\n")
    };
    // `same` is an id in both sources, and the URL of a third record. `https://a.example/1` is the
    // URL of two records, and the own id of none.
    place.write(
        "a.jsonl",
        record("A1", "https://a.example/1") + &record("same", "https://a.example/2"),
    );
    let many: String = (0..14)
        .map(|number| record(&format!("n{number}"), "https://b.example/many"))
        .collect();
    place.write(
        "b.jsonl",
        record("same", "https://a.example/1") + &record("B2", "same") + &many,
    );
    let source = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\npath = \"{name}.jsonl\"\nid = \"id\"\nurl = \"url\"\n"
        )
    };
    let manifest = place.write(
        "manifest.toml",
        format!(
            "[run]\nname = \"t\"\n{}{}[language]\nengine = \"none\"\n[dedup.near]\n[[mixture]]\nname = \"m\"\ntokens = 60\n",
            source("a"),
            source("b")
        ),
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    let trace = |words: &[&str]| {
        let fixed = ["trace".as_ref(), dir.as_os_str(), "--json".as_ref()];
        curate(
            fixed
                .into_iter()
                .chain(words.iter().map(|word| word.as_ref())),
        )
    };
    let ids = |outcome: &Outcome| -> Vec<String> {
        let lines = outcome.stdout.lines();
        let rows = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.filter(|line| line["table"] == "documents")
            .map(|line| {
                let row = &line["row"];
                format!(
                    "{}/{}",
                    row["source"].as_str().unwrap(),
                    row["source_id"].as_str().unwrap()
                )
            })
            .collect()
    };

    // By its own id and by its doc_id, a document has the same lines.
    let by_id = trace(&["A1"]).exits(0);
    assert_eq!(ids(&by_id), ["a/A1"]);
    for table in ["documents", "signals", "near_dedup", "quality"] {
        assert!(
            by_id.stdout.contains(&format!("{{\"table\":\"{table}\"")),
            "{}",
            by_id.stdout
        );
    }
    let doc_id = query(&dir, "SELECT doc_id FROM documents WHERE source_id = 'A1'").remove(0);
    assert_eq!(trace(&[&doc_id]).exits(0).stdout, by_id.stdout);
    assert_eq!(by_id.stderr, "");
    trace(&["a1"]).exits(1).says(&["no document is called a1"]);

    // An id of several documents shows all of them, and a source chooses one. The URL of another
    // document is said.
    let several = trace(&["same"])
        .exits(0)
        .says(&["1 document with the URL same not shown"]);
    assert_eq!(ids(&several), ["a/same", "b/same"]);
    curate(["trace".as_ref(), dir.as_os_str(), "same".as_ref()])
        .exits(0)
        .prints(&["\n\ndocument "]);
    let one = trace(&["same", "--source", "b"]).exits(0);
    assert_eq!(ids(&one), ["b/same"]);

    // A URL is taken exactly as in the record.
    let by_url = trace(&["https://a.example/1"]).exits(0);
    assert_eq!(ids(&by_url), ["a/A1", "b/same"]);
    trace(&["https://a.example/1/"]).exits(1);
    let many = trace(&["https://b.example/many"]).exits(0);
    assert_eq!(ids(&many).len(), 10);
    many.says(&["14 documents have the URL https://b.example/many, the first 10 are shown"]);

    trace(&["A1", "--source", "b"])
        .exits(1)
        .says(&["no document of the source b is called A1"]);
    trace(&["A1", "--source", "c"])
        .exits(2)
        .says(&["the run has no source c", "hint: its sources are a, b"]);
}

#[test]
fn a_budget_needs_no_run() {
    let budget = |more: &[&str]| {
        let mut words = vec!["budget", "--params", "7e9"];
        words.extend_from_slice(more);
        curate(words)
    };
    let small = budget(&[
        "--tokens",
        "1e6",
        "--quality",
        "0.542",
        "--constants",
        "besiroglu2024",
    ]);
    small
        .exits(0)
        .prints(&["D_eff = 542,000", "outside the fitted range"]);
    budget(&["--tokens", "2e11"])
        .exits(0)
        .prints(&["D_eff/D = 1.0000, ΔL = +0.0000"])
        .prints(&["besiroglu2024"]);
    budget(&["--tokens", "0"]).exits(2).says(&["above 0"]);
    curate(["budget", "--params", "7", "--tokens", "1e9"])
        .exits(2)
        .says(&["expected at least 1e5 parameters: did you mean 7e9?"]);
    budget(&["--tokens", "1e9", "--quality", "1.5"])
        .exits(2)
        .says(&["at most 1"]);
    budget(&["--tokens", "1e9", "--constants", "kaplan"])
        .exits(2)
        .says(&["hoffmann2022_rounded"]);
}
