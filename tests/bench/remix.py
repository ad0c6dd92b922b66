#!/usr/bin/env python3
"""A run over many documents, mixed again with another token budget: what `make bench-remix` runs.

    python3 tests/bench/remix.py CURATE DIR [--run-dir runs/remix]

DIR holds what the bench `synthetic --short` wrote. Three runs of tests/bench/remix.toml, each a process of its own:

    whole       from nothing, where the run directory does not have it: seconds and MB per CPU second by stage
    again       with another `mixture.general.tokens`: seconds from the start of the program to each line it says
    no text     with a third budget, after every value of the column `text` was overwritten in every file of `documents`: up to the
                mix it must go as before, and the export, which is the first to read text, must fail

Peak RSS is that of the process as wait4 tells it. The run directory has no text afterwards, so it is deleted. Needs DuckDB, for the
places of column chunks.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import duckdb

MANIFEST = pathlib.Path(__file__).with_name("remix.toml")
STAGE = re.compile(r"^(\w+): (\d+) docs, ([\d.]+) MB in ([\d.]+) s(?:, ([\d.]+) MB per CPU second)?$")
SOURCES = {"a": "[0-2]", "b": "[3-5]", "c": "[67]", "d": "[89]"}


class Run:
    """What a run said, and when."""

    def __init__(self, args, tokens):
        command = [args.curate, "run", MANIFEST, "--run-dir", args.run_dir, "--set", f"mixture.general.tokens={tokens}"]
        for name, digits in SOURCES.items():
            files = json.dumps(f"{args.folder.resolve()}/synthetic-*{digits}.jsonl.zst")
            command += ["--set", f"source.{name}.path={files}"]
        start = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines = [(time.monotonic() - start, line.rstrip("\n")) for line in child.stderr]
        _, status, usage = os.wait4(child.pid, 0)
        self.code = child.returncode = os.waitstatus_to_exitcode(status)
        self.wall, self.cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024 / 1e6

    def at(self, start):
        """When it first said a line that begins so."""
        found = [seconds for seconds, line in self.lines if line.startswith(start)]
        return found[0] if found else None

    def total(self, what):
        print(f"{what}: exit {self.code}, {self.wall:.1f} s, {self.cpu:.1f} CPU seconds, peak {self.peak:.0f} MB")


def whole(args):
    run = Run(args, 100_000_000)
    run.total("whole")
    for _, line in run.lines:
        if found := STAGE.match(line):
            name, documents, megabytes, seconds, speed = found.groups()
            print(f"  {name:<16}{int(documents):>12,} docs{megabytes:>9} MB{seconds:>9} s{speed or '-':>9} MB per CPU second")
    mixture(run)
    if run.code:
        sys.exit("\n".join(line for _, line in run.lines[-5:]))


def mixture(run):
    for start in ("buckets committed", "mix/general committed", "mixture/general committed"):
        if seconds := run.at(start):
            print(f"  {start:<28}{seconds:>8.1f} s from the start")


def again(args):
    run = Run(args, 120_000_000)
    run.total("again")
    mixture(run)
    computed = [line for _, line in run.lines if STAGE.match(line)]
    if run.code or computed or run.at("mix/general committed") is None:
        sys.exit(f"it did more, or less, than mix again: {computed}, {run.lines[-5:]}")


def spoil(run_dir):
    """Overwrites the column chunks of `text`; all others can be read as before."""
    query = """SELECT coalesce(dictionary_page_offset, data_page_offset), total_compressed_size FROM parquet_metadata(?)
        WHERE path_in_schema = 'text'"""
    files = sorted((run_dir / "documents").glob("part-*.parquet"))
    size = 0
    for path in files:
        chunks = duckdb.execute(query, [str(path)]).fetchall()
        with open(path, "r+b") as file:
            for start, length in chunks:
                file.seek(start)
                file.write(b"\xff" * length)
                size += length
    print(f"overwrote {size / 1e6:.0f} MB of text in {len(files)} files")


def no_text(args):
    spoil(args.run_dir)
    run = Run(args, 110_000_000)
    run.total("no text")
    mixture(run)
    if run.code == 0 or run.at("mix/general committed") is None or run.at("mixture/general committed"):
        sys.exit(f"text was read before the export, or not by it: {run.lines[-5:]}")
    print(f"  then {run.lines[-1][1][:200]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curate")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--run-dir", type=pathlib.Path, default=pathlib.Path("runs/remix"))
    args = parser.parse_args()
    if not (args.run_dir / "run.json").exists():
        whole(args)
    again(args)
    no_text(args)
    shutil.rmtree(args.run_dir)


if __name__ == "__main__":
    main()
