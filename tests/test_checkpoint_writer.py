"""Checkpoints written while training goes on: nothing torn, nothing lost, and what fails is heard
of.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headwater import checkpoint


class Stopped(Exception):
    """What ends a loop."""


class Gate:
    """Stands in for the writing of a file: writes begin, and wait until they are let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let = threading.Semaphore(0), threading.Semaphore(0)
        self.steps: list[int] = []
        write = checkpoint._write

        def held(folder: Path, snapshot: checkpoint.Snapshot) -> None:
            self.steps.append(snapshot[0])
            self.begun.release()
            assert self.let.acquire(timeout=30)
            write(folder, snapshot)

        monkeypatch.setattr(checkpoint, "_write", held)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_changes_after_save_does_not_reach_the_file(
    layout: torch.memory_format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    weights = torch.arange(120.0).reshape(2, 3, 4, 5).contiguous(memory_format=layout)
    scale, meta = torch.tensor(2.0, requires_grad=True), {"curve": [1.0, 2.0]}
    with checkpoint.Writer(tmp_path) as writer:
        writer.save(3, {"w": weights, "tied": weights, "scale": scale}, meta)
        assert gate.begun.acquire(timeout=30)
        with torch.no_grad():
            weights.zero_()
            scale.zero_()
        meta["curve"].append(3.0)
        gate.let.release()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    step, tensors, meta = found
    assert (step, meta) == (3, {"curve": [1.0, 2.0]})
    assert torch.equal(tensors["w"], torch.arange(120.0).reshape(2, 3, 4, 5))
    assert torch.equal(tensors["tied"], tensors["w"])
    assert tensors["scale"].item() == 2.0


def test_save_does_not_wait_for_the_disk_and_the_newest_of_those_that_wait_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    with checkpoint.Writer(tmp_path) as writer:
        for step in range(1, 6):  # none of these returns before the first is written, if save waits
            writer.save(step, {"w": torch.full((4,), float(step))}, {})
            if step == 1:
                assert gate.begun.acquire(timeout=30)
        assert checkpoint.latest(tmp_path) is None
        for _ in range(2):
            gate.let.release()
    assert gate.steps == [1, 5]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found[0], found[1]["w"].tolist()) == (5, [5.0] * 4)


def test_close_waits_for_what_was_saved_and_a_writer_goes_on_after_a_pause(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with checkpoint.Writer(tmp_path) as writer:
        for step in (1, 2):
            writer.save(step, {"w": torch.zeros(100_000)}, {})
            writer.close()
            found = checkpoint.latest(tmp_path)
            assert found is not None
            assert found[0] == step
    assert set(threading.enumerate()) == before


def test_after_an_exception_in_the_loop_what_was_saved_is_written_and_the_exception_is_the_loops(
    tmp_path: Path,
) -> None:
    with pytest.raises(Stopped), checkpoint.Writer(tmp_path) as writer:
        writer.save(1, {"w": torch.zeros(100_000)}, {})
        raise Stopped
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0] == 1


def disk_is_full(*args: Any) -> None:
    raise OSError(28, "No space left on device")


def test_what_fails_to_be_written_is_raised_by_close_or_by_the_next_save_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = checkpoint.Writer(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", disk_is_full)
        writer.save(1, {"w": torch.zeros(4)}, {})
        with pytest.raises(OSError, match="No space left"):
            writer.close()
        writer.close()
        writer.save(2, {"w": torch.zeros(4)}, {})
        assert writer._thread is not None
        writer._thread.join()
        with pytest.raises(OSError, match="No space left"):
            writer.save(3, {"w": torch.zeros(4)}, {})
        with pytest.raises(Stopped), writer:
            writer.save(4, {"w": torch.zeros(4)}, {})
            raise Stopped
    writer = checkpoint.Writer(tmp_path)
    writer.save(5, {"w": torch.zeros(4)}, {})
    writer.close()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0] == 5
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_meta_that_json_cannot_hold_is_refused_by_save_itself(tmp_path: Path) -> None:
    with checkpoint.Writer(tmp_path) as writer, pytest.raises(TypeError):
        writer.save(1, {}, {"w": torch.zeros(1)})


@pytest.mark.parametrize("at", range(1, 13))
def test_a_folder_that_vanishes_at_any_moment_of_a_write_is_no_failure(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finished the arm.

    `at`: before which of the calls that a write makes; the last ones come after it.
    """
    folder, calls = tmp_path / "partial" / "arm", []

    def then_vanish(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(real)
            if len(calls) == at:
                shutil.rmtree(folder)
            return real(*args, **kwargs)

        return call

    with checkpoint.Writer(folder) as writer:
        writer.save(1, {"w": torch.zeros(4)}, {})
        writer.close()
        for module, name in ((Path, "open"), (os, "open"), (os, "fsync"), (os, "replace")):
            monkeypatch.setattr(module, name, then_vanish(getattr(module, name)))
        writer.save(2, {"w": torch.zeros(4)}, {})
        writer.close()
        monkeypatch.undo()
        writer.save(3, {"w": torch.zeros(4)}, {})
    found = checkpoint.latest(folder)
    assert found is not None
    assert found[0] == 3


WRITING = """
import sys, itertools
from pathlib import Path
import torch
from headwater.checkpoint import Writer, latest
with Writer(Path(sys.argv[1])) as writer:
    for step in itertools.count(int(sys.argv[2])):
        tensors = {"w": torch.full((200_000,), float(step)), "v": torch.full((7,), step)}
        writer.save(step, tensors, {"step": step})
        if step % 3 == 0:
            writer.close()
            print(step, flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_what_it_had_written_whole(tmp_path: Path) -> None:
    """What was reported as written, or something newer, is found; and it is of one step in all its
    parts.
    """
    random, step = np.random.default_rng(0), 1
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path), str(step)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(int(random.integers(1, 6)))]
            time.sleep(random.uniform(0, 0.05))
        finally:
            process.kill()
            process.wait()
        assert process.stdout is not None
        with process.stdout:
            told += [int(line) for line in process.stdout.read().splitlines() if line]
        found = checkpoint.latest(tmp_path)
        assert found is not None
        step, tensors, meta = found
        assert step >= told[-1]
        assert meta == {"step": step}
        assert (tensors["w"] == step).all()
        assert (tensors["v"] == step).all()
