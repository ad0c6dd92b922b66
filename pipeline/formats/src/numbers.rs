//! Numbers in a form that people can read easily.

/// The digits of `n` in groups of three. For example, 1234567 is `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes with a unit in which it does not look like zero: `812 bytes`, `3.4 kB`,
/// `64.0 MB`, `1.5 GB`. The units are powers of 1000.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => counted(bytes, "byte"),
    }
}

/// A number of things with their name, in the plural unless the number is 1: `1 shard`, `3 shards`.
/// The plural of `thing` must end with `s`.
pub fn counted(n: u64, thing: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_not_zero_unless_it_is() {
        assert_eq!(
            [
                "0 bytes",
                "1 byte",
                "999 bytes",
                "1.0 kB",
                "20.5 kB",
                "64.0 MB",
                "1.5 GB"
            ],
            [0, 1, 999, 1000, 20_480, 64_000_000, 1_500_000_000]
                .map(size)
                .each_ref()
                .map(String::as_str)
        );
    }

    #[test]
    fn one_thing_is_singular() {
        assert_eq!(
            ["0 shards", "1 shard", "2 shards"],
            [0, 1, 2]
                .map(|n| counted(n, "shard"))
                .each_ref()
                .map(String::as_str)
        );
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567]
                .map(grouped)
                .each_ref()
                .map(String::as_str)
        );
    }
}
