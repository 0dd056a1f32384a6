"""What a notebook shows while a study runs: the events that the command line's display hears."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import headwater as hw
from headwater import notebook
from headwater.engines.schedule import Event, Unit, pending
from tests.conftest import Finished


class Shown:
    """Stands for IPython in a kernel: keeps what was displayed."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, page: str) -> None:
        self.pages.append(page)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Shown:
    shown = Shown()

    def display(page: str, *, display_id: bool) -> Shown:
        assert display_id
        shown.pages.append(page)
        return shown

    ipython, of_display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    of_display.HTML = str  # type: ignore[attr-defined]
    of_display.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", of_display)
    return shown


@pytest.mark.slow
def test_a_run_in_a_notebook_shows_arms_and_cells_to_the_end(
    kernel: Shown, finished: Finished, tmp_path: Any
) -> None:
    study = hw.Study.load(finished.study).model_copy(update={"methods": ("scratch", "supervised")})
    rows = hw.run(study, store=tmp_path / "store", engine="inline", device="cpu")
    assert rows["cell"].nunique() == 8
    assert "0 of 2" in kernel.pages[0] and "0 of 8" in kernel.pages[0]
    assert "2 of 2" in kernel.pages[-1] and "8 of 8" in kernel.pages[-1]
    shown = len(kernel.pages)
    hw.run(study, store=tmp_path / "store", engine="inline", device="cpu")
    assert len(kernel.pages) == shown, "where nothing is to do nothing is shown"


def test_a_script_shows_nothing_and_a_watcher_is_heard_in_its_place(
    kernel: Shown, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    hw.run(finished.study, store=finished.store, watch=heard.append)
    assert not kernel.pages
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not notebook.inside()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.inside()


def test_the_frame_says_what_failed_and_escapes_it(finished: Finished, tmp_path: Any) -> None:
    todo = pending(hw.make_plan(finished.study, store=tmp_path / "none"), None)
    unit = Unit(todo.arms[0])
    frame = notebook.Frame(arms=len(todo.arms), cells=len(todo.cells))
    progress = {"step": 5, "steps": 20, "images_per_s": 1234.5, "loss": 0.5, "note": "<b>"}
    frame.take(Event("started", 0, unit, {}))
    assert "worker 1" in frame.html()
    frame.take(Event("progress", 0, unit, progress))
    assert "25 %, 1,234 images/s, loss 0.500" in frame.html()
    assert "&lt;b&gt;" in frame.html() and "<b>" not in frame.html()
    frame.take(Event("progress", 0, unit, {**progress, "left_s": 3725.0}))
    assert "about 1 h 2 min left" in frame.html()
    frame.take(Event("failed", 0, unit, {"reason": "no memory"}))
    assert "no memory" in frame.html() and "worker 1" not in frame.html()
    frame.take(Event("died", 1, unit, {"code": -9}))
    assert "exit code -9" in frame.html()
