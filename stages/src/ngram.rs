//! The surprise of an n-gram model at each survivor: values only, no verdict. Perplexity is that of
//! CCNet, over tokens and ends of lines.
//!
//! Cost: the tokenizer reads some 3 MB a CPU second. The model itself scores over two million
//! tokens a second.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float64Builder, StringArray, StringBuilder, StructArray,
    UInt64Builder,
};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::ngram::{NGRAM, Ngram, Normalize};
use curate_scorers::ngram::{
    DocumentScore, LineScore, Model, NgramError, ccnet_normalize, read_arpa,
};
use curate_scorers::tokenizer::{Tokenizer, TokenizerError};
use datafusion_expr::{Expr, col, lit};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Result, StageError};
use crate::function::{Function, fields_of, text};
use crate::plan::{Plan, null_of, without_values};
use crate::resources::Opening;
use crate::reuse::Reuse;
use crate::text::TextSource;
use crate::{Read, ShardStage, Stage};

/// The stage `ngram` with its model if the manifest names one.
pub struct NgramStage {
    scorer: Option<Arc<NgramScorer>>,
    text: TextSource,
}

/// An n-gram model with the tokenizer that makes its tokens.
pub struct NgramScorer {
    model: Model,
    /// `None`: tokens are the words between white space.
    pieces: Option<Pieces>,
    settings: Ngram,
}

/// Prefix of a tokenizer's digest in a model's header.
const LEARNT_WITH: &str = "blake3:";

/// The text in a model's header that names the tokenizer whose tokens the model was learnt from.
pub fn learnt_with(tokenizer: &Tokenizer) -> String {
    format!("{LEARNT_WITH}{}", tokenizer.digest())
}

/// A tokenizer, with the translation of its ids into those of the model.
struct Pieces {
    tokenizer: Tokenizer,
    /// The model's id of each id of the tokenizer; `None` if the model lacks the piece.
    numbers: Vec<Option<u32>>,
}

impl NgramScorer {
    /// A model with its tokenizer. Without a tokenizer, tokens are the words between white space.
    ///
    /// # Errors
    /// [`NgramError::Malformed`] if the model says that it was learnt with another tokenizer, or if
    /// it knows fewer than half of the tokenizer's tokens by name.
    pub fn new(
        model: Model,
        tokenizer: Option<Tokenizer>,
        settings: Ngram,
    ) -> std::result::Result<Self, NgramError> {
        // Only a model of `curate train ngram` names its tokenizer's digest.
        let found = tokenizer.as_ref().map_or(WORDS.to_owned(), learnt_with);
        if model.tokenizer().starts_with(LEARNT_WITH) && model.tokenizer() != found {
            let reason = format!(
                "it was learnt with another tokenizer: {}, not {found}",
                model.tokenizer()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }

        // Names are looked up once here, not once for each token of a text.
        let pieces = tokenizer.map(|tokenizer| {
            let vocabulary = model.vocabulary();
            let numbers = tokenizer
                .pieces()
                .iter()
                .map(|piece| vocabulary.id(piece))
                .collect();
            Pieces { tokenizer, numbers }
        });

        // An ARPA file does not say which tokenizer it was made with. A model of other tokens shows
        // in the names.
        let numbers: &[Option<u32>] = pieces.as_ref().map_or(&[], |pieces| &pieces.numbers);
        let known = numbers.iter().flatten().count();
        if known * 2 < numbers.len() {
            let reason = format!(
                "it knows only {known} of the {} tokens of the tokenizer",
                numbers.len()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }

        Ok(NgramScorer {
            model,
            pieces,
            settings,
        })
    }

    /// The score of a text, summed over its lines; `None` if the text has no tokens.
    fn score(&self, text: &str) -> std::result::Result<Option<DocumentScore>, TokenizerError> {
        let mut ids = Vec::new();
        let lines = text
            .split('\n')
            .map(|line| self.score_line(line, &mut ids))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(DocumentScore::of(lines).filter(|document| document.tokens > 0))
    }

    /// The score of one line. `ids` is overwritten, and spares an allocation for each line.
    fn score_line(
        &self,
        line: &str,
        ids: &mut Vec<u32>,
    ) -> std::result::Result<LineScore, TokenizerError> {
        let normal = match self.settings.normalize {
            Normalize::None => line.into(),
            Normalize::Ccnet => ccnet_normalize(line),
        };
        let Some(Pieces { tokenizer, numbers }) = &self.pieces else {
            return Ok(self.model.score_pieces(&normal));
        };

        ids.clear();
        for id in tokenizer.encode(&normal, None)? {
            let number = numbers.get(id as usize).copied().flatten();
            // A vocabulary is never so large that `u32::MAX` is a token, so the token is unknown.
            ids.push(number.unwrap_or(u32::MAX));
        }
        Ok(self.model.score_line(ids))
    }

    /// The digest of the tokenizer, or [`WORDS`].
    fn tokenizer_digest(&self) -> &str {
        self.pieces
            .as_ref()
            .map_or(WORDS, |pieces| pieces.tokenizer.digest())
    }
}

/// Columns of the table that a score fills.
const COLUMNS: [&str; 7] = [
    "text_hash",
    "model",
    "model_digest",
    "n_tokens",
    "n_unknown",
    "log10_sum",
    "perplexity",
];

/// The value of `score.ngram.tokenizer` for the words between white space.
const WORDS: &str = "words";

impl NgramStage {
    /// The stage as the manifest sets it, with its model. Without `[score.ngram]` every value is
    /// null.
    ///
    /// # Errors
    /// If the model or its tokenizer cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let settings = opening.manifest.score.ngram.clone();
        let scorer = settings
            .map(|settings| open_scorer(opening, settings))
            .transpose()?;
        Ok(NgramStage {
            scorer: scorer.map(Arc::new),
            text: TextSource::before(NGRAM.name, opening.manifest),
        })
    }
}

/// Opens the model. A file of `curate train ngram` is mapped, and its digest is checked. An ARPA
/// file is read into memory.
fn open_scorer(opening: &Opening, settings: Ngram) -> Result<NgramScorer> {
    let wrong = |error: &dyn std::fmt::Display| {
        StageError::manifest(format!("score.ngram.model {}: {error}", settings.model))
    };

    let path = opening.manifest.base.join(&settings.model);
    let model = match path
        .extension()
        .is_some_and(|extension| extension == "arpa")
    {
        true => {
            let file = File::open(&path).map_err(|error| wrong(&error))?;
            read_arpa(BufReader::new(file), &settings.tokenizer)
        }
        false => Model::open(&path).and_then(|model| model.verify().map(|()| model)),
    };
    let model = model.map_err(|error| wrong(&error))?;
    let tokenizer = match settings.tokenizer.as_str() {
        WORDS => None,
        name => Some(opening.tokenizer("score.ngram.tokenizer", name)?),
    };

    NgramScorer::new(model, tokenizer, settings.clone()).map_err(|error| wrong(&error))
}

impl Stage for NgramStage {
    fn spec(&self) -> &'static StageSpec {
        &NGRAM
    }

    fn config(&self) -> Value {
        // `quality` decides which scores remove a document: a changed band scores nothing again.
        let settings = self.scorer.as_ref().map(|scorer| Ngram {
            drop: None,
            ..scorer.settings.clone()
        });
        json!({ "ngram": settings })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let digests = |scorer: &Arc<NgramScorer>| {
            [
                ("model", scorer.model.digest()),
                ("tokenizer", scorer.tokenizer_digest().to_owned()),
            ]
        };
        self.scorer.iter().flat_map(digests).collect()
    }

    fn reads(&self) -> Vec<Read> {
        if self.scorer.is_some() {
            self.text.reads()
        } else {
            Vec::new()
        }
    }
}

impl ShardStage for NgramStage {
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan> {
        let (Some(scorer), Some(reuse)) = (&self.scorer, self.reuse(arriving)) else {
            return without_values(input, NGRAM.name, &COLUMNS);
        };

        let scored = ngram_score(self.text.text(), scorer);
        reuse.fill(input, scored, |column| null_of(NGRAM.name, column))
    }

    fn reuse(&self, _: u64) -> Option<Reuse> {
        self.scorer.as_ref()?;
        // A scored document has a hash of its text even if it has no tokens and so no perplexity.
        let known = col("known_text_hash").is_not_null();
        let parts = ["config", "model", "tokenizer"];
        Some(Reuse::of_text(
            NGRAM.name,
            &self.text,
            &parts,
            &COLUMNS,
            col("reached"),
            known,
        ))
    }
}

/// `ngram_score(text, model digest, tokenizer digest) -> {text_hash, …}`.
fn ngram_score(text_column: Expr, scorer: &Arc<NgramScorer>) -> Expr {
    let output = fields_of(NGRAM.name, &COLUMNS);
    let fields = output.clone();
    let arguments = vec![
        text_column,
        lit(scorer.model.digest()),
        lit(scorer.tokenizer_digest()),
    ];

    let scorer = Arc::clone(scorer);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let columns = arrays(&scorer, text(columns, 0)?)?;
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            columns,
            None,
        )?))
    };
    Function::new("ngram_score", DataType::Struct(output), kernel).call(arguments)
}

/// The scores of texts, as the columns of [`COLUMNS`].
fn arrays(scorer: &NgramScorer, texts: &StringArray) -> Result<Vec<ArrayRef>> {
    let mut hashes = FixedSizeBinaryBuilder::new(16);
    let (mut models, mut digests) = (StringBuilder::new(), StringBuilder::new());
    let (mut tokens, mut unknown) = (UInt64Builder::new(), UInt64Builder::new());
    let (mut sums, mut perplexities) = (Float64Builder::new(), Float64Builder::new());

    let digest = scorer.model.digest();
    for text in texts {
        let text = text.unwrap_or_default();
        let score = scorer.score(text).map_err(StageError::kernel)?;
        hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        models.append_value(&scorer.settings.model);
        digests.append_value(&digest);
        tokens.append_value(score.map_or(0, |score| score.tokens));
        unknown.append_value(score.map_or(0, |score| score.oov));
        sums.append_option(score.map(|score| score.log10_sum));
        perplexities.append_option(score.map(|score| score.perplexity));
    }

    let columns: Vec<ArrayRef> = vec![
        Arc::new(hashes.finish()),
        Arc::new(models.finish()),
        Arc::new(digests.finish()),
        Arc::new(tokens.finish()),
        Arc::new(unknown.finish()),
        Arc::new(sums.finish()),
        Arc::new(perplexities.finish()),
    ];
    Ok(columns)
}
