"""`rank:NAME`: the classes of a named rank, such as rank:genus."""

from __future__ import annotations

from headwater.errors import InputError
from headwater.labels.kinds import Request, ViewKind
from headwater.labels.targets import Targets


def _make(request: Request) -> Targets:
    from headwater.labels.columns import hierarchy_targets

    if request.table.hierarchy is None:
        raise InputError(
            f"{request.where}: {request.view.name} needs a hierarchy with named ranks; give the "
            "data set a `hierarchy`, or use level:k"
        )
    return hierarchy_targets(request)


ENTRY = ViewKind(
    name="rank",
    version=1,
    order=30,
    colour=None,
    title="classes of a named rank of the hierarchy",
    form="rank:NAME",
    argument="name",
    hierarchical=True,
    own_labels=True,
    granular=True,
    make=_make,
)
