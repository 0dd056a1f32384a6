"""`shuffle:K`: the finest classes, regrouped whole at random."""

from __future__ import annotations

from headwater.labels.kinds import Request, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    from headwater.labels.partitions import numbered, shuffled_classes
    from headwater.labels.views import parse_view

    finest = request.under(parse_view("level:0"))
    count = request.count()
    groups = shuffled_classes(finest.num_classes, finest.names, count, request.seed, request.where)
    return Targets(groups[finest.indices], numbered("shuffle", count), request.view.name)


ENTRY = ViewKind(
    name="shuffle",
    version=1,
    order=70,
    colour="#B8860B",
    title="the finest classes, regrouped whole at random",
    form="shuffle:K",
    argument="count",
    seeded=True,
    own_labels=True,
    make=_make,
)
