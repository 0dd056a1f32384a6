"""Findings: what a table of simulated networks says, and what it cannot say."""

from __future__ import annotations

import json
import math

import pytest

from headwater.theory.analysis import (
    findings,
)
from tests.theory.simulated_table import line, sigmoid, story, table


def test_findings_are_plain_json_and_answer_all_that_the_table_holds() -> None:
    found = findings(story(seeds=3))
    json.dumps(found, allow_nan=False)
    assert all(answer["answered"] for answer in found["answers"].values())
    assert found["seeds"] == 3
    place = found["answers"]["transition"]["lines"]
    base = next(
        row
        for row in place
        if (row["d"], row["alpha_dagger"], row["sigma_star"], row["answer"])
        == (512, 0.1, 0.5, "crosses")
    )
    assert base["transition"] == pytest.approx(6, rel=0.2)


def test_findings_say_what_is_not_in_the_table() -> None:
    found = findings(table([line(4, "fine", 0), line(4, "fine", 1)]))
    assert (found["networks"], found["seeds"]) == (2, 2)
    for answer in found["answers"].values():
        assert not answer["answered"]
        assert answer["sentence"].startswith("Not in this table: ")
    empty = findings(table([line(4, "fine", 0)]).iloc[:0])
    assert (empty["networks"], {answer["answered"] for answer in empty["answers"].values()}) == (
        0,
        {False},
    )


def test_one_seed_says_no_interval() -> None:
    lines = [
        line(k, labels, 0, hard=sigmoid(math.log2(k / 6)) if labels == "coarse" else 0.0)
        for k in (1, 2, 4, 8, 16)
        for labels in ("coarse", "fine")
    ]
    answers = findings(table(lines))["answers"]
    assert "no interval" in answers["errors"]["sentence"]
    assert "1 seed: no interval" in answers["transition"]["sentence"]
