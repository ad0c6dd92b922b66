//! How a stage is declared. Lists, keys, views, tallies, checks, the reference and the tests are
//! derived from the specs in [`crate::stages::STAGES`].

use crate::config::Section;
use crate::stages::Manifest;
use crate::tables::Table;

/// The declaration of a stage.
#[derive(Debug, Clone, Copy)]
pub struct StageSpec {
    /// Name of the stage, and of its table, folder and view in DuckDB.
    pub name: &'static str,
    /// Version of the code. It is raised when the output changes, so that stored results are not
    /// reused.
    pub version: u32,
    /// The part of the corpus that one unit of work looks at.
    pub scope: Scope,
    /// The stage whose survivors reach this one; empty if every document does.
    pub follows: &'static str,
    /// How the removed rows are counted.
    pub removes: Removes,
    /// Every reason that the stage may write into `removed_by`, in the order of `curate rules`.
    /// Empty for `filter`, whose reasons are its rules.
    pub removals: &'static [Removal],
    /// True if a manifest makes the stage rewrite texts. The stage's table then holds the edits.
    pub rewrites: fn(&Manifest) -> bool,
    /// Tables of the manifest that set the stage.
    pub sections: &'static [Section],
    /// Tables that the stage writes, its own table first.
    pub tables: fn() -> Vec<Table>,
}

impl StageSpec {
    /// The stage's own table.
    pub fn table(&self) -> Table {
        (self.tables)().swap_remove(0)
    }

    /// Names of the further tables that the stage writes.
    pub fn further_tables(&self) -> Vec<&'static str> {
        let tables = (self.tables)();
        tables.iter().skip(1).map(|table| table.name).collect()
    }

    /// True if the stage's table has the column `removed_by`.
    pub fn may_remove(&self) -> bool {
        self.table().has("removed_by")
    }

    /// True if the stage's table has the column `edits`. Later stages may then see another text
    /// than this stage.
    pub fn may_rewrite(&self) -> bool {
        self.table().has("edits")
    }
}

/// The part of the corpus that one unit of a stage's work looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Input files, which become shards.
    Input,
    /// One shard, which becomes one shard.
    Shard,
    /// Narrow columns of all shards. The result is a decision for each row of each shard.
    Corpus,
    /// The records of each source, as `documents` has them. Its table has a row for each source and
    /// field.
    Sources,
    /// The documents that the last row-aligned stage kept. The stage's tables have rows of their
    /// own.
    Pool,
}

impl Scope {
    /// True if the stage's table has a row for each document.
    pub fn is_aligned(self) -> bool {
        matches!(self, Scope::Input | Scope::Shard | Scope::Corpus)
    }
}

/// How the rows that a stage removes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removes {
    /// As removed documents, by reason.
    Documents,
    /// As duplicates, each merged into a document that is kept.
    Duplicates,
}

/// A reason in `removed_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// `family.rule`; `<…>` stands for a name from the manifest.
    pub name: &'static str,
    /// The condition under which the reason is given.
    pub doc: &'static str,
}

/// A reason with its condition.
pub(crate) const fn removal(name: &'static str, doc: &'static str) -> Removal {
    Removal { name, doc }
}
