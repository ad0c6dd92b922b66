//! The languages of a mixture: those that the table `language` names for the drawn documents.
//!
//! They are counted in one pass over narrow columns, which is merged with the mix. Both are in the
//! documents' order. Cost: 32 bytes of memory for each drawn document.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use curate_formats::card::LanguageShare;
use curate_schemas::DocId;
use curate_stages::read;
use curate_store::interrupt;
use curate_store::run_dir::RunDir;
use curate_store::zip::{Zip, parts};

use super::each_draw;

/// The languages of the documents that were drawn for `mixture`. The language with the most
/// documents comes first. Documents without a language come last.
///
/// # Errors
/// If a file cannot be read, or if the mix names a document that the run does not have.
pub fn languages(run: &RunDir, mixture: &str) -> Result<Vec<LanguageShare>> {
    let drawn = drawn(run, mixture)?;
    let (mut at, mut found) = (0, BTreeMap::<Option<String>, LanguageShare>::new());

    for files in run.shard_files()? {
        let reads = [
            read("documents", "doc_id"),
            read("language", "language"),
            read("tokens", "tokens"),
        ];

        // These columns have meant the same in every version of their stages.
        let mut parts = parts(&files, &reads)?;
        parts.iter_mut().for_each(|part| part.file.outdated = None);
        for batch in Zip::open(&parts)? {
            interrupt::check()?;
            let batch = batch?;
            let [ids, codes] = [0, 1].map(|column| batch.column(column).as_string::<i32>());
            let tokens = batch.column(2).as_primitive::<UInt64Type>();

            // A merge: documents that were not drawn lie between those that were.
            for row in 0..batch.num_rows() {
                let Some((_, draws)) = drawn
                    .get(at)
                    .filter(|(id, _)| ids.value(row).parse() == Ok(*id))
                else {
                    continue;
                };
                at += 1;

                // The language is null where no engine could tell one.
                let code = codes.is_valid(row).then(|| codes.value(row).to_owned());
                let language = found.entry(code.clone()).or_insert(LanguageShare {
                    code,
                    ..LanguageShare::default()
                });
                language.documents += 1;
                language.tokens += tokens.value(row) * u64::from(*draws);
            }
        }
    }

    // The merge stops at the first drawn document that does not come, so `at` shows it.
    ensure!(
        at == drawn.len(),
        "mix/{mixture} names documents that are not in the run"
    );

    let mut all: Vec<LanguageShare> = found.into_values().collect();
    all.sort_by_key(|language| {
        (
            language.code.is_none(),
            std::cmp::Reverse(language.documents),
        )
    });
    Ok(all)
}

/// Each drawn document and its number of draws, in the documents' order.
fn drawn(run: &RunDir, mixture: &str) -> Result<Vec<(DocId, u32)>> {
    let mut drawn = Vec::new();
    let is_there = each_draw(run, mixture, &mut |doc_id, draws| {
        drawn.push((doc_id, draws));
        Ok(())
    })?;
    ensure!(is_there, "mix/{mixture} has not run");
    Ok(drawn)
}
