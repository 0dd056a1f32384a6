"""YAML in, line-precise errors out: how a study file is read, whichever kind of study it holds.

YAML is read with the safe loader's resolver only, node by node, so that every key keeps its line.
Duplicate keys, aliases that expand without bound and files of absurd size are refused before
anything is built.
"""

from __future__ import annotations

import difflib
import functools
import os
import stat
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from headwater import plain, wings
from headwater.errors import InputError, Location
from headwater.study.words import Misplaced, Origin
from headwater.wings import Wing

MAX_BYTES = 1 << 18
MAX_NODES = 20_000
"""Values of a study: 10,000 seeds, one by one, and as many again."""
MAX_DEPTH = 32
MAX_TEXT = 20_000
"""Characters of one value; a question, or a path, is far shorter."""
MAX_KEY = 256
MAX_DIGITS = 100
"""Characters of a number: what is longer takes Python minutes to read (59:59:59... is one)."""
_once: dict[tuple[int, int, str], str] = {}
"""Texts of files that can be read but once, such as the pipe of `headwater run <(cat s.yaml)`."""
T = TypeVar("T", bound=BaseModel)


def wing_of(path: Path) -> Wing | None:
    """The wing whose study a file is, None for a study of images.

    Raises InputError for one that cannot be read.
    """
    return wings.of_keys(tree_of(read_text(path), str(path)).value)


def read_text(path: Path) -> str:
    """The text of a study file. Raises InputError where it cannot be read or is too large."""
    once: tuple[int, int, str] | None = None
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                once = status.st_dev, status.st_ino, str(path)
                if once in _once:
                    return _once[once]
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such study file (`headwater init FOLDER... --task FOLDER` writes "
            "one)"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: is too large for a study file (at most {MAX_BYTES:,} bytes)")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    if once is not None:
        _once[once] = text
    return text


@functools.lru_cache(maxsize=4)
def tree_of(text: str, where: str) -> Tree:
    """The document in a text, read once though several ask for it. Not to be changed."""
    return Tree(text, where)


def validated(model: type[T], tree: Tree) -> T:
    """The words of a document. Raises InputError that names line, key and nearest valid key."""
    try:
        return model.model_validate(tree.value)
    except ValidationError as error:
        raise InputError(first_error(error, tree, model)) from None
    except RecursionError:
        raise InputError(f"{tree.where}: is nested too deeply") from None


class Tree:
    """A YAML document as plain values, with the line of each."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.lines: dict[Location, int] = {}
        self._count = 0
        self._loader = yaml.SafeLoader("")  # its constructors turn scalars into values
        try:
            self._check_size(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise InputError(
                f"{where}, line {mark.line + 1 if mark else '?'}: not valid YAML: {error.problem}"
            ) from None
        except yaml.YAMLError as error:
            raise InputError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise InputError(f"{where}: is nested too deeply") from None
        if node is None:
            others = "".join(f", or study and {wing.key}" for wing in wings.opened())
            raise InputError(
                f"{where}: the file is empty; a study needs at least study, data, budget and "
                f"tasks{others} (docs/study.md)"
            )
        self.value = self._build(node, ())
        if not isinstance(self.value, dict):
            raise InputError(
                f"{where}, line 1: a study is a mapping of keys to values, not a "
                f"{type(self.value).__name__}"
            )

    def _check_size(self, text: str) -> None:
        """Raises InputError for a document that has, or expands to, more than any study: as it is
        read, before anything is built of it.
        """
        depth = values = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            values += isinstance(event, yaml.NodeEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1 if event.start_mark else 1
            if depth > MAX_DEPTH:
                raise InputError(
                    f"{self.where}, line {line}: is nested too deeply (at most {MAX_DEPTH} levels)"
                )
            if values > MAX_NODES:
                raise InputError(
                    f"{self.where}, line {line}: holds too many values (at most {MAX_NODES:,})"
                )
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_TEXT:
                raise InputError(
                    f"{self.where}, line {line}: a text of {len(event.value):,} characters is too "
                    f"long for a study (at most {MAX_TEXT:,})"
                )

    def _build(self, node: yaml.Node, at: Location) -> Any:
        self._count += 1
        if self._count > MAX_NODES or len(at) > MAX_DEPTH:
            raise InputError(
                f"{self.where}, line {node.start_mark.line + 1}: the file expands to too many "
                "values or nests too deeply"
            )
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(child, (*at, i)) for i, child in enumerate(node.value)]
        return self._scalar(node, at)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if (
                not isinstance(key_node, yaml.ScalarNode)
                or key_node.tag == "tag:yaml.org,2002:merge"
            ):
                raise InputError(f"{self.where}, line {line}: a key is plain text here")
            key = str(key_node.value)
            self._check_text(key, line, "a key")
            if len(key) > MAX_KEY:
                raise InputError(
                    f"{self.where}, line {line}: a key of {len(key):,} characters is too long (at "
                    f"most {MAX_KEY})"
                )
            if key in values:
                raise InputError(
                    f"{self.where}, line {line}: the key {key!r} is given twice (first in line "
                    f"{self.lines[(*at, key)]})"
                )
            self.lines[(*at, key)] = line
            values[key] = self._build(child, (*at, key))
        return values

    def _scalar(self, node: yaml.Node, at: Location) -> Any:
        line = node.start_mark.line + 1
        if node.tag not in yaml.SafeLoader.yaml_constructors:
            raise InputError(
                f"{self.where}, line {line}: the tag {node.tag} is not allowed in a study"
            )
        number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if number and len(str(node.value)) > MAX_DIGITS:
            raise InputError(
                f"{self.where}, line {line}: {str(node.value)[:20]}... is a number of "
                f"{len(node.value):,} characters, which is too long to be meant"
            )
        try:
            value = yaml.SafeLoader.yaml_constructors[node.tag](self._loader, node)
        except (
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
            ArithmeticError,
            yaml.YAMLError,
        ):  # PyYAML checks no text that a tag was put before
            shown = repr(node.value)
            kind = node.tag.rpartition(":")[2]
            raise InputError(
                f"{self.where}, line {line}: {shown if len(shown) <= 60 else shown[:57] + '...'} "
                f"cannot be read as {kind}"
            ) from None
        if isinstance(value, str):
            self._check_text(value, line, plain.line(ascii(value), 60))
            return (
                number_of(value)
                if isinstance(node, yaml.ScalarNode) and node.style is None
                else value
            )  # in quotes it is meant as text
        if value is None or isinstance(value, bool | int | float):
            return value
        return str(node.value)

    def _check_text(self, text: str, line: int, what: str) -> None:
        found = plain.stray(text, lines=True)
        if found is not None:
            raise InputError(
                f"{self.where}, line {line}: {what} holds a character that is no text: {found}"
            )

    def line(self, at: Location) -> int:
        """Line of a location, or of the nearest enclosing one."""
        return Origin(self.where, self.lines).line(at)

    def told(self, at: Location) -> str:
        return f"{self.where}, line {self.line(at)}"


def number_of(text: str) -> str | float:
    """YAML 1.1 reads 3e-4 as text, because it wants a point; people who write learning rates do
    not.
    """
    if text[:1] in "0123456789.-+" and "e" in text.lower():
        try:
            return float(text)
        except ValueError:
            return text
    return text


class Placed(Protocol):
    """Words of a study that know where each of them stands."""

    value: dict[str, Any]

    def line(self, at: Location) -> int:
        """What comes first has the smaller one."""
        ...

    def told(self, at: Location) -> str:
        """How an error names a place."""
        ...


def first_error(error: ValidationError, tree: Placed, root: type[BaseModel]) -> str:
    """One line for the error that stands first in the file. An unknown key comes before the keys
    that are missing beside it, since it may be one of them, written wrong.
    """
    by_place: dict[Location, list[Any]] = {}
    for item in error.errors(include_url=False):
        cause = item.get("ctx", {}).get("error")
        at = (
            cause.location
            if isinstance(cause, Misplaced)
            else _within(tuple(item["loc"]), tree.value)
        )
        by_place.setdefault(at, []).append(item)
    kinds = {at: items[0]["type"] for at, items in by_place.items()}
    odd = {at[:-1] for at, kind in kinds.items() if kind == "extra_forbidden"}

    def place(at: Location) -> tuple[bool, int, bool]:
        explained = kinds[at] == "missing" and at[:-1] in odd
        return explained, tree.line(at), kinds[at] != "extra_forbidden"

    at = min(by_place, key=place)
    items = by_place[at]
    more = len(by_place) - 1
    tail = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
    return f"{tree.told(at)}: {_describe(items, at, tree, root)}{tail}"


def _within(loc: Location, value: Any) -> Location:
    """pydantic's location without the parts that are not in the file (union branches); a missing or
    extra last key stays.
    """
    at: list[str | int] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(value, dict):
            if part in value or (last and isinstance(part, str)):
                at.append(part)
            value = value.get(part, value)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            at.append(part)
            value = value[part]
    return tuple(at)


def _describe(items: list[Any], at: Location, tree: Placed, root: type[BaseModel]) -> str:
    """What is wrong at one place; several items are the branches of a union."""
    item, path = items[0], ".".join(str(part) for part in at)
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return f"unknown key {path!r}" + _nearest(
            str(at[-1]), _valid_keys(at[:-1], tree.value, root)
        )
    if kind == "missing":
        return f"the key {path!r} is missing"
    if kind == "value_error":
        return f"{path}: {item['ctx']['error']}"
    if kind == "union_tag_not_found":
        return f"{path}: say what kind of data it is, for example `kind: folder` or `kind: world`"
    if kind in ("literal_error", "union_tag_invalid") and len(items) == 1:
        wrong = str(item["ctx"]["tag"] if kind == "union_tag_invalid" else given)
        valid = (
            str(item["ctx"]["expected" if kind == "literal_error" else "expected_tags"])
            .replace("'", "")
            .replace(" or ", ", ")
            .split(", ")
        )
        return f"{path}: {wrong!r} is none of {', '.join(valid)}" + _nearest(
            wrong, valid, list_all=False
        )
    shown = repr(given)
    message = ", or ".join(
        i["msg"] if n == 0 else i["msg"].removeprefix("Input ") for n, i in enumerate(items)
    )
    return f"{path}: {message}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _nearest(given: str, valid: list[str], *, list_all: bool = True) -> str:
    near = difflib.get_close_matches(given, valid, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; valid keys are {', '.join(sorted(valid))}" if list_all and valid else ""


def _valid_keys(at: Location, value: Any, root: type[BaseModel]) -> list[str]:
    """The keys that the schema allows at a location of the file."""
    models: list[type[BaseModel]] = [root]
    free_name = False
    for part in at:
        value = value[part]
        if free_name:
            free_name = False
            continue
        fields = [
            m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields
        ]
        if fields:
            models = _models_in(fields[0].annotation)
            free_name = get_origin(fields[0].annotation) is dict
    kind = value.get("kind") if isinstance(value, dict) else None
    fitting = [
        m
        for m in models
        if "kind" in m.model_fields and kind in get_args(m.model_fields["kind"].annotation)
    ]
    return [key for m in (fitting or models)[:1] for key in m.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation mentions, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in get_args(annotation):
        found.extend(_models_in(inner))
    return found
