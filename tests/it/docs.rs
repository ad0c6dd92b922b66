//! The pages of `docs/`: what is generated is what the program says, and links lead somewhere.
//!
//! `CURATE_PIN=1 cargo test -p curate --test it docs` writes the generated pages anew.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::support::{Place, curate, figure, fixture, outcome, python, repository};

/// Compares a page with what is generated, or writes it.
fn assert_page(name: &str, generated: &str) {
    let path = repository().join("docs/reference").join(name);
    if std::env::var_os("CURATE_PIN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == generated,
        "docs/reference/{name} is not what is generated: see the first lines of tests/it/docs.rs"
    );
}

fn printed(arguments: &[&str]) -> String {
    curate(arguments).exits(0).stdout
}

#[test]
fn the_reference_of_the_manifest_is_generated() {
    let keys = printed(&["schema", "manifest"]);
    let page = format!(
        "# Manifest\n\n\
         Every table and key of `manifest.toml`, as `curate schema manifest` prints them.\n\n\
         For an editor that reads JSON Schema in TOML files (Even Better TOML, taplo), write\n\
         `curate schema manifest --json > curate.schema.json`, and begin the manifest with\n\
         `#:schema ./curate.schema.json`.\n\n\
         ```toml\n{}\n```\n",
        keys.trim_end()
    );
    assert_page("manifest.md", &page);
}

#[test]
fn the_reference_of_the_tables_is_generated() {
    let list = printed(&["schema"]);
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !["manifest", "calibration"].contains(name));

    let mut page = "# Tables\n\n\
                    Every table of a run directory and its columns: Arrow type, `null` if the value may be absent,\n\
                    unit or range, and meaning. `curate schema TABLE` prints the same.\n"
        .to_owned();
    for name in names {
        let columns = printed(&["schema", name]);
        let (title, columns) = columns.split_once('\n').unwrap();
        let about = title.split_once(": ").unwrap().1;
        write!(
            page,
            "\n## {name}\n\n{}{}.\n\n",
            about[..1].to_uppercase(),
            &about[1..]
        )
        .unwrap();
        page += "```text\n";
        for column in columns.lines() {
            writeln!(page, "{}", column.strip_prefix("  ").unwrap_or(column)).unwrap();
        }
        page += "```\n";
    }
    assert_page("tables.md", &page);
}

/// Every manifest passes and every mistake of `every_message.txt` fails, by a validator of others.
#[test]
fn the_json_schema_says_what_the_check_says() {
    let place = Place::new();
    let schema = place.write("schema.json", printed(&["schema", "manifest", "--json"]));
    let program = repository().join("tests/it/check_schema.py");
    let outcome = outcome(python().arg(program).arg(schema)).exits(0);
    figure(
        "manifests and mistakes by the JSON Schema",
        outcome.stdout.trim(),
    );

    curate(["schema", "documents", "--json"])
        .exits(2)
        .says(&["the manifest and the calibration only"]);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(#[^)\s]*)?\)").unwrap();
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for found in link.captures_iter(&text) {
            let target = &found[1];
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A page that `docs/SUMMARY.md` does not name is not in the site that `make docs` builds.
#[test]
fn the_summary_names_every_page() {
    let summary = fs::read_to_string(repository().join("docs/SUMMARY.md")).unwrap();
    let docs = repository().join("docs");

    let inside = pages().into_iter().filter_map(|page| {
        let page = page.strip_prefix(&docs).ok()?.to_str()?.to_owned();
        (page != "SUMMARY.md").then_some(page)
    });
    let missing: Vec<String> = inside
        .filter(|page| !summary.contains(&format!("]({page})")))
        .collect();
    assert!(missing.is_empty(), "{missing:?} are not in docs/SUMMARY.md");
}

/// README.md, and every page in `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository().join("README.md")];
    for folder in ["docs", "docs/reference"] {
        let entries = fs::read_dir(repository().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_page = |path: &PathBuf| path.extension() == Some(Path::new("md").as_os_str());
        pages.extend(paths.filter(is_page));
    }
    pages
}

/// A fenced block of a page.
struct Fence {
    /// Page and line.
    place: String,
    /// The words behind the opening backticks.
    info: Vec<String>,
    text: String,
}

impl Fence {
    fn is(&self, info: &[&str]) -> bool {
        self.info == info
    }
}

fn fences(page: &Path) -> Vec<Fence> {
    let text = fs::read_to_string(page).unwrap();
    let mut fences: Vec<Fence> = Vec::new();
    let mut is_open = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            is_open = !is_open;
            if is_open {
                fences.push(Fence {
                    place: format!("{}:{}", page.display(), number + 1),
                    info: info.split_whitespace().map(str::to_owned).collect(),
                    text: String::new(),
                });
            }
        } else if is_open {
            fences.last_mut().unwrap().text += &format!("{line}\n");
        }
    }
    fences
}

/// A folder that looks like a built clone, in which the quickstart ran; and what the run printed.
fn clone_with_a_run() -> (Place, String) {
    let place = Place::new();
    fs::create_dir_all(place.path("target/debug")).unwrap();
    let program = place.path("target/debug/curate");
    symlink(env!("CARGO_BIN_EXE_curate"), &program).unwrap();
    for folder in ["fixtures", "manifests"] {
        symlink(repository().join(folder), place.path(folder)).unwrap();
    }

    let mut run = Command::new(program);
    run.args(["run", "manifests/quickstart.toml"])
        .current_dir(place.path(""));
    let printed = outcome(&mut run).exits(0).stdout;
    (place, printed)
}

/// Commands run as they stand, page by page; queries run over the quickstart's tables; a manifest
/// is planned; what a page says that the quickstart printed, the quickstart printed.
#[test]
fn everything_fenced_in_the_pages_runs() {
    let (place, mut printed) = clone_with_a_run();
    let (mut commands, mut queries, mut manifests, mut lines, mut left) = (0, 0, 0, 0, Vec::new());
    for fence in pages().iter().flat_map(|page| fences(page)) {
        if fence.is(&["sh"]) {
            let mut shell = Command::new("bash");
            shell
                .args(["-euo", "pipefail", "-c", &fence.text])
                .current_dir(place.path(""));
            println!("{}", fence.place);
            printed += &outcome(&mut shell).exits(0).stdout;
            commands += fence.text.lines().filter(|line| !line.is_empty()).count();
        } else if fence.is(&["sql"]) {
            println!("{}", fence.place);
            queries += statements(&place.path("runs/quickstart"), &fence.text);
        } else if fence.is(&["toml"]) && !fence.place.contains("reference") {
            println!("{}", fence.place);
            place.write("mine.toml", &fence.text);
            place.write(
                "web/a.jsonl.zst",
                fs::read(fixture("web-000.jsonl.zst")).unwrap(),
            );
            let mut plan = Command::new(place.path("target/debug/curate"));
            outcome(plan.args(["plan", "mine.toml"]).current_dir(place.path(""))).exits(0);
            manifests += 1;
        } else if fence.is(&["text", "quickstart"]) {
            for line in fence.text.lines() {
                assert!(is_printed(&printed, line), "{}: {line}", fence.place);
                lines += 1;
            }
        } else if fence.info.get(1).is_some_and(|word| word == "no-run") {
            left.push(fence.info[2].clone());
        }
    }

    // A command that is not run names the reason, and there are no more of them than these. `build`
    // is an optimised build of everything.
    left.sort();
    assert_eq!(left, ["build", "build", "build", "gpu", "gpu", "network"]);
    let found = format!(
        "{commands} commands, {queries} queries, {manifests} manifest, {lines} printed lines; \
         {} blocks need a network, a GPU or an optimised build and are not run",
        left.len()
    );
    assert!(
        commands > 12 && queries > 5 && manifests > 0 && lines > 10,
        "{found}"
    );
    figure("fenced blocks of README and docs", found);
}

/// Runs statements over the views of a run, and gives their number. Each has a column.
fn statements(run: &Path, sql: &str) -> usize {
    let program = "import duckdb, sys; c = duckdb.connect(); c.execute(open('views.sql').read())\n\
                   for statement in duckdb.extract_statements(sys.argv[1]): print(len(c.execute(statement).description))";
    let mut python = python();
    python.args(["-c", program, sql]).current_dir(run);
    outcome(&mut python).exits(0).stdout.lines().count()
}

/// True if a line of the output has all words of a line of a page, which may leave columns out.
fn is_printed(output: &str, line: &str) -> bool {
    let mut lines = output
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|printed| line.split_whitespace().all(|word| printed.contains(&word)))
}
