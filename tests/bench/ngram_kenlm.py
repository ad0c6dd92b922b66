#!/usr/bin/env python3
"""Holds the n-gram model's log-probabilities against KenLM's, line by line.

    pip install kenlm==0.3.0
    python3 tests/bench/ngram_kenlm.py MODEL.arpa TEXT SCORES.tsv [TOLERANCE]

SCORES has a row for each line of TEXT: its number from 0, sum of log10 p over tokens and the line's end, tokens. A token is what is
between white space. KenLM's sum is taken in double precision over its values for single tokens: its own sum is in single
precision. Exits 1 if a line has another number of tokens, or differs by more than TOLERANCE per token (default 1e-5).
"""

import argparse
import importlib.metadata
import pathlib
import sys

import kenlm


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("arpa", type=pathlib.Path)
    args.add_argument("text", type=pathlib.Path)
    args.add_argument("scores", type=pathlib.Path)
    args.add_argument("tolerance", type=float, nargs="?", default=1e-5)
    args = args.parse_args()

    model = kenlm.Model(str(args.arpa))
    # A carriage return is white space in a line, and no end of one.
    with open(args.text, encoding="utf-8", newline="\n") as file:
        lines = file.read().removesuffix("\n").split("\n")
    rows = args.scores.read_text(encoding="utf-8").splitlines()
    total = ours = theirs = 0
    largest = largest_per_token = 0.0
    same_tokens = len(rows) == len(lines)
    for number, (line, row) in enumerate(zip(lines, rows)):
        at, log10_sum, tokens = row.split("\t")
        values = [value for value, _, _ in model.full_scores(line)]
        same_tokens &= int(at) == number and int(tokens) + 1 == len(values)
        difference = abs(float(log10_sum) - sum(values))
        largest = max(largest, difference)
        largest_per_token = max(largest_per_token, difference / len(values))
        total += len(values)
        ours += float(log10_sum)
        theirs += sum(values)
    print(f"kenlm {importlib.metadata.version('kenlm')}, order {model.order}: {len(lines)} lines, {total} tokens and ends of lines")
    print(f"largest difference of log10 p: {largest:.3g} a line, {largest_per_token:.3g} per token of a line")
    print(f"perplexity {10 ** (-ours / total):.6f}, kenlm {10 ** (-theirs / total):.6f}")
    if not same_tokens:
        print("lines or tokens differ in number")
    return 0 if same_tokens and largest_per_token <= args.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
