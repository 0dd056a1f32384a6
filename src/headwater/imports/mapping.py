"""A table and a map made into rows."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import plain
from headwater.errors import InputError
from headwater.files import near_beside
from headwater.imports.words import FIELDS, Defect, FromColumn, ImportMap, Scalar, Values
from headwater.rows import SCHEMA_VERSION, check_row, to_frame
from headwater.rows.words import check_distinct
from headwater.study.file import read_text, tree_of, validated
from headwater.study.words import identity

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";"}
_OF_ARMS = (
    *("method", "source", "size", "unique_images", "labels", "images_seen", "backbone", "lr"),
    *("image_size", "batch", "optimiser", "weight_decay", "recipe", "seed"),
)
_NOT_OF_A_CELL = ("value", "_grid", "defects", "chosen", "grid")
_EMPTY = ("", "nan", "NaN", "NA", "None", "-")


@dataclass(frozen=True)
class Imported:
    """What came of a table."""

    rows: pd.DataFrame
    told: tuple[str, ...]
    """What was left out, and how often."""
    defects: Mapping[str, int]
    """What is known to be wrong -> of how many rows."""


def shipped_maps() -> dict[str, Path]:
    """The maps inside the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "maps").glob("*.yaml"))}


def map_of(name: str) -> ImportMap:
    """A map by its file, or by the name of a shipped one. Raises InputError where there is none,
    and for one that is wrong, with its line.
    """
    path, shipped = Path(name), shipped_maps()
    if not path.exists() and name in shipped:
        path = shipped[name]
    if not path.exists():
        near = difflib.get_close_matches(name, list(shipped), n=1)
        advice = (
            f"; did you mean {near[0]}?" if near else f"; shipped ones are {', '.join(shipped)}"
        )
        raise InputError(f"{name}: there is no such map{near_beside(path)}{advice}")
    return validated(ImportMap, tree_of(read_text(path), str(path)))


def imported(table: Path, words: ImportMap) -> Imported:
    """The rows of a table. Raises InputError for a table that cannot be read or lacks a column, for
    a word or a number that is none, with its line, and for two scores of one cell.
    """
    lines = _lines(table, words)
    kept = [(line, row) for line, row in lines if _holds(words.only, row)]
    told = []
    if len(kept) < len(lines):
        told.append(f"{len(lines) - len(kept):,} of {len(lines):,} lines left out by `only`")
    made, empty, others = [], 0, 0
    for line, row in kept:
        fields = _fields(words, row, f"{table}, line {line}")
        for column, values in words.values.items():
            score = _score(row[column], words, f"{table}, line {line}: {column}")
            if score is None:
                empty += 1
                continue
            if not _holds(values.only, row):
                others += 1
                continue
            made.append(_made(words, fields, row, column, values, score))
    if empty:
        told.append(f"{empty:,} empty score{'' if empty == 1 else 's'} left out")
    if others:
        told.append(f"{others:,} scores left out by `only` of their column")
    if words.best_over:
        before = len(made)
        made = _best(made, words.best_over)
        told.append(
            f"{len(made):,} rows are the best of {before:,} points of a grid over "
            f"{', '.join(words.best_over)}"
        )
    if words.unit == "percent" and made and max(row["value"] for row in made) <= 0.01:
        raise InputError(f"{table}: no score is above 1, so these are shares; say unit: share")
    told += _idle(words, kept)
    if "size" not in words.rows and (sized := _sized(made)):
        told.append(
            f"{sized:,} rows are of arms that differ in their images alone: these are their size"
        )
    _check_once(made, table)
    rows = [check_row(_identified(row), str(table)) for row in made]
    if not rows:
        raise InputError(f"{table}: no row is left; {'; '.join(told)}")
    counts: dict[str, int] = {}
    for row in rows:
        for said in (row["defects"] or "").split("; "):
            if said:
                counts[said] = counts.get(said, 0) + 1
    return Imported(to_frame(rows), tuple(told), counts)


def _sized(made: list[dict[str, Any]]) -> int:
    """Gives arms that differ in `unique_images` alone these as their `size`, without which they
    would be one arm; the number of rows of them.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in made:
        alike = {name: row.get(name) for name in _OF_ARMS if name not in ("unique_images", "seed")}
        groups.setdefault(json.dumps(alike, sort_keys=True, default=str), []).append(row)
    several: list[dict[str, Any]] = []
    for rows in groups.values():
        if len({row.get("unique_images") for row in rows}) > 1:
            several += rows
    for row in several:
        images = row.get("unique_images")
        row["size"] = None if images is None else str(images)
    return len(several)


def _idle(words: ImportMap, kept: Sequence[tuple[int, Mapping[str, str]]]) -> list[str]:
    """Words of a map that met nothing in the table: a slip of the pen, maybe."""
    found: list[str] = []
    asked = [(f"only: {c}", c, values) for c, values in words.only.items()]
    for defect in words.defects:
        asked += [(f"defect {defect.says!r}: {c}", c, v) for c, v in defect.where.items()]
    for name, said in words.rows.items():
        if isinstance(said, FromColumn):
            asked.append((f"rows: {name}", said.column, tuple(said.names)))
    for place, column, values in asked:
        there = {row[column] for _, row in kept}
        found += [f"{place}: no line has {str(v)!r}" for v in values if str(v) not in there]
    return found


def _lines(table: Path, words: ImportMap) -> list[tuple[int, dict[str, str]]]:
    import csv

    if not table.is_file():
        raise InputError(f"{table}: there is no such file{near_beside(table)}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=_SEPARATORS[words.separator], strict=True)
            headings = list(reader.fieldnames or [])
            check_distinct(headings, str(table))
            for column in words.columns():
                if column not in headings:
                    near = difflib.get_close_matches(column, headings, n=1)
                    advice = f"; did you mean {plain.name(near[0])}?" if near else ""
                    raise InputError(f"{table}: has no column {plain.name(column)}{advice}")
            lines = []
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"{table}, line {reader.line_num}: has not as many fields as headings"
                    )
                lines.append((reader.line_num, {k: v.strip() for k, v in row.items()}))
            return lines
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as a table ({error})") from None


def _holds(where: Mapping[str, Sequence[Scalar]], row: Mapping[str, str]) -> bool:
    return all(row[column] in map(str, words) for column, words in where.items())


def _fields(words: ImportMap, row: Mapping[str, str], place: str) -> dict[str, Any]:
    """The fields of a row that the map says."""
    fields: dict[str, Any] = {}
    for name, said in words.rows.items():
        if isinstance(said, FromColumn):
            fields[name] = _typed(name, _translated(said, row, place), said.times, place)
        else:
            fields[name] = said
    return fields


def _translated(said: FromColumn, row: Mapping[str, str], place: str) -> Scalar:
    word = row[said.column]
    if word in said.names:
        return said.names[word]
    if said.others == "error":
        raise InputError(
            f"{place}: {plain.name(word)!r} in {said.column} is none of the map's names "
            f"({', '.join(said.names)})"
        )
    return None if word in _EMPTY else word


def _typed(name: str, value: Scalar, times: float, place: str) -> Any:
    """A word as the kind that the field has."""
    kind = FIELDS[name].kind
    if value is None or kind in ("str", "bool"):
        return value if value is None or kind == "bool" else str(value)
    try:
        number = float(value) * times
    except ValueError:
        raise InputError(f"{place}: {name} is {plain.name(str(value))!r}, no number") from None
    if kind != "int":
        return number
    if not math.isfinite(number) or abs(number - round(number)) > 1e-9 * max(1.0, abs(number)):
        raise InputError(f"{place}: {name} is {number:g}, and must be a whole number")
    return round(number)


def _score(text: str, words: ImportMap, place: str) -> float | None:
    """A score as a share; None for an empty cell."""
    if text in _EMPTY:
        return None
    most = 100.0 if words.unit == "percent" else 1.0
    try:
        score = float(text)
    except ValueError:
        raise InputError(f"{place}: {plain.name(text)!r} is no number") from None
    if math.isnan(score):
        return None
    if not 0 <= score <= most:
        raise InputError(f"{place}: {score:g} is no score from 0 to {most:g} (unit: {words.unit})")
    return (most - score if words.errors else score) / most


def _made(
    words: ImportMap,
    fields: Mapping[str, Any],
    row: Mapping[str, str],
    column: str,
    values: Values,
    score: float,
) -> dict[str, Any]:
    defects = [d.says for d in words.defects if _is_of(d, row, column)]
    shots = None if values.shots in (None, "full") else values.shots
    return {
        "shots": shots,
        **fields,
        "study": words.name,
        "schema": SCHEMA_VERSION,
        "status": "done",
        "metric": values.metric,
        "subset": values.subset,
        "protocol": values.protocol or fields["protocol"],
        "value": score,
        "defects": "; ".join(defects) or None,
        "_grid": {name: row[name] for name in words.best_over},
    }


def _is_of(defect: Defect, row: Mapping[str, str], column: str) -> bool:
    return (defect.values is None or column in defect.values) and _holds(defect.where, row)


def _key(row: Mapping[str, Any]) -> str:
    kept = {
        k: v for k, v in row.items() if k not in ("value", "_grid", "defects", "chosen", "grid")
    }
    return json.dumps(kept, sort_keys=True, default=str)


def _best(made: list[dict[str, Any]], over: Sequence[str]) -> list[dict[str, Any]]:
    """Of rows that differ in the grid alone the one with the highest score."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in made:
        groups.setdefault(_key(row), []).append(row)
    best = []
    for rows in groups.values():
        first = max(rows, key=lambda row: row["value"])
        points = sorted({json.dumps(row["_grid"], sort_keys=True) for row in rows})
        grid = f'{{"points": {len(points)}, "over": {json.dumps(list(over))}}}'
        chosen = json.dumps(first["_grid"], sort_keys=True)
        best.append({**first, "chosen": chosen, "grid": grid, "_grid": {}})
    return best


def _check_once(made: list[dict[str, Any]], table: Path) -> None:
    """Raises InputError where two scores are of one cell."""
    seen: dict[str, float] = {}
    for row in made:
        key = _key(row)
        if key in seen:
            words = ", ".join(f"{k} {row[k]}" for k in ("method", "source", "task", "shots"))
            raise InputError(
                f"{table}: two scores are of one cell ({words}): {seen[key]:g} and "
                f"{row['value']:g}; name what tells them apart under `rows` (seed, draw, lr), or "
                "the columns of a grid under `best_over`"
            )
        seen[key] = row["value"]


def _identified(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its ids: hashes of what it says."""
    fields = {k: v for k, v in row.items() if k != "_grid"}
    arm = identity({name: fields.get(name) for name in _OF_ARMS})
    kept = {k: v for k, v in fields.items() if k not in ("value", "status", "study", "defects")}
    return {"arm": arm, "cell": identity({**kept, "metric": None, "subset": None}), **fields}
