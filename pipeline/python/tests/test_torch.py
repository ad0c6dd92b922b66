"""A mixture as a dataset for PyTorch: every row once, whatever ranks and workers there are. Skipped without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import curate

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402


@pytest.fixture(scope="module")
def mixture(clone: Path, quickstart: curate.Run) -> curate.Mixture:
    """Mix more, in small parts, so that shares begin and end inside files and row groups."""
    run_dir = clone / "runs" / "parts"
    run = curate.run(
        clone / "manifests" / "quickstart.toml",
        run_dir=run_dir,
        quiet=True,
        set={"mixture.general.part_size": "1MiB", "mixture.general.tokens": 2_000_000},
    )
    mixture = run.mixture("general")
    assert len(mixture.files) > 3
    return mixture


def rows(mixture: curate.Mixture) -> list[dict[str, Any]]:
    """All rows in training order."""
    return list(mixture.to_arrow(["doc_id", "draw"]).to_pylist())


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 300])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_row_comes_once(mixture: curate.Mixture, world_size: int, workers: int) -> None:
    if workers and world_size > 3:
        pytest.skip("workers are slow to start")
    seen: list[dict[str, Any]] = []
    sizes = []
    for rank in range(world_size):
        dataset = mixture.to_torch(["doc_id", "draw"], rank=rank, world_size=world_size)
        if workers:
            loader = DataLoader(dataset, batch_size=None, num_workers=workers)
            own = list(loader)
            assert own == list(DataLoader(dataset, batch_size=None, num_workers=workers)), "every epoch is the same"
        else:
            own = list(dataset)
        assert len(own) == dataset.rows
        sizes.append(len(own))
        seen += own

    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == mixture.rows
    if workers:
        assert sorted(map(str, seen)) == sorted(map(str, rows(mixture)))
    else:
        assert seen == rows(mixture)


def test_workers_may_be_spawned(mixture: curate.Mixture) -> None:
    dataset = mixture.to_torch(["doc_id", "draw"])
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    half = mixture.rows // 2
    found = list(loader)
    # Workers take turns, and each has one half of the rows.
    assert found[0::2][:half] == rows(mixture)[:half]
    assert len(found) == mixture.rows


def test_drop_last_gives_every_rank_as_many(mixture: curate.Mixture) -> None:
    shares = [mixture.to_torch(["doc_id"], rank, 5, drop_last=True) for rank in range(5)]
    assert {share.rows for share in shares} == {mixture.rows // 5}
    assert all(len(list(share)) == share.rows for share in shares)


def test_batches_of_text(mixture: curate.Mixture) -> None:
    batch = next(iter(DataLoader(mixture.to_torch(), batch_size=4)))
    assert batch == {"text": mixture.to_arrow(["text"]).slice(0, 4)["text"].to_pylist()}


def test_the_rank_is_that_of_the_environment(mixture: curate.Mixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert list(mixture.to_torch(["doc_id"])) == list(mixture.to_torch(["doc_id"], rank=2, world_size=3))


def test_the_rank_is_that_of_the_process_group(mixture: curate.Mixture, tmp_path: Path) -> None:
    monkey = {"rank": 0, "world_size": 1, "init_method": f"file://{tmp_path}/group"}
    torch.distributed.init_process_group("gloo", **monkey)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", "3")
            assert mixture.to_torch(["doc_id"]).rows == mixture.rows
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rank": 3, "world_size": 3}, "rank = 3 is not in 0 to 2"),
        ({"rank": -1, "world_size": 3}, "rank = -1 is not in 0 to 2"),
        ({"rank": 0, "world_size": 0}, "world_size = 0"),
        ({"rank": 1}, "give both or none"),
        ({"columns": ["txt"]}, "no column txt"),
    ],
)
def test_nonsense_is_refused(mixture: curate.Mixture, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(curate.CurateError, match=says):
        mixture.to_torch(**arguments)
