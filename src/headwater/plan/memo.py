"""Values that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Values by key, each made when it is first asked for."""

    def __init__(self) -> None:
        self._values: dict[Hashable, V] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key. What `make` raises is raised, and nothing is kept."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def forget(self) -> None:
        """Lets go of all of them."""
        self._values.clear()
