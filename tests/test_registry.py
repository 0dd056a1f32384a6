"""Sockets: what another package declares is checked before anything is done with it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from headwater.engines.engine import Engine
from headwater.errors import InputError
from headwater.methods import Method
from headwater.registry import AXES, ENGINES, METHODS, PROTOCOLS, Axis
from headwater.study.recipe import Recipe, _all_recipes
from headwater.study.words import default


def engine(**changes: Any) -> Engine:
    words: dict[str, Any] = {"name": "mine", "title": "mine", "run": print, "order": 5}
    return Engine(**words | changes)


def method(**words: Any) -> type[Method]:
    """A whole method of another package, with changes."""
    whole = {"name": "mine", "title": "Mine", "version": 1, "order": 90, "needs": "images"}
    whole |= {"recipe": Recipe, "encode": lambda *_: (), "loss": lambda *_: None, **words}
    return type("Mine", (Method,), {k: v for k, v in whole.items() if v is not ...})


def entries(axis: Axis[Any], monkeypatch: pytest.MonkeyPatch, load: Callable[[], Any]) -> Any:
    """All entries of a socket where another package has an entry point that loads like this."""
    package = SimpleNamespace(name="their-package", version="1.0")
    point = SimpleNamespace(name="mine", load=load, dist=package)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    return Axis(axis.noun, axis.folder, axis.group, axis.kind).entries()


def raising(error: BaseException) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (raising(SystemExit(3)), r"cannot be loaded \(SystemExit: 3\)"),
        (raising(AttributeError("no ENTRY")), r"cannot be loaded \(AttributeError: no ENTRY\)"),
        (lambda: None, r"is no headwater\.engines\.engine:?\.?Engine"),
        (lambda: Engine, r"is no headwater\.engines\.engine\.Engine"),
        (lambda: engine(name="Mine!"), r"is called 'Mine!': a name has lower case letters"),
        (lambda: engine(name=3), r"is called 3: a name has"),
        (lambda: engine(version=0), r"has the version 0, which should be 1 or more"),
        (lambda: engine(version="1"), r"has the version '1'"),
        (lambda: engine(order=None), r"has the order None, which should be a number"),
        (lambda: engine(order=float("nan")), r"has the order nan"),
    ],
)
def test_an_entry_that_is_none_is_said_with_its_package(
    load: Callable[[], Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = rf"the engine 'mine' of their-package {reason}.*; mend or uninstall that package$"
    with pytest.raises(InputError, match=said):
        entries(ENGINES, monkeypatch, load)


def test_a_whole_entry_stands_beside_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = list(ENGINES.entries())
    assert built_in[:2] == ["local", "inline"] and "slurm" in built_in
    assert set(entries(ENGINES, monkeypatch, engine)) == {*built_in, "mine"}
    assert entries(METHODS, monkeypatch, method)["mine"].title == "Mine"


def test_a_name_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="two entries for the engine 'local'"):
        entries(ENGINES, monkeypatch, lambda: engine(name="local"))


@pytest.mark.parametrize(
    "lacking", ["name", "version", "order", "title", "needs", "recipe", "loss"]
)
def test_a_method_that_lacks_a_word_is_refused(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"their-package does not say its {lacking}; mend"):
        entries(METHODS, monkeypatch, lambda: method(**{lacking: ...}))


def test_a_protocol_is_an_object_and_a_method_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(PROTOCOLS["ridge"])
    with pytest.raises(InputError, match=r"is no headwater\.transfer\.protocols\.TransferProtocol"):
        entries(PROTOCOLS, monkeypatch, lambda: kind)
    with pytest.raises(InputError, match=r"is no headwater\.methods\.Method"):
        entries(METHODS, monkeypatch, lambda: object.__new__(METHODS["mae"]))


def test_what_is_built_in_is_whole() -> None:
    for axis in AXES:
        assert {
            name: axis._fault(entry) for name, entry in axis.entries().items()
        } == dict.fromkeys(axis.names(), "")


class OtherRecipe(Recipe):
    """Words that clash: MAE's `mask` is a share."""

    mask: str = default("all", "[ours]")


def test_recipes_whose_words_clash_are_refused() -> None:
    """A study could not say what it means for all methods."""
    said = r"the recipes of mae and mine both have a field 'mask', with other values allowed"
    with METHODS.registered(method(recipe=OtherRecipe)), pytest.raises(InputError, match=said):
        _all_recipes()


def test_a_method_that_is_called_like_a_field_of_a_recipe_is_refused() -> None:
    said = r"the method 'batch' is called what \w+ calls a field of its recipe"
    with METHODS.registered(method(name="batch")), pytest.raises(InputError, match=said):
        _all_recipes()
