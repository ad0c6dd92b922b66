"""Reads an export of a mixture without this program: Parquet and JSON lines with DuckDB, Megatron-LM's indexed dataset by its layout.

    python check_export.py FOLDER MIXTURE_PARQUET... -- prints OK, or an assertion says what differs
"""

import glob
import json
import struct
import sys

import duckdb

folder, *parts = sys.argv[1:]
database = duckdb.connect()
columns = "doc_id AS id, source, domain, draw, tokens, q, text"
expected = database.execute(f"SELECT {columns} FROM read_parquet(?)", [parts]).fetchall()
parquet = database.execute(f"SELECT {columns} FROM read_parquet(?)", [sorted(glob.glob(f"{folder}/part-*.parquet"))]).fetchall()
assert parquet == expected, "Parquet"

lines = [line for path in sorted(glob.glob(f"{folder}/part-*.jsonl.zst"))
         for (line,) in database.execute("SELECT * FROM read_csv(?, header=false, delim='\\0', quote='', escape='', columns={'line': 'VARCHAR'}, max_line_size=100000000)", [path]).fetchall()]
rows = [tuple(json.loads(line)[key] for key in ("id", "source", "domain", "draw", "tokens", "q", "text")) for line in lines]
assert rows == expected, f"{len(rows)} JSON lines, {len(expected)} rows"

ids = 0
for path in sorted(glob.glob(f"{folder}/part-*.idx")):
    index = open(path, "rb").read()
    bin_ = open(path.removesuffix("idx") + "bin", "rb").read()
    assert index[:9] == b"MMIDIDX\0\0" and struct.unpack_from("<QB", index, 9) == (1, 8), "header"
    sequences, documents = struct.unpack_from("<QQ", index, 18)
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    pointers = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    starts = struct.unpack_from(f"<{documents}q", index, 34 + 12 * sequences)
    assert len(index) == 34 + 12 * sequences + 8 * documents and starts[0] == 0 and starts[-1] == sequences
    assert list(pointers) == [2 * sum(lengths[:at]) for at in range(sequences)] and len(bin_) == 2 * sum(lengths)
    for pointer, length in zip(pointers, lengths):
        document = struct.unpack_from(f"<{length}H", bin_, pointer)
        # The end, which no text can name.
        assert document[-1] == 0 and 0 not in document[:-1]
        ids += length - 1
assert ids == sum(row[4] for row in expected), f"{ids} ids, {sum(row[4] for row in expected)} tokens"

words = open(f"{folder}/megatron.txt").read().split()
weights = [float(word) for word in words[::2]]
assert abs(sum(weights) / max(sum(weights), 1e-9) - 1) < 1e-9 and len(words) == 2 * len(glob.glob(f"{folder}/part-*.idx"))
probabilities = json.load(open(f"{folder}/interleave.json"))["probabilities"]
assert abs(sum(probabilities) - 1) < 1e-9
described = json.load(open(f"{folder}/dataset.json"))["token_ids"]
assert described["ids"] == ids + len(expected) and described["documents"] == len(expected), "dataset.json"
card = open(f"{folder}/README.md").read()
assert card.startswith("---\n") and f"num_examples: {len(expected)}" in card, "card"
print("OK")
