//! The recipes of `curate init`: which tables a manifest has behind its sources.

/// Which languages a recipe keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Languages {
    /// The languages of a tenth of the sample or more.
    Main,
    /// All languages, with a label.
    All,
    /// All languages, without a label.
    Off,
}

/// A recipe.
#[derive(Debug)]
pub struct Recipe {
    /// The word on the command line.
    pub name: &'static str,
    /// What it is for, in a sentence without a full stop.
    pub about: &'static str,
    /// Which languages are kept.
    pub languages: Languages,
    /// True if `[filter.gopher_quality]` is a part of it. Its settings depend on the sample.
    pub has_quality: bool,
    /// The other tables, as TOML.
    pub tables: &'static str,
}

/// All recipes. The first is the default for text.
pub const RECIPES: [Recipe; 5] = [
    Recipe {
        name: "quickstart",
        about: "Gopher's rules and deduplication, for a first look",
        languages: Languages::Main,
        has_quality: true,
        tables: QUICKSTART,
    },
    Recipe {
        name: "fineweb",
        about: "FineWeb's rules for pages of the web (Penedo et al. 2024), step by step",
        languages: Languages::Main,
        has_quality: true,
        tables: FINEWEB,
    },
    Recipe {
        name: "code",
        about: "source code: no rules for prose and no languages, but deduplication",
        languages: Languages::Off,
        has_quality: false,
        tables: CODE,
    },
    Recipe {
        name: "multilingual",
        about: "texts in many languages, all of which are kept",
        languages: Languages::All,
        has_quality: true,
        tables: QUICKSTART,
    },
    Recipe {
        name: "dedup",
        about: "deduplication alone",
        languages: Languages::Off,
        has_quality: false,
        tables: DEDUP,
    },
];

/// The names of all recipes.
pub const NAMES: [&str; RECIPES.len()] = {
    let mut names = [""; RECIPES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = RECIPES[at].name;
        at += 1;
    }
    names
};

/// The recipe of a name, or the default.
pub fn recipe(name: Option<&str>, is_code: bool) -> &'static Recipe {
    let name = name.unwrap_or(if is_code { "code" } else { RECIPES[0].name });
    let all: &'static [Recipe] = &RECIPES;
    let found = all.iter().find(|recipe| recipe.name == name);
    found.unwrap_or(&all[0])
}

const QUICKSTART: &str = "\
[filter.gopher_repetition]  # texts that repeat lines, paragraphs or n-grams

[dedup.exact]  # equal texts first, which is cheap

[dedup.near]  # then near-duplicates, each verified before it is removed
min_jaccard = 0.8  # share of common 5-word shingles; more keeps more texts
";

const FINEWEB: &str = "\
[filter.gopher_repetition]  # texts that repeat lines, paragraphs or n-grams

[filter.c4]  # C4's line rules; what follows sees only the lines that are left
terminal_punct = false  # FineWeb leaves this rule out
rewrite = true

[filter.fineweb]  # FineWeb's own rules about lines

[dedup.near]  # near-duplicates, each verified before it is removed
min_jaccard = 0.8  # FineWeb takes an equal band for proof, which 0 does
";

const CODE: &str = "\
[clean]  # without this table the text stays as it is, byte for byte
newlines = true  # files with other line ends become equal

[dedup.exact]  # equal texts first, which is cheap

[dedup.near]  # then near-duplicates, each verified before it is removed
min_jaccard = 0.8  # share of common 5-word shingles; more keeps more texts
";

const DEDUP: &str = "\
[signals]
values = \"none\"  # no rule is used, so that no value is computed

[dedup.exact]  # equal texts first, which is cheap

[dedup.near]  # then near-duplicates, each verified before it is removed
min_jaccard = 0.8  # share of common 5-word shingles; more keeps more texts
prefer = [\"source_priority\", \"bytes\"]  # of duplicates the longest text survives
";
