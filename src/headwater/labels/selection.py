"""Some of a view's classes, or several of them made into one, as a study's `views:` block asks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.partitions import dividing
from headwater.labels.targets import Targets
from headwater.labels.views import View


def selected(targets: Targets, view: View, where: str) -> Targets:
    """The labels after the view's `merge` or `subset`; `Targets.rows` says which images are left.

    Raises InputError for unknown classes, and where images have several labels.
    """
    targets = dividing(targets, where)
    if view.merge:
        new, names = merged(targets.names, dict(view.merge), view.rest, where)
    else:
        new = subset(targets.names, view.subset, where)
        names = tuple(name for name in targets.names if name in view.subset)
    codes = new[targets.indices]
    kept = np.flatnonzero(codes >= 0)
    return Targets(codes[kept], names, view.name, rows=None if len(kept) == len(codes) else kept)


def merged(
    names: Sequence[str],
    merge: Mapping[str, Sequence[str]],
    rest: Literal["keep", "drop", "error"],
    where: str,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(new index of each class, int64 [num_classes], -1 = dropped; new names, sorted): the classes
    listed under a new name become one.

    Classes that `merge` does not list keep their names, are dropped, or are an error, as `rest`
    says. Raises InputError for an unknown class, a class that is listed twice, a new name without
    classes or equal to an unlisted class's name, and where no class is left.
    """
    target: dict[str, str] = {}
    for new, olds in merge.items():
        if not olds:
            raise InputError(f"{where}: {new!r} lists no class")
        for old in olds:
            if old in target:
                raise InputError(
                    f"{where}: the class {old!r} is listed under {target[old]!r} and under "
                    f"{new!r}; list it once"
                )
            target[old] = new
    require_classes(target, names, where)
    unlisted = [name for name in names if name not in target]
    for name in unlisted:
        if name in merge:
            raise InputError(
                f"{where}: {name!r} is the name of a class that is not merged; list it under "
                f"{name!r} too, or choose another name"
            )
    if rest == "error" and unlisted:
        raise InputError(
            f"{where}: {len(unlisted)} of {len(names)} classes are not listed, the first is "
            f"{unlisted[0]!r}; list them, or say keep or drop"
        )
    kept = tuple(sorted({*merge, *(unlisted if rest == "keep" else ())}))
    if not kept:
        raise InputError(f"{where}: no class is left")
    index = {name: at for at, name in enumerate(kept)}
    return np.array([index.get(target.get(name, name), -1) for name in names], dtype=np.int64), kept


def subset(names: Sequence[str], wanted: Sequence[str], where: str) -> NDArray[np.int64]:
    """int64 [num_classes]: the new index of each class, -1 where it is not wanted.

    The wanted ones keep the order that they have in `names`.

    Raises InputError for an unknown class, one that is listed twice, and an empty list.
    """
    if not wanted:
        raise InputError(f"{where}: the list of classes is empty")
    chosen: set[str] = set()
    for name in wanted:
        if name in chosen:
            raise InputError(f"{where}: the class {name!r} is listed twice")
        chosen.add(name)
    require_classes(wanted, names, where)
    keep = np.array([name in chosen for name in names])
    return np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int64)


def require_classes(
    given: Mapping[str, object] | Sequence[str], names: Sequence[str], where: str
) -> None:
    """Raises InputError, with the nearest name there is, for the first of `given` that is none of
    `names`.
    """
    known = set(names)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = (
                f"; did you mean {near[0]!r}?"
                if near
                else f"; there are {len(names)} classes, from {names[0]!r} to {names[-1]!r}"
            )
            raise InputError(f"{where}: there is no class {name!r}{hint}")
