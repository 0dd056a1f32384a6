"""Studies of simulated networks end to end: what is trained, once; rows; kills; what fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from headwater.engines import local
from headwater.errors import InputError
from headwater.rows import comparable, conform, read_rows
from headwater.store import Store
from headwater.theory import engine
from headwater.theory.analysis.table import FIRST, networks_table
from headwater.theory.simulation.measuring import errors, read, responses
from headwater.theory.simulation.model import World
from headwater.theory.simulation.training import Recipe, train
from headwater.theory.study import Sweep, TheoryStudy
from headwater.theory.work import network_rows, networks, run_networks, unfinished

SMALL: dict[str, Any] = {"d": 24, "width": 4, "batch": 32, "max_steps": 60, "test_samples": 40}


def study(seeds: int = 2, **sweeps: dict[str, Any]) -> TheoryStudy:
    wanted = {
        name: {**SMALL, **sweep}
        for name, sweep in (sweeps or {"sweep": {"subclasses": [1, 3]}}).items()
    }
    return TheoryStudy.model_validate({"study": "small", "seeds": seeds, "theory": wanted})


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As worker processes have, so that rows are comparable, bits and all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# what is trained
def test_axes_are_crossed_and_each_network_is_there_once():
    made = networks(
        study(
            3,
            one={"subclasses": [1, 3], "lr": [0.5, 1.0]},
            two={"subclasses": 3, "labels": "coarse", "seeds": [1, 5]},
        )
    )
    assert len(made) == 3 * 2 * 2 * 2 + 1, "of the second sweep seed 1 is in the first"
    assert len({one.id for one in made}) == len(made)
    assert [one.sweeps for one in made if one.experiment.seed == 5] == [("two",)]
    shared = [one for one in made if one.sweeps == ("one", "two")]
    assert [
        (
            one.experiment.world.k,
            one.experiment.labels,
            one.experiment.seed,
            one.experiment.recipe.lr,
        )
        for one in shared
    ] == [(3, "coarse", 1, 1.0)]


def test_what_only_test_samples_know_makes_cells_and_no_networks():
    plain = {one.id for one in networks(study())}
    made = networks(
        study(
            sweep={
                "subclasses": [1, 3],
                "sigma_star": [0, 0.5, 1],
                "alpha_dagger": [0, 0.1],
                "read_outs": ["max", "sum", "tuned"],
                "looks": 3,
            }
        )
    )
    assert {one.id for one in made} == plain
    for one in made:
        ends = [reading for reading in one.readings if reading.step is None]
        assert len(ends) == 3 * 2 * 3 + 1
        assert {reading.protocol for reading in one.readings if reading.step is not None} == {
            "max",
            "responses",
        }
        assert len({reading.id for reading in one.readings}) == len(one.readings)
    trained_on_hard = networks(
        study(sweep={"subclasses": [1, 3], "sigma_star": [0, 0.5], "hard_share": 0.2})
    )
    assert len(trained_on_hard) == 2 * len(plain)


def test_sweeps_that_tune_for_longer_share_networks_and_not_cells(tmp_path: Path):
    short, long = (
        {"subclasses": 3, "read_outs": "tuned", "tune_steps": 1},
        {"subclasses": 3, "read_outs": "tuned", "tune_steps": 40},
    )
    both, alone = study(1, short=short, long=long), study(1, long=long)
    assert len(networks(both)) == len(networks(alone)) == 2
    stores = [Store(tmp_path / name, create=True) for name in ("both", "alone")]
    for made, store in zip((both, alone), stores, strict=True):
        run_networks(networks(made), made.study, store)
    together, by_itself = (
        networks_table(network_rows(made, store))
        for made, store in zip((both, alone), stores, strict=True)
    )
    assert sorted(together["tune_steps"]) == [1, 1, 40, 40]
    columns = ["labels", "easy_error", "hard_error"]
    pd.testing.assert_frame_equal(
        together[together["tune_steps"] == 40][columns].reset_index(drop=True), by_itself[columns]
    )


def test_a_cell_that_cannot_be_read_fails_by_itself(tmp_path: Path):
    made = study(
        6,
        sweep={
            "subclasses": 1,
            "labels": ["instance", "coarse"],
            "train_samples": 2,
            "read_outs": "tuned",
            "tune_steps": 2,
        },
    )
    store = Store(tmp_path / "store", create=True)
    run_networks(networks(made), made.study, store)
    table = networks_table(network_rows(made, store))
    assert set(table[table["labels"] == "coarse"]["status"]) == {"done"}
    assert set(table[table["labels"] == "instance"]["status"]) == {"done", "failed"}, (
        "some seeds drew two samples of one superclass"
    )


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("lr", 0.7),
        ("d", 32),
        ("init", 0.1),
        ("label_noise", 0.1),
        ("train_samples", 64),
        ("precision", "fp64"),
        ("neurons", 24),
        ("sigma_zeta", 0),
    ],
)
def test_every_axis_of_training_makes_other_networks(axis: str, value: Any):
    assert not {one.id for one in networks(study())} & {
        one.id for one in networks(study(sweep={"subclasses": [1, 3], axis: value}))
    }


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"subclasses": 30}, "at least 2 + 2k = 62"),
        ({"labels": "shuffle:2"}, "read_outs should be tuned alone"),
        ({"labels": "instance", "read_outs": "tuned"}, "instance"),
        ({"neurons": 30, "subclasses": 4}, "cannot be dealt out to the 8 heads"),
        ({"labels": "merge:5"}, "merge:5"),
        ({"labels": "lumpy"}, "lumpy"),
        ({"s": 4}, "patches = 8 are too few"),
    ],
)
def test_constants_that_do_not_go_together_name_the_sweep(sweep: dict[str, Any], said: str):
    with pytest.raises(InputError, match=r"theory\.sweep: ") as caught:
        networks(study(sweep={"subclasses": 3, **sweep}))
    assert said in str(caught.value)


# rows
@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[TheoryStudy, Store]:
    """A study that was run in one piece, in this process."""
    store = Store(tmp_path_factory.mktemp("whole") / "store", create=True)
    made = study(
        sweep={
            "subclasses": [1, 3],
            "sigma_star": [0, 2],
            "read_outs": ["max", "sum", "tuned"],
            "looks": 4,
            "tune_steps": 5,
        }
    )
    run_networks(networks(made), made.study, store)
    return made, store


def test_rows_are_in_the_common_schema_and_say_what_was_measured(whole: tuple[TheoryStudy, Store]):
    made, store = whole
    rows = network_rows(made, store)
    assert set(conform(rows, "rows")["status"]) == {"done"}
    assert set(rows["study"]) == {"small: sweep"}
    one = networks(made)[0]
    run = next(run for run in train([one.experiment]) if run.final)
    for reading in one.readings:
        if reading.step is not None:
            continue
        values = {
            (row["metric"], row["subset"]): row["value"] for row in store.read_cell(reading.id)
        }
        if reading.protocol == "responses":
            told = {name.removeprefix("response_"): value for (name, _), value in values.items()}
            assert told == pytest.approx(responses(run), nan_ok=True)
        else:
            asked, how = read(run, reading.protocol, reading.tune_steps)
            found = errors(asked, reading.world, how, reading.test_samples)
            assert {subset: 1 - value for (_, subset), value in values.items()} == pytest.approx(
                found
            )


def test_the_table_has_a_line_for_each_network_read_out_test_and_look(
    whole: tuple[TheoryStudy, Store],
):
    made, store = whole
    table = networks_table(network_rows(made, store))
    ends = table[table["final"]]
    assert list(table.columns[: len(FIRST)]) == list(FIRST)
    assert len(ends) == 8 * 3 * 2 and not ends.duplicated(["arm", "read_out", "sigma_star"]).any()
    assert len(table[~table["final"]]) == sum(len(one.experiment.looks) for one in networks(made))
    assert ends["easy_error"].between(0, 1).all() and ends["hard_error"].between(0, 1).all()
    assert ends["fine_aligned_mean"].notna().all() and (ends["test_samples"] == 40).all()
    first = table[(table["steps"] == 0) & ~table["final"]]
    assert np.abs(first["train_loss"] - np.log(first["num_labels"].astype(float))).max() < 0.1, (
        "at the start every class is as likely"
    )


def test_a_look_after_the_end_is_as_at_the_end(tmp_path: Path):
    made = study(1, sweep={"subclasses": 1, "labels": "coarse", "stop_loss": 0.69, "looks": 4})
    store = Store(tmp_path / "store", create=True)
    run_networks(networks(made), made.study, store)
    table = networks_table(network_rows(made, store))
    end, last = table[table["final"]].iloc[0], table[~table["final"]].iloc[-1]
    assert end["steps"] < 60 and last["steps"] == 60
    assert (last["easy_error"], last["hard_error"], last["train_loss"]) == (
        end["easy_error"],
        end["hard_error"],
        end["train_loss"],
    )
    assert not unfinished(networks(made), store)


def test_a_loss_that_is_no_longer_finite_is_a_row_that_says_so_and_touches_no_other(tmp_path: Path):
    made = study(
        1,
        good={"subclasses": 1, "labels": "coarse"},
        bad={"subclasses": 1, "labels": "coarse", "init": 1e38},
    )
    store = Store(tmp_path / "store", create=True)
    run_networks(networks(made), made.study, store)
    table = networks_table(network_rows(made, store))
    assert dict(zip(table["sweep"], table["status"], strict=True)) == {
        "good": "done",
        "bad": "diverged",
    }
    assert table.set_index("sweep").loc["good", "hard_error"] >= 0
    assert np.isnan(table.set_index("sweep").loc["bad", "hard_error"])
    assert not unfinished(networks(made), store), "divergence is an answer, not a failure"


# once
def test_a_second_run_trains_nothing_and_a_larger_one_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Store(tmp_path / "store", create=True)
    made = study()
    run_networks(networks(made), made.study, store)
    trained = list[int]()

    def counted(experiments: Any) -> Any:
        trained.append(len(experiments))
        return train(experiments)

    monkeypatch.setitem(run_networks.__globals__, "train", counted)
    run_networks(networks(made), made.study, store)
    larger = study(2, sweep={"subclasses": [1, 2, 3]}, again={"subclasses": 1})
    run_networks(networks(larger), larger.study, store)
    assert trained == [0, 4]
    assert not unfinished(networks(larger), store)


@pytest.mark.slow
def test_networks_are_the_same_whatever_shares_their_process(tmp_path: Path):
    made = study(sweep={"subclasses": [1, 3], "lr": [0.5, 1.0]})
    together, alone = (
        Store(tmp_path / "together", create=True),
        Store(tmp_path / "alone", create=True),
    )
    run_networks(networks(made), made.study, together)
    for one in reversed(networks(made)):
        run_networks([one], made.study, alone)
    pd.testing.assert_frame_equal(
        comparable(read_rows(together.root)), comparable(read_rows(alone.root)), check_exact=True
    )


# processes
@pytest.mark.slow
def test_worker_processes_make_the_rows_of_one(whole: tuple[TheoryStudy, Store], tmp_path: Path):
    made, reference = whole
    store = Store(tmp_path / "store", create=True)
    heard = list[str]()
    engine.run(made, store, workers=2, watch=lambda event: heard.append(event.kind))
    assert heard.count("network") == len(networks(made))
    pd.testing.assert_frame_equal(
        comparable(read_rows(store.root)), comparable(read_rows(reference.root)), check_exact=True
    )
    heard.clear()
    engine.run(made, store, workers=2, watch=lambda event: heard.append(event.kind))
    assert not heard, "the second run has nothing to do, and starts no process"


@pytest.mark.slow
def test_python_gives_rows_a_table_and_what_it_says(tmp_path: Path):
    import headwater as hw

    rows = hw.run_theory(
        study(3, sweep={"subclasses": [1, 3]}), store=tmp_path / "store", workers=1
    )
    table = hw.networks_table(rows)
    told = hw.theory_findings(table)
    assert len(table) == 12 and told["networks"] == 12 and told["seeds"] == 3
    assert told["answers"]["errors"]["answered"] and not told["answers"]["curve"]["answered"]


def test_the_names_of_constants_are_the_same_in_every_room():
    """A constant that the analysis does not know would be averaged over in silence."""
    from headwater.theory.analysis.table import RECIPE, WORLD

    assert {field.name for field in fields(World)} == {"k", *WORLD}
    assert {*(field.name for field in fields(Recipe)), "tune_steps"} == set(RECIPE)
    others = {"subclasses", "labels", "seeds", "read_outs", "test_samples", "looks", "precision"}
    assert set(Sweep.model_fields) == {*WORLD, *RECIPE, *others}


def test_units_hold_every_network_once_and_large_ones_alone():
    wanted = networks(
        study(
            9,
            sweep={"subclasses": [1, 2, 3], "lr": [0.5, 0.7, 1.0]},
            large={"subclasses": 32, "d": 512, "width": 32, "batch": 256},
        )
    )
    shares = engine.units(wanted)
    assert sorted(one.id for share in shares for one in share.networks) == sorted(
        one.id for one in wanted
    )
    assert all(
        len(share.networks) == 1
        for share in shares
        if share.networks[0].experiment.labels == "fine"
        and share.networks[0].experiment.world.d == 512
    )
    assert len(shares) < len(wanted)


RUN = (
    "import sys\nfrom headwater.theory import engine\nfrom headwater.store import Store\nfrom "
    "headwater.theory.study import TheoryStudy\n"
    "engine.run(TheoryStudy.load(sys.argv[1]), Store(sys.argv[2], create=True), workers=2)\n"
)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_in_one_piece(tmp_path: Path):
    """SIGKILL to the whole group as soon as a few more cells are there, until a run gets to its
    end.
    """
    axes = (
        "{subclasses: [1, 2, 3, 4, 6], lr: [0.5, 1.0], d: 24, width: 8, batch: 64, max_steps: "
        "300, stop_loss: 0, test_samples: 50}"
    )
    path = tmp_path / "study.yaml"
    path.write_text(f"study: kills\nseeds: 4\ntheory:\n  sweep: {axes}\n")
    made, root = TheoryStudy.load(path), tmp_path / "store"
    killed = 0
    for _ in range(3):
        before = len(list(root.glob("rows/*.json")))
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(path), str(root)], start_new_session=True
        )
        try:
            while process.poll() is None and len(list(root.glob("rows/*.json"))) < before + 40:
                time.sleep(0.005)
            killed += process.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert killed >= 2
    store, reference = Store(root), Store(tmp_path / "reference", create=True)
    engine.run(made, store, workers=2)
    run_networks(networks(made), made.study, reference)
    pd.testing.assert_frame_equal(
        comparable(read_rows(root)), comparable(read_rows(reference.root)), check_exact=True
    )


@pytest.mark.slow
def test_networks_whose_process_dies_twice_are_rows_of_status_failed_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tests.engines.test_local import WORKER

    made, store = study(1), Store(tmp_path / "store", create=True)
    dying = WORKER.replace("START", "pass").replace("UNIT", "os._exit(9)")
    monkeypatch.setattr(local, "COMMAND", [sys.executable, "-c", dying])
    heard = list[str]()
    engine.run(made, store, workers=1, watch=lambda event: heard.append(event.kind))
    table = networks_table(network_rows(made, store))
    assert set(table["status"]) == {"failed"} and "died" in heard
    rows = network_rows(made, store)
    assert rows["reason"].str.contains("died 2 times").all()
    monkeypatch.undo()
    engine.run(made, store, workers=1)
    assert set(networks_table(network_rows(made, store))["status"]) == {"done"}


@pytest.mark.slow
def test_an_error_in_training_is_told_in_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, store = study(1), Store(tmp_path / "store", create=True)
    broken = (
        "from headwater.theory.work import running\nfrom headwater.engines import worker\n"
        "def fail(*a):\n    raise MemoryError('no memory left')\nrunning.run_networks = "
        "fail\nworker.main()\n"
    )
    monkeypatch.setattr(local, "COMMAND", [sys.executable, "-c", broken])
    engine.run(made, store, workers=1)
    rows = network_rows(made, store)
    assert (
        set(rows["status"]) == {"failed"}
        and rows["reason"].str.contains("MemoryError: no memory left").all()
    )


def test_a_network_keeps_its_name_over_versions():
    """Golden ids: stores of earlier versions stay good as long as the recipe number of the theory
    does.
    """
    first = networks(study(1, sweep={"subclasses": 3}))
    assert [(one.experiment.labels, one.id) for one in first] == [
        ("coarse", "5dead3c488c67dc7"),
        ("fine", "90be615c58a68fb7"),
    ]
