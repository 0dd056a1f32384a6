"""Many images judged at once, files or the bytes of images in files of many: by processes, so that
a decoder that crashes takes nothing with it, or by threads where there are few.

Each image is judged by itself, so that the verdicts do not depend on how many judge.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headwater.errors import InputError
from headwater.sources.pixels.judging import CRASH, Judgement, judge, judge_bytes
from headwater.sources.pixels.kept import Kept

FEW = 256
"""So many images or fewer are judged in this process: to start others takes longer [ours]."""
_CHUNK = 64
"""Images per question."""
_COMMAND = (sys.executable, "-P", "-m", "headwater.sources.pixels.judging")


def _not_now(why: str) -> InputError:
    return InputError(f"images cannot be opened on this machine now ({why})")


@dataclass(frozen=True)
class Found:
    """What was found of one image: what is wrong, or where its pixels are kept."""

    number: int
    """Its place among those that were asked for."""
    kind: str | None
    converted: tuple[str, ...] = ()
    """What decoding does to one that can be read."""
    kept: Kept | None = None


class Asked(Protocol):
    """Images to judge, by number."""

    def __len__(self) -> int: ...

    def judged_here(self, number: int, image_size: int) -> Judgement:
        """One of them, judged by this process."""
        ...

    def question(self, start: int, end: int) -> dict[str, Any]:
        """What another process is told of some."""
        ...

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """What it is given behind that."""
        ...


@dataclass(frozen=True)
class Files:
    """Files, by their paths."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def judged_here(self, number: int, image_size: int) -> Judgement:
        return judge(self.paths[number], image_size)

    def question(self, start: int, end: int) -> dict[str, Any]:
        return {"paths": list(self.paths[start:end])}

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        return iter(())


@dataclass(frozen=True)
class Inside:
    """Images in files of many, which this process reads: others are given their bytes."""

    count: int
    read: Callable[[int], bytes | str]
    """The bytes of one, or what is wrong with it."""

    def __len__(self) -> int:
        return self.count

    def judged_here(self, number: int, image_size: int) -> Judgement:
        data = self.read(number)
        return Judgement(data) if isinstance(data, str) else judge_bytes(data, image_size)

    def question(self, start: int, end: int) -> dict[str, Any]:
        return {"sent": end - start}

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """A line for each, {"size": bytes} and these behind it, or {"kind": what is wrong}."""
        for number in range(start, end):
            data = self.read(number)
            if isinstance(data, str):
                yield json.dumps({"kind": data}).encode() + b"\n"
            else:
                yield b'{"size": %d}\n' % len(data)
                yield data


def judged(
    asked: Asked, image_size: int, *, workers: int, spool: Path | None = None
) -> Iterator[Found]:
    """What is wrong with each image, in the order in which it is found out.

    `workers` processes judge; `spool` is a folder that keeps the pixels of those that can be read.
    Raises InputError where no process can be started, or the machine lacks memory.
    """
    if len(asked) <= FEW:
        try:
            with ThreadPoolExecutor(workers) as pool:
                here = pool.map(
                    lambda number: _told(asked.judged_here(number, image_size)), range(len(asked))
                )
                told = list(here)
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
    for start in range(0, len(asked), _CHUNK):
        starts.put(start)
    said: queue.SimpleQueue[list[Found] | BaseException | None] = queue.SimpleQueue()
    clerks = [_Clerk(asked, image_size, spool, starts, said) for _ in range(workers)]
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
        images: Asked,
        image_size: int,
        spool: Path | None,
        starts: queue.SimpleQueue[int],
        said: queue.SimpleQueue[list[Found] | BaseException | None],
    ) -> None:
        super().__init__(daemon=True)
        self._images, self._image_size, self._spool = images, image_size, spool
        self._starts, self._said = starts, said
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        try:
            while True:
                start = self._starts.get_nowait()
                self._said.put(self._asked(start, min(start + _CHUNK, len(self._images))))
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
        """What is wrong with some images; where the process dies of one, that one is found."""
        spool = None if self._spool is None else self._spool / f"{start}-{end}.u8"
        answer = self._answer(
            {
                **self._images.question(start, end),
                "image_size": self._image_size,
                "spool": None if spool is None else str(spool),
            },
            self._images.pieces(start, end),
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

    def _answer(self, question: dict[str, Any], pieces: Iterator[bytes]) -> dict[str, Any] | None:
        """What the process says; None where it died of the question."""
        if self._process is None:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._line(iter(())) is None:
                raise InputError("a process that decodes images could not be started")
        return self._line(itertools.chain([json.dumps(question).encode() + b"\n"], pieces))

    def _line(self, told: Iterator[bytes]) -> dict[str, Any] | None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have said why it ended
            for piece in told:
                process.stdin.write(piece)
            process.stdin.flush()
        line = process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None
