//! Licences in the form that the header of a dataset card may have.
//!
//! The Hub takes the identifiers of its own list (hf.co/docs/hub/repositories-licenses), or `other`
//! with a `license_name` of lower-case letters, digits, `-` and `.` (`datasetcard.md` in
//! huggingface/hub-docs). If the sources have several licences, the header says `other` too,
//! because a list of licences would mean that a reader may choose one.

use std::collections::BTreeSet;

/// The Hub's identifiers of licences for data, texts and code, and `other` and `unknown`. Sorted.
#[rustfmt::skip]
const HUB: &[&str] = &[
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda",
    "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2",
    "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1",
    "osl-3.0", "other", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
];

/// Identifiers of SPDX that the Hub spells in another way: SPDX first, the Hub second.
const SPDX: &[(&str, &str)] = &[
    ("odbl-1.0", "odbl"),
    ("odc-by-1.0", "odc-by"),
    ("pddl-1.0", "pddl"),
    ("gfdl-1.2", "gfdl"),
    ("gfdl-1.3", "gfdl"),
];

/// The values of `license` and `license_name` for sources with these licences, where `None` is a
/// source without a stated licence. Several licences, or one that the Hub does not list, are
/// `other` with a `license_name`. The result is `None` if no source states a licence.
pub fn header(stated: &[Option<&str>]) -> Option<(String, Option<String>)> {
    stated.iter().flatten().next()?;

    // Equal licences merge here, also if the manifest spells them in different ways.
    let names: BTreeSet<String> = stated
        .iter()
        .map(|license| license.map_or_else(|| "unknown".to_owned(), name))
        .collect();
    let names: Vec<String> = names.into_iter().collect();

    match &names[..] {
        [one] if one != "other" && HUB.contains(&one.as_str()) => Some((one.clone(), None)),
        several => Some(("other".to_owned(), Some(several.join("-and-")))),
    }
}

/// The Hub's identifier of a licence, or a name made of the words of the licence.
fn name(license: &str) -> String {
    let folded = license.trim().to_ascii_lowercase();
    // The Hub has one identifier for both forms of a GNU licence.
    let plain = folded
        .strip_suffix("-only")
        .or(folded.strip_suffix("-or-later"))
        .unwrap_or(&folded);
    if let Some((_, own)) = SPDX.iter().find(|(spdx, _)| *spdx == plain) {
        return (*own).to_owned();
    }
    if HUB.contains(&plain) {
        return plain.to_owned();
    }

    // `license_name` takes no other characters than these and `-`.
    let words: Vec<&str> = folded
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|word| !word.is_empty())
        .collect();

    // A licence in another script leaves no words.
    if words.is_empty() {
        "unnamed".to_owned()
    } else {
        words.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_licence_is_itself_and_several_are_other() {
        let of = |stated: &[Option<&str>]| {
            header(stated).map(|(license, name)| (license, name.unwrap_or_default()))
        };
        let is = |license: &str, name: &str| Some((license.to_owned(), name.to_owned()));

        assert_eq!(of(&[]), None);
        assert_eq!(of(&[None, None]), None);

        assert_eq!(
            of(&[Some("CC-BY-4.0"), Some("cc-by-4.0")]),
            is("cc-by-4.0", "")
        );
        assert_eq!(
            of(&[Some("GPL-3.0-or-later"), Some("gpl-3.0")]),
            is("gpl-3.0", "")
        );
        assert_eq!(of(&[Some("ODC-By-1.0")]), is("odc-by", ""));

        assert_eq!(
            of(&[Some("other")]),
            is("other", "other"),
            "the Hub wants a name"
        );
        assert_eq!(
            of(&[Some("mit"), Some("Apache-2.0")]),
            is("other", "apache-2.0-and-mit")
        );
        assert_eq!(of(&[Some("mit"), None]), is("other", "mit-and-unknown"));

        // A name that the Hub does not know becomes letters, digits and hyphens.
        assert_eq!(
            of(&[Some("Terms of ACME, \"2023\": v1.2\nx")]),
            is("other", "terms-of-acme-2023-v1.2-x")
        );
        assert_eq!(of(&[Some("自由")]), is("other", "unnamed"));
        assert!(HUB.is_sorted());
    }
}
