//! Sizes such as `64MiB`: reading them into bytes, and showing bytes as a size.

/// Units with their bytes. Among units of one base the larger ones come first, because the first
/// unit that fits is taken. `B`, which ends every other unit, comes last.
const UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Bytes of a size such as `64MiB` or `1.5 GB`, rounded down. `None` if `text` is not a size.
pub(super) fn parse_size(text: &str) -> Option<i128> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?.trim_end(), *bytes)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));

    // Twelve digits before or after the point, times 2^30, are far from an overflow of 128 bits.
    let is_digits = |text: &str| {
        (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }

    // The fraction stays an integer over a power of ten: a float would not be exact.
    let part = fraction.parse::<i128>().ok()? * i128::from(unit)
        / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole.parse::<i128>().ok()? * i128::from(unit) + part)
}

/// A size in the units of [`parse_size`] that `text` most likely means: `8G` is `8GiB`, `64mb` is
/// `64MB`, and `1T` is `1024GiB`. A letter alone is binary, as in Slurm and Docker. `None` for any
/// other text.
pub(super) fn meant_size(text: &str) -> Option<String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number = number.trim_end();
    let times = |factor: u64| number.parse::<u64>().ok()?.checked_mul(factor);

    let size = match unit.to_ascii_lowercase().as_str() {
        "k" | "ki" | "kib" => format!("{number}KiB"),
        "m" | "mi" | "mib" => format!("{number}MiB"),
        "g" | "gi" | "gib" => format!("{number}GiB"),
        "t" | "ti" | "tib" => format!("{}GiB", times(1024)?),
        "kb" => format!("{number}KB"),
        "mb" => format!("{number}MB"),
        "gb" => format!("{number}GB"),
        "tb" => format!("{}GB", times(1000)?),
        _ => return None,
    };
    parse_size(&size).map(|_| size)
}

/// `bytes` in the largest binary unit that divides them.
pub(crate) fn size_text(bytes: u64) -> String {
    // Every unit divides 0, which is shown in bytes.
    let largest = UNITS
        .iter()
        .find(|(_, unit)| unit.is_power_of_two() && bytes != 0 && bytes.is_multiple_of(*unit));
    match largest {
        Some((name, unit)) if *unit > 1 => format!("{}{name}", bytes / unit),
        _ => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_or_decimal_and_may_have_a_fraction() {
        let sizes = [
            ("64MiB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("10MB", 10_000_000),
            ("512 KiB", 512 << 10),
            ("7B", 7),
        ];
        let edges = [
            ("0.1GiB", 107_374_182),
            ("0.0000000001GiB", 0),
            ("3kB", 3000),
            ("999999999999GiB", 999_999_999_999 << 30),
        ];

        for (text, bytes) in sizes.into_iter().chain(edges) {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_none() {
        for text in [
            "",
            "64",
            "MiB",
            "-1MiB",
            "1e3MiB",
            "1.MiB",
            ".5MiB",
            "1_000B",
            "64mib",
            "64 TiB",
            "1..5MB",
            "9999999999999B",
            "１MB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_of_another_program_is_understood() {
        for (text, size) in [
            ("8G", "8GiB"),
            ("8g", "8GiB"),
            ("64 mb", "64MB"),
            ("1.5gib", "1.5GiB"),
            ("512Ki", "512KiB"),
            ("2T", "2048GiB"),
            ("2tb", "2000GB"),
        ] {
            assert_eq!(meant_size(text).as_deref(), Some(size), "{text}");
        }
        for text in [
            "", "8", "G", "-1G", "1 zb", "0.5T", "1,5GB", "64MB/s", "eight",
        ] {
            assert_eq!(meant_size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_unit_they_are_whole_in() {
        for (bytes, text) in [
            (1 << 30, "1GiB"),
            (3 << 29, "1536MiB"),
            (1025, "1025B"),
            (0, "0B"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
