"""Files that lie in an object store (S3 and its like) or on a web server: a client that asks again
where a request fails for a reason that may pass, and a folder of objects.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from headwater import digests, files
from headwater.errors import InputError, Unreachable

T = TypeVar("T")
TRIES = 8
FIRST_WAIT_S = 0.1
"""Before a request is asked again; twice as long each time [ours]."""
STALLED_S = 10.0
"""Without a byte for so long, a request is asked again [ours]."""
_LONGEST_S = 600.0
_AT_ONCE = 16
"""Requests that are under way together [ours]."""
_KINDS = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_NO_BUCKET = re.compile(rf"({'|'.join(_KINDS)}):$", re.IGNORECASE)
"""What a path makes of `s3://`."""


class Missing(Exception):
    """There is no such file."""


class Cut(Exception):
    """Less came than was asked for."""


def address_of(given: str | Path) -> str | None:
    """An address in an object store, without a slash at its end; None for what is a path.

    A path that was made of an address lost a slash: it is understood as well. Raises InputError for
    an address of another kind, or without a bucket.
    """
    found = files.ADDRESS.match(str(given)) or _NO_BUCKET.match(str(given))
    if found is None:
        return None
    kind, rest = found.group(1).lower(), str(given)[found.end() :].rstrip("/")
    if kind not in _KINDS:
        raise InputError(
            f"{kind}://{rest}: nothing can be kept at an address of this kind; s3://, gs:// and "
            "az:// are read and written, and folders"
        )
    if not rest or rest.startswith("/"):
        raise InputError(f"{kind}://{rest}: names no bucket; write {kind}://BUCKET/FOLDER")
    return f"{kind}://{rest}"


def client(base: str, where: str) -> Any:
    """What obstore asks the files below an address by. Raises InputError that begins with `where`
    for an address that it does not understand.
    """
    from obstore.store import from_url

    plain = base.lower().startswith("http://") or os.environ.get("AWS_ENDPOINT_URL", "").startswith(
        "http://"
    )
    words = {
        "allow_http": plain,
        "read_timeout": timedelta(seconds=STALLED_S),
        "timeout": timedelta(seconds=_LONGEST_S),
    }
    backoff = {
        "init_backoff": timedelta(seconds=FIRST_WAIT_S),
        "max_backoff": timedelta(seconds=5),
    }
    retry = {"max_retries": TRIES, "backoff": backoff, "retry_timeout": timedelta(seconds=120)}
    try:
        make: Any = from_url  # its overloads name the words of each kind of store
        return make(base, client_options=words, retry_config=retry)
    except Exception as error:  # a word that it does not know, credentials that are missing
        raise InputError(f"{where}: {base} cannot be read ({digests.reason(error)})") from None


def asked(
    ask: Callable[[], T], refused: Callable[[str], InputError], tries: int | None = None
) -> T:
    """What a request gives, asked again where it fails for a reason that may pass, `tries` times in
    all (TRIES).

    Raises Missing for a file that is not there, and what `refused` makes of the reason in the end.
    """
    import obstore.exceptions as kinds

    final = (
        kinds.PermissionDeniedError,
        kinds.UnauthenticatedError,
        kinds.InvalidPathError,
        kinds.NotSupportedError,
        kinds.UnknownConfigurationKeyError,
    )
    most = tries or TRIES
    for attempt in range(most):
        try:
            return ask()
        except FileNotFoundError:
            raise Missing from None
        except (kinds.BaseError, Cut, OSError, ValueError) as error:
            if isinstance(error, (kinds.AlreadyExistsError, kinds.PreconditionError)):
                raise
            if isinstance(error, final) or attempt == most - 1:
                raise refused(digests.reason(error)) from None
            time.sleep(FIRST_WAIT_S * 2**attempt)
    raise AssertionError


@dataclass(frozen=True)
class Head:
    """What is known of an object without its bytes."""

    name: str
    """Below the folder's address."""
    bytes: int
    changed: float
    """By the clock of the object store, seconds since 1970; of S3 to a second."""
    tag: str
    """Another one where the bytes are others."""


class Objects:
    """The objects below one address, by their names. Thread-safe.

    Every method raises Unreachable, an InputError, where the object store does not answer after
    many tries, or refuses.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = client(f"{address}/", address)

    def get(self, name: str, tries: int | None = None) -> bytes | None:
        """The bytes of an object; None where there is none. `tries`: less than for others, where
        somebody waits who should hear soon.
        """
        import obstore

        return self._found(lambda: bytes(obstore.get(self._client, name).bytes()), tries)

    def bring(self, name: str, path: Path) -> bool:
        """Writes an object to a file, whole or not at all; whether it was there."""
        import obstore

        def brought() -> bool:
            answer = obstore.get(self._client, name)
            size = int(answer.meta["size"])
            with files.atomic_path(path) as temp:
                with temp.open("wb") as file:
                    for part in answer.stream():
                        file.write(part)
                if temp.stat().st_size != size:
                    raise Cut(f"{temp.stat().st_size:,} of {size:,} bytes came")
            return True

        return self._found(brought) or False

    def bring_all(self, wanted: Mapping[str, Path]) -> None:
        """`bring` of many, some at a time; those that are not there are passed over."""
        self._many(lambda each: self.bring(*each), wanted.items())

    def put(self, name: str, data: bytes | Path) -> None:
        """Writes an object, in place of one that was there."""
        import obstore

        self._asked(lambda: obstore.put(self._client, name, data))

    def put_all(self, given: Mapping[str, bytes | Path]) -> None:
        """`put` of many, some at a time."""
        self._many(lambda each: self.put(*each), given.items())

    def create(self, name: str, data: bytes) -> bool:
        """Writes an object where there is none; whether it was written, by us: one of those who
        try at once does it.
        """
        return self._put_if(name, data, "create")

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        """Writes an object in place of one that still has this tag; whether it was."""
        return self._put_if(name, data, {"e_tag": tag})

    def _put_if(self, name: str, data: bytes, mode: Any) -> bool:
        import obstore
        import obstore.exceptions as kinds

        def put() -> bool:
            try:
                obstore.put(self._client, name, data, mode=mode, use_multipart=False)
            except (kinds.AlreadyExistsError, kinds.PreconditionError, FileNotFoundError):
                # an answer that was lost, of a request that was done and asked again
                return self.get(name) == data
            return True

        return self._asked(put)

    def head(self, name: str) -> Head | None:
        """What is known of an object; None where there is none."""
        import obstore

        return self._found(lambda: _head(obstore.head(self._client, name)))

    def heads(self, names: Iterable[str]) -> list[Head]:
        """`head` of many, some at a time; those that are not there are passed over."""
        found: list[Head | None] = []
        self._many(lambda name: found.append(self.head(name)), names)
        return [head for head in found if head is not None]

    def remove(self, name: str) -> None:
        """Nothing happens where it is not there."""
        import obstore

        self._found(lambda: obstore.delete(self._client, name))

    def remove_all(self, names: Iterable[str]) -> None:
        """`remove` of many, some at a time."""
        self._many(self.remove, names)

    def list(self, folder: str = "") -> list[Head]:
        """All below a folder, at any depth, by name; all of the address where it is empty."""
        import obstore

        def listed() -> list[Head]:
            found: Any = obstore.list(self._client, prefix=folder or None, chunk_size=1000)
            return [_head(each) for part in found for each in part]

        return sorted(self._asked(listed), key=lambda head: head.name)

    def folders(self, folder: str) -> set[str]:
        """Names of the folders right below a folder."""
        import obstore

        def listed() -> set[str]:
            found: Any = obstore.list_with_delimiter(self._client, prefix=f"{folder}/")
            return {str(each).rstrip("/").rpartition("/")[2] for each in found["common_prefixes"]}

        return self._asked(listed)

    def is_empty(self) -> bool:
        """Whether there is nothing below the address."""
        import obstore

        def listed() -> bool:
            found: Iterator[Any] = iter(obstore.list(self._client, chunk_size=1))
            return not next(found, None)

        return self._asked(listed)

    def _found(self, ask: Callable[[], T], tries: int | None = None) -> T | None:
        try:
            return self._asked(ask, tries)
        except Missing:
            return None

    def _asked(self, ask: Callable[[], T], tries: int | None = None) -> T:
        return asked(ask, self._refused, tries)

    def _refused(self, reason: str) -> InputError:
        if "invalid path" in reason:
            helps = "an object below it has a name that no path can have; remove that object"
        else:
            helps = (
                "look at the network, at the address of the server (AWS_ENDPOINT_URL where it is "
                "not the usual one) and at the credentials in the environment"
            )
        return Unreachable(f"{self.address}: the object store fails ({reason}); {helps}")

    @staticmethod
    def _many(work: Callable[[Any], object], all_of: Iterable[Any]) -> None:
        todo = list(all_of)
        if len(todo) < 2:
            for each in todo:
                work(each)
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(todo))) as pool:
            for _ in pool.map(work, todo):
                pass


def _head(said: Any) -> Head:
    return Head(
        str(said["path"]),
        int(said["size"]),
        said["last_modified"].timestamp(),
        str(said["e_tag"]),
    )
