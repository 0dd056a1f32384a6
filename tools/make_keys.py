"""Every key of a study file as tables, made from the schema: python tools/make_keys.py prints it.

The site shows it (tools/docs_site.py).
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from headwater.registry import METHODS, PROTOCOLS, SOURCE_KINDS
from headwater.study import Study

_MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("make_study.py")))

HEAD = """# Keys of a study

Every key of a study file, from the schema that checks it. A key that is not here is an error, which
names its line and the nearest valid one. [Studies](../study.md) shows them in use.
"""
BLOCKS = ("sources", "views", "budget", "online_probe", "tasks", "decide")
"""Keys of a study whose values have keys of their own, beside data, recipe and protocols."""


def words_in(annotation: Any) -> list[type[BaseModel]]:
    """The classes of words that an annotation mentions, at any depth, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: dict[type[BaseModel], None] = {}
    for inner in get_args(annotation):
        found |= dict.fromkeys(words_in(inner))
    return list(found)


def default_of(words: type[BaseModel], key: str) -> str:
    """A default as a study would write it; of a block with keys of its own, where they are."""
    field = words.model_fields[key]
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel | dict):
        return "see below" if words_in(field.annotation) else "none"
    shown: str = _MADE["default_of"](words, key)
    return shown


def keys_table(words: type[BaseModel]) -> str:
    """key, default, meaning of each of its keys."""
    texts = _MADE["meanings"](words)
    body = []
    for key in words.model_fields:
        body.append([f"`{key}`", default_of(words, key), texts.get(key, "")])
    text: str = _MADE["table"](["key", "default", "meaning"], body)
    return text


def section(title: str, words: type[BaseModel], level: int = 2) -> list[str]:
    """A heading, what the words are, their keys, and the blocks among these."""
    doc = (words.__doc__ or "").strip().split("\n\n")[0]
    parts = [f"{'#' * level} {title}", " ".join(doc.split()), keys_table(words)]
    for key, field in words.model_fields.items():
        for inner in words_in(field.annotation):
            parts += section(f"{title}: `{key}`", inner, level + 1)
    return parts


def page() -> str:
    """The whole page."""
    parts = [HEAD, keys_table(Study)]
    for kind in SOURCE_KINDS:
        parts += section(f"`data`: `kind: {kind.name}`", kind.words)
    for block in BLOCKS:
        for words in words_in(Study.model_fields[block].annotation):
            parts += section(f"`{block}`", words)
    for method in METHODS:
        if method.recipe is not None:
            parts += section(f"`recipe`: `{method.name}`", method.recipe)
    for protocol in PROTOCOLS:
        parts += section(f"`protocols`: `{protocol.name}`", protocol.words)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


if __name__ == "__main__":
    print(page())
