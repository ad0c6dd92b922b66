"""The labels of the bench `fasttext` beside those of the package `fasttext`, on the same texts.

    python tests/bench/fasttext_peer.py MODEL CORPUS.jsonl.zst LABELS.tsv

Prints the speed of the package, the labels that differ, and the largest difference of a probability. Exit 1 if a label
differs or a probability by more than 1e-5.
"""

import io
import json
import sys
import time

import fasttext
import zstandard

TOLERANCE = 1e-5


def texts(path):
    with open(path, "rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
            yield json.loads(line).get("text") or ""


def main():
    model_path, corpus, labels = sys.argv[1:]
    fasttext.FastText.eprint = lambda _: None
    model = fasttext.load_model(model_path)
    # The package takes one line at a time.
    lines = [text.replace("\n", " ") for text in texts(corpus)]

    start = time.process_time()
    answers = [model.predict(line) for line in lines]
    seconds = time.process_time() - start
    size = sum(len(line.encode()) for line in lines) / 1e6
    print(f"package: {size / seconds:.1f} MB/s, {len(lines) / seconds:.0f} documents/s")

    with open(labels, encoding="utf-8") as file:
        found = [line.rstrip("\n").split("\t") for line in file]
    assert len(found) == len(answers), (len(found), len(answers))
    pairs = [(ours, ((names or ("",))[0], float(values[0]) if names else 0.0)) for ours, (names, values) in zip(found, answers)]
    differ = sum(ours[0] != theirs[0] for ours, theirs in pairs)
    farthest = max((abs(float(ours[1]) - theirs[1]) for ours, theirs in pairs), default=0.0)
    print(f"{len(pairs)} texts: {differ} labels differ, |dp| at most {farthest:.1e}")
    sys.exit(differ > 0 or farthest > TOLERANCE)


main()
