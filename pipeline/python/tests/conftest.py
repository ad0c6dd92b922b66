"""What the tests share: a folder that looks like a clone, and a run of the quickstart in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import curate

#: The repository.
REPOSITORY = Path(__file__).parents[3]

# `datasets` asks the hub about nothing here, and writes into no home.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the manifests and their data. Its name is full of what globs and SQL take for their own."""
    folder = tmp_path_factory.mktemp("it's [a] *clone* é?")
    for name in ("fixtures", "manifests"):
        (folder / name).symlink_to(REPOSITORY / name)
    os.environ["HF_HOME"] = str(folder / "cache")
    return folder


@pytest.fixture(scope="session")
def quickstart(clone: Path) -> curate.Run:
    """Run the quickstart once. Tests read it and change nothing."""
    manifest = clone / "manifests" / "quickstart.toml"
    return curate.run(manifest, run_dir=clone / "runs" / "quickstart", quiet=True)


@pytest.fixture
def copy(quickstart: curate.Run, tmp_path: Path) -> curate.Run:
    """Copy the run, for tests that damage it."""
    shutil.copytree(quickstart.path, tmp_path / "copy")
    return curate.Run(tmp_path / "copy")
