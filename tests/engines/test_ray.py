"""Workers in a Ray cluster: what they compute is what this machine computes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater import api
from headwater.engines import engine, ray
from headwater.engines.actor import worker_class
from headwater.engines.elsewhere import Asked
from headwater.engines.schedule import pending
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store, studies
from headwater.study import Study
from tests.conftest import Cli, Finished, refused, tiny, write_study
from tests.engines.test_kill import assert_same_results, wait_for
from tests.needs import needs_ray


def asked(finished: Finished, store: Store, **changes: Any) -> Asked:
    plan = Plan.make(Study.load(finished.study), cache=store.cache)
    words: dict[str, Any] = {
        "plan": plan,
        "store": store,
        "todo": pending(plan, store),
        "study": studies.put(store.root, "tiny-world", plan.study.words(), None),
        "workers": None,
        "device": "auto",
        "checkpoint_every_s": 20.0,
        "compiled": False,
        "where": None,
        "options": {},
    }
    return Asked(**words | changes)


@pytest.fixture
def a_run(finished: Finished, tmp_path: Path) -> Asked:
    return asked(finished, Store(tmp_path / "store", create=True))


# without a cluster
def test_without_ray_the_command_that_brings_it_is_said(
    finished: Finished, headwater: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    (finished.store / "rows").rename(finished.store / "rows of before")
    result = headwater("run", finished.study, "--store", finished.store, "--engine", "ray")
    refused((result[0], "", result[2]), "pip install 'headwater[ray]'")
