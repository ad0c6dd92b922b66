"""Parquet files, written byte by byte, of which some take gigabytes or end the process in a reader that believes them:
python3 tests/it/hostile_parquet.py FOLDER

What a file is called says what it lies about. Files in FOLDER/fine are odd and none the less to be read: two rows each.
Layout: github.com/apache/parquet-format, parquet.thrift; encoding of its structs: the Thrift compact protocol.
"""

import gzip
import pathlib
import struct
import sys

BYTE, I32, I64, BINARY, LIST, STRUCT = 3, 5, 6, 8, 9, 12
INT32, BYTE_ARRAY, FIXED = 1, 6, 7
UNCOMPRESSED, GZIP, LZ4 = 0, 2, 5
PLAIN, DELTA_LENGTH, DELTA, DICTIONARY = 0, 6, 7, 8
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
UTF8, DECIMAL = 0, 5
MIB = 1 << 20


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def zigzag(n):
    return varint(n << 1 if n >= 0 else (-n << 1) - 1)


def write(kind, value):
    if kind == BYTE:
        return bytes([value])
    if kind in (I32, I64):
        return zigzag(value)
    if kind == BINARY:
        return varint(len(value)) + value
    if kind == LIST:
        of, values = value
        return bytes([0xF0 | of]) + varint(len(values)) + b"".join(write(of, each) for each in values)
    out = b""
    for number, of, each in value:
        out += bytes([of]) + zigzag(number) + write(of, each)
    return out + b"\0"


def field(name, kind=None, repetition=REQUIRED, **more):
    """A schema element: more is length, children, converted, scale, precision."""
    numbers = {"length": 2, "children": 5, "converted": 6, "scale": 7, "precision": 8}
    fields = [(3, I32, repetition), (4, BINARY, name.encode())]
    fields += [(1, I32, kind)] if kind is not None else []
    return sorted(fields + [(numbers[key], I32, value) for key, value in more.items()])


def page(kind, data, structs, codec=UNCOMPRESSED, size=None):
    size = len(data) if size is None else size
    data = gzip.compress(data) if codec == GZIP else data
    return write(STRUCT, [(1, I32, kind), (2, I32, size), (3, I32, len(data))] + structs) + data


def v1(values, encoding):
    return (5, STRUCT, [(1, I32, values), (2, I32, encoding), (3, I32, 3), (4, I32, 3)])


def v2(values):
    return (8, STRUCT, [(1, I32, values), (2, I32, 0), (3, I32, values), (4, I32, PLAIN), (5, I32, 1), (6, I32, 0)])


def data(values, body, encoding=PLAIN, **more):
    return page(0, body, [v1(values, encoding)], **more)


def dictionary(entries, body, **more):
    return page(2, body, [(7, STRUCT, [(1, I32, entries), (2, I32, PLAIN)])], **more)


def column(name, kind, values, pages, codec=UNCOMPRESSED, has_dictionary=False):
    return name, kind, values, pages, codec, has_dictionary


def parquet(schema, columns, rows):
    body, chunks = b"PAR1", []
    for name, kind, values, pages, codec, has_dictionary in columns:
        start, size = len(body), sum(map(len, pages))
        path = (LIST, (BINARY, [part.encode() for part in name.split(".")]))
        about = [(1, I32, kind), (2, LIST, (I32, [PLAIN])), (3, *path), (4, I32, codec), (5, I64, values)]
        about += [(6, I64, size), (7, I64, size), (9, I64, start + (len(pages[0]) if has_dictionary else 0))]
        about += [(11, I64, start)] if has_dictionary else []
        chunks.append([(2, I64, start), (3, STRUCT, about)])
        body += b"".join(pages)
    group = [(1, LIST, (STRUCT, chunks)), (2, I64, len(body)), (3, I64, rows)]
    footer = [(1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, rows), (4, LIST, (STRUCT, [group]))]
    footer = write(STRUCT, footer)
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def sized(text):
    return struct.pack("<I", len(text)) + text


def run(level, n):
    """n levels that are all the same, in RLE."""
    return varint(n << 1) + bytes([level])


def lengths(n, values):
    """The head of DELTA_BINARY_PACKED that says n, and blocks of 128 for these numbers."""
    out = varint(128) + varint(4) + varint(n) + zigzag(values[0])
    deltas = [after - before for before, after in zip(values, values[1:])]
    for at in range(0, len(deltas), 128):
        block = deltas[at : at + 128]
        least = min(block)
        parts = [[delta - least for delta in block[at : at + 32]] for at in range(0, 128, 32)]
        widths = [max(part, default=0).bit_length() for part in parts]
        out += zigzag(least) + bytes(widths)
        for part, width in zip(parts, widths):
            out += sum(value << at * width for at, value in enumerate(part)).to_bytes(4 * width, "little")
    return out


TWO = data(2, sized(b"one") + sized(b"two"))
TEXT = field("text", BYTE_ARRAY, converted=UTF8)
TEXTS = column("text", BYTE_ARRAY, 2, [TWO])


def beside(more, columns, rows=2):
    """A file with two texts and other columns."""
    return parquet([field("schema", children=1 + len(more)), TEXT, *more], [TEXTS, *columns], rows)


def alone(*pages, codec=UNCOMPRESSED, values=1, has_dictionary=False):
    column_ = column("text", BYTE_ARRAY, values, list(pages), codec, has_dictionary)
    return parquet([field("schema", children=1), TEXT], [column_], values)


def lists(name, kind, pages, **more):
    return field(name, kind, REPEATED), column(name, kind, 2, pages, **more)


def files():
    one = sized(run(0, 1)) + sized(run(1, 1))
    huge = varint(1 << 30) + varint(1) + varint(1 << 40) + zigzag(0) + zigzag(0) + b"\0"
    yield "lengths", alone(data(1, huge, DELTA_LENGTH))
    yield "shared_lengths", alone(data(1, lengths(1, [0]) + huge, DELTA))

    hidden = data(1, one + huge, DELTA_LENGTH)
    index = page(1, hidden, [(6, STRUCT, [])])
    tags = lists("tags", BYTE_ARRAY, [data(1, one + sized(b"tag")), index])
    yield "page_in_an_index", beside([tags[0]], [tags[1]])

    bomb = gzip.compress(bytes(MIB), 9) * 1024
    yield "gzip", alone(page(0, bomb, [v1(1, PLAIN)], size=10), codec=GZIP)
    yield "gzip_behind_levels", alone(page(0, b"\0" + bomb, [v1(1, PLAIN), v2(1)], size=10), codec=GZIP)
    # Four megabytes of zeros in a block: one, and a match that goes on for 16,000 bytes of 255. Frames of now and of old.
    block = b"\x1f\0\1\0" + b"\xff" * 16_000 + b"\0" + b"\x50" + b"\0" * 5
    blocks = (struct.pack("<I", len(block)) + block) * 600
    for name, head in [("lz4", struct.pack("<IBBB", 0x184D2204, 0x60, 0x70, 0x73)), ("lz4_old", struct.pack("<I", 0x184C2102))]:
        yield name, alone(page(0, head + blocks, [v1(1, PLAIN)], size=10), codec=LZ4)

    yield "size", alone(page(0, b"", [v1(1, PLAIN)], size=(1 << 31) - 1), codec=GZIP)
    empty = dictionary(4 * MIB, bytes(16 * MIB), codec=GZIP)
    codes = data(2, b"\1" + run(0, 2), DICTIONARY, codec=GZIP)
    yield "empty_entries", alone(empty, codes, codec=GZIP, values=2, has_dictionary=True)

    entry, rows = dictionary(1, sized(bytes(8 * MIB)), codec=GZIP), 1000
    codes = data(rows, b"\1" + run(0, rows), DICTIONARY, codec=GZIP)
    texts = column("text", BYTE_ARRAY, rows, [data(rows, sized(b"one") * rows)])
    decimals = [field(f"d{n}", BYTE_ARRAY, converted=DECIMAL, scale=2, precision=10) for n in range(3)]
    columns = [column(f"d{n}", BYTE_ARRAY, rows, [entry, codes], GZIP, True) for n in range(3)]
    yield "decimals", parquet([field("schema", children=4), TEXT, *decimals], [texts, *columns], rows)

    nulls = [field(f"f{n}", FIXED, OPTIONAL, length=MIB) for n in range(2000)]
    columns = [column(f"f{n}", FIXED, 2, [data(2, sized(run(0, 2)))]) for n in range(2000)]
    yield "fixed_nulls", beside(nulls, columns)
    yield "fixed_length", beside([field("f0", FIXED, OPTIONAL, length=1 << 30)], columns[:1])

    n = 100_000_000
    levels = sized(run(0, 1) + run(1, n - 1) + run(0, 1)) + sized(run(1, n + 1))
    pages = [dictionary(1, struct.pack("<I", 7)), data(n + 1, levels + b"\1" + run(0, n + 1), DICTIONARY)]
    entries = lists("n", INT32, pages, has_dictionary=True)
    yield "entries", beside([entries[0]], [entries[1]])
    n = 3585
    shared = lengths(n, [0] + [MIB] * (n - 1)) + lengths(n, [MIB] + [0] * (n - 1)) + b"a" * MIB
    levels = sized(run(0, 1) + run(1, n - 1)) + sized(run(1, n))
    second = one + lengths(1, [0]) + lengths(1, [0])
    pages = [data(values, body, DELTA, codec=GZIP) for values, body in [(n, levels + shared), (1, second)]]
    tags = lists("tags", BYTE_ARRAY, pages, codec=GZIP)
    yield "entries_that_share", beside([tags[0]], [tags[1]])

    split = lengths(2, [1, 1]) + "é".encode()
    yield "half_a_character", alone(data(2, split, DELTA_LENGTH), values=2)
    deep = [field("schema", children=2), TEXT, *[field("s", children=1)] * 50_000, field("s", INT32)]
    yield "depth", parquet(deep, [TEXTS], 2)

    group = [field("nested", children=1), field("inner", children=0)]
    yield "fine/empty_group", parquet([field("schema", children=2), TEXT, *group], [TEXTS], 2)
    tags = lists("tags", BYTE_ARRAY, [data(1, one + sized(word)) for word in (b"a", b"b")])
    yield "fine/two_lists", beside([tags[0]], [tags[1]])
    same = lengths(2, [0, 5]) + lengths(2, [5, 1]) + b"proses"
    yield "fine/delta", alone(data(2, same, DELTA), values=2)


folder = pathlib.Path(sys.argv[1])
(folder / "fine").mkdir(parents=True)
for name, content in files():
    (folder / f"{name}.parquet").write_bytes(content)
