"""curate from Python: start the program, and read what it wrote.

>>> import curate
>>> run = curate.run("manifests/quickstart.toml")
>>> run.table("filter").to_pandas()

The package needs no other. A table is handed to pyarrow, pandas, polars, DuckDB, datasets or torch, and the method that
needs one of them says so if it is absent.
"""

from ._program import CommandError, CurateError, binary, command
from ._run import Funnel, FunnelRow, Run, run
from ._table import Mixture, Table

__all__ = [
    "CommandError",
    "CurateError",
    "Funnel",
    "FunnelRow",
    "Mixture",
    "Run",
    "Table",
    "binary",
    "command",
    "run",
]
