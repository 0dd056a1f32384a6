"""Leases in an object store: one object for each unit that somebody has, made by a conditional put,
so that one of those who try at once gets it. Their age is told by the object store's clock.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from headwater.errors import InputError
from headwater.objects import Objects
from headwater.store.leases import BEAT_S, LAPSE_S, Held, Leases, held_of

FOLDER = "leases"


class ObjectLeases(Leases):
    """As `Leases`, of a store that lies at an address."""

    def __init__(
        self,
        objects: Objects,
        *,
        beat_s: float = BEAT_S,
        lapse_s: float = LAPSE_S,
        name: str | None = None,
    ) -> None:
        super().__init__(Path(FOLDER), beat_s=beat_s, lapse_s=lapse_s, name=name)
        self._objects = objects
        self._clock_name = f"{FOLDER}/.clock-{self.owner.token}"

    def units(self) -> list[str]:
        names = [head.name.rpartition("/")[2] for head in self._objects.list(FOLDER)]
        return [name[:-5] for name in names if name.endswith(".json")]

    def held(self, unit: str) -> Held | None:
        head = self._objects.head(self._name(unit))
        said = None if head is None else self._objects.get(self._name(unit))
        if head is None or said is None:
            return None
        held = held_of(said, 0.0)
        if held.owner == self.owner:
            return held
        return replace(held, age_s=self.now() - head.changed)

    def _name(self, unit: str) -> str:
        return f"{FOLDER}/{unit}.json"

    def _made(self, unit: str, text: bytes) -> bool:
        return self._objects.create(self._name(unit), text)

    def _took_away(self, unit: str) -> bool:
        """A lapsed one is removed, if it is still the one that was looked at."""
        head = self._objects.head(self._name(unit))
        held = None if head is None else self.held(unit)
        if head is None or held is None:
            return True
        if not held.lapsed(self._lapse_s):
            return False
        self._lost[unit] = held.lost, held.mark
        gone = json.dumps({"taken_by": self.owner.token}).encode()
        if not self._objects.replace(self._name(unit), gone, head.tag):
            return False  # one of those who want to can do so
        self._remove(unit)
        return True

    def _remove(self, unit: str) -> None:
        with suppress(InputError):  # it lapses
            self._objects.remove(self._name(unit))

    def _show_life(self, unit: str) -> None:
        with suppress(InputError):  # the object store is away for a while
            head, said = self._objects.head(self._name(unit)), self._objects.get(self._name(unit))
            if head is None or said is None or held_of(said, 0.0).owner != self.owner:
                with self._lock:
                    self._held.pop(unit, None)
                return
            self._objects.replace(self._name(unit), said, head.tag)

    def now(self) -> float:
        """Seconds by the clock of the object store; 0 where it does not say, so that nothing
        lapses.
        """
        try:
            self._objects.put(self._clock_name, b"")
            head = self._objects.head(self._clock_name)
        except InputError:
            return 0.0
        return 0.0 if head is None else head.changed

    def _tidy(self) -> None:
        with suppress(InputError):
            self._objects.remove(self._clock_name)
