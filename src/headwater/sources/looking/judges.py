"""Many files judged at once: by processes, so that a decoder that crashes takes nothing with it, or
by threads where there are few.

Each file is judged by itself, so that the verdicts do not depend on how many judge.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources.pixels.judging import CRASH, Judgement, judge
from headwater.sources.pixels.kept import Kept

FEW = 256
"""So many files or fewer are judged in this process: to start others takes longer [ours]."""
_CHUNK = 64
"""Files per question."""
_COMMAND = (sys.executable, "-m", "headwater.sources.pixels.judging")


def _not_now(why: str) -> InputError:
    return InputError(f"images cannot be opened on this machine now ({why})")


@dataclass(frozen=True)
class Found:
    """What was found of one file: what is wrong, or where its pixels are kept."""

    number: int
    """Its place among the paths."""
    kind: str | None
    converted: tuple[str, ...] = ()
    """What decoding does to one that can be read."""
    kept: Kept | None = None


def judged(
    paths: Sequence[str], image_size: int, *, workers: int, spool: Path | None = None
) -> Iterator[Found]:
    """What is wrong with each file, in the order in which it is found out.

    `workers` processes judge; `spool` is a folder that keeps the pixels of those that can be read.
    Raises InputError where no process can be started, or the machine lacks memory.
    """
    if len(paths) <= FEW:
        try:
            with ThreadPoolExecutor(workers) as pool:
                told = list(pool.map(lambda path: _told(judge(path, image_size)), paths))
        except (OSError, MemoryError) as error:
            raise _not_now(f"{type(error).__name__}: {error}") from None
        yield from (Found(number, *words) for number, words in enumerate(told))
        return
    try:
        if spool is not None:
            spool.mkdir(parents=True, exist_ok=True)
    except OSError:  # a store that may only be read: what is kept saves time and nothing else
        spool = None
    starts: queue.SimpleQueue[int] = queue.SimpleQueue()
    for start in range(0, len(paths), _CHUNK):
        starts.put(start)
    said: queue.SimpleQueue[list[Found] | BaseException | None] = queue.SimpleQueue()
    clerks = [_Clerk(paths, image_size, spool, starts, said) for _ in range(workers)]
    try:
        for clerk in clerks:
            clerk.start()
        working = len(clerks)
        while working:
            heard = said.get()
            if heard is None:
                working -= 1
            elif isinstance(heard, BaseException):
                raise heard
            else:
                yield from heard
    finally:
        while True:  # whoever is at work finds nothing more to do
            with contextlib.suppress(queue.Empty):
                starts.get_nowait()
                continue
            break
        for clerk in clerks:
            clerk.stop()


def _told(judgement: Judgement) -> tuple[str | None, tuple[str, ...]]:
    """What is remembered of a judgement; pixels are not."""
    return judgement.kind, judgement.converted


class _Clerk(threading.Thread):
    """Asks one process, and starts another one where it has died."""

    def __init__(
        self,
        paths: Sequence[str],
        image_size: int,
        spool: Path | None,
        starts: queue.SimpleQueue[int],
        said: queue.SimpleQueue[list[Found] | BaseException | None],
    ) -> None:
        super().__init__(daemon=True)
        self._paths, self._image_size, self._spool = paths, image_size, spool
        self._starts, self._said = starts, said
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        try:
            while True:
                start = self._starts.get_nowait()
                self._said.put(self._asked(start, min(start + _CHUNK, len(self._paths))))
        except queue.Empty:
            self._said.put(None)
        except BaseException as error:
            self._said.put(error)
        finally:
            self.stop()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
            process.wait()

    def _asked(self, start: int, end: int) -> list[Found]:
        """What is wrong with some files; where the process dies of one, that one is found."""
        spool = None if self._spool is None else self._spool / f"{start}-{end}.u8"
        answer = self._answer(
            {
                "paths": list(self._paths[start:end]),
                "image_size": self._image_size,
                "spool": None if spool is None else str(spool),
            }
        )
        if answer is None:
            self.stop()
            if end - start == 1:
                return [Found(start, CRASH)]
            middle = (start + end) // 2
            return self._asked(start, middle) + self._asked(middle, end)
        if "error" in answer:
            raise _not_now(answer["error"])
        found, offset = [], 0
        said = zip(*(answer[key] for key in ("kinds", "converted", "sizes", "sums")), strict=True)
        for number, (kind, converted, size, checksum) in enumerate(said, start):
            kept = None
            if size is not None and spool is not None:
                kept = Kept(spool, offset, size[0], size[1], checksum)
                offset += 3 * size[0] * size[1]
            found.append(Found(number, kind, tuple(converted), kept))
        return found

    def _answer(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """What the process says; None where it died of the question."""
        if self._process is None:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
            if self._line("") is None:
                raise InputError("a process that decodes images could not be started")
        return self._line(json.dumps(question) + "\n")

    def _line(self, text: str) -> dict[str, Any] | None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(text)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        line = process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None
