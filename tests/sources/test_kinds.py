"""Kinds of data: one entry each, and nothing falls through."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.registry import SOURCE_KINDS
from headwater.sources import Positions, Source, Table, open_source
from headwater.sources.kinds import SourceKind, SourceWords
from headwater.sources.published.registry import PUBLISHED
from headwater.study import PublishedData, Study


class GreyData(SourceWords):
    kind: Literal["grey"] = "grey"
    images: int = 3


class Grey(Source):
    def __init__(self, name: str, words: GreyData) -> None:
        self.name = name
        self.table = Table(
            ids=np.array([f"{image}" for image in range(words.images)], dtype=object), splits={}
        )

    def image(self, position: int) -> NDArray[np.uint8]:
        return np.full((4, 4, 3), position, dtype=np.uint8)

    def byte_hashes(self, positions: Positions) -> list[str]:
        return [str(position) for position in positions.tolist()]


def _grey(version: int) -> SourceKind[GreyData]:
    return SourceKind(
        name="grey",
        version=version,
        order=99,
        title="grey images",
        words=GreyData,
        needs="nothing",
        offers=(),
        make=lambda name, words, data_root, cache: Grey(name, words),
    )


def _fingerprint(version: int) -> str:
    with SOURCE_KINDS.registered(_grey(version)):
        source = open_source("g", GreyData(images=2), data_root=None, cache=None)
    assert source.table.ids.tolist() == ["0", "1"]
    return source.fingerprint(np.arange(2))


def test_a_source_carries_the_version_of_its_kind_in_its_fingerprint_from_two_on() -> None:
    plain = Grey("g", GreyData(images=2)).fingerprint(np.arange(2))
    assert _fingerprint(1) == plain
    assert len({plain, _fingerprint(2), _fingerprint(3)}) == 3


def test_words_of_an_unknown_kind_are_refused_with_the_nearest(tmp_path: Path) -> None:
    class FolderLike(SourceWords):
        kind: Literal["foldr"] = "foldr"

    with pytest.raises(InputError, match=r"'foldr' is none of .*did you mean 'folder'"):
        open_source("x", FolderLike(), data_root=tmp_path, cache=None)


STUDY = "study: s\ndata: {d: %s}\nbudget: {epochs: 1}\ntasks: {t: {data: d}}\nmethods: [simclr]\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{kind: foldr, path: x}", "data.d: 'foldr' is none of folder, shards, "
        "parquet, huggingface, published, torchvision, "
         "world, mix, view; did you mean 'folder'?"),
        ("{kind: folder, pth: x}", "unknown key 'data.d.pth'; did you mean 'path'?"),
        ("{path: x}", "data.d: say what kind of data it is"),
        ("{kind: published, name: cifar10}", "data.d.name: 'cifar10' is none of caltech101, "),
        ("{kind: published, name: pets, fold: 2}", "`fold` is an option of dtd, not of pets"),
        ("{kind: published, name: dtd, split: cis}", "`split` is an option of cct20, not of dtd"),
    ],
)  # fmt: skip
def test_wrong_words_of_an_entry_are_one_line_that_says_where(words: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Study.parse(STUDY % words, "s.yaml")
    assert str(error.value).startswith("s.yaml, line 2: ") and message in str(error.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_of_the_registry_is_all_that_a_study_needs_to_name_a_set(name: str) -> None:
    assert PublishedData(kind="published", name=name).name == name


def test_every_kind_says_what_it_is() -> None:
    for kind in SOURCE_KINDS:
        assert kind.title and kind.needs and kind.version >= 1
        assert kind.words.model_fields["kind"].annotation == Literal[kind.name]
