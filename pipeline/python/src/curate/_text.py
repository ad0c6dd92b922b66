"""Text for people. Names come from strangers: from manifests, records and foreign run directories."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

#: Categories of characters that cannot be seen or that change the direction of text.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: object) -> str:
    """The text with an escape in place of each character that cannot be seen."""
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _UNSEEN else c for c in str(text))


def cell(value: object) -> str:
    """A value of a table: numbers with separators, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else visible(value)


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns of text, the first one flush left and the others flush right."""
    cells = [list(header), *([cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for first, *others in cells:
        padded = (value.rjust(width) for value, width in zip(others, widths[1:]))
        lines.append("  ".join([first.ljust(widths[0]), *padded]).rstrip())
    return "\n".join(lines)


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of HTML. Every value is escaped, and so is the caption."""
    heads = "".join(f"<th>{escape(visible(name))}</th>" for name in header)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{escape(cell(value))}</td>" for value in row)
        lines.append(f"<tr>{cells}</tr>")
    title = f"<caption>{escape(visible(caption))}</caption>"
    return f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
