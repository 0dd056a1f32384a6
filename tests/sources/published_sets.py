"""Opens published sets that released.py has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.errors import InputError
from headwater.sources import Source, open_source
from headwater.study import PublishedData
from tests.sources import released


def opened(name: str, root: Path, **words: Any) -> Source:
    entry = PublishedData.model_validate(
        {"kind": "published", "name": name, "path": str(root), "check_sizes": False, **words}
    )
    return open_source(name, entry, data_root=None, cache=None)


def made(name: str, root: Path, **words: Any) -> Source:
    released.TREES[name](root)
    return opened(name, root, **words)


def refusal(name: str, root: Path, **words: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(name, root, **words)
    message = str(caught.value)
    assert "\n" not in message
    return message


def counts(source: Source) -> tuple[int, int, int]:
    train, val, test = (len(source.split("split", split)) for split in ("train", "val", "test"))
    return train, val, test
