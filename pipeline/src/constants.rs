//! The constants of a loss law. They come from a published fit by its name, or from a JSON file
//! with a fit of one's own.

use anyhow::{Result, anyhow};
use curate_schemas::stages::mixtures::Budget;
use curate_scorers::loss::{LossLaw, UserConstants, law};
use serde_json::Value;

/// The keys that a file of constants may have.
const KEYS: [&str; 6] = ["e", "a", "b", "alpha", "beta", "covariance"];

/// The law of a JSON object with the numbers e, a, b, alpha and beta. Their covariance is optional,
/// as five rows of five numbers in that order.
///
/// # Errors
/// A message that says what is wrong with the JSON or with the constants.
pub fn from_json(bytes: &[u8]) -> Result<LossLaw, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let object = json.as_object().ok_or("expected an object")?;

    // Without this check, a misspelt covariance would be ignored and there would be no interval.
    if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!(
            "unknown key {unknown:?}, expected {}",
            KEYS.join(", ")
        ));
    }

    // A missing key reads as null, so it is refused here too.
    let number = |key: &str| {
        json[key]
            .as_f64()
            .ok_or_else(|| format!("{key} is not a number"))
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

/// The law that the budget of a manifest names.
///
/// # Errors
/// If the name or the constants are not valid. A loaded manifest was checked, but the copy of the
/// manifest in a run directory can be edited.
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
        assert_eq!(wrong("\"a\": 406.4, ", ""), "a is not a number");
        assert_eq!(wrong("406.4", "\"406.4\""), "a is not a number");
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
