"""Counts the instructions of kernels by callgrind, and compares them with the table of docs/measurements.md.

    instructions.py PROGRAM [--write]

PROGRAM is the bench `instructions`. A count that is more than 5 % above the table fails. Counts do not depend on the load of a machine.
They depend on the compiler: with another rustc than the table's, differences are printed and do not fail. --write makes the table anew.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

KERNELS = ["documents", "language", "signals", "signatures", "near_dedup", "tokens"]
PAGE = pathlib.Path(__file__).parents[2] / "docs/measurements.md"
HEADING = "## Instructions of the kernels"
MOST = 1.05


def count(program, kernel):
    """Instructions of one pass. The environment is fixed, because it moves the stack."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--toggle-collect=*instructions::counted*"]
        log = subprocess.run([*words, program, kernel], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    found = re.search(r"Collected : (\d+)", log.stderr)
    if log.returncode or not found or int(found[1]) < 1_000_000:
        sys.exit(f"{kernel} was not counted:\n{log.stderr}")
    return int(found[1])


def table(compiler, counts):
    rows = "".join(f"| `{kernel}` | {n / 1e6:,.2f} |\n" for kernel, n in counts.items())
    return f"Compiler: `{compiler}`\n\n| kernel | million instructions |\n|---|---|\n{rows}"


def main():
    program, *more = sys.argv[1:]
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    counts = {kernel: count(program, kernel) for kernel in KERNELS}
    page = PAGE.read_text()
    section = page[page.index(HEADING) :].split("\n## ")[0]
    found = re.search(r"Compiler: `(.*?)`\n\n\| kernel.*?\n\n", section + "\n\n", re.S)

    if "--write" in more:
        made = table(compiler, counts) + "\n"
        PAGE.write_text(page.replace(found[0], made) if found else page.replace(section, section.rstrip() + "\n\n" + made))
        return
    known = {kernel: float(n.replace(",", "")) * 1e6 for kernel, n in re.findall(r"\| `(\w+)` \| ([\d,.]+) \|", found[0])}
    is_same = found[1] == compiler
    slower = []
    for kernel, n in counts.items():
        ratio = n / known[kernel]
        print(f"{kernel:<12}{n / 1e6:>12,.2f} million instructions{ratio - 1:>+10.2%}")
        if ratio > MOST:
            slower.append(kernel)
    if not is_same:
        print(f"the table is of {found[1]}, this is {compiler}: make bench-instructions WRITE=--write")
    elif slower:
        sys.exit(f"more than 5 % above docs/measurements.md: {', '.join(slower)}; mend it, or make bench-instructions WRITE=--write and say why")


main()
