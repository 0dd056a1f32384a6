"""`level:k`: the classes k steps above the finest ones."""

from __future__ import annotations

from headwater.labels.kinds import Request, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    from headwater.labels.columns import column_targets, hierarchy_targets

    if request.table.hierarchy is not None:
        return hierarchy_targets(request)
    return column_targets(request, request.view.number)


ENTRY = ViewKind(
    name="level",
    version=1,
    order=10,
    colour=None,
    title="classes of a level, 0 = finest",
    form="level:k",
    argument="number",
    hierarchical=True,
    own_labels=True,
    granular=True,
    make=_make,
)
