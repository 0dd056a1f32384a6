"""When a run will be done: the cost model's seconds of what is left, corrected by what was seen of
this run so far, played through the schedule.

Each kind of work (training by a method, opening a task, searching for copies, cells of a protocol)
has a factor of its own: seen over expected seconds, drawn to the factor of its group, and that to
the factor of all, by as much as one typical piece. So the first training tells something of the
others, and little of fine-tuning. A unit under way counts as far as it is.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headwater.engines.schedule import Event, Pending, Schedule, Unit

if TYPE_CHECKING:
    from headwater.cost import Expected, Piece

_OLD_S = 1.0
"""So long a forecast serves, where nothing ends."""
_SHARE = 0.02
"""Of the time that passes, what making it anew may take: so it serves longer where that is much."""
_SURE = 0.1
"""From this share of its steps on, a training is told by its own speed alone [ours]."""
_TELLING = 0.02
"""From this share on it says anything: before, its first slow batches are all there is [ours]."""
_HALF_S, _HALF_OF_RUN = 60.0, 0.25
"""What was seen counts for half after so many seconds, or this share of the run so far [ours]."""
_OVERDUE = 0.15
"""What is past its time takes so much of its time again [ours]."""

Key = tuple[str, str | None]
Kind = tuple[str, str]


def _key(unit: Unit) -> Key:
    return unit.arm.id, unit.task


@dataclass
class _Sums:
    seen: float = 0.0
    expected: float = 0.0

    at: float = 0.0

    def add(self, seen: float, expected: float) -> None:
        self.seen += seen
        self.expected += expected

    def faded(self, now: float, half_s: float) -> _Sums:
        """What is older counts for less: half of it after `half_s`. A neighbour's work on the same
        cores comes and goes.
        """
        kept = 0.5 ** ((now - self.at) / half_s)
        return _Sums(kept * self.seen, kept * self.expected, now)


@dataclass
class _Busy:
    """A unit that a worker has."""

    unit: Unit
    began: float
    heard: float
    """When it began, or its last cell was done."""
    searches: list[Piece]
    """Those that nobody had done when it began."""
    first: tuple[Piece, ...]
    """What it takes besides as the first unit of its worker."""
    share: float = 0.0
    """Of a training's steps."""
    told_at: float = 0.0
    """When `share` was true."""
    cells: set[str] = field(default_factory=set)
    """Done ones."""
    place: int = 0
    """In the unit, of the first cell that may not be done."""
    left: dict[Kind, float] = field(default_factory=dict)
    """By kind of piece, expected seconds of the cells that are not done."""

    def following(self) -> str | None:
        """The first cell that is not done; None where all are."""
        of_unit = self.unit.cells
        while self.place < len(of_unit) and of_unit[self.place].id in self.cells:
            self.place += 1
        return of_unit[self.place].id if self.place < len(of_unit) else None


class Forecast:
    """Hears of a run's events, and says how long it will take from now. `clock` is in seconds."""

    def __init__(
        self,
        todo: Pending,
        expected: Expected,
        workers: int,
        *,
        crowded: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`crowded` is what everything is multiplied by before any of it was seen: others work on
        the same cores.
        """
        self._expected, self._workers, self._clock = expected, workers, clock
        self._crowded = crowded
        self._schedule = Schedule(todo)
        self._began = clock()
        self._busy: dict[int, _Busy] = {}
        self._warm: set[int] = set()
        """Workers that have had a unit."""
        self._seen: dict[tuple[str, ...], _Sums] = {}
        self._typical = _typical(expected)
        self._found: set[tuple[str, str]] = set()
        """Searches that are done."""
        self._started = False
        self._made_at, self._took = -1.0, 0.0
        self._stale = True
        """Whether something began or ended since."""
        self._ends: dict[str, float] = {}
        self._last = 0.0
        """When the last of them is."""
        self._of_unit: dict[Key, tuple[int, dict[Kind, float]]] = {}
        """By unit, the number of its cells, and their seconds by kind."""
        self._factors: dict[Kind, float] = {}
        """By kind of piece, while what was seen stays the same."""

    def heard(self, event: Event) -> None:
        """Takes in what happened."""
        now, unit = self._clock(), event.unit
        if event.worker < 0:
            self._settled(event)
            return
        if event.kind == "started":
            self._start(event.worker, unit, now)
            return
        busy = self._busy.get(event.worker)
        if busy is None or _key(busy.unit) != _key(unit):
            return
        if event.kind == "progress":
            busy.share = event.fields["step"] / max(1, event.fields["steps"])
            busy.told_at = now
        elif event.kind == "cell":
            self._cell(busy, event.fields["cell"], now)
        elif event.kind in ("finished", "failed", "retried", "died"):
            self._end(event, busy, now)

    @property
    def made_at(self) -> float:
        """When it last was made anew, by its clock."""
        return self._made_at

    def left(self) -> float:
        """Seconds until everything is done."""
        since = self._since()
        return max(0.0, self._last - since)

    def ends(self) -> dict[str, float]:
        """By arm's id, seconds until all that is to do of it is done."""
        since = self._since()
        return {arm: max(0.0, end - since) for arm, end in self._ends.items()}

    def _since(self) -> float:
        """Seconds since the forecast was made, which it is anew where that is due."""
        now = self._clock()
        if self._is_due(now):
            self._ends, self._made_at, self._stale = self._played(now), now, False
            self._last = max(self._ends.values(), default=0.0)
            self._took = self._clock() - now
        return now - self._made_at

    def _is_due(self, now: float) -> bool:
        if self._made_at < 0:
            return True
        if not self._busy and not self._schedule.ready:  # the end, which takes no time
            return self._stale
        since = now - self._made_at
        return since >= self._took / _SHARE and (self._stale or since > _OLD_S)

    def unit_left(self, worker: int) -> float | None:
        """Seconds until a worker's unit is done; None where it has none."""
        busy = self._busy.get(worker)
        return None if busy is None else self._left_of(busy, self._clock())

    def _settled(self, event: Event) -> None:
        """What another process did, or failed at."""
        if event.kind in ("finished", "failed") and self._schedule.leave(event.unit):
            self._stale = True
            if event.kind == "failed":
                self._schedule.failed(event.unit, "")
            else:
                self._schedule.finished(event.unit)

    # what was seen
    def _start(self, worker: int, unit: Unit, now: float) -> None:
        searches = [] if unit.task is None else self._searches((unit.arm.id, unit.task))
        first = () if worker in self._warm else (self._expected.first,)
        self._warm.add(worker)
        busy = _Busy(unit, now, now, searches, first)
        busy.left = dict(self._cells_of(unit))
        self._busy[worker] = busy
        self._schedule.leave(unit)
        if not self._started:
            self._started = self._stale = True

    def _cell(self, busy: _Busy, cell: str, now: float) -> None:
        pieces = self._step_pieces(busy, cell)
        self._saw(pieces, now - busy.heard)
        self._found |= {piece.kind for piece in pieces if piece.kind[0] == "search"}
        busy.heard = now
        if cell not in busy.cells:
            busy.cells.add(cell)
            piece = self._expected.cells[cell]
            busy.left[piece.kind] -= piece.seconds

    def _end(self, event: Event, busy: _Busy, now: float) -> None:
        del self._busy[event.worker]
        self._stale = True
        if event.kind == "died":
            self._warm.discard(event.worker)
            self._schedule.ready.appendleft(busy.unit)
        elif event.kind == "retried":
            self._schedule.ready.appendleft(busy.unit)
        elif event.kind == "failed":
            self._schedule.failed(busy.unit, "")
        else:
            if busy.unit.task is None:
                self._saw(self._training(busy), now - busy.began)
            self._schedule.finished(busy.unit)

    def _saw(self, pieces: Iterable[Piece], seconds: float) -> None:
        """Pieces that took so long together: each its part."""
        pieces, now = list(pieces), self._clock()
        half_s = max(_HALF_S, _HALF_OF_RUN * (now - self._began))
        whole = sum(piece.seconds for piece in pieces)
        for piece in pieces:
            for level in _levels(piece.kind):
                sums = self._seen.get(level, _Sums(at=now)).faded(now, half_s)
                self._seen[level] = sums
                self._factors.clear()
                sums.add(seconds * piece.seconds / whole, piece.seconds)

    def _step_pieces(self, busy: _Busy, cell: str) -> list[Piece]:
        """What lies between what was heard last of a unit and a cell of it."""
        key = (busy.unit.arm.id, str(busy.unit.task))
        opened = [*busy.first, self._expected.opened[key], *busy.searches]
        return [*([] if busy.cells else opened), self._expected.cells[cell]]

    def _training(self, busy: _Busy) -> list[Piece]:
        """What a training is made of."""
        return [*busy.first, self._expected.arms[busy.unit.arm.id]]

    def _searches(self, key: tuple[str, str]) -> list[Piece]:
        return [piece for piece in self._expected.searched[key] if piece.kind not in self._found]

    # what it tells of the rest
    def _seconds(self, pieces: Iterable[Piece]) -> float:
        return sum(piece.seconds * self._factor(piece.kind) for piece in pieces)

    def _of_kinds(self, seconds: Mapping[Kind, float]) -> float:
        return sum(each * self._factor(kind) for kind, each in seconds.items())

    def _factor(self, kind: Kind) -> float:
        if kind in self._factors:
            return self._factors[kind]
        factor = self._crowded
        for level in reversed(_levels(kind)):
            sums = self._seen.get(level)
            if sums is not None:
                drawn = self._typical[level]
                factor = (sums.seen + drawn * factor) / (sums.expected + drawn)
        self._factors[kind] = factor
        return factor

    def _cells_of(self, unit: Unit) -> dict[Kind, float]:
        """Expected seconds of the cells of a unit, by kind."""
        key, number = _key(unit), len(unit.cells)
        known = self._of_unit.get(key)
        if known is None or known[0] != number:  # others have done a part of it
            sums: dict[Kind, float] = {}
            for cell in unit.cells:
                piece = self._expected.cells[cell.id]
                sums[piece.kind] = sums.get(piece.kind, 0.0) + piece.seconds
            self._of_unit[key] = known = (number, sums)
        return known[1]

    def _left_of(self, busy: _Busy, now: float) -> float:
        """Seconds until a unit under way is done."""
        unit = busy.unit
        if unit.task is None:
            whole, first = self._seconds(self._training(busy)), self._seconds(busy.first)
            spent = now - busy.began
            if busy.share >= _TELLING:
                own = first + max(0.0, busy.told_at - busy.began - first) / busy.share
                trust = min(1.0, busy.share / _SURE)
                whole = trust * own + (1 - trust) * whole
            return _rest(whole, spent)
        following = busy.following()
        if following is None:
            return 0.0
        one = self._seconds([self._expected.cells[following]])
        after = max(0.0, self._of_kinds(busy.left) - one)
        now_at = self._seconds(self._step_pieces(busy, following))
        return _rest(now_at, now - busy.heard) + after

    def _duration(self, unit: Unit, searched: set[tuple[str, str]]) -> float:
        """Of a unit that nobody has begun; what it searches is in `searched` afterwards."""
        if unit.task is None:
            return self._seconds([self._expected.arms[unit.arm.id]])
        key = (unit.arm.id, unit.task)
        searches = [piece for piece in self._searches(key) if piece.kind not in searched]
        searched |= {piece.kind for piece in searches}
        before = self._seconds([self._expected.opened[key], *searches])
        return before + self._of_kinds(self._cells_of(unit))

    def _played(self, now: float) -> dict[str, float]:
        """By arm's id, seconds until its last unit is done: the rest of the run, played."""
        with_partial, kept = self._with_what_is_under_way(now), self._seen
        self._seen, factors, self._factors = with_partial, self._factors, {}
        try:
            return self._play(now)
        finally:
            self._seen, self._factors = kept, factors

    def _play(self, now: float) -> dict[str, float]:
        schedule, searched = self._schedule.copy(), set[tuple[str, str]]()
        number = itertools.count()
        start = self._crowded * self._expected.start_s
        start = 0.0 if self._started else _rest(start, now - self._began)
        heap: list[tuple[float, int, Unit | None]] = [
            (self._left_of(busy, now), next(number), busy.unit) for busy in self._busy.values()
        ]
        idle_workers = max(0, self._workers - len(self._busy))
        cold = max(0, self._workers - len(self._warm))
        first = self._seconds([self._expected.first])
        heap += [
            (start + (first if place < cold else 0.0), next(number), None)
            for place in range(idle_workers)
        ]
        for busy in self._busy.values():
            if not busy.cells:
                searched |= {piece.kind for piece in busy.searches}
        heapq.heapify(heap)
        ends: dict[str, float] = {}
        idle = 0
        while heap:
            at, _, unit = heapq.heappop(heap)
            idle += 1
            if unit is not None:
                ends[unit.arm.id] = max(at, ends.get(unit.arm.id, 0.0))
                schedule.finished(unit)
            while idle and schedule.ready:
                following = schedule.ready.popleft()
                done = at + self._duration(following, searched)
                heapq.heappush(heap, (done, next(number), following))
                idle -= 1
        return ends

    def _with_what_is_under_way(self, now: float) -> dict[tuple[str, ...], _Sums]:
        """What was seen, with trainings under way as far as they are, and with what takes longer
        than expected by now.
        """
        whole = {level: replace(sums) for level, sums in self._seen.items()}
        for busy in self._busy.values():
            if busy.unit.task is None:
                pieces = [self._expected.arms[busy.unit.arm.id]]
                first = self._seconds(busy.first)
                share, spent = busy.share, max(0.0, busy.told_at - busy.began - first)
                if share < _TELLING:
                    share, spent = 1.0, now - busy.began
                    pieces = self._training(busy)
                    if spent < self._seconds(pieces):
                        continue
            else:
                following = busy.following()
                if following is None:
                    continue
                pieces = self._step_pieces(busy, following)
                share, spent = 1.0, now - busy.heard
                if spent < self._seconds(pieces):
                    continue
            total = sum(piece.seconds for piece in pieces)
            for piece in pieces:
                for level in _levels(piece.kind):
                    part = piece.seconds / total
                    whole.setdefault(level, _Sums()).add(spent * part, share * piece.seconds)
        return whole


def _levels(kind: Kind) -> list[tuple[str, ...]]:
    """A piece's kind, its group, and all: searches are one kind, whichever the images."""
    group = kind[0]
    own = (group, "") if group == "search" else kind
    return [own, (group,), ()]


def _typical(expected: Expected) -> dict[tuple[str, ...], float]:
    """Mean seconds of the pieces of each kind, of each group, and of all."""
    cells = expected.cells.values()
    pieces = {id(piece): piece for piece in cells}  # which cells share
    numbers = Counter(map(id, cells))
    others = [
        expected.first,
        *expected.arms.values(),
        *expected.opened.values(),
        *itertools.chain.from_iterable(expected.searched.values()),
    ]
    counted = [(piece, 1) for piece in others]
    counted += [(piece, numbers[key]) for key, piece in pieces.items()]
    sums: dict[tuple[str, ...], tuple[float, int]] = {}
    for piece, number in counted:
        for level in _levels(piece.kind):
            seconds, so_far = sums.get(level, (0.0, 0))
            sums[level] = (seconds + number * piece.seconds, so_far + number)
    return {level: seconds / number for level, (seconds, number) in sums.items()}


def _rest(whole: float, spent: float) -> float:
    return max(whole - spent, _OVERDUE * max(whole, spent))
