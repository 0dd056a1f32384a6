"""Whether small runs tell the order of large ones."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.backtest import COLUMNS, backtest, backtest_sentences
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row, rows_of_sizes
from tests.conftest import Cli


def rows(errors: dict[str, dict[int, float]], sd: float = 0.001) -> pd.DataFrame:
    """Sources with these errors at each size on two tasks, three seeds."""
    rng = np.random.default_rng(0)
    made = []
    for source, of in errors.items():
        for (n, error), seed, task in itertools.product(of.items(), range(3), ("birds", "cars")):
            made.append(
                one_row(
                    cell=f"{source}{n}{seed}{task}", arm=f"{source}{n}{seed}", seed=seed,
                    source=source, size=str(n), unique_images=n, images_seen=40_000, task=task,
                    task_fingerprint=task, value=1 - error + sd * float(rng.standard_normal()),
                )
            )  # fmt: skip
    return to_frame(made)


STAYS = {"a": {500: 0.5, 4000: 0.3}, "b": {500: 0.6, 4000: 0.4}, "c": {500: 0.7, 4000: 0.5}}
CROSSES = {"a": {500: 0.5, 4000: 0.4}, "b": {500: 0.6, 4000: 0.3}}


def test_orders_that_stay_are_all_right_by_every_criterion() -> None:
    found = backtest(rows(STAYS))
    assert tuple(found.columns) == COLUMNS and len(found) == 3
    assert (found["pairs"] == 3).all() and (found["right"] == 1).all()
    assert (found["told"] == 3).all() and (found["told_right"] == 1).all()
    assert (found["reversed"] == 0).all()
    assert set(found["criterion"]) == {
        "finetune, all images, mean over tasks",
        "finetune, all images, birds",
        "finetune, all images, cars",
    }
    assert backtest_sentences(found)[0].startswith(
        "From 500 to 4,000 images: 100 % of orders right"
    )


def test_an_order_that_turns_around_is_wrong_and_counted_as_reversed() -> None:
    found = backtest(rows(CROSSES))
    assert (found["right"] == 0).all() and (found["reversed"] == 1).all()


def test_pairs_whose_order_nobody_knows_do_not_count() -> None:
    same = {"a": {500: 0.5, 4000: 0.4}, "b": {500: 0.6, 4000: 0.4}}
    found = backtest(rows(same, sd=0.02))
    assert (found["pairs"] <= 1).all() and found["right"].isna().any()
    one = backtest(rows({"a": STAYS["a"], "b": {500: 0.6}}))
    assert not len(one) and "No two arms" in backtest_sentences(one)[0]


def test_every_pair_of_sizes_is_a_line() -> None:
    found = backtest(rows_of_sizes())
    assert len(found) == 10 and found["right"].mean() == pytest.approx(1.0)


def test_the_command_prints_the_lines_and_gives_them_as_json(
    headwater: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    rows(STAYS).to_parquet(path)
    code, out, _ = headwater("backtest", str(path))
    assert code == 0 and "500 to 4,000" in out and "100 % of orders right" in out
    code, out, _ = headwater("backtest", str(path), "--json")
    assert code == 0 and json.loads(out)["lines"][0]["right"] == 1.0


def test_sizes_that_are_nearly_one_are_one_line() -> None:
    near = {"a": STAYS["a"], "b": {490: 0.6, 3990: 0.4}, "c": STAYS["c"]}
    found = backtest(rows(near))
    assert len(found) == 3 and (found["pairs"] == 3).all()
    assert set(zip(found["small"], found["large"], strict=True)) == {(500, 4000)}
