"""How readable the house is, by revision: python3 tests/house.py [--build FILE] [REV ...]

Prints a Markdown table with one column for each git revision (323c7db if none is given) and a last
column for the working tree, called "now". Only files that git tracks or does not ignore are read.

The figures are about the Rust files under `src/` of every crate (every Cargo.toml with
`[package]`), without tests. Files that are only compiled for tests are left out: `tests.rs`,
`tests/*.rs`, and what a `#[cfg(test)] mod name;` declares. `#[cfg(test)] mod name { … }` blocks are
cut out. Other items behind `#[cfg(test)]` stay.

- Code line: a line with something other than white space and comments.
- Lines of code: code lines after rustfmt with its defaults, so that the layout of a revision does
  not count. A file that rustfmt refuses is counted as it stands, and the cell says how many were.
- Mean code line: characters of a code line as it stands, WITH its indentation. Lines of a single
  character (a lone bracket) do not count. This definition gives 51 for 323c7db and 37 for ripgrep,
  the figures known from elsewhere. With the lone brackets, 323c7db has 44 characters, or 38 without
  indentation.
- Function: `fn name` with a body, from the line with `fn` to the line with the closing brace. Its
  body is the lines between the lines of the braces. Closures are not functions. A nested function
  counts by itself and as part of the function around it.
- Comments in bodies: lines that hold only a comment, as a share of all body lines of the functions
  of 8 lines or more. This gives 6.3 % for ripgrep and 4.9 % for tantivy, as known from elsewhere.
  For 323c7db it gives 1.6 %, where 1.4 % was known.
- Short doc comments: blocks of `///` lines with three words or fewer.
- Longest file: all its lines as they stand, tests at its end included.
- README sentences: paragraphs and list items, without code blocks, tables and headings, are split
  at full stops. The figure is the share of sentences with `;` or `:` outside code and addresses.
- Files per recipe: list items that start with a path in backticks, below each heading
  `## Recipe: NAME` of docs/contributing.md. A revision without that page has the figures that were
  counted by hand for 323c7db.
- Clean build: `--time-build` builds the working tree into an empty folder and takes its time.
  `--build FILE` names a text of lines `REV cpu_seconds wall_seconds`, where REV may be `now`.
"""

import argparse
import io
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RECIPES_AT_323C7DB = "rule: 7–8, stage: 10–13, input format: 7–8, export format: 5, engine: 6–7"
READ_BESIDE_RUST = {"Cargo.toml", "Cargo.lock", "README.md", "docs/contributing.md"}

# A comment, a literal or a lifetime, whichever comes first. Block comments nest: only their start.
TOKEN = re.compile(
    r"""//[^\n]*
    | /\*
    | \b[bc]?r(?P<hashes>\#*)"[\s\S]*?"(?P=hashes)
    | "(?:[^"\\]|\\[\s\S])*"
    | '(?:[^'\\\n]|\\(?:u\{[^}]*\}|x[0-9a-fA-F]{2}|.))'
    | (?P<lifetime>'\w+)""",
    re.X,
)
FN = re.compile(r"\bfn\s+(\w+)")
TEST_MOD = re.compile(
    r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*([{;])"
)


# The files of a revision.


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def is_wanted(name):
    path = PurePosixPath(name)
    return path.suffix == ".rs" or path.name == "Cargo.toml" or name in READ_BESIDE_RUST


def files_of_revision(revision):
    """Text by path, from a commit."""
    try:
        commit = git("rev-parse", "--verify", revision + "^{commit}").decode().strip()
    except subprocess.CalledProcessError:
        sys.exit(f"{revision}: git knows no such revision")
    names = git("ls-tree", "-r", "-z", "--name-only", commit).decode().split("\0")
    archive = git("archive", "--format=tar", commit, "--", *filter(is_wanted, names))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [member for member in tar if member.isfile()]
        return {m.name: tar.extractfile(m).read().decode(errors="replace") for m in members}


def files_of_working_tree():
    """Text by path, from the working tree as it is now."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode()
    names = [name for name in sorted(set(listed.split("\0"))) if is_wanted(name)]
    existing = [name for name in names if (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text("utf-8", "replace") for name in existing}


# Rust, as far as comments, literals and braces go.


def end_of_block_comment(text, start):
    depth, end = 1, start + 2
    for mark in re.compile(r"/\*|\*/").finditer(text, end):
        depth += 1 if mark[0] == "/*" else -1
        end = mark.end()
        if depth == 0:
            return end
    return len(text)


@lru_cache(maxsize=None)
def mask(text):
    """The text at the same offsets, with spaces for comments and quotes for literals.

    A newline inside a literal becomes a quote too.
    """
    out, at = [], 0
    while token := TOKEN.search(text, at):
        start, end = token.span()
        out.append(text[at:start])
        if token[0] == "/*":
            end = end_of_block_comment(text, start)
        if token[0].startswith(("//", "/*")):
            out.append(re.sub(r"[^\n]", " ", text[start:end]))
        elif token["lifetime"]:
            out.append(token[0])
        else:
            out.append('"' * (end - start))
        at = end
    return "".join(out) + text[at:]


def kind_of_line(text, masked, start, end):
    if masked[start:end].strip():
        return "code"
    if text[start:end].strip():
        return "comment"
    inside_literal = start > 0 and masked[start - 1] == '"'
    return "code" if inside_literal else "blank"


@lru_cache(maxsize=None)
def lines_of(text):
    """Each line with its kind: code, comment or blank."""
    masked, at, lines = mask(text), 0, []
    for line in text.split("\n"):
        lines.append((line, kind_of_line(text, masked, at, at + len(line))))
        at += len(line) + 1
    return lines


def closing_braces(masked):
    """Where each `{` is closed."""
    opened, closed = [], {}
    for brace in re.finditer(r"[{}]", masked):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            closed[opened.pop()] = brace.start()
    return closed


def start_of_body(masked, at):
    """The `{` of the function whose name ends at `at`, or None if it has no body."""
    depth = 0
    for mark in re.compile(r"[()\[\]{};]").finditer(masked, at):
        if mark[0] in "([":
            depth += 1
        elif mark[0] in ")]":
            depth -= 1
        elif depth == 0:
            return mark.start() if mark[0] == "{" else None
    return None


class Function(NamedTuple):
    name: str
    length: int  # lines, from `fn` to the closing brace
    body: list  # kinds of the lines between the braces


def functions_of(text):
    masked = mask(text)
    kinds = [kind for _, kind in lines_of(text)]
    closed = closing_braces(masked)
    for found in FN.finditer(masked):
        start = start_of_body(masked, found.end())
        if start in closed:
            offsets = found.start(), start, closed[start]
            first, opening, last = (text.count("\n", 0, at) for at in offsets)
            yield Function(found[1], last - first + 1, kinds[opening + 1 : last])


# Tests, which do not count.


def cut_tests(text):
    """The text without its `#[cfg(test)] mod name { … }` blocks."""
    masked = mask(text)
    closed = closing_braces(masked)
    blocks = [found for found in TEST_MOD.finditer(masked) if found[2] == "{"]
    for found in reversed(blocks):
        end = closed.get(found.end() - 1, len(text) - 1)
        text = text[: found.start()] + text[end + 1 :]
    return text


def test_modules(sources):
    """Paths, without `.rs`, of the modules that `#[cfg(test)] mod name;` declares."""
    found = set()
    for name, text in sources.items():
        path = PurePosixPath(name)
        owns_folder = path.name in ("mod.rs", "lib.rs", "main.rs")
        folder = path.parent if owns_folder else path.with_suffix("")
        declared = TEST_MOD.finditer(mask(text))
        found |= {folder / module[1] for module in declared if module[2] == ";"}
    return found


def is_test_file(name, modules):
    path = PurePosixPath(name).with_suffix("")
    in_tests = "tests" in path.parts[path.parts.index("src") :]
    return in_tests or any(module in modules for module in (path, *path.parents))


def product_sources(files):
    """The Rust files of the crates' `src` folders, without files that are only tests."""
    manifests = [name for name in files if PurePosixPath(name).name == "Cargo.toml"]
    crates = [name for name in manifests if re.search(r"^\[package\]", files[name], re.M)]
    folders = tuple(str(PurePosixPath(name).parent / "src") + "/" for name in crates)
    rust = {n: text for n, text in files.items() if n.endswith(".rs") and n.startswith(folders)}
    modules = test_modules(rust)
    return {name: text for name, text in rust.items() if not is_test_file(name, modules)}


# The figures.


def percent(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "–"


@lru_cache(maxsize=None)
def formatted(text, config):
    """The text in rustfmt's default layout, or None if rustfmt fails."""
    command = ["rustfmt", "--edition", "2024", "--config-path", config, "--emit", "stdout"]
    # The folder of the configuration: no `mod name;` of the text leads to a file there.
    done = subprocess.run(command, cwd=config, input=text.encode(), capture_output=True)
    return done.stdout.decode() if done.returncode == 0 else None


def code_lines(text):
    return [line for line, kind in lines_of(text) if kind == "code"]


def lines_of_code(texts):
    with tempfile.TemporaryDirectory() as config, ThreadPoolExecutor(os.cpu_count()) as pool:
        Path(config, "rustfmt.toml").touch()
        layouts = list(pool.map(partial(formatted, config=config), texts))
    failed = layouts.count(None)
    chosen = [text if layout is None else layout for text, layout in zip(texts, layouts)]
    total = sum(len(code_lines(cut_tests(text))) for text in chosen)
    return f"{total:,}" + (f" ({failed} files not formatted)" if failed else "")


def mean_code_line(texts):
    lines = [line.rstrip() for text in texts for line in code_lines(text)]
    lengths = [len(line) for line in lines if len(line.strip()) > 1]
    return f"{sum(lengths) / max(len(lengths), 1):.1f}"


def no_blank_line(functions):
    long = [function for function in functions if function.length >= 25]
    return percent(sum("blank" not in function.body for function in long), len(long))


def comments_in_bodies(functions):
    kinds = [kind for function in functions if function.length >= 8 for kind in function.body]
    return percent(kinds.count("comment"), len(kinds))


def doc_comments(text):
    """Each block of `///` lines as one string."""
    blocks, block = [], []
    for line, kind in lines_of(text) + [("", "blank")]:
        doc = re.match(r"\s*///(?!/)(.*)", line) if kind == "comment" else None
        if doc:
            block.append(doc[1])
        elif block:
            blocks.append(" ".join(block))
            block = []
    return blocks


def short_doc_comments(texts):
    blocks = [block for text in texts for block in doc_comments(text)]
    return f"{sum(len(block.split()) <= 3 for block in blocks):,} of {len(blocks):,}"


def prose_of(markdown):
    """Paragraphs and list items of a Markdown text, each as one line, without code."""
    text = re.sub(r"^\s*```.*?^\s*```[^\n]*$|<!--.*?-->", "", markdown, flags=re.M | re.S)
    text = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"`[^`]*`|https?://\S+", "x", text)
    text = re.sub(r"^\s*(?:[|#<]|\[[^\]]*\]:).*$", "", text, flags=re.M)
    text = re.sub(r"^\s*(?:[-*+]|\d+\.)\s", "\n", text, flags=re.M)
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)]


def sentences_with_marks(markdown):
    stop = re.compile(r"(?<=[.!?])[\"”)*]*\s+(?=\W?[A-Zx0-9])")
    pieces = [piece for paragraph in prose_of(markdown) for piece in stop.split(paragraph)]
    sentences = [piece for piece in pieces if re.search(r"\w\w", piece)]
    return percent(sum(bool(re.search("[;:]", s)) for s in sentences), len(sentences))


def recipes(files):
    """`NAME: files` for each recipe of docs/contributing.md."""
    page = files.get("docs/contributing.md")
    if page is None:
        return RECIPES_AT_323C7DB + " (by hand)"
    paths, name = {}, None
    for line in re.sub(r"^\s*```.*?^\s*```[^\n]*$", "", page, flags=re.M | re.S).splitlines():
        if line.startswith("#"):
            heading = re.match(r"## Recipe: (.+)", line)
            name = heading[1].strip() if heading else None
        item = re.match(r"- `([^`\s]*/[^`\s]*)`", line)
        if name:
            paths.setdefault(name, set()).update(item.groups() if item else ())
    return ", ".join(f"{name}: {len(found)}" for name, found in paths.items()) or "no recipes"


def time_build():
    """`CPU / wall` seconds of a clean build of the working tree."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CARGO_TARGET_DIR": folder, "CARGO_INCREMENTAL": "0"}
        command = ["cargo", "build", "--quiet", "--workspace", "--bins"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{cpu:.0f} / {time.monotonic() - began:.0f}"


def build_seconds(revision, build_file):
    """`CPU / wall` of a revision, as the build file has it."""
    lines = Path(build_file).read_text("utf-8").splitlines() if build_file else []
    for built, cpu, wall in (line.split() for line in lines if len(line.split()) == 3):
        if built.startswith(revision) or revision.startswith(built):
            return f"{cpu} / {wall}"
    return "not given"


def figures(revision, files, build_file):
    """The cells of one column, by row."""
    sources = product_sources(files)
    texts = [cut_tests(text) for text in sources.values()]
    functions = [function for text in texts for function in functions_of(text)]
    longest = max(functions, key=lambda function: function.length)
    file_lines, file = max((text.count("\n"), name) for name, text in sources.items())
    readme, lock = files.get("README.md", ""), files.get("Cargo.lock", "")
    return {
        "lines of code without tests, default layout": lines_of_code(list(sources.values())),
        "mean code line, characters": mean_code_line(texts),
        "functions of 25 lines or more without a blank line": no_blank_line(functions),
        "comment lines in bodies of functions of 8 lines or more": comments_in_bodies(functions),
        "functions longer than 60 lines": str(sum(function.length > 60 for function in functions)),
        "longest function, lines": f"{longest.length} (`{longest.name}`)",
        "longest file, lines": f"{file_lines} (`{file}`)",
        "doc comments of three words or fewer": short_doc_comments(texts),
        "README, lines": str(len(readme.splitlines())),
        "README sentences with `;` or `:`": sentences_with_marks(readme),
        "crates in the lock file": str(lock.count("[[package]]\n")),
        "files per recipe": recipes(files),
        "clean build, CPU / wall seconds": build_seconds(revision, build_file),
    }


def main():
    parser = argparse.ArgumentParser(description="How readable the code is, by revision.")
    parser.add_argument("revisions", nargs="*", metavar="REV", help="git revisions (323c7db)")
    parser.add_argument("--build", metavar="FILE", help="lines `REV cpu_seconds wall_seconds`")
    parser.add_argument("--time-build", action="store_true", help="time a clean build")
    arguments = parser.parse_args()
    revisions = arguments.revisions or ["323c7db"]

    columns = [figures(rev, files_of_revision(rev), arguments.build) for rev in revisions]
    columns.append(figures("now", files_of_working_tree(), arguments.build))
    if arguments.time_build:
        columns[-1]["clean build, CPU / wall seconds"] = time_build()

    print(f"| | {' | '.join([*revisions, 'now'])} |")
    print(f"|---|{'---:|' * len(columns)}")
    for row in columns[-1]:
        print(f"| {row} | {' | '.join(column[row] for column in columns)} |")


main()
