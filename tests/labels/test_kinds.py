"""Kinds of label views: one entry each, and nothing falls through."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.labels import Targets, View, label_view, parse_view
from headwater.labels.kinds import Request, ViewKind
from headwater.registry import LABEL_VIEWS
from headwater.sources import Table

IDS = [f"{image:02d}.png" for image in range(10)]
TABLE = Table(
    ids=np.array(IDS, dtype=object),
    splits={},
    levels=(np.array(list("aabbccddee"), dtype=object),),
)


def _every_third(request: Request) -> Targets:
    codes = np.arange(len(request.positions)) % request.view.number
    names = tuple(f"turn {turn}" for turn in range(request.view.number))
    return Targets(codes, names, request.view.name)


TURNS = ViewKind(
    name="take-turns",
    version=1,
    order=100,
    colour="#123456",
    title="images take turns",
    form="take-turns:K",
    argument="count",
    make=_every_third,
)


def test_a_view_of_another_package_is_parsed_computed_and_given_noise() -> None:
    with LABEL_VIEWS.registered(TURNS):
        view = parse_view(" take-turns : 03 ")
        assert (view.name, view.kind, view.number) == ("take-turns:3", "take-turns", 3)
        assert not (view.drawn or view.clustered or view.manual)
        targets = label_view(view, TABLE, np.arange(10), 0, "ten")
        assert targets.indices.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
        noisy = label_view("take-turns:3 with symmetric:1", TABLE, np.arange(10), 0, "ten")
        assert noisy.noise == 1.0 and (noisy.indices != targets.indices).all()
        with pytest.raises(InputError, match="take-turns:K"):
            parse_view("take-turns:3 within level:0")
        with pytest.raises(InputError, match="is no label view"):
            parse_view("random:like take-turns:3")
    with pytest.raises(InputError, match="is no label view"):
        parse_view("take-turns:3")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("levl:2", "level"), ("Level:0", "level"), ("clusters:4", "cluster"), ("clas", "class")],
)
def test_an_unknown_kind_of_view_is_refused_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{nearest}'"):
        parse_view(text)


def test_no_labels_are_computed_for_a_view_whose_kind_is_unknown() -> None:
    with pytest.raises(InputError, match=r"ten: 'levels' is none of .*did you mean 'level'"):
        label_view(View("levels:1", "levels", 1), TABLE, np.arange(10), 0, "ten")


def test_an_entry_says_how_its_labels_are_made_in_exactly_one_way() -> None:
    for make in ({}, {"make": _every_third, "from_features": lambda *_: None}):
        words = {"order": 1, "colour": None, "title": "t", "form": "f", "argument": ""}
        with pytest.raises(TypeError, match="one of make and from_features"):
            ViewKind(name="f", version=1, **words, **make)  # type: ignore[arg-type]


def test_entries_and_labels_are_imported_without_what_makes_them() -> None:
    code = (
        "import sys; from headwater.registry import LABEL_VIEWS, SOURCE_KINDS; "
        "LABEL_VIEWS.names(), SOURCE_KINDS.names(); import headwater.labels; "
        "print(sorted({'torch', 'torchvision', 'timm', 'faiss', 'pandas', 'pyarrow', 'scipy', "
        "'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
