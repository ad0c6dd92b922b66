//! `pii`: personal data and secrets are replaced.

use crate::config::{Kind, config, words};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Table, aligned, count, edits_column, small_count};

/// The declaration of the stage.
pub const PII: StageSpec = StageSpec {
    name: "pii",
    version: 1,
    scope: Scope::Shard,
    follows: "paragraph_dedup",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |manifest| {
        let pii = manifest.pii.as_ref();
        pii.is_some_and(|pii| pii.replace != PiiReplace::None)
    },
    sections: &[Pii::SECTION],
    tables: || vec![pii()],
};

config! {
    /// Personal data and secrets, which are replaced. Absent: off.
    "pii", Switch => Pii {
        /// Kinds that are looked for. us_ssn: US social security numbers. national_id: identity
        /// numbers of other countries, those with a checksum.
        key kinds: Vec<PiiKind> = PiiKind::ALL.to_vec(); Kind::Words(PiiKind::WORDS);
        /// What a value becomes. constant: `<EMAIL>` and so on. pseudonym: `<EMAIL:bdfhjlnpacge>`, the
        /// same for equal values. none: values are counted, and no text changes.
        key replace: PiiReplace = PiiReplace::Constant; Kind::Word(PiiReplace::WORDS);
        /// A file with the secret key of pseudonyms, 32 bytes or more, relative to the manifest.
        optional key_file: Option<String>; Kind::Path, "\"pii.key\"";
        /// A list of values that are let through, relative to the manifest: an address, @domain or
        /// network a line.
        optional allow: Option<String>; Kind::Path, "\"lists/own.txt\"";
        /// Whether values that exist for documentation are replaced too: example.com, RFC 5737, test
        /// cards.
        key documentation: bool = false; Kind::Bool;
        /// Whose spans are found. datatrove-0.10 and dolma-v2 are for comparison.
        key profile: PiiProfile = PiiProfile::Curate; Kind::Word(PiiProfile::WORDS);
    }
}

words! {
    /// What a value is.
    PiiKind {
        /// An e-mail address.
        Email = "email",
        /// A global IPv4 address.
        Ipv4 = "ipv4",
        /// A global IPv6 address.
        Ipv6 = "ipv6",
        /// A telephone number.
        Phone = "phone",
        /// The number of a payment card.
        Card = "card",
        /// An international bank account number.
        Iban = "iban",
        /// A US social security number.
        UsSsn = "us_ssn",
        /// An identity number of another country, with a checksum.
        NationalId = "national_id",
        /// A private key, or a token of a cloud, a forge or a service.
        Secret = "secret",
    }
}

impl PiiKind {
    /// Every kind, in the order of [`PiiKind::WORDS`].
    pub const ALL: [PiiKind; 9] = [
        PiiKind::Email,
        PiiKind::Ipv4,
        PiiKind::Ipv6,
        PiiKind::Phone,
        PiiKind::Card,
        PiiKind::Iban,
        PiiKind::UsSsn,
        PiiKind::NationalId,
        PiiKind::Secret,
    ];

    /// The word of the kind, which is also its column in the table `pii`.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// The reason of edits that replace a value of the kind, `pii.email` and so on.
    pub fn reason(self) -> &'static str {
        REASONS[self as usize]
    }
}

/// The reasons of edits, in the order of [`PiiKind::ALL`].
const REASONS: [&str; 9] = [
    "pii.email",
    "pii.ipv4",
    "pii.ipv6",
    "pii.phone",
    "pii.card",
    "pii.iban",
    "pii.us_ssn",
    "pii.national_id",
    "pii.secret",
];

words! {
    /// What a value becomes.
    PiiReplace {
        /// A constant of its kind.
        Constant = "constant",
        /// A keyed hash of the value, after its kind.
        Pseudonym = "pseudonym",
        /// Values are counted alone.
        None = "none",
    }
}

words! {
    /// Whose spans are found.
    PiiProfile {
        /// curate's own detectors.
        Curate = "curate",
        /// Those of datatrove's `PIIFormatter`: email and ipv4.
        Datatrove = "datatrove-0.10",
        /// Those of dolma's `pii_regex_with_counts_fast_v2`: email, phone and ipv4.
        Dolma = "dolma-v2",
    }
}

fn pii() -> Table {
    let of = |kind: PiiKind| match kind {
        PiiKind::Email => "e-mail addresses; null if the kind was not looked for",
        PiiKind::Ipv4 => "IPv4 addresses",
        PiiKind::Ipv6 => "IPv6 addresses",
        PiiKind::Phone => "telephone numbers",
        PiiKind::Card => "numbers of payment cards",
        PiiKind::Iban => "international bank account numbers",
        PiiKind::UsSsn => "US social security numbers",
        PiiKind::NationalId => "identity numbers of other countries",
        PiiKind::Secret => "private keys and tokens",
    };
    let counts = PiiKind::ALL.map(|kind| small_count(kind.word(), "values", of(kind)).null());

    let mut columns = vec![
        count(
            "bytes",
            "bytes",
            "length of the text after all edits, UTF-8",
        ),
        edits_column(),
        small_count("found", "values", "values of all kinds; null without [pii]").null(),
    ];
    columns.extend(counts);
    aligned(
        "pii",
        "personal data and secrets of each survivor, as counts, and as edits that replace them",
        columns,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_word_and_its_reason() {
        assert_eq!(PiiKind::ALL.len(), PiiKind::WORDS.len());
        for kind in PiiKind::ALL {
            let word = serde_json::to_value(kind).expect("a word");
            assert_eq!(word, kind.word());
            assert_eq!(kind.reason(), format!("pii.{}", kind.word()));
        }
    }
}
