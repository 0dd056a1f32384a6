"""The public face: its names, and how its objects show themselves in a notebook."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

import headwater as hw
from headwater import fragments
from tests.analysis.synthetic import synthetic_rows
from tests.conftest import Finished, tiny

NAMES = "import headwater as hw; print(*dir(hw)); print(hw.__version__)"


def test_dir_holds_public_names_and_those_with_two_underscores_alone() -> None:
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True)
    names, version = done.stdout.splitlines()
    shown = {name for name in names.split() if not (name[:2] == name[-2:] == "__")}
    assert shown == set(hw.__all__) >= {"Study", "Plan", "Store", "decide", "figure", "run"}
    assert version == importlib.metadata.version("headwater") == hw.__version__
    for name in hw.__all__:
        assert getattr(hw, name).__doc__, name


class Page(HTMLParser):
    """Its text, its elements, and whether every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attributes if name.startswith("on") or name == "src"]
        if tag != "br":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


HOSTILE = '<script>alert("x")</script> & more'


def test_a_study_shows_its_question_its_axes_and_how_much_they_make() -> None:
    study = hw.Study(**tiny(question=HOSTILE, seeds=2))
    page = Page(study._repr_html_())
    assert "script" not in page.tags and HOSTILE in page.text
    assert "tiny-world" in page.text and "methods scratch, supervised, simclr, clip" in page.text
    # per seed 4 arms; per arm a full probe, two draws of three shots, one fine-tuning
    assert "arms 8" in page.text and "cells 32" in page.text


def test_a_plan_and_a_store_show_what_is_done(finished: Finished, tmp_path: Any) -> None:
    done = Page(hw.make_plan(finished.study, store=finished.store)._repr_html_())
    assert "16 of 16 cells" in done.text and "to train 0 arms" in done.text
    nothing = hw.make_plan(finished.study, store=tmp_path / "none")
    assert "0 of 16 cells" in Page(nothing._repr_html_()).text
    assert repr(nothing) == "Plan(study 'tiny-world': 4 arms, 16 cells)"
    store = hw.Store(finished.store)
    page = Page(store._repr_html_())
    assert "arms 4" in page.text and "cells 16" in page.text and "failed" not in page.text
    assert repr(store) == f"Store({str(finished.store)!r})"


@pytest.mark.slow
def test_a_plan_shows_its_cost_where_this_machine_was_measured(
    finished: Finished, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = hw.make_plan(finished.study, store=tmp_path / "none")
    assert "cost" not in Page(plan._repr_html_()).text, "showing measures nothing"
    facts = hw.plan_facts(finished.study, store=tmp_path / "none", fresh=True)
    assert f"with {facts['workers']} worker" in Page(plan._repr_html_()).text


def test_a_decision_shows_the_card() -> None:
    decision = hw.decide(synthetic_rows(tasks=("birds",), protocols=("finetune",), noise=0.02))
    page = Page(decision._repr_html_())
    assert decision.best is not None and decision.regret_bound is not None
    assert decision.headline in page.text
    assert f"{100 * decision.p_best[decision.best]:.0f} %" in page.text
    assert f"{100 * decision.regret_bound:.1f} points" in page.text
    assert page.tags.count("svg") == min(len(decision.means), 10)
    renamed = dataclasses.replace(decision, notes=(HOSTILE,))
    assert "script" not in Page(renamed._repr_html_()).tags


def test_a_decision_shows_its_card_through_the_public_face_and_text_without_it() -> None:
    code = (
        "import sys; from tests.analysis.synthetic import synthetic_rows\n"
        "from headwater.analysis import decide\n"
        "rows = synthetic_rows(tasks=('birds',), protocols=('finetune',))\n"
        "print(decide(rows)._repr_html_(), 'headwater.report.decision_html' in sys.modules)\n"
        "import headwater as hw\n"
        "print(hw.decide is decide, hw.decide(rows)._repr_html_().count('<svg'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, face = done.stdout.splitlines()
    assert plain == "None False" and face.startswith("True ") and int(face.split()[1]) > 1


def test_a_decision_about_nothing_shows_that() -> None:
    rows = synthetic_rows(tasks=("birds",), protocols=("finetune",)).iloc[:0]
    assert "Nothing can be concluded." in Page(hw.decide(rows)._repr_html_()).text


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_one_colour_of_fragments_is_seen_on_white_and_on_black() -> None:
    own = luminance(fragments.ACCENT)
    assert 1.05 / (own + 0.05) >= 3 and (own + 0.05) / 0.05 >= 3
