//! Reads dates in the forms that sources write.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Reads a date as microseconds since 1970, UTC. The forms are `2020-01-02`, `2020-01-02 03:04:05`,
/// RFC 3339, RFC 2822 and Unix seconds. A time without a zone is taken as UTC. `None` if the text
/// has none of the forms.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();

    if let Ok(time) =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text))
    {
        return Some(time.timestamp_micros());
    }

    // A shorter number is more likely a year or a day than a time: nine digits begin in 1973. The
    // upper bound is in 2096 and refuses milliseconds.
    if let Ok(seconds) = text.parse::<f64>() {
        let plausible = (0.0..4e9).contains(&seconds) && text.len() >= 9;
        return plausible.then_some((seconds * 1e6) as i64);
    }

    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }

    let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()?
        .and_hms_opt(0, 0, 0)?;
    Some(midnight.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn common_forms() {
        let day = Some(1_577_923_200_000_000);
        assert_eq!(parse("2020-01-02"), day);
        assert_eq!(parse("2020-01-02T00:00:00Z"), day);
        assert_eq!(parse("2020-01-02T01:00:00+01:00"), day);
        assert_eq!(parse("2020-01-02 00:00:00"), day);
        assert_eq!(parse("1577923200"), day);
        assert_eq!(parse("Thu, 02 Jan 2020 00:00:00 +0000"), day);
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("2020"), None);
        assert_eq!(parse(""), None);
    }
}
