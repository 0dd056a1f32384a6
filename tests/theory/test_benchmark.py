"""The benchmark of simulated networks runs, and all sides train the same thing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_benchmark_of_simulated_networks_times_the_same_training_on_all_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    theory = importlib.import_module("theory")
    wanted = theory.experiments("default", 3, "fine", 2, 25)
    ours = {run.experiment: run.weight for run in theory.train(wanted) if run.final}
    for one, weight in zip(wanted, theory.one_at_a_time(wanted), strict=True):
        assert (ours[one] - weight).abs().max() < 1e-5
        assert (weight - weight.mean()).abs().max() > 0.05, "they have learned something"
    found = theory.step_times("default", 2, "coarse", 1, quick=True)
    assert {name: len(seconds) for name, seconds in found["seconds"].items()} == {
        "plain": 1,
        "gradient": 1,
        "whole": 1,
        "autograd": 1,
    }
    assert found["flops"] == 4 * 128 * 8 * 128 * 32
    table = theory.step_table(
        [
            found
            | {"seconds": {"plain": [1.0], "gradient": [1.6], "whole": [4.0], "autograd": [8.0]}}
        ],
        quick=False,
    )
    assert "0.62" in table and "0.25" in table and "2.00" in table and "met" in table
