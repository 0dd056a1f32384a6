"""Where the files are that a study names: beside the study file, or under the data root."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import InputError
from headwater.sources.kinds import SourceWords
from headwater.study import Study

_FILES = ("split_file", "hierarchy")


def placed(study: Study, name: str, data_root: Path | None) -> SourceWords:
    """The words of a study's `data:` entry, with absolute paths for what lies beside the study
    file; other relative paths stay, and are looked for under the data root (files in the data set's
    own folder before).

    `./` and `../` at the beginning of a path mean beside the study file and nowhere else. Raises
    InputError for a path that is there in two places.
    """
    words: SourceWords = study.data[name]
    found: dict[str, str] = {}
    for field in ("path", *_FILES):
        written = getattr(words, field, None)
        if isinstance(written, str):
            place = _beside(written, study.folder, data_root, f"data.{name}.{field}", field)
            if place is not None:
                found[field] = str(place)
    return words.model_copy(update=found) if found else words


def _beside(
    written: str, folder: Path, data_root: Path | None, where: str, field: str
) -> Path | None:
    """What `written` names beside the study file; None where it does not."""
    try:
        asked = Path(written).expanduser()
        beside = folder / asked
        if asked.is_absolute() or not (beside.is_dir() if field == "path" else beside.is_file()):
            return None
        if written.startswith(("./", "../")):
            return beside.resolve()
        under = None if data_root is None else data_root / asked
        if under is not None and under.exists() and not under.samefile(beside):
            raise InputError(
                f"{where}: {written!r} is there twice, beside the study file ({beside}) and under "
                f"the data root ({under}); write ./{written} for the first, or an absolute path"
            )
    except InputError:
        raise
    except (RuntimeError, OSError, ValueError):  # whoever opens it will say what is wrong
        return None
    return beside.resolve()
