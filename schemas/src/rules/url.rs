//! The rules on lists of unwanted addresses.

use super::{Signal::Own, family};
use crate::config::Kind;

family! {
    /// Lists of unwanted addresses. Absent: off.
    "filter.url" => URL = url: UrlRules,
    paper: "Penedo et al. 2023 (RefinedWeb, arXiv:2306.01116), appendix G.1",
    departs: "lists are the user's; no scoring of single words",
    values: Vec::new, "";
    settings {}
    fixed {}
    rules {
        /// File of unwanted domains, a line each, relative to the manifest. Subdomains of a listed
        /// domain are unwanted too. International names match in letters and as `xn--…`.
        optional domains: Option<String>; Kind::Path, "\"domains.txt\""
        => domain: Own("url_domain"), Listed, datatrove "domain";
        /// File of unwanted substrings of URLs, a line each, relative to the manifest. Neither case
        /// nor Unicode form (NFC, NFD) counts. A host with an international name is searched in both
        /// of its forms.
        optional substrings: Option<String>; Kind::Path, "\"substrings.txt\""
        => substring: Own("url_substring"), Listed, datatrove "url_substring";
    }
}
