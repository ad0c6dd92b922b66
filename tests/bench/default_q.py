"""Whether the uncalibrated q orders parts of a corpus as a fitted q does: `make default-q DIR=…`.

    python default_q.py CURATE DIR OUT [--unit meta.package] [--source meta.kind] [--bucket 500] [--runs 320] [--seed 1]

Cuts the pool into buckets of about --bucket KiB of text: units of one source together, large units in pieces. Each bucket is
a source of its own, so that `curate calibrate --bins 1` fits a q to each bucket and target. Units are held out as in
calibrate_study.py. Prints Spearman's rank correlation of the fitted q with the token-weighted mean of each candidate over
the buckets, with 90 % intervals of 2,000 resamples of the buckets, over all buckets and within sources.

Candidates: `default` is q without [[quality.term]]; `heuristic` is signals.heuristic, the default before version 0.2.0; the
four values of signals.texture stand alone.
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys

import duckdb
from calibrate_study import add_arguments, field, held_out_units, number, records

CANDIDATES = {
    "default": "q.score",
    "heuristic": "s.heuristic",
    "novelty": "s.texture.novelty",
    "order": "s.texture.order",
    "sentences": "s.texture.sentences",
    "odd_words, low": "-s.texture.odd_words",
}


def buckets_of(args):
    """Writes the buckets and the targets. Returns the source of each bucket, and the names of the sources."""
    chosen = held_out_units(args)
    sources = list(chosen)
    for part in ("pool", "target"):
        os.makedirs(os.path.join(args.out, part), exist_ok=True)
    units, targets = collections.defaultdict(list), {}
    for position, record in enumerate(records(args.dir)):
        source, unit = field(record, args.source), field(record, args.unit)
        if source not in chosen:
            continue
        line = json.dumps({"id": str(position), "text": record["text"]}, ensure_ascii=False) + "\n"
        if unit in chosen[source]:
            if source not in targets:
                targets[source] = open(os.path.join(args.out, "target", f"{source}.jsonl"), "w", encoding="utf-8")
            targets[source].write(line)
        else:
            units[source, unit].append(line)
    for file in targets.values():
        file.close()

    of_bucket = {}
    for source in sources:
        size, lines = 0, []
        own = sorted(unit for name, unit in units if name == source)
        rest = [line for unit in own for line in units[source, unit]]
        for at, line in enumerate(rest):
            lines.append(line)
            size += len(line)
            if size >= args.bucket * 1024 or at == len(rest) - 1:
                # The last bucket of a source may be small; calibrate joins it with another.
                name = f"{source}-{len(of_bucket):03d}"
                with open(os.path.join(args.out, "pool", f"{name}.jsonl"), "w", encoding="utf-8") as file:
                    file.writelines(lines)
                of_bucket[name] = source
                size, lines = 0, []
    return of_bucket, sources


def ranks(values):
    order = sorted(range(len(values)), key=lambda at: values[at])
    found = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for place in order[at : end + 1]:
            found[place] = (at + end) / 2
        at = end + 1
    return found


def spearman(pairs):
    if len(pairs) < 3:
        return None
    a, b = (ranks([pair[side] for pair in pairs]) for side in (0, 1))
    mean = (len(pairs) - 1) / 2
    top = sum((x - mean) * (y - mean) for x, y in zip(a, b))
    bottom = (sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)) ** 0.5
    return top / bottom if bottom else None


def interval(pairs, draws=2000):
    generator = random.Random(1)
    found = [spearman([generator.choice(pairs) for _ in pairs]) for _ in range(draws)]
    found = sorted(value for value in found if value is not None)
    return found[int(0.05 * len(found))], found[int(0.95 * len(found)) - 1]


def within(pairs, of):
    """The mean over sources of Spearman within the source, weighted by buckets."""
    by_source = collections.defaultdict(list)
    for pair, source in zip(pairs, of):
        by_source[source].append(pair)
    parts = [(spearman(own), len(own)) for own in by_source.values() if len(own) >= 5]
    parts = [(rho, n) for rho, n in parts if rho is not None]
    return sum(rho * n for rho, n in parts) / sum(n for _, n in parts) if parts else None


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--bucket", type=float, default=500)
    parser.add_argument("--runs", type=int, default=320)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--max-buckets", type=int, default=78)
    args = parser.parse_args()

    of_bucket, sources = buckets_of(args)
    run = os.path.join(args.out, "run")
    text = '[run]\nname = "default-q"\n[language]\nengine = "none"\n[dedup.exact]\n[dedup.near]\n[dedup.paragraphs]\n'
    for name, source in of_bucket.items():
        path = os.path.abspath(os.path.join(args.out, "pool", f"{name}.jsonl"))
        # Percentiles are within the domain, which is the source of the corpus.
        text += f"[[source]]\nname = {json.dumps(name)}\npath = {json.dumps(path)}\nid = \"id\"\ndomain = {json.dumps(source)}\n"
    with open(os.path.join(args.out, "manifest.toml"), "w", encoding="utf-8") as file:
        file.write(text)
    command = [args.curate, "run", os.path.join(args.out, "manifest.toml"), "--run-dir", run]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    output = os.path.join(args.out, "calibration.json")
    words = [args.curate, "calibrate", run, "-o", output, "--bins", "1", "--max-buckets", str(args.max_buckets)]
    words += ["--tokens", "40k..800k", "--runs", str(args.runs), "--seed", args.seed, "--no-controls"]
    for name in sources:
        words += ["--target", f"{name}={os.path.join(args.out, 'target', name + '.jsonl')}"]
    code = subprocess.run(words, stdout=subprocess.DEVNULL).returncode
    if code not in (0, 1):
        return code
    with open(output, encoding="utf-8") as file:
        calibration = json.load(file)

    db = duckdb.connect()
    back = os.getcwd()
    os.chdir(run)
    with open("views.sql", encoding="utf-8") as file:
        db.execute(file.read())
    # A document without a value has no say.
    means = ", ".join(
        f"sum({value} * t.tokens) / sum(t.tokens) FILTER ({value} IS NOT NULL)" for value in CANDIDATES.values()
    )
    found = db.execute(
        f"""SELECT d.source, {means} FROM quality q JOIN documents d USING (doc_id) JOIN tokens t USING (doc_id)
        JOIN signals s USING (doc_id) WHERE q.reached AND q.removed_by IS NULL GROUP BY d.source"""
    ).fetchall()
    os.chdir(back)
    means = {row[0]: row[1:] for row in found}

    # A bucket that calibrate joined of several sources has the mean of them all; such buckets are left out.
    buckets = [bucket for bucket in calibration["buckets"] if len(bucket["members"]) == 1]
    of = [of_bucket[bucket["members"][0]["source"]] for bucket in buckets]
    count = ", ".join(f"{n} {source}" for source, n in sorted(collections.Counter(of).items()))
    print(f"{len(buckets)} buckets ({count}), {sum(bucket['tokens'] for bucket in buckets):,} tokens, {args.runs} mixtures\n")

    print("| candidate | " + " | ".join(f"{name} [90 %]; within sources" for name in sources) + " |")
    print("|---|" + "---|" * len(sources))
    for at, candidate in enumerate(CANDIDATES):
        cells = []
        for name in sources:
            pairs = [
                (means[bucket["members"][0]["source"]][at], bucket["worth"][name]["q"]) for bucket in buckets
            ]  # fmt: skip
            low, high = interval(pairs)
            cells.append(f"{number(spearman(pairs))} [{number(low)}, {number(high)}]; {number(within(pairs, of))}")
        print(f"| {candidate} | " + " | ".join(cells) + " |")
    laws = ", ".join(f"{t['name']} {t['law']['name']} {t['held_out']['ratio']:.2f}" for t in calibration["targets"])
    print(f"\nlaws and ratios to equal worth: {laws}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
