"""Compares our texts of web pages with those of resiliparse on the same decoded pages: equal bytes, F1 against labels, and speed.

    web.py PAGES.jsonl DIR

PAGES.jsonl is written by the bench `web`. DIR has scrapinghub/ground-truth.json, trafilatura/evaldata.json and wcxb/ground-truth.json.
The metrics are those of the three benchmarks: shared 4-grams of words (means over pages), chunks that must and must not be in the text
(over all pages), and shared words (means over pages). Options of resiliparse: main_content as named, alt_texts off.
"""

import json
import pathlib
import re
import sys
import time
from collections import Counter, defaultdict

from resiliparse.extract.html2text import extract_plain_text


def mean(values):
    return sum(values) / len(values)


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def grams(text, n=4):
    words = re.findall(r"\w+", text or "")
    return Counter(tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1))) if words else Counter()


def shared_grams(labels, pages):
    """F1 of the mean precision and the mean recall of 4-grams. A page of which nothing was taken has no precision."""
    by_url = {label["url"]: label for label in labels.values()} | labels
    precisions, recalls = [], []
    for url, text in pages:
        label = by_url.get(url) or next(label for name, label in labels.items() if name in url)
        wanted, found = grams(label["articleBody"]), grams(text)
        both = sum((wanted & found).values())
        recalls.append(both / sum(wanted.values()) if wanted else 1.0)
        if found:
            precisions.append(both / sum(found.values()))
    return f1(mean(precisions), mean(recalls))


def chunks(labels, pages):
    """F1 over all chunks of all pages: `with` must be in the text, `without` must not."""
    right = wrong = missed = 0
    for url, text in pages:
        label = labels.get(url, {"with": [], "without": []})
        inside = sum(chunk in text for chunk in label["with"])
        right, missed = right + inside, missed + len(label["with"]) - inside
        wrong += sum(chunk in text for chunk in label["without"])
    return f1(right / (right + wrong), right / (right + missed))


def shared_words(labels, pages):
    """Mean F1 of the words of each page."""
    scores = []
    for url, text in pages:
        if url not in labels:
            continue
        wanted = Counter(re.findall(r"\w+", (labels[url]["main_content"] or "").lower()))
        found = Counter(re.findall(r"\w+", text.lower()))
        both = sum((wanted & found).values())
        scores.append(f1(both / max(1, sum(found.values())), both / max(1, sum(wanted.values()))))
    return mean(scores)


METRICS = {
    "scrapinghub": ("ground-truth.json", shared_grams),
    "trafilatura": ("evaldata.json", chunks),
    "wcxb": ("ground-truth.json", shared_words),
}


def by_hand():
    """Each metric on a case that can be computed by hand."""
    labels = {"u": {"url": "u", "articleBody": "a b c d e", "with": ["a b", "x"], "without": ["menu"], "main_content": "a b c d"}}
    # Two 4-grams are wanted, three are found, one is both.
    assert abs(shared_grams(labels, [("u", "a b c d x y")]) - f1(1 / 3, 1 / 2)) < 1e-12
    # One chunk of two is there, and one that must not be.
    assert abs(chunks(labels, [("u", "a b menu")]) - f1(1 / 2, 1 / 2)) < 1e-12
    assert abs(shared_words(labels, [("u", "A b z")]) - f1(2 / 3, 2 / 4)) < 1e-12


def main():
    by_hand()
    pages = defaultdict(list)
    for line in open(sys.argv[1]):
        page = json.loads(line)
        pages[page["set"]].append(page)

    print(f"\n{'set':<14}{'text':<6}{'equal bytes':>14}{'F1 ours':>9}{'F1 theirs':>11}{'their MB per CPU second':>25}")
    differing = 0
    for name, of_set in pages.items():
        file, metric = METRICS[name]
        labels = json.loads((pathlib.Path(sys.argv[2]) / name / file).read_text())
        size = sum(len(page["html"].encode()) for page in of_set)
        for kind in ("main", "text"):
            start = time.process_time()
            theirs = [extract_plain_text(page["html"], main_content=kind == "main", alt_texts=False) for page in of_set]
            seconds = time.process_time() - start
            unequal = [page["url"] for page, text in zip(of_set, theirs) if page[kind] != text]
            differing += len(unequal)
            ours = metric(labels, [(page["url"], page[kind]) for page in of_set])
            other = metric(labels, [(page["url"], text) for page, text in zip(of_set, theirs)])
            equal = f"{len(of_set) - len(unequal)} of {len(of_set)}"
            print(f"{name:<14}{kind:<6}{equal:>14}{ours:>9.4f}{other:>11.4f}{size / 1e6 / seconds:>25.1f}")
            for url in unequal:
                print(f"  differs: {url}")
    sys.exit(differing > sum(map(len, pages.values())) * 2 // 100)


if __name__ == "__main__":
    main()
