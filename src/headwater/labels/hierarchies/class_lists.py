"""Lists of classes by name: the synsets of ImageNet's releases, from the lists that timm ships, and
lists in files.

timm is found, not imported (its import takes seconds). Node ids are WordNet 3.0's, as in
`open_hierarchy("wordnet")`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from headwater.errors import InputError
from headwater.labels.hierarchies.reading import read_lines, shown

LISTS = {
    "imagenet1k": "imagenet_synsets.txt",  # ILSVRC 2012, 1,000
    "imagenet12k": "imagenet12k_synsets.txt",  # timm's 11,821 of the full set
    "imagenet21k": "imagenet21k_goog_synsets.txt",  # Google's 21,843, of Hong et al. and of ViT
    # 11,221: ImageNet-21k-P (Ridnik et al. 2021) of the fall 2011 release
    "imagenet21k-p": "imagenet21k_miil_synsets.txt",
    # 10,450: the same of the winter 2021 release
    "imagenet21k-p-winter": "imagenet21k_miil_w21_synsets.txt",
    "imagenet22k": "imagenet22k_synsets.txt",  # 21,841, the fall 2011 release, sorted
    # 21,842, Microsoft's, the 1,000 of ILSVRC first
    "imagenet22k-ms": "imagenet22k_ms_synsets.txt",
    "imagenet-a": "imagenet_a_synsets.txt",
    "imagenet-r": "imagenet_r_synsets.txt",
    "mini-imagenet": "mini_imagenet_synsets.txt",
}
"""timm's file of each list."""


def class_list(reference: str | Path, *, where: str = "classes") -> list[str]:
    """The synsets of a list, in its order: one of `LISTS` by name, else a file with a synset a line
    (what follows it after a space is ignored).

    Raises InputError for an unknown name, a line that is no synset (n and eight digits) and one
    that is there twice.
    """
    path = (
        _timm_folder(where) / LISTS[str(reference)] if str(reference) in LISTS else Path(reference)
    )
    if str(reference) not in LISTS and not path.is_file():
        raise InputError(
            f"{where}: {shown(reference)} is neither a list of classes ({', '.join(LISTS)}) nor a "
            "file"
        )
    try:
        return _synsets(path)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def missing(classes: Sequence[str], among: Sequence[str]) -> tuple[str, ...]:
    """The classes that another list has not, in their order.

    ImageNet-1k's n04399382 (teddy) is not among ImageNet-21k's 21,843.
    """
    known = set(among)
    return tuple(name for name in classes if name not in known)


@cache
def synset_titles() -> dict[str, str]:
    """The words of the synsets of ImageNet ("organism, being"), by id, from timm's list of 21,844;
    InputError where timm lacks it.
    """
    path = _timm_folder("titles") / "imagenet_synset_to_lemma.txt"
    titles = {}
    for _, line in read_lines(path):
        name, _, title = line.partition("\t")
        titles[name] = title
    return titles


def _synsets(path: Path) -> list[str]:
    lines: dict[str, int] = {}
    for number, line in read_lines(path):
        match = re.fullmatch(r"(n[0-9]{8})(?:\s.*)?", line.strip())
        if match is None:
            raise InputError(
                f"{path}, line {number}: a synset is n and eight digits, this is {shown(line)}"
            )
        if match[1] in lines:
            raise InputError(
                f"{path}, line {number}: {match[1]} is on line {lines[match[1]]} already; list it "
                "once"
            )
        lines[match[1]] = number
    return list(lines)


def _timm_folder(where: str) -> Path:
    spec = find_spec("timm")
    folder = Path((spec.submodule_search_locations or [""])[0]) / "data" / "_info" if spec else None
    if folder is None or not folder.is_dir():
        raise InputError(
            f"{where}: the lists of ImageNet's classes come with timm, which is not installed or "
            "has no data/_info; give a file instead"
        )
    return folder
