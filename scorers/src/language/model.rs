//! Languages by a fastText model, such as lid.176 (Joulin et al. 2016) or GlotLID (Kargaran et al.
//! 2023). The label of a model becomes an ISO 639-3 code.
//!
//! A text is the mean of its rows to such a model. So each stretch of the sample is read once, and
//! the label of any set of stretches is that of the sum of theirs.

use std::path::Path;

use super::SECOND_SHARE_MIN;
use super::names::{named, renamed};
use super::parts::{Part, Told, is_sure};
use super::sample::Sample;
use super::script::Script;
use crate::fasttext::{Bag, FastTextError, Memory, Model};

/// The start of a label in most models.
const PREFIX: &str = "__label__";

/// Codes of Wikipedia that are codes of other languages in ISO 639-3: Alemannic, and Bihari, whose
/// Wikipedia is in Bhojpuri.
const WIKIPEDIA: [(&str, &str); 2] = [("als", "gsw"), ("bh", "bho")];

/// A fastText model whose labels are languages.
pub struct LanguageModel {
    model: Model,
    digest: String,
    /// The ISO 639-3 code of each label; `None` for a label that is no language.
    codes: Vec<Option<String>>,
}

impl std::fmt::Debug for LanguageModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "FastText {}", self.digest)
    }
}

impl LanguageModel {
    /// Opens the model in a file, and reads the whole file for its digest. The file must not be
    /// changed in place while the model is used.
    ///
    /// # Errors
    /// [`FastTextError`] if the file is not a model, or if none of its labels is a language.
    pub fn open(path: &Path) -> Result<LanguageModel, FastTextError> {
        let model = Model::open(path)?;
        // Codes of two letters show that the labels are those of Wikipedia.
        let is_wikipedia = model.labels().any(|label| main_code(label).len() == 2);
        let codes: Vec<_> = model
            .labels()
            .map(|label| code_of(label, is_wikipedia))
            .collect();

        if codes.iter().all(Option::is_none) {
            return Err(FastTextError::Labels {
                file: path.display().to_string(),
                found: model.label(0).to_owned(),
            });
        }
        Ok(LanguageModel {
            digest: model.digest(),
            model,
            codes,
        })
    }

    /// BLAKE3 of the file, 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The ISO 639-3 codes of all languages that the model may give, in alphabetical order.
    pub fn languages(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = self.codes.iter().flatten().map(|code| &**code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// The parts of `stretches`, which are all in `script`: one, or two in different languages, that
    /// of the whole first.
    pub(super) fn parts(
        &self,
        sample: &Sample,
        script: Script,
        stretches: Vec<usize>,
    ) -> Vec<Part<'_>> {
        let mut reading = Reading::of(self, sample, script, &stretches);
        let all: Vec<usize> = (0..stretches.len()).collect();
        let told = reading.tell(&all);

        let other =
            told.and_then(|whole| reading.other(whole, |own| share(sample, &stretches, own)));
        let split = told
            .zip(other)
            .and_then(|(whole, other)| reading.split([whole.code, other.code]));

        let parts = split.unwrap_or_else(|| vec![(told, all)]);
        parts
            .into_iter()
            .map(|(told, own)| Part {
                script,
                stretches: own.into_iter().map(|at| stretches[at]).collect(),
                told,
            })
            .collect()
    }
}

/// The share of the sample that the stretches at these places of `stretches` have.
fn share(sample: &Sample, stretches: &[usize], own: &[usize]) -> f64 {
    let own: Vec<usize> = own.iter().map(|&at| stretches[at]).collect();
    sample.share(&own)
}

/// The stretches of one script, as the model reads them. Stretches go by their place in `bags`.
struct Reading<'a> {
    model: &'a LanguageModel,
    bags: Vec<Bag>,
    /// The end of a line, which the model expects once in each text.
    end: Bag,
    memory: Memory,
    scores: Vec<f32>,
}

impl<'a> Reading<'a> {
    fn of(
        model: &'a LanguageModel,
        sample: &Sample,
        script: Script,
        stretches: &[usize],
    ) -> Reading<'a> {
        let (mut memory, mut end) = (Memory::default(), Bag::default());
        model.model.read("", &mut memory, &mut end);
        let bags = stretches
            .iter()
            .map(|&i| {
                let mut bag = Bag::default();
                let text = sample.text(script, &[i]);
                model.model.read_part(&text, &mut memory, &mut bag);
                bag
            })
            .collect();

        Reading {
            model,
            bags,
            end,
            memory,
            scores: Vec::new(),
        }
    }

    /// Makes `scores` those of these stretches together.
    fn score(&mut self, own: &[usize]) {
        let mut sum = self.end.clone();
        for &at in own {
            sum.add(&self.bags[at]);
        }
        let model = &self.model.model;
        model.scores(&sum, &mut self.memory, &mut self.scores);
    }

    /// The language of these stretches together. `None` if the label is no language.
    fn tell(&mut self, own: &[usize]) -> Option<Told<'a>> {
        self.score(own);
        let top = self.model.model.top(&self.scores)?;
        let code = self.model.codes[top.label].as_deref()?;
        Some(Told {
            code,
            confidence: f64::from(top.probability).min(1.0),
        })
    }

    /// The language with the most of those stretches that seem to be in another one than the whole,
    /// if they have a share of [`SECOND_SHARE_MIN`] and the model is sure of them together.
    fn other(&mut self, whole: Told, share: impl Fn(&[usize]) -> f64) -> Option<Told<'a>> {
        // One stretch is a little short for a label, so a long text is read in pairs.
        let len = self.bags.len();
        let size = if len > 8 { 2 } else { 1 };
        let mut others: Vec<(&str, Vec<usize>)> = Vec::new();
        for start in (0..len).step_by(size) {
            let pair: Vec<usize> = (start..len.min(start + size)).collect();
            let Some(told) = self.tell(&pair).filter(|told| told.code != whole.code) else {
                continue;
            };
            match others.iter_mut().find(|(code, _)| *code == told.code) {
                Some((_, own)) => own.extend(pair),
                None => others.push((told.code, pair)),
            }
        }

        // Among equals the first wins, so the largest is looked for from the end.
        let largest = others
            .into_iter()
            .rev()
            .max_by(|a, b| share(&a.1).total_cmp(&share(&b.1)));
        let (code, own) = largest.filter(|(_, own)| share(own) >= SECOND_SHARE_MIN)?;
        let told = self.tell(&own).filter(|told| told.code == code);
        told.filter(|told| is_sure(Some(*told)))
    }

    /// The stretches that are rather in the first of two languages, and those rather in the second,
    /// each read anew. `None` if they are not in two languages after all.
    fn split(&mut self, codes: [&str; 2]) -> Option<Vec<(Option<Told<'a>>, Vec<usize>)>> {
        let all: Vec<usize> = (0..self.bags.len()).collect();
        let (first, second): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|&at| {
            self.score(&[at]);
            let [first, second] = codes.map(|code| self.score_of(code));
            first >= second
        });

        let [own, other] = [self.tell(&first), self.tell(&second)];
        match (own, other) {
            (Some(a), Some(b)) if a.code != b.code => Some(vec![(own, first), (other, second)]),
            _ => None,
        }
    }

    /// The highest of the scores of a language. Several labels may have its code, one for each
    /// script.
    fn score_of(&self, code: &str) -> f32 {
        let labels = self.scores.iter().zip(&self.model.codes);
        labels
            .filter(|(_, own)| own.as_deref() == Some(code))
            .map(|(score, _)| *score)
            .fold(f32::NEG_INFINITY, f32::max)
    }
}

/// The code at the start of a label: `de` of `__label__de`, `eng` of `__label__eng_Latn`.
fn main_code(label: &str) -> &str {
    let label = label.strip_prefix(PREFIX).unwrap_or(label);
    label.split(['_', '-']).next().unwrap_or_default()
}

/// The ISO 639-3 code of a label; `None` if the label is no language.
fn code_of(label: &str, is_wikipedia: bool) -> Option<String> {
    let code = main_code(label);
    if let Some((_, code)) = WIKIPEDIA
        .iter()
        .find(|(own, _)| is_wikipedia && *own == code)
    {
        return Some((*code).to_owned());
    }
    if let Some(code) = named(code).map(|(code, _)| code).or_else(|| renamed(code)) {
        return Some(code.to_owned());
    }

    // The table of names has a few hundred languages, and ISO 639-3 has thousands.
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_none = ["und", "mul", "mis", "zxx"].contains(&code);
    (is_code && !is_none).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Identifier, Language, detect};

    const ENGLISH: &str = "She opened the window because the kitchen smelled of burnt toast. The letters \
        should arrive this week, and nobody wanted to cross the old bridge after the rain. ";
    const FRENCH: &str = "Elle ouvrit la fenêtre parce que la cuisine sentait le pain brûlé. Les lettres \
        devraient arriver cette semaine, et personne ne voulait passer le vieux pont. ";
    const UKRAINIAN: &str = "Вона відчинила вікно, бо на кухні пахло підгорілим хлібом. Листи мають прийти \
        цього тижня, і ніхто не хотів переходити старий міст. ";
    const LAO: &str =
        "ສະບາຍດີ ຂອບໃຈ ຂ້ອຍຮັກເຈົ້າ ພາສາລາວ ປະເທດລາວ ເຂົ້າໜຽວ ນ້ຳ ປາ ໄກ່ ຕະຫຼາດ ໂຮງຮຽນ ຄູສອນ ນັກຮຽນ ";

    fn model(name: &str) -> Result<LanguageModel, FastTextError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/fasttext");
        LanguageModel::open(&folder.join(name))
    }

    fn found<'a>(model: &'a LanguageModel, text: &str) -> Language<'a> {
        detect(Identifier::FastText(model), text, &mut String::new())
    }

    #[test]
    fn codes_of_two_letters_and_of_three_are_the_same_languages() {
        for name in ["languages.ftz", "languages.bin"] {
            let model = model(name).expect("the fixture is whole");
            assert_eq!(model.languages(), ["deu", "eng", "fra", "lao", "ukr"]);

            let texts = [ENGLISH, FRENCH, UKRAINIAN, LAO];
            for (text, code) in texts.into_iter().zip(["eng", "fra", "ukr", "lao"]) {
                let language = found(&model, text);
                assert_eq!(
                    (language.code, language.second),
                    (Some(code), None),
                    "{name}"
                );
                assert!(language.confidence > Some(0.5), "{name}: {language:?}");
                assert_eq!(language.share, Some(1.0), "{name}");
            }

            let nothing = found(&model, " 12 -- ");
            assert_eq!((nothing.code, nothing.confidence), (None, Some(0.0)));
        }
    }

    #[test]
    fn a_second_language_is_found_in_the_same_script_and_in_another() {
        let model = model("languages.bin").expect("the fixture is whole");
        for (other, code) in [(FRENCH, "fra"), (UKRAINIAN, "ukr"), (LAO, "lao")] {
            let text = [ENGLISH.repeat(30), other.repeat(12)].concat();
            let language = found(&model, &text);
            let (second, share) = language.second.unzip();
            assert_eq!((language.code, second), (Some("eng"), Some(code)));
            assert!(
                share.is_some_and(|share| (0.1..0.5).contains(&share)),
                "{language:?}"
            );
        }

        // Letters of a script that has no block count as letters, too.
        let text = [LAO.repeat(30), ENGLISH.repeat(8)].concat();
        assert_eq!(found(&model, &text).code, Some("lao"));
    }

    #[test]
    fn a_label_becomes_a_code() {
        let wikipedia = ["de", "als", "bh", "zh", "sh", "iw", "ceb", "hq"];
        let found = wikipedia.map(|code| code_of(&format!("__label__{code}"), true));
        let expected =
            ["deu", "gsw", "bho", "cmn", "hbs", "heb", "ceb"].map(|code| Some(code.to_owned()));
        assert_eq!((&found[..7], &found[7]), (&expected[..], &None));

        let labels = ["als_Latn", "zho_Hans", "xyz_Latn", "und_Latn", "spam", ""];
        let found = labels.map(|label| code_of(&format!("__label__{label}"), false));
        let expected = [Some("als"), Some("cmn"), Some("xyz"), None, None, None];
        assert_eq!(found, expected.map(|code| code.map(str::to_owned)));
    }

    #[test]
    fn a_model_of_other_labels_is_refused() {
        let message = model("quality.bin").expect_err("no language").to_string();
        assert!(
            message.ends_with(
                "none of its labels is a language, expected such as __label__de or \
                 __label__deu_Latn, found __label__lq"
            ),
            "{message}"
        );
    }
}
