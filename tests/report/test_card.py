"""The decision card: what its numbers and its picture say, and that text, page and JSON agree."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.analysis import Decision, decide, variance_budget, verdict
from headwater.analysis.power import Step
from headwater.report import write_report
from headwater.report.card import MOST_BARS, Tile, parts, picture, tiles
from tests.analysis.synthetic import synthetic_rows

ROWS = synthetic_rows(tasks=("birds", "scenes"), protocols=("finetune",), noise=0.02)


@pytest.fixture(scope="module")
def decision() -> Decision:
    return decide(ROWS)


def test_tiles_say_what_the_decision_says(decision: Decision) -> None:
    assert decision.best is not None and decision.regret_bound is not None
    by_label = {tile.label: tile for tile in tiles(decision)}
    chance = by_label["Probability of being the best"]
    assert chance.number == f"{100 * decision.p_best[decision.best]:.0f} %"
    cost = by_label["If it is not, it costs at most"]
    assert cost.number == f"{100 * decision.regret_bound:.1f} points"


def test_what_next_costs_is_its_first_run_with_what_it_saves(decision: Decision) -> None:
    runs = [step for step in decision.next if step.hours is not None]
    shown = [tile for tile in tiles(decision) if tile.label == "What next costs"]
    assert len(shown) == bool(runs)
    step = Step("seeds", "", hours=(2.5, None), money=(5.0, None), value=0.0013)
    (tile,) = [tile for tile in tiles(replace(decision, next=(step,))) if "next" in tile.label]
    assert tile.number == "2.5 hours"
    assert tile.note == "more seeds, on one worker (price 5.00); saves 0.13 points"
    for value, said in ((1e-6, "less than 0.01"), (0.00004, "less than 0.01"), (0.1234, "12.34")):
        (tile,) = _next(replace(decision, next=(replace(step, value=value),)))
        assert tile.note.endswith(f"; saves {said} points")
    (tile,) = _next(replace(decision, next=(replace(step, hours=None, money=None),)))
    assert tile.number == "not known"


def _next(decision: Decision) -> list[Tile]:
    return [tile for tile in tiles(decision) if tile.label == "What next costs"]


def test_the_picture_runs_from_far_behind_to_the_best(decision: Decision) -> None:
    drawn = picture(decision, {})
    assert drawn is not None
    assert [bar.name for bar in drawn.bars] == list(decision.means)[:MOST_BARS]
    assert drawn.bars[0].text == "leads"
    assert drawn.bars[0].low == drawn.bars[0].dot == drawn.bars[0].high == drawn.zero
    for nearer, further in itertools.pairwise(drawn.bars):
        assert further.dot <= nearer.dot
    for bar in drawn.bars:
        assert 0 <= bar.low <= bar.dot <= bar.high <= 100
        assert bar.may_be_best == (bar.name in decision.shortlist)
        behind = decision.behind[bar.name][0]
        assert bar.text in ("leads", f"{100 * behind:.1f} behind")


@pytest.mark.parametrize("size", [1e-4, 0.003, 0.07, 0.5])
def test_the_pictures_axis_has_zero_and_tells_where_every_arm_is(
    decision: Decision, size: float
) -> None:
    """Places are read back from the ticks as a person would: on the line through two of them."""
    behind = {"a": (0.0, 0.0, 0.0), "b": (0.4 * size, -0.1 * size, size), "c": (size, 0.0, size)}
    shown = replace(decision, best="a", behind=behind, means=dict.fromkeys(behind, 0.5))
    drawn = picture(shown, {"a": "#123456"})
    assert drawn is not None and drawn.bars[0].colour == "#123456"
    ticks = {float(tick.text.replace("\u2212", "-")): tick.place for tick in drawn.ticks}
    assert 2 <= len(ticks) <= 6 and ticks[0.0] == drawn.zero
    (one, first), (other, second) = sorted(ticks.items())[0], sorted(ticks.items())[-1]
    per_point = (second - first) / (other - one)
    for bar in drawn.bars:
        lead, low, high = behind[bar.name]
        for place, points in ((bar.dot, lead), (bar.low, high), (bar.high, low)):
            assert (place - drawn.zero) / per_point == pytest.approx(-100 * points, abs=size)


def test_without_intervals_there_is_no_card() -> None:
    one_seed = decide(ROWS[ROWS["seed"] == 0])
    assert tiles(one_seed) == [] and picture(one_seed, {}) is None


def test_nothing_is_as_good_where_nothing_surely_is(decision: Decision) -> None:
    (tile,) = [t for t in tiles(replace(decision, as_good=())) if t.label.startswith("As good")]
    assert (tile.number, tile.note) == ("0", "no other arm surely is")


def test_page_text_and_json_say_the_same_numbers(decision: Decision, tmp_path: Path) -> None:
    page = write_report(ROWS, tmp_path / "report.html", title="made-up").read_text()
    card = page[page.index('class="verdict"') : page.index('class="facts"')]
    numbers = re.findall(r"<dd>([^<]+)</dd>", card)
    assert numbers == [tile.number for tile in tiles(decision)]
    cost = f"{100 * decision.to_dict()['regret_bound']:.1f} points"
    assert cost in numbers
    assert any(f"costs at most {cost}" in sentence for sentence in verdict(ROWS).sentences)


@pytest.mark.slow
def test_the_page_shows_what_the_uncertainty_is_made_of(tmp_path: Path) -> None:
    budget = variance_budget(ROWS)
    assert budget is not None
    page = write_report(ROWS, tmp_path / "report.html", title="made-up").read_text()
    section = page[page.index('class="variance"') : page.index('id="findings"')]
    shown = re.findall(r'width="([0-9.]+)" height="6".*?class="far">([^<]+)<', section)
    assert [(float(width), text) for width, text in shown] == [
        (part.width, part.text) for part in parts(budget)
    ]
    assert sum(part.width for part in parts(budget)) == pytest.approx(100, abs=0.05)
    assert all(sentence in section for sentence in budget.sentences())
    assert parts(None) == []
