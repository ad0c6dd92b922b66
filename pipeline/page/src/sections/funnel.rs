//! Where the documents went: documents, bytes and tokens that each stage kept, as shares of the
//! input.

use curate_schemas::commit::Tally;
use curate_schemas::report::StageReport;
use curate_schemas::{stages, tables};
use maud::{Markup, html};

use super::{lost, q_tag};
use crate::parts::{Cell, Column, Figure, Table, bar, key, part, quoted};
use crate::{Facts, Section, numbers};

/// The funnel; `None` before the first stage.
pub fn section(facts: &Facts) -> Option<Section> {
    let all = &facts.report.stages;
    let first = all.first()?;
    let figure = Figure {
        caption: caption(facts),
        picture: bars(facts, first).markup("funnel"),
        table: counts(facts),
        is_folded: true,
        note: html! {
            @let idle = idle(facts);
            @if !idle.is_empty() { "Removed nothing: " (idle.join(", ")) ". " }
            "Each row begins with what the row above kept. Bars are shares of the input."
        },
        sql: sql(facts),
    };
    Some(Section {
        id: "funnel",
        heading: "Where did the documents go?",
        body: figure.markup(),
    })
}

/// The stage that took most.
fn caption(facts: &Facts) -> Markup {
    // Tokens where every document has some, else documents.
    let taken = |stage: &StageReport| match &stage.tokens {
        Some(tokens) => tokens.arrived.saturating_sub(tokens.kept),
        None => lost(stage),
    };
    let stages = || facts.report.stages.iter().skip(1);
    let total: u64 = stages().map(taken).sum();
    let most = stages()
        .filter(|stage| taken(stage) > 0)
        .max_by_key(|stage| taken(stage));
    let what = if facts.tokens().is_some() {
        "tokens"
    } else {
        "documents"
    };
    html! {
        @match most {
            Some(stage) => {
                strong { (stage.name) } " took " (numbers::share(taken(stage), total))
                " of the " (what) " that were lost. "
            }
            None => "Nothing was removed. ",
        }
        (key(&[("kept", "kept"), ("merged", "merged into a duplicate"), ("lost", "removed")]))
    }
}

/// The stages that removed nothing.
fn idle<'a>(facts: &'a Facts) -> Vec<&'a str> {
    let stages = facts
        .report
        .stages
        .iter()
        .skip(1)
        .filter(|stage| !acts(stage));
    stages.map(|stage| stage.name.as_str()).collect()
}

/// True if a stage removed or edited something.
fn acts(stage: &StageReport) -> bool {
    lost(stage) > 0 || stage.bytes.edited != 0
}

/// A row with bars for the input and for each stage that removed something.
fn bars(facts: &Facts, first: &StageReport) -> Table {
    let has_tokens = facts.tokens().is_some();
    let mut columns = vec![Column::words("Stage")];
    for unit in ["Documents", "Bytes", "Tokens"]
        .into_iter()
        .take(if has_tokens { 3 } else { 2 })
    {
        columns.extend([
            Column::bars(unit),
            Column::numbers("kept"),
            Column::numbers("of all"),
        ]);
    }

    let wholes = [Some(&first.docs), Some(&first.bytes), first.tokens.as_ref()];
    let stages = &facts.report.stages;
    let shown = stages
        .iter()
        .enumerate()
        .filter(|(at, stage)| *at == 0 || acts(stage));
    let mut rows: Vec<Vec<Cell>> = shown.map(|(_, stage)| row(stage, wholes)).collect();
    if let (Some(pool), Some(whole)) = (&facts.report.pool, wholes[2]) {
        rows.push(effective(facts, pool.d_eff, whole.arrived));
    }
    Table {
        title: "What each stage kept",
        columns,
        rows,
    }
}

/// The row of a stage.
fn row(stage: &StageReport, wholes: [Option<&Tally>; 3]) -> Vec<Cell> {
    let docs = &stage.docs;
    let removed: u64 = docs.removed.values().sum();
    let skipped: u64 = docs.skipped.values().sum();
    let mut cells = vec![Cell::Title(html! {
        (stage.name)
        small {
            @for (n, what) in [
                (removed, "removed"),
                (docs.duplicates, "duplicates"),
                (docs.quarantined, "not readable"),
                (skipped, "no documents"),
            ] {
                @if n > 0 { "−" (numbers::count(n)) " " (what) " " }
            }
        }
    })];

    let own = [Some(&stage.docs), Some(&stage.bytes), stage.tokens.as_ref()];
    for (at, (tally, whole)) in own.into_iter().zip(wholes).enumerate() {
        let (Some(tally), Some(whole)) = (tally, whole) else {
            continue;
        };
        cells.push(Cell::Beside(parts_of(stage, tally, whole.arrived, at == 2)));
        cells.push(Cell::Beside(html! {
            @if at == 1 { (numbers::bytes(tally.kept)) } @else { (numbers::count(tally.kept)) }
            @if let (2, Some(width)) = (at, stage.tokens_in_half_width) {
                small { "estimated" @if width < u64::MAX { " ±" (numbers::about(width as f64)) } }
            }
        }));
        cells.push(Cell::Beside(numbers::share(tally.kept, whole.arrived)));
    }
    cells
}

/// What became of one quantity in a stage. The uncertain part of estimated tokens is lighter.
fn parts_of(stage: &StageReport, tally: &Tally, whole: u64, is_tokens: bool) -> Markup {
    let unsure = match (is_tokens, stage.tokens_in_half_width) {
        (true, Some(width)) => width.min(tally.kept),
        _ => 0,
    };
    let gone = tally.arrived.saturating_sub(tally.kept + tally.duplicates);
    bar(&[
        ("kept", part(tally.kept - unsure, whole)),
        ("unsure", part(unsure, whole)),
        ("merged", part(tally.duplicates, whole)),
        ("lost", part(gone, whole)),
    ])
}

/// The row of effective tokens.
fn effective(facts: &Facts, d_eff: f64, whole: u64) -> Vec<Cell> {
    let nothing = || Cell::Beside(html! {});
    let share = if whole == 0 {
        0.0
    } else {
        d_eff / whole as f64
    };
    let mut cells = vec![Cell::Title(html! {
        "effective" small { "tokens × q " (q_tag(facts.report.calibration.as_ref())) }
    })];
    cells.extend((0..6).map(|_| nothing()));
    cells.push(Cell::Beside(bar(&[("worth", share)])));
    cells.push(Cell::Beside(numbers::count(d_eff.round() as u64)));
    cells.push(Cell::Beside(match whole {
        0 => numbers::none(),
        _ => numbers::ratio(share),
    }));
    cells
}

/// What every stage kept.
fn counts(facts: &Facts) -> Table {
    let has_tokens = facts.has_all_tokens();
    let mut columns = vec![
        Column::words("Stage"),
        Column::numbers("documents kept"),
        Column::numbers("bytes kept"),
    ];
    columns.extend(has_tokens.then(|| Column::numbers("tokens kept")));
    let rows = facts.report.stages.iter().map(|stage| {
        let mut cells = vec![
            Cell::Name(stage.name.clone()),
            Cell::Count(stage.docs.kept),
            Cell::Count(stage.bytes.kept),
        ];
        let tokens = stage.tokens.as_ref().filter(|_| has_tokens);
        cells.extend(tokens.map(|tokens| Cell::Count(tokens.kept)));
        cells
    });
    Table {
        title: "What every stage kept, in numbers",
        columns,
        rows: rows.collect(),
    }
}

/// The query for what every stage kept. A stage that no document reached has no row in the view
/// `funnel`.
fn sql(facts: &Facts) -> String {
    let stages = facts.report.stages.iter().enumerate();
    let names: Vec<String> = stages
        .map(|(at, stage)| format!("({at}, {})", quoted(&stage.name)))
        .collect();
    let (tokens, join) = match facts.has_all_tokens() {
        true => (
            ", tokens",
            format!("\nJOIN (\n{}\n) USING (stage)", tokens_kept(facts)),
        ),
        false => ("", String::new()),
    };
    format!(
        "WITH stages(n, stage) AS (VALUES {}),\n\
         kept AS (SELECT stage, sum(docs)::BIGINT AS docs, sum(bytes)::BIGINT AS bytes\n  \
         FROM funnel WHERE removed_by IS NULL GROUP BY stage)\n\
         SELECT stage, coalesce(docs, 0), coalesce(bytes, 0){tokens}\n\
         FROM stages LEFT JOIN kept USING (stage){join}\nORDER BY n",
        names.join(", ")
    )
}

/// The query for the tokens that each stage kept.
fn tokens_kept(facts: &Facts) -> String {
    let stages = facts.report.stages.iter().enumerate();
    let queries: Vec<String> = stages
        .map(|(at, stage)| tokens_of(facts, at, &stage.name))
        .collect();
    queries.join("\nUNION ALL\n")
}

/// The query for the tokens that a stage kept.
fn tokens_of(facts: &Facts, at: usize, stage: &str) -> String {
    // A later stage that edits the text notes the tokens that it saw, which this stage kept.
    let later = facts.report.stages[at + 1..].iter().filter(|later| {
        let spec = stages::stage(&later.name);
        spec.is_some_and(|spec| (spec.rewrites)(facts.manifest))
    });
    let later: Vec<String> = later.map(|later| quoted(&later.name)).collect();
    let tokens = match later.is_empty() {
        true => "t.tokens".to_owned(),
        false => format!(
            "coalesce([x.tokens FOR x IN t.tokens_before IF x.stage IN ({})][1], t.tokens)",
            later.join(", ")
        ),
    };

    let table = tables::table(stage);
    let condition = match table {
        Some(table) if table.has("removed_by") => " WHERE s.reached AND s.removed_by IS NULL",
        Some(table) if table.has("reached") => " WHERE s.reached",
        _ => "",
    };
    format!(
        "SELECT {} AS stage, coalesce(sum({tokens}), 0)::BIGINT AS tokens FROM {stage} s \
         JOIN tokens t USING (doc_id){condition}",
        quoted(stage)
    )
}
