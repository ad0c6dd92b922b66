//! What is declared of a stage. Lists, keys, views, tallies, checks, the reference and the tests
//! are derived from the specs in [`crate::stages::STAGES`].

use crate::config::Section;
use crate::stages::Manifest;
use crate::tables::Table;

/// The declaration of a stage.
#[derive(Debug, Clone, Copy)]
pub struct StageSpec {
    /// Name of the stage, of its table, of its folder and of its view in DuckDB.
    pub name: &'static str,
    /// Version of the code. Raised when the output changes, so that stored results are not reused.
    pub version: u32,
    /// What one unit of its work looks at.
    pub scope: Scope,
    /// The stage whose survivors reach this one; empty if every document does.
    pub follows: &'static str,
    /// What the rows that it removes count as.
    pub removes: Removes,
    /// Every reason that it may write into `removed_by`, in the order of `curate rules`. The
    /// reasons of `filter` are its rules.
    pub removals: &'static [Removal],
    /// True if a manifest makes it rewrite texts. Its table then holds the edits.
    pub rewrites: fn(&Manifest) -> bool,
    /// Tables of the manifest that set it.
    pub sections: &'static [Section],
    /// Tables that it writes, its own first.
    pub tables: fn() -> Vec<Table>,
}

impl StageSpec {
    /// The stage's own table.
    pub fn table(&self) -> Table {
        (self.tables)().swap_remove(0)
    }

    /// Names of the further tables that it writes.
    pub fn further_tables(&self) -> Vec<&'static str> {
        let tables = (self.tables)();
        tables.iter().skip(1).map(|table| table.name).collect()
    }

    /// True if its table has `removed_by`.
    pub fn may_remove(&self) -> bool {
        self.table().has("removed_by")
    }

    /// True if its table has `edits`: later stages may see another text than this one.
    pub fn may_rewrite(&self) -> bool {
        self.table().has("edits")
    }
}

/// What one unit of a stage's work looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Input files; they become shards.
    Input,
    /// One shard, which becomes one shard.
    Shard,
    /// Narrow columns of all shards; a decision for each row of each shard.
    Corpus,
    /// The documents that the last row-aligned stage kept. Its tables have rows of their own.
    Pool,
}

/// What the rows that a stage removes count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removes {
    /// Removed, by reason.
    Documents,
    /// Duplicates: each is merged into a document that is kept.
    Duplicates,
}

/// A reason in `removed_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// `family.rule`; `<…>` stands for a name from the manifest.
    pub name: &'static str,
    /// When the reason is given.
    pub doc: &'static str,
}

/// A reason with its meaning.
pub(crate) const fn removal(name: &'static str, doc: &'static str) -> Removal {
    Removal { name, doc }
}
