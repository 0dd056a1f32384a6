"""Commands answer at once: what costs seconds is not done, or done once; and the times themselves
(slow).
"""

from __future__ import annotations

import os
import resource
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from headwater import models
from headwater.cost import measured
from headwater.cost.guess import CONVS
from headwater.curation.threads import in_threads
from headwater.files import near_beside
from headwater.plan import Plan
from headwater.report import kept_script
from headwater.rows import tables
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Finished, tiny, write_study
from tests.needs import DATA, ROOT, needs_data

LIMIT_S = 3.0
"""Of processor, for a plan and for a run with nothing to do: wall time on an idle machine."""


@pytest.mark.parametrize("backbone", sorted(CONVS))
def test_what_is_known_of_an_encoder_without_torch_is_what_torch_counts(backbone: str) -> None:
    of_pixel, num_features, weight_bytes = CONVS[backbone]
    encoder = models.build_encoder(backbone, 64, seed=0)
    assert models.forward_flops(encoder, 64) == of_pixel * 64**2
    assert encoder.num_features == num_features
    tensors = encoder.state_dict().values()
    assert sum(t.numel() * t.element_size() for t in tensors) == weight_bytes


def test_a_guess_counts_what_measuring_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = Plan.make(Study.model_validate(tiny()))
    guess = measured(plan, "cpu", guessed=True)
    assert guess.date is None and not list(tmp_path.iterdir()), "nothing was measured or kept"
    counted = measured(plan, "cpu")
    for name in ("forward_flops", "num_features", "weight_bytes", "image_flops", "notes"):
        assert getattr(guess, name) == getattr(counted, name)
    assert measured(plan, "cpu", guessed=True) == counted, "what is known stands before a guess"


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "test_vit", "image_size": 160},
        {"methods": ["supervised"], "recipe": {"batch": 32, "micro_batch": 16}},
    ],
)
def test_what_only_torch_can_tell_is_not_guessed(changes: dict[str, object]) -> None:
    from headwater.cost.guess import guess

    assert guess(Plan.make(Study.model_validate(tiny(**changes))), "cpu") is None
    assert guess(Plan.make(Study.model_validate(tiny())), "cuda") is None


def test_the_first_plan_on_a_machine_loads_no_torch(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    code = (
        "import sys, headwater.cli as c; sys.argv = ['headwater', 'plan', 'study.yaml', "
        "'--device', 'cpu']; c._guarded(c.app); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=study.parent,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a guess: `headwater plan --fresh` measures this machine" in " ".join(
        done.stdout.split()
    )
    assert done.stdout.split()[-1] == "False"


def test_a_cell_is_read_once_until_its_file_changes(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from headwater.store import cells as store_room

    reads: list[str] = []

    def read(path: Path, cell: str) -> list[dict[str, object]]:
        reads.append(cell)
        return tables.read_cell_file(path, cell)

    monkeypatch.setattr(store_room, "read_cell_file", read)
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    cell = min(store.finished_cells())
    first = store.read_cell(cell)
    first[0]["value"] = "scribbled over"
    second = store.read_cell(cell)
    assert second[0]["value"] != "scribbled over"
    assert reads == [cell]
    store.write_rows(cell, second[:1])
    assert len(store.read_cell(cell)) == 1
    assert reads == [cell] * 2


def test_a_script_is_made_once_and_again_where_it_was_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "let a = 'ü';"

    for _ in range(2):
        assert kept_script.kept_script("vega-1", make) == "let a = 'ü';"
    assert len(made) == 1
    (path,) = tmp_path.rglob("*.js")
    path.write_bytes(path.read_bytes().replace(b"let", b"var"))
    assert kept_script.kept_script("vega-1", make) == "let a = 'ü';"
    assert kept_script.kept_script("vega-2", make) == "let a = 'ü';"
    assert len(made) == 3


def test_threads_keep_the_order_and_give_back_torchs_threads() -> None:
    before = torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            seen: set[tuple[int, bool, str]] = set()

            def square(value: int, seen: set[tuple[int, bool, str]] = seen) -> int:
                name = threading.current_thread().name
                seen.add((torch.get_num_threads(), torch.is_grad_enabled(), name))
                return value * value

            with torch.no_grad():
                assert list(in_threads(square, range(50))) == [n * n for n in range(50)]
            assert {each[:2] for each in seen} == {(1, False)}
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)


def test_near_names_are_looked_for_beside_a_path_alone(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("")
    assert near_beside(tmp_path / "rwos.csv") == f", but {tmp_path / 'rows.csv'} is"
    assert near_beside(tmp_path / "unlike.parquet") == ""
    assert near_beside(tmp_path / "off" / "rows.csv") == ""


# the times
def _spent(folder: Path, *arguments: str) -> float:
    """Seconds of processor of a command, the least of three calls."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "headwater", *arguments]
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took.append(spent)
    return min(took)


@pytest.mark.slow
def test_a_run_with_nothing_to_do_and_a_first_plan_take_less_than_three_seconds(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    store = str(shutil.copytree(finished.store, tmp_path / "store"))
    assert _spent(tmp_path, "run", str(finished.study), "--store", store) < LIMIT_S
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _spent(tmp_path, "plan", "demo", "--device", "cpu") < LIMIT_S


@pytest.mark.slow
@needs_data
def test_a_run_knows_after_a_tenth_when_it_will_be_done_to_a_half(tmp_path: Path) -> None:
    """Half is what is held here. 30 % is the aim, and not shown yet (benchmarks/first_hour.md)."""
    tool = runpy.run_path(str(ROOT / "benchmarks" / "first_hour.py"))
    place = tool["Place"](tmp_path, Path(str(DATA)).resolve())
    found = tool["forecast"](place, tool["WORLD"])
    assert abs(found.errors[0.1]) < 0.5
