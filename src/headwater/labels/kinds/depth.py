"""`depth:d`: the classes d steps below the root."""

from __future__ import annotations

from headwater.errors import InputError
from headwater.labels.kinds import Request, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    """In a table, depth:1 is the coarsest column; a depth below the finest column is the finest."""
    from headwater.labels.columns import column_targets, hierarchy_targets

    if request.table.hierarchy is not None:
        return hierarchy_targets(request)
    num_levels = len(request.table.levels)
    level = max(0, num_levels - request.view.number)
    if level == num_levels:
        raise InputError(
            f"{request.where}: depth:0 is the root, one class for all; depth:1 is the coarsest "
            "level"
        )
    return column_targets(request, level)


ENTRY = ViewKind(
    name="depth",
    version=1,
    order=20,
    colour=None,
    title="classes at a depth below the root, by the longest path",
    form="depth:d",
    argument="number",
    hierarchical=True,
    own_labels=True,
    granular=True,
    make=_make,
)
