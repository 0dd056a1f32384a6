"""Texts of very many samples that lie in memory in one piece: taken for arrays of objects, which
would need 70 bytes more for each text and 64 for each list.

pyarrow is imported where a column is made or read: labels and studies are read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Objects = NDArray[np.object_]
_AT_ONCE = 1 << 16


def _index(rows: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(rows)


def bytes_of(column: Any) -> memoryview:
    """The bytes of a column of large_string, one text after the other."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    if data is None or not len(column):
        return memoryview(b"")
    return memoryview(data)[int(ends[0]) : int(ends[-1])]


class _Column:
    """What texts and lists of texts share."""

    dtype = np.dtype(object)
    ndim = 1

    def __init__(self, values: Any = None, *, count: int | None = None, make: Any = None) -> None:
        """`values` is a pyarrow array; or else `make` gives it when it is asked for, of `count`
        values.
        """
        self._values, self._make = values, make
        self._count = len(values) if count is None else count

    @property
    def arrow(self) -> Any:
        """The pyarrow array: of large_string, or of large_list of it."""
        if self._values is None:
            self._values = self._make()
        return self._values

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int]:
        return (self._count,)

    def _rows(self, at: Any) -> NDArray[np.int64]:
        if isinstance(at, slice):
            return np.arange(self._count)[at]
        rows = np.asarray(at)
        return np.flatnonzero(rows) if rows.dtype == bool else rows

    def _parts(self) -> Iterator[Any]:
        for start in range(0, self._count, _AT_ONCE):
            yield from self.arrow.slice(start, _AT_ONCE).to_pylist()


class Strings(_Column, Sequence[str]):
    """A text for each index, an array of objects for several."""

    @classmethod
    def later(cls, count: int, make: Callable[[], Any]) -> Strings:
        """`count` texts that are made when one is asked for."""
        return cls(count=count, make=make)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Any: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, int | np.integer):
            return self.arrow[int(at)].as_py()
        return self.arrow.take(_index(self._rows(at))).to_numpy(zero_copy_only=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Objects:
        found: Objects = self.arrow.to_numpy(zero_copy_only=False)
        return found

    def __iter__(self) -> Iterator[str]:
        return self._parts()

    def tolist(self) -> list[str]:
        found: list[str] = self.arrow.to_pylist()
        return found


class Lists(_Column, Sequence[list[str]]):
    """A list of texts for each index, `Lists` for several."""

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> Any: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, int | np.integer):
            return self.arrow[int(at)].as_py() or []
        rows = self._rows(at)
        if len(rows) == len(self) and (rows == np.arange(len(rows))).all():
            return self
        return Lists(self.arrow.take(_index(rows)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Objects:
        out = np.empty(len(self), dtype=object)
        for row, value in enumerate(self):
            out[row] = value
        return out

    def __iter__(self) -> Iterator[list[str]]:
        return (value or [] for value in self._parts())

    def tolist(self) -> list[list[str]]:
        return list(self)

    def lengths(self) -> NDArray[np.int64]:
        """int64 [n]: texts in each list."""
        import pyarrow.compute as pc

        found = pc.fill_null(pc.list_value_length(self.arrow), 0).to_numpy(zero_copy_only=False)
        return np.asarray(found, dtype=np.int64)

    def lines(self, between: str) -> Iterator[memoryview]:
        """The bytes of all lists, a line each, with `between` between the texts of one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        end = pa.scalar("\n", pa.large_string())
        nothing = pa.scalar("", pa.large_string())
        for start in range(0, len(self), _AT_ONCE):
            part = self.arrow.slice(start, _AT_ONCE)
            joined = pc.fill_null(pc.binary_join(part, pa.scalar(between, pa.large_string())), "")
            yield bytes_of(pc.binary_join_element_wise(joined, end, nothing))

    @classmethod
    def of(cls, column: Any) -> Lists:
        """Those texts of a column (of large_string, or of lists of it) that say something."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_large_string(column.type):
            lengths, values = np.ones(len(column), dtype=np.int64), column
        else:
            lengths, values = cls(column).lengths(), column.flatten()
        silent = pc.or_(pc.utf8_is_space(values), pc.equal(values, ""))
        said = pc.invert(pc.fill_null(silent, True))
        kept = np.concatenate([[0], np.cumsum(said.to_numpy(zero_copy_only=False))])
        ends = kept[np.concatenate([[0], np.cumsum(lengths)])]
        offsets = pa.array(ends, pa.int64())
        whole = int(kept[-1]) == len(values)
        return cls(pa.LargeListArray.from_arrays(offsets, values if whole else values.filter(said)))
