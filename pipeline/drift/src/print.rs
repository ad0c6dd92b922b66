//! The answer in each format. All but JSON are made of [`Line`]s, one a check.
//!
//! GitHub: workflow commands, data escaped as the runner unescapes it. JUnit: what CI systems read,
//! too few documents as skipped. Names come from strangers: control characters are written as
//! escapes before the format's own escaping.

use std::io::{self, Write};

use anyhow::Result;

use super::lines::{Line, Status, lines};
use super::{Answer, Format};

/// Lines of what is inconclusive that text and Markdown show.
const INCONCLUSIVE_SHOWN: usize = 20;

/// Prints the answer.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(answer: &Answer, format: Format, out: &mut impl Write) -> Result<()> {
    let mut lines = lines(answer);
    lines.sort_by_key(|line| line.status);
    match format {
        Format::Text => text(answer, &lines, out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
        Format::Junit => junit(&lines, out)?,
        Format::Github => github(&lines, out)?,
        Format::Markdown => markdown(answer, &lines, out)?,
    }
    Ok(())
}

/// How many checks ended how, and what that means.
fn summary(answer: &Answer, lines: &[Line]) -> String {
    let count = |status: Status| lines.iter().filter(|line| line.status == status).count();
    let [failed, warned, unsure, passed] = [
        Status::Fail,
        Status::Warn,
        Status::Inconclusive,
        Status::Pass,
    ]
    .map(count);
    let same = if answer.same_documents {
        "same documents"
    } else {
        "other documents"
    };
    match lines.len() {
        all if passed == all => format!("no drift: {all} checks pass, {same}"),
        all if failed == 0 && warned == 0 => {
            format!(
                "no drift found: {passed} of {all} checks pass, {unsure} are inconclusive, {same}"
            )
        }
        all => {
            format!(
                "{failed} of {all} checks fail, {warned} warn, {unsure} are inconclusive, {passed} pass, {same}"
            )
        }
    }
}

/// What is shown of the checks that do not pass, and how many more there are.
fn shown(lines: &[Line]) -> (Vec<&Line>, usize) {
    let unsure = lines
        .iter()
        .filter(|line| line.status == Status::Inconclusive)
        .count();
    let mut all: Vec<&Line> = lines
        .iter()
        .filter(|line| line.status != Status::Pass)
        .collect();
    let hidden = unsure.saturating_sub(INCONCLUSIVE_SHOWN);
    // They stand last.
    all.truncate(all.len() - hidden);
    (all, hidden)
}

fn text(answer: &Answer, lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    let (all, hidden) = shown(lines);
    for Line {
        status,
        what,
        of,
        message,
        examples,
    } in all
    {
        writeln!(out, "{:<13} {what}, {of}: {message}", status.name())?;
        examples
            .iter()
            .try_for_each(|example| writeln!(out, "  {example}"))?;
    }
    if hidden > 0 {
        writeln!(
            out,
            "{:<13} {hidden} more, see --format json",
            Status::Inconclusive.name()
        )?;
    }
    answer
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "note: {note}"))?;
    writeln!(out, "{}", summary(answer, lines))
}

fn junit(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    let count = |status: Status| lines.iter().filter(|line| line.status == status).count();
    let (all, failed, skipped) = (
        lines.len(),
        count(Status::Fail),
        count(Status::Inconclusive),
    );
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuite name=\"drift\" tests=\"{all}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">"
    )?;
    for line in lines {
        let [what, of, message] = [&line.what, &line.of, &line.message].map(|text| xml(text));
        write!(out, "  <testcase classname=\"drift.{what}\" name=\"{of}\">")?;
        match line.status {
            Status::Fail => {
                write!(out, "<failure message=\"{message}\">")?;
                line.examples
                    .iter()
                    .try_for_each(|example| writeln!(out, "{}", xml(example)))?;
                write!(out, "</failure>")?;
            }
            Status::Inconclusive => write!(out, "<skipped message=\"{message}\"/>")?,
            Status::Warn => write!(out, "<system-out>warn: {message}</system-out>")?,
            Status::Pass => write!(out, "<system-out>{message}</system-out>")?,
        }
        writeln!(out, "</testcase>")?;
    }
    writeln!(out, "</testsuite>")
}

fn xml(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&apos;")
}

fn github(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        let level = match line.status {
            Status::Fail => "error",
            Status::Warn => "warning",
            Status::Inconclusive => "notice",
            Status::Pass => continue,
        };
        let data = |text: &str| {
            text.replace('%', "%25")
                .replace('\r', "%0D")
                .replace('\n', "%0A")
        };
        let title = data(&format!("drift {}, {}", line.what, line.of))
            .replace(':', "%3A")
            .replace(',', "%2C");
        let message = [&line.message]
            .into_iter()
            .chain(&line.examples)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        writeln!(out, "::{level} title={title}::{}", data(&message))?;
    }
    Ok(())
}

fn markdown(answer: &Answer, lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    let (all, hidden) = shown(lines);
    writeln!(out, "**drift**: {}", summary(answer, lines))?;
    if !all.is_empty() {
        writeln!(out, "\n| | column | of | found |\n|---|---|---|---|")?;
    }
    for line in &all {
        let [what, of, message] = [&line.what, &line.of, &line.message].map(|text| plain(text));
        let examples: String = line
            .examples
            .iter()
            .map(|example| format!("<br>{}", plain(example)))
            .collect();
        writeln!(
            out,
            "| {} | {what} | {of} | {message}{examples} |",
            line.status.name()
        )?;
    }
    if hidden > 0 {
        writeln!(
            out,
            "\n{hidden} more are inconclusive, see `--format json`."
        )?;
    }
    answer
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "\n{note}"))
}

/// Text in a cell of a Markdown table, without markup.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '`'
                | '*'
                | '_'
                | '['
                | ']'
                | '<'
                | '>'
                | '|'
                | '~'
                | '$'
                | '&'
                | '#'
                | '!'
                | '^'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::lines::one_line;
    use super::*;

    fn printed(format: impl Fn(&[Line], &mut Vec<u8>) -> io::Result<()>) -> String {
        let hostile = one_line("a\x1b]<&\"'>|%,:\n::error::x\u{ffff}");
        let line = |status| Line {
            status,
            what: hostile.clone(),
            of: "web eng".to_owned(),
            message: hostile.clone(),
            examples: vec![hostile.clone()],
        };
        let mut out = Vec::new();
        format(
            &[
                line(Status::Fail),
                line(Status::Warn),
                line(Status::Inconclusive),
            ],
            &mut out,
        )
        .expect("a Vec takes it");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let lines = printed(github);
        let starts: Vec<&str> = lines
            .lines()
            .map(|line| line.split(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(starts, ["::error", "::warning", "::notice"]);
        let title = lines
            .lines()
            .next()
            .and_then(|line| line.split("::").nth(1))
            .unwrap_or_default();
        assert!(
            !title.contains(',') && title.contains("%2C") && title.contains("%25"),
            "{title}"
        );
        let cases = printed(junit);
        assert!(
            cases.contains("&lt;&amp;&quot;&apos;&gt;") && !cases.contains('\x1b'),
            "{cases}"
        );
        assert_eq!(cases.matches("<testcase ").count(), 3);
        assert_eq!(plain("a|b*<"), "a\\|b\\*\\<");
    }
}
