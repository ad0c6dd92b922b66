"""The rows of a mixture for PyTorch, shared out over ranks and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from ._program import CurateError


class MixtureRows(IterableDataset[dict[str, Any]]):
    """See `Mixture.to_torch`. An object holds no open file, so workers may be forked or spawned."""

    #: Number of rows of this rank.
    rows: int

    def __init__(
        self,
        files: Sequence[str],
        rows: Sequence[int],
        columns: Sequence[str],
        rank: int | None,
        world_size: int | None,
        drop_last: bool,
    ) -> None:
        """Take the share of a rank. `rows` has the number of rows of each file."""
        rank, world_size = _place(rank, world_size)
        if not 0 <= rank < world_size:
            raise CurateError(f"rank = {rank} is not in 0 to {world_size - 1}, the ranks of world_size = {world_size}")
        if files:
            missing = set(columns) - set(pq.read_schema(files[0]).names)
            if missing:
                raise CurateError(f"the mixture has no column {', '.join(sorted(missing))}")

        total = sum(rows)
        if drop_last:
            total -= total % world_size
        self._files = list(zip(files, rows))
        self._columns = list(columns)
        self._share = share(0, total, rank, world_size)
        self.rows = self._share[1] - self._share[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the rows of this worker, in the order of the mixture."""
        worker = get_worker_info()
        first, last = self._share
        if worker is not None:
            first, last = share(first, last, worker.id, worker.num_workers)

        start = 0
        for path, rows in self._files:
            if start < last and start + rows > first:
                yield from self._read(path, max(first - start, 0), min(last - start, rows))
            start += rows

    def _read(self, path: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """The rows from `first` to before `last` of a file. Other row groups are not read."""
        with pq.ParquetFile(path) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                if start < last and end > first:
                    at = start
                    # No threads of Arrow: a forked worker has none.
                    for batch in file.iter_batches(256, [group], self._columns, use_threads=False):
                        own = batch.slice(
                            max(first - at, 0),
                            max(min(last - at, batch.num_rows) - max(first - at, 0), 0),
                        )
                        yield from own.to_pylist()
                        at += batch.num_rows
                start = end


def share(first: int, last: int, part: int, parts: int) -> tuple[int, int]:
    """The rows of one of `parts` contiguous shares of the rows from `first` to before `last`."""
    rows = last - first
    return first + rows * part // parts, first + rows * (part + 1) // parts


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and world size: as given, of the process group, of the environment, or those of a single process."""
    if (rank is None) != (world_size is None):
        raise CurateError("rank and world_size belong together: give both or none")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
