"""What was said of a study's rows, kept for as long as its store does not change: what is decided
of a hundred thousand cells takes seconds, and `headwater status` is asked often.

    <store>/cache/said/<key>.json    the facts, under their digest

The key is of all that they are made from: the study, its cells, the folders of rows and answers as
they were last changed, and the code that concludes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from headwater import digests, files
from headwater.plan import Plan
from headwater.rows.kept import LEAST
from headwater.store import Store
from headwater.study import canonical

_SETTLED_S = 2.0
"""A folder that was changed so lately may change again without a new time [ours]."""
_MOST = 20
"""Files that are kept [ours]."""
_CONCLUDING = ("analysis", "facts", "rows", "plan", "study")


def said(plan: Plan, store: Store, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` says (plain values) of a plan's rows in a store: as it was said before, where
    nothing has changed. Of few cells it is said anew.
    """
    if len(plan.cells) < LEAST:
        return make()
    key = _key_when_brought(plan, store)
    known = _known(store, key)
    if known is not None:
        return known
    facts = make()
    if key is None:
        return facts
    folder = store.cache / "said"
    with suppress(OSError):  # a cache that cannot be written costs seconds, no more
        if _key(plan, store) == key:
            text = json.dumps(digests.sealed({"facts": facts})) + "\n"
            files.write_atomic(folder / f"{key}.json", text)
            kept = sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime)
            for old in kept[:-_MOST]:
                old.unlink()
    return facts


def said_before(plan: Plan, store: Store) -> dict[str, Any] | None:
    """What `said` said where nothing has changed since; None where something has, or it said
    nothing.
    """
    if not (store.cache / "said").is_dir():
        return None
    return _known(store, _key_when_brought(plan, store))


def _known(store: Store, key: str | None) -> dict[str, Any] | None:
    if key is None:
        return None
    with suppress(OSError, ValueError, KeyError):
        record = digests.read_record(store.cache / "said" / f"{key}.json")
        known: dict[str, Any] = record["facts"]
        return known
    return None


def _key_when_brought(plan: Plan, store: Store) -> str | None:
    """The key once all rows are on this machine: they are brought first."""
    store.bring_rows(cell.id for cell in plan.cells)
    return _key(plan, store)


def _key(plan: Plan, store: Store) -> str | None:
    """A digest of all that is said from; None where a folder was changed just now."""
    from headwater.steps import looks_error  # only a decision needs it

    digest = hashlib.sha256()
    for folder in (store.rows, store.answers, store.root):
        try:
            state = folder.stat()
        except OSError:
            digest.update(b"none\n")
            continue
        if folder != store.root and time.time() - state.st_mtime < _SETTLED_S:
            return None
        changed = 0 if folder == store.root else state.st_mtime_ns
        digest.update(f"{state.st_dev} {state.st_ino} {changed}\n".encode())
    digest.update(canonical(plan.study.words()).encode())
    digest.update(f"{looks_error(store, plan.study.study)}\n".encode())
    digest.update("".join(cell.id for cell in plan.cells).encode())
    for module in _modules():
        state = module.stat()
        digest.update(f"{module} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _modules() -> list[Path]:
    package = Path(__file__).parents[1]
    return [path for room in _CONCLUDING for path in sorted((package / room).rglob("*.py"))]
