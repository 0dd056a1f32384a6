"""How what is left spreads over workers, and how many GPUs train one arm."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch

from headwater import digests
from headwater.cost import known
from headwater.cost.spread import DOUBLED, Load, Spread
from headwater.engines.gpus import ranks_so_far
from headwater.engines.ranks import check_batch, most_ranks
from headwater.errors import InputError
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
        (1, [8], 5, 4),
        (1, [8, 8], 256, 8),  # an arm is trained on one node
        (1, [4, 8], 256, 8),
        (2, [4, 4], 256, 4),
        (1, [1] * 8, 256, 1),
        (9, [8], 256, 2),  # three short rounds in place of two long ones
        (16, [8], 256, 1),  # four short ones take longer than two
        (0, [8], 256, 1),
        (3, [], 256, 1),
    ],
)
def test_few_arms_get_several_gpus_each(
    arms: int, nodes: list[int], most: int, number: int
) -> None:
    assert spread(*[100.0] * arms).gpus_per_arm(nodes, most) == number


def test_workers_are_no_more_than_are_asked_for() -> None:
    arms = spread(*[100.0] * 8)
    assert arms.gpus_per_arm([8], 256) == 1
    assert arms.gpus_per_arm([8], 256, workers=1) == 8
    assert arms.gpus_per_arm([8], 256, workers=2) == 4


def test_ranks_share_batches_of_at_least_two_images_each(
    finished: Finished, tmp_path: Path
) -> None:
    plan = Plan.make(Study.load(finished.study), cache=tmp_path)
    arms = [arm for arm in plan.arms if arm.recipe is not None]
    most = most_ranks(arms)
    assert most == 16  # batches of 32
    for arm in arms:
        check_batch(arm, most)
        with pytest.raises(InputError, match="is too small for 17 ranks"):
            check_batch(arm, most + 1)
    assert most_ranks([]) == 1


def test_it_is_as_fast_as_any_number_of_gpus_but_for_what_is_not_worth_it() -> None:
    for arms, gpus in itertools.product(range(1, 20), (1, 2, 4, 8)):
        some = spread(*(50.0 + 7 * each for each in range(arms)), measuring=20)
        seconds = {
            2**power: some.takes_s(gpus // 2**power, DOUBLED**power)
            for power in range(gpus.bit_length())
        }
        assert seconds[some.gpus_per_arm([gpus], 256)] <= min(seconds.values()) / 0.81


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
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    assert ranks_so_far(plan, store) == 1
    trained = [arm.id for arm in plan.arms if arm.recipe is not None]
    records = [store.arms / arm / "arm.json" for arm in trained]
    for record in records[1:]:
        said = digests.unsealed(json.loads(record.read_text()))
        about = digests.sealed({**said, "fingerprint": "x ranks=4 y"})
        record.write_text(json.dumps(about))
    records[0].write_text("{}")  # damaged
    assert ranks_so_far(plan, Store(store.root)) == 4
