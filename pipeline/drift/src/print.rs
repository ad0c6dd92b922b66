//! The answer in each format. All formats but JSON are made from [`Line`]s, one for each check.
//!
//! GitHub's format is workflow commands, with data escaped as the runner unescapes it. JUnit's
//! format is for CI systems, and an inconclusive check is a skipped test. Names come from
//! strangers. Control characters in them are written as escapes before the escaping of the format.

use std::io::{self, Write};

use anyhow::Result;

use super::lines::{Line, Status, lines};
use super::{Answer, AnswerFormat};

/// The most inconclusive checks that text and Markdown show.
const INCONCLUSIVE_SHOWN: usize = 20;

/// Prints the answer in the format, the worst checks first.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(answer: &Answer, format: AnswerFormat, out: &mut impl Write) -> Result<()> {
    let mut lines = lines(answer);
    // The sort is stable: checks with the same outcome keep their order.
    lines.sort_by_key(|line| line.status);

    match format {
        AnswerFormat::Text => text(answer, &lines, out)?,
        AnswerFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
        AnswerFormat::Junit => junit(&lines, out)?,
        AnswerFormat::Github => github(&lines, out)?,
        AnswerFormat::Markdown => markdown(answer, &lines, out)?,
    }
    Ok(())
}

/// The number of lines with this outcome.
fn count(lines: &[Line], status: Status) -> usize {
    lines.iter().filter(|line| line.status == status).count()
}

/// A sentence with the number of checks of each outcome.
fn summary(answer: &Answer, lines: &[Line]) -> String {
    let [failed, warned, unsure, passed] = [
        Status::Fail,
        Status::Warn,
        Status::Inconclusive,
        Status::Pass,
    ]
    .map(|status| count(lines, status));

    let same = if answer.same_documents {
        "same documents"
    } else {
        "other documents"
    };

    match lines.len() {
        _ if !answer.is_compared => format!("nothing could be compared, {same}"),
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

/// The checks to show, which are those that do not pass, and the number of hidden ones.
fn shown(lines: &[Line]) -> (Vec<&Line>, usize) {
    let mut all: Vec<&Line> = lines
        .iter()
        .filter(|line| line.status != Status::Pass)
        .collect();

    // The lines are sorted by outcome, so the inconclusive ones are the last.
    let hidden = count(lines, Status::Inconclusive).saturating_sub(INCONCLUSIVE_SHOWN);
    all.truncate(all.len() - hidden);
    (all, hidden)
}

/// Prints text for a person: a line for each check, the notes, and the summary.
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

/// Prints JUnit's XML: a test case for each check.
fn junit(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    let (all, failed, skipped) = (
        lines.len(),
        count(lines, Status::Fail),
        count(lines, Status::Inconclusive),
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
            // JUnit has no warnings, so a check that warns is a test that passes with output.
            Status::Warn => write!(out, "<system-out>warn: {message}</system-out>")?,
            Status::Pass => write!(out, "<system-out>{message}</system-out>")?,
        }
        writeln!(out, "</testcase>")?;
    }

    writeln!(out, "</testsuite>")
}

/// Text in an element or a quoted attribute of XML.
fn xml(text: &str) -> String {
    // `&` comes first, because the other replacements insert it.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

/// Prints GitHub's workflow commands: an annotation for each check that does not pass.
fn github(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        let level = match line.status {
            Status::Fail => "error",
            Status::Warn => "warning",
            Status::Inconclusive => "notice",
            Status::Pass => continue,
        };

        // A property needs more escapes than a message: `:` and `,` would end it.
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

/// Prints Markdown: the summary, a table of the checks, and the notes.
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
        // A table row is one line, so examples follow after `<br>`.
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
        if "\\`*_[]<>|~$&#!^".contains(c) {
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
