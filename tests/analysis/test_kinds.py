"""What a study calls its labels changes no analysis: kind and level are columns of the rows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from headwater.analysis import Prices, peaks, prepare, summarise, verdict
from headwater.analysis.configurations import configurations
from headwater.analysis.granularity import granularity_curves, hard_gains
from headwater.report.palette import arm_colours
from headwater.rows import to_frame
from tests.analysis.synthetic import arm_fields, of_labels, one_row, synthetic_rows

NAMES = {
    "level:2": "coarse",
    "level:1": "middle",
    "level:0": "fine",
    "instance": "a class each",
    "random:57": "chance with level:1",
}
"""The last one would be read as label noise if its text were read."""
PLAIN = synthetic_rows(
    sources=("photos",),
    tasks=("birds",),
    protocols=("finetune",),
    shots=(5,),
    draws=1,
    failures=False,
)


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a study that gives its views names of its own."""
    return rows.assign(labels=rows["labels"].replace(NAMES))


def without_names(table: pd.DataFrame) -> pd.DataFrame:
    """All that an analysis tells but what things are called; its words for views as they are in the
    plain study.
    """
    plain = {name: view for view, name in NAMES.items()}
    called = ["configuration", "name", "context"]
    return table.drop(columns=[column for column in called if column in table]).replace(plain)


@pytest.mark.parametrize("analysis", [granularity_curves, peaks, hard_gains, summarise])
def test_named_views_give_the_tables_of_plain_ones(analysis: Any) -> None:
    found, expected = analysis(named(PLAIN)), analysis(PLAIN)
    assert len(found)
    pd.testing.assert_frame_equal(without_names(found), without_names(expected))


def test_the_curve_of_named_views_is_a_u_with_its_peak_and_random_classes_beside_it() -> None:
    whole = peaks(named(PLAIN)).set_index("subset").loc["all"]
    assert (whole["peak"], whole["shape"], whole["num_views"]) == ("middle", "U", 4)
    curve = granularity_curves(named(PLAIN)).set_index("labels")["on_curve"]
    assert {name for name, on_it in curve.items() if not on_it} == {"chance with level:1"}
    gain = hard_gains(named(PLAIN)).iloc[0]
    assert (gain["fine"], gain["coarse"]) == ("fine", "coarse")


def test_named_views_have_the_order_and_the_colours_of_plain_ones() -> None:
    order = [arm.labels for arm in configurations(prepare(named(PLAIN))).values()]
    views = ["coarse", "middle", "fine", "a class each", "chance with level:1"]
    assert [labels for labels in order if labels in NAMES.values()] == views
    plain = [arm.labels for arm in configurations(prepare(PLAIN)).values()]
    assert order == [labels and NAMES.get(labels, labels) for labels in plain]
    colours = arm_colours(summarise(PLAIN))
    expected = {NAMES.get(word, word): colour for word, colour in colours.items()}
    assert arm_colours(summarise(named(PLAIN))) == expected
    assert expected["chance with level:1"] == "#E69F00" and len(set(expected.values())) == 8


def test_a_peak_at_the_end_of_named_levels_asks_for_finer_ones() -> None:
    tried = PLAIN[PLAIN["labels"].isin(["level:2", "level:1"]) | (PLAIN["method"] == "scratch")]
    for rows in (tried, named(tried)):
        assert any("Try finer labels too" in step for step in verdict(rows).next_steps)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [["label_kind"], ["label_kind", "label_level"]])
def test_a_table_of_before_gives_what_it_gave(lost: list[str]) -> None:
    old = PLAIN.drop(columns=lost)
    for analysis in (granularity_curves, peaks, hard_gains, summarise):
        pd.testing.assert_frame_equal(analysis(old), analysis(PLAIN))
    assert configurations(prepare(old)) == configurations(prepare(PLAIN))
    assert prepare(old)["label_kind"].equals(prepare(PLAIN)["label_kind"])


def test_a_level_that_has_a_name_is_a_level_in_a_table_of_before() -> None:
    old = named(PLAIN).drop(columns="label_kind")
    curve = granularity_curves(old).set_index("labels")["on_curve"]
    assert {name for name, on_it in curve.items() if on_it} == {"coarse", "middle", "fine"}


def test_one_row_that_says_the_kind_speaks_for_its_configuration() -> None:
    rows = [one_row(cell=str(seed), seed=seed, label_level=None) for seed in range(2)]
    for row, kind in zip(rows, (None, "rank"), strict=True):
        row |= {"labels": "genus", "label_kind": kind}
    (arm,) = configurations(prepare(to_frame(rows))).values()
    assert (arm.label_kind, arm.label_level) == ("rank", None)


def test_captions_have_no_kind_whatever_their_field_is_called() -> None:
    for labels in ("level:1", "captions with swaps:0.2"):
        row = one_row(method="clip", labels=labels)
        (arm,) = configurations(prepare(to_frame([row]))).values()
        assert (arm.labels, arm.label_kind, arm.label_level) == (labels, None, None)


def test_views_of_every_kind_are_ordered_and_coloured_by_kind() -> None:
    views = ["level:0", "instance", "cluster:8 within level:1", "cluster:8", "shuffle:8"]
    views += ["random:8 within level:1", "random:8", "level:0 with symmetric:0.2"]
    calls = dict(zip(views, "hgfedcba", strict=True))
    fields = {view: arm_fields("supervised", view, 8, "photos") for view in views}
    plain = to_frame([one_row(cell=view, arm=view, **of_arm) for view, of_arm in fields.items()])
    called = plain.assign(labels=plain["labels"].map(calls))
    colours = arm_colours(summarise(plain))
    assert list(colours) == views and len(set(colours.values())) == 8
    assert arm_colours(summarise(called)) == {calls[view]: colours[view] for view in views}


def test_labels_that_nobody_assigns_are_free_whatever_they_are_called() -> None:
    prices = Prices(label=0.05)
    views = ("random:8", "cluster:8", "instance", "random:8 within level:1", "level:1")
    paid = {
        view: prices.of_label("mine", of_labels("supervised", view)["label_kind"]) for view in views
    }
    assert paid == {view: prices.of_label(view) for view in views}
    assert list(paid.values()) == [0.0, 0.0, 0.0, 0.05, 0.05]
