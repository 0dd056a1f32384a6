"""Data sets of Hugging Face's `datasets` library: folders that it wrote, and sets of the hub.

    root/dataset_dict.json                      save_to_disk of several splits
    root/train/data-00000-of-00002.arrow        which files are current, says the state.json beside
    root/NAME-train.arrow                       a folder of the library's cache
    root/data/train-00000-of-00002.parquet      a copy from the hub

Folders are read without the library. A set of the hub is downloaded and prepared by it, in its own
cache, and that is read in the same way. No script of anybody is run, nothing is unpickled or
unpacked.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from headwater import digests
from headwater.errors import InputError
from headwater.sources.opening import folder_of
from headwater.sources.row_files import Listed, listed_below
from headwater.sources.split_words import exact_split

INSTALL = 'pip install "headwater[hub]"'
_LEAST_MAJOR = 4
"""Of `datasets`: older ones run the scripts of data sets."""
_READ = ("parquet", "arrow", "cache", "imagefolder")
"""The library's readers that bring encoded images and neither unpickle nor unpack; `cache` takes
what was prepared before.
"""
_MOST_JSON_BYTES = 16 << 20
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def files_of(folder: Path, where: str) -> tuple[list[Listed], list[str]]:
    """The files of rows under a folder, and notes on what was left out.

    Raises InputError, opened by `where`, for a folder that has none, that has Parquet and Arrow
    files, or that lacks what its own lists name.
    """
    arrow, parquet = listed_below(folder, ".arrow"), listed_below(folder, ".parquet")
    if arrow and parquet:
        raise InputError(
            f"{where}: {folder} has Arrow files ({arrow[0].path.name}) and Parquet files "
            f"({parquet[0].path.name}), which may hold the same images; keep one kind"
        )
    if not arrow and not parquet:
        raise InputError(
            f"{where}: there is no .arrow or .parquet file in {folder}; name a folder that "
            "`save_to_disk` wrote, or one of Parquet files"
        )
    if parquet:
        return parquet, []
    _check_splits(folder)
    by_folder: dict[Path, list[Listed]] = {}
    for each in arrow:
        by_folder.setdefault(each.path.parent, []).append(each)
    for below in folder.rglob(_STATE):  # those whose files are all gone, too
        by_folder.setdefault(below.parent, [])
    kept = [each for place, beside in by_folder.items() for each in _current(place, beside)]
    left_out = len(arrow) - len(kept)
    notes = []
    if left_out:
        notes.append(
            f"Arrow files that are not of the saved set (left by `map` or an older save) are not "
            f"read: {left_out:,}"
        )
    return sorted(kept, key=lambda each: each.path), notes


def _current(folder: Path, beside: list[Listed]) -> list[Listed]:
    """The Arrow files of one folder that its state.json names, all but caches of `map` where there
    is none.
    """
    path = folder / _STATE
    if not path.is_file():
        return [each for each in beside if not each.path.name.startswith("cache-")]
    state = _read_json(path)
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InputError(f"{path}: does not name its files, as `save_to_disk` does; save it anew")
    named = {each.get("filename") for each in listed}
    by_name = {each.path.name: each for each in beside}
    missing = sorted(str(name) for name in named - set(by_name))
    if missing:
        raise InputError(f"{path}: names {missing[0]!r}, which is not there; copy the whole folder")
    said = re.fullmatch(r"(\w+)(\[[^\]]*\])?", str(state.get("_split")))  # also train[:10%]
    split = (exact_split(said[1]) or "") if said else ""
    return [Listed(by_name[name].path, by_name[name].called, split) for name in sorted(named)]


def _check_splits(folder: Path) -> None:
    """Raises InputError where the list of saved splits names one that is not there."""
    path = folder / _SPLITS
    if not path.is_file():
        return
    splits = _read_json(path).get("splits")
    for split in splits if isinstance(splits, list) else []:
        if not (folder / str(split)).is_dir():
            raise InputError(f"{path}: names the split {split!r}, and there is no such folder")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise digests.Damaged("it is too large")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise digests.Damaged("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({digests.reason(error)})") from None
    return found


# the hub
def prepared(
    asked: str, config: str | None, revision: str | None, data_root: Path | None, where: str
) -> tuple[Path, list[Listed], list[str]]:
    """The folder in the library's cache that holds a set of the hub, its files, after whatever
    download that takes, and notes.

    Raises InputError, opened by `where`, that says why the set cannot be had.
    """
    library = _library(where)
    name = asked
    if asked.startswith(("/", "./", "../", "~")):
        name = str(folder_of(asked, data_root, where).resolve())
    elif Path(asked).exists():  # which the library would take for it
        raise InputError(
            f"{where}: {asked!r} is a folder here, and may be a set of the hub; write ./{asked} or "
            "use `path` for the first, or run in another folder for the second"
        )
    try:
        builder = library.load_dataset_builder(name, config, revision=revision)
        reader = type(builder).__module__.split(".")[-1]
        if reader not in _READ:
            raise InputError(f"{where}: {asked!r} {_advice(reader)}")
        notes = [] if reader != "cache" else [_of_cache(builder, revision, f"{where}: {asked!r}")]
        folder = Path(builder.cache_dir)
        if reader == "imagefolder":  # Arrow would name files, where Parquet holds their bytes
            cache = Path(library.config.HF_DATASETS_CACHE).expanduser()
            folder = cache / "images-in-parquet" / folder.relative_to(cache)
            _without_archives(library, builder, folder, f"{where}: {asked!r}")
        else:
            builder.download_and_prepare()
    except InputError:
        raise
    except Exception as error:  # the library, the hub's client and the network have their own
        raise InputError(
            f"{where}: the data set {asked!r} cannot be had from the hub ({_innermost(error)})"
        ) from None
    ending = ".parquet" if reader == "imagefolder" else ".arrow"
    begin = f"{builder.dataset_name}-"
    files = [
        Listed(each.path, each.called.removeprefix(begin))
        for each in listed_below(folder, ending)
        if each.path.name.startswith(begin)
    ]
    if not files:
        raise InputError(f"{where}: {folder} holds no file of the set {asked!r}; remove the folder")
    return folder, files, notes


def _library(where: str) -> Any:
    """The module `datasets`. Raises InputError where it is missing or too old."""
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise InputError(
            f"{where}: needs the library `datasets`, which cannot be imported "
            f"({digests.reason(error)}); {INSTALL}"
        ) from None
    version = str(getattr(library, "__version__", "0"))
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < _LEAST_MAJOR:
        raise InputError(
            f"{where}: `datasets` {version} runs the scripts of data sets; {INSTALL} brings "
            f"{_LEAST_MAJOR} or later, which does not"
        )
    return library


def _of_cache(builder: Any, revision: str | None, what: str) -> str:
    """What to tell of a set that was prepared before, since the hub cannot be asked. Raises
    InputError where another revision is wanted than it is known to be of.
    """
    addresses = list(builder.info.download_checksums or {})
    if revision is not None and not (
        addresses and all(f"@{revision}/" in address for address in addresses)
    ):
        raise InputError(
            f"{what} was prepared before, the hub cannot be reached, and nothing says that it is "
            f"of the revision {revision!r}; go online, or leave `revision` out"
        )
    return "the hub could not be reached: what was prepared before was taken"


def _advice(reader: str) -> str:
    """What to do with a set that is stored in another way."""
    if reader == "webdataset":
        return "is stored as tars; download them and read them with `kind: shards`"
    return (
        f"is stored as what the library calls {reader!r}, which is not read; those are read whose "
        "images lie in Parquet or Arrow files, or as single files"
    )


def _without_archives(library: Any, builder: Any, folder: Path, what: str) -> None:
    """Prepares a set of single images, as Parquet, where none of its files is an archive."""
    formats: Any = importlib.import_module("datasets.utils.extract").Extractor
    manager = library.DownloadManager(
        dataset_name=builder.dataset_name,
        download_config=library.DownloadConfig(token=builder.token),
        data_dir=builder.config.data_dir,
        base_path=builder.base_path,
    )

    def extract(paths: list[str]) -> list[str]:
        for path in paths:
            if formats.infer_extractor_format(path) is not None:
                raise InputError(
                    f"{what} is stored in archives, which are not unpacked; download it, unpack it "
                    "and read it with `kind: folder`"
                )
        return paths

    def extract_each(paths: Any) -> Any:
        if isinstance(paths, dict):
            return {key: extract_each(each) for key, each in paths.items()}
        return extract([paths])[0] if isinstance(paths, str) else extract(list(map(str, paths)))

    manager.extract = extract_each
    builder.download_and_prepare(str(folder), file_format="parquet", dl_manager=manager)


def _innermost(error: BaseException) -> str:
    """Why, on one line: of an error that was raised for another one, the first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return digests.reason(error)
