"""What a newcomer types wrong: each message names the mend, and the mend works as it is written."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cli, write_study
from tests.proposal import folders


class Newcomer:
    """Somebody who types commands and follows what the errors say."""

    def __init__(self, headwater: Cli, home: Path) -> None:
        self.headwater, self.home = headwater, home
        self.file = home / "study.yaml"
        self.words: dict[str, Any] = {
            "study": "mine",
            "data": {name: {"kind": "folder", "path": name} for name in ("ours", "task")},
            "sources": ["ours"],
            "methods": ["scratch", "supervised"],
            "budget": {"steps": 2},
            "seeds": 1,
            "tasks": {"task": {"data": "task"}},
            "protocols": {"ridge": {"shots": ["full"]}},
        }

    def writes(self, **changes: Any) -> None:
        self.words |= changes
        write_study(self.file, self.words)

    def is_told(self, *command: str) -> str:
        """The message of a command that fails, on one line."""
        code, _, err = self.headwater(*(command or ("plan", "study.yaml")))
        assert code == 2, "it should have been refused"
        return " ".join(err.split())

    def takes(self, line: str) -> None:
        """Writes a line of YAML over the key of that name."""
        self.writes(**yaml.safe_load(line))

    def types(self, command: str) -> None:
        words = shlex.split(command)
        assert words[0] == "headwater"
        code, _, err = self.headwater(*words[1:])
        assert code == 0, err

    def is_done(self) -> None:
        self.types("headwater plan study.yaml --device cpu")

    def mends_the_path(self, root: Path, told: str, instead: str) -> None:
        """Is told of the path of `ours` under a data root, and writes what is to stand `instead`: a
        pattern whose group it is.
        """
        said = self.is_told("plan", "study.yaml", "--data-root", str(root))
        assert told in said
        written = re.search(instead, said)
        assert written
        self.words["data"]["ours"]["path"] = written[1]
        self.writes()
        self.types(f"headwater plan study.yaml --device cpu --data-root {root}")


@pytest.fixture
def newcomer(headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newcomer:
    from tests.proposal.test_init import _known

    monkeypatch.setattr("headwater.proposal.timing.measured", _known)
    monkeypatch.setattr(
        "headwater.facts.study.measured", lambda plan, device, **more: _known(plan, device)
    )
    folders.with_splits(tmp_path / "ours")
    folders.with_splits(tmp_path / "task")
    return Newcomer(headwater, tmp_path)


def quoted(message: str, beginning: str = "") -> str:
    """The first text between backquotes that begins so."""
    return next(text for text in re.findall(r"`([^`]+)`", message) if text.startswith(beginning))


def test_1_captions_that_are_not_there(newcomer: Newcomer) -> None:
    newcomer.writes(methods=["scratch", "clip"])
    said = newcomer.is_told()
    assert "clip learns from captions, and there is no text field 'captions'" in said
    newcomer.takes(quoted(said, "sources:"))
    newcomer.is_done()
    newcomer.writes(sources=["ours"])
    newcomer.takes(quoted(said, "methods:"))
    newcomer.is_done()


def test_2_labels_that_are_not_there(newcomer: Newcomer) -> None:
    folders.bare(newcomer.home / "web")
    newcomer.writes(
        data={**newcomer.words["data"], "web": {"kind": "folder", "path": "web"}},
        sources=["ours", "web"],
    )
    said = newcomer.is_told()
    assert "supervised learns from labels (level:0), and this source has none" in said
    lines = re.findall(r"`([^`]+)`", said)
    assert lines[0].startswith("sources: {ours: {}, web: {methods: [simclr]}}")
    newcomer.takes(lines[0])
    newcomer.takes(lines[1])  # simclr is not among the study's methods yet
    newcomer.is_done()
    newcomer.takes(lines[2])
    assert "instance" in lines[2]
    newcomer.is_done()


def test_3_a_folder_that_is_written_wrong(newcomer: Newcomer) -> None:
    newcomer.words["data"]["ours"]["path"] = "oursen"
    newcomer.writes()
    said = newcomer.is_told()
    assert "docs/data.md" not in said
    near = re.search(r"did you mean '([^']+)'", said)
    assert near
    newcomer.words["data"]["ours"]["path"] = near[1]
    newcomer.writes()
    newcomer.is_done()


def test_4_a_folder_of_init_that_is_written_wrong(newcomer: Newcomer) -> None:
    said = newcomer.is_told("init", "our", "--task", "task")
    near = re.search(r"did you mean (\S+)\?", said)
    assert near
    newcomer.types(f"headwater init {near[1]} --task task")


def test_5_init_without_a_task(newcomer: Newcomer) -> None:
    said = newcomer.is_told("init", "ours")
    assert "--task: headwater init photos/ renders/ --task inspection/" in said
    newcomer.types("headwater init ours --task task")


def test_6_init_as_other_tools_have_it(newcomer: Newcomer) -> None:
    said = newcomer.is_told("init", "first.yaml")
    newcomer.types(f"headwater {said.split('or headwater ')[1]}")
    assert (newcomer.home / "first.yaml").is_file()


def test_7_a_key_that_is_written_wrong(newcomer: Newcomer) -> None:
    newcomer.writes(metods=["scratch", "simclr"])
    said = newcomer.is_told()
    near = re.search(r"did you mean '?(\w+)'?", said)
    assert near and "line " in said
    newcomer.words[near[1]] = newcomer.words.pop("metods")
    newcomer.writes()
    newcomer.is_done()


def test_8_a_task_without_a_test_split(newcomer: Newcomer) -> None:
    folders.without_splits(newcomer.home / "more")
    newcomer.writes(
        data={**newcomer.words["data"], "more": {"kind": "folder", "path": "more"}},
        tasks={"more": {"data": "more"}},
    )
    said = newcomer.is_told()
    assert "more has no test images" in said
    newcomer.types(quoted(said, "headwater tasks split"))
    newcomer.words["data"]["more"] |= yaml.safe_load(quoted(said, "split_file:"))
    newcomer.writes()
    newcomer.is_done()


def test_9_more_shots_than_images(newcomer: Newcomer) -> None:
    newcomer.writes(protocols={"ridge": {"shots": [50]}})
    said = newcomer.is_told()
    assert "has 10 training images" in said or "training images" in said
    newcomer.words["tasks"]["task"] |= yaml.safe_load(quoted(said, "cap:"))
    newcomer.writes()
    newcomer.is_done()


def test_10_images_that_cannot_be_read(newcomer: Newcomer) -> None:
    (newcomer.home / "ours" / "train" / "cat" / "traincat0.png").write_text("<html>no</html>")
    newcomer.writes()
    said = newcomer.is_told()
    assert "HTML page: 1 ('train/cat/traincat0.png')" in said
    newcomer.takes(quoted(said, "on_bad_images:"))
    said = newcomer.is_told()  # one of 24 is more than the usual share
    share = re.search(r"\((\d+\.\d+)%\) cannot be read, more than `max_bad_share", said)
    assert share and "raise max_bad_share" in said
    newcomer.takes(f"max_bad_share: {float(share[1]) / 100 + 0.001}")
    newcomer.is_done()


def test_11_a_level_that_is_not_there(newcomer: Newcomer) -> None:
    newcomer.writes(labels=["level:3"])
    said = newcomer.is_told()
    has = re.search(r"this source has (level:\d)", said)
    assert has
    newcomer.writes(labels=[has[1]])
    newcomer.is_done()


def test_12_a_store_among_the_images(newcomer: Newcomer) -> None:
    newcomer.writes()
    said = newcomer.is_told("run", "study.yaml", "--store", "ours/store")
    assert "inside this folder of images" in said and "--store" in said
    newcomer.types(
        "headwater run study.yaml --store elsewhere --device cpu --engine inline --quiet"
    )


def test_13_a_path_that_is_in_two_places(
    newcomer: Newcomer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("root")
    folders.with_splits(root / "ours")
    newcomer.writes()
    newcomer.mends_the_path(root, "is there twice", r"write (\./\S+) for the first")


def test_an_index_file_that_is_in_two_places_is_refused(newcomer: Newcomer) -> None:
    """In the data set's own folder, where it was looked for before, and beside the study."""
    newcomer.types("headwater tasks split task --out split.csv")
    (newcomer.home / "task" / "split.csv").write_text((newcomer.home / "split.csv").read_text())
    newcomer.words["data"]["task"]["split_file"] = "split.csv"
    newcomer.writes(sources=[], methods=["scratch"])
    assert "data.task.split_file: 'split.csv' is there twice" in newcomer.is_told()
    newcomer.words["data"]["task"]["split_file"] = "./split.csv"
    newcomer.writes()
    newcomer.is_done()


def test_a_file_of_a_view_lies_beside_the_study_or_under_the_data_root(
    newcomer: Newcomer,
) -> None:
    classes = ",".join(["", *folders.CLASSES])
    ones = [f"{name}{',1' * len(folders.CLASSES)}" for name in folders.CLASSES]
    table = "\n".join([classes, *ones]) + "\n"
    noise = {"kind": "confusion", "rate": 0.2, "matrix": "confusion.csv"}
    newcomer.writes(views={"noisy": {"noise": noise}}, labels=["noisy"])
    assert "'confusion.csv' is not beside the study file" in newcomer.is_told()
    (newcomer.home / "confusion.csv").write_text(table)
    newcomer.is_done()
    root = newcomer.home / "data"
    for name in ("ours", "task"):
        folders.with_splits(root / name)
        newcomer.words["data"][name]["path"] = f"./{name}"
    (root / "confusion.csv").write_text(table)
    newcomer.writes()
    said = newcomer.is_told("plan", "study.yaml", "--data-root", str(root))
    assert "views.noisy.noise.matrix: 'confusion.csv' is there twice" in said
    noise["matrix"] = "./confusion.csv"
    newcomer.writes()
    newcomer.types(f"headwater plan study.yaml --device cpu --data-root {root}")


def test_a_path_that_means_beside_the_study_means_nowhere_else(newcomer: Newcomer) -> None:
    root = newcomer.home / "data"
    folders.with_splits(root / "far")
    newcomer.words["data"]["ours"]["path"] = "./far"
    newcomer.writes()
    told = "'./far' means beside the study file"
    newcomer.mends_the_path(root, told, r"write (\S+) for the one under the data root")


def test_a_study_is_planned_from_any_folder(
    newcomer: Newcomer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Paths are relative to the study file, whose folder can be moved as a whole."""
    newcomer.writes()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    newcomer.types(f"headwater plan {newcomer.file} --device cpu")
