"""What to write into a study whose source lacks what a method learns from: lines of YAML that can
be taken as they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from headwater.errors import InputError
from headwater.plan.resolved import Resolved
from headwater.registry import METHODS
from headwater.sources import Table
from headwater.study import Study
from headwater.study.flow import flow


def check_captions(resolved: Resolved, source: str, field: str, method: str) -> None:
    """Raises InputError where a source lacks the text field that a method learns from."""
    table = resolved.source_of(source).table
    if field in table.texts or (field == "template" and table.levels):
        return
    has = ", ".join(sorted(table.texts)) or "no text at all"
    near = difflib.get_close_matches(field, list(table.texts), n=1)
    ways = []
    if near:
        ways.append(f"another field: `{_sources(resolved.study, {source: {'captions': near[0]}})}`")
    if table.levels and field != "template":
        ways.append(
            "captions made of its class names: "
            f"`{_sources(resolved.study, {source: {'captions': 'template'}})}`"
        )
    ways.append(_without(resolved, method, lambda each: field not in each.texts))
    if resolved.study.data[resolved.study.sources[source].data].kind == "folder":
        ways.append(
            "put a captions.jsonl beside the images, a line an image: "
            '{"path": "a/1.jpg", "captions": ["..."]}'
        )
    raise InputError(
        f"sources.{source}: {method} learns from captions, and there is no text field {field!r} "
        f"(it has {has}); write {'; or '.join(ways)}"
    )


def check_labels(resolved: Resolved, source: str, labels: str, method: str) -> None:
    """Raises InputError where a source without labels is to be learned from by them."""
    if resolved.source_of(source).table.levels:
        return
    own = {source: {"labels": ["instance"]}}
    raise InputError(
        f"sources.{source}: {method} learns from labels ({labels}), and this source has none: it "
        "is a folder of bare images; write "
        f"{_without(resolved, method, lambda each: not each.levels)}; or one class for each image: "
        f"`{_sources(resolved.study, own)}`; or put the images into class folders, or write a "
        "labels.csv of path, split, level1"
    )


def _without(resolved: Resolved, method: str, lacks: Callable[[Table], bool]) -> str:
    """How the sources that lack something are trained without a method."""
    study = resolved.study
    lacking = [name for name in study.sources if lacks(resolved.source_of(name).table)]
    trained = [each for each in study.methods if METHODS[each].trains and each != method]
    able = [each for each in trained if METHODS[each].needs is None]
    if len(lacking) == len(study.sources):
        others = [each for each in study.methods if each != method]
        kept = others if trained else [*others, "simclr"]
        return f"this study without {method}: `methods: {flow(kept)}`"
    changes = {name: {"methods": able or ["simclr"]} for name in lacking}
    added = "" if able else f" and `methods: {flow([*study.methods, 'simclr'])}`"
    names = " and ".join(lacking)
    return f"{names} without {method}: `{_sources(study, changes)}`{added}"


def _sources(study: Study, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """The study's `sources:` line with changes."""
    words: dict[str, Any] = {}
    for name, use in study.sources.items():
        said = use.model_dump(mode="json", exclude_unset=True)
        if said.get("data") == name:
            del said["data"]
        words[name] = {**said, **changes.get(name, {})}
    return f"sources: {flow(words)}"
