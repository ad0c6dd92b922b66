//! The parts of a sample that are in one language.

use whatlang::{Detector, Lang};

use super::sample::Sample;
use super::script::Script;
use super::{Identifier, SECOND_CONFIDENCE_MIN, SECOND_SHARE_MIN};

/// A language, and the confidence in it, in \[0, 1\].
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) code: &'a str,
    pub(super) confidence: f64,
}

/// Stretches of a sample in one script and one language.
pub(super) struct Part<'a> {
    pub(super) script: Script,
    /// The numbers of the stretches, in ascending order.
    pub(super) stretches: Vec<usize>,
    /// `None` if the engine knows no language of the script.
    pub(super) told: Option<Told<'a>>,
}

impl Part<'_> {
    /// True if the model is sure of the language of this part, or else `whatlang`, whichever the
    /// engine is.
    pub(super) fn is_sure(&self, engine: Identifier, sample: &Sample) -> bool {
        let by_script = self.script == Script::Han || self.script.language().is_some();
        let told = match engine {
            Identifier::Whichlang if !by_script => {
                whatlang(&sample.text(self.script, &self.stretches))
            }
            _ => self.told,
        };
        is_sure(told)
    }
}

pub(super) fn is_sure(told: Option<Told>) -> bool {
    told.is_some_and(|told| told.confidence >= SECOND_CONFIDENCE_MIN)
}

/// The parts of `stretches`, which are all in `script`: one, or two in different languages, that of
/// the whole first.
pub(super) fn of<'a>(
    engine: Identifier<'a>,
    sample: &Sample,
    script: Script,
    stretches: Vec<usize>,
) -> Vec<Part<'a>> {
    if let Identifier::FastText(model) = engine {
        return model.parts(sample, script, stretches);
    }
    if script == Script::Han {
        return chinese_and_japanese(sample, stretches);
    }

    let (whole, other) = match (engine, script) {
        (_, Script::Latin) => latin(engine, sample, &stretches),
        (Identifier::Whatlang, _) if script.language().is_none() => {
            thirds(sample, script, &stretches)
        }
        _ => (tell(engine, sample, script, &stretches), Vec::new()),
    };

    let two = whole.filter(|_| sample.share(&other) >= SECOND_SHARE_MIN);
    two.and_then(|whole| split(engine, sample, script, &stretches, whole, &other))
        .unwrap_or_else(|| {
            vec![Part {
                script,
                stretches,
                told: whole,
            }]
        })
}

/// Two parts: the stretches that are rather in the language of the `whole`, and those that are
/// rather in the language of `other`. `None` if the two languages are the same or not sure.
fn split<'a>(
    engine: Identifier<'a>,
    sample: &Sample,
    script: Script,
    stretches: &[usize],
    whole: Told,
    other: &[usize],
) -> Option<Vec<Part<'a>>> {
    let second = whatlang(&sample.text(script, other));
    let second = second.filter(|second| is_sure(Some(*second)) && second.code != whole.code)?;

    let (own, other) = rather(sample, script, stretches, [whole.code, second.code]);

    // Each part is read anew, because a text in two languages can look like one in a third.
    let parts = [own, other].map(|stretches| Part {
        script,
        told: tell(engine, sample, script, &stretches),
        stretches,
    });
    match parts.each_ref().map(|part| part.told) {
        [Some(own), Some(other)] if own.code != other.code => Some(Vec::from(parts)),
        _ => None,
    }
}

/// The stretches that are rather in the first of two languages, and those rather in the second.
fn rather(
    sample: &Sample,
    script: Script,
    stretches: &[usize],
    codes: [&str; 2],
) -> (Vec<usize>, Vec<usize>) {
    stretches.iter().partition(|&&i| {
        let told = whatlang_among(codes, &sample.text(script, &[i]));
        told.is_none_or(|told| told.code == codes[0])
    })
}

/// The stretches in Chinese and those in Japanese.
fn chinese_and_japanese(sample: &Sample, stretches: Vec<usize>) -> Vec<Part<'static>> {
    let told = |stretches: &[usize]| {
        let (code, confidence) = sample.scripts(stretches).chinese_or_japanese();
        Told { code, confidence }
    };

    let (chinese, japanese): (Vec<usize>, Vec<usize>) = stretches
        .into_iter()
        .partition(|&i| told(&[i]).code == "cmn");
    [chinese, japanese]
        .into_iter()
        .filter(|stretches| !stretches.is_empty())
        .map(|stretches| Part {
            script: Script::Han,
            told: Some(told(&stretches)),
            stretches,
        })
        .collect()
}

/// The language of stretches in Latin script, and those stretches that seem to be in another one.
fn latin(
    engine: Identifier,
    sample: &Sample,
    stretches: &[usize],
) -> (Option<Told<'static>>, Vec<usize>) {
    let text = |stretches: &[usize]| sample.text(Script::Latin, stretches);

    // A cheap sign of the language. It differs between most languages, even those that `whichlang`
    // does not know. One stretch is a little short for it, so a long text is read in pairs.
    let mut signs: Vec<(&'static str, Vec<usize>)> = Vec::new();
    for pair in stretches.chunks(if stretches.len() > 8 { 2 } else { 1 }) {
        let sign = whichlang(&text(pair));
        match signs.iter_mut().find(|(code, _)| *code == sign) {
            Some((_, own)) => own.extend(pair),
            None => signs.push((sign, pair.to_vec())),
        }
    }

    let (major, own) = signs
        .iter()
        .max_by_key(|(_, own)| sample.bytes(own))
        .map_or(("", &[][..]), |(sign, own)| (*sign, &own[..]));
    let is_most = 2 * sample.bytes(own) > sample.bytes(stretches);

    let whole = match engine {
        Identifier::Whichlang if is_most => Some(sure(major)),
        _ => tell(engine, sample, Script::Latin, stretches),
    };
    let Some(mut whole) = whole else {
        return (None, Vec::new());
    };

    // `whatlang` asks which trigrams a text has, hardly how often, so a few sentences can sway a
    // whole that repeats itself. Of two languages that `whichlang` knows, it is not so misled.
    if major != whole.code && is_most && knows(Identifier::Whichlang, whole.code) {
        let rather = rather(sample, Script::Latin, own, [major, whole.code]).0;
        let told = tell(engine, sample, Script::Latin, &rather);
        if let Some(told) = told.filter(|told| told.code == major) {
            whole = told;
        }
    }

    let mut other = Vec::new();
    for (sign, own) in signs {
        if sign == whole.code || sample.share(&own) < SECOND_SHARE_MIN {
            continue;
        }

        let told = whatlang_among([whole.code, sign], &text(&ends(&own)));
        if is_sure(told) && told.is_some_and(|told| told.code == sign) {
            other.extend(own);
        }
    }
    other.sort_unstable();
    (Some(whole), other)
}

/// The first two and the last two of many stretches. They are enough for a comparison of two
/// languages, and cost less than all.
fn ends(stretches: &[usize]) -> Vec<usize> {
    match *stretches {
        [a, b, .., y, z] => vec![a, b, y, z],
        _ => stretches.to_vec(),
    }
}

/// The language of stretches in another script of several languages by `whatlang`, and those
/// stretches that seem to be in another one.
fn thirds(
    sample: &Sample,
    script: Script,
    stretches: &[usize],
) -> (Option<Told<'static>>, Vec<usize>) {
    let tell = |stretches: &[usize]| whatlang(&sample.text(script, stretches));

    // A text of which `whatlang` is sure is not read again. That would cost as much as the label.
    let whole = tell(stretches);
    let unsure = whole.filter(|whole| stretches.len() >= 3 && whole.confidence < 1.0);
    let Some(Told { code, .. }) = unsure else {
        return (whole, Vec::new());
    };

    let other = stretches
        .chunks(stretches.len().div_ceil(3))
        .filter(|third| tell(third).is_some_and(|told| is_sure(Some(told)) && told.code != code))
        .flatten();
    (whole, other.copied().collect())
}

/// The language of stretches in one script, other than Han, by `engine`.
fn tell(
    engine: Identifier,
    sample: &Sample,
    script: Script,
    stretches: &[usize],
) -> Option<Told<'static>> {
    if let Some(code) = script.language() {
        return knows(engine, code).then(|| sure(code));
    }

    match (engine, script) {
        (Identifier::Whatlang, _) => whatlang(&sample.text(script, stretches)),
        (_, Script::Latin) => Some(sure(whichlang(&sample.text(script, stretches)))),
        (_, Script::Cyrillic) => Some(sure("rus")),
        (_, Script::Arabic) => Some(sure("ara")),
        (_, Script::Devanagari) => Some(sure("hin")),
        _ => None,
    }
}

fn knows(engine: Identifier, code: &str) -> bool {
    engine.languages().binary_search(&code).is_ok()
}

fn sure(code: &'static str) -> Told<'static> {
    Told {
        code,
        confidence: 1.0,
    }
}

fn whatlang(text: &str) -> Option<Told<'static>> {
    told(&Detector::new(), text)
}

/// The likelier of two languages. `None` if the text is in the script of neither.
fn whatlang_among(codes: [&str; 2], text: &str) -> Option<Told<'static>> {
    let list = codes.into_iter().filter_map(Lang::from_code).collect();
    told(&Detector::with_allowlist(list), text)
}

fn told(detector: &Detector, text: &str) -> Option<Told<'static>> {
    detector.detect(text).map(|info| Told {
        code: info.lang().code(),
        confidence: info.confidence(),
    })
}

fn whichlang(text: &str) -> &'static str {
    whichlang::detect_language(text).three_letter_code()
}
