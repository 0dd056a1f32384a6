"""What arms cost, against sums by hand, and that "the cheapest" goes by it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from headwater.analysis import Aim, Prices, decide, evidence_of, verdict
from headwater.analysis.prices import costs_of
from headwater.errors import InputError
from headwater.report.card import tiles
from headwater.rows import to_frame
from tests.analysis.synthetic import arm_fields, one_row

ARMS: dict[str, dict[str, Any]] = {
    "fine": arm_fields("supervised", "level:0", 400, "photos"),
    "coarse": arm_fields("supervised", "level:2", 8, "photos"),
    "split": arm_fields("supervised", "random:16 within level:2", 16, "photos"),
    "instance": arm_fields("supervised", "instance", 1000, "photos"),
    "noisy": arm_fields("supervised", "class with noise 0.2", 400, "photos"),
    "simclr": arm_fields("simclr", None, None, "photos"),
    "captioned": arm_fields("clip", "captions", 900, "photos"),
    "template": arm_fields("clip", "template", 400, "photos"),
    "scratch": arm_fields("scratch", None, None, None),
}


def rows_of(**changes: Any) -> list[dict[str, Any]]:
    """Three seeds of every arm: 1,000 images, half an hour of pre-training, and a cell of 36 s."""
    rows = []
    for place, (arm, fields) in enumerate(ARMS.items()):
        trained = {} if arm == "scratch" else {"unique_images": 1000, "pretrain_seconds": 1800.0}
        for seed in range(3):
            of_cell = {"cell": f"{arm}{seed}", "arm": f"{arm}{seed}", "seed": seed, "seconds": 36.0}
            value = 0.6 + 0.01 * ((place * 7 + seed * 3) % 5)
            rows.append(one_row(**fields | trained | of_cell | {"value": value} | changes))
    return rows


def costs(prices: Prices, rows: list[dict[str, Any]] | None = None) -> dict[str, float | None]:
    found = evidence_of(to_frame(rows or rows_of()))
    by_name = costs_of(found.arms, prices, found)
    labels = {fields["labels"] or fields["method"]: arm for arm, fields in ARMS.items()}
    return {labels[arm.labels or arm.method]: by_name[arm.name] for arm in found.arms}


def test_an_arm_costs_its_images_labels_captions_and_hours() -> None:
    found = costs(Prices(image=0.01, label=0.05, caption=0.2, gpu_hour=2.0))
    hours = 2.0 * (0.5 + 0.01)
    assert found == pytest.approx(
        {
            "fine": 10 + 50 + hours,
            "coarse": 10 + 50 + hours,
            "split": 10 + 50 + hours,  # it splits classes of level:2, whose labels it needs
            "instance": 10 + hours,  # nobody has to say which image it is
            "noisy": 10 + 50 + hours,
            "simclr": 10 + hours,
            "captioned": 10 + 200 + hours,
            "template": 10 + 50 + hours,  # captions are made of class names
            "scratch": 2.0 * 0.01,
        }
    )


def test_labels_have_a_price_by_level_and_none_that_is_not_known_is_0() -> None:
    found = costs(Prices(label={"level:2": 0.02}))
    assert (found["coarse"], found["split"], found["simclr"]) == (20.0, 20.0, 0.0)
    assert found["fine"] is found["noisy"] is found["template"] is None
    decision = decide(to_frame(rows_of()), Aim(prices=Prices(label={"level:2": 0.02})))
    said = [note for note in decision.notes if "is not known: no price is given" in note]
    assert len(said) == 3 and "level:0" in said[0]


@pytest.mark.parametrize(
    ("lost", "prices", "said"),
    [
        ("unique_images", Prices(image=1.0), "how many images it had"),
        ("pretrain_seconds", Prices(gpu_hour=1.0), "how long it took"),
    ],
)
def test_what_rows_do_not_say_is_no_0(lost: str, prices: Prices, said: str) -> None:
    rows = rows_of(**{lost: None})
    found = costs(prices, rows)
    assert found.pop("scratch") == pytest.approx(0.01 if lost == "pretrain_seconds" else 0)
    assert set(found.values()) == {None}
    assert any(said in note for note in decide(to_frame(rows), Aim(prices=prices)).notes)


def test_a_price_of_labels_that_no_arm_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no arm has labels 'levl:2'.*did you mean 'level:2'"):
        decide(to_frame(rows_of()), Aim(prices=Prices(label={"levl:2": 1.0})))
    for wrong in (-1.0, float("nan"), float("inf"), 1.1e15, 1e308, True):
        with pytest.raises(InputError, match="is no number from 0"):
            Prices(image=wrong)
        with pytest.raises(InputError, match="label level:2"):
            Prices(label={"level:2": wrong})


def close_rows() -> list[dict[str, Any]]:
    """Fine labels lead coarse ones by nothing that matters; their arm trains for less long."""
    rows = []
    for arm, ahead, seconds in (("fine", 1e-4, 1800.0), ("coarse", 0.0, 3600.0)):
        for seed, shared in enumerate((0.6, 0.61, 0.63)):
            own = 1e-5 * (seed - 1) * (1 if arm == "fine" else -1)
            of_cell = {"cell": f"{arm}{seed}", "arm": f"{arm}{seed}", "seed": seed, "seconds": 0.0}
            known = {"unique_images": 1000, "pretrain_seconds": seconds, "n_test": 10**6}
            rows.append(one_row(**ARMS[arm] | of_cell | known | {"value": shared + ahead + own}))
    return rows


def test_the_cheapest_goes_by_prices_where_there_are_any() -> None:
    table = to_frame(close_rows())
    by_hours = decide(table)
    assert by_hours.costs == {} and by_hours.cheaper == ()
    labels = Prices(label={"level:0": 0.08, "level:2": 0.02}, gpu_hour=3.0)
    decision = decide(table, Aim(prices=labels))
    fine, coarse = "supervised level:0 · photos", "supervised level:2 · photos"
    assert decision.best == fine
    assert decision.costs == pytest.approx({fine: 81.5, coarse: 23.0})
    assert decision.cheaper == (coarse,)
    undecided = replace(decision, confidence="not told apart", shortlist=(fine, coarse))
    (tile,) = [tile for tile in tiles(undecided) if tile.label == "Its price"]
    assert (tile.number, tile.note) == ("81.50", f"as good and cheaper: {coarse} (23.00)")
    words = json.loads(json.dumps(decision.to_dict(), allow_nan=False))
    assert words["costs"] == pytest.approx({fine: 81.5, coarse: 23.0})
    assert words["prices"]["label"] == {"level:0": 0.08, "level:2": 0.02}
    sentences = verdict(table, Aim(prices=labels)).sentences
    assert f"Price: 81.50; as good and cheaper: {coarse} (23.00)." in sentences


def test_take_the_cheapest_names_another_arm_at_other_prices() -> None:
    """By hours it is the fine labels, by money the coarse ones."""
    rows = close_rows()
    for row in rows:  # a lead of nothing, so that it is as good in practice and not told apart
        row["value"] -= 1e-4 if row["labels"] == "level:0" and row["seed"] == 0 else 0.0
    table = to_frame(rows)
    (by_hours,) = decide(table).next
    assert (by_hours.kind, by_hours.arms) == ("cheapest", ("supervised level:0 · photos",))
    (by_money,) = decide(table, Aim(prices=Prices(label={"level:0": 9.0, "level:2": 0.5}))).next
    assert by_money.arms == ("supervised level:2 · photos",)
    assert by_money.text.endswith("supervised level:2 · photos (price 500).")


def test_hours_of_a_step_have_a_price() -> None:
    rows = [row | {"value": 0.6 + 0.01 * (i % 4)} for i, row in enumerate(rows_of())]
    decision = decide(to_frame(rows), Aim(prices=Prices(gpu_hour=4.0), tolerance=0.0))
    for step in decision.next:
        if step.hours is not None:
            assert step.money is not None and step.money[0] == pytest.approx(4 * step.hours[0])
    assert all(step.money is None for step in decide(to_frame(rows)).next)


@pytest.mark.parametrize("number", [np.int64(2), np.float32(2), np.float64(2), Fraction(2), 2])
def test_a_number_of_any_kind_is_a_price(number: Any) -> None:
    for prices in (Prices(image=number, label=number), Prices(label={"level:0": number})):
        plain = json.loads(json.dumps(prices.to_dict()))
        assert plain["label"] in (2, {"level:0": 2}) and plain["image"] in (0, 2)
    assert costs(Prices(image=number))["simclr"] == 2000
    for wrong in (np.bool_(True), "2", 2j, np.float32("nan")):
        with pytest.raises(InputError, match="is no number from 0 to 1e15"):
            Prices(caption=wrong)  # type: ignore[arg-type]


def test_a_price_that_nobody_pays_is_refused_or_said() -> None:
    table = to_frame(rows_of())
    for free in ("random:16", "instance", "cluster:9"):
        with pytest.raises(InputError, match=f"'{free}': nobody has to assign them"):
            decide(table, Aim(prices=Prices(label={free: 1.0})))
    notes = decide(table, Aim(prices=Prices(label={"captions": 1.0, "level:2": 1.0}))).notes
    assert "No arm pays for labels captions, which have a price." in notes
    notes = decide(table, Aim(prices=Prices(label={"template": 1.0, "level:2": 1.0}))).notes
    assert not any("which have a price" in note for note in notes)


def test_an_arm_as_good_whose_price_is_not_known_is_no_dearer_one() -> None:
    rows = close_rows()
    for row in rows:
        row["unique_images"] = None if row["labels"] == "level:2" else 1000
    decision = decide(to_frame(rows), Aim(prices=Prices(image=1.0)))
    coarse = "supervised level:2 \u00b7 photos"
    assert coarse in decision.as_good and decision.costs[coarse] is None
    (tile,) = [tile for tile in tiles(decision) if tile.label == "Its price"]
    assert (tile.number, tile.note) == ("1,000", f"the price of {coarse} is not known")
    said = f"Price: 1,000; the price of {coarse} is not known."
    assert said in verdict(to_frame(rows), Aim(prices=Prices(image=1.0))).sentences
