//! Numbers as a person reads them. Each stands in a `data` element whose value is the exact number,
//! so that a copy, a script or a test gets all its digits.
//!
//! A number that is not finite is shown as `–` and has an empty value.

use curate_formats::numbers::grouped;
use maud::{Markup, html};

/// A narrow space that does not break: between a number and its unit.
const THIN: char = '\u{202f}';
/// The sign of a number that does not exist, such as a share of nothing.
pub const NONE: &str = "–";
/// The least number that is shown with a suffix even in tables. Below it every digit is shown.
const LONG: u64 = 10_000_000_000;

/// A count with all its digits in groups. From 10^10 on, four digits and a suffix.
pub fn count(n: u64) -> Markup {
    let shown = match n < LONG {
        true => grouped(n),
        false => rounded(n as f64, 4),
    };
    html! { data value=(n) { (shown) } }
}

/// A count in a sentence: three digits with K, M, B or T.
pub fn about(n: f64) -> Markup {
    exactly(n, rounded(n, 3))
}

/// A number of bytes with a decimal unit.
pub fn bytes(n: u64) -> Markup {
    html! { data value=(n) { (size(n as f64)) } }
}

/// A share of a whole. A share of nothing does not exist.
pub fn share(part: u64, whole: u64) -> Markup {
    match whole {
        0 => none(),
        _ => ratio(part as f64 / whole as f64),
    }
}

/// A ratio in per cent with one digit. What is not 0 is not shown as 0, and `100 %` is everything.
pub fn ratio(ratio: f64) -> Markup {
    exactly(ratio, percent(ratio))
}

/// A number with a fixed number of digits after the point. Without digits it is shown as a count.
pub fn real(x: f64, digits: usize) -> Markup {
    let shown = match digits {
        0 if x >= 0.0 => grouped(x.round() as u64),
        _ => format!("{:.digits$}", positive_zero(x)),
    };
    exactly(x, shown)
}

/// A number near a threshold: four significant digits, or as many as show on which side it lies.
pub fn near(x: f64, threshold: f64) -> Markup {
    if x.fract() == 0.0 || x == threshold {
        return plain(x);
    }
    let shown = (4..17).map(|significant| digits(x, significant));
    let parted = |shown: &String| {
        let shown = shown.parse::<f64>();
        shown.is_ok_and(|shown| shown != threshold && (shown < threshold) == (x < threshold))
    };
    match shown.into_iter().find(parted) {
        Some(shown) => exactly(x, shown),
        None => plain(x),
    }
}

/// A round number, such as a setting or a tick of an axis: at most three digits, without zeros at
/// the end.
pub fn round(n: f64) -> Markup {
    exactly(n, trimmed(n))
}

/// A round number as text.
pub fn trimmed(n: f64) -> String {
    let shown = rounded(n, 3);
    let (number, unit) = shown.split_once(THIN).unwrap_or((&shown, ""));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    match unit {
        "" => number.to_owned(),
        unit => format!("{number}{THIN}{unit}"),
    }
}

/// A number with its sign.
pub fn signed(x: f64, digits: usize) -> Markup {
    let shown = format!("{:+.digits$}", positive_zero(x)).replace('-', "−");
    exactly(x, shown)
}

/// A number with as many digits as it has, such as a threshold.
pub fn plain(x: f64) -> Markup {
    exactly(x, format!("{}", positive_zero(x)))
}

/// A span of time, in the unit that fits.
pub fn seconds(s: f64) -> Markup {
    let shown = match s {
        s if s < 0.001 => format!("<1{THIN}ms"),
        s if s < 1.0 => format!("{:.0}{THIN}ms", s * 1e3),
        s if s < 120.0 => format!("{}{THIN}s", digits(s, 3)),
        s if s < 7200.0 => format!("{}{THIN}min", digits(s / 60.0, 3)),
        s => format!("{}{THIN}h", digits(s / 3600.0, 3)),
    };
    exactly(s, shown)
}

/// The sign of a number that does not exist.
pub fn none() -> Markup {
    html! { data value="" { (NONE) } }
}

/// A number as it is shown, with its exact value beside it.
fn exactly(x: f64, shown: String) -> Markup {
    match x.is_finite() {
        true => html! { data value=(positive_zero(x)) { (shown) } },
        false => none(),
    }
}

/// A ratio in per cent, as text.
pub fn percent(ratio: f64) -> String {
    let shown = match ratio * 100.0 {
        0.0 => "0".to_owned(),
        p if p > 0.0 && p < 0.05 => "<0.1".to_owned(),
        p if (99.95..100.0).contains(&p) => ">99.9".to_owned(),
        100.0 => "100".to_owned(),
        p => format!("{p:.1}"),
    };
    format!("{shown}{THIN}%")
}

/// A number with `digits` significant digits and a suffix of thousands. Whole numbers below a
/// thousand have all their digits.
pub fn rounded(n: f64, significant: usize) -> String {
    const UNITS: [(f64, &str); 4] = [(1e3, "K"), (1e6, "M"), (1e9, "B"), (1e12, "T")];
    let n = positive_zero(n);
    if n.abs() < 1000.0 && n.fract() == 0.0 {
        return format!("{n}");
    }

    // A number that rounds up to a thousand of a unit belongs to the next unit.
    let least = 1.0 - 0.5 * 10f64.powi(-(significant as i32));
    let unit = UNITS.iter().rev().find(|(unit, _)| n.abs() >= unit * least);
    match unit {
        Some((unit, suffix)) => format!("{}{THIN}{suffix}", digits(n / unit, significant)),
        None => digits(n, significant),
    }
}

/// A number of bytes with a decimal unit, as text.
pub fn size(n: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")];
    match UNITS.iter().rev().find(|(unit, _)| n >= unit * 0.9995) {
        Some((unit, name)) => format!("{}{THIN}{name}", digits(n / unit, 3)),
        None => format!("{n:.0}{THIN}B"),
    }
}

/// A number with `significant` significant digits, without an exponent.
fn digits(x: f64, significant: usize) -> String {
    let whole = match x.abs() {
        x if x < 10.0 => 1,
        x if x < 100.0 => 2,
        x if x < 1000.0 => 3,
        _ => 4,
    };
    format!("{x:.*}", significant.saturating_sub(whole))
}

/// A number whose zero has no sign.
fn positive_zero(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_say_nothing_untrue() {
        let shown = [0.0, 1e-9, 0.0004, 0.0006, 0.5, 0.9996, 1.0].map(percent);
        let expected = ["0", "<0.1", "<0.1", "0.1", "50.0", ">99.9", "100"];
        assert_eq!(shown, expected.map(|shown| format!("{shown}\u{202f}%")));
        assert_eq!(
            share(1, 0).into_string(),
            "<data value=\"\">–</data>",
            "a share of nothing"
        );
    }

    #[test]
    fn rounding_moves_to_the_next_unit() {
        let shown = [0.0, 999.0, 999.6, 1234.0, 999_600.0, 3.7e12].map(|n| rounded(n, 3));
        assert_eq!(
            shown.each_ref().map(|shown| shown.replace('\u{202f}', " ")),
            ["0", "999", "1.00 K", "1.23 K", "1.00 M", "3.70 T"]
        );
        assert_eq!(
            [0.2, 100.0, 1e4, 1.5e12].map(|n| trimmed(n).replace('\u{202f}', " ")),
            ["0.2", "100", "10 K", "1.5 T"]
        );
        assert_eq!(
            [0.69891932, 0.70000001, 0.7, 0.5].map(|x| near(x, 0.7).into_string()),
            ["0.699", "0.70000001", "0.7", "0.500"].map(|shown| {
                let value = match shown {
                    "0.699" => "0.69891932",
                    "0.500" => "0.5",
                    other => other,
                };
                format!("<data value=\"{value}\">{shown}</data>")
            })
        );
        assert_eq!(size(999_960.0), "1.00\u{202f}MB");
    }

    #[test]
    fn what_is_no_number_is_said_so() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(real(x, 4).into_string(), none().into_string());
            assert_eq!(about(x).into_string(), none().into_string());
        }
        assert_eq!(
            signed(-0.0, 2).into_string(),
            "<data value=\"0\">+0.00</data>"
        );
        assert_eq!(
            count(12_345_678_901).into_string(),
            "<data value=\"12345678901\">12.35\u{202f}B</data>"
        );
    }
}
