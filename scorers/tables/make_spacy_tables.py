"""Writes src/words/spacy/tables.rs: what spaCy 3.8's English tokenizer and sentencizer know.

    pip install spacy==3.8.18   (CPython 3.11, Unicode 14.0.0)
    python3.11 tables/make_spacy_tables.py > src/words/spacy/tables.rs

The special cases, the character classes of the patterns and the units are those of spaCy
(<https://github.com/explosion/spaCy>), under the MIT licence whose notice is printed at the top of the table.
A class is asked of `re`, code point by code point. What the patterns do with the classes is written by hand in
src/words/spacy; that they are still the patterns it was written for is asserted here.
"""

import hashlib
import re
import sys
import unicodedata

import spacy
from spacy.lang import char_classes as cc
from spacy.pipeline.sentencizer import Sentencizer
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

assert sys.version_info[:2] == (3, 11) and unicodedata.unidata_version == "14.0.0", "needs CPython 3.11"
assert spacy.__version__.startswith("3.8."), "needs spaCy 3.8"

NOTICE = """\
The MIT License (MIT)

Copyright (C) 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 Matthew Honnibal

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN
THE SOFTWARE."""

nlp = spacy.blank("en")
tokenizer = nlp.tokenizer
assert tokenizer.token_match is None and tokenizer.faster_heuristics

# The patterns that the code was written for, as a digest.
patterns = [*nlp.Defaults.prefixes, "", *nlp.Defaults.suffixes, "", *nlp.Defaults.infixes, "", nlp.Defaults.url_match.__self__.pattern]
digest = hashlib.sha256("\0".join(patterns).encode()).hexdigest()
assert digest == "bdd27a6c761563ba90fb74dcd4b4d4480213ed3166315d8502c5ab55374fe5cd", digest

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def one_of(characters):
    return re.compile(f"[{characters}]").fullmatch


dot_behind = one_of(r"0-9{al}%²\-\+{p}(?:{q})".format(al=cc.ALPHA_LOWER, p=cc.PUNCT, q=cc.CONCAT_QUOTES))
FLAGS = [
    ("PREFIX", "A prefix by itself, `+` only before other than a digit.", lambda c: tokenizer.find_prefix(c) == 1),
    ("SUFFIX", "A suffix whatever stands before.", lambda c: tokenizer.find_suffix(c) == 1),
    ("INFIX", "An infix whatever stands around: symbols and `…`.", lambda c: len(tokenizer.find_infix(c)) == 1),
    ("ALPHA", "spaCy's `ALPHA`.", one_of(cc.ALPHA)),
    ("LOWER", "spaCy's `ALPHA_LOWER`, which holds uncased scripts too.", one_of(cc.ALPHA_LOWER)),
    ("UPPER", "spaCy's `ALPHA_UPPER`, which holds uncased scripts too.", one_of(cc.ALPHA_UPPER)),
    ("QUOTE", "spaCy's `CONCAT_QUOTES`.", one_of(cc.CONCAT_QUOTES)),
    ("DOT_BEHIND", "A full stop after it is a suffix.", dot_behind),
    ("DIGIT", "`\\d` of Python's `re`.", re.compile(r"\d").fullmatch),
    ("PUNCT", "Unicode category P, the `is_punct` of tokens.", lambda c: unicodedata.category(c)[0] == "P"),
    ("SENTENCE_END", "In the sentencizer's `punct_chars`.", set(Sentencizer.default_punct_chars).__contains__),
]


def class_rows():
    rows = []
    for c in SCALARS:
        flags = sum(1 << i for i, (_, _, member) in enumerate(FLAGS) if member(chr(c)))
        if not flags:
            continue
        if rows and rows[-1][1] + 1 == c and rows[-1][2] == flags:
            rows[-1][1] = c
        else:
            rows.append([c, c, flags])
    return [f"(0x{a:X}, 0x{b:X}, 0x{f:X})" for a, b, f in rows]


def literal(text):
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c) or (c if c.isascii() else f"\\u{{{ord(c):x}}}") for c in text) + '"'


def cuts(pieces):
    """Bit n: a piece starts at byte n > 0."""
    out, at = 0, 0
    for piece in pieces[:-1]:
        at += len(piece.encode())
        out |= 1 << at
    return out


without_rules = Tokenizer(
    nlp.vocab,
    rules={},
    prefix_search=tokenizer.prefix_search,
    suffix_search=tokenizer.suffix_search,
    infix_finditer=tokenizer.infix_finditer,
    url_match=tokenizer.url_match,
)


def special_rows():
    rows = []
    for text, pieces in tokenizer.rules.items():
        if text.isspace():
            continue
        assert " " not in text and len(text.encode()) < 32
        has_affix = tokenizer.find_prefix(text) or tokenizer.find_suffix(text) or tokenizer.find_infix(text)
        phrase = cuts([token.text for token in without_rules(text)]) if has_affix else 0
        assert phrase or not has_affix or len(pieces) == 1
        rows.append((text, cuts([piece[ORTH] for piece in pieces]), phrase))
    return [f"({literal(text)}, 0x{c:x}, 0x{p:x})" for text, c, p in sorted(rows)]


def table(name, doc, kind, rows):
    print(f"\n/// {doc}\n#[rustfmt::skip]\npub(crate) const {name}: &[{kind}] = &[")
    line = "   "
    for row in rows:
        item = f" {row},"
        if len(line) + len(item) > 120:
            print(line)
            line = "   "
        line += item
    print(line + "\n];")


print("//! Special cases, character classes and units of spaCy 3.8's English tokenizer and sentencizer.")
print("//!")
print(f"//! Taken from spaCy {spacy.__version__} (<https://github.com/explosion/spaCy>) under CPython 3.11 (Unicode 14.0.0).")
print("//! Generated by `tables/make_spacy_tables.py`; do not edit. spaCy's licence:")
print("//!\n//! ```text")
for line in NOTICE.splitlines():
    print(f"//! {line}".rstrip())
print("//! ```")
for i, (name, doc, _) in enumerate(FLAGS):
    print(f"\n/// {doc}\npub(crate) const {name}: u16 = 1 << {i};")
table("CLASSES", "First and last code point, flags; in order. Characters not in it have none.", "(u32, u32, u16)", class_rows())
units = sorted(set(cc.LIST_UNITS) | {c.replace("\\", "") for c in cc.LIST_CURRENCY})
assert not any(re.search("[0-9]", unit) for unit in units)
table("UNITS", "Units and currencies, a suffix after an ASCII digit; sorted.", "&str", [literal(unit) for unit in units])
table(
    "SPECIALS",
    "Special cases, their pieces, and the tokens they would be without special cases if the matcher looks for those\n"
    "/// (0: it does not, or it is one token). Pieces are a mask: bit n says that one starts at byte n > 0. Sorted.",
    "(&str, u32, u32)",
    special_rows(),
)
