"""A finished store that a test of the command line may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Finished


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished store, to be damaged."""
    return Path(shutil.copytree(finished.store, tmp_path / "store"))
