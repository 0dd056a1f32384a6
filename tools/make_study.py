"""Rebuilds the tables of docs/ that say what can be named, from what the entries declare.

    python tools/make_study.py

A table stands in its page between the marks <!-- NAME --> and <!-- /NAME -->. A test checks that
the pages hold what this script writes.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from headwater.registry import ANALYSES, ENGINES, LABEL_VIEWS, METHODS, PROTOCOLS, SOURCE_KINDS
from headwater.sources.published.registry import PUBLISHED
from headwater.study.recipe import Recipe
from headwater.transfer.protocols import OnImages

DOCS = Path(__file__).parents[1] / "docs"


def table(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    rows = [head, ["---"] * len(head), *body]
    lines = []
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


@functools.cache
def meanings(words: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field of a class of words, those that it inherits too."""
    texts: dict[str, str] = {}
    for base in reversed(words.__mro__):
        if base.__module__.startswith("headwater."):
            texts |= _field_docstrings(base)
    return texts


def _field_docstrings(words: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(words))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            texts[field.target.id] = inspect.cleandoc(str(after.value.value))
    return texts


def shown(value: Any) -> str:
    """A default as a study would write it."""
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        words = value.model_dump(exclude_none=True)
        if not words:
            return "each method's own"
        return f"`{{{', '.join(f'{key}: {word:g}' for key, word in words.items())}}}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        elements = [str(element) for element in value]
        if len(elements) > 10:
            elements = [*elements[:2], "...", elements[-1]]
        return f"`[{', '.join(elements)}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def default_of(words: type[BaseModel], key: str) -> str:
    field = words.model_fields[key]
    if field.is_required():
        return "must be given"
    return shown(field.get_default(call_default_factory=True))


def origin_of(words: type[BaseModel], key: str) -> str:
    """Where the default of a key comes from; empty where that is not declared."""
    extra = words.model_fields[key].json_schema_extra
    return str(extra.get("source", "")) if isinstance(extra, dict) else ""


def methods() -> str:
    body = []
    for method in METHODS:
        body.append([f"`{method.name}`", method.title, method.needs])
    return table(["method", "what people call it", "what it needs of a source"], body)


def recipe() -> str:
    """The keys that all methods have, then what each method adds or sets otherwise."""
    blocks = ["Keys of all methods:\n", _words_table(Recipe, list(Recipe.model_fields))]
    for method in METHODS:
        words = method.recipe
        if words is None:
            continue
        keys = [key for key in words.model_fields if _is_own(words, key)]
        blocks += [f"What `{method.name}` adds, or sets otherwise:\n", _words_table(words, keys)]
    return "\n".join(blocks)


def _is_own(words: type[BaseModel], key: str) -> bool:
    if key not in Recipe.model_fields:
        return True
    return default_of(words, key) != default_of(Recipe, key)


def _words_table(words: type[BaseModel], keys: list[str]) -> str:
    texts = meanings(words)
    body = []
    for key in keys:
        origin = origin_of(words, key)
        body.append([f"`{key}`", default_of(words, key), origin, texts.get(key, "")])
    return table(["key", "default", "where it comes from", "meaning"], body)


def data() -> str:
    body = []
    for kind in SOURCE_KINDS:
        offers = ", ".join(kind.offers)
        body.append([f"`{kind.name}`", kind.title, kind.needs, offers])
    return table(["kind", "what it is", "what it needs", "what it can bring"], body)


def views() -> str:
    body = []
    for view in LABEL_VIEWS:
        within = "yes" if view.within else "no"
        body.append([f"`{view.form}`", view.title, within, "yes" if view.seeded else "no"])
    return table(["view", "classes", "can be `within` a level", "drawn by a seed"], body)


def protocols() -> str:
    body = []
    for protocol in PROTOCOLS:
        what = [protocol.title, protocol.fits, protocol.chooses, protocol.costs]
        body.append([f"`{protocol.name}`", *what])
    return table(["protocol", "what it is", "what is fitted", "validation chooses", "cost"], body)


def protocol_words() -> str:
    """The keys that all protocols on images have, then what each adds or sets otherwise."""
    common = list(OnImages.model_fields)
    blocks = ["Keys of all protocols that are fitted to images of the task:\n"]
    blocks.append(_words_table(OnImages, common))
    for protocol in PROTOCOLS:
        words, lead = protocol.words, f"What `{protocol.name}` adds:\n"
        keys = [key for key in words.model_fields if key not in common]
        parent = _extended(words)
        if parent is not None:
            keys = [key for key in keys if key in words.__annotations__]
            lead = f"`{protocol.name}` has the keys of `{parent}`, but:\n"
        elif not words.on_images:
            lead = f"`{protocol.name}` has `tasks` and:\n"
        if keys:
            blocks += [lead, _words_table(words, keys)]
    return "\n".join(blocks)


def _extended(words: type[BaseModel]) -> str | None:
    """The protocol whose words these extend, if they extend those of one."""
    for protocol in PROTOCOLS:
        if protocol.words is not words and issubclass(words, protocol.words):
            return str(protocol.name)
    return None


def analyses() -> str:
    body = []
    for question in ANALYSES:
        charts = ", ".join(chart.title for chart in question.charts)
        body.append([f"`{question.name}`", question.title, charts])
    return table(["analysis", "heading in the report", "its charts"], body)


def engines() -> str:
    return table(
        ["engine", "what it is"], [[f"`{engine.name}`", engine.title] for engine in ENGINES]
    )


def published() -> str:
    body = []
    for entry in PUBLISHED.values():
        metric = entry.metric.replace("_", " ")
        levels = ", ".join(entry.levels[1:])
        sizes = _sizes(entry.sizes)
        for variant, of_variant in entry.variants.items():
            if of_variant != entry.sizes:
                sizes += f"; `split: {variant}` {_sizes(of_variant)}"
        row = [f"`{entry.name}`", entry.title, f"{entry.classes:,}", sizes]
        body.append([*row, entry.source_of_sizes, metric, levels])
    head = ["name", "set", "classes", "train / val / test", "where split and numbers come from"]
    return table([*head, "metric", "level:1 and up"], body)


def _sizes(sizes: Mapping[str, int]) -> str:
    counts = [f"{sizes[split]:,}" if split in sizes else "-" for split in ("train", "val", "test")]
    return " / ".join(counts)


def layouts() -> str:
    body = []
    for entry in PUBLISHED.values():
        files = ", ".join(f"`{file}`" for file in entry.layout)
        refused = f". `{entry.refused[0]}` is refused: {entry.refused[1]}" if entry.refused else ""
        body.append([f"`{entry.name}`", f"`{entry.folder}`", files + refused, entry.home])
    head = ["name", "folder", "what is expected in it, or in the folder that the archive makes"]
    return table([*head, "where its authors keep it"], body)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "study.md": {
        "methods": methods,
        "recipe": recipe,
        "data": data,
        "analyses": analyses,
        "engines": engines,
        "views": views,
        "protocol-words": protocol_words,
    },
    "transfer.md": {"protocols": protocols},
    "tasks.md": {"published": published, "layouts": layouts},
}
"""By page: what makes each block, by the name of its marks."""


def with_blocks(page: str, text: str) -> str:
    """The text of a page with what stands between its marks made anew.

    Raises ValueError where a mark is not there, or twice.
    """
    for name, make in BLOCKS[page].items():
        parts = re.split(rf"(<!-- /?{name} -->\n)", text)
        if parts[1::2] != [f"<!-- {name} -->\n", f"<!-- /{name} -->\n"]:
            raise ValueError(f"{page} should have the marks of {name} once")
        text = "".join([*parts[:2], make(), *parts[3:]])
    return text


if __name__ == "__main__":
    for page in BLOCKS:
        (DOCS / page).write_text(with_blocks(page, (DOCS / page).read_text()))
        print(f"wrote {page}")
