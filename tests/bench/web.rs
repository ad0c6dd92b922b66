//! Speed of reading web archives, and the texts of their pages for a comparison with resiliparse,
//! one thread: `make test-web DIR=…`, which calls `web OUT.jsonl SET=FILE.warc.gz …`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};

use curate_ingest::web::page::{Outcome, Page, Settings, page};
use curate_ingest::web::warc::{Limits, Raw, read};
use curate_scorers::html::{Extractor, Options, extract};

type Failure = Box<dyn std::error::Error>;

const LIMITS: Limits = Limits {
    max_record: 64 << 20,
    max_window: 1 << 27,
};

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some((out, sets)) = arguments.split_first() else {
        return Err("usage: web OUT.jsonl SET=FILE.warc.gz …".into());
    };
    let mut out = BufWriter::new(File::create(out)?);

    println!("MB per CPU second: records are of decompressed bytes, all others of decoded HTML");
    println!(
        "{:<14}{:>7}{:>9}{:>9}{:>12}{:>9}{:>9}",
        "set", "pages", "MB HTML", "records", "and decoded", "main", "text"
    );
    for set in sets {
        let (name, file) = set.split_once('=').ok_or("expected SET=FILE")?;
        measure(name, file, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

/// Reads one archive in steps, prints their speeds, and writes each page with its texts.
fn measure(name: &str, file: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    File::open(file)?.read_to_end(&mut bytes)?;

    let (mut blocks, start) = (0, cpu_seconds()?);
    read(&mut BufReader::new(&bytes[..]), &LIMITS, &mut |raw| {
        if let Raw::Record(record) = raw {
            blocks += record.block.len();
        }
        Ok(())
    })?;
    let records = cpu_seconds()? - start;

    let (mut pages, start): (Vec<Page>, f64) = (Vec::new(), cpu_seconds()?);
    read(&mut BufReader::new(&bytes[..]), &LIMITS, &mut |raw| {
        if let Raw::Record(record) = raw
            && let Outcome::Page(page) = page(&record, &Settings::default())
        {
            pages.push(*page);
        }
        Ok(())
    })?;
    let decoded = cpu_seconds()? - start;

    let texts = |extractor| -> Result<(Vec<String>, f64), Failure> {
        let start = cpu_seconds()?;
        let texts = pages
            .iter()
            .map(|page| extract(&page.html, extractor, Options::default()).text)
            .collect();
        Ok((texts, cpu_seconds()? - start))
    };
    let (main, of_main) = texts(Extractor::Resiliparse)?;
    let (text, of_text) = texts(Extractor::Text)?;

    let html: usize = pages.iter().map(|page| page.html.len()).sum();
    let speed = |bytes: usize, seconds: f64| bytes as f64 / 1e6 / seconds.max(1e-9);
    println!(
        "{name:<14}{:>7}{:>9.1}{:>9.0}{:>12.0}{:>9.1}{:>9.1}",
        pages.len(),
        html as f64 / 1e6,
        speed(blocks, records),
        speed(html, decoded),
        speed(html, of_main),
        speed(html, of_text)
    );

    for ((page, main), text) in pages.iter().zip(main).zip(text) {
        let row = serde_json::json!({
            "set": name, "url": page.url, "html": page.html, "main": main, "text": text,
        });
        writeln!(out, "{row}")?;
    }
    Ok(())
}

/// CPU seconds of this thread so far.
fn cpu_seconds() -> Result<f64, Failure> {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = counted.split(' ').next().unwrap_or_default();
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}
