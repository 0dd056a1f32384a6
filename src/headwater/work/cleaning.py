"""Index files of a study's sources without the images that a test set shows, and without copies of
one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from headwater.curation import within
from headwater.plan.plan import Plan
from headwater.plan.splits import of_source, parts_first
from headwater.plan.within import pairs_folder
from headwater.sources import Positions, Source
from headwater.sources.pixels import Images
from headwater.tasks.index import index_csv
from headwater.work.decoded import decoded
from headwater.work.leaks import looks_of_test, pairs_among
from headwater.work.session import Session

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What is left out of a data set that is pre-trained on."""

    data: str
    """Its name in the study."""
    source: Source
    split_column: str
    positions: Positions
    """The images that sources of the study use, ascending."""
    leaking: Mask
    """bool [len(positions)]: what a test image of a task of its sources shows too."""
    copies: Mask
    """bool [len(positions)]: copies of an image that is kept; of several, the first by id stays."""

    def summary(self) -> dict[str, Any]:
        """data, images, leaking, copies, kept."""
        return {
            "data": self.data,
            "images": len(self.positions),
            "leaking": int(self.leaking.sum()),
            "copies": int(self.copies.sum()),
            "kept": int((~self.leaking & ~self.copies).sum()),
        }

    def csv(self) -> str:
        """An index file for `split_file`: a row an image of the data set, with an empty split for
        one that is left out.
        """
        split = np.array(self.source.table.splits[self.split_column], dtype=object)
        split[self.positions[self.leaking | self.copies]] = ""
        return index_csv(self.source.table.ids, split)


def cleaned(session: Session, tell: Callable[[str], None] = lambda line: None) -> Iterator[Cleaned]:
    """Every data set of files that a study pre-trains on, a part of a mix or a view too."""
    plan = session.plan
    for data, source in plan.sources.items():
        uses = [
            name
            for name, use in plan.study.sources.items()
            if data in parts_first(plan.study, [use.data]) and not plan.study.data[data].parts()
        ]
        if uses and not source.generated and hasattr(plan.study.data[data], "split_file"):
            yield _cleaned(session, data, uses, tell)


def _cleaned(session: Session, data: str, uses: list[str], tell: Callable[[str], None]) -> Cleaned:
    plan, source = session.plan, session.plan.sources[data]
    positions = np.unique(np.concatenate([of_source(plan.study, source, name) for name in uses]))
    images = decoded(source, positions, plan.study.image_size, session.store).subset(
        np.arange(len(positions))
    )
    leaking = np.zeros(len(positions), dtype=bool)
    for task in _tasks_of(plan, uses):
        tell(f"{data} and the test images of {task}")
        fingerprint = source.fingerprint(positions)
        folder = pairs_folder(plan, session.store, "leaks", fingerprint, len(images), task)
        leaking |= pairs_among(images, looks_of_test(session, task), folder).source_flagged
        leaking |= np.isin(
            source.digests(positions), plan.tasks[task].source.digests(plan.tasks[task].test)
        )
    tell(f"copies inside {data}")
    return Cleaned(
        data,
        source,
        plan.study.sources[uses[0]].split_column,
        positions,
        leaking,
        _copies(images, source.digests(positions), leaking),
    )


def _tasks_of(plan: Plan, uses: list[str]) -> list[str]:
    """The tasks that arms on these sources are measured on."""
    arms = [arm for arm in plan.arms if arm.words.source in uses]
    one_arm_each = {(arm.words.source, arm.words.method): arm.words for arm in arms}
    measured = {task for words in one_arm_each.values() for task in plan.study.tasks_of(words)}
    return [name for name in plan.tasks if name in measured]


def _copies(images: Images, digests: NDArray[np.bytes_], leaking: Mask) -> Mask:
    """bool: images that show the picture of an earlier one, which is kept."""
    found = within(images)
    same = np.unique(digests, return_inverse=True)[1]
    order = np.argsort(same, kind="stable")
    equal = np.flatnonzero(same[order][1:] == same[order][:-1])
    one = np.concatenate([found.test_row, order[equal]])
    other = np.concatenate([found.source_row, order[equal + 1]])
    here = ~leaking[one] & ~leaking[other]
    pairs = coo_matrix(
        (np.ones(int(here.sum())), (one[here], other[here])), shape=(len(leaking), len(leaking))
    )
    groups = connected_components(pairs, directed=False)[1]
    first = np.zeros(len(leaking), dtype=bool)
    first[np.unique(groups, return_index=True)[1]] = True
    return ~first & ~leaking
