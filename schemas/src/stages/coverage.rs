//! `coverage`: whether the fields that a manifest reads of the records are there.

use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Shape, Table, count, utf8};

/// The declaration of the stage.
pub const COVERAGE: StageSpec = StageSpec {
    name: "coverage",
    version: 1,
    scope: Scope::Sources,
    follows: "documents",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[],
    tables: || vec![coverage()],
};

fn coverage() -> Table {
    let columns = vec![
        utf8("source", "name of the source in the manifest"),
        utf8(
            "field",
            "what the field is for: id, url, date, or meta.NAME for a field that a term or veto reads",
        ),
        utf8(
            "path",
            "name of the field in the records; null if the source does not name one",
        )
        .null(),
        count(
            "records",
            "records",
            "records of the source that became documents",
        ),
        count("usable", "records", "records with a usable value"),
        count(
            "other_type",
            "records",
            "records whose value has another type, such as a list, or a number in quotes",
        ),
        count(
            "unparsable",
            "records",
            "records whose value is text or a number, but not a date; for url, text that names no host",
        ),
    ];

    Table {
        name: "coverage",
        doc: "the fields that the manifest reads of the records, by source, and how many records \
              have a usable value in them",
        shape: Shape::Own,
        columns,
    }
}
