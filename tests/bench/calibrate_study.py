"""A whole calibration of a corpus on parts of itself, with its figures as a table: `make calibrate-study DIR=…`.

    python calibrate_study.py CURATE DIR OUT [--unit meta.package] [--source meta.kind] [--least-source MIB]
                              [--target MIB] [--seeds 1,2] [--more "arguments of calibrate"]

DIR holds *.jsonl or *.jsonl.zst with a field `text`. --unit names the field whose values are held out as a whole, so that a
target shares no unit with the pool: a package, a host. The word `host` takes the host of the field `url`. --source names the
field whose values are the sources; sources below --least-source MiB of text are left out. Units of each source become its
target in the order of a hash of their names, until there are --target MiB. Units with more than an eighth of a source's
text stay in the pool.

Writes OUT/pool and OUT/target, runs `curate run`, then `curate calibrate` on all targets for each seed, and prints a Markdown
table for docs/calibration.md. Exits 0 whatever the verdicts are: the table holds them.
"""

import argparse
import collections
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.parse

import duckdb

ARMS = ["control", "random_10", "random_30", "random_60", "shuffled", "boilerplate"]


def field(record, path):
    """The value of a field such as `meta.package`, as text; `host` is the host of the url."""
    if path == "host":
        return urllib.parse.urlsplit(record.get("url") or "").hostname or ""
    for name in path.split("."):
        if not isinstance(record, dict):
            return ""
        record = record.get(name)
    return str(record or "")


def records(folder):
    """All records with text, in the order of the files."""
    names = sorted(n for n in os.listdir(folder) if n.endswith((".jsonl", ".jsonl.zst")))
    if not names:
        sys.exit(f"{folder} has no *.jsonl and no *.jsonl.zst")
    for name in names:
        path = os.path.join(folder, name).replace("'", "''")
        found = duckdb.execute(f"SELECT json FROM read_ndjson_objects('{path}', maximum_object_size=268435456)")
        while rows := found.fetchmany(1000):
            for (line,) in rows:
                record = json.loads(line)
                if record.get("text"):
                    yield record


def held_out(units, target_bytes, seed):
    """The units of one source that become its target."""
    total = sum(units.values())
    order = sorted(units, key=lambda unit: hashlib.blake2b(f"{seed}/{unit}".encode()).digest())
    chosen, size = set(), 0
    for unit in order:
        if size >= target_bytes:
            break
        if units[unit] <= total / 8:
            chosen.add(unit)
            size += units[unit]
    return chosen


def add_arguments(parser):
    """The arguments that say how a corpus is cut."""
    parser.add_argument("curate")
    parser.add_argument("dir")
    parser.add_argument("out")
    parser.add_argument("--unit", default="meta.package")
    parser.add_argument("--source", default="meta.kind")
    parser.add_argument("--least-source", type=float, default=4)
    parser.add_argument("--target", type=float, default=1.25)
    parser.add_argument("--split-seed", type=int, default=1)


def held_out_units(args):
    """The units that become a target, by source, of the sources that are large enough."""
    sizes = collections.defaultdict(collections.Counter)
    for record in records(args.dir):
        sizes[field(record, args.source)][field(record, args.unit)] += len(record["text"].encode())
    least = args.least_source * 2**20
    sources = sorted(name for name, units in sizes.items() if name and sum(units.values()) >= least and len(units) > 1)
    if len(sources) < 2:
        sys.exit(f"expected two sources or more with {args.least_source} MiB and several units, found {sources}")
    return {name: held_out(sizes[name], args.target * 2**20, args.split_seed) for name in sources}


def split(args):
    """Writes the pool and the targets. Returns the names of the sources."""
    chosen = held_out_units(args)
    shutil.rmtree(args.out, ignore_errors=True)
    for part in ("pool", "target"):
        os.makedirs(os.path.join(args.out, part))
    files = {}
    for number, record in enumerate(records(args.dir)):
        source = field(record, args.source)
        if source not in chosen:
            continue
        part = "target" if field(record, args.unit) in chosen[source] else "pool"
        if (part, source) not in files:
            files[part, source] = open(os.path.join(args.out, part, f"{source}.jsonl"), "w", encoding="utf-8")
        line = {"id": str(number), "text": record["text"]}
        files[part, source].write(json.dumps(line, ensure_ascii=False) + "\n")
    for file in files.values():
        file.close()
    return list(chosen)


def manifest(args, sources):
    text = '[run]\nname = "study"\n[language]\nengine = "none"\n[dedup.exact]\n[dedup.near]\n[dedup.paragraphs]\n'
    for name in sources:
        path = os.path.abspath(os.path.join(args.out, "pool", f"{name}.jsonl"))
        text += f"[[source]]\nname = {json.dumps(name)}\npath = {json.dumps(path)}\nid = \"id\"\n"
    path = os.path.join(args.out, "study.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def number(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def rows(calibration, seed):
    """A row of the table for each target."""
    for target in calibration["targets"]:
        held, law = target["held_out"], target["law"]
        failed = [c["name"] for c in target["verdict"]["criteria"] if not c["met"]]
        required = {c["name"] for c in target["verdict"]["criteria"] if c["required"]}
        arms = target["controls"]
        yield [
            target["name"],
            str(seed),
            target["verdict"]["grade"],
            f"{law['name']}, ρ {law['rho']:.2f}",
            number(held["error"], 4),
            number(held["error_of_equal_worth"], 4),
            number(held["error_of_score"], 4),
            f"{held['ratio']:.2f} [{held['ratio_interval'][0]:.2f}, {held['ratio_interval'][1]:.2f}]",
            number(held["tau"]),
            number(held["iso_r2"]),
            number(held["lack_of_fit"], 1),
            ", ".join(f"**{name}**" if name in required else name for name in failed) or "none",
            " ".join(number(arms.get(arm), 3) for arm in ARMS),
        ]


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--more", default="")
    args = parser.parse_args()

    sources = split(args)
    run = os.path.join(args.out, "run")
    subprocess.run([args.curate, "run", manifest(args, sources), "--run-dir", run], check=True, stdout=subprocess.DEVNULL)

    table = []
    for seed in args.seeds.split(","):
        output = os.path.join(args.out, f"calibration-{seed}.json")
        words = [args.curate, "calibrate", run, "-o", output, "--seed", seed, *shlex.split(args.more)]
        for name in sources:
            words += ["--target", f"{name}={os.path.join(args.out, 'target', name + '.jsonl')}"]
        start = time.monotonic()
        code = subprocess.run(words, stdout=subprocess.DEVNULL).returncode
        if code not in (0, 1):
            return code
        with open(output, encoding="utf-8") as file:
            calibration = json.load(file)
        tokens = sum(bucket["tokens"] for bucket in calibration["buckets"])
        print(f"seed {seed}: {len(calibration['buckets'])} buckets, {tokens:,} tokens, {time.monotonic() - start:.0f} s")
        table += rows(calibration, seed)

    head = [
        "target", "seed", "grade", "law", "error", "equal worth", "score", "ratio [95 %]", "τ", "iso-R²", "lack of fit",
        "criteria not met", "q of " + ", ".join(ARMS),
    ]  # fmt: skip
    print()
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in table:
        print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
