//! A calibration as a run uses it: q of a document from its source, its domain and its score, and
//! the law by which the effective tokens of sources add up.
//!
//! The score is the uncalibrated q. q of a document is the q of the bucket that its score lies in,
//! which is a step function, because q was fitted to buckets and not to documents.

use std::collections::BTreeMap;

use curate_schemas::calibration::{Bucket, Calibration, SCHEMA, Target};
use curate_schemas::stages::quality::{CalibrationCurve, Quality, Unpassed};

/// Why a calibration cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The text is no calibration, or another version of it.
    #[error("{0}")]
    NotACalibration(String),
    /// The buckets of a source and domain do not cover all scores.
    #[error(
        "bucket \"{bucket}\" is missing: no bucket of source \"{source_name}\", domain \"{domain}\" \
         has the scores from {from} to {to}"
    )]
    Gap {
        /// The name of the bucket that is missing, as far as its neighbours tell it.
        bucket: String,
        /// A source of the bucket.
        source_name: String,
        /// The domain.
        domain: String,
        /// The least score without a bucket.
        from: f64,
        /// The end of the scores without a bucket.
        to: f64,
    },
    /// A field holds what no calibration has.
    #[error("{0}")]
    Invalid(String),
    /// The calibration has no such target.
    #[error("no target is called \"{target}\", the file has {known}")]
    NoTarget {
        /// The name that was asked for.
        target: String,
        /// The names of the file.
        known: String,
    },
    /// The calibration has several targets and none was named.
    #[error("the calibration has the targets {0}, and the manifest names none")]
    SeveralTargets(String),
    /// The verdict of the target was not passed.
    #[error("the calibration of target \"{target}\" was not passed: {failed}")]
    Unpassed {
        /// The target.
        target: String,
        /// The required criteria that were not met.
        failed: String,
    },
    /// The losses contradict an ascending q.
    #[error(
        "target \"{target}\" has no isotonic q: the losses contradict the order of the scores in \
         bucket \"{bucket}\""
    )]
    NotIsotonic {
        /// The target.
        target: String,
        /// The first bucket without an isotonic q.
        bucket: String,
    },
}

/// A calibration with the target whose q is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The whole file.
    pub file: Calibration,
    /// The place of the target in the file.
    target: usize,
    curve: CalibrationCurve,
    groups: Vec<Group>,
    /// The place of each group, by source and domain.
    by_member: BTreeMap<String, BTreeMap<String, usize>>,
}

/// The buckets of some sources and domains, by ascending score.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The number of the source under CES, from 0.
    pub part: usize,
    /// The least score of each bucket but the first.
    edges: Vec<f64>,
    /// q of each bucket.
    q: Vec<f64>,
    /// The place of each bucket in the file.
    places: Vec<usize>,
}

impl Group {
    /// q of a document with this score.
    pub fn q(&self, score: f64) -> f64 {
        self.q[self.step(score)]
    }

    /// The place in the file of the bucket that a score lies in.
    pub fn bucket(&self, score: f64) -> usize {
        self.places[self.step(score)]
    }

    fn step(&self, score: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= score)
    }
}

/// Reads a calibration and checks it: the buckets of each source and domain cover all scores, and
/// every target has a worth of every bucket.
///
/// # Errors
/// [`CalibrationError`] says what is wrong, and names the bucket.
pub fn parse(text: &str) -> Result<Calibration, CalibrationError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        CalibrationError::NotACalibration(format!("expected a calibration in JSON, {error}"))
    })?;
    // The version first: a file of another version may differ in any field.
    match value.get("schema").and_then(|schema| schema.as_str()) {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(CalibrationError::NotACalibration(format!(
                "the file has the schema \"{other}\", expected \"{SCHEMA}\""
            )));
        }
        None => {
            return Err(CalibrationError::NotACalibration(format!(
                "expected a file of `curate calibrate`, with the schema \"{SCHEMA}\""
            )));
        }
    }

    // From the text, so that an error has a line.
    let file: Calibration =
        serde_json::from_str(text).map_err(|error| CalibrationError::Invalid(error.to_string()))?;
    check(&file)?;
    Ok(file)
}

/// The calibration that a manifest uses for `target`, or for the target of `[quality]` if it is
/// `None`. `None` if q is uncalibrated.
///
/// # Errors
/// [`CalibrationError`] if the calibration cannot be used.
pub fn chosen(
    quality: &Quality,
    target: Option<&str>,
) -> Result<Option<Calibrated>, CalibrationError> {
    let Some(text) = &quality.calibration_json else {
        return Ok(None);
    };
    let file = parse(text)?;

    let at = place_of(&file, target.or(quality.target.as_deref()))?;
    let verdict = &file.targets[at].verdict;
    if !verdict.passed {
        if quality.calibration_unpassed == Unpassed::Uncalibrated {
            return Ok(None);
        }
        let missed = verdict
            .criteria
            .iter()
            .filter(|criterion| criterion.required && !criterion.met);
        let failed: Vec<String> = missed
            .map(|criterion| format!("{} ({})", criterion.name, criterion.found))
            .collect();
        return Err(CalibrationError::Unpassed {
            target: file.targets[at].name.clone(),
            failed: failed.join(", "),
        });
    }

    let name = &file.targets[at].name;
    let lacks = |bucket: &&Bucket| bucket.worth[name].isotonic.is_none();
    if quality.calibration_curve == CalibrationCurve::Isotonic
        && let Some(bucket) = file.buckets.iter().find(lacks)
    {
        return Err(CalibrationError::NotIsotonic {
            target: name.clone(),
            bucket: bucket.name.clone(),
        });
    }
    Ok(Some(Calibrated::new(file, at, quality.calibration_curve)))
}

/// The calibration that a manifest names, for tables that tell of every target. Its own target is
/// the first one that was passed; `None` if no target was.
///
/// # Errors
/// [`CalibrationError`] if the calibration cannot be read.
pub fn of_every_target(quality: &Quality) -> Result<Option<Calibrated>, CalibrationError> {
    let Some(text) = &quality.calibration_json else {
        return Ok(None);
    };
    let file = parse(text)?;
    let passed = file.targets.iter().position(|target| target.verdict.passed);
    Ok(passed.map(|at| Calibrated::new(file, at, quality.calibration_curve)))
}

/// The place of a target in a calibration: of the one that is named, or of the only one.
///
/// # Errors
/// If there is no such target, or none is named and there are several.
pub fn place_of(file: &Calibration, target: Option<&str>) -> Result<usize, CalibrationError> {
    let known = || {
        let names = file
            .targets
            .iter()
            .map(|target| format!("\"{}\"", target.name));
        names.collect::<Vec<_>>().join(", ")
    };
    match target {
        Some(name) => file
            .targets
            .iter()
            .position(|target| target.name == name)
            .ok_or_else(|| CalibrationError::NoTarget {
                target: name.to_owned(),
                known: known(),
            }),
        None if file.targets.len() == 1 => Ok(0),
        None => Err(CalibrationError::SeveralTargets(known())),
    }
}

impl Calibrated {
    /// The calibration `file` for the target at `target`.
    pub fn new(file: Calibration, target: usize, curve: CalibrationCurve) -> Calibrated {
        let name = &file.targets[target].name;
        let mut groups = Vec::new();
        let mut by_member: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for places in grouped(&file.buckets) {
            let buckets: Vec<&Bucket> = places.iter().map(|&at| &file.buckets[at]).collect();
            for member in &buckets[0].members {
                by_member
                    .entry(member.source.clone())
                    .or_default()
                    .insert(member.domain.clone(), groups.len());
            }
            groups.push(Group {
                part: buckets[0].source,
                edges: buckets[1..].iter().map(|bucket| bucket.from.0).collect(),
                q: buckets
                    .iter()
                    .map(|bucket| q_of(bucket, name, curve))
                    .collect(),
                places,
            });
        }
        Calibrated {
            file,
            target,
            curve,
            groups,
            by_member,
        }
    }

    /// The target whose q is used.
    pub fn target(&self) -> &Target {
        &self.file.targets[self.target]
    }

    /// The targets whose verdict was passed, so that a run may use them.
    pub fn usable_targets(&self) -> impl Iterator<Item = &Target> {
        let targets = self.file.targets.iter();
        targets.filter(|target| target.verdict.passed)
    }

    /// q of a bucket for a target of the file. A target without an isotonic q has its fitted q.
    pub fn q_of(&self, bucket: &Bucket, target: &str) -> f64 {
        q_of(bucket, target, self.curve)
    }

    /// The buckets of a source and domain; `None` if the calibration has not seen them.
    pub fn group(&self, source: &str, domain: &str) -> Option<&Group> {
        let group = self.by_member.get(source)?.get(domain)?;
        Some(&self.groups[*group])
    }
}

/// q of a bucket for a target. A target without an isotonic q has its fitted q.
fn q_of(bucket: &Bucket, target: &str, curve: CalibrationCurve) -> f64 {
    let worth = bucket.worth[target];
    match curve {
        CalibrationCurve::Fitted => worth.q,
        CalibrationCurve::Isotonic => worth.isotonic.unwrap_or(worth.q),
    }
}

/// The places of the buckets of each group, by ascending score. A group has the same members.
fn grouped(buckets: &[Bucket]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, bucket) in buckets.iter().enumerate() {
        let same = |group: &&mut Vec<usize>| buckets[group[0]].members == bucket.members;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    for group in &mut groups {
        group.sort_by(|a, b| buckets[*a].from.0.total_cmp(&buckets[*b].from.0));
    }
    groups
}

/// Checks what the types of a calibration do not say.
fn check(file: &Calibration) -> Result<(), CalibrationError> {
    let invalid = |what: String| Err(CalibrationError::Invalid(what));
    if file.targets.is_empty() || file.buckets.is_empty() {
        return invalid("expected at least one target and one bucket".to_owned());
    }

    // Sources of the law are numbered without a gap, and a list has a place for each.
    let sources = file.buckets.len();
    if let Some(bucket) = file.buckets.iter().find(|bucket| bucket.source >= sources) {
        let (name, source) = (&bucket.name, bucket.source);
        return invalid(format!(
            "bucket \"{name}\": source is {source}, expected less than {sources}"
        ));
    }

    for target in &file.targets {
        let (name, law) = (&target.name, &target.law);
        let rho = law.rho;
        if !(0.05..=1.0).contains(&rho) {
            return invalid(format!(
                "target \"{name}\": rho is {rho}, expected 0.05 to 1"
            ));
        }
        for (what, value) in [("beta", law.beta), ("worth_of_best", law.worth_of_best)] {
            if !(value > 0.0 && value.is_finite()) {
                return invalid(format!(
                    "target \"{name}\": {what} is {value}, expected a number above 0"
                ));
            }
        }
        for bucket in &file.buckets {
            let Some(worth) = bucket.worth.get(&target.name) else {
                return invalid(format!(
                    "bucket \"{}\" has no worth for target \"{}\"",
                    bucket.name, target.name
                ));
            };
            let all = [
                Some(worth.q),
                worth.isotonic,
                Some(worth.low),
                Some(worth.high),
            ];
            for q in all.into_iter().flatten() {
                if !(q > 0.0 && q <= 1.0) {
                    return invalid(format!(
                        "bucket \"{}\": q is {q}, expected above 0 and at most 1",
                        bucket.name
                    ));
                }
            }
        }
        for refit in &target.refits {
            let fits = refit.q.len() == file.buckets.len()
                && refit.q.iter().all(|q| *q > 0.0 && *q <= 1.0)
                && (0.05..=1.0).contains(&refit.rho);
            if !fits {
                return invalid(format!(
                    "target \"{}\": a refit does not fit the buckets",
                    target.name
                ));
            }
        }
    }

    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    for bucket in &file.buckets {
        for member in &bucket.members {
            let part = *parts.entry(&member.source).or_insert(bucket.source);
            if part != bucket.source {
                return invalid(format!(
                    "source \"{}\" belongs to two sources of the law",
                    member.source
                ));
            }
        }
    }

    let mut seen = BTreeMap::new();
    for group in grouped(&file.buckets) {
        check_group(
            &group
                .iter()
                .map(|&at| &file.buckets[at])
                .collect::<Vec<_>>(),
        )?;
        for member in &file.buckets[group[0]].members {
            if let Some(other) = seen.insert(member, group[0]) {
                return invalid(format!(
                    "source \"{}\", domain \"{}\" is in the buckets \"{}\" and \"{}\"",
                    member.source,
                    member.domain,
                    file.buckets[other].name,
                    file.buckets[group[0]].name
                ));
            }
        }
    }
    Ok(())
}

/// Checks that the buckets of a group cover all scores, each score once. `buckets` are in the order
/// of their scores.
fn check_group(buckets: &[&Bucket]) -> Result<(), CalibrationError> {
    let Some(member) = buckets[0].members.first() else {
        let name = &buckets[0].name;
        return Err(CalibrationError::Invalid(format!(
            "bucket \"{name}\" has no members"
        )));
    };
    let gap = |bucket: String, from: f64, to: f64| {
        Err(CalibrationError::Gap {
            bucket,
            source_name: member.source.clone(),
            domain: member.domain.clone(),
            from,
            to,
        })
    };

    let (first, last) = (buckets[0], buckets[buckets.len() - 1]);
    if first.from.0 > 0.0 {
        return gap(neighbour(&first.name, -1), 0.0, first.from.0);
    }
    for pair in buckets.windows(2) {
        let (end, next) = (pair[0].to.0, pair[1].from.0);
        if end < next {
            return gap(neighbour(&pair[0].name, 1), end, next);
        }
        // NaN is refused here as well.
        if end.is_nan() || next.is_nan() || end > next {
            return Err(CalibrationError::Invalid(format!(
                "the buckets \"{}\" and \"{}\" overlap",
                pair[0].name, pair[1].name
            )));
        }
    }
    if last.to.0 <= 1.0 {
        return gap(neighbour(&last.name, 1), last.to.0, f64::INFINITY);
    }
    Ok(())
}

/// The name of the bucket before or after another one. Names end in the number of the bucket.
fn neighbour(name: &str, by: i64) -> String {
    let (label, number) = name.rsplit_once(' ').unwrap_or((name, ""));
    match number.parse::<i64>() {
        Ok(number) => format!("{label} {}", number + by),
        Err(_) => format!("beside {name}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use super::*;
    use curate_schemas::calibration::{
        Bits, Criterion, HeldOut, Law, Member, Proxy, Verdict, Worth,
    };

    fn bucket(name: &str, source: &str, from: f64, to: f64, q: f64) -> Bucket {
        let worth = Worth {
            q,
            low: q / 2.0,
            high: q,
            isotonic: None,
        };
        Bucket {
            name: name.to_owned(),
            members: vec![Member {
                source: source.to_owned(),
                domain: source.to_owned(),
            }],
            source: usize::from(source == "text"),
            from: Bits(from),
            to: Bits(to),
            documents: 10,
            tokens: 1000,
            score: 0.5,
            worth: [("docs".to_owned(), worth)].into(),
        }
    }

    fn file() -> Calibration {
        let target = Target {
            name: "docs".to_owned(),
            text: None,
            valid_tokens: [250_000, 4_000_000],
            law: Law {
                name: "ces_sources".to_owned(),
                e: 1.8,
                beta: 0.25,
                rho: 0.6,
                rho_interval: [0.5, 0.7],
                worth_of_best: 2.0,
                lambda: 0.003,
                delta: 0.003,
            },
            held_out: HeldOut {
                runs: 60,
                error: 0.02,
                error_of_equal_worth: 0.08,
                error_of_score: 0.09,
                ratio: 0.25,
                ratio_interval: [0.2, 0.3],
                tau: Some(0.8),
                iso_r2: Some(0.9),
                sigma_seed: None,
                lack_of_fit: None,
                others: BTreeMap::new(),
            },
            controls: BTreeMap::new(),
            refits: Vec::new(),
            verdict: Verdict {
                passed: true,
                grade: "strong".to_owned(),
                criteria: vec![Criterion {
                    name: "error".to_owned(),
                    met: true,
                    required: true,
                    found: "0.25".to_owned(),
                }],
            },
        };
        Calibration {
            schema: SCHEMA.to_owned(),
            created_by: "curate".to_owned(),
            run: "r".to_owned(),
            score: String::new(),
            proxy: Proxy {
                kind: "ngram".to_owned(),
                order: Some(5),
                tokenizer: None,
            },
            losses: String::new(),
            buckets: vec![
                bucket("html 1", "html", 0.0, 0.5, 0.2),
                bucket("html 2", "html", 0.5, 0.7, 0.4),
                bucket("html 3", "html", 0.7, f64::INFINITY, 0.3),
                bucket("text 1", "text", 0.0, f64::INFINITY, 0.9),
            ],
            targets: vec![target],
        }
    }

    fn quality(file: &Calibration) -> Quality {
        Quality {
            calibration_json: Some(serde_json::to_string(file).expect("plain data")),
            ..Quality::default()
        }
    }

    fn refused(file: &Calibration) -> String {
        chosen(&quality(file), None)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn q_is_that_of_the_bucket_that_the_score_lies_in() {
        let found = chosen(&quality(&file()), None)
            .unwrap()
            .expect("calibrated");
        let html = found.group("html", "html").expect("seen");
        for (score, q) in [
            (0.001, 0.2),
            (0.4999, 0.2),
            (0.5, 0.4),
            (0.7, 0.3),
            (1.0, 0.3),
        ] {
            assert_eq!(html.q(score), q, "{score}");
        }
        assert_eq!((html.bucket(0.6), html.part), (1, 0));
        assert_eq!(found.group("text", "text").expect("seen").part, 1);
        assert!(found.group("html", "cc").is_none() && found.group("web", "html").is_none());
        assert!(chosen(&Quality::default(), None).unwrap().is_none());
    }

    #[test]
    fn a_bucket_that_is_missing_is_named() {
        for (removed, name, range) in [
            (0, "html 1", "from 0 to 0.5"),
            (1, "html 2", "from 0.5 to 0.7"),
            (2, "html 3", "from 0.7 to inf"),
        ] {
            let mut file = file();
            file.buckets.remove(removed);
            let message = refused(&file);
            assert!(
                message.contains(&format!("bucket \"{name}\" is missing")),
                "{message}"
            );
            assert!(message.contains(range), "{message}");
        }
    }

    #[test]
    fn what_no_calibration_has_is_refused() {
        let with = |change: fn(&mut Calibration)| {
            let mut file = file();
            change(&mut file);
            refused(&file)
        };
        assert!(with(|file| file.buckets[1].from = Bits(0.4)).contains("overlap"));
        assert!(with(|file| file.buckets[2].from = Bits(f64::NAN)).contains("overlap"));
        assert!(with(|file| file.buckets.clear()).contains("at least one"));
        assert!(with(|file| file.buckets[0].worth.clear()).contains("no worth for target"));
        assert!(
            with(|file| file.buckets[0].worth.get_mut("docs").unwrap().q = 1.5).contains("1.5")
        );
        assert!(with(|file| file.targets[0].law.rho = 0.0).contains("rho is 0"));
        assert!(with(|file| file.targets[0].law.beta = -1.0).contains("beta is -1"));
        assert!(with(|file| file.buckets[3].source = 1 << 40).contains("less than 4"));
        assert!(with(|file| file.schema = "curate.calibration/1".to_owned()).contains("/1"));
        assert!(
            with(|file| file.buckets[3].members = file.buckets[0].members.clone())
                .contains("two sources of the law")
        );
        assert!(
            parse("{}")
                .unwrap_err()
                .to_string()
                .contains("curate calibrate")
        );
        assert!(parse("[").unwrap_err().to_string().contains("JSON"));
    }

    #[test]
    fn the_target_and_its_verdict_decide() {
        let mut two = file();
        two.targets.push(Target {
            name: "code".to_owned(),
            ..two.targets[0].clone()
        });
        for bucket in &mut two.buckets {
            let worth = bucket.worth["docs"];
            bucket
                .worth
                .insert("code".to_owned(), Worth { q: 0.1, ..worth });
        }
        assert!(refused(&two).contains("\"docs\", \"code\""));
        let code = chosen(&quality(&two), Some("code"))
            .unwrap()
            .expect("calibrated");
        assert_eq!(code.group("text", "text").unwrap().q(0.5), 0.1);
        let other = chosen(&quality(&two), Some("prose")).unwrap_err();
        assert!(other.to_string().contains("no target is called \"prose\""));

        two.targets[0].verdict.passed = false;
        two.targets[0].verdict.criteria[0].met = false;
        let mut quality = quality(&two);
        quality.target = Some("docs".to_owned());
        let message = chosen(&quality, None).unwrap_err().to_string();
        assert!(
            message.contains("was not passed: error (0.25)"),
            "{message}"
        );
        assert!(chosen(&quality, Some("code")).unwrap().is_some());
        quality.calibration_unpassed = Unpassed::Uncalibrated;
        assert!(chosen(&quality, None).unwrap().is_none());

        // Tables tell of the target that was passed.
        let every = of_every_target(&quality).unwrap().expect("one was passed");
        let usable: Vec<&str> = every
            .usable_targets()
            .map(|own| own.name.as_str())
            .collect();
        assert_eq!(usable, ["code"]);
    }

    #[test]
    fn an_isotonic_q_is_used_where_there_is_one() {
        let mut file = file();
        let mut wanted = quality(&file);
        wanted.calibration_curve = CalibrationCurve::Isotonic;
        let message = chosen(&wanted, None).unwrap_err().to_string();
        assert!(message.contains("bucket \"html 1\""), "{message}");

        for bucket in &mut file.buckets {
            bucket.worth.get_mut("docs").unwrap().isotonic = Some(0.35);
        }
        wanted.calibration_json = quality(&file).calibration_json;
        let found = chosen(&wanted, None).unwrap().expect("calibrated");
        assert_eq!(found.group("html", "html").unwrap().q(0.6), 0.35);
    }
}
