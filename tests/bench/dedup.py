#!/usr/bin/env python3
"""Deduplication beside datatrove's and rensa's on the same file, and its cost by size: what `make bench-dedup` runs.

    pip install -r tests/bench/requirements.txt
    python3 tests/bench/dedup.py CURATE FILE.jsonl.zst [--manifest manifests/dedup.toml] [--run-dir runs/bench-dedup]
                                 [--peers datatrove,rensa] [--sizes DIR ...] [--memory 16GiB]

Each tool runs as a process of its own, one after the other, from reading to labels, start-up included:

    curate      `curate run MANIFEST --until near_dedup`, with one thread and with as many as there are cores: exact and
                near-duplicates, each verified; no language is told and no rule's value computed
    datatrove   the four MinHash steps with 14 x 8 hashes, one worker: candidates, not verified
    rensa       RMinHash of 128 hashes over 5-word shingles of lower-cased \\w+ words, RMinHashLSH with 16 bands; removed if
                a kept candidate's estimated similarity is 0.8 or more

CPU is user and system time of the process and its children, peak RSS that of the largest of these, both as wait4 tells
them. MB are 10^6 bytes of UTF-8 text; documents a second are wall time; `x curate` is CPU time in units of curate's with
one thread.

--sizes runs curate over directories of .jsonl.zst files, such as the bench `synthetic` writes, and fits the exponent of
CPU time in the number of documents, for the whole run and for each stage. A run's fixed costs make it smaller than it
is for files of a second or less. --memory runs the last of them again and compares every document's fate.
"""

import argparse
import importlib.metadata
import io
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections import namedtuple

BANDS, ROWS, NGRAM, MIN_JACCARD = 14, 8, 5, 0.8
Run = namedtuple("Run", "cpu wall rss out")
STAGE = re.compile(r"^(\w+): (\d+) docs, ([\d.]+) MB in ([\d.]+) s(?:, ([\d.]+) MB per CPU second)?$", re.M)


def measure(command, log):
    """Runs `command`. This process stays small: a child's peak RSS begins with its parent's."""
    with open(log, "w+", encoding="utf-8") as file:
        start = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        out = file.read()
    if child.returncode != 0:
        sys.exit(f"{command[0]} ended with {child.returncode}:\n{out[-4000:]}")
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, out)


def curate(args, name, source, threads=None, memory=None):
    """A run of its own directory, and the stages of its `run.json`."""
    run_dir = args.run_dir / name
    shutil.rmtree(run_dir, ignore_errors=True)
    source = json.dumps(str(source.resolve()))
    command = [args.curate, "run", args.manifest, "--run-dir", run_dir, "--until", "near_dedup"]
    command += ["--set", f"source.corpus.path={source}"] + (["--threads", threads] if threads else [])
    command += ["--set", f"run.memory={memory}"] if memory else []
    run = measure(command, args.run_dir / f"{name}.log")
    with open(run_dir / "run.json", encoding="utf-8") as file:
        return run, {stage["name"]: stage for stage in json.load(file)["stages"]}


def peer(args, tool, file):
    folder = args.run_dir / tool
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, __file__, args.curate, file, "--run-dir", folder, "--only", tool]
    run = measure(command, args.run_dir / f"{tool}.log")
    return run, int(re.findall(r"^removed (\d+)$", run.out, re.M)[-1])


def compare(args):
    runs = []
    for threads in (1, None):
        run, stages = curate(args, f"curate-{threads or 'default'}", args.file, threads)
        runs.append((f"curate, {threads or os.cpu_count()} threads", run, sum(s["docs"]["duplicates"] for s in stages.values())))
        documents, megabytes = stages["documents"]["docs"]["in"], stages["documents"]["bytes"]["in"] / 1e6
    for tool in args.peers:
        run, removed = peer(args, tool, args.file)
        runs.append((f"{tool} {importlib.metadata.version(tool)}", run, removed))
    print(f"{documents} documents, {megabytes:.1f} MB of text")
    print(f"{'':<22}{'MB/cpu s':>10}{'cpu s':>9}{'docs/s':>10}{'peak MB':>9}{'removed':>9}{'x curate':>10}")
    for name, run, removed in runs:
        rate, ratio = megabytes / run.cpu, run.cpu / runs[0][1].cpu
        speed, peak = documents / run.wall, run.rss / 1e6
        print(f"{name:<22}{rate:>10.2f}{run.cpu:>9.1f}{speed:>10.0f}{peak:>9.0f}{removed:>9}{ratio:>10.1f}")
    print("\nstages of curate, one thread")
    print(f"{'':<22}{'MB/cpu s':>10}{'cpu s':>9}{'docs/s':>10}")
    for name, docs, mb, wall, rate in STAGE.findall(runs[0][1].out):
        cpu = f"{float(mb) / float(rate):.2f}" if rate else "< 0.05"
        print(f"{name:<22}{rate or '-':>10}{cpu:>9}{float(docs) / max(float(wall), 0.01):>10.0f}")


def sizes(args):
    """Runs by size, and the slopes of log CPU seconds over log documents."""
    print(f"\n{'documents':>11}{'text MB':>9}{'removed':>9}{'cpu s':>9}{'us/doc':>8}{'wall s':>8}", end="")
    print(f"{'peak MB':>9}{'RSS B/doc':>11}{'disk B/doc':>12}")
    points = {}
    for directory in args.sizes:
        run, stages = curate(args, f"size-{directory.name}", directory)
        documents, megabytes = stages["documents"]["docs"]["in"], stages["documents"]["bytes"]["in"] / 1e6
        removed = sum(stage["docs"]["duplicates"] for stage in stages.values()) / documents
        disk = sum(path.stat().st_size for path in (args.run_dir / f"size-{directory.name}").rglob("*") if path.is_file())
        print(
            f"{documents:>11}{megabytes:>9.1f}{removed:>9.1%}{run.cpu:>9.1f}{run.cpu / documents * 1e6:>8.0f}{run.wall:>8.1f}"
            f"{run.rss / 1e6:>9.0f}{run.rss / documents:>11.0f}{disk / documents:>12.0f}",
            flush=True,
        )
        points.setdefault("all", []).append((documents, run.cpu))
        for name, _, mb, _, rate in STAGE.findall(run.out):
            if rate:
                points.setdefault(name, []).append((documents, float(mb) / float(rate)))
    for memory in args.memory:
        run, _ = curate(args, f"memory-{memory}", args.sizes[-1], memory=memory)
        names = (f"memory-{memory}", f"size-{args.sizes[-1].name}")
        digests = [near_dedup_digest(args.run_dir / name) for name in names]
        same = "the same decisions" if digests[0] == digests[1] else "OTHER DECISIONS"
        print(f"memory = {memory}: {run.cpu:.1f} cpu s, peak {run.rss / 1e6:.0f} MB, {same} as above")
    print("\nof the last size")
    print("\n".join(line for line in run.out.splitlines() if line.startswith("near_dedup: ")))
    print("\ncost exponent over the sizes of 0.05 CPU seconds or more, over the largest two, and the CPU seconds")
    for name, measured in points.items():
        if len({documents for documents, _ in measured}) > 1:
            seconds = "".join(f"{seconds:>10.2f}" for _, seconds in sorted(measured))
            print(f"{name:<22}{slope(measured):>6.2f}{slope(sorted(measured)[-2:]):>6.2f}{seconds:>{10 * len(args.sizes)}}")


def near_dedup_digest(run_dir):
    """Content digests do not depend on shards; these are of every row's fate and of the evidence."""
    with open(run_dir / "near_dedup/_commit.json", encoding="utf-8") as file:
        commit = json.load(file)
    files = commit["files"] + [file for table in commit["tables"].values() for file in table]
    return [file["content"] for file in files]


def slope(points):
    x, y = [math.log(documents) for documents, _ in points], [math.log(seconds) for _, seconds in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)


def datatrove(file, folder):
    """The steps of datatrove's example; the last writes the documents that are kept."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.logging import logger

    logger.remove()
    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS)
    reader = JsonlReader(str(file.parent), glob_pattern=file.name)
    at = {name: str(folder / name) for name in ("signatures", "buckets", "remove", "kept")}
    steps = [
        ([reader, MinhashDedupSignature(at["signatures"], config=config)], 1),
        ([MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)], BANDS),
        ([MinhashDedupCluster(at["buckets"], at["remove"], config=config)], 1),
        ([reader, MinhashDedupFilter(at["remove"], exclusion_writer=None), JsonlWriter(at["kept"], compression=None)], 1),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(folder / f"logs-{number}")).run()
    return sum(path.stat().st_size // 4 for path in (folder / "remove").glob("*.remove"))


def rensa(file, _folder):
    import zstandard
    from rensa import RMinHash, RMinHashLSH

    index, kept, removed = RMinHashLSH(threshold=MIN_JACCARD, num_perm=128, num_bands=16), {}, 0
    word = re.compile(r"\w+")
    with open(file, "rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True), "utf-8", newline="\n")
        for number, line in enumerate(lines):
            words = word.findall(json.loads(line)["text"].lower())
            shingles = {" ".join(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)}
            if not shingles:
                continue
            minhash = RMinHash(num_perm=128, seed=42)
            minhash.update(list(shingles))
            if any(minhash.jaccard(kept[other]) >= MIN_JACCARD for other in index.query(minhash)):
                removed += 1
            else:
                kept[number] = minhash
                index.insert(number, minhash)
    return removed


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("curate", type=pathlib.Path)
    args.add_argument("file", type=pathlib.Path)
    args.add_argument("--manifest", type=pathlib.Path, default=pathlib.Path("manifests/dedup.toml"))
    args.add_argument("--run-dir", type=pathlib.Path, default=pathlib.Path("runs/bench-dedup"))
    args.add_argument("--peers", type=lambda tools: re.findall(r"\w+", tools), default=["datatrove", "rensa"], help="none: sizes only")
    args.add_argument("--sizes", type=pathlib.Path, nargs="+", default=[], help="directories of .jsonl.zst files, one a size")
    args.add_argument("--memory", nargs="+", default=[], help="values of run.memory to run the last size with again")
    args.add_argument("--only", choices=("datatrove", "rensa"), help=argparse.SUPPRESS)
    args = args.parse_args()
    args.run_dir.mkdir(parents=True, exist_ok=True)
    if args.only:
        print(f"removed {globals()[args.only](args.file.resolve(), args.run_dir)}")
        return
    if args.peers:
        compare(args)
    if args.sizes:
        sizes(args)


if __name__ == "__main__":
    main()
