"""Who computes what in a store, now: for `headwater top`, from files that those who are at work
write, and no study or data.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

from headwater.engines.progress import all_runs
from headwater.facts.status import queue_facts
from headwater.store import Store, studies
from headwater.store.leases import LAPSE_S

_TRIES = 5
"""Failures that were tried again that are told [ours]."""
_TAIL_BYTES = 1 << 16
_RECENT_S = 300.0
"""Over which the rate of cells is told [ours]."""


def top_facts(store: Store) -> dict[str, Any]:
    """Studies under way; runs and workers with what they have, how long it will take and when they
    said so last; units that somebody has; cells that were finished in the last 5 minutes; what was
    tried again; jobs of batch systems.
    """
    owners = _owners(store)
    runs = [run for run in all_runs(store) if _is_at_work(run, owners)]
    runs.sort(key=lambda run: (run["study"], run["host"], run["pid"]))
    finished = len(store.finished_cells())
    recent = store.finished_within(_RECENT_S)
    return {
        "store": store.address,
        "studies": [found.path.stem for found in studies.under_way(store)],
        "workers": [
            {
                "study": run["study"],
                "host": run["host"],
                "pid": run["pid"],
                "name": run.get("name"),
                "now": run["now"],
                "cells": run["cells"],
                "cells_done": run["cells_done"],
                "left_s": run["left_s"],
                "elapsed_s": run["elapsed_s"],
                "told_s_ago": run["told_s_ago"],
            }
            for run in runs
        ],
        "units": _units(store),
        "cells_finished": finished,
        "cells_failed": len(store.failed_cells()),
        "cells_a_minute": recent / (_RECENT_S / 60.0),
        "tried_again": _tries(store.root / "logs" / "tries.jsonl"),
        "queue": queue_facts(store),
    }


def _owners(store: Store) -> set[tuple[str, int]]:
    """(machine, process) of those who show that they live."""
    found = set[tuple[str, int]]()
    with store.looking_at_leases() as leases:
        for unit in leases.units():
            held = leases.held(unit)
            if held is not None and held.owner is not None and not held.lapsed(LAPSE_S):
                found.add((held.owner.name.split(" ")[0], held.owner.pid))
    return found


def _is_at_work(run: dict[str, Any], owners: set[tuple[str, int]]) -> bool:
    """A run says seldom how far it is while a cell takes long; its leases show life always."""
    return run["told_s_ago"] < LAPSE_S or (run["host"], run["pid"]) in owners


def _units(store: Store) -> dict[str, int]:
    """How many units somebody has, and how many were lost and nobody has taken over."""
    held = lost = 0
    with store.looking_at_leases() as leases:
        for unit in leases.units():
            found = leases.held(unit)
            if found is not None and found.lapsed(LAPSE_S):
                lost += 1
            elif found is not None:
                held += 1
    return {"held": held, "lost": lost}


def _tries(path: Path) -> list[dict[str, Any]]:
    """The last failures that were tried again."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = deque(log.read().decode(errors="replace").splitlines(), maxlen=_TRIES)
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            said = json.loads(line)
            found.append({name: said[name] for name in ("time", "title", "reason", "host")})
        except (ValueError, KeyError, TypeError):
            continue
    return found
