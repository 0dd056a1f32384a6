"""Test images of a task that a source, or the task's own train and val, shows too: pairs found
once, kept in a file, and asked for each arm's images.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater import digests
from headwater.curation import Looks, Matches, embedding_neighbours, near_duplicates
from headwater.curation.scale import near_duplicates_at_scale
from headwater.files import atomic_folder, file_sha256, remove_folder
from headwater.plan import Plan, PlannedArm
from headwater.plan.overlaps import too_many
from headwater.plan.within import ABOUT, PAIRS, own_images, pairs_folder, within_folder
from headwater.sources.pixels import Images
from headwater.work.session import Session

_COLUMNS = (
    "test_row",
    "source_row",
    "kind",
    "similarity",
    "flipped",
    "left",
    "top",
    "right",
    "bottom",
    "window_of_source",
)


@dataclass(frozen=True, eq=False)
class Looked:
    """Near-duplicates between some images (an arm's, or a task's own train and val) and the test
    images of a task.

    Other arms of a study do not matter to them.
    """

    matches: Matches
    source_images: Images
    test_images: Images


def similar_test_images(
    session: Session, arm: PlannedArm, task_name: str
) -> NDArray[np.bool_] | None:
    """bool [n_test]: test images that the arm's pre-training images show, equal or changed
    (headwater.curation); None where it is not looked for.
    """
    if not session.plan.looks_for_copies(arm.words.source, task_name):
        return None
    return look(session, arm, task_name).matches.flagged


def look(session: Session, arm: PlannedArm, task_name: str) -> Looked:
    """The pairs of an arm's images and a task: read from the store's cache, or found and kept
    there. Arms of the same images share them.
    """
    key = (arm.words.source, arm.source_fingerprint, task_name)
    return session.looked.get(key, lambda: _look(session, arm, task_name))


def _look(session: Session, arm: PlannedArm, task_name: str) -> Looked:
    source_images = session.source_pixels(arm).subset(arm.positions)
    fingerprint, num = arm.source_fingerprint, len(source_images)
    folder = pairs_folder(session.plan, session.store, "leaks", fingerprint, num, task_name)
    return _among(session, source_images, folder, task_name)


def similar_to_own(session: Session, task_name: str) -> NDArray[np.bool_] | None:
    """bool [n_test]: test images that the task's own train or val images show, equal or changed;
    None where it is not looked for.
    """
    if not session.plan.looks_within(task_name):
        return None
    return look_within(session, task_name).matches.flagged


def look_within(session: Session, task_name: str) -> Looked:
    """The pairs of a task's own train and val images and its test images, found once as those of an
    arm are.
    """
    return session.looked.get((None, task_name), lambda: _look_within(session, task_name))


def _look_within(session: Session, task_name: str) -> Looked:
    plan = session.plan
    own = own_images(plan.tasks[task_name])
    images = session.pixels(plan.study.tasks[task_name].data).subset(own)
    return _among(session, images, within_folder(plan, session.store, task_name), task_name)


def _test_images(session: Session, task_name: str) -> Images:
    plan = session.plan
    return session.pixels(plan.study.tasks[task_name].data).subset(plan.tasks[task_name].test)


def looks_of_test(session: Session, task_name: str) -> Looks:
    """What is known of a task's test images, decoded."""
    return session.test_looks.get(task_name, lambda: Looks(_test_images(session, task_name)))


def _among(session: Session, images: Images, folder: Path, task_name: str) -> Looked:
    """The pairs of some images and a task's test images."""
    matches = pairs_among(images, looks_of_test(session, task_name), folder)
    return Looked(matches, images, _test_images(session, task_name))


def pairs_among(images: Images, looks: Looks, folder: Path) -> Matches:
    """The pairs of some images and test images: those that `folder` keeps, or else found and kept
    there.
    """
    matches = _kept(folder, len(looks), len(images))
    if matches is None:
        matches = _found(images, looks)
        remove_folder(folder)
        with atomic_folder(folder) as made:
            _write(made, matches)
    return matches


def _found(
    images: Images, test: Images | Looks, suggested: NDArray[np.int64] | None = None
) -> Matches:
    """All pairs are looked at where they are not too many, and those looked up where they are."""
    if too_many(len(images), len(test)):
        return near_duplicates_at_scale(images, test, suggested=suggested)
    return near_duplicates(images, test, suggested=suggested)


def _kept(folder: Path, num_test: int, num_source: int) -> Matches | None:
    """Pairs that were kept; None where there are none that can be read."""
    try:
        matches = digests.reading(lambda: _read(folder))
    except FileNotFoundError:
        return None
    except digests.Damaged as error:
        digests.made_again(folder, str(error), "this list of pairs")
        return None
    fits = (matches.num_test, matches.num_source) == (num_test, num_source)
    return matches if fits else None


def _write(folder: Path, matches: Matches) -> None:
    columns = {name: getattr(matches, name) for name in _COLUMNS if hasattr(matches, name)}
    columns |= {
        side: matches.window[:, i] for i, side in enumerate(("left", "top", "right", "bottom"))
    }
    pq.write_table(
        pa.table({name: pa.array(columns[name].tolist()) for name in _COLUMNS}), folder / PAIRS
    )
    about = {
        "num_test": matches.num_test,
        "num_source": matches.num_source,
        "sha256": file_sha256(folder / PAIRS),
    }
    (folder / ABOUT).write_text(json.dumps(digests.sealed(about)) + "\n")


def _read(folder: Path) -> Matches:
    """Raises FileNotFoundError where there is nothing, and whatever the readers raise."""
    about = digests.read_record(folder / ABOUT)
    if file_sha256(folder / PAIRS) != about["sha256"]:
        raise ValueError(f"{folder}: these pairs are not what was written")
    table: Any = pq.read_table(folder / PAIRS, partitioning=None)
    columns = {name: np.array(table[name].to_pylist()) for name in _COLUMNS}
    return Matches(
        num_test=about["num_test"],
        num_source=about["num_source"],
        test_row=columns["test_row"].astype(np.int64),
        source_row=columns["source_row"].astype(np.int64),
        kind=columns["kind"].astype(np.str_),
        similarity=columns["similarity"].astype(np.float32),
        flipped=columns["flipped"].astype(bool),
        window=np.stack([columns[name] for name in ("left", "top", "right", "bottom")], axis=1)
        .astype(np.float32)
        .reshape(-1, 4),
        window_of_source=columns["window_of_source"].astype(bool),
    )


def largest_arm(plan: Plan, source_name: str) -> PlannedArm:
    """The first of a source's arms with the most images: what is told of the source is told of
    these.
    """
    return max(
        (arm for arm in plan.arms if arm.words.source == source_name),
        key=lambda arm: len(arm.positions),
    )


def leak_facts(
    session: Session, tell: Callable[[str], None] = lambda line: None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What every source of a study shares with the test images of every task that its arms are
    measured on, a record a pair of the two; and what each task's own train and val share with
    them, a record a task.
    """
    plan = session.plan
    pairs = _measured(plan)
    for task_name in plan.tasks:  # so that test images are looked at once
        for arm, of_arm in pairs:
            if of_arm == task_name and plan.looks_for_copies(arm.words.source, task_name):
                tell(f"{arm.words.source} and the test images of {task_name}")
                look(session, arm, task_name)
        if plan.looks_within(task_name):
            tell(f"the train and val images of {task_name} and its test images")
            look_within(session, task_name)
        session.test_looks.forget()
    return (
        [_record(session, arm, task_name) for arm, task_name in pairs],
        [_own_record(session, task_name) for task_name in plan.tasks],
    )


def _measured(plan: Plan) -> list[tuple[PlannedArm, str]]:
    """The largest arm of every source with every task that the source's arms are measured on."""
    trained_on = {arm.words.source for arm in plan.arms}
    pairs = []
    for source_name in plan.study.sources:
        if source_name in trained_on:
            arm = largest_arm(plan, source_name)
            pairs += [(arm, task_name) for task_name in plan.study.tasks_of(arm.words)]
    return pairs


def _record(session: Session, arm: PlannedArm, task_name: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "source": arm.words.source,
        "images": len(arm.positions),
        "task": task_name,
        "test_images": len(session.plan.tasks[task_name].test),
        "equal_files": int(session.overlaps.of(arm, task_name).leaked_test.sum()),
    }
    if session.plan.looks_for_copies(arm.words.source, task_name):
        record |= look(session, arm, task_name).matches.summary()
    return record


def _own_record(session: Session, task_name: str) -> dict[str, Any]:
    plan, task = session.plan, session.plan.tasks[task_name]
    record: dict[str, Any] = {
        "images": len(own_images(task)),
        "task": task_name,
        "test_images": len(task.test),
        "equal_files": int(session.overlaps.own(task_name).sum()),
    }
    if plan.looks_within(task_name):
        record |= look_within(session, task_name).matches.summary()
    return record


def embedding_facts(session: Session, arm: PlannedArm, task_name: str) -> dict[str, Any]:
    """Cosine of each test image with its nearest image of the arm's source, by the arm's own
    features: quantiles over the test images.

    A hint of likeness, not of copies: what is near by features is then looked at as near_duplicates
    does, and counted in `confirmed`.
    """
    from headwater import models
    from headwater.transfer.features import extract

    assert arm.words.source is not None
    looked, store = look(session, arm, task_name), session.store
    encoder = models.trained_encoder(
        store.arm_folder(arm.id), store.read_arm(arm.id)["encoder_sha256"]
    )
    size, compute = session.plan.study.image_size, session.compute
    of_source, of_test = (
        extract(encoder, images, image_size=size, compute=compute)
        for images in (looked.source_images, looked.test_images)
    )
    rows, cosines = embedding_neighbours(of_source, of_test, k=3)
    suggested = np.stack([np.repeat(np.arange(len(rows)), rows.shape[1]), rows.ravel()], axis=1)
    confirmed = _found(looked.source_images, looked.test_images, suggested).flagged
    nearest = cosines[:, 0]
    return {
        "source": arm.words.source,
        "task": task_name,
        "arm": arm.id,
        "nearest_cosine": {f"{q:g}": float(np.quantile(nearest, q)) for q in (0.5, 0.9, 0.99, 1.0)},
        "confirmed": int(confirmed.sum()),
        "confirmed_by_embedding_alone": int((confirmed & ~looked.matches.flagged).sum()),
    }
