"""How many GPUs train one arm of a run together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headwater.digests import tell
from headwater.engines.elsewhere import Asked
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store


def gpus_per_arm(asked: Asked, gpus_of_nodes: Sequence[float]) -> int:
    """As many as for the arms that are there, as arms of one GPU and of several differ; without any
    those with which all is done soonest by the plan's costs (headwater.cost.spread). It is told.
    """
    import torch

    from headwater.cost import known
    from headwater.cost.spread import Spread
    from headwater.engines.ranks import most_ranks

    found, why = ranks_so_far(asked.plan, asked.store), "as for the arms that are there"
    if found is None:
        arms, cells = asked.todo.arms, asked.todo.cells
        left = Spread.of(asked.plan, arms, cells, known(asked.plan, torch.device("cuda")))
        nodes = [int(gpus) for gpus in gpus_of_nodes]
        most = min(most_ranks(arms), max(nodes, default=1))
        found = left.gpus_per_arm(nodes, most, asked.workers)
        why = "by the plan's costs"
    tell(f"{found} GPU{'' if found == 1 else 's'} for each arm, {why}")
    return found


def ranks_so_far(plan: Plan, store: Store) -> int | None:
    """By how many processes together the first of the plan's arms that is there was trained; None
    without any.
    """
    for arm in plan.arms:
        if arm.recipe is None or not store.has_arm(arm.id):
            continue
        try:
            said = str(store.read_arm(arm.id).get("fingerprint"))
        except InputError:  # damaged: told by who needs it
            continue
        found = re.search(r"ranks=(\d+)", said)
        return int(found[1]) if found else 1
    return None
