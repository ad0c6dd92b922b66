#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::time::Instant;

use super::*;

fn search(documentation: bool) -> Search {
    Search {
        profile: Profile::Curate,
        kinds: Kind::ALL.to_vec(),
        documentation,
        allowed: Allowed::default(),
    }
}

/// The values of a text, as `KIND value`.
fn values(text: &str) -> Vec<String> {
    let found = search(false).find(text).into_iter();
    found
        .map(|found| format!("{} {}", found.kind.name(), &text[found.start..found.end]))
        .collect()
}

#[track_caller]
fn finds(text: &str, expected: &[&str]) {
    assert_eq!(values(text), expected, "{text}");
}

#[track_caller]
fn finds_nothing(texts: &[&str]) {
    for text in texts {
        finds(text, &[]);
    }
}

#[test]
fn stops_are_digits_colons_and_at_signs() {
    let all: String = (1..0x250)
        .filter_map(char::from_u32)
        .chain("é用😀".chars())
        .collect();
    for start in 0..all.len() {
        let expected = all.as_bytes()[start..]
            .iter()
            .position(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'@'));
        let found = next_stop(all.as_bytes(), start);
        assert_eq!(
            found,
            expected.map_or(all.len(), |place| start + place),
            "{start}"
        );
    }
}

#[test]
fn addresses_of_mail() {
    finds(
        "Write to mara.k@sub.host.net.",
        &["EMAIL mara.k@sub.host.net"],
    );
    finds(
        "<a+b_c@host.org>, 'o'neil@host.org'",
        &["EMAIL a+b_c@host.org", "EMAIL o'neil@host.org"],
    );
    finds("mailto:Ivo@Host.COM?subject=x", &["EMAIL Ivo@Host.COM"]);
    finds(
        "to=ivo@host.org&cc=lena@host.org",
        &["EMAIL ivo@host.org", "EMAIL lena@host.org"],
    );
    finds("ivo@host.org:secret12", &["EMAIL ivo@host.org"]);
    finds("Ask ivo@host.org.Then wait", &["EMAIL ivo@host.org"]);
    finds("a1b2c3d4@host.co.uk", &["EMAIL a1b2c3d4@host.co.uk"]);
}

#[test]
fn addresses_of_mail_in_unicode() {
    finds(
        "jürgen@bücher.de und 用户@例子.中国",
        &["EMAIL jürgen@bücher.de", "EMAIL 用户@例子.中国"],
    );
    finds("请联系ivo@host.org谢谢", &["EMAIL ivo@host.org"]);
    finds("почта: иван@пример.рф!", &["EMAIL иван@пример.рф"]);
    finds("mara@xn--bcher-kva.de", &["EMAIL mara@xn--bcher-kva.de"]);
}

#[test]
fn what_looks_like_mail_and_is_none() {
    finds_nothing(&[
        "logo@2x.png and icon@3x.webp",
        "npm i pkg@1.2.3 react@18.2.0",
        "user@host and root@localhost",
        "git clone git@github.com:a/b.git",
        "https://ivo:pw@host.org/x ssh://ivo@host.org",
        "rsync ivo@host.org:backup/dir .",
        "@property and @a@b.org and a@b@host.org",
        "name [at] site dot org",
        "someone@example.com, you@sub.example.org, x@host.test",
        "Message-ID: <20240312.12@mail.host.org>",
        "hmac-sha2-256-etm@openssh.com",
        "w = q@k.to(device)",
        "java.lang.Object@6d06d69c",
        "@@@@ a@ @b .@. a@.com a..b@host.org",
    ]);
}

#[test]
fn traps_of_addresses() {
    finds_nothing(&[
        "MongoDB 4.4.2.1",
        "zap v10.7.31.9 and version 93.184.216.34",
        "1.3.6.1.4.1 is an arc",
        "section 3.2.1.4",
        "server = x\n\n27.6.33.1. Additional options\n1.21.93.5 Tools",
        "127.0.0.1 0.0.0.0 255.255.255.0 1.1.1.1 192.0.2.7",
        "a::b std::vec ::1 :: dead::beef",
        "00:1b:44:11:3a:b7",
        "Chrome/96.184.216.34",
        "foo-93.184.216.34 93.184.216.34_x 93.184.216.34.5",
    ]);
    finds(
        "from 93.184.216.34:80, 93.184.216.34-93.184.216.40",
        &[
            "IPV4 93.184.216.34",
            "IPV4 93.184.216.34",
            "IPV4 93.184.216.40",
        ],
    );
    finds(
        "[2a00:1450:4001:81b::200e]:443",
        &["IPV6 2a00:1450:4001:81b::200e"],
    );
    finds(
        "at 2a00:1450:4001:81b::200e.",
        &["IPV6 2a00:1450:4001:81b::200e"],
    );
}

#[test]
fn telephone_numbers() {
    finds(
        "+44 20 7946 1958 or +1 (415) 867-5309.",
        &["PHONE +44 20 7946 1958", "PHONE +1 (415) 867-5309"],
    );
    finds(
        "(415) 867-5309, 415-867-5309",
        &["PHONE (415) 867-5309", "PHONE 415-867-5309"],
    );
    finds("Tel: 030/1234567", &["PHONE 030/1234567"]);
    finds("phone:\n60-56-85-91", &["PHONE 60-56-85-91"]);
    finds("电话 13912345678", &["PHONE 13912345678"]);
    finds_nothing(&[
        "call me in 2024-01-02 10:20:30",
        "the mobile years 1914-1918 and phone 1 000 000",
        "phone 555-0123 and +1 415 555 0123",
        "part 415-867-53091 and 2415-867-5309",
        "00 01 07 75 01 81 21 80",
        "ISBN 0-415-86753-9, fax isbn 0415867539",
        "prices 1.234.567,00 and 12,345,678",
        "x+14158675309 and 3+4158675309",
        "arXiv 2602.19548",
    ]);
}

#[test]
fn cards_accounts_and_social_security() {
    finds("card 4007 0707 5369 0781.", &["CARD 4007 0707 5369 0781"]);
    finds("pay 4007070753690781 now", &["CARD 4007070753690781"]);
    finds("maestro: 630427373398", &["CARD 630427373398"]);
    finds(
        "iban gb42nawi04454264788619",
        &["IBAN gb42nawi04454264788619"],
    );
    finds(
        "GB59 IFUE 4022 6315 4991 37",
        &["IBAN GB59 IFUE 4022 6315 4991 37"],
    );
    finds(
        "460-89-9847; SSN 460899847",
        &["US_SSN 460-89-9847", "US_SSN 460899847"],
    );
    finds_nothing(&[
        "order 4007070753690781",
        "4111111111111111 and 4242 4242 4242 4242",
        "4007070753690782",
        "630427373398",
        "GB60IFUE40226315499137",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 460899847",
        "123-45-6789",
        "460-89-98471 1460-89-9847",
    ]);
}

/// Letters and digits that are no placeholder.
const TAIL: &str = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zAbCdEfGhIjKlMnOpQrStUvWxYz";

#[test]
fn secrets_from_parts() {
    let token = format!("gh{}{}", "p_", &TAIL[..36]);
    finds(&format!("use `{token}`."), &[&format!("SECRET {token}")]);
    finds_nothing(&[
        &format!("x{token}"),
        &token[..30],
        &format!("gh{}{}", "p_", "x".repeat(36)),
        "task-force disk-usage SG.x",
    ]);

    let body = format!("{TAIL}\n{TAIL}");
    let key = format!(
        "-----BE{}-----\n{body}\n-----END PRIVATE KEY-----",
        "GIN PRIVATE KEY"
    );
    finds(&format!("a\n{key}\nb"), &[&format!("SECRET {key}")]);
    // An end is missing, and ends of lines are in a string.
    let cut = format!("-----BE{}-----\\n{TAIL}\\n{TAIL}", "GIN EC PRIVATE KEY");
    finds(&format!("\"{cut}\","), &[&format!("SECRET {cut}")]);
    finds_nothing(&[&key.replace("PRIVATE", "PUBLIC"), "BEGIN PRIVATE KEY"]);
}

/// A line of a file of `fixtures/pii/`.
struct Labelled {
    text: String,
    /// The value; `None` for a look-alike.
    value: Option<(usize, usize)>,
}

fn labelled(name: &str) -> Vec<Labelled> {
    let path = format!(
        "{}/../fixtures/pii/{name}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let lines = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let pieces = row["text"].as_array().unwrap().iter();
        let pieces: Vec<&str> = pieces.map(|piece| piece.as_str().unwrap()).collect();
        let length = |n: &serde_json::Value| pieces[..n.as_u64().unwrap() as usize].concat().len();
        Labelled {
            text: pieces.concat(),
            value: row["value"]
                .as_array()
                .map(|at| (length(&at[0]), length(&at[1]))),
        }
    };
    lines.lines().map(line).collect()
}

#[test]
fn labelled_values_are_found_and_look_alikes_are_not() {
    for (name, kind) in [
        ("ipv4", Kind::Ipv4),
        ("ipv6", Kind::Ipv6),
        ("national_id", Kind::NationalId),
        ("secret", Kind::Secret),
    ] {
        let lines = labelled(name);
        let values = lines.iter().filter(|line| line.value.is_some()).count();
        assert!(
            values >= 200 && lines.len() - values >= values,
            "{name}: {values} of {}",
            lines.len()
        );

        // A value counts if its span is found to the byte.
        let (mut right, mut wrong) = (0, Vec::new());
        for line in &lines {
            for found in search(false)
                .find(&line.text)
                .iter()
                .filter(|found| found.kind == kind)
            {
                match Some((found.start, found.end)) == line.value {
                    true => right += 1,
                    false => wrong.push(&line.text),
                }
            }
        }

        let precision = f64::from(right) / f64::from(right + wrong.len() as u32);
        let recall = f64::from(right) / values as f64;
        assert!(
            precision >= 0.95 && recall >= 0.95,
            "{name}: precision {precision}, recall {recall}, wrong {wrong:?}"
        );
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    let n = 1 << 20;
    let texts = [
        "@",
        "a@",
        "a@b.",
        "1",
        "1 ",
        "1-",
        "1.",
        "1:",
        "2001:",
        "2001::",
        ":",
        "(1) ",
        "+1",
        "a1",
        "+1(",
        "eyJ",
        "-eyJ.",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----",
        "Private-Lines: 1\n",
        " sk-",
        "GB12 ",
        "ab.",
        "9999 ",
        "phone 1",
        "4444-",
        "é@",
        "用@",
        "@é.",
        "AKIA",
        "x=",
    ];
    let plain = "The quick brown fox jumps over the lazy dog, and then it rests. ".repeat(n / 64);
    let time = |text: &str| {
        let start = Instant::now();
        let found = search(false).find(text);
        (start.elapsed(), found)
    };
    time(&plain);
    let (usual, _) = time(&plain);
    for unit in texts {
        let text = unit.repeat(n / unit.len());
        let (taken, found) = time(&text);
        // A text that is all candidates costs more than prose, by a factor that its length has no
        // part in: a quadratic search would take hours.
        assert!(
            taken < 400 * usual + std::time::Duration::from_secs(2),
            "{unit:?}: {taken:?}"
        );
        assert!(
            found.windows(2).all(|pair| pair[0].end <= pair[1].start),
            "{unit:?}"
        );
    }
}

#[test]
fn spans_lie_between_characters_in_any_text() {
    // Every piece beside every other one, with and without a blank between them.
    let token = format!("gh{}{}", "p_", &TAIL[..36]);
    let pieces = [
        "",
        "é",
        "用",
        "😀",
        "\u{301}",
        "@",
        "a@host.org",
        "1.2.3.4",
        "93.184.216.34",
        "::",
        "+",
        "2a00:1450:4001:81b::200e",
        "4007070753690781",
        "415-867-5309",
        "(",
        ")",
        "-",
        "\n",
        &token,
        "-----BEGIN PRIVATE KEY-----",
        "GB59IFUE40226315499137",
        "460-89-9847",
        "tel",
        "\0",
    ];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                let text = format!("{first}{second}{third}");
                let mut end = 0;
                for found in search(true).find(&text) {
                    assert!(found.start >= end && found.end > found.start, "{text}");
                    assert!(text.get(found.start..found.end).is_some(), "{text}");
                    end = found.end;
                }
            }
        }
    }
}

#[test]
fn what_replaces_a_value_is_none() {
    let key = replace::Key::of_file(&[7; 32]);
    for replacement in [
        replace::Replacement::Constant,
        replace::Replacement::Pseudonym(key),
    ] {
        for kind in Kind::ALL {
            for value in 0..200 {
                let put = replacement.of(kind, &format!("value {value}"));
                let text = format!("call me: card {put} ip {put}, ssn {put}@host.org");
                assert!(search(true).find(&put).is_empty(), "{put}");
                assert!(
                    search(true)
                        .find(&text)
                        .iter()
                        .all(|found| found.kind == Kind::Email)
                );
            }
        }
    }
}

#[test]
fn pseudonyms_are_equal_for_equal_values_alone() {
    let of = |key: u8| replace::Replacement::Pseudonym(replace::Key::of_file(&[key; 32]));
    let put = |key: u8, kind, value: &str| of(key).of(kind, value);
    let mara = put(1, Kind::Email, "Mara@Host.org");
    assert_eq!(mara, put(1, Kind::Email, "mara@host.org"));
    assert_eq!(
        put(1, Kind::Card, "4007 0707 5369 0781"),
        put(1, Kind::Card, "4007070753690781")
    );
    assert_eq!(
        put(1, Kind::Ipv6, "2A00::1:2"),
        put(1, Kind::Ipv6, "2a00:0::1:2")
    );
    assert_ne!(mara, put(1, Kind::Email, "mara@host.net"));
    assert_ne!(mara, put(2, Kind::Email, "mara@host.org"));
    assert_ne!(
        put(1, Kind::Phone, "4158675309")[7..],
        put(1, Kind::UsSsn, "4158675309")[8..]
    );
    assert!(
        mara.starts_with("<EMAIL:") && mara.len() == "<EMAIL:abcdefghijkl>".len(),
        "{mara}"
    );

    // A digest names a key and is not the key.
    let digest = replace::Key::of_file(&[1; 32]).digest();
    assert_ne!(digest, replace::Key::of_file(&[2; 32]).digest());
    assert_ne!(digest, blake3::hash(&[1; 32]).to_hex().to_string());
}

#[test]
fn profiles_disagree_as_the_page_says() {
    use Kind::{Email, Ipv4, Ipv6, Phone};
    let found = |profile, text: &str| -> Vec<Kind> {
        let search = Search {
            profile,
            ..search(false)
        };
        search.find(text).iter().map(|found| found.kind).collect()
    };
    let all = [Profile::Curate, Profile::Datatrove, Profile::Dolma];
    for (text, expected) in [
        (" Mara@host.org \n", [&[Email][..], &[], &[Email]]),
        ("mara@host.org.", [&[Email], &[Email], &[]]),
        (" mara@bücher.de \n", [&[Email], &[], &[Email]]),
        (" logo@2x.png \n", [&[], &[Email], &[Email]]),
        (" git@github.com:a/b \n", [&[], &[Email], &[]]),
        (" v93.184.216.34", [&[], &[Ipv4], &[Ipv4]]),
        (" 1.93.184.216.34", [&[], &[Ipv4], &[Ipv4]]),
        (" 10.4.11.8 127.0.0.1", [&[], &[], &[Ipv4, Ipv4]]),
        (" 224.0.0.1", [&[], &[Ipv4], &[Ipv4]]),
        (" 8.8.8.8 255.255.255.0", [&[], &[Ipv4], &[Ipv4, Ipv4]]),
        (" 2a00:1450:4001:81b::200e", [&[Ipv6], &[], &[]]),
        (" 415-867-5309", [&[Phone], &[], &[Phone]]),
        ("x415-867-5309", [&[], &[], &[]]),
        (" 2024 123 4567890", [&[], &[], &[Phone]]),
        (" 202 123 4567890", [&[], &[], &[Phone]]),
        (" 4007070753690781", [&[Kind::Card], &[], &[Phone]]),
    ] {
        let found = all.map(|profile| found(profile, text));
        assert_eq!(found, expected.map(<[Kind]>::to_vec), "{text}");
    }

    // With too many question marks dolma looks for nothing.
    let many = format!("{} mara@host.org \n", "?".repeat(10_001));
    assert_eq!(found(Profile::Dolma, &many), []);
    // Positions are those of the whole text, paragraph by paragraph.
    let text = "one\n\n two 93.184.216.34\n";
    let dolma = Search {
        profile: Profile::Dolma,
        ..search(false)
    };
    let spans = dolma.find(text);
    assert_eq!(&text[spans[0].start..spans[0].end], "93.184.216.34");
}

#[test]
fn a_list_lets_values_through() {
    let list =
        "# own\n@host.org\nmara@other.net\n93.184.216.0/24\n2a00:1450::/32\n=+1 415 867 5309\n";
    let own = Search {
        allowed: Allowed::read(list).unwrap(),
        ..search(false)
    };
    let text = "ivo@sub.host.org Mara@other.net ivo@other.net 93.184.216.34 93.184.217.34 \
                2a00:1450:4001:81b::200e 2a01:1450:4001:81b::200e +1 (415) 867-5309 +1 415 867 5308";
    let left: Vec<&str> = own
        .find(text)
        .iter()
        .map(|found| &text[found.start..found.end])
        .collect();
    let expected = [
        "ivo@other.net",
        "93.184.217.34",
        "2a01:1450:4001:81b::200e",
        "+1 415 867 5308",
    ];
    assert_eq!(left, expected);

    for (wrong, line) in [
        ("nonsense", 1),
        ("\n@host", 2),
        ("10.0.0.0/33", 1),
        ("=", 1),
    ] {
        assert_eq!(
            Allowed::read(wrong).unwrap_err(),
            allow::AllowError { line },
            "{wrong}"
        );
    }
    let error = Allowed::read("my secret").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}
