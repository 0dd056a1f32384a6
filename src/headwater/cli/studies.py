"""The studies that a command can be given: files in this folder and shipped ones, by their names,
and by what somebody nearly typed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from headwater import plain, wings
from headwater.errors import InputError

_SUFFIXES = (".yaml", ".yml")
_MOST_FILES = 200
"""Files of a folder that are looked at."""


def shipped_studies() -> dict[str, Path]:
    """The studies inside the package and its wings, by name."""
    folders = [Path(__file__).parents[1] / "studies", *(wing.studies for wing in wings.opened())]
    studies = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return dict(sorted(studies.items()))


SHIPPED = ", ".join(shipped_studies())


def study_path(name: str) -> Path:
    """The file of a study that is named: a file, or a shipped one.

    Raises InputError where there is neither, with what is near.
    """
    path, shipped = Path(name), shipped_studies()
    if path.exists() or path.is_symlink():
        return path
    if name in shipped:
        return shipped[name]
    beside = [str(path.parent / each.name) for each in _files(path.parent)]
    near = near_names(name, [*beside, *shipped])
    advice = f"; did you mean {near}?" if near else f"; shipped studies are {SHIPPED}"
    raise InputError(
        f"{name}: there is no such study file{advice} (`headwater init` writes one to start from)"
    )


def near_names(name: str, known: Iterable[str]) -> str:
    """The known names that are like one, by their last part without its suffix: `a`, or `a or b`;
    empty where none is.
    """
    by_stem: dict[str, list[str]] = {}
    for each in known:
        by_stem.setdefault(Path(each).stem.casefold(), []).append(each)
    close = difflib.get_close_matches(Path(name).stem.casefold(), list(by_stem), n=2, cutoff=0.6)
    near = [each for stem in close for each in by_stem[stem]]
    return " or ".join(near[:2])


def _files(folder: Path) -> list[Path]:
    """The files of a folder that may be studies, in order."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError:
        return []
    return [path for path in found if path.is_file()][:_MOST_FILES]


def studies_here() -> list[Path]:
    """The files of this folder that are studies: YAML with a key `study`, whatever else is wrong
    with them.
    """
    from headwater.study.file import read_text, tree_of

    found = []
    for path in _files(Path()):
        try:
            keys = tree_of(read_text(path), str(path)).value
        except InputError:
            continue
        if "study" in keys:
            found.append(path)
    return found


def what_can_run() -> Iterator[str]:
    """Lines that say what `headwater run` can be given."""
    here = studies_here()
    yield "headwater: run what? Name a study:"
    for path in here:
        yield f"  headwater run {plain.line(path)}"
    if not here:
        yield "  (no file of this folder is a study; `headwater init` writes one)"
    yield "or one that is shipped:"
    for name in shipped_studies():
        yield f"  headwater run {name}"


def complete_study(incomplete: str) -> list[str]:
    """Studies whose names begin with what was typed so far, for the completion of a shell."""
    folder, slash, _ = incomplete.rpartition("/")
    beside = _files(Path(folder + slash))
    files = [f"{folder}{slash}{path.name}" for path in beside]
    return [name for name in (*files, *shipped_studies()) if name.startswith(incomplete)]
