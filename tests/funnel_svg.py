"""Draws the funnel of a run as a picture: python3 tests/funnel_svg.py RUN_DIRECTORY OUTPUT.svg

For docs/funnel.svg: python3 tests/funnel_svg.py runs/quickstart docs/funnel.svg

Reads `run.json` of the run directory, which `schemas/src/report.rs` describes. The first stage and
every stage that took documents out get a row: documents kept, removed, and merged as duplicates.
Unreadable records count as removed, as in the funnel that `curate run` prints. The last rows are
the tokens read, the tokens of the pool, and the effective tokens of the pool.

Equal runs give equal bytes. The picture has a background of its own, so it reads the same on a
light and on a dark page.
"""

import json
import sys
from html import escape
from pathlib import Path

WIDTH = 720
LABEL_X = 20
BAR_X = 150
BAR_WIDTH = 250
BAR_HEIGHT = 18
ROW_HEIGHT = 30
# Right ends of the three columns of numbers.
COLUMNS = {"kept": 500, "removed": 595, "duplicates": 700}
# How far left of a column's right end its colour is shown: the width of its heading, and a gap.
KEY_LEFT = {"kept": 50, "removed": 78, "duplicates": 92}

# Okabe and Ito's palette: the colours differ in lightness too, for readers who do not see every hue.
KEPT, REMOVED, DUPLICATES = "#0072b2", "#b5bac1", "#e69f00"
READ, EFFECTIVE = "#6e7781", "#007a5a"
INK, QUIET, PAPER, EDGE = "#1f2328", "#57606a", "#ffffff", "#d0d7de"


def rows_of(report):
    """The stages to draw, each as (name, kept, removed, duplicates) in documents."""
    rows = []
    for number, stage in enumerate(report["stages"]):
        docs = stage["docs"]
        removed = sum(docs["removed"].values()) + docs["quarantined"]
        if number == 0 or removed or docs["duplicates"]:
            rows.append((stage["name"], docs["kept"], removed, docs["duplicates"]))
    return rows


def tokens_of(report):
    """The token counts to draw, each as (label, tokens, colour). Empty before the run has a pool."""
    pool, first = report.get("pool"), report["stages"][0]["tokens"]
    if not pool or not first:
        return []
    effective = "effective" if pool["q_calibrated"] else "effective (uncalibrated)"
    return [
        ("read", first["kept"], READ),
        ("pool", pool["tokens"], KEPT),
        (effective, round(pool["d_eff"]), EFFECTIVE),
    ]


def text(x, y, words, fill=INK, more=""):
    """A line of text that begins at x; its baseline is at y."""
    return f'  <text x="{x}" y="{y}" fill="{fill}"{more}>{escape(words)}</text>'


def text_to(x, y, words, fill=INK):
    """A line of text that ends at x, for columns of numbers."""
    return text(x, y, words, fill, ' text-anchor="end"')


def bar(x, y, width, fill):
    """A bar; nothing at all if it is too narrow to be seen."""
    if width < 0.05:
        return []
    return [f'  <rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{fill}"/>']


def stage_row(y, row, scale):
    """One stage: its name, a stacked bar, and three numbers."""
    name, *counts = row
    baseline = y + 14
    lines = [text(LABEL_X, baseline, name)]
    x = BAR_X
    for count, fill in zip(counts, (KEPT, REMOVED, DUPLICATES)):
        lines += bar(x, y, count * scale, fill)
        x += count * scale
    for (column, right), count in zip(COLUMNS.items(), counts):
        fill = INK if column == "kept" or count else QUIET
        lines.append(text_to(right, baseline, f"{count:,}", fill))
    return lines


def token_row(y, label, tokens, fill, scale):
    """One token count: its label, a bar, and the number."""
    baseline = y + 14
    label = label.removesuffix(" (uncalibrated)")
    return [
        text(LABEL_X, baseline, f"tokens, {label}"),
        *bar(BAR_X, y, tokens * scale, fill),
        text_to(COLUMNS["kept"], baseline, f"{tokens:,}"),
    ]


def description(rows, tokens):
    """The picture in words, for readers who do not see it."""
    parts = [
        f"{name}: {kept:,} kept, {removed:,} removed, {duplicates:,} duplicates"
        for name, kept, removed, duplicates in rows
    ]
    parts += [f"tokens, {label}: {count:,}" for label, count, _ in tokens]
    return "Documents by stage. " + ". ".join(parts) + "."


def draw(report):
    """The whole picture."""
    rows, tokens = rows_of(report), tokens_of(report)
    most = max(sum(row[1:]) for row in rows) or 1
    lines, y = [], 64
    lines.append(text(LABEL_X, 52, "documents by stage", QUIET))
    for (column, right), fill in zip(COLUMNS.items(), (KEPT, REMOVED, DUPLICATES)):
        lines.append(text_to(right, 52, column, QUIET))
        key_x = right - KEY_LEFT[column]
        lines.append(f'  <rect x="{key_x}" y="42" width="10" height="10" fill="{fill}"/>')
    for row in rows:
        lines += stage_row(y, row, BAR_WIDTH / most)
        y += ROW_HEIGHT
    if tokens:
        y += 6
        right = COLUMNS["duplicates"]
        lines.append(f'  <line x1="{LABEL_X}" y1="{y}" x2="{right}" y2="{y}" stroke="{EDGE}"/>')
        y += 12
        for label, count, fill in tokens:
            lines += token_row(y, label, count, fill, BAR_WIDTH / (tokens[0][1] or 1))
            y += ROW_HEIGHT
        if "uncalibrated" in tokens[-1][0]:
            note = "Effective tokens rest on an uncalibrated quality score."
            lines.append(text(BAR_X, y + 8, note, QUIET))
            y += 20
    height = y + 10
    title = f"Funnel of the run {report['name']}"
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="14"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc" {font}>',
        f'  <title id="title">{escape(title)}</title>',
        f'  <desc id="desc">{escape(description(rows, tokens))}</desc>',
        f'  <rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"'
        f' fill="{PAPER}" stroke="{EDGE}"/>',
        text(LABEL_X, 28, title, more=' font-weight="600"'),
    ]
    return "\n".join([*head, *lines, "</svg>"]) + "\n"


def main():
    """Reads the report of a run directory and writes the picture."""
    if len(sys.argv) != 3:
        sys.exit("usage: python3 tests/funnel_svg.py RUN_DIRECTORY OUTPUT.svg")
    report = Path(sys.argv[1], "run.json")
    if not report.is_file():
        sys.exit(f"{report} does not exist: run `make run` first")
    picture = draw(json.loads(report.read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
