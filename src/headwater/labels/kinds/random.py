"""`random:K`: classes of equal size, drawn at random, over all images or inside each class."""

from __future__ import annotations

from headwater.labels.kinds import Request, Shown, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    from headwater.labels.partitions import partition, random_targets, random_within

    view = request.view
    if view.within is None:
        codes, names = random_targets(request.hashes, request.count(), request.seed, request.where)
        return Targets(codes, names, view.name)
    division = partition(view, request.table, request.positions, request.where)
    assert division.groups is not None
    codes = random_within(request.hashes, division.groups, division.parts, request.seed)
    return Targets(codes, division.names, view.name)


ENTRY = ViewKind(
    name="random",
    version=1,
    order=90,
    colour="#E69F00",
    title="classes of equal size, drawn at random",
    form="random:K",
    argument="count",
    seeded=True,
    within=Shown(order=80, colour="#F3B95F"),
    make=_make,
)
