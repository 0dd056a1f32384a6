"""The one error that means "the input is wrong": shown as a single line, exit code 2, never a
traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

Location = tuple[str | int, ...]
"""A place in a study, as keys and positions in lists: ("tasks", "fine", "labels")."""


class InputError(ValueError):
    """A study, a file or an option is wrong.

    The message says what was wrong, where (file, line, key), and what to do.
    """

    def __init__(self, message: str = "", *, at: Location | None = None) -> None:
        super().__init__(message)
        self.at = at
        """The place in the study that is to blame, where it is known; `Study.located` turns it into
        the file's line.
        """


@contextmanager
def blamed_on(*at: str | int) -> Iterator[None]:
    """An InputError raised within is blamed on this place of the study, unless whoever raised it
    knew a nearer one.
    """
    try:
        yield
    except InputError as error:
        error.at = at if error.at is None else error.at
        raise


class Unreachable(InputError):
    """Something that lies elsewhere did not answer after many tries; it may later."""


class Stopped(Exception):
    """Asked to stop, and what was done so far is kept: no failure."""


_PASSING = frozenset(
    (
        errno.EIO,
        errno.ESTALE,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ECONNABORTED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
    )
)
_CROWDED = ("OutOfMemoryError", "AcceleratorError")
"""Classes of torch, which is not imported here."""


def may_pass(error: BaseException) -> bool:
    """Whether the same work may succeed a little later: a disk or a network that was away, memory
    that others had.
    """
    if isinstance(error, Unreachable | MemoryError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING
    return any(kind.__name__ in _CROWDED for kind in type(error).__mro__)
