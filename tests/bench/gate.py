#!/usr/bin/env python3
"""What a model's surprise is worth as a gate: how well it tells clean prose from text of no use, by class.

    python3 tests/bench/gate.py make CORPUS.jsonl[.zst] … OUT.jsonl
    curate run tests/bench/gate.toml --until score                      # reads runs/gate.jsonl
    python3 tests/bench/gate.py report RUN_DIR [RUN_DIR_OF_ANOTHER_MODEL]

`make` writes labelled documents, `id` = class/number. `clean` and `reference` are prose of the corpora: paragraphs of
25 words or more that end as sentences do, of mostly alphabetic words, 1,000 to 2,000 characters of one document, at most
6 documents of a record's `source`; packages that the embedded model was trained on (its SOURCES.md) are left out. The bad
classes are made of others such documents, or of nothing, with a fixed seed and in their lengths. A record may name its own
`class`; else `split` = code, `meta.kind` = man and a `lang` other than en tell `code`, `manpage` and `foreign`: what a
pipeline routes before a model sees it. These stand apart and are not in the sum of the bad ones.

`report` reads the tables `documents` and `score` of a run. AUC is the chance that a document of the class is further out than
one of `clean`, ties half:

    one-sided      further out is worse predicted: more nats a token, more bits a byte
    two-sided      further out is further from the median of `reference`, in percentiles; both: the greater of the two

`kept` is what a gate leaves that drops a tenth of `reference`: the worst predicted by nats a token, or the outermost by both.
The documents of `reference` are in no other figure. With a second run: Spearman's rank correlation of the two models.
"""

import argparse
import base64
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import string
import sys
import textwrap

import duckdb

SEED, CLEAN, REFERENCE, BAD, PER_SOURCE = 20, 200, 200, 30, 6
SHORTEST, LONGEST = 1000, 2000
# Of scorers/data/embedded_lm/SOURCES.md, and what holds the same text under another name.
TRAINED_ON = """r-cran-janeaustenr sword-text-web jargon-text dict-jargon dict-wn wordnet-base sqlite3-doc python3.11-doc postgresql-doc-15
    apache2-doc python-django-doc python-sqlalchemy-doc python-pandas-doc libboost1.81-doc libboost1.74-doc rust-doc cargo-doc""".split()
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
SENTENCE_END = re.compile(r"""[.!?]["')\]”’]*$""")
LOREM = """lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua
    enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis aute irure in
    reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt culpa
    qui officia deserunt mollit anim id est laborum""".split()
MENU = """Home|About us|Contact|Products|Services|News|Blog|Login|Register|My account|Cart|Checkout|Wish list|Search|Site map|Help|FAQ|
    Support|Downloads|Careers|Press|Partners|Investors|Terms of use|Privacy policy|Cookie settings|Accessibility|Back to top|Next page|
    Previous page|Read more|Share|Tweet|Print|Subscribe|Newsletter|RSS feed|Categories|Archive|Tags|Popular posts|Recent comments|
    Women|Men|Children|Shoes|Sale|New arrivals|Gift cards|Store finder|Track your order|Returns|Shipping|Follow us|English|Deutsch|
    Français|Español|Show all|Filter|Sort by price|Add to cart|Forgot your password?|Sign up""".replace("\n    ", "").split("|")
NOTICES = """Copyright © {year} {name}. All rights reserved.|All trademarks are the property of their respective owners.|
    We use cookies to give you the best experience on our website.|By continuing to use this site you accept our use of cookies.|
    No part of this site may be reproduced without written permission of {name}.|Terms and conditions apply.|
    Read our privacy policy and our terms of service.|This page was last updated in {year}.|Powered by {name}.|
    The information on this page is provided as is, without warranty of any kind.|Your use of this site is at your own risk.|
    {name} accepts no liability for any loss or damage.|Please enable JavaScript to view this page.|Website by {name}, {year}.|
    Registered office: {name}, registered number {number}.|Licensed under the terms of the {name} agreement, version {number}.
    """.replace("\n    ", "").split("|")  # fmt: skip
NAMES = "Acme Northwind Globex Initech Umbra Contoso Fabrikam Vandelay Wayfare Bluebird Redwood Summit".split()
LICENSE = pathlib.Path(__file__).resolve().parents[2] / "LICENSE"


def until(length, separator, piece):
    """Pieces until there are so many characters."""
    pieces, total = [], 0
    while total < length:
        pieces.append(piece())
        total += len(pieces[-1]) + len(separator)
    return separator.join(pieces)


def shuffled_words(rng, text):
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def noisy_letters(rng, text):
    """A tenth of the letters are others."""
    return "".join(rng.choice(string.ascii_lowercase) if c.isalpha() and rng.random() < 0.1 else c for c in text)


def random_letters(rng, text):
    return until(len(text), " ", lambda: "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 10))))


def base64_lines(rng, text):
    return "\n".join(textwrap.wrap(base64.b64encode(rng.randbytes(len(text) * 3 // 4)).decode(), 76))


def hexdump(rng, text):
    data, at = text.encode(), rng.randrange(4096) * 16
    lines = []
    for start in range(0, len(data) // 4, 16):
        row = data[start : start + 16]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{at + start:08x}  {row[:8].hex(' ')}  {row[8:].hex(' ')}  |{shown}|")
    return "\n".join(lines)


def repeated_spam(rng, text):
    """One sentence of an advertisement, or of a text, again and again."""
    advert = f"Buy cheap {rng.choice(('watches', 'shoes', 'pills', 'loans', 'tickets'))} online at {rng.choice(NAMES)}, best price!"
    sentence = rng.choice([advert, *re.split(r"(?<=[.!?])\s+", text)])
    return until(len(text), rng.choice((" ", "\n")), lambda: sentence)


def lorem(rng, text):
    sentence = lambda: " ".join(rng.choices(LOREM, k=rng.randint(6, 14))).capitalize() + "."
    return until(len(text), " ", sentence)


def menu(rng, text):
    separator = rng.choice((" | ", "\n", " » ", "\n* "))
    return until(len(text), separator, lambda: rng.choice(MENU))


def table(rng, text):
    row = lambda: (
        f"{rng.randint(2001, 2024)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02},{rng.randint(1000, 99999)},{rng.choice(NAMES)},"
        f"{rng.randint(1, 500)},{rng.uniform(1, 900):.2f},{rng.choice(('open', 'paid', 'void'))}"
    )
    return "date,id,customer,units,amount,state\n" + until(len(text), "\n", row)


def boilerplate(rng, text):
    fill = lambda: rng.choice(NOTICES).format(year=rng.randint(1998, 2024), name=rng.choice(NAMES), number=rng.randint(1, 9999))
    return until(len(text), "\n", fill)


def license_text(rng, text):
    lines = LICENSE.read_text(encoding="utf-8").strip().splitlines()
    start = rng.randrange(len(lines) - 40)
    return "\n".join(lines[start:])[: len(text)]


MAKERS = {
    "shuffled_words": shuffled_words,
    "noisy_letters": noisy_letters,
    "random_letters": random_letters,
    "base64": base64_lines,
    "lorem": lorem,
    "repeated_spam": repeated_spam,
    "menu": menu,
    "boilerplate": boilerplate,
    "license": license_text,
    "hexdump": hexdump,
    "table": table,
}


def is_prose(block):
    words = [word.strip(".,;:!?()\"'“”’") for word in block.split()]
    alphabetic = sum(word.replace("-", "").replace("'", "").replace("’", "").isalpha() for word in words)
    stop = sum(word.lower() in STOP_WORDS for word in words)
    return len(words) >= 25 and alphabetic >= 0.9 * len(words) and stop >= 0.1 * len(words) and SENTENCE_END.search(block)


def cut(text):
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(None, 1)[0]


def prose(text):
    """The paragraphs of prose; none if they are too short."""
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    text = cut("\n\n".join(block for block in blocks if is_prose(block)))
    return text if len(text) >= SHORTEST else None


def natural_class(record):
    """The class that a record of a corpus has, `clean` if it may be prose."""
    if record.get("class"):
        return record["class"]
    if record.get("split") == "code":
        return "code"
    if record.get("lang", "en") != "en":
        return "foreign"
    return "manpage" if (record.get("meta") or {}).get("kind") == "man" else "clean"


def read(paths):
    """Records in an order that depends on their texts alone, each text once."""
    records = {}
    for path in paths:
        for (line,) in duckdb.sql(f"SELECT json FROM read_ndjson_objects('{path}')").fetchall():
            record = json.loads(line)
            records[hashlib.blake2b(f"{SEED} {record['text']}".encode()).digest()] = record
    return [records[key] for key in sorted(records)]


def choose(records):
    """Texts by class: `clean` holds those of the reference and the material of the bad classes too."""
    texts, sources, wanted = collections.defaultdict(list), collections.Counter(), {"clean": CLEAN + REFERENCE + BAD * len(MAKERS)}
    for record in records:
        name, source = natural_class(record), record.get("source")
        if source in TRAINED_ON or len(texts[name]) >= wanted.get(name, BAD) or source and sources[name, source] >= PER_SOURCE:
            continue
        text = prose(record["text"]) if name == "clean" else cut(record["text"])
        if text and len(text) >= SHORTEST:
            texts[name].append(text)
            sources[name, source] += 1
    return texts


def make(args):
    *paths, out = args.files
    texts = choose(read(paths))
    prose_texts = texts.pop("clean", [])
    half = min(CLEAN, len(prose_texts) // 3)
    material = prose_texts[2 * half :]
    if half < 30:
        sys.exit(f"{len(prose_texts)} documents of prose, at least 90 are needed")
    labelled = {"clean": prose_texts[:half], "reference": prose_texts[half : 2 * half]} | dict(sorted(texts.items()))
    for at, (name, maker) in enumerate(MAKERS.items()):
        sample = [material[(at * BAD + number) % len(material)] for number in range(BAD)]
        labelled[name] = [maker(random.Random(f"{SEED}/{name}/{number}"), text) for number, text in enumerate(sample)]
    lines = [json.dumps({"id": f"{name}/{at:03}", "class": name, "text": t}) for name, ts in labelled.items() for at, t in enumerate(ts)]
    data = "".join(line + "\n" for line in lines)
    pathlib.Path(out).write_text(data, encoding="utf-8")
    print(", ".join(f"{name} {len(ts)}" for name, ts in labelled.items()))
    print(f"{len(lines)} documents, prose of {len(prose_texts)} documents, sha256 {hashlib.sha256(data.encode()).hexdigest()}")


def scores(run_dir):
    """{source_id: (nats per token, bits per byte)} of a run, and the model's name."""
    here = os.getcwd()
    os.chdir(run_dir)
    db = duckdb.connect()
    db.execute(pathlib.Path("views.sql").read_text(encoding="utf-8"))
    rows = db.execute(
        """SELECT source_id, mean_nll, bits_per_byte FROM documents JOIN score USING (doc_id)
        WHERE mean_nll IS NOT NULL ORDER BY source_id"""
    ).fetchall()
    model, digest = db.execute("SELECT any_value(model), any_value(model_digest) FROM score").fetchall()[0]
    documents = db.execute("SELECT count(*) FROM documents").fetchall()[0][0]
    os.chdir(here)
    print(f"{run_dir}: {documents} documents, {len(rows)} with a score, model {model}, weights {digest[:12]}")
    return {source_id: (nats, bits) for source_id, nats, bits in rows}


def ranks(values):
    """Ranks from 0.5 on, ties share their mean."""
    order, ranked, at = sorted(range(len(values)), key=values.__getitem__), [0.0] * len(values), 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for place in order[at:end]:
            ranked[place] = (at + end) / 2
        at = end
    return ranked


def auc(clean, bad):
    """Mann-Whitney: the chance that one of `bad` is greater than one of `clean`."""
    total = sum(ranks(clean + bad)[len(clean) :])
    return (total - len(bad) ** 2 / 2) / (len(clean) * len(bad))


def spearman(x, y):
    x, y = ranks(x), ranks(y)
    mean = len(x) / 2
    product = sum((a - mean) * (b - mean) for a, b in zip(x, y))
    return product / (sum((a - mean) ** 2 for a in x) * sum((b - mean) ** 2 for b in y)) ** 0.5


def distance(value, reference):
    """How far from the median, in percentiles of `reference`: 0 at the median, 1 outside."""
    below, same = sum(r < value for r in reference), sum(r == value for r in reference)
    return abs(2 * (below + same / 2) / len(reference) - 1)


def median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def measures(rows, reference):
    """The columns that AUC is taken of: two one-sided, three two-sided."""
    nats, bits = [n for n, _ in reference], [b for _, b in reference]
    columns = [(n, b, distance(n, nats), distance(b, bits)) for n, b in rows]
    return [(n, b, dn, db, max(dn, db)) for n, b, dn, db in columns]


def report(args):
    runs = [scores(run) for run in args.runs]
    for path, run in zip(args.runs, runs):
        print(f"\n{path}")
        gate(run)
    if len(runs) == 2:
        both = sorted(runs[0].keys() & runs[1].keys())
        for name, ids in (("all", both), ("clean", [i for i in both if i.startswith(("clean/", "reference/"))])):
            nats, bits = (spearman([runs[0][i][at] for i in ids], [runs[1][i][at] for i in ids]) for at in (0, 1))
            print(f"\nrank correlation of the two models, {name} ({len(ids)}): nats per token {nats:.3f}, bits per byte {bits:.3f}", end="")
        print()


def gate(run):
    classes = collections.defaultdict(list)
    for source_id, row in run.items():
        classes[source_id.split("/")[0]].append(row)
    reference = classes.pop("reference", None)
    if not reference or "clean" not in classes:
        sys.exit("no scores of `clean` and `reference`: the run is to be of documents that `make` wrote")
    measured = {name: measures(rows, reference) for name, rows in classes.items()}
    tenth = lambda at: sorted(row[at] for row in measures(reference, reference))[int(len(reference) * 0.9) - 1]
    most_nats, most_both = tenth(0), tenth(4)
    made = [name for name in MAKERS if name in measured]
    measured["all bad"] = [row for name in made for row in measured[name]]
    print(f"{'':<16}{'':>5}{'median':>14}{'one-sided AUC':>16}{'two-sided AUC':>22}{'kept, by a gate':>18}")
    print(f"{'class':<16}{'n':>5}{'nats':>7}{'bpb':>7}{'nats':>9}{'bpb':>7}{'nats':>8}{'bpb':>7}{'both':>7}{'one-sided':>11}{'both':>7}")
    for name in ["clean", *made, "all bad", *sorted(measured.keys() - MAKERS.keys() - {"clean", "all bad"})]:
        columns = list(zip(*measured[name]))
        areas = [f"{auc([row[at] for row in measured['clean']], list(columns[at])):.3f}" for at in range(5)]
        kept = [sum(v <= most for v in columns[at]) / len(columns[at]) for at, most in ((0, most_nats), (4, most_both))]
        print(
            f"{name:<16}{len(columns[0]):>5}{median(columns[0]):>7.2f}{median(columns[1]):>7.2f}"
            f"{areas[0]:>9}{areas[1]:>7}{areas[2]:>8}{areas[3]:>7}{areas[4]:>7}{kept[0]:>11.0%}{kept[1]:>7.0%}"
        )


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = args.add_subparsers(required=True)
    command = commands.add_parser("make", help="write labelled documents")
    command.add_argument("files", nargs="+", metavar="CORPUS … OUT", help="corpora in JSON lines, and the file to write")
    command.set_defaults(run=make)
    command = commands.add_parser("report", help="tables of one run or two")
    command.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN_DIR")
    command.set_defaults(run=report)
    args = args.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
