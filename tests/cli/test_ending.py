"""How commands end: exit codes, signals, closed streams, pipes, and what is said of it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from headwater import files
from headwater.store import Store
from tests.conftest import Cli, Finished, refused, tiny, write_study

COMMAND = [sys.executable, "-m", "headwater"]


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $HW is the command; rc is that of the first command of a pipe."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        env={**os.environ, "HW": " ".join(COMMAND)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_is_a_command_of_python(tmp_path: Path) -> None:
    ended = shell("$HW --help", tmp_path)
    assert ended.returncode == 0
    assert "Usage: headwater" in ended.stdout


def test_a_reader_that_has_had_enough_is_no_failure(finished: Finished, tmp_path: Path) -> None:
    line = f"$HW rows --store {finished.store} | head -1; echo ${{PIPESTATUS[0]}}"
    ended = shell(line, tmp_path)
    assert ended.stdout.startswith("cell,arm,study")
    assert ended.stdout.endswith("\n0\n")
    assert not ended.stderr


def test_a_closed_stdout_is_no_failure(finished: Finished, tmp_path: Path) -> None:
    study = f"{finished.study} --store {finished.store}"
    ended = shell(f"$HW status {study} >&-; echo $? >&2", tmp_path)
    assert ended.stderr == "0\n"


def test_a_full_stdout_is_told(finished: Finished, tmp_path: Path) -> None:
    ended = shell(f"$HW rows --store {finished.store} > /dev/full", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "headwater: stdout: No space left on device\n"


@pytest.mark.slow
def test_a_study_can_come_from_a_pipe(finished: Finished, tmp_path: Path) -> None:
    line = f"$HW status <(cat {finished.study}) --store {finished.store} --json"
    assert '"done": 16' in shell(line, tmp_path).stdout


def test_sigterm_is_a_line_and_143(
    headwater: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the report is made: whatever is under way ends."""
    from headwater.facts import reports

    def stopped(*words: Any, **named: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
        raise AssertionError("still there")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(reports, "report_facts", stopped)
    code, out, err = headwater("report", finished.study, "--store", finished.store)
    assert (code, out) == (143, "")
    assert err == "headwater: stopped by SIGTERM; run the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_closing_line_counts_what_was_done_and_not_what_was_asked(
    headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One arm of two cannot be trained, so its cells cannot be measured."""
    from headwater import work

    words = tiny(methods=["scratch", "supervised"], budget={"steps": 2}, labels=["level:0"])
    words["protocols"] = {"ridge": {"shots": ["full"]}}
    study, store = write_study(tmp_path / "two.yaml", words), tmp_path / "fresh"
    train = work.run_arm

    def failing(session: Any, arm: Any, *rest: Any, **named: Any) -> None:
        if arm.words.method == "supervised":
            raise OSError(errno.ENOSPC, "No space left on device", "arms/x")
        train(session, arm, *rest, **named)

    monkeypatch.setattr(work, "run_arm", failing)
    command = ("run", study, "--store", store, "--device", "cpu", "--engine", "inline", "--quiet")
    code, out, _ = headwater(*command)
    assert code == 1
    asked = "of 2 to do"
    done = [line for line in out.splitlines() if " measured (" in line]
    assert done == [f"1 arm trained ({asked}), 1 cell measured ({asked}); 1 of 2 cells done"]
    assert "arms/x" in out


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The system says nothing of the file where a write fails."""
    path = tmp_path / "rows.csv"
    with pytest.raises(OSError, match="No space left") as error, files.atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(path)
    folder = tmp_path / "arm"
    with pytest.raises(OSError, match="No space left") as error, files.atomic_folder(folder):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(folder)
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_removed_during_a_run_stops_it(
    headwater: Cli, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater import work

    store = tmp_path / "gone"
    train = work.run_arm
    trained = []

    def then_removed(session: Any, arm: Any, *rest: Any, **named: Any) -> None:
        train(session, arm, *rest, **named)
        trained.append(arm.id)
        shutil.rmtree(store)

    words = tiny(methods=["scratch"], seeds=3)
    words["protocols"] = {"ridge": {"shots": ["full"]}}
    study = write_study(tmp_path / "three.yaml", words)
    monkeypatch.setattr(work, "run_arm", then_removed)
    command = ("run", study, "--store", store, "--device", "cpu", "--engine", "inline", "--quiet")
    refused(headwater(*command), str(store), "the store was removed or moved")
    assert len(trained) == 1
    assert not (store / "rows").exists()


def test_a_store_inside_a_source_is_refused_before_it_is_made(
    headwater: Cli, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    words = tiny(data={"mine": {"kind": "folder", "path": str(photos)}}, sources=["mine"])
    words["tasks"] = {"mine": {"data": "mine"}}
    study = write_study(tmp_path / "inside.yaml", words)
    for store in (photos / "store", photos / "a" / "b", photos, tmp_path / "x" / ".." / "photos"):
        result = headwater("run", study, "--store", store)
        refused(result, "inside.yaml, line", "lies inside this folder of images")
    assert sorted(path.name for path in photos.rglob("*")) == ["a"]


def test_a_finished_study_on_a_store_that_may_only_be_read_gives_its_verdict(
    headwater: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*words: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(words[0]))

    monkeypatch.setattr(os, "replace", denied)
    command = ("run", finished.study, "--store", finished.store, "--device", "cpu")
    code, out, err = headwater(*command)
    assert (code, err) == (0, "")
    assert "Verdict" in out
    assert "no report: " in out
    assert "Read-only file system" in out
    asked = headwater("report", finished.study, "--store", finished.store, "-o", "x.html")
    refused(asked, "Read-only file system")


@pytest.mark.slow
def test_a_report_of_another_study_of_the_same_name_is_kept(
    headwater: Cli, store: Path, finished: Finished
) -> None:
    """A study that has grown writes over its own; one that asks for other cells does not."""
    reports = store / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    words = tiny()
    fewer = {**words, "methods": ["scratch", "supervised"]}
    other = {**words, "methods": ["scratch", "simclr"]}

    def report(words: dict[str, Any]) -> str:
        code, out, _ = headwater(
            "report", write_study(store.parent / "s.yaml", words), "--store", store
        )
        assert code == 0
        return Path(out.strip()).name

    assert report(fewer) == "tiny-world.html"
    first = (reports / "tiny-world.html").read_bytes()
    assert report(other) == "tiny-world-2.html"
    assert report(other) == "tiny-world-2.html"
    assert (reports / "tiny-world.html").read_bytes() == first
    assert report(words) == "tiny-world.html"
    assert (reports / "tiny-world.html").read_bytes() != first
    (reports / "tiny-world.cells.json").unlink()
    assert report(words) == "tiny-world-2.html", "whose page it is cannot be known"


def test_names_of_files_and_keys_reach_no_terminal_raw(headwater: Cli, tmp_path: Path) -> None:
    hostile = "a\x1b[31mb\u202ec\x9bd"
    named = tmp_path / f"{hostile}.yaml"
    named.write_text("study: x\n")
    key = tmp_path / "key.yaml"
    key.write_text('study: x\n"k\\e[31m\\u202e": 1\n')
    bare = tmp_path / "photos"
    (bare / hostile).mkdir(parents=True)
    for arguments in (
        ("plan", named),
        ("plan", f"{hostile}"),
        ("plan", key),
        ("rows", "--store", hostile),
        ("report", f"{hostile}.csv"),
        ("run", "--engine", hostile),
        ("plan", "demo", "--device", hostile),
        ("tasks", "--data-root", bare),
        (hostile,),
    ):
        _, out, err = headwater(*arguments)
        said = out + err
        assert said
        assert not set(said) & {"\x1b", "\u202e", "\x9b"}, arguments


def test_store_checks_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.check()
    store.root.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="removed or moved"):
        store.write_rows("c", [])
