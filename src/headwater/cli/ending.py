"""How a command ends: exit codes, the one line of an error, signals, and streams that are closed.

0 done, 1 some cells failed, 2 bad input or a file that cannot be read or written (one line), 130
stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headwater import files, plain
from headwater.errors import InputError

_GO_ON = "run the same command again to go on"


class Terminated(BaseException):
    """SIGTERM came. No Exception, so that nothing takes it for a failure of its own."""


def guarded(run_app: Callable[..., object]) -> int:
    """The exit code of a command; what went wrong is said in one line on stderr."""
    _open_streams()
    try:
        with _heard():
            code = run_app(standalone_mode=False, prog_name="headwater")
            sys.stdout.flush()
    except InputError as error:
        return _refused(error)
    except Terminated:
        return _say(f"stopped by SIGTERM; {_GO_ON}", 143)
    except (BrokenPipeError, _Unheard):
        return _unheard()
    # A full disk, a folder without permission: no input of ours, but a line says more than a
    # traceback
    except OSError as error:
        return _refused(_of_system(error))
    except Exception as error:
        usage = getattr(
            error, "format_message", None
        )  # typer's usage errors; their class has moved between its versions
        if usage is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "headwater")
        return _refused(f"{usage()} See `{command} --help`.")
    if code == 130:  # what typer makes of Ctrl-C
        return _say(f"stopped; {_GO_ON}", 130)
    return code if isinstance(code, int) else 0


_MENDS = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in your quota of its disk, or have it raised",
    errno.EROFS: "let its disk be written to, or name another folder",
    errno.EIO: "its disk fails: look at what the system says of it, or name another folder",
    errno.ESTALE: "its server has lost it: see that it can be read again",
}
"""What helps against what a disk does."""


def _of_system(error: OSError) -> str:
    """What the system refused, of which file, and what helps."""
    path = error.filename if error.filename2 is None else error.filename2
    reason = error.strerror or str(error) or type(error).__name__
    mend = _MENDS.get(error.errno or 0)
    if mend is not None and path not in ("stdout", "stderr"):
        reason = f"{reason}; {mend}, and {_GO_ON}"
    if path is not None:
        return f"{path}: {reason}"
    return f"{reason} (the system does not say which file)"


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Within it SIGTERM is `Terminated`, where this is the thread that may say so."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the tidying up
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


class _Unheard(BaseException):
    """Whoever read stdout has gone. No OSError, of which typer makes an exit code of 1."""


class _Named(io.TextIOWrapper):
    """A stream whose errors say which one it is, as those of files do."""

    called = ""

    def write(self, text: str) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            with files.blamed_on_file(Path(self.called)):
                yield
        except BrokenPipeError:
            raise _Unheard from None


def _open_streams() -> None:
    """A stream that was closed by whoever started this takes what is written, and drops it; letters
    that an encoding lacks are written out.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif type(stream) is io.TextIOWrapper:
            encoding, by_line = stream.encoding, stream.line_buffering
            named = _Named(
                stream.detach(),
                encoding=encoding,
                errors="backslashreplace",
                line_buffering=by_line,
            )
            named.called = name
            setattr(sys, name, named)


def _unheard() -> int:
    """Whoever read stdout has had enough (`headwater rows | head -1`): that is no failure."""
    _drop_stdout()
    return 0


def _drop_stdout() -> None:
    """What stdout still holds goes nowhere, so that Python does not complain of it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(error: object) -> int:
    if not _flushed():
        _drop_stdout()
    return _say(str(error), 2)


def _flushed() -> bool:
    """Whether stdout takes what was written to it."""
    try:
        sys.stdout.flush()
    except (OSError, _Unheard):
        return False
    return True


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError, _Unheard):
        print(f"headwater: {plain.line(text)}", file=sys.stderr)
    return code
