//! Models fetched by name, from a hub on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Outcome, Place, figure, outcome, query, repository};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of a folder as a hub does, one request a connection, until the test ends.
struct Hub {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Hub {
    fn of(folder: PathBuf) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                _ = answer(stream, &folder);
            }
        });
        Hub { address, requests }
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let (mut reader, mut line) = (BufReader::new(stream.try_clone()?), String::new());
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(bytes) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = bytes.trim().split_once('-').unwrap();
            range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().ok()));
        }
    }
    let file = path.strip_prefix(&format!("/someone/tiny/resolve/{COMMIT}/"));
    let Some(bytes) = file.and_then(|file| fs::read(folder.join(file)).ok()) else {
        return write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    let (from, to) = range.unwrap_or((0, None));
    let to = to.map_or(bytes.len(), |to| bytes.len().min(to + 1));
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{:x}\"\r\nContent-Range: bytes {from}-{}/{}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len(),
        to.saturating_sub(1),
        bytes.len(),
        to - from
    )?;
    stream.write_all(&bytes[from..to])
}

/// A run with a model from a hub, whose cache is in the test's folder.
fn run(place: &Place, endpoint: &str, dir: &Path, more: &[&str]) -> Outcome {
    let manifest = place.path("manifest.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
    command
        .arg("run")
        .arg(manifest)
        .arg("--run-dir")
        .arg(dir)
        .args(["--until", "score"])
        .args(more);
    for proxy in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env_remove(proxy);
    }
    outcome(
        command
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HOME", place.path("cache")),
    )
}

fn manifest(place: &Place, model: &str) {
    let text = "The committee met on Tuesday to discuss the budget for the coming year, and adjourned at noon.";
    place.write(
        "docs.jsonl",
        format!("{}\n", serde_json::json!({ "text": text })),
    );
    let head = "[run]\nname = \"hub\"\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\n";
    place.write(
        "manifest.toml",
        format!("{head}[score.perplexity]\nmodel = \"{model}\"\n"),
    );
}

#[test]
fn a_model_is_fetched_once() {
    let place = Place::new();
    let hub = Hub::of(repository().join("fixtures/lm/tiny_qwen2/tied"));
    manifest(&place, &format!("hf://someone/tiny@{COMMIT}"));
    let dir = place.path("run");
    run(&place, &hub.address, &dir, &[])
        .exits(0)
        .says(&["fetching model.safetensors of hf://someone/tiny@"]);
    let fetched = hub.requests.load(Ordering::Relaxed);
    assert!(fetched >= 3, "{fetched} requests");
    let digest = query(
        &dir,
        "SELECT model_digest FROM score WHERE model = 'hf://someone/tiny@0123456789abcdef0123456789abcdef01234567'",
    );
    // The same files in a folder are the same model.
    let local = place.path("local");
    let fixture = repository().join("fixtures/lm/tiny_qwen2/tied");
    manifest(&place, fixture.to_str().unwrap());
    run(&place, &hub.address, &local, &[]).exits(0);
    assert_eq!(query(&local, "SELECT model_digest FROM score"), digest);
    // Without a network, from the cache.
    manifest(&place, &format!("hf://someone/tiny@{COMMIT}"));
    let nowhere = "http://127.0.0.1:9";
    run(
        &place,
        nowhere,
        &place.path("again"),
        &["--set", &format!("score.perplexity.digest={}", digest[0])],
    )
    .exits(0);
    assert_eq!(hub.requests.load(Ordering::Relaxed), fetched);
    run(
        &place,
        nowhere,
        &dir,
        &["--set", "score.perplexity.digest=00"],
    )
    .exits(2)
    .says(&["its digest is ", "expected 00"]);
}

/// A secret of the environment is in no file, log or message, whatever fails.
#[test]
fn a_token_stays_a_secret() {
    const CANARY: &str = "hf_canary0123456789";
    let place = Place::new();
    let hub = Hub::of(repository().join("fixtures/lm/tiny_qwen2/tied"));
    place.write("cache/token", CANARY);
    let (mut said, nowhere) = (Vec::new(), "http://127.0.0.1:9");
    let empty = Hub::of(place.path("empty"));
    manifest(&place, &format!("hf://someone/tiny@{COMMIT}"));
    for endpoint in [nowhere, &empty.address, &hub.address] {
        said.push(run(&place, endpoint, &place.path("run"), &[]));
    }
    said.push(run(
        &place,
        &hub.address,
        &place.path("run"),
        &["--set", "score.perplexity.digest=00"],
    ));
    assert_eq!(
        said.iter().map(|said| said.code).collect::<Vec<_>>(),
        [Some(74), Some(2), Some(0), Some(2)]
    );
    assert!(
        said.iter()
            .all(|said| !said.stdout.contains(CANARY) && !said.stderr.contains(CANARY))
    );
    let mut files = 0;
    crate::support::visit(&place.path(""), &mut |path| {
        let holds = fs::read(path)
            .unwrap()
            .windows(CANARY.len())
            .any(|bytes| bytes == CANARY.as_bytes());
        assert!(
            !holds || path.ends_with("cache/token"),
            "{}",
            path.display()
        );
        files += 1;
    });
    // And there is no place in a manifest for one.
    let text = fs::read_to_string(place.path("manifest.toml")).unwrap();
    place.write("manifest.toml", format!("{text}token = \"{CANARY}\"\n"));
    let refused = run(&place, nowhere, &place.path("run"), &[])
        .exits(2)
        .says(&["unknown key \"token\""]);
    assert!(!refused.stderr.contains(CANARY), "{}", refused.stderr);
    figure("files searched for a secret of the environment", files);
}

/// Found by an attack: the client makes paths of what the hub answers.
#[test]
fn a_hub_cannot_write_outside_the_cache() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            _ = write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"../../../../evil\"\r\n\
                 Content-Range: bytes 0-0/1\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{{"
            );
        }
    });
    manifest(&place, &format!("hf://someone/tiny@{COMMIT}"));
    run(&place, &address, &place.path("run"), &[])
        .exits(74)
        .says(&["a commit or an etag that is no word"]);
    let mut found = Vec::new();
    crate::support::visit(&place.path(""), &mut |path| found.push(path.to_owned()));
    assert!(
        found
            .iter()
            .all(|path| !path.to_string_lossy().contains("evil")),
        "{found:?}"
    );
}

#[test]
fn what_a_hub_cannot_give_is_named() {
    let place = Place::new();
    let hub = Hub::of(place.path("empty"));
    let dir = place.path("run");
    manifest(&place, &format!("hf://someone/tiny@{COMMIT}"));
    run(&place, &hub.address, &dir, &[])
        .exits(2)
        .says(&["the hub has no config.json at this revision"]);
    let unreachable = run(&place, "http://127.0.0.1:9", &dir, &[]).exits(74);
    unreachable.says(&["cannot fetch config.json", "hint: without a network"]);
    manifest(&place, "hf://someone/tiny@main");
    run(&place, &hub.address, &dir, &[])
        .exits(2)
        .says(&["40 hex digits", "hint: write hf://owner/name@commit"]);
    assert!(
        !dir.join("documents").exists(),
        "nothing is read before the model is there"
    );
}
