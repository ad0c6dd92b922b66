"""A run directory, and the call that makes one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ._program import CurateError, command
from ._table import Commit, Mixture, Table, literal, needed
from ._text import html_table, text_table, visible

if TYPE_CHECKING:
    import duckdb
    import pandas

#: What an option of `curate run` may be given as: see `run`.
Option = Union[str, int, float, bool, None, "os.PathLike[str]", Mapping[str, Any]]

#: Version of `run.json` that this package reads.
_REPORT_VERSION = 1


def run(manifest: str | os.PathLike[str], *, quiet: bool = False, **options: Option) -> Run:
    """Bring every stage of a manifest up to date, as `curate run` does, and return its run directory.

    Args:
        manifest: Path of the manifest. Paths in it are relative to it, and `runs/NAME` to the working directory.
        quiet: Keep the log to yourself. Otherwise it goes to `sys.stderr`.
        options: The options of `curate run --help`, with `_` for `-`. `True` is a flag: `allow_missing=True` is
            `--allow-missing`. A mapping is an option that is repeated: `set={"run.seed": 9}` is `--set run.seed=9`,
            whose values are written as TOML.

    Example:
        >>> run = curate.run("manifests/quickstart.toml", threads=2, set={"filter.gopher_quality.min_words": 80})

    Raises:
        CommandError: If the run fails. `exit_code` says whose fault it was.

    """
    arguments = [word for name, value in options.items() for word in _words(name, value)]
    printed = command("run", *arguments, "--", manifest, quiet=quiet)
    chosen = options.get("run_dir")
    return Run(chosen if isinstance(chosen, (str, os.PathLike)) else _directory(printed))


def _words(name: str, value: Option) -> list[str]:
    """The words of an option on the command line."""
    flag = "--" + name.replace("_", "-")
    if isinstance(value, Mapping):
        return [f"{flag}={key}={_toml(item)}" for key, item in value.items()]
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    return [f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}"]


def _toml(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, os.PathLike)):
        # A string of JSON is one of TOML, but for one control character.
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(_toml, value)) + "]"
    raise CurateError(f"a value of --set cannot be {value!r}")


def _directory(printed: str) -> str:
    """The run directory, which the last line of a finished run names."""
    last = printed.rstrip("\n").rpartition("\n")[2]
    found = re.fullmatch(r"(?:everything was cached|computed: [^;]*; cached: [^;]*;) in (.+)", last)
    if found is None:
        raise CurateError(f"the run is done, and its last line names no run directory: {last!r}; give run_dir")
    return found[1]


class FunnelRow(NamedTuple):
    """What became of the documents that reached one stage. All figures are of documents, but for the last two."""

    stage: str
    docs_in: int
    kept: int
    removed: int
    duplicates: int
    quarantined: int
    skipped: int
    #: Bytes of the text that the stage kept.
    bytes_kept: int
    #: Tokens of the text that the stage kept; None until `tokens` has run.
    tokens_kept: int | None
    #: Documents that each rule removed, by `family.rule`. Their sum is `removed`.
    removed_by: dict[str, int]

    @classmethod
    def of(cls, stage: dict[str, Any]) -> FunnelRow:
        """Take a stage of `run.json`."""
        docs, tokens = stage["docs"], stage["tokens"]
        return cls(
            stage=stage["name"],
            docs_in=docs["in"],
            kept=docs["kept"],
            removed=sum(docs["removed"].values()),
            duplicates=docs["duplicates"],
            quarantined=docs["quarantined"],
            skipped=sum(docs.get("skipped", {}).values()),
            bytes_kept=stage["bytes"]["kept"],
            tokens_kept=None if tokens is None else tokens["kept"],
            removed_by=docs["removed"],
        )


class Funnel(tuple[FunnelRow, ...]):
    """The stages of a run in their order, each with what became of its documents. A tuple of `FunnelRow`."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Draw the funnel as text, without the rules."""
        return text_table(FunnelRow._fields[:-1], (row[:-1] for row in self))

    def _repr_html_(self) -> str:
        return html_table("Funnel: documents by stage", FunnelRow._fields[:-1], (row[:-1] for row in self))

    def to_pandas(self) -> pandas.DataFrame:
        """Make a frame with a row for each stage, without the rules."""
        frame: pandas.DataFrame = needed("pandas", "Funnel.to_pandas").DataFrame(
            [row[:-1] for row in self], columns=list(FunnelRow._fields[:-1])
        )
        return frame


class Run:
    """A run directory.

    Nothing is read before it is asked for, and no lock is taken: a run may go on meanwhile. Tables are those that the
    stages committed.

    Example:
        >>> run = curate.Run("runs/quickstart")
        >>> run.table("signals").to_pandas(columns=["doc_id", "bytes"])

    Raises:
        CurateError: If the path is not a run directory.

    """

    #: The directory, as an absolute path.
    path: Path
    #: Name of the run.
    name: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a run directory for reading."""
        self.path = Path(path).absolute()
        # Kept, because a relation of DuckDB before 2.0 does not keep its connection open.
        self._connection: duckdb.DuckDBPyConnection | None = None
        owner = self.path / ".curate" / "run.json"
        try:
            self.name = str(json.loads(owner.read_bytes())["name"])
        except (FileNotFoundError, NotADirectoryError):
            raise CurateError(f"{visible(path)} is not a run directory; `curate.run(MANIFEST)` makes one") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CurateError(f"{visible(owner)} is damaged: {error}") from None

    def summary(self) -> dict[str, Any]:
        """Read `run.json`: every figure of a finished run. `curate status` prints them for people.

        Raises:
            CurateError: If the run has not finished, or another release wrote a form that this one cannot read.

        """
        path = self.path / "run.json"
        try:
            report = json.loads(path.read_bytes())
            version = report["version"]
        except FileNotFoundError:
            message = f"{visible(path)} does not exist: the run has not finished; run its manifest again"
            raise CurateError(message) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CurateError(f"{visible(path)} is damaged: {error}") from None
        if version != _REPORT_VERSION:
            raise CurateError(f"{visible(path)} has version {version}, this package reads {_REPORT_VERSION}")
        summary: dict[str, Any] = report
        return summary

    def funnel(self, source: str | None = None) -> Funnel:
        """Say what became of the documents in each stage, of all sources or of one.

        Raises:
            CurateError: If the run has not finished, or if it has no such source.

        """
        report = self.summary()
        if source is None:
            return Funnel(map(FunnelRow.of, report["stages"]))
        funnels = {of["name"]: of["funnel"] for of in report["sources"]}
        if source not in funnels:
            raise CurateError(f"there is no source {source!r}; one of: {', '.join(map(visible, funnels))}")
        return Funnel(map(FunnelRow.of, funnels[source]))

    def tables(self) -> dict[str, Table]:
        """Every committed table by its name, which is the name that `views.sql` has for it.

        Raises:
            CurateError: If a commit is damaged.

        """
        found: dict[str, Table] = {}
        for folder in self._folders():
            for table in Commit.read(self.path, folder).tables():
                found[table.name] = table
        return found

    def table(self, name: str) -> Table:
        """Return one table, such as `documents`, `signals`, `near_dedup_evidence` or `mix_general`.

        Raises:
            CurateError: If no stage has committed such a table, or if a commit is damaged.

        """
        # Most tables are the first of their own commit, so the others need not be read.
        own = {folder.replace("/", "_", 1): folder for folder in self._folders()}
        if name in own:
            return next(Commit.read(self.path, own[name]).tables())

        tables = self.tables()
        if name not in tables:
            known = ", ".join(map(visible, tables)) or "none"
            raise CurateError(f"{visible(self.path)} has no committed table {name!r}; it has: {known}")
        return tables[name]

    def mixture(self, name: str) -> Mixture:
        """Return the text of a mixture, in training order.

        Raises:
            CurateError: If the run has no such mixture, or if its commit is damaged.

        """
        mixtures = [folder[len("mixture/") :] for folder in self._folders() if folder.startswith("mixture/")]
        if name not in mixtures:
            known = ", ".join(map(visible, mixtures)) or "none"
            raise CurateError(f"{visible(self.path)} has no mixture {name!r}; it has: {known}")
        return Mixture.of(Commit.read(self.path, f"mixture/{name}"))

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Ask DuckDB over the names of `views.sql`: all tables, `funnel`, `funnel_by_source` and `skipped`.

        The connection belongs to the Run, and reads files of the run directory only.

        Example:
            >>> run.sql("SELECT source, count(*) FROM documents GROUP BY ALL")

        """
        library = needed("duckdb", "Run.sql")
        if self._connection is None:
            self._connection = _confined(library.connect(), self.path)
        connection = self._connection

        with_files = {name: table for name, table in self.tables().items() if table.files}
        for name, table in with_files.items():
            table.to_duckdb(connection).create_view(name)
        # The paths in views.sql are relative, so the tables that have files are made above.
        for statement in library.extract_statements((self.path / "views.sql").read_text("utf-8")):
            view = re.search(r'^CREATE OR REPLACE VIEW "([^"]+)"', statement.query, re.MULTILINE)
            if view is None or view[1] not in with_files:
                connection.execute(statement)
        relation: duckdb.DuckDBPyRelation = connection.sql(query)
        return relation

    def __repr__(self) -> str:
        """Name the directory."""
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Show the funnel, the mixtures and the warnings in a notebook."""
        title = f"Run {self.name}"
        try:
            report = self.summary()
        except CurateError as error:
            return html_table(title, ["state"], [[str(error)]])

        parts = [html_table(title, FunnelRow._fields[:-1], (row[:-1] for row in self.funnel()))]
        if report["mixtures"]:
            header = ["name", "docs", "draws", "tokens", "q", "d_eff", "q_calibrated"]
            rows = ([_rounded(mixture[key]) for key in header] for mixture in report["mixtures"])
            parts.append(html_table("Mixtures", header, rows))
        if report["warnings"]:
            parts.append(html_table("Warnings", ["warning"], ([text] for text in report["warnings"])))
        return "\n".join(parts)

    def _folders(self) -> list[str]:
        """The folders that hold a commit, sorted: `signals`, `mix/general`. The commit says all else."""
        folders: list[str] = []
        for folder in _subfolders(self.path):
            if _is_committed(folder):
                folders.append(folder.name)
            else:
                # Only a folder without a commit of its own has a folder for each mixture.
                folders += [f"{folder.name}/{below.name}" for below in _subfolders(folder) if _is_committed(below)]
        return folders


def _confined(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyConnection:
    """Take every other file, the network and extensions from a connection: the SQL of a run may be a stranger's."""
    # Files are named with their brackets escaped, and opened as they are.
    folders = (f"{form}/".replace("'", "''") for form in (str(path), literal(str(path))))
    connection.execute("SET allowed_directories = ['{}', '{}']".format(*folders))
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _subfolders(folder: Path) -> list[Path]:
    # A folder may hold a hundred thousand files, so none of them is looked at.
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _is_committed(folder: Path) -> bool:
    return (folder / "_commit.json").is_file()


def _rounded(value: object) -> object:
    """A float as a person reads it: to four digits below 1, else as a whole number."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if abs(value) < 1 else round(value)
