"""`headwater hardness`: what it makes of a store and of an exported table, and how it
refuses.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from headwater import api
from headwater.analysis.samples import read_answers
from headwater.errors import InputError
from headwater.facts.hardness import answers_of, hardness_facts, save_answers, table_facts
from headwater.plan import Plan
from headwater.show import hardness as room
from headwater.show.hardness import print_hardness
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Finished, tiny, write_study
from tests.toy import keep_answers

NOTHING: dict[str, Any] = {"coarse": None, "fine": None, "hard_share": None}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two levels and three seeds of the tiny study, with and without pre-training, under a frozen
    protocol with two draws; half of the test images are hard.
    """
    folder = tmp_path_factory.mktemp("hardness")
    words = tiny(
        methods=["scratch", "supervised"],
        labels=["level:1", "level:0", "instance"],
        seeds=3,
        budget={"steps": 4},
    )
    words["data"]["other"]["hard_test"] = 0.5
    words |= {
        "tasks": {"other": {"data": "other", "labels": "level:1"}},
        "protocols": {"ridge": {"shots": [3, "full"], "draws": 2}},
    }
    study = write_study(folder / "study.yaml", words)
    api.run(study, store=folder / "store", device="cpu", engine="inline")
    return Finished(study, folder / "store")


def opened(ran: Finished, store: Path | None = None) -> tuple[Plan, Store]:
    return Plan.make(Study.load(ran.study)), Store(store or ran.store)


def shown(facts: dict[str, Any]) -> str:
    with room._console.capture() as captured:
        print_hardness(facts)
    return captured.get()


def test_the_answers_of_a_store_are_those_that_its_rows_were_counted_from(ran: Finished) -> None:
    plan, store = opened(ran)
    table, without = answers_of(plan, store)
    assert without == 0
    rows = plan.rows(store)
    rows = rows[(rows["method"] == "supervised") & (rows["metric"] == "top1")]
    keys = ["labels", "seed", "shots", "draw"]
    assert len(table) == 3 * 3 * 3 * 64
    for subset, part in (
        ("all", table),
        ("hard", table[table["hard"]]),
        ("easy", table[~table["hard"]]),
    ):
        shares = part.groupby(keys, dropna=False)["right"].mean().astype(float).sort_index()
        told = rows[rows["subset"] == subset].set_index(keys)["value"].astype(float).sort_index()
        assert shares.tolist() == pytest.approx(told.tolist())
    assert set(table.loc[table["target"], "labels"]) == {"level:1"}, "the task's own families"


def test_a_study_is_shown_with_each_split_and_its_answer(ran: Finished) -> None:
    facts = hardness_facts(*opened(ran), **NOTHING)
    assert json.loads(json.dumps(facts)) == facts, "plain values"
    assert [
        (s["task"], s["shots"], s["coarse"], s["fine"], s["coarse_classes"], s["fine_classes"])
        for s in facts["settings"]
    ] == [
        ("other", 3, "level:1", "level:0", 2, 6),
        ("other", None, "level:1", "level:0", 2, 6),
    ]
    for setting in facts["settings"]:
        assert [split["split"] for split in setting["splits"]] == [
            "cross-fitted",
            "coarse arm",
            "same model",
            "given",
        ]
        assert [split["biased"] for split in setting["splits"]] == [False, True, True, False]
        assert {split["num_seeds"] for split in setting["splits"]} <= {2, 3}
        in_bins = sum(bin_["samples"] for bin_ in setting["bins"])
        # means over seeds: the sum of rounded means may fall short by their rounding
        assert in_bins >= 64 * (1 - 1e-12)
    text = " ".join(shown(facts).split())
    for part in (
        "paint on other, ridge, all images",
        "gain of level:0 (6 classes) over level:1 (2), points",
        "biased",
        "answer: ",
        "AUC",
    ):
        assert part in text


def test_any_pair_of_views_can_be_named_and_a_share_taken(ran: Finished) -> None:
    plan, store = opened(ran)
    facts = hardness_facts(plan, store, coarse="level:0", fine="instance", hard_share=0.25)
    assert {(s["coarse"], s["fine"]) for s in facts["settings"]} == {("level:0", "instance")}
    assert {s["splits"][0]["hard_samples"] for s in facts["settings"]} == {16.0}
    assert "the 25 % of the test samples" in shown(facts)
    with pytest.raises(
        InputError,
        match=r"no arm with kept answers was trained on 'level:3'; there are instance, level:0 and "
        r"level:1",
    ):
        hardness_facts(plan, store, coarse="level:3", fine=None, hard_share=None)


def test_an_exported_table_says_what_its_store_says(ran: Finished, tmp_path: Path) -> None:
    plan, store = opened(ran)
    path = save_answers(plan, store, tmp_path / "tiny-world.parquet")
    assert table_facts(path, **NOTHING) == hardness_facts(plan, store, **NOTHING)
    assert len(read_answers(path)) == 3 * 3 * 3 * 64


def test_cells_without_answers_are_counted_and_what_to_do_is_said(
    ran: Finished, tmp_path: Path
) -> None:
    copy = shutil.copytree(ran.store, tmp_path / "store")
    plan, store = opened(ran, copy)
    gone = next(cell for cell in plan.cells if cell.arm.words.labels == "instance")
    (store.answers / f"{gone.id}.npy").unlink()
    facts = hardness_facts(plan, store, **NOTHING)
    assert facts["without_answers"] == 1
    assert "1 finished cells were measured before answers were kept" in shown(facts)
    shutil.rmtree(store.answers)
    with pytest.raises(
        InputError,
        match=r"its 27 finished cells of supervised arms were measured before answers were kept; "
        r".* --store .* --redo ID",
    ):
        hardness_facts(plan, store, **NOTHING)


def test_a_store_where_nothing_is_done_says_so(ran: Finished, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no cell of a supervised arm of tiny-world is done; `headwater run`"
    ):
        hardness_facts(
            Plan.make(Study.load(ran.study)), Store(tmp_path / "new", create=True), **NOTHING
        )


def test_answers_that_are_not_those_of_the_rows_are_named(ran: Finished, tmp_path: Path) -> None:
    plan, store = opened(ran, shutil.copytree(ran.store, tmp_path / "store"))
    cell = next(cell for cell in plan.cells if cell.arm.words.method == "supervised")
    right = store.read_answers(cell.id, 64)
    assert right is not None
    keep_answers(store, cell.id, ~right if right.mean() != 0.5 else np.ones(64, dtype=bool))
    with pytest.raises(
        InputError,
        match=rf"{cell.id}\.npy: these answers are not those of the cell's rows; .*--redo "
        rf"{cell.id}",
    ):
        hardness_facts(plan, store, **NOTHING)


def test_two_seeds_are_refused_with_the_reason(ran: Finished, tmp_path: Path) -> None:
    words = yaml.safe_load(ran.study.read_text()) | {"seeds": 2}
    plan = Plan.make(Study.load(write_study(tmp_path / "two.yaml", words)))
    with pytest.raises(
        InputError, match="2 seeds with both level:1 and level:0; hardness is told by other seeds"
    ):
        hardness_facts(plan, Store(ran.store), **NOTHING)
