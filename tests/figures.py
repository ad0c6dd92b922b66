"""docs/TESTING.md out of what the tests print: python3 tests/figures.py CI.log [TORTURE.log] > docs/TESTING.md

Each log is the output of a command that the page names. A line `figure: NAME: VALUE` is a figure; of several with one name the last
counts. `test result: ok. N passed` is a number of tests.
"""

import re
import sys

HEAD = """# What the tests have shown

Made by `make testing` out of what the tests print; not written by hand. The left column is of the tests as CI runs them (`make test`
and `make faults`), the right one of `make torture`, which takes the same tests further.

| figure | in CI | `make torture` |
|---|---:|---:|
"""

TAIL = """
## How a figure is to be read

- A **durable step** is a write, an fsync, a rename, a link, a new folder, an fsync of a folder or a deletion in
  `pipeline/store/src/durable`. A step fails by EIO, ENOSPC, a panic, the end of the process, or a loss of power in two forms: names
  that no fsync made durable are gone (`power_old`), or are there with torn bytes (`power_new`). After each fault `curate verify`
  finds nothing damaged, every file that `views.sql` names is there, and the same command again ends in the bytes of an
  unbroken run, whose counts DuckDB has checked, with no file left over. By `make faults`: `tests/it/faults.rs`.
- **Kills** come at instants spread over a run in which every stage works, a model and an n-gram model included:
  `tests/it/resume.rs`, `CURATE_KILLS`.
- **Bytes flipped**: one bit of each byte of every file that a small run committed, of each `_commit.json`, of `run.json` and
  `views.sql`, one after the other; `curate verify` objected every time: `pipeline/src/commands/verify.rs`.
- **Full disks** are file systems in memory of growing size, and of growing numbers of files: `tests/it/disk_full.rs`.
- **Parquet files that ask for gigabytes** are written byte by byte, some of them in 150 bytes; each is set aside, in less than
  300 MB: `tests/it/hostile_parquet.py`.
- **Fuzz cases** are mutations of small files; the seed is printed, `CURATE_FUZZ_SEED` and `CURATE_FUZZ_CASES` take another and
  more (`make fuzz`): `pipeline/ingest/src/fuzz.rs`, `pipeline/src/fuzz.rs`.

## What is not covered

- **Real loss of power.** The two forms above are simulated between the program and the system; what a disk that lies about
  fsync does is not. Deleted folders stay deleted in both.
- **Network file systems.** The lock is flock(2) and renames are taken as atomic; NFS and object stores were not tried.
- **Faults of reads.** A disk that returns an error while an input or a committed file is read ends the run with exit 74; no test
  injects it. Spill files meet a full disk in one test, no other fault.
- **An input that changes but keeps path, size and modification time** is not read again.
- **More than one machine, Windows, macOS.** All of this ran on Linux.
- **The cuda build** runs none of these tests.
"""


def read(path):
    text = open(path, encoding="utf-8", errors="replace").read()
    figures = dict(re.findall(r"^figure: (.+): (.+)$", text, re.M))
    tests = [int(n) for n in re.findall(r"^test result: \w+\. (\d+) passed", text, re.M)]
    failed = sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED", text, re.M)))
    if not tests:
        sys.exit(f"{path}: no test result in it, no page is made of that")
    return {"tests that passed": str(sum(tests)), "tests that failed": ", ".join(failed) or "0", **dict(sorted(figures.items()))}


def main():
    columns = [read(path) for path in sys.argv[1:3]]
    columns += [{}] * (2 - len(columns))
    names = list(dict.fromkeys(name for column in columns for name in column))
    if columns[0]["tests that failed"] != "0":
        sys.exit(f"{sys.argv[1]}: {columns[0]['tests that failed']} failed, no page is made of that")
    rows = [f"| {name} | {columns[0].get(name, '')} | {columns[1].get(name, '')} |\n" for name in names]
    print(HEAD + "".join(rows) + TAIL, end="")


main()
