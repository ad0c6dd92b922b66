"""Reading a run: every library sees the rows that the commits name, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Callable

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import curate


def test_the_funnel_is_that_of_run_json_and_of_views_sql(quickstart: curate.Run) -> None:
    funnel = quickstart.funnel()
    assert [row.stage for row in funnel] == [stage["name"] for stage in quickstart.summary()["stages"]]
    for row in funnel:
        assert row.docs_in == row.kept + row.removed + row.duplicates + row.quarantined + row.skipped
        assert row.removed == sum(row.removed_by.values())

    asked = quickstart.sql("SELECT stage, docs, bytes FROM funnel WHERE removed_by IS NULL ORDER BY stage_number")
    assert asked.fetchall() == [(row.stage, row.kept, row.bytes_kept) for row in funnel]
    rules = quickstart.sql("SELECT removed_by, docs FROM funnel WHERE stage = 'filter' AND removed_by IS NOT NULL")
    assert dict(rules.fetchall()) == next(row.removed_by for row in funnel if row.stage == "filter")

    web = quickstart.funnel("web")
    by_source = quickstart.sql("SELECT stage, docs_in, kept FROM funnel_by_source WHERE source = 'web'")
    assert by_source.fetchall() == [(row.stage, row.docs_in, row.kept) for row in web]
    with pytest.raises(curate.CurateError, match="no source 'wbe'; one of: web, manuals"):
        quickstart.funnel("wbe")


def test_every_table_has_the_rows_of_its_commit_in_every_library(quickstart: curate.Run) -> None:
    tables = quickstart.tables()
    assert {
        "documents",
        "signals",
        "near_dedup_evidence",
        "mix_general",
        "mixture_general",
    } <= tables.keys()
    for name, table in tables.items():
        arrow = table.to_arrow()
        assert arrow.num_rows == table.rows == len(table), name
        assert sum(batch.num_rows for batch in table.to_batches(batch_size=100)) == table.rows
        assert table.to_polars().collect().height == table.rows
        assert table.to_duckdb().shape[0] == table.rows
        assert table.to_pandas().shape == (table.rows, arrow.num_columns)
        assert table.to_polars().collect_schema().names() == arrow.column_names
        assert table.to_duckdb().columns == arrow.column_names
        (counted,) = quickstart.sql(f'SELECT count(*) FROM "{name}"').fetchall()[0]
        assert counted == table.rows


def test_rows_are_in_the_order_of_the_documents(quickstart: curate.Run) -> None:
    ids = [
        doc_id for path in quickstart.table("documents").files for doc_id in pq.read_table(path)["doc_id"].to_pylist()
    ]
    for name in ("documents", "filter", "quality"):
        table = quickstart.table(name)
        assert table.to_arrow(["doc_id"])["doc_id"].to_pylist() == ids
        assert [row for batch in table.to_batches(["doc_id"]) for row in batch["doc_id"].to_pylist()] == ids
        assert table.to_polars().collect()["doc_id"].to_list() == ids


def test_columns_and_rows_can_be_chosen(quickstart: curate.Run) -> None:
    table = quickstart.table("filter")
    kept = table.to_arrow(["doc_id"], ds.field("reached") & ds.field("removed_by").is_null())
    assert kept.column_names == ["doc_id"]
    assert kept.num_rows == 647
    assert list(table.to_pandas(["doc_id", "reached"]).columns) == ["doc_id", "reached"]

    connection = duckdb.connect()
    filter_ = table.to_duckdb(connection)
    assert filter_.filter("reached AND removed_by IS NULL").shape == (647, len(filter_.columns))
    # In the default connection, DuckDB finds the variable.
    signals = quickstart.table("signals").to_duckdb()
    counted = duckdb.sql("SELECT count(*) FROM signals")
    assert counted is not None
    assert counted.fetchall() == [(signals.shape[0],)]


def test_a_table_without_files_has_the_types_that_the_program_declares(copy: curate.Run) -> None:
    quarantine = copy.table("quarantine")
    assert (quarantine.rows, quarantine.files) == (0, [])
    assert quarantine.to_arrow().schema.field("ordinal").type == pa.uint64()
    assert quarantine.to_arrow(["path"]).column_names == ["path"]
    assert copy.table("quarantine").to_polars().collect().shape == (
        0,
        len(quarantine.to_arrow().schema),
    )

    # The same holds for a table that has files otherwise.
    typed = copy.table("mix_general").to_arrow().schema
    commit = copy.path / "mix" / "general" / "_commit.json"
    commit.write_text(json.dumps({**json.loads(commit.read_text()), "files": []}))
    assert copy.table("mix_general").to_arrow().schema.remove_metadata() == typed.remove_metadata()


def test_a_file_that_no_commit_names_is_not_read(copy: curate.Run) -> None:
    table = copy.table("language")
    shutil.copy(table.files[0], copy.path / "language" / "part-99999-00000000.parquet")
    (copy.path / "language" / "part-99998-00000000.parquet").write_bytes(b"no Parquet")
    assert copy.table("language").to_arrow().num_rows == table.rows
    assert copy.table("language").to_duckdb().shape[0] == table.rows


def test_a_retired_stage_has_no_table(copy: curate.Run) -> None:
    folder = copy.path / "quality"
    (folder / "_commit.json").rename(folder / "_stale.json")
    with pytest.raises(
        curate.CurateError,
        match="no committed table 'quality'; it has: buckets, coverage, documents",
    ):
        copy.table("quality")
    assert "quality_maps" not in copy.tables()


def test_a_mixture_is_named(quickstart: curate.Run) -> None:
    mixture = quickstart.mixture("general")
    assert mixture.rows == quickstart.summary()["mixtures"][0]["draws"]
    assert repr(mixture) == "<Mixture mixture_general: 287 rows in 1 files>"
    for name in ("genral", "../general", "general/..", ""):
        with pytest.raises(curate.CurateError, match=r"no mixture .*; it has: general"):
            quickstart.mixture(name)


@pytest.mark.parametrize("streaming", [True, False])
def test_datasets_have_the_rows_in_training_order(quickstart: curate.Run, streaming: bool) -> None:
    mixture = quickstart.mixture("general")
    dataset = mixture.to_datasets(streaming=streaming)
    assert list(dataset) == mixture.to_arrow().to_pylist()


def test_damage_is_named(copy: curate.Run) -> None:
    table = copy.table("language")
    path = Path(table.files[1])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        curate.CurateError,
        match=rf"{path.name} has \d+ bytes, its commit says \d+; `curate verify`",
    ):
        table.to_arrow()
    path.unlink()
    with pytest.raises(curate.CurateError, match=rf"{path.name} is gone: if a run has replaced it"):
        table.to_polars()

    (copy.path / "run.json").write_text('{"version": 2}')
    with pytest.raises(curate.CurateError, match="has version 2, this package reads 1"):
        copy.funnel()
    (copy.path / "run.json").write_text("[]")
    with pytest.raises(curate.CurateError, match=r"run\.json is damaged"):
        copy.summary()
    (copy.path / "run.json").unlink()
    with pytest.raises(curate.CurateError, match="the run has not finished; run its manifest again"):
        copy.funnel()
    assert "has not finished" in copy._repr_html_()


def test_no_run_directory(copy: curate.Run, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", Path(__file__), tmp_path):
        with pytest.raises(curate.CurateError, match="is not a run directory"):
            curate.Run(path)
    (copy.path / ".curate" / "run.json").write_text("{")
    with pytest.raises(curate.CurateError, match="is damaged"):
        curate.Run(copy.path)


def forged(run: curate.Run, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the commit of `language`, as a stranger would."""
    path = run.path / "language" / "_commit.json"
    commit = json.loads(path.read_text())
    change(commit)
    path.write_text(json.dumps(commit))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda commit: commit["files"][0].update(path="../documents/part-00000.parquet"),
            "names the file",
        ),
        (lambda commit: commit["files"][0].update(path="/etc/passwd"), "names the file"),
        (lambda commit: commit["files"][0].update(path=".."), "names the file"),
        (lambda commit: commit["files"][0].update(path=7), "TypeError"),
        (lambda commit: commit["files"][0].update(rows="many"), "rows = 'many'"),
        (lambda commit: commit["files"].append(None), "TypeError"),
        (lambda commit: commit.update(tables={"../../etc": []}), "names the file"),
        (lambda commit: commit.update(tables=[]), "TypeError"),
        (lambda commit: commit.update(format=3), "has format 3, this package reads 2"),
        (lambda commit: commit.pop("files"), "KeyError"),
    ],
)
def test_a_forged_commit_leads_nowhere(copy: curate.Run, change: Callable[[dict[str, Any]], object], says: str) -> None:
    forged(copy, change)
    with pytest.raises(curate.CurateError, match=says):
        copy.table("language")


def test_foreign_sql_reaches_no_other_file(copy: curate.Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for evil in (
        f"COPY (SELECT 1) TO '{out}';",
        "CREATE VIEW stolen AS SELECT * FROM read_text('/etc/passwd');",
        "INSTALL httpfs;",
        "SET enable_external_access = true;",
        "ATTACH '/tmp/other.db';",
    ):
        views = copy.path / "views.sql"
        before = views.read_text()
        views.write_text(evil + before)
        with pytest.raises(duckdb.Error):
            copy.sql("FROM funnel")
        views.write_text(before)
    assert not out.exists()
    with pytest.raises(duckdb.Error):
        copy.sql("FROM read_text('/etc/passwd')").fetchall()
    assert copy.sql("FROM funnel").fetchall()


def test_names_of_strangers_are_escaped(copy: curate.Run) -> None:
    evil = "<script>alert(1)</script>&\u202egpj.exe\x1b[31m"
    path = copy.path / "run.json"
    report = json.loads(path.read_text())
    report["stages"][0]["name"] = evil
    report["mixtures"][0]["name"] = evil
    report["warnings"] = [evil]
    path.write_text(json.dumps(report))
    (copy.path / ".curate" / "run.json").write_text(json.dumps({"format": 2, "name": evil}))

    run = curate.Run(copy.path)
    for html in (run._repr_html_(), run.funnel()._repr_html_()):
        assert "<script" not in html
        assert "\u202e" not in html
        assert "\x1b" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;\\u{202e}gpj.exe\\u{1b}[31m" in html
    assert "\u202e" not in repr(run.funnel())
    assert "\x1b" not in repr(run.funnel())


def test_a_notebook_shows_run_funnel_and_table(quickstart: curate.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    html = quickstart._repr_html_()
    assert "<caption>Run quickstart</caption>" in html
    assert "<td>near_dedup</td><td>622</td><td>600</td>" in html
    assert "<caption>Mixtures</caption>" in html
    assert "<td>general</td><td>130</td><td>287</td>" in html
    assert "<td>removed_by</td><td>string</td>" in quickstart.table("filter")._repr_html_()
    assert quickstart.funnel().to_pandas()["kept"].tolist() == [row.kept for row in quickstart.funnel()]

    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    assert "pip install pyarrow" in quickstart.table("filter")._repr_html_()


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("to_arrow", "pyarrow"),
        ("to_batches", "pyarrow"),
        ("to_pandas", "pandas"),
        ("to_polars", "polars"),
        ("to_duckdb", "duckdb"),
        ("to_datasets", "datasets"),
        ("to_torch", "torch"),
    ],
)
def test_a_package_that_is_absent_is_named(
    quickstart: curate.Run, monkeypatch: pytest.MonkeyPatch, method: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    says = rf"Mixture.{method}\(\) needs the package {package}: pip install {package}"
    with pytest.raises(ModuleNotFoundError, match=says):
        getattr(quickstart.mixture("general"), method)()
