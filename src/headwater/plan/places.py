"""Where the files are that a study names: beside the study file, or under the data root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources.kinds import SourceWords
from headwater.sources.shards.places import is_there
from headwater.study import Study

_FOLDERS = ("path", "name")
"""Of names, those that begin as paths do."""
_FILES = ("split_file", "hierarchy", "table")


def placed(study: Study, name: str, data_root: Path | None) -> SourceWords:
    """The words of a study's `data:` entry, with absolute paths for what lies beside the study
    file; other relative paths stay, and are looked for under the data root, files in the data set's
    own folder, too.

    `./` and `../` at the beginning of a path mean beside the study file and nowhere else. Raises
    InputError for a path that is there in two places.
    """
    words: SourceWords = study.data[name]
    found: dict[str, str] = {}
    path = getattr(words, "path", None)
    own = None if not isinstance(path, str) else Path(path)
    for field in (*_FOLDERS, *_FILES):
        written = getattr(words, field, None)
        if not isinstance(written, str):
            continue
        if field == "name" and not written.startswith(("./", "../")):
            continue
        file, mark, option = written.partition("#") if field == "hierarchy" else (written, "", "")
        others = [place for place in (data_root, None if field == "path" else own) if place]
        seen = _seen(field, words.kind)
        place = _beside(file, study.folder, others, f"data.{name}.{field}", seen)
        if place is not None:
            found[field] = f"{place}{mark}{option}"
        if field == "path" and own is not None:
            own = place or (own if data_root is None else data_root / own)
    return words.model_copy(update=found) if found else words


def with_placed_views(study: Study, data_root: Path | None) -> Study:
    """The study, with absolute paths for files of its `views:` block that lie beside the study
    file; others are looked for under the data root. Raises as `placed`.
    """
    views = {}
    for name, use in study.views.items():
        parts = {"noise": ("matrix",), "features": ("weights", "file")}
        changed: dict[str, Any] = {}
        for part, fields in parts.items():
            words, found = getattr(use, part), {}
            for field in fields:
                written = getattr(words, field, None)
                where = f"views.{name}.{part}.{field}"
                roots = [] if data_root is None else [data_root]
                seen = _seen(field, None)
                place = _beside(written, study.folder, roots, where, seen) if written else None
                if place is not None:
                    found[field] = str(place)
            if found:
                changed[part] = words.model_copy(update=found)
        if changed:
            views[name] = use.model_copy(update=changed)
    return study.model_copy(update={"views": {**study.views, **views}}) if views else study


def _seen(field: str, kind: str | None) -> Callable[[Path], bool]:
    """What says whether that which a field names is at a place: a folder, a file, or of shards a
    pattern too.
    """
    if kind == "shards" and field == "path":
        return is_there
    return Path.is_dir if field in _FOLDERS else Path.is_file


def _beside(
    written: str, folder: Path, others: Sequence[Path], where: str, seen: Callable[[Path], bool]
) -> Path | None:
    """What `written` names beside the study file; None where it does not. `others` are the folders
    in which it is looked for otherwise.
    """
    try:
        asked = Path(written).expanduser()
        beside = folder / asked
        if asked.is_absolute():
            return None
        there = seen(beside)
        if written.startswith(("./", "../")):
            if not there and any(
                (place := each / asked).exists() or seen(place) for each in others
            ):
                raise InputError(
                    f"{where}: {written!r} means beside the study file, and there is no {beside}; "
                    f"write {asked.as_posix()} for the one under the data root"
                )
            return beside.resolve() if there else None
        if not there:
            return None
        for other in (each / asked for each in others):
            if (other.exists() or seen(other)) and other.resolve() != beside.resolve():
                raise InputError(
                    f"{where}: {written!r} is there twice, beside the study file ({beside}) and as "
                    f"{other}; write ./{written} for the first, or an absolute path"
                )
    except InputError:
        raise
    except (RuntimeError, OSError, ValueError):  # whoever opens it will say what is wrong
        return None
    return beside.resolve()
