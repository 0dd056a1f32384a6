"""Which images of a source an arm is trained on, and which are held out for the online probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.labels import classes_of, label_view, resolve_view
from headwater.plan.resolved import Resolved
from headwater.plan.splits import of_source
from headwater.sources import Positions
from headwater.study import Arm


def of_splits(resolved: Resolved, name: str) -> Positions:
    """All images of a source's splits, ascending, each once.

    Raises InputError for a split that is none or holds no image.
    """
    return of_source(resolved.study, resolved.source_of(name), name)


def held_out(resolved: Resolved, name: str) -> Positions:
    """The images of a source that are left out of training for the online probe, ascending: drawn
    by key, the same in every arm and seed.
    """
    words = resolved.study.online_probe
    if words is None:
        return np.empty(0, dtype=np.int64)
    positions = of_splits(resolved, name)
    hashes = resolved.source_of(name).hashes[positions]
    drawn = keys.uniform(keys.key(0, "online probe"), hashes, 1)[:, 0]
    return positions[drawn < words.share]


def images_of(resolved: Resolved, words: Arm) -> Positions:
    """The images of an arm, ascending: the source's splits, and of these the first `size` in a
    keyed order, so that a larger size holds a smaller; of a source with shares (a mix), in these.

    Raises InputError for a size that is not there.
    """
    assert words.source is not None
    study, name, source = resolved.study, words.source, resolved.source_of(words.source)
    positions, left_out = of_splits(resolved, name), held_out(resolved, name)
    if len(left_out):
        positions = np.setdiff1d(positions, left_out)
    if len(positions) < 2:
        splits = ", ".join(study.sources[name].splits)
        raise InputError(
            f"sources.{name}: {source.name} has {len(positions)} images in {splits}; pre-training "
            "needs at least 2",
            at=("sources", name, "splits"),
        )
    strata, everything = source.strata, words.size in (None, "all")
    if strata is None and everything:
        return positions
    most = len(positions) if strata is None else strata.most(positions)
    size = most if everything else words.size
    assert isinstance(size, int)
    if strata is not None and (missing := strata.absent(positions)):
        raise InputError(
            f"sources.{name}: {source.name} has no image of {missing[0]} in "
            f"{', '.join(study.sources[name].splits)}; name other `splits`, or leave it out",
            at=("sources", name),
        )
    if not 2 <= size <= most:
        there = "images that there are" if strata is None else "images that have its shares"
        raise InputError(
            f"sources.{name}: size {size} is not between 2 and the {most} {there}",
            at=("sources", name) if everything else study.place(name, "sizes", words.size),
        )
    order = keys.permutation(keys.key(words.seed, "size"), source.size_hashes[positions])
    if strata is not None:
        drawn = strata.drawn(positions, order, size)
        if missing := strata.left_out(drawn):
            raise InputError(
                f"sources.{name}: of {size} images the share of {missing[0]} is less than one; "
                "raise its weight or the size, or leave it out",
                at=("sources", name) if everything else study.place(name, "sizes", words.size),
            )
        return drawn
    return np.sort(positions[order[:size]])


def seed_of_images(resolved: Resolved, words: Arm) -> int | None:
    """The seed that draws an arm's images; None where it has all that there are."""
    if words.source is None:
        return None
    shares = resolved.source_of(words.source).strata is not None
    return words.seed if shares or words.size not in (None, "all") else None


@dataclass(frozen=True)
class ProbeLabels:
    """The classes of a source's images under the online probe's view."""

    positions: Positions
    """All images of the source, ascending."""
    classes: NDArray[np.int64]
    """int64 [images]: their class."""
    num_classes: int

    def of(self, positions: Positions) -> NDArray[np.int64]:
        """int64: the classes of some of the images."""
        return self.classes[np.searchsorted(self.positions, positions)]


def probe_labels(resolved: Resolved, name: str) -> ProbeLabels | None:
    """The labels that a source's online probe asks for. None where the source has none such."""
    words = resolved.study.online_probe
    assert words is not None
    positions, source = of_splits(resolved, name), resolved.source_of(name)
    view = resolve_view(words.labels, resolved.study.views, resolved.data_root)
    where = f"sources.{name}"
    try:
        targets = label_view(view, source.table, positions, 0, where, hashes=lambda: source.hashes)
    except InputError:  # images alone, or no such level
        return None
    return ProbeLabels(positions, classes_of(targets), targets.num_classes)
