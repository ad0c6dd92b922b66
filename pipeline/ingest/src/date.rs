//! Reads dates in the forms that sources write.
//!
//! | form | examples |
//! |---|---|
//! | ISO 8601 and RFC 3339, with or without time and zone | `2020-01-02`, `2020-1-2`, `2020-01-02T03:04:05.6+01:00`, `2020-01-02 03:04 UTC` |
//! | the same with `/` or without separators | `2020/01/02`, `20200102`, `20200102T030405Z`, `20200102030405` |
//! | RFC 2822 and the dates of HTTP | `Thu, 02 Jan 2020 03:04:05 +0100`, `Thu, 02-Jan-20 03:04:05 GMT`, `Thu Jan  2 03:04:05 2020` |
//! | English | `2 January 2020`, `Jan 2, 2020` |
//! | numbers since 1970 | `1577923200` seconds; milliseconds, microseconds and nanoseconds by their size |
//!
//! A time without a zone is taken as UTC. What could mean two days is no date: `01/02/2020`, a zone
//! by a local name, a year or a month alone.
//!
//! The digits of a number tell its unit. Eight digits are `YYYYMMDD` and fourteen are
//! `YYYYMMDDhhmmss`, as in the index of a web crawl. The times in [`SINCE_1970`] have 9 or 10
//! digits in seconds, 12 or 13 in milliseconds, 15 or 16 in microseconds, and 18 or 19 in
//! nanoseconds, so no number has two units. A whole number of 10 or 12 digits that is also
//! `YYYYMMDDhh` or `YYYYMMDDhhmm`, of a year from 1900 to 2099, has two meanings and is no date:
//! `2020010203` is an hour of 2020, or a second of 2034. Smaller numbers are no dates, among them
//! 0, which stands for a missing date more often than for 1970. A number below 0 is a time before
//! 1970.

use std::ops::Range;

use chrono::format::{Parsed, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};

/// The years of a date. Dates outside of them are typing errors, or placeholders such as
/// 0001-01-01 and 9999-12-31.
const YEARS: Range<i32> = 1000..2200;

/// Seconds between 1970 and a time that is given as a number: from 3 March 1973 to the end of 2199,
/// and before 1970 from 31 October 1966 back to 1740.
const SINCE_1970: Range<i128> = 100_000_000..7_258_118_400;

/// Forms of a day.
const DAYS: [&str; 4] = ["%Y-%m-%d", "%Y/%m/%d", "%d %B %Y", "%B %d, %Y"];

/// Forms of a time. A zone may follow.
const TIMES: [&str; 8] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y%m%dT%H%M%S",
    // RFC 2822 with zones that it does not have, and RFC 850.
    "%a, %d %b %Y %H:%M:%S",
    "%A, %d-%b-%y %H:%M:%S",
];

/// The form of C's `asctime`.
const ASCTIME: &str = "%a %b %d %H:%M:%S %Y";
/// The same with a zone before the year.
const ASCTIME_ZONE: &str = "%a %b %d %H:%M:%S %z %Y";

/// Reads a date as microseconds since 1970, UTC. `None` if the text has none of the forms of this
/// module, names a day or a time that does not exist, or is outside of [`YEARS`].
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();

    let micros = match text.parse::<f64>() {
        Ok(number) => of_number(text, number)?,
        Err(_) => of_text(text)?,
    };
    plausible(micros)
}

/// Microseconds since 1970, if their year is in [`YEARS`].
pub fn plausible(micros: i64) -> Option<i64> {
    let year = DateTime::from_timestamp_micros(micros)?.year();
    YEARS.contains(&year).then_some(micros)
}

/// The time that a number means. `text` is the number as it is written, because an integer can have
/// more digits than a float holds.
fn of_number(text: &str, number: f64) -> Option<i64> {
    // Columns of integers with gaps are floats in many tools, so `20200102.0` is a whole number.
    let is_exact = number.fract() == 0.0 && number.abs() < 9e15;
    let whole = text.parse().ok().or(is_exact.then_some(number as i64));

    match whole {
        Some(n @ 10_000_000..=99_999_999) => Some(micros(day(n)?.into())),
        Some(n @ 10_000_000_000_000..=99_999_999_999_999) => {
            let part = |divisor: i64| (n / divisor % 100) as u32;
            let time = NaiveTime::from_hms_opt(part(10_000), part(100), part(1))?;
            Some(micros(day(n / 1_000_000)?.and_time(time)))
        }
        Some(n) if is_hour_or_minute(n) => None,
        Some(n) => {
            let n = i128::from(n);
            let micros = (n * 1_000_000).div_euclid(unit(n.abs())?);
            i64::try_from(micros).ok()
        }
        None => {
            let per_second = unit(number.abs() as i128)?;
            Some((number / per_second as f64 * 1e6).round() as i64)
        }
    }
}

/// The day of a number `YYYYMMDD`.
fn day(number: i64) -> Option<NaiveDate> {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)
}

/// True for `YYYYMMDDhh` and `YYYYMMDDhhmm` of a year from 1900 to 2099. Such a number is also in
/// [`SINCE_1970`].
fn is_hour_or_minute(number: i64) -> bool {
    let (hours, minute) = match number {
        1_900_000_000..=2_099_999_999 => (number, 0),
        190_000_000_000..=209_999_999_999 => (number / 100, number % 100),
        _ => return false,
    };
    day(hours / 100).is_some() && hours % 100 < 24 && minute < 60
}

/// The unit of a number since 1970, as parts of a second. `magnitude` is the number without its
/// sign. `None` if it is in no unit a time of [`SINCE_1970`].
fn unit(magnitude: i128) -> Option<i128> {
    [1, 1_000, 1_000_000, 1_000_000_000]
        .into_iter()
        .find(|per_second| {
            let times = SINCE_1970.start * per_second..SINCE_1970.end * per_second;
            times.contains(&magnitude)
        })
}

/// The time that a text means.
fn of_text(text: &str) -> Option<i64> {
    let with_zone = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_rfc2822(text))
        .or_else(|_| DateTime::parse_from_str(text, ASCTIME_ZONE));
    if let Ok(time) = with_zone {
        return Some(time.timestamp_micros());
    }

    for form in TIMES {
        if let Ok((time, rest)) = NaiveDateTime::parse_and_remainder(text, form)
            && let Some(zone) = zone(rest.trim())
        {
            return Some(micros(time) - zone * 1_000_000);
        }
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, ASCTIME) {
        return Some(micros(time));
    }

    let day = DAYS
        .iter()
        .find_map(|form| NaiveDate::parse_from_str(text, form).ok())?;
    Some(micros(day.into()))
}

/// The seconds east of UTC of a zone such as `Z`, `UTC`, `+01`, `+0100` or `+01:00`; 0 if the text
/// is empty.
fn zone(text: &str) -> Option<i64> {
    if ["", "Z", "UTC", "GMT"]
        .iter()
        .any(|utc| text.eq_ignore_ascii_case(utc))
    {
        return Some(0);
    }

    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, StrftimeItems::new("%#z")).ok()?;
    let offset = parsed.to_fixed_offset().ok()?;
    Some(i64::from(offset.local_minus_utc()))
}

/// Microseconds between 1970 and a time in UTC.
fn micros(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::{parse, plausible};

    /// 2020-01-02, the midnight before.
    const DAY: i64 = 1_577_923_200_000_000;

    #[test]
    fn forms_of_one_day() {
        for text in [
            "2020-01-02",
            "2020-1-2",
            " 2020-01-02\n",
            "2020/01/02",
            "20200102",
            "20200102.0",
            "20200102000000",
            "20200102T000000Z",
            "2 January 2020",
            "January 2, 2020",
            "Jan 2, 2020",
            "2020-01-02T00:00:00Z",
            "2020-01-02t00:00:00z",
            "2020-01-02T00:00Z",
            "2020-01-02 00:00",
            "2020-01-02 00:00:00",
            "2020-01-02 00:00:00 UTC",
            "2020-01-02 00:00:00.000 +0000",
            "2020-01-02T01:00:00+01:00",
            "2020-01-02T01:00:00+0100",
            "2020-01-02T01:00+01",
            "2020-01-01 18:30:00-05:30",
            "1577923200",
            "1577923200.0",
            "1.5779232e9",
            "1577923200000",
            "1577923200000.0",
            "1577923200000000",
            "1577923200000000000",
            "Thu, 02 Jan 2020 00:00:00 +0000",
            "Thu, 02 Jan 2020 00:00:00 GMT",
            "Thu, 02 Jan 2020 00:00:00 UTC",
            "Wed, 1 Jan 2020 19:00:00 EST",
            "2 Jan 2020 00:00 +0000",
            "Thu, 02 Jan 2020 01:00:00 +0100 (CET)",
            "Thursday, 02-Jan-20 00:00:00 GMT",
            "Thu Jan  2 00:00:00 2020",
            "Thu Jan 02 00:00:00 +0000 2020",
        ] {
            assert_eq!(parse(text), Some(DAY), "{text}");
        }
    }

    #[test]
    fn parts_of_a_second_stay() {
        assert_eq!(parse("2020-01-02T00:00:00.25Z"), Some(DAY + 250_000));
        assert_eq!(parse("2020-01-02 00:00:00.000001"), Some(DAY + 1));
        assert_eq!(parse("1577923200.25"), Some(DAY + 250_000));
        assert_eq!(parse("1577923200001"), Some(DAY + 1000));
        assert_eq!(parse("1577923200000001"), Some(DAY + 1));
        assert_eq!(parse("1577923200000001999"), Some(DAY + 1));
        assert_eq!(parse("20130518205400"), parse("2013-05-18T20:54:00Z"));
    }

    #[test]
    fn each_number_has_one_meaning() {
        // The same digits are a second of August 1970.
        assert_eq!(parse("20240131"), parse("2024-01-31"));
        assert_eq!(parse("100000000"), parse("1973-03-03T09:46:40Z"));
        assert_eq!(parse("7258118399"), parse("2199-12-31T23:59:59Z"));
        assert_eq!(parse("100000000000"), parse("1973-03-03T09:46:40Z"));
        assert_eq!(parse("-631152000"), parse("1950-01-01"));
        assert_eq!(parse("-631152000000"), parse("1950-01-01"));
        assert_eq!(parse("2020010224"), parse("2034-01-04T17:57:04Z"));
        assert_eq!(parse("2020130203"), parse("2034-01-06T03:16:43Z"));
        assert_eq!(parse("202001020360"), parse("1976-05-26T23:23:40.360Z"));
        for none in [
            "0",
            "1",
            "-1",
            "2020",
            "202001",
            "99999999",
            "7258118400",
            "99999999999",
            // An hour or a minute by its digits, and a time since 1970.
            "1900010100",
            "2020010203",
            "2020010203.0",
            "2099123123",
            "190001010000",
            "202001020304",
            // The least time of some tools, in seconds and in nanoseconds, and the greatest.
            "-62135596800",
            "-9223372036854775808",
            "9223372036854775807",
            "1e300",
            "NaN",
            "inf",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_day_or_two_is_no_date() {
        for none in [
            "",
            "yesterday",
            "2020-01",
            "2020-02-30",
            "20200230",
            "20201301",
            "20200102246060",
            "2020-01-02T25:00:00Z",
            "2020-01-02T00:00:00+99:00",
            "2020-01-02 03:04 PM",
            "2020-01-02 00:00:00 CET",
            "01/02/2020",
            "Fri, 02 Jan 2020 00:00:00 GMT",
            "Thu, 32 Jan 2020 00:00:00 GMT",
            "0000-00-00",
            "0001-01-01T00:00:00Z",
            "9999-12-31",
            "20-01-02",
            "true",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
        assert_eq!(parse("2020-02-29"), Some(DAY + 58 * 86_400_000_000));
        assert_eq!(parse("1516-01-01"), plausible(-14_326_934_400_000_000));
        assert_eq!(plausible(i64::MAX), None);
        assert_eq!(plausible(i64::MIN), None);
    }
}
