"""Studies that are composed in Python, with the errors of a file, and written as one.

hw.Study(study="parts", data={...}, sources=["ours"], seeds=range(3), ...)
hw.Study({"study": "parts", ...})
study.to_yaml()    # `Study.parse` of it is equal to the study
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from headwater import wings
from headwater.errors import InputError, Location
from headwater.study.file import first_error, number_of

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    from headwater.study.study import Study
else:
    ModelMetaclass = type(BaseModel)

_WIDTH = 100


class Composing(ModelMetaclass):
    """Calling a study's class raises InputError, which names the key that is wrong and the nearest
    valid one; `model_validate` is as it was.
    """

    def __call__(self, words: Mapping[str, Any] | None = None, /, **more: Any) -> Any:
        given = _Given(self.__name__, {**(words or {}), **more})
        wing = wings.of_keys(given.value)
        if wing is not None:
            raise InputError(f"{given.where}: is {wing.title}: {wing.instead}")
        try:
            return super().__call__(**given.value)
        except ValidationError as error:
            assert issubclass(self, BaseModel)
            raise InputError(first_error(error, given, self)) from None


class _Given:
    """Words that Python gave, as plain values: where an error lies in them is told by their order,
    as a file tells it by its lines.
    """

    def __init__(self, where: str, words: Mapping[str, Any]) -> None:
        for key in words:
            if not isinstance(key, str):
                raise InputError(f"{where}: a key is a text, not {key!r}")
        self.where = where
        self.value: dict[str, Any] = _plain(words)
        self._places: dict[Location, int] = {}
        self._count(self.value, ())

    def _count(self, value: Any, at: Location) -> None:
        self._places[at] = len(self._places)
        if isinstance(value, dict):
            for key, item in value.items():
                self._count(item, (*at, key))
        elif isinstance(value, list):
            for place, item in enumerate(value):
                self._count(item, (*at, place))

    def line(self, at: Location) -> int:
        """A key that is missing comes last: an unknown one may explain it."""
        return self._places.get(at, len(self._places))

    def told(self, at: Location) -> str:
        return self.where


def _plain(value: Any) -> Any:
    """Words as a file would hold them: paths are texts, ranges and tuples lists, numbers of numpy
    those of Python, words that are objects already their keys.
    """
    if isinstance(value, BaseModel):
        return {key: _plain(getattr(value, key)) for key in value.model_fields_set}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in ordered]
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == "numpy":
        return _plain(value.tolist())
    return value


def yaml_text(study: Study) -> str:
    """A study as YAML: the keys that were given, in the order of the schema, in their short forms.

    `Study.parse` of it is equal to the study.
    """
    words = study.model_dump(mode="json", exclude_unset=True)
    words = {key: words[key] for key in type(study).model_fields if key in words}
    for name, data in study.data.items():
        words["data"][name] = {"kind": data.kind, **words["data"][name]}
    if all(use == {"data": name} for name, use in words.get("sources", {}).items()):
        words["sources"] = list(words.get("sources", {}))
    if not words["sources"]:
        del words["sources"]
    if words.get("seeds") == list(range(len(study.seeds))):
        words["seeds"] = len(study.seeds)
    return yaml.dump(
        words,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_WIDTH,
    )


class _Dumper(yaml.SafeDumper):
    """Puts texts in quotes that a study file would read as numbers, such as 1e5."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_number = not isinstance(number_of(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_number else None)


_Dumper.add_representer(str, _text)
