"""Reads a mixture's training formats with the readers that trainers use, and names every difference from its Parquet.

    python check_formats.py FOLDER [--tokenizer TOKENIZER_JSON]
    python check_formats.py FOLDER --make-tokenizer

FOLDER is an export: `part-*.parquet`, the card, `dataset.json` and, for each that is there, `part-*.jsonl.zst`,
`part-*.bin` with `.idx`, and the blend files. `dataset.json` says which id ends each document, and each of its figures is
compared with the files. With a tokenizer the ids are compared with those of the `tokenizers` package. The indexed
dataset is read by a reader of our own, written from its published layout, and by Megatron's where megatron-core and
torch are installed (0.16.1 was; neither is needed); the rest by `datasets` and `huggingface_hub`. Needs
tests/bench/requirements-formats.txt, no network. Prints the number of comparisons; exits 1 if one failed.

`--make-tokenizer` writes a tokenizer that an export may trip over: a Unigram model whose end token is one of its pieces,
a template, truncation and padding. Its ids need 32 bits, because it has more than 65,536 tokens.
"""

import argparse
import json
import math
import os
import re
import shutil
import struct
import sys
import tempfile
from glob import glob

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import numpy as np
from blake3 import blake3
import pyarrow.parquet as parquet
from huggingface_hub import DatasetCard

try:
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import get_blend_from_list
except ImportError:
    IndexedDataset = None

SIZES = ["n<1K", *(f"{low}<n<{high}" for low, high in [
    ("1K", "10K"), ("10K", "100K"), ("100K", "1M"), ("1M", "10M"), ("10M", "100M"), ("100M", "1B"), ("1B", "10B"),
    ("10B", "100B"), ("100B", "1T")]), "n>1T"]  # fmt: skip


class Check:
    """Compares, counts and keeps what differs."""

    def __init__(self, folder, tokenizer):
        os.chdir(folder)
        self.done, self.failed = 0, []
        self.tokenizer = tokenizer
        with open("dataset.json", encoding="utf-8") as file:
            self.dataset = json.load(file)
        self.cache = tempfile.mkdtemp(prefix="check-formats-")
        self.parts = [path.removesuffix(".parquet") for path in sorted(glob("part-*.parquet"))]
        self.rows = {part: parquet.read_table(f"{part}.parquet").to_pylist() for part in self.parts}

    def equal(self, what, found, expected):
        self.done += 1
        if found != expected:
            self.failed.append(f"{what}: {str(found)[:200]}, expected {str(expected)[:200]}")

    def true(self, what, holds):
        self.done += 1
        if not holds:
            self.failed.append(what)

    def fails(self, what, read):
        """Reading must not go well."""
        self.done += 1
        # What is half open complains again when it is let go.
        sys.unraisablehook = lambda _: None
        try:
            read()
        except Exception:
            return
        finally:
            sys.unraisablehook = sys.__unraisablehook__
        self.failed.append(f"{what} was read")

    def all_rows(self):
        return [row for part in self.parts for row in self.rows[part]]


def jsonl(check):
    """Each line is a row of the Parquet file of the same name."""
    for part in with_ending(check, ".jsonl.zst"):
        found = datasets.load_dataset("json", data_files=f"{part}.jsonl.zst", split="train", cache_dir=check.cache)
        same_rows(check, f"{part}.jsonl.zst", found.to_list(), check.rows[part])
        stream = datasets.load_dataset("json", data_files=f"{part}.jsonl.zst", split="train", streaming=True)
        same_rows(check, f"{part}.jsonl.zst, streamed", list(stream), check.rows[part])


def with_ending(check, ending):
    """The parts that have such a file: all or none."""
    found = [path.removesuffix(ending) for path in sorted(glob(f"part-*{ending}"))]
    check.true(f"{len(found)} files {ending}, expected {len(check.parts)}", found in ([], check.parts))
    return [part for part in found if part in check.rows]


def same_rows(check, what, found, expected):
    check.equal(f"{what}, rows", len(found), len(expected))
    for row, want in zip(found, expected):
        row = dict(row)
        if "id" in row:
            row["doc_id"] = row.pop("id")
        check.equal(f"{what}, {want['doc_id']} draw {want['draw']}", row, want)


class Pair:
    """An indexed dataset, read by its published layout alone."""

    def __init__(self, prefix):
        raw = np.fromfile(f"{prefix}.idx", dtype=np.uint8)
        magic, version, code, sequences, indices = struct.unpack("<9sQBQQ", raw[:34].tobytes())
        assert (magic, version) == (b"MMIDIDX\0\0", 1), "no index"
        self.type = {8: np.dtype("<u2"), 4: np.dtype("<i4")}[code]
        ends = np.cumsum([34, 4 * sequences, 8 * sequences, 8 * indices])
        assert ends[-1] == len(raw), f"{len(raw)} bytes of index, expected {ends[-1]}"
        lengths, pointers, documents = (raw[at:to].tobytes() for at, to in zip(ends, ends[1:]))
        self.lengths = np.frombuffer(lengths, "<i4").astype(np.int64)
        self.pointers = np.frombuffer(pointers, "<i8")
        self.documents = np.frombuffer(documents, "<i8")
        ends = np.cumsum(self.lengths) * self.type.itemsize
        assert np.array_equal(self.pointers, ends - self.lengths * self.type.itemsize), "pointers"
        assert self.documents[0] == 0 and self.documents[-1] == sequences and (np.diff(self.documents) >= 0).all()
        size = os.path.getsize(f"{prefix}.bin")
        assert size == (ends[-1] if sequences else 0), f"{size} bytes of ids, expected {ends[-1:]}"
        self.ids = np.memmap(f"{prefix}.bin", dtype=self.type, mode="r") if size else np.zeros(0, self.type)

    def document(self, at):
        first, last = self.documents[at], self.documents[at + 1]
        if first == last:
            return []
        begin = self.pointers[first] // self.type.itemsize
        return self.ids[begin : begin + self.lengths[first:last].sum()].tolist()


def megatron(check):
    """Each row is a document, in order, with its text's ids and its end; a torn pair cannot be read."""
    parts, said = with_ending(check, ".bin"), check.dataset["token_ids"]
    check.equal("token_ids without .bin files", said is None, not parts)
    if not parts:
        return
    end = said["end_id"]
    ids_of = lambda row: check.tokenizer.ids(row["text"]) if check.tokenizer else None
    all_ids = documents = 0
    for part in parts:
        pair = Pair(part)
        # Without an end, a row without ids is not in the files. Only a tokenizer tells which rows these are.
        rows = [row for row in check.rows[part] if end is not None or not check.tokenizer or ids_of(row)]
        check.equal(f"{part}.idx, documents", len(pair.documents) - 1, len(rows))
        check.equal(f"{part}.idx, type", str(pair.type), said["dtype"])
        check.equal(f"{part}.idx, documents of no or several sequences", set(np.diff(pair.documents)) - {1}, set())
        found = [pair.document(at) for at in range(len(pair.documents) - 1)]
        for ids, row in zip(found, rows):
            document(check, f"{part}.bin, {row['doc_id']}", ids, row, end, ids_of(row))
        all_ids, documents = all_ids + len(pair.ids), documents + len(found)
        torn(check, part, read_by_layout)
        if IndexedDataset and pair.ids.size:
            read = read_by_megatron(part)
            check.equal(f"{part}, documents that Megatron reads", read, found)
            torn(check, part, read_by_megatron)
    check.equal("ids of dataset.json", said["ids"], all_ids)
    check.equal("documents of dataset.json", said["documents"], documents)
    check.equal("rows of dataset.json", documents + said["documents_left_out"], len(check.all_rows()))


def document(check, what, ids, row, end, expected):
    """The ids of a document are those of its text, and the end comes last and only there."""
    if end is not None:
        check.equal(f"{what}, last id", ids[-1:], [end])
        ids = ids[:-1]
        check.true(f"{what}, an end in the middle", end not in ids)
    # The `tokenizers` package may read the name of the end in a text as the end.
    if expected is not None and (end is None or end not in expected):
        check.equal(f"{what}, ids", ids, expected)
    if check.dataset["tokens_counted_with"] == check.dataset["token_ids"]["tokenizer"]:
        check.equal(f"{what}, tokens", len(ids), row["tokens"])


def described(check):
    """`dataset.json` names every file of the folder by size and digest, and its figures are those of the rows."""
    dataset, rows = check.dataset, check.all_rows()
    names = [file["name"] for file in dataset["files"]]
    check.equal("files of dataset.json", sorted(names), sorted(set(os.listdir()) - {"dataset.json"}))
    for file in dataset["files"]:
        with open(file["name"], "rb") as opened:
            content = opened.read()
        check.equal(f"{file['name']}, bytes and digest", (len(content), blake3(content).hexdigest()), (file["bytes"], file["digest"]))
    figures = {
        "rows": len(rows),
        "documents": len({row["doc_id"] for row in rows}),
        "bytes": sum(len(row["text"].encode()) for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
    }
    check.equal("figures of dataset.json", {key: dataset[key] for key in figures}, figures)
    if check.tokenizer and dataset["token_ids"]:
        check.equal("tokenizer of dataset.json", dataset["token_ids"]["tokenizer"]["digest"], check.tokenizer.digest)
        end = dataset["token_ids"]["end_token"]
        check.equal("end_id of dataset.json", dataset["token_ids"]["end_id"], end and check.tokenizer.token_to_id(end))


def read_by_layout(prefix):
    pair = Pair(prefix)
    return [pair.document(at) for at in range(len(pair.documents) - 1)]


def read_by_megatron(prefix):
    """Through both of its readers, mapped and not."""
    mapped, read = (IndexedDataset(prefix, mmap=mmap) for mmap in (True, False))
    found = [ids.tolist() for ids in mapped]
    assert found == [ids.tolist() for ids in (read[at] for at in range(len(read)))], "its two readers differ"
    return found


def torn(check, part, read):
    """What a crash or a bad copy leaves: either file missing or cut."""
    for ending, cut in ((".idx", None), (".bin", None), (".idx", 1), (".bin", 1), (".idx", 20), (".bin", 20)):
        with tempfile.TemporaryDirectory() as folder:
            prefix = os.path.join(folder, "torn")
            for each in (".bin", ".idx"):
                shutil.copy(part + each, prefix + each)
            if cut is None:
                os.remove(prefix + ending)
            elif size := os.path.getsize(prefix + ending):
                os.truncate(prefix + ending, max(0, size - cut))
            else:
                continue
            # Where it does not map a `.bin`, Megatron takes what a cut one lacks for whatever lies in memory.
            only_mapped = read is read_by_megatron and ending == ".bin" and cut
            reader = (lambda: [ids.tolist() for ids in IndexedDataset(prefix)]) if only_mapped else lambda: read(prefix)
            check.fails(f"{part}: a pair whose {ending} is {'cut' if cut else 'gone'}", reader)


def blend(check):
    """The blend files name every part that has tokens, by its share."""
    tokens = {path.removesuffix(".bin"): len(Pair(path.removesuffix(".bin")).ids) for path in sorted(glob("part-*.bin"))}
    if os.path.exists("megatron.txt"):
        with open("megatron.txt", encoding="utf-8") as file:
            same_blend(check, "megatron.txt", file.read().split(), tokens)
    if os.path.exists("megatron.json"):
        with open("megatron.json", encoding="utf-8") as file:
            splits = json.load(file)
        check.equal("megatron.json, splits", sorted(splits), ["test", "train", "valid"])
        same_blend(check, "megatron.json", splits["train"], tokens)
    if os.path.exists("interleave.json"):
        with open("interleave.json", encoding="utf-8") as file:
            filled = {part for part, rows in check.rows.items() if any(row["tokens"] for row in rows)}
            interleave(check, json.load(file), filled)


def same_blend(check, what, words, tokens):
    prefixes, weights = words[1::2], [float(word) for word in words[::2]]
    if IndexedDataset:
        check.equal(f"{what}, as Megatron reads it", get_blend_from_list(words), (prefixes, weights))
    expected = {os.path.basename(part): n for part, n in tokens.items() if n}
    check.equal(what, {os.path.basename(prefix): weight for prefix, weight in zip(prefixes, weights)}, expected)


def interleave(check, arguments, filled):
    """`interleave_datasets` takes the file's arguments and gives every row once."""
    files, probabilities = arguments.pop("data_files"), arguments["probabilities"]
    parts = [file.removesuffix(".parquet").removesuffix(".jsonl.zst") for file in files]
    check.equal("parts that interleave.json leaves out", filled - set(parts), set())
    rows = [row for part in parts for row in check.rows[part]]
    check.true(f"probabilities sum to {sum(probabilities)}", math.isclose(sum(probabilities), 1, rel_tol=1e-12))
    for part, share in zip(parts, probabilities, strict=True):
        expected = len(check.rows[part]) / len(rows)
        check.true(f"{part}: probability {share}, expected {expected}", math.isclose(share, expected, rel_tol=1e-12))
    kinds = ["parquet" if file.endswith(".parquet") else "json" for file in files]
    loaded = [
        datasets.load_dataset(kind, data_files=file, split="train", cache_dir=check.cache)
        for kind, file in zip(kinds, files)
    ]
    mixed = datasets.interleave_datasets(loaded, **arguments)
    found = [(row.get("doc_id", row.get("id")), row["draw"]) for row in mixed]
    expected = sorted((row["doc_id"], row["draw"]) for row in rows)
    check.equal("rows that interleave_datasets gives", sorted(found), expected)


def table(text, heading):
    """The cells of the first table under a heading."""
    lines = text.split(f"\n## {heading}\n", 1)[-1].split("\n## ", 1)[0].splitlines() if f"\n## {heading}\n" in text else []
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return rows[2:]


def licenses(check, data, text):
    """The header's licence is that of all sources, or `other` by a name that the Hub takes."""
    stated = {row[6].lower() for row in table(text, "Sources")}
    license, name = data.get("license"), data.get("license_name")
    check.equal("license where none is stated", license is None, stated <= {"not stated"})
    if license is None:
        return
    check.true(f"license of the card: {license}, {name}", isinstance(license, str) and (name is not None) == (license == "other"))
    check.true(f"license_name: {name}", name is None or re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name))
    check.true(f"license {license} of {stated}", license == "other" or len(stated) == 1)


def languages(check, data, text, documents, tokens):
    """The header's languages are those of the table, whose figures add up to the rows'."""
    rows = table(text, "Languages")
    codes = data.get("language", [])
    codes = [codes] if isinstance(codes, str) else codes
    check.true(f"language of the card: {codes}", all(re.fullmatch(r"[a-z]{2,3}", code) for code in codes))
    check.equal("languages of the header", len(codes), len([row for row in rows if row[0] != "not identified"]))
    number = lambda text: int(text.replace(",", ""))
    check.equal("documents by language", sum(number(row[1]) for row in rows), documents)
    check.equal("tokens by language", sum(number(row[3]) for row in rows), tokens)
    for row in rows:
        shares = (f"{100 * number(row[1]) / documents:.2f} %", f"{100 * number(row[3]) / tokens:.2f} %")
        check.equal(f"shares of {row[0]}", (row[2], row[4]), shares)


def card(check):
    """The card parses, its configurations load, and its figures are those of the rows."""
    if not os.path.exists("README.md"):
        return
    found = DatasetCard.load("README.md", ignore_metadata_errors=False)
    data, rows = found.data.to_dict(), check.all_rows()
    for key, kind in (("pretty_name", str), ("size_categories", list), ("tags", list)):
        check.true(f"{key} of the card: {data.get(key)}", isinstance(data.get(key), kind))
    licenses(check, data, found.text)
    languages(check, data, found.text, len({row["doc_id"] for row in rows}), sum(row["tokens"] for row in rows))
    bounds = [0, *(10**power for power in range(3, 13))]
    check.equal("size_categories", data["size_categories"], [SIZES[sum(len(rows) >= low for low in bounds) - 1]])
    size = sum(len(row["text"].encode()) for row in rows)
    infos = {info["config_name"]: info for info in data.get("dataset_info", [])}
    for config in data.get("configs", []):
        name = config["config_name"]
        paths = config["data_files"][0]["path"]
        files = [file for path in ([paths] if isinstance(paths, str) else paths) for file in sorted(glob(path))]
        check.equal(f"files of {name}", len(files), len(check.parts))
        info, split = infos[name], infos[name]["splits"][0]
        check.equal(f"dataset_info of {name}", (split["num_examples"], split["num_bytes"]), (len(rows), size))
        check.equal(f"download_size of {name}", info["download_size"], sum(map(os.path.getsize, files)))
        # `load_dataset` itself compares the number of rows with the card's.
        loaded = datasets.load_dataset(os.getcwd(), name, split="train", cache_dir=check.cache)
        same_rows(check, f"configuration {name}", loaded.to_list(), rows)
    text = found.text
    tokens = sum(row["tokens"] for row in rows)
    q = sum(row["tokens"] * row["q"] for row in rows) / tokens if tokens else 0
    documents = len({row["doc_id"] for row in rows})
    figures = [("tokens", f"{tokens:,}"), ("documents", f"{documents:,}"), ("bytes of text", f"{size:,}")]
    if ids := check.dataset["token_ids"]:
        tokenizer = ids["tokenizer"]
        named = tokenizer["name"].replace("_", "\\_")
        check.true("the card's tokenizer", f"ids of the tokenizer {named} (blake3 {tokenizer['digest']})." in text)
        figures += [("ids, ends included", f"{ids['ids']:,}"), ("type of an id", ids["dtype"])]
        figures += [("documents left out, because they have no ids", f"{ids['documents_left_out']:,}")]
    for what, figure in figures:
        check.true(f"the card's {what} are not {figure}", f"\n| {what} | {figure} |\n" in text)
    stated = [line.split("|")[2] for line in text.splitlines() if line.startswith("| quality q")]
    check.true(f"q of the card: {stated}, expected {q:.4f}", len(stated) == 1 and abs(float(stated[0]) - q) < 1e-4)


class Reference:
    """The `tokenizers` package's reading of a tokenizer.json, for the text alone."""

    def __init__(self, path):
        from tokenizers import Tokenizer

        self.inner = Tokenizer.from_file(path)
        self.inner.encode_special_tokens = True  # the name of a special token in a text is text
        self.inner.no_truncation()
        self.inner.no_padding()
        self.token_to_id = self.inner.token_to_id
        with open(path, "rb") as file:
            self.digest = blake3(file.read()).hexdigest()

    def ids(self, text):
        return self.inner.encode(text, add_special_tokens=False).ids


def make_tokenizer(folder):
    """A tokenizer.json, and the tokenizer_config.json beside it that names its end."""
    from tokenizers import AddedToken, Tokenizer, models, processors

    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<s>", 0.0), *((chr(c), -4.0) for c in range(32, 127))]
    pieces += [(word, -6.0) for word in (" the", " of", " and", "ing", "tion", "er", " in", "ed")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "</s>", "<s>"])
    tokenizer.add_tokens([AddedToken(f"tok~{n}", special=False, normalized=False) for n in range(70_000)])
    specials = [("<s>", 2), ("</s>", 1)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=specials)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"eos_token": {"content": "</s>"}}, file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--tokenizer")
    parser.add_argument("--make-tokenizer", action="store_true")
    arguments = parser.parse_args()
    if arguments.make_tokenizer:
        return make_tokenizer(arguments.folder)
    tokenizer = Reference(arguments.tokenizer) if arguments.tokenizer else None
    datasets.disable_progress_bars()
    check = Check(arguments.folder, tokenizer)
    check.true("no part-*.parquet", check.parts)
    for part in (described, jsonl, megatron, blend, card):
        try:
            part(check)
        except Exception as error:  # a reader that gives up is a difference too
            check.true(f"{part.__name__}: {error!r}", False)
    shutil.rmtree(check.cache)
    for failure in check.failed:
        print(failure)
    readers = "with" if IndexedDataset else "without"
    print(f"{check.done} comparisons, {len(check.failed)} failed ({readers} Megatron's own reader)")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
