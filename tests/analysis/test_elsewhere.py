"""Whether a verdict holds with more images."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.analysis import Aim, decide
from headwater.analysis.backtest import backtest
from headwater.analysis.conclude import verdict
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row

SIZES = (500, 1000, 2000, 4000, 8000, 16_000)


def rows(laws: dict[str, tuple[float, float, float]], sd: float = 0.002) -> pd.DataFrame:
    """Errors floor + fall (n / 500)^-exponent of sources at six sizes, three seeds."""
    rng = np.random.default_rng(0)
    made = []
    for source, (floor, fall, exponent) in laws.items():
        for n, seed in itertools.product(SIZES, range(3)):
            error = floor + fall * (n / 500) ** -exponent + sd * rng.standard_normal()
            said: dict[str, Any] = {
                "cell": f"{source}{n}{seed}", "arm": f"{source}{n}{seed}", "seed": seed,
                "source": source, "size": str(n), "unique_images": n, "images_seen": 40_000,
                "value": 1 - error,
            }  # fmt: skip
            made.append(one_row(**said))
    return to_frame(made)


STAYS = {"near": (0.1, 0.3, 0.5), "far": (0.2, 0.4, 0.5)}
CROSSES = {"quick": (0.2, 0.2, 0.8), "slow": (0.0, 0.62, 0.3)}


def test_a_leader_that_stays_ahead_is_said_to_at_four_times_what_was_run() -> None:
    (said,) = decide(rows(STAYS)).elsewhere
    assert said.startswith("At 64,000 images of each, 4 times the most that supervised level:0")
    assert "it is foretold to stay ahead of supervised level:0 · far" in said


def test_a_leader_that_is_overtaken_is_never_said_to_stay_ahead() -> None:
    table = rows(CROSSES, sd=0.0005)
    leads = decide(table)
    assert leads.best is not None and "quick" in leads.best
    (said,) = decide(table, Aim(target=250_000)).elsewhere
    assert "stay ahead" not in said
    assert "slow is foretold to be ahead" in said or "who is ahead is open" in said


def test_one_size_says_nothing_unless_a_target_is_asked_for() -> None:
    table = rows(STAYS)
    one = table[table["size"] == "1000"]
    assert decide(one).elsewhere == ()
    (said,) = decide(one, Aim(target=50_000)).elsewhere
    assert "was run at one size" in said and "add `sizes`" in said
    (said,) = decide(table, Aim(target=3_000)).elsewhere
    assert "was run with 16,000" in said
    alone = pd.concat([table[table["source"] == "near"], one])
    (said,) = decide(alone.drop_duplicates("cell"), Aim(target=50_000)).elsewhere
    assert "no other arm was run at several sizes" in said


def test_arms_without_a_seed_in_all_tasks_are_left_out_and_nothing_fails() -> None:
    table = rows({**STAYS, "third": (0.3, 0.4, 0.5)})
    other = table.assign(task="cars", task_fingerprint="cars", cell=table["cell"] + "c")
    both = pd.concat([table, other], ignore_index=True)
    apart = (both["source"] == "third") & ((both["seed"] == 0) == (both["task"] == "cars"))
    holes = to_frame(both[~apart].to_dict("records"))
    (said,) = decide(holes).elsewhere
    assert "far" in said and "third" not in said
    assert len(backtest(holes))


def test_the_verdict_and_plain_values_carry_it() -> None:
    table = rows(STAYS)
    assert any("foretold to stay ahead" in said for said in verdict(table).sentences)
    assert decide(table).to_dict()["elsewhere"] == list(decide(table).elsewhere)


@pytest.mark.parametrize("seed", range(4))
def test_noise_leaves_it_open(seed: int) -> None:
    same = {"one": (0.1, 0.3, 0.5), "other": (0.1, 0.3, 0.5)}
    table = rows(same, sd=0.004 * (1 + seed))
    (said,) = decide(table).elsewhere
    assert "who is ahead is open with" in said and "would tell most" in said
