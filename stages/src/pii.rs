//! Personal data and secrets of each survivor: counts of each kind, and edits that replace the
//! values. The kernel is [`curate_scorers::pii`].
//!
//! An edit holds the span, the kind and the replacement, never the value. The key of pseudonyms is
//! read from a file of its own; stage keys hold a digest of a digest of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Fields};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::pii::{PII, Pii, PiiKind, PiiProfile, PiiReplace};
use curate_scorers::pii::allow::Allowed;
use curate_scorers::pii::replace::{Key, Replacement};
use curate_scorers::pii::{Found, Kind, Profile, Search};
use datafusion_expr::{Expr, col, lit, when};
use serde_json::{Value, json};

use crate::error::Result;
use crate::function::{Function, field, fields_of, text};
use crate::plan::{Plan, if_reached, without_values};
use crate::resources::Opening;
use crate::text::{EditLists, TextSource};
use crate::{Read, ShardStage, Stage, bytes_read};

/// The fewest bytes of a key, so that nobody can guess it.
const LEAST_KEY: usize = 32;

/// Columns of the table that the kernel makes.
const COLUMNS: [&str; 12] = [
    "bytes",
    "edits",
    "found",
    "email",
    "ipv4",
    "ipv6",
    "phone",
    "card",
    "iban",
    "us_ssn",
    "national_id",
    "secret",
];

/// The stage `pii`, with its settings.
pub struct PiiStage {
    /// `None`: nothing is looked for.
    masks: Option<Arc<Masks>>,
    text: TextSource,
}

/// What is looked for, and what is put in its place.
struct Masks {
    settings: Pii,
    search: Search,
    /// `None`: values are counted, and no text changes.
    replacement: Option<Replacement>,
    resources: BTreeMap<&'static str, String>,
}

impl PiiStage {
    /// The stage with the settings of the manifest, its list and its key.
    ///
    /// # Errors
    /// [`crate::error::StageError::Manifest`] if the list or the key cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let settings = opening.manifest.pii.clone();
        let masks = settings.map(|settings| Masks::open(opening, settings));
        Ok(PiiStage {
            masks: masks.transpose()?.map(Arc::new),
            text: TextSource::before(PII.name, opening.manifest),
        })
    }
}

impl Masks {
    fn open(opening: &Opening, settings: Pii) -> Result<Masks> {
        let mut resources = BTreeMap::new();
        let mut allowed = Allowed::default();
        if let Some(name) = &settings.allow {
            let list = opening.list("pii.allow", name)?;
            allowed = Allowed::read(&list.text)
                .map_err(|error| opening.wrong("pii.allow", name, &error.to_string()))?;
            resources.insert("allow", list.digest);
        }

        let mut replacement = None;
        if settings.replace == PiiReplace::Constant {
            replacement = Some(Replacement::Constant);
        } else if let Some(name) = &settings.key_file {
            let key = Key::of_file(&opening.secret("pii.key_file", name, LEAST_KEY)?);
            resources.insert("key", key.digest());
            replacement = Some(Replacement::Pseudonym(key));
        }

        let search = Search {
            profile: match settings.profile {
                PiiProfile::Curate => Profile::Curate,
                PiiProfile::Datatrove => Profile::Datatrove,
                PiiProfile::Dolma => Profile::Dolma,
            },
            // Both lists of kinds have one order.
            kinds: settings
                .kinds
                .iter()
                .map(|kind| Kind::ALL[*kind as usize])
                .collect(),
            documentation: settings.documentation,
            allowed,
        };
        Ok(Masks {
            settings,
            search,
            replacement,
            resources,
        })
    }

    /// The settings in canonical form. Paths are left out: the digests of the files count.
    fn config(&self) -> Value {
        // The order in which the manifest names kinds says nothing.
        let kinds = PiiKind::ALL.into_iter();
        let kinds: Vec<&str> = kinds
            .filter(|kind| self.settings.kinds.contains(kind))
            .map(PiiKind::word)
            .collect();
        json!({
            "kinds": kinds,
            "replace": self.settings.replace,
            "documentation": self.settings.documentation,
            "profile": self.settings.profile,
        })
    }
}

impl Stage for PiiStage {
    fn spec(&self) -> &'static StageSpec {
        &PII
    }

    fn config(&self) -> Value {
        json!({ "pii": self.masks.as_ref().map(|masks| masks.config()) })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let masks = self.masks.as_ref();
        masks
            .map(|masks| masks.resources.clone())
            .unwrap_or_default()
    }

    fn reads(&self) -> Vec<Read> {
        // The stage makes a column `bytes` of its own.
        let before = Read {
            name: "bytes_before".into(),
            ..bytes_read(PII.name)
        };
        let mut reads = vec![before];
        if self.masks.is_some() {
            reads.extend(self.text.reads());
        }
        reads
    }
}

impl ShardStage for PiiStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let Some(masks) = &self.masks else {
            let plan = without_values(input, PII.name, &COLUMNS)?;
            return plan.with_column("bytes", col("bytes_before"));
        };

        // The settings are an argument, so that people see them in the plan.
        let arguments = vec![self.text.text(), lit(self.config().to_string())];
        let mut plan = input.with_column("pii", if_reached(find(arguments, masks))?)?;
        for column in fields().iter() {
            let (name, data_type) = (column.name(), column.data_type().clone());
            plan = plan.with_column(name, field(col("pii"), name, data_type))?;
        }

        // The text of a document that does not reach the stage stays as it is.
        let is_computed = col("bytes").is_not_null();
        let bytes = when(is_computed, col("bytes")).otherwise(col("bytes_before"))?;
        plan.with_column("bytes", bytes)
    }
}

/// The columns that the kernel makes.
fn fields() -> Fields {
    fields_of(PII.name, &COLUMNS)
}

/// The function `pii(text, settings)`, which gives a struct of [`fields`].
fn find(arguments: Vec<Expr>, masks: &Arc<Masks>) -> Expr {
    let masks = Arc::clone(masks);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let mut batch = Batch::default();
        for text in text(columns, 0)? {
            batch.add(&masks, text.unwrap_or_default());
        }
        batch.finish(&masks.settings.kinds)
    };
    Function::new("pii", DataType::Struct(fields()), kernel).call(arguments)
}

/// The values of a batch of documents.
#[derive(Default)]
struct Batch {
    bytes: Vec<u64>,
    edits: EditLists,
    /// Number of values of each kind, a row for each document.
    counts: Vec<[u32; PiiKind::ALL.len()]>,
}

impl Batch {
    /// Adds a document.
    fn add(&mut self, masks: &Masks, text: &str) {
        let mut counts = [0; PiiKind::ALL.len()];
        let mut bytes = text.len();
        for Found { start, end, kind } in masks.search.find(text) {
            counts[kind as usize] += 1;
            if let Some(replacement) = &masks.replacement {
                let put = replacement.of(kind, &text[start..end]);
                bytes = bytes + put.len() - (end - start);
                // A text is shorter than 4 GiB, because its column has 32-bit offsets.
                self.edits.push(
                    start as u32,
                    end as u32,
                    &put,
                    PiiKind::ALL[kind as usize].reason(),
                );
            }
        }

        self.edits.end_row();
        self.bytes.push(bytes as u64);
        self.counts.push(counts);
    }

    /// The struct of [`fields`]. The counts of kinds that were not looked for are null.
    fn finish(self, kinds: &[PiiKind]) -> Result<ArrayRef> {
        let sums = self.counts.iter().map(|counts| counts.iter().sum());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.bytes)),
            self.edits.finish()?,
            Arc::new(UInt32Array::from_iter_values(sums)),
        ];
        for kind in PiiKind::ALL {
            let is_found = kinds.contains(&kind);
            let counts = self.counts.iter();
            let counts = counts.map(|counts| is_found.then_some(counts[kind as usize]));
            columns.push(Arc::new(counts.collect::<UInt32Array>()));
        }
        Ok(Arc::new(StructArray::try_new(fields(), columns, None)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_the_manifest_are_those_of_the_kernel() {
        for (declared, kind) in PiiKind::ALL.into_iter().zip(Kind::ALL) {
            assert_eq!(declared.word().to_uppercase(), kind.name());
            assert_eq!(declared as usize, kind as usize);
        }
        assert_eq!(PiiKind::ALL.len(), Kind::ALL.len());
        assert_eq!(COLUMNS[3..], *PiiKind::WORDS);
    }
}
