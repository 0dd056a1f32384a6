"""Values that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Values by key, each made when it is first asked for; the `most` last asked for are kept, or
    all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._values: dict[Hashable, V] = {}
        self._most = most

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key. What `make` raises is raised, and nothing is kept."""
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        if self._most is not None and len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return value
