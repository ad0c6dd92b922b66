//! Lists of domains, addresses and words, against addresses in many spellings.

use serde_json::{Value, json};

use crate::support::{Place, query, run};

const DOMAINS: &str = "bad.example\r\nbücher.example\r\n# a comment\r\nhttps://scheme.example/\r\n\
                       *.star.example\r\n.dot.example\r\n\r\nUPPER.example\r\nwww.www.example\r\n\
                       10.0.0.1\r\nxn--fsqu00a.xn--0zwm56d\r\n";
const SUBSTRINGS: &str = "\u{feff}casino\r\n/login\r\nmünze\r\nxn--bei-7ka\r\ncafe\u{301}\r\n";

/// The addresses that the lists remove, with the rule, in the order of `urls`; `-` for one that is
/// kept.
fn removed(urls: &[Value]) -> Vec<String> {
    let place = Place::new();
    place.write("domains.txt", DOMAINS);
    place.write("substrings.txt", SUBSTRINGS);
    let record = |(n, url): (usize, &Value)| {
        format!(
            "{}\n",
            json!({ "url": url, "text": format!("Page number {n} of the web.") })
        )
    };
    place.write(
        "in.jsonl",
        urls.iter().enumerate().map(record).collect::<String>(),
    );
    let manifest = place.write(
        "urls.toml",
        "[run]\nname = \"urls\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\nurl = \"url\"\n\
         [filter.url]\ndomains = \"domains.txt\"\nsubstrings = \"substrings.txt\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    query(
        &dir,
        "SELECT coalesce(filter.removed_by, '-') FROM documents JOIN filter USING (doc_id) ORDER BY ordinal",
    )
}

#[track_caller]
fn assert_removed(by: &str, urls: &[&str]) {
    let values: Vec<Value> = urls.iter().map(|url| json!(url)).collect();
    let found: Vec<_> = urls.iter().zip(removed(&values)).collect();
    let wrong: Vec<_> = found.iter().filter(|(_, rule)| rule != by).collect();
    assert!(wrong.is_empty(), "not {by}: {wrong:?}");
}

#[test]
fn a_listed_host_is_removed_in_every_spelling() {
    assert_removed(
        "url.domain",
        &[
            "https://bad.example/x",
            "http://BAD.EXAMPLE/x",
            "https://www.bad.example",
            "https://a.b.bad.example:8443/x?y",
            "https://user:pw@bad.example/",
            "https://bad.example./x",
            "//bad.example/x",
            "bad.example/x",
            "   https://bad.example/x  ",
            "https://b%61d.example/",
            "https://scheme.example/p",
            "https://sub.star.example/",
            "https://star.example/",
            "https://x.dot.example/",
            "https://upper.example/",
            "https://www.www.example/",
            "http://10.0.0.1/a",
        ],
    );
}

#[test]
fn an_international_name_matches_in_both_forms() {
    assert_removed(
        "url.domain",
        &[
            "https://bücher.example/",
            "https://BÜCHER.example/",
            "https://bu\u{308}cher.example/",
            "https://xn--bcher-kva.example/",
            "https://XN--BCHER-KVA.example./",
            "https://b%C3%BCcher.example/",
            "https://www.xn--bcher-kva.example:80/x",
            // A list may have the other form.
            "http://例子.测试/",
            "http://user@www.例子.测试/",
            "http://xn--fsqu00a.xn--0zwm56d/",
        ],
    );
    assert_removed(
        "url.substring",
        &[
            "https://ok.example/CASINO-night",
            "https://ok.example/login",
            "https://münze.example/",
            "https://ok.example/mu\u{308}nze",
            "https://ok.example/caf\u{e9}",
            "https://xn--mnze-0ra.example/x",
            "https://xn--bei-7ka.example/",
            "https://beiß.example/",
        ],
    );
}

#[test]
fn other_hosts_are_kept() {
    assert_removed(
        "-",
        &[
            "https://notbad.example/",
            "https://bad.example.good.example/",
            "https://good.example/?u=https://bad.example/",
            "https://bad.example@good.example/",
            "https://good.example/bad.example",
            "https://bucher.example/",
            "https://xn--bchers-kva.example/",
            "https://good.example/xn--bcher-kva.example",
            "https://www.example/",
            "http://10.0.0.12/a",
            "",
            "javascript:alert(1)",
            "http://[::1]/x",
        ],
    );
    assert_eq!(
        removed(&[json!(null), json!("https://ok.example/")]),
        ["-", "-"]
    );
}
