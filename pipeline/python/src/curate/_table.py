"""Tables of a run: the Parquet files that a commit names, handed to the library that the caller has."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._program import CurateError, binary
from ._text import html_table, visible

if TYPE_CHECKING:
    import datasets
    import duckdb
    import pandas
    import polars
    import pyarrow as pa

    from ._torch import MixtureRows

#: Version of the layout of a run directory that this package reads.
_FORMAT = 2


def needed(module: str, by: str) -> Any:
    """Import an optional package, or say what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        package = module.partition(".")[0]
        raise ModuleNotFoundError(f"{by}() needs the package {package}: pip install {package}", name=package) from None


class File(NamedTuple):
    """A file of a table, as its commit describes it."""

    path: str
    #: Number of rows.
    rows: int
    #: Bytes.
    size: int


class Commit(NamedTuple):
    """What `_commit.json` of a folder names. The text of a commit is checked for its form, its digest is not."""

    root: Path
    #: The folder, relative to the run directory: `signals` or `mix/general`.
    folder: str
    #: Files by the folder that holds them. The stage's own folder comes first.
    files: dict[str, tuple[File, ...]]

    @classmethod
    def read(cls, root: Path, folder: str) -> Commit:
        """Read the commit of a folder.

        Raises:
            CurateError: If it is damaged, or of another layout.

        """
        path = root / folder / "_commit.json"
        try:
            commit = json.loads(path.read_bytes())
            if commit["format"] != _FORMAT:
                raise CurateError(f"{visible(path)} has format {commit['format']}, this package reads {_FORMAT}")
            entries = {folder: commit["files"], **commit.get("tables", {})}
            files = {_name(name, "/"): tuple(map(_file, entries[name])) for name in entries}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CurateError(f"cannot read {visible(path)}: {error!r}; run `curate verify`") from None
        return cls(root, folder, files)

    def tables(self) -> Iterator[Table]:
        """Every table that the commit names."""
        for folder, files in self.files.items():
            yield Table(self.root, folder, files)


def _file(entry: dict[str, Any]) -> File:
    rows, size = entry["rows"], entry["size"]
    if not (isinstance(rows, int) and isinstance(size, int)):
        raise TypeError(f"rows = {rows!r}, size = {size!r}")
    return File(_name(entry["path"]), rows, size)


def _name(name: str, separator: str = "") -> str:
    """The name, which must not lead out of the run directory: a commit may be a stranger's."""
    parts = name.split(separator) if separator else [name]
    if len(parts) > 2 or any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in parts):
        raise ValueError(f"it names the file {name!r}")
    return name


class Table:
    """A table of a run, as it was committed when the table was asked for. Nothing is read before a `to_…` is called.

    `curate schema NAME` describes the columns. Rows are in the order of the files and of the documents.
    """

    #: The name that `views.sql` has for the table: `signals`, or `mix_general` for the folder `mix/general`.
    name: str
    #: Number of rows.
    rows: int
    #: Bytes of the files.
    size: int

    def __init__(self, root: Path, folder: str, files: Sequence[File]) -> None:
        """Describe a table. `Run.table` makes one."""
        self._root, self._folder, self._files = root, folder, tuple(files)
        self.name = folder.replace("/", "_", 1)
        self.rows = sum(file.rows for file in files)
        self.size = sum(file.size for file in files)

    @property
    def files(self) -> list[str]:
        """Absolute paths of the Parquet files. Empty for a table without rows.

        Raises:
            CurateError: If a file is gone or has another size than the commit says.

        """
        folder = self._root / self._folder
        paths = []
        for file in self._files:
            path = str(folder / file.path)
            try:
                size = os.path.getsize(path)
            except FileNotFoundError:
                message = f"{visible(path)} is gone: if a run has replaced it, ask the Run for the table again"
                raise CurateError(f"{message}, else `curate verify` says what is damaged") from None
            if size != file.size:
                message = f"{visible(path)} has {size} bytes, its commit says {file.size}"
                raise CurateError(f"{message}; `curate verify` says what is damaged")
            paths.append(path)
        return paths

    def to_arrow(self, columns: list[str] | None = None, filter: Any = None) -> pa.Table:
        """Read the table, or some columns of it, into memory.

        Args:
            columns: Names of the columns to read; None for all.
            filter: A `pyarrow.dataset` expression over the columns; other rows are left out while reading.

        """
        needed("pyarrow", f"{type(self).__name__}.to_arrow")
        table: pa.Table = self._dataset().to_table(columns=columns, filter=filter)
        return table

    def to_batches(self, columns: list[str] | None = None, batch_size: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Read the table batch by batch, in its order, for tables that memory does not hold.

        Args:
            columns: Names of the columns to read; None for all.
            batch_size: Most rows of a batch.

        """
        needed("pyarrow", f"{type(self).__name__}.to_batches")
        batches: Iterator[pa.RecordBatch] = self._dataset().to_batches(columns=columns, batch_size=batch_size)
        return batches

    def to_pandas(self, columns: list[str] | None = None) -> pandas.DataFrame:
        """Read the table, or some columns of it, into a pandas frame. Needs pyarrow as well."""
        needed("pandas", f"{type(self).__name__}.to_pandas")
        frame: pandas.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def to_polars(self) -> polars.LazyFrame:
        """Scan the table with polars. `collect()` reads the columns and rows that the query needs."""
        library = needed("polars", f"{type(self).__name__}.to_polars")
        files = self.files
        # Without `glob=False`, a bracket in the path would be a pattern.
        frame: polars.LazyFrame = (
            library.scan_parquet(files, glob=False) if files else library.from_arrow(self._empty()).lazy()
        )
        return frame

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """Make a relation of DuckDB over the files, which reads what a query needs.

        Args:
            connection: The connection of the relation. None for DuckDB's default one, in which `duckdb.sql` finds the
                relation by the name of the Python variable.

        """
        library = needed("duckdb", f"{type(self).__name__}.to_duckdb")
        on = library.default_connection() if connection is None else connection
        files = [literal(path) for path in self.files]
        relation: duckdb.DuckDBPyRelation = on.read_parquet(files) if files else on.from_arrow(self._empty())
        return relation

    def _dataset(self) -> Any:
        dataset = importlib.import_module("pyarrow.dataset")
        files = self.files
        return dataset.dataset(files, format="parquet") if files else dataset.dataset(self._empty())

    def _empty(self) -> pa.Table:
        """A table without rows. No file says which columns it would have, so the program is asked."""
        pyarrow = needed("pyarrow", "a table without rows")
        schema = self._folder.partition("/")[0]
        asked = subprocess.run(
            [binary(), "schema", schema, "--arrow"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if asked.returncode != 0:
            said = asked.stderr.decode("utf-8", "replace").strip()
            raise CurateError(f"{self.name} has no rows, and this release does not know its columns: {said}")
        table: pa.Table = pyarrow.ipc.open_stream(asked.stdout).read_all()
        return table

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.rows

    def __repr__(self) -> str:
        """Say name and size."""
        return f"<{type(self).__name__} {visible(self.name)}: {self.rows:,} rows in {len(self._files)} files>"

    def _repr_html_(self) -> str:
        """Show name, size and, with pyarrow, the columns in a notebook."""
        title = f"{self.name}: {self.rows:,} rows, {self.size:,} bytes in {len(self._files)} files"
        try:
            schema = self._dataset().schema
        except ImportError:
            return html_table(title, ["columns"], [["pip install pyarrow to see them"]])
        except (CurateError, OSError) as error:
            return html_table(title, ["columns"], [[str(error)]])
        return html_table(title, ["column", "type"], ([field.name, str(field.type)] for field in schema))


def literal(path: str) -> str:
    """A path for DuckDB, which takes brackets, stars and question marks for patterns."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in path)


class Mixture(Table):
    """The text of a mixture in training order: a table whose repeats are rows of their own."""

    @classmethod
    def of(cls, commit: Commit) -> Mixture:
        """Take the mixture of a commit."""
        return cls(commit.root, commit.folder, commit.files[commit.folder])

    def to_datasets(self, streaming: bool = True, **options: Any) -> datasets.IterableDataset | datasets.Dataset:
        """Make a Hugging Face dataset with the rows in training order.

        Args:
            streaming: True for an `IterableDataset` that reads the files of the run. False for a `Dataset`, for which
                `datasets` writes the text a second time, into its cache.
            options: Handed to `datasets.load_dataset`, such as `cache_dir` or `columns`.

        """
        library = needed("datasets", "Mixture.to_datasets")
        glob = importlib.import_module("glob")
        # `datasets` takes brackets in a path for a pattern.
        files = [glob.escape(path) for path in self.files]
        dataset: datasets.IterableDataset | datasets.Dataset = library.load_dataset(
            "parquet", data_files=files, split="train", streaming=streaming, **options
        )
        return dataset

    def to_torch(
        self,
        columns: Sequence[str] = ("text",),
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> MixtureRows:
        """Make an iterable dataset for PyTorch, whose rows are dictionaries.

        Each rank reads a contiguous share of the rows, and each worker of a `DataLoader` a contiguous share of its
        rank's. Shares differ by one row at most. The order of a mixture is a hash, so a share is a random sample. The
        rows and their order depend on rank, world size and number of workers only, and are the same in every epoch.

        Args:
            columns: Names of the columns to read.
            rank: Number of this process. None for that of the default process group, else for the variable `RANK`,
                else 0. It is looked up now, not when the rows are read.
            world_size: Number of processes. None for the process group's, else for the variable `WORLD_SIZE`, else 1.
            drop_last: Leave up to `world_size - 1` rows out, so that every rank has the same number.

        Raises:
            CurateError: If `rank` and `world_size` do not fit together, or if a column does not exist.

        """
        needed("torch", "Mixture.to_torch")
        needed("pyarrow", "Mixture.to_torch")
        from ._torch import MixtureRows

        rows = [file.rows for file in self._files]
        return MixtureRows(self.files, rows, list(columns), rank, world_size, drop_last)
