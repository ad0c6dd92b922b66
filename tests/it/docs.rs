//! The pages of `docs/`: what is generated is what the program says, and links lead somewhere.
//!
//! `CURATE_PIN=1 cargo test -p curate --test it docs` writes the generated pages anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::support::{Place, curate, figure, outcome, python, repository};

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
        .filter(|name| *name != "manifest");

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
        .says(&["the manifest only"]);
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
