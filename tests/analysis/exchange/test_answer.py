"""Exchange rates from rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headwater.analysis import Aim, Prices
from headwater.analysis.exchange import curves_of_rows, exchange_rate, over_budgets, rates_frame
from headwater.analysis.exchange.crossing import KEEPS
from headwater.analysis.exchange.rates import UNKNOWN, VARIES
from headwater.errors import InputError
from headwater.rows import to_frame
from tests.analysis.synthetic import SIZES_OF_ROWS, rows_of_shots, rows_of_sizes

SIZES = SIZES_OF_ROWS
rows = rows_of_sizes


def test_the_rate_of_two_sources_is_found_in_their_rows() -> None:
    found = exchange_rate(rows(), "web", "photos")
    assert found.overall.rate == pytest.approx(3.0, rel=0.05)
    assert found.overall.low is not None and found.overall.high is not None
    assert found.overall.low < 3 < found.overall.high
    assert [rate.n for rate in found.rates] == list(map(float, SIZES))
    assert found.sentences[0].startswith(
        "Over all sizes one image of supervised level:0 · photos is worth"
    )
    frame = rates_frame(found)
    assert list(frame.columns) == ["n", "error", "kind", "rate", "low", "high"]
    assert found.to_dict()["changes"] == "" and found.num_seeds == 3


def test_a_curve_is_named_by_its_source_or_whole_and_a_wrong_name_is_told() -> None:
    table = rows()
    whole = exchange_rate(table, "supervised level:0 · web", "supervised level:0 · photos")
    assert whole == exchange_rate(table, "web", "photos")
    assert [one.name for one in curves_of_rows(table)] == [
        "supervised level:0 · photos",
        "supervised level:0 · web",
    ]
    with pytest.raises(InputError, match="photo: is no curve of these rows; there are supervised"):
        exchange_rate(table, "photo", "photos")
    both = pd.concat([table, table.assign(method="simclr", labels=pd.NA, arm=table["arm"] + "s")])
    both["cell"] = both["cell"] + both["method"]
    with pytest.raises(InputError, match="several curves are of this source"):
        exchange_rate(to_frame(both.to_dict("records")), "web", "photos")


def test_one_size_of_the_source_that_is_paid_with_is_told_with_the_mend() -> None:
    table = rows()
    one = table[(table["source"] == "photos") | (table["size"] == "500")]
    with pytest.raises(InputError, match=r"was run at one size alone \(500\).*sizes: \["):
        exchange_rate(one, "web", "photos")
    bought = exchange_rate(one, "photos", "web")
    assert len(bought.rates) == 1 and bought.rates[0].n == 500


def test_budgets_at_one_size_are_curves_of_their_own() -> None:
    table = rows()
    longer = rows(images_seen=80_000)
    longer["arm"], longer["cell"] = longer["arm"] + "l", longer["cell"] + "l"
    both = to_frame(pd.concat([table, longer]).to_dict("records"))
    assert {one.name for one in curves_of_rows(both)} == {
        "supervised level:0, 40,000 seen · photos",
        "supervised level:0, 80,000 seen · photos",
        "supervised level:0, 40,000 seen · web",
        "supervised level:0, 80,000 seen · web",
    }
    other = table.assign(backbone="resnet18", arm=table["arm"] + "r", cell=table["cell"] + "r")
    networks = to_frame(pd.concat([table, other]).to_dict("records"))
    names = {one.name for one in curves_of_rows(networks)}
    assert "supervised level:0 · web, resnet18" in names and len(names) == 4
    epochs = table.assign(images_seen=20 * table["unique_images"])
    assert len(curves_of_rows(epochs)) == 2
    assert exchange_rate(epochs, "web", "photos", by="seen").overall.rate == pytest.approx(
        3.0, rel=0.05
    )


def test_other_words_than_images_and_seen_are_refused() -> None:
    with pytest.raises(InputError, match="images, seen or shots are counted"):
        exchange_rate(rows(), "web", "photos", by="cost")
    with pytest.raises(InputError, match="a size is a number above 0"):
        exchange_rate(rows(), "web", "photos", at=[0])
    with pytest.raises(InputError, match="no protocol 'probe'"):
        exchange_rate(rows(), "web", "photos", aim=Aim(protocol="probe"))


def test_three_sizes_of_one_seed_tell_nothing() -> None:
    """A law goes through three points: nothing is left over that could be noise."""
    table = rows(seeds=1)
    three = table[table["size"].isin(["500", "2000", "8000"])]
    found = exchange_rate(three, "web", "photos")
    assert found.overall.kind == UNKNOWN and {rate.kind for rate in found.rates} == {UNKNOWN}


def test_a_target_asks_whether_the_order_flips() -> None:
    near = exchange_rate(rows(), "web", "photos", target=16_000)
    assert near.crossing is not None and near.crossing.answer == KEEPS
    assert near.crossing.low < near.crossing.gap < near.crossing.high
    said = near.sentences[-1]
    assert said.startswith("At 16,000 images of each supervised level:0 · photos is foretold")
    far = exchange_rate(rows(), "web", "photos", target=64_000)
    assert far.sentences[-1] == "What would tell: both at 16,000 images."
    with pytest.raises(InputError, match=r"a size beyond what was run \(8,000\)"):
        exchange_rate(rows(), "web", "photos", target=4_000)


def test_prices_make_it_money_and_name_the_cheaper_one() -> None:
    table = rows()
    same = exchange_rate(table, "web", "photos", aim=Aim(prices=Prices(image=0.001, label=0.05)))
    assert same.prices == pytest.approx((0.051, 0.051))
    (said,) = (each for each in same.sentences if each.startswith("In money"))
    assert "1,000 more images of supervised level:0 · photos cost 51.00" in said
    assert "photos is the cheaper one" in said
    none = exchange_rate(table, "web", "photos", aim=Aim(prices=Prices(gpu_hour=2.0)))
    assert none.prices == (0.0, 0.0) and "is open" in none.sentences[-1]
    with pytest.raises(InputError, match="no arm has labels 'level:1'"):
        exchange_rate(table, "web", "photos", aim=Aim(prices=Prices(label={"level:1": 0.05})))


def test_tasks_can_be_chosen() -> None:
    both = rows()
    other = rows(task="cars", worth=1.5)
    other["cell"] = other["cell"] + "c"
    table = to_frame(pd.concat([both, other]).to_dict("records"))
    mixed = exchange_rate(table, "web", "photos").overall.rate
    cars = exchange_rate(table, "web", "photos", tasks=["cars"]).overall.rate
    assert mixed is not None and cars == pytest.approx(1.5, rel=0.05) and cars < mixed
    with pytest.raises(InputError, match="no task 'bikes' in these rows; they have"):
        exchange_rate(table, "web", "photos", tasks=["bikes"])


def test_the_curves_are_drawn_through_what_was_run_and_say_how_they_were_fitted() -> None:
    found = exchange_rate(rows(), "web", "photos", target=16_000)
    web, photos = found.drawn
    assert (web.name, photos.name) == (found.a, found.b)
    assert [point["n"] for point in web.points] == list(map(float, SIZES))
    line = {point["n"]: point for point in web.line}
    for point in web.points:
        assert line[point["n"]]["error"] == pytest.approx(point["error"], abs=1e-9)
        assert point["low"] < point["error"] < point["high"]
    assert max(line) == pytest.approx(16_000)
    widths = [point["high"] - point["low"] for point in web.line]
    assert widths[-1] > 5 * widths[0], "beyond what was run the law is doubted"
    assert web.fit["bounds"]["a"] == [0.03, 3.0] and web.fit["starts"] == 0
    assert 0 < web.fit["held_out_error"] < 3


def test_shots_are_exchanged_between_arms_and_no_pre_training_is_one() -> None:
    table = rows_of_shots()
    found = exchange_rate(table, "scratch", "simclr · photos", by="shots")
    assert found.overall.rate == pytest.approx(2.0, rel=0.1)
    assert found.overall.low is not None and found.overall.high is not None
    assert found.overall.low < 2 < found.overall.high
    assert found.sentences[0].startswith(
        "Over all numbers of shots one labelled image per class after simclr · photos is worth "
    )
    assert "after scratch" in found.sentences[0] and found.prices is None
    names = {one.name for one in curves_of_rows(table, by="shots")}
    assert names == {"scratch", "simclr · photos"}
    some = exchange_rate(table, "scratch", "simclr · photos", Aim(shots=(2, 5, 10)), by="shots")
    assert some.b_sizes == (2.0, 5.0, 10.0)
    few = table[table["shots"].isna() | (table["shots"] == 5)]
    with pytest.raises(InputError, match="were not both measured at 2 numbers of shots"):
        exchange_rate(few, "scratch", "simclr · photos", by="shots")
    with pytest.raises(InputError, match="images, seen or shots are counted, not 'hours'"):
        exchange_rate(table, "scratch", "simclr · photos", by="hours")


def test_several_budgets_are_answered_each_and_over_all() -> None:
    few, many = rows(images_seen=40_000), rows(worth=4.0, images_seen=80_000)
    many["arm"], many["cell"] = many["arm"] + "l", many["cell"] + "l"
    both = to_frame(pd.concat([few, many]).to_dict("records"))
    found = over_budgets(both, "web", "photos")
    assert found is not None and [budget for budget, _ in found.answers] == [
        "40,000 seen",
        "80,000 seen",
    ]
    low, high = found.span
    assert low is not None and high is not None and 2.5 < low < 3 and 4 < high < 4.6
    assert found.sentences[0].startswith("With 40,000 seen of each: Over all sizes one image of")
    assert "is worth 2." in found.sentences[-1] and found.to_dict()["low"] == low
    whole = over_budgets(both, "supervised level:0 · web", "supervised level:0 · photos")
    assert whole is not None and whole.span == found.span
    assert over_budgets(few, "web", "photos") is None
    named = "supervised level:0, 40,000 seen · web", "supervised level:0, 40,000 seen · photos"
    assert over_budgets(both, *named) is None
    assert over_budgets(both, "scratch", "web", by="shots") is None


def test_what_two_curves_differ_in_besides_their_images_is_told() -> None:
    table = rows()
    web = table["source"] == "web"
    assert not exchange_rate(table, "web", "photos").beware
    other = table.assign(backbone=table["backbone"].mask(web, "resnet18"))
    said = exchange_rate(other, "web", "photos").sentences[-1]
    assert said.startswith("Beware: the two differ in their backbone too (resnet18 and ")
    longer = table.assign(images_seen=table["images_seen"].mask(web, 160_000))
    assert (
        "neither the images seen nor the epochs" in exchange_rate(longer, "web", "photos").beware[0]
    )
    epochs = table.assign(images_seen=20 * table["unique_images"])
    assert not exchange_rate(epochs, "web", "photos").beware


def test_a_target_and_prices_are_answered_under_each_budget() -> None:
    longer = rows(images_seen=160_000)
    longer["arm"], longer["cell"] = longer["arm"] + "l", longer["cell"] + "l"
    both = to_frame(pd.concat([rows(), longer]).to_dict("records"))
    found = over_budgets(both, "web", "photos", Aim(prices=Prices(image=0.1)), target=16_000)
    assert found is not None
    for budget in ("40,000 seen", "160,000 seen"):
        own = [one for one in found.sentences if one.startswith(f"With {budget} of each: ")]
        assert any("In money" in one for one in own) and any("At 16,000" in one for one in own)


@pytest.mark.slow
def test_seeds_that_drew_a_picture_or_two_fewer_are_of_one_arm_and_near_sizes_are_two() -> None:
    """30 epochs of 5,438 and of 5,439 different pictures; also where two budgets are an axis."""
    table = rows()
    first_fewer, other_fewer, many_fewer = (
        table["unique_images"] - (table["seed"] == 0),
        table["unique_images"] - table["seed"] % 2,
        (table["unique_images"] * (1 - 0.01 * table["seed"])).round(),
    )
    for fewer in (first_fewer, other_fewer, many_fewer):
        for short, long in ((30, 60), (5, 10), (15, 30), (40, 80)):
            epochs = table.assign(unique_images=fewer, images_seen=short * fewer)
            words = {"arm": table["arm"] + "l", "cell": table["cell"] + "l"}
            longer = epochs.assign(images_seen=long * fewer, **words)
            both = to_frame(pd.concat([epochs, longer]).to_dict("records"))
            for some, curves in ((epochs, 2), (both, 4)):
                found = curves_of_rows(some)
                assert [len(one.n) for one in found] == [len(SIZES)] * curves
            assert {one.budget for one in found} == {f"{short} epochs", f"{long} epochs"}
        assert exchange_rate(epochs, "web", "photos").num_seeds == 3
    near = table.assign(
        size="505", unique_images=505, arm=table["arm"] + "n", cell=table["cell"] + "n"
    )
    both = to_frame(pd.concat([table, near[table["size"] == "500"]]).to_dict("records"))
    assert all(len(one.n) == len(SIZES) + 1 for one in curves_of_rows(both))


def test_two_arms_of_one_number_of_images_are_told_and_the_first_is_counted() -> None:
    """505 images were asked for, of which 500 are different."""
    table = rows()
    again = table.assign(
        size="505", value=0.3 * table["value"], arm=table["arm"] + "n", cell=table["cell"] + "n"
    )
    both = to_frame(pd.concat([table, again[table["size"] == "500"]]).to_dict("records"))
    plain, told = exchange_rate(table, "web", "photos"), exchange_rate(both, "web", "photos")
    assert told.rates == plain.rates
    assert sum("2 arms of 500 images (sizes 500 and 505)" in one for one in told.beware) == 2


def test_sizes_that_contradict_one_rate_leave_none() -> None:
    """The rate doubles with each doubling above 2,000 images, in which three images are one."""
    table = rows()
    n = table["unique_images"].astype(float)
    grown = np.where(n > 2000, n * n / 2000, n)
    worth = np.where(table["source"] == "photos", grown, n / 3)
    noise = 0.003 * np.random.default_rng(3).standard_normal(len(table))
    found = exchange_rate(
        table.assign(value=1 - (0.1 + 0.5 * (worth / 500) ** -0.4 + noise)), "web", "photos"
    )
    assert found.changes == "grows" and found.overall.kind == VARIES


@pytest.mark.parametrize("level", [95, 1.0, 0.0, float("nan")])
def test_a_level_that_is_no_probability_is_refused(level: float) -> None:
    with pytest.raises(InputError, match="level is a probability"):
        exchange_rate(rows(), "web", "photos", level=level)
