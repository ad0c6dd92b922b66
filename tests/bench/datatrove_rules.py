#!/usr/bin/env python3
"""CPU time of datatrove's Gopher, C4 and FineWeb filters, in one process: what `make bench-rules` compares with.

    pip install -r tests/bench/requirements.txt
    python3 tests/bench/datatrove_rules.py FILE.jsonl[.zst] [N]

Each filter of FineWeb's chain sees the original text of each of the first N documents (default 1000), whatever the others
say, so that all of them judge all documents. Time is process_time around each filter; reading and the loading of the
tokenizer do not count. datatrove keeps the words of the last texts it split: Gopher quality finds those that Gopher
repetition split, while FineWeb's rules mostly split again, since C4's sentences came in between. So it is in datatrove's own
pipelines. MB are 10^6 bytes of UTF-8.
"""

import argparse
import importlib.metadata
import io
import itertools
import json
import pathlib
import platform
import time

import zstandard
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import get_filter_result

FILTERS = {
    "gopher_repetition": GopherRepetitionFilter(),
    "gopher_quality": GopherQualityFilter(),
    "c4": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb": FineWebQualityFilter(),
}
# Five plain sentences on five lines: every filter gets as far as its tokenizer.
WARM_UP = "\n".join(f"Line {word} of the text that has the filters load their tokenizer." for word in "one two three four five".split())


def read(path, count):
    with open(path, "rb") as f:
        raw = zstandard.ZstdDecompressor().stream_reader(f, read_across_frames=True) if path.suffix == ".zst" else f
        lines = io.TextIOWrapper(raw, "utf-8", newline="\n")
        return [json.loads(line)["text"] for line in itertools.islice(lines, count)]


def judge(rule, text):
    """Whether `text` passes, and the CPU time it took, seconds."""
    doc = Document(text=text, id="")
    start = time.process_time()
    result = rule.filter(doc)
    return bool(get_filter_result(result)[0]), time.process_time() - start


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("file", type=pathlib.Path)
    args.add_argument("documents", type=int, nargs="?", default=1000)
    args = args.parse_args()

    texts = read(args.file, args.documents)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    for rule in FILTERS.values():
        judge(rule, WARM_UP)

    seconds, passed = dict.fromkeys(FILTERS, 0.0), dict.fromkeys(FILTERS, 0)
    for text in texts:
        for name, rule in FILTERS.items():
            passes, took = judge(rule, text)
            passed[name] += passes
            seconds[name] += took
    total = sum(seconds.values())

    versions = {name: importlib.metadata.version(name) for name in ("datatrove", "spacy")}
    print(f"documents {len(texts)}")
    print(f"text {megabytes:.2f} MB")
    for name in FILTERS:
        print(f"{name} cpu_s={seconds[name]:.2f} MB_per_cpu_s={megabytes / seconds[name]:.2f} passed={passed[name]}")
    print(f"all cpu_s={total:.2f}")
    print(f"versions datatrove={versions['datatrove']} spacy={versions['spacy']} python={platform.python_version()}")
    print(f"peer datatrove-{versions['datatrove']} MB_per_cpu_s={megabytes / total:.2f} docs_per_s={len(texts) / total:.1f}")


if __name__ == "__main__":
    main()
