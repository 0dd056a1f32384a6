"""Cross-entropies of a matrix of logits that is never whole: tile after tile is computed, used, and
computed again for the gradient.

With m rows and n columns of width e the memory is that of O(m + n) rows and two tiles, where the
matrix itself would take m n numbers several times over. The sums are those of the whole matrix in
another order, so values and gradients are exact up to rounding. The recomputation costs one matrix
product more than a plain loss that keeps its logits; what is saved is the traffic of the logits
through memory.

Logits are in base 2 (a tile holds rows . columns, the caller multiplies by log2 e), since exp2 is
faster than exp on CPUs (here 3.6 times [ours]) and what a GPU has in hardware. Gradients are
written by hand; a second derivative is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from headwater.device import full_precision

EXCLUDED = -1e30
"""The logit of what is no candidate: exp2 of it is 0, and, unlike that of minus infinity, its
difference from itself is a number.
"""


class Run(NamedTuple):
    """A diagonal of the matrix: row `begin` meets column `column`, the next row the next column, up
    to row `end`.
    """

    begin: int
    end: int
    column: int


class _Part(NamedTuple):
    rows: slice
    columns: slice


def side(device: torch.device) -> int:
    """Rows and columns of a tile.

    On a CPU two float32 tiles of 512 x 512 fill 2 MB, about a core's second cache, and a matrix
    product is already at its full speed [ours, measured]; on a GPU a product must be large to fill
    it, and two tiles of 4096 x 4096 are 128 MB [ours].
    """
    return 512 if device.type == "cpu" else 4096


def cross_entropy(
    rows: torch.Tensor,
    columns: torch.Tensor,
    positives: tuple[Run, ...],
    excluded: tuple[Run, ...] = (),
    *,
    tile: int | None = None,
) -> torch.Tensor:
    """The sum over rows [m, e] of log2(sum over columns [n, e] of 2^logit) - logit of the row's
    positive; scalar, of their dtype.

    Every row is in one run of `positives`; what is in `excluded` is no candidate.
    """
    total: torch.Tensor = _CrossEntropy.apply(
        rows, columns, positives, excluded, False, tile or side(rows.device)
    )
    return total


def cross_entropy_both(
    rows: torch.Tensor, columns: torch.Tensor, *, tile: int | None = None
) -> torch.Tensor:
    """`cross_entropy` of rows over columns and of columns over rows, both [n, e], added up; the
    diagonal is positive. Each tile serves both.
    """
    diagonal = (Run(0, len(rows), 0),)
    total: torch.Tensor = _CrossEntropy.apply(
        rows, columns, diagonal, (), True, tile or side(rows.device)
    )
    return total


def cross_entropy_among(rows: torch.Tensor, *, tile: int | None = None) -> torch.Tensor:
    """`cross_entropy` of rows [2 b, e] over one another without themselves, where row i and row b +
    i are each other's positives.

    The matrix is symmetric: a tile above the diagonal is computed once and serves its rows and,
    turned over, its columns.
    """
    b = len(rows) // 2
    runs = (Run(0, b, b),), (Run(0, 2 * b, 0),)
    total: torch.Tensor = _CrossEntropy.apply(rows, None, *runs, True, tile or side(rows.device))
    return total


def sigmoid_cross_entropy(
    rows: torch.Tensor,
    columns: torch.Tensor,
    bias: torch.Tensor,
    positives: tuple[Run, ...],
    *,
    tile: int | None = None,
) -> torch.Tensor:
    """The sum over all pairs of rows [m, e] and columns [n, e] of -log sigmoid(x) where a pair is
    positive and of -log sigmoid(-x) elsewhere, with x = row . column + bias (natural logits, scalar
    bias); scalar, of their dtype.
    """
    total: torch.Tensor = _SigmoidCrossEntropy.apply(
        rows, columns, bias, positives, tile or side(rows.device)
    )
    return total


class _Sums:
    """The logarithms of running sums of 2^logit, one for each row [n]: the largest logit so far,
    and the sum relative to it.
    """

    def __init__(self, like: torch.Tensor) -> None:
        self.most, self.sums = like.new_full((len(like),), EXCLUDED), like.new_zeros(len(like))

    def add(self, logits: torch.Tensor, part: slice, work: torch.Tensor, dim: int) -> None:
        """Take in a tile, summed over its dimension `dim`; `part` are the places of the other
        one.
        """
        most, sums = self.most[part], self.sums[part]
        larger = torch.maximum(most, logits.amax(dim))
        torch.sub(logits, larger.unsqueeze(dim), out=work).exp2_()
        sums.mul_(most.sub_(larger).exp2_()).add_(work.sum(dim))
        most.copy_(larger)

    def logarithms(self) -> torch.Tensor:
        return self.most + self.sums.log2()


class _CrossEntropy(torch.autograd.Function):
    """columns None: the rows among themselves (symmetric).

    `both`: each tile counts for its rows and for its columns.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor | None,
        positives: tuple[Run, ...],
        excluded: tuple[Run, ...],
        both: bool,
        tile: int,
    ) -> torch.Tensor:
        others, symmetric = (rows, True) if columns is None else (columns, False)
        of_rows = _Sums(rows)
        of_columns = of_rows if symmetric else _Sums(others) if both else None
        found = rows.new_empty(len(rows))
        buffers = _buffers(rows, others, tile, 2)
        for part in _tiles(len(rows), len(others), tile, symmetric):
            twice = of_columns is not None and not (symmetric and part.rows == part.columns)
            logits, work = _logits(rows, others, part, excluded, buffers)
            for crossing in _crossings(positives, part, mirrored=symmetric):
                found[part.rows][crossing.rows] = _diagonal(logits, crossing)
                if twice and symmetric:
                    found[part.columns][crossing.columns] = _diagonal(logits, crossing)
            of_rows.add(logits, part.rows, work, 1)
            if twice and of_columns is not None:
                of_columns.add(logits, part.columns, work, 0)
        total = _cost(of_rows, found)
        if of_columns is not None and not symmetric:
            total = total + _cost(of_columns, found)
        ctx.save_for_backward(
            rows,
            columns,
            of_rows.logarithms(),
            None if of_columns is None else of_columns.logarithms(),
        )
        ctx.positives, ctx.excluded, ctx.tile = positives, excluded, tile
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _refuse_second_derivatives()
        rows, columns, of_rows, of_columns = ctx.saved_tensors
        others, symmetric = (rows, True) if columns is None else (columns, False)
        to_rows = torch.zeros_like(rows)
        to_others = to_rows if symmetric else torch.zeros_like(others)
        buffers = _buffers(rows, others, ctx.tile, 2)
        with full_precision(rows):
            for part in _tiles(len(rows), len(others), ctx.tile, symmetric):
                twice = of_columns is not None and not (symmetric and part.rows == part.columns)
                logits, shares = _logits(rows, others, part, ctx.excluded, buffers)
                torch.sub(logits, of_rows[part.rows, None], out=shares).exp2_()
                if twice:
                    shares.add_(logits.sub_(of_columns[part.columns]).exp2_())
                for crossing in _crossings(ctx.positives, part, mirrored=symmetric):
                    _diagonal(shares, crossing).sub_(2 if twice else 1)
                to_rows[part.rows].addmm_(shares, others[part.columns])
                to_others[part.columns].addmm_(shares.T, rows[part.rows])
        # The derivative of log2 of a sum of 2^x by x is a share of the sum: no factor of ln 2 is
        # left in base 2.
        to_rows.mul_(gradients[0])
        if not symmetric:
            to_others.mul_(gradients[0])
        return to_rows, None if symmetric else to_others, None, None, None, None


class _SigmoidCrossEntropy(torch.autograd.Function):
    """No term depends on another tile, so each tile's gradient is known with its value, and nothing
    is computed twice: backward scales it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        bias: torch.Tensor,
        positives: tuple[Run, ...],
        tile: int,
    ) -> torch.Tensor:
        total, to_bias = (
            torch.zeros((), dtype=torch.float64, device=rows.device) for _ in range(2)
        )
        wanted = any(ctx.needs_input_grad)
        to_rows, to_columns = (torch.zeros_like(t) if wanted else None for t in (rows, columns))
        buffers = _buffers(rows, columns, tile, 1)
        for part in _tiles(len(rows), len(columns), tile, False):
            (logits,) = _logits(rows, columns, part, (), buffers)
            logits.add_(bias)
            crossings = _crossings(positives, part)
            for crossing in crossings:
                _diagonal(logits, crossing).neg_()
            total += F.softplus(logits).sum()
            if to_rows is None or to_columns is None:
                continue
            shares = logits.sigmoid_()
            for crossing in crossings:
                _diagonal(shares, crossing).neg_()
            to_rows[part.rows].addmm_(shares, columns[part.columns])
            to_columns[part.columns].addmm_(shares.T, rows[part.rows])
            to_bias += shares.sum()
        ctx.save_for_backward(to_rows, to_columns, to_bias.to(bias.dtype))
        return total.to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _refuse_second_derivatives()
        to_rows, to_columns, to_bias = ctx.saved_tensors
        return to_rows * gradients[0], to_columns * gradients[0], to_bias * gradients[0], None, None


def _refuse_second_derivatives() -> None:
    """autograd would take the gradients for constants (its `once_differentiable` looks at the
    incoming gradient alone).
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a tiled contrastive loss has no second derivative; batches up to "
            "contrastive.MOST_LOGITS logits have"
        )


def _tiles(m: int, n: int, tile: int, symmetric: bool) -> Iterator[_Part]:
    """The tiles of an m x n matrix, row after row; of a symmetric one those on the diagonal and
    above.
    """
    for top in range(0, m, tile):
        for left in range(top if symmetric else 0, n, tile):
            yield _Part(slice(top, min(top + tile, m)), slice(left, min(left + tile, n)))


def _buffers(
    rows: torch.Tensor, columns: torch.Tensor, tile: int, count: int
) -> tuple[torch.Tensor, ...]:
    size = min(tile, len(rows)) * min(tile, len(columns))
    return tuple(rows.new_empty(size) for _ in range(count))


def _logits(
    rows: torch.Tensor,
    columns: torch.Tensor,
    part: _Part,
    excluded: tuple[Run, ...],
    buffers: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, ...]:
    """The buffers in the shape of a tile; the first holds its logits."""
    a, b = rows[part.rows], columns[part.columns]
    shaped = tuple(buffer[: len(a) * len(b)].view(len(a), len(b)) for buffer in buffers)
    torch.mm(a, b.T, out=shaped[0])
    for crossing in _crossings(excluded, part):
        _diagonal(shaped[0], crossing).fill_(EXCLUDED)
    return shaped


def _crossings(runs: tuple[Run, ...], part: _Part, *, mirrored: bool = False) -> list[_Part]:
    """Where runs go through a tile, counted from the tile's corner.

    `mirrored`: a tile on the diagonal of the matrix has their mirror images too.
    """
    top, left = part.rows.start, part.columns.start
    if mirrored and top == left:
        runs = (
            *runs,
            *(Run(run.column, run.column + run.end - run.begin, run.begin) for run in runs),
        )
    found = []
    for run in runs:
        shift = run.column - run.begin
        begin = max(run.begin, top, left - shift)
        end = min(run.end, part.rows.stop, part.columns.stop - shift)
        if begin < end:
            found.append(
                _Part(
                    slice(begin - top, end - top), slice(begin + shift - left, end + shift - left)
                )
            )
    return found


def _diagonal(tile: torch.Tensor, crossing: _Part) -> torch.Tensor:
    return tile[crossing.rows, crossing.columns].diagonal()


def _cost(sums: _Sums, positives: torch.Tensor) -> torch.Tensor:
    """The two large terms are subtracted first: where the positive is the largest logit nothing of
    the small rest is lost.
    """
    return ((sums.most - positives) + sums.sums.log2()).sum()
