//! The constants of the loss curve that a person names: a published fit, or a JSON file of a fit of
//! their own.

use anyhow::{Result, anyhow};
use curate_schemas::stages::mixtures::Budget;
use curate_scorers::loss::{LossLaw, UserConstants, law};
use serde_json::Value;

/// What such a file may hold.
const KEYS: [&str; 6] = ["e", "a", "b", "alpha", "beta", "covariance"];

/// The law of a JSON object with e, a, b, alpha, beta and perhaps their covariance, five rows of
/// five in that order.
///
/// # Errors
/// What is wrong with it.
pub fn from_json(bytes: &[u8]) -> Result<LossLaw, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let object = json.as_object().ok_or("expected an object")?;
    // A misspelt covariance would go without a word, and its interval with it.
    if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!(
            "unknown key {unknown:?}, expected {}",
            KEYS.join(", ")
        ));
    }
    let number = |key: &str| {
        json[key]
            .as_f64()
            .ok_or_else(|| format!("{key} is no number"))
    };
    let covariance = match &json["covariance"] {
        Value::Null => None,
        rows => Some(
            serde_json::from_value(rows.clone()).map_err(|error| format!("covariance: {error}"))?,
        ),
    };
    let user = UserConstants {
        e: number("e")?,
        a: number("a")?,
        b: number("b")?,
        alpha: number("alpha")?,
        beta: number("beta")?,
        covariance,
    };
    LossLaw::try_from(user).map_err(|error| error.to_string())
}

/// The law that a manifest's budget names.
///
/// # Errors
/// If there is none: a manifest that was loaded has one, a run's own copy may have been edited.
pub fn of_budget(budget: &Budget) -> Result<LossLaw> {
    let wrong = |what: String| anyhow!("budget.constants {}: {what}", budget.constants);
    match &budget.constants_json {
        Some(json) => from_json(json.as_bytes()).map_err(wrong),
        None => law(&budget.constants)
            .copied()
            .ok_or_else(|| wrong("no law has this name".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28}"#;

    #[test]
    fn a_file_is_the_law_that_it_spells_out() {
        let own = from_json(OWN.as_bytes()).expect("constants");
        let printed = law("hoffmann2022_rounded").expect("a law");
        assert_eq!(own.loss(7e10, 1.4e12), printed.loss(7e10, 1.4e12));
        assert!(own.delta_loss_interval(1e11, 2e11).is_none());
        let covariance = r#"}, "covariance": [[0,0,0,0,0],[0,0,0,0,0],[0,0,100,0,0],[0,0,0,0,0],[0,0,0,0,0.0001]]}"#;
        let with = from_json(
            OWN.replace('}', covariance.trim_start_matches('}'))
                .as_bytes(),
        )
        .expect("a covariance");
        let interval = with.delta_loss_interval(1e11, 2e11).expect("it has errors");
        assert!(
            interval.low < interval.value
                && interval.value < interval.high
                && !interval.independent
        );
    }

    #[test]
    fn what_is_no_law_says_why() {
        let wrong =
            |from: &str, to: &str| from_json(OWN.replace(from, to).as_bytes()).expect_err("no law");
        assert_eq!(wrong("\"a\": 406.4, ", ""), "a is no number");
        assert_eq!(wrong("406.4", "\"406.4\""), "a is no number");
        assert!(wrong("406.4", "-1").contains("constant a is -1"));
        assert!(
            wrong("0.28}", "0.28, \"covarience\": []}")
                .starts_with("unknown key \"covarience\", expected e, a, ")
        );
        assert!(wrong("0.28}", "0.28, \"covariance\": [[1]]}").starts_with("covariance: "));
        assert!(wrong("}", "").starts_with("EOF while parsing"));
        assert_eq!(
            from_json(b"[]").expect_err("no object"),
            "expected an object"
        );
    }
}
