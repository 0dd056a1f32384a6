"""A study of one sweep, from the options of a command."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from headwater.errors import InputError
from headwater.theory.study import Sweep, TheoryStudy

CHECK = {"d": 512, "width": 32, "batch": 256, "lr": 0.5}
"""Constants of the numerical check of Hong et al. 2023 where a sweep's defaults are smaller."""
_SINGLE = ("tune_steps", "test_samples", "looks", "precision")
"""Axes that take one value."""


def sweep_of(values: Mapping[str, str], seeds: str | None, *, full_size: bool) -> TheoryStudy:
    """A study of one sweep from options: {axis: `1,32`}.

    Raises InputError that names the option and the nearest axis.
    """
    sweep: dict[str, Any] = dict(CHECK) if full_size else {}
    for name, text in values.items():
        axis = name.replace("-", "_")
        if axis not in Sweep.model_fields:
            raise InputError(f"--set {name}: a sweep has no such axis; {_nearest(axis)}")
        several = [_value(word.strip()) for word in text.split(",")]
        sweep[axis] = several[0] if len(several) == 1 and axis in _SINGLE else several
    study: dict[str, Any] = {"study": "theory", "theory": {"sweep": sweep}}
    if seeds is not None:
        several = [_value(word.strip()) for word in seeds.split(",")]
        study["seeds"] = several if len(several) > 1 else several[0]
    try:
        return TheoryStudy.model_validate(study)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{_option(first['loc'])}: {message}, not {first['input']!r}") from None


def _nearest(axis: str) -> str:
    near = difflib.get_close_matches(axis, list(Sweep.model_fields), n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(Sweep.model_fields)}"


def _option(place: tuple[int | str, ...]) -> str:
    """The option that a place in the study comes from."""
    names = [name for name in place if name == "seeds" or name in Sweep.model_fields]
    axis = str(names[-1]) if names else ""
    return f"--{axis}" if axis in ("subclasses", "labels", "seeds") else f"--set {axis}"


def _value(text: str) -> Any:
    """A number where the text is one."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text
