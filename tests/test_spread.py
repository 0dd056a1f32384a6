"""How what is left spreads over workers, and how many GPUs train one arm."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from headwater.cost import known
from headwater.cost.spread import DOUBLED, Load, Spread, gpus_per_arm, ranks_so_far
from headwater.digests import sealed
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Finished


def spread(*seconds: float, measuring: float = 0.0) -> Spread:
    return Spread(0.0, tuple(Load(each, measuring) for each in seconds))


def test_whoever_is_free_takes_the_longest_that_is_left() -> None:
    assert spread(5, 4, 3, 3, 3).takes_s(2) == 10  # the best there is would be 9
    assert spread(5, 4, 3, 3, 3).takes_s(100) == 5
    assert spread(8, measuring=1).takes_s(1, faster=2.0) == 5
    assert Spread(0.0, (Load(2, 1, before=4),)).takes_s(3) == 7
    assert Spread(0.0, ()).takes_s(2) == 0


@pytest.mark.parametrize(
    ("arms", "nodes", "most", "number"),
    [
        (64, [8], 256, 1),  # arms enough for all GPUs
        (8, [8], 256, 1),
        (4, [8], 256, 2),
        (1, [8], 256, 8),
        (1, [8], 4, 4),  # no rank without an image
        (1, [8, 8], 256, 8),  # an arm is trained on one node
        (2, [4, 4], 256, 4),
        (1, [1] * 8, 256, 1),
        (9, [8], 256, 2),  # three short rounds in place of two long ones
        (12, [8], 256, 1),  # three short ones take as long as two
        (0, [8], 256, 1),
        (3, [], 256, 1),
    ],
)
def test_few_arms_get_several_gpus_each(
    arms: int, nodes: list[int], most: int, number: int
) -> None:
    assert gpus_per_arm(spread(*[100.0] * arms), nodes, most) == number


def test_it_is_as_fast_as_any_number_of_gpus_but_for_what_is_not_worth_it() -> None:
    for arms, gpus in itertools.product(range(1, 20), (1, 2, 4, 8)):
        some = spread(*(50.0 + 7 * each for each in range(arms)), measuring=20)
        seconds = {
            2**power: some.takes_s(gpus // 2**power, DOUBLED**power)
            for power in range(gpus.bit_length())
        }
        assert seconds[gpus_per_arm(some, [gpus], 256)] <= min(seconds.values()) / 0.81


def test_a_plans_work_is_in_it_once(finished: Finished, tmp_path: Path) -> None:
    plan = Plan.make(Study.load(finished.study), cache=tmp_path)
    found = Spread.of(plan, plan.arms, plan.cells, known(plan, torch.device("cpu")))
    assert len(found.loads) == len(plan.arms) and found.start_s > 0
    assert found.takes_s(1) == pytest.approx(found.work_s)
    assert found.takes_s(100) == pytest.approx(found.longest_s)
    assert found.longest_s < found.work_s


def test_arms_that_are_there_say_by_how_many_they_were_trained(
    finished: Finished, tmp_path: Path
) -> None:
    plan = Plan.make(Study.load(finished.study), cache=tmp_path)
    assert ranks_so_far(plan, Store(tmp_path / "empty", create=True)) is None
    store = Store(finished.store)
    assert ranks_so_far(plan, store) == 1
    record = store.arms / plan.arms[-1].id / "arm.json"
    before = record.read_text()
    said = json.loads(before)
    said.pop("sha256", None)
    try:
        record.write_text(json.dumps(sealed({**said, "fingerprint": "x ranks=4 y"})))
        assert ranks_so_far(plan, Store(finished.store)) == 4
    finally:
        record.write_text(before)
