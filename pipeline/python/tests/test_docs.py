"""The Python code in docs/python.md runs as it is printed there, from top to bottom, and prints what the page says."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

import curate

PAGE = REPOSITORY / "docs" / "python.md"


def test_the_page_prints_what_it_says(clone: Path, quickstart: curate.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    assert quickstart.path.is_relative_to(clone), "the page finds runs/quickstart"

    text = PAGE.read_text("utf-8")
    names: dict[str, object] = {}
    ran, skipped = 0, 0
    said: list[str] = []
    for fence in re.finditer(r"^```python([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        needs = fence[1].split()
        if not all(importlib.util.find_spec(package) for package in needs):
            skipped += 1
            continue
        line = text.count("\n", 0, fence.start(2))
        test = doctest.DocTestParser().get_doctest(fence[2], names, f"line {line}", str(PAGE), line)
        assert test.examples, f"line {line}: no `>>>`"
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
        ran += len(test.examples)
    assert not said, "".join(said)
    assert ran > 15
    assert skipped <= 1, "torch alone is optional"
