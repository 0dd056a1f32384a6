"""`instance`: every image is a class of its own."""

from __future__ import annotations

from headwater.labels.kinds import Request, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    from headwater.labels.partitions import instance_targets

    return Targets(*instance_targets(request.table, request.positions), request.view.name)


ENTRY = ViewKind(
    name="instance",
    version=1,
    order=40,
    colour="#009E73",
    title="one class per image",
    form="instance",
    argument="",
    granular=True,
    make=_make,
)
