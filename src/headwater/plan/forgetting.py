"""What a store forgets of a plan, so that it is computed again."""

from __future__ import annotations

from headwater.errors import InputError
from headwater.plan.plan import Plan
from headwater.store import Store

SHORTEST_ID = 6
"""How much of an id `--redo` asks for: what it forgets may have taken hours."""


def forget(plan: Plan, store: Store, ids: list[str]) -> None:
    """Drop the arms and cells whose ids begin so; an arm takes its cells along, and the arms that
    are labelled by its features with their labels.

    Raises InputError, before anything is dropped, for an id that is too short, means nothing here,
    or could mean two things.
    """
    meant = {_meant(plan, prefix) for prefix in ids}
    arms = meant & {arm.id for arm in plan.every_arm}
    arms |= labelled_by(plan, arms)
    cells = meant | {cell.id for cell in plan.cells if cell.arm.id in arms}
    labels = {arm.clusters.id for arm in plan.arms if arm.id in arms and arm.clusters}
    # cells first: were this stopped half-way, the next run would measure them again
    for cell_id in cells - arms:
        store.drop_cell(cell_id)
    for arm_id in arms:
        store.drop_arm(arm_id)
    for labels_id in labels:
        store.drop_labels(labels_id)


def _meant(plan: Plan, prefix: str) -> str:
    """The arm or cell whose id begins so. Raises InputError where that is not one."""
    if len(prefix) < SHORTEST_ID:
        raise InputError(
            f"--redo {prefix!r}: give at least the first {SHORTEST_ID} characters of an id "
            "(`headwater plan --json` lists arms, `rows` cells)"
        )
    ids = {arm.id for arm in plan.every_arm} | {cell.id for cell in plan.cells}
    meant = sorted(known for known in ids if known.startswith(prefix))
    if not meant:
        raise InputError(
            f"--redo {prefix!r}: no arm or cell of this study has an id that begins so "
            "(`headwater plan --json` lists arms, `rows` cells)"
        )
    if len(meant) > 1:
        raise InputError(
            f"--redo {prefix!r}: {len(meant)} arms and cells have ids that begin so "
            f"({', '.join(meant[:3])}, ...); give more of it"
        )
    return meant[0]


def labelled_by(plan: Plan, arms: set[str]) -> set[str]:
    """Ids of the arms whose labels are made from the features of these, at whatever remove."""
    labelled: set[str] = set()
    for arm in plan.every_arm:
        above = arm.needs
        while above is not None:
            if above.id in arms:
                labelled.add(arm.id)
            above = above.needs
    return labelled
