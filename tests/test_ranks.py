"""Ranks: parts of a batch, and rows and their gradients that go between two real processes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.ranks import ALONE, Ranks
from tests.toy import normal
from tests.two_ranks import in_two_processes

PARTS = {"equal": (3, 3), "unequal": (4, 1), "one empty": (0, 2)}
WIDTH = 5


def all_rows(parts: tuple[int, int]) -> torch.Tensor:
    return normal(sum(parts), WIDTH)


def weights(parts: tuple[int, int], rank: int) -> torch.Tensor:
    """What rank's loss asks of all rows."""
    return normal(sum(parts), WIDTH, seed=10 + rank)


def gathered(ranks: Ranks) -> dict[str, torch.Tensor]:
    found = {
        "who": torch.tensor([ranks.rank, ranks.size]),
        "total": torch.tensor(ranks.total(0.1 + ranks.rank), dtype=torch.float64),
    }
    for name, parts in PARTS.items():
        first = sum(parts[: ranks.rank])
        own = all_rows(parts)[first : first + parts[ranks.rank]].clone().requires_grad_()
        rows, start = ranks.rows(own)
        (weights(parts, ranks.rank) * rows.square()).sum().backward()
        assert own.grad is not None
        found |= {
            f"{name} rows": rows,
            f"{name} start": torch.tensor(start),
            f"{name} gradient": own.grad,
        }
        strided, _ = ranks.rows(own.T.contiguous().T)
        found[f"{name} strided"] = strided
    found["mean"] = ranks.average_(normal(3, seed=ranks.rank))
    ranks.barrier()
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    return in_two_processes(gathered, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
def test_a_process_in_a_group_knows_who_it_is(found):
    assert [one["who"].tolist() for one in found] == [[0, 2], [1, 2]]
    assert Ranks.current() is ALONE


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_every_rank_has_all_rows_in_rank_order_and_knows_where_its_own_begin(found, name):
    for rank, one in enumerate(found):
        assert torch.equal(one[f"{name} rows"], all_rows(PARTS[name]))
        assert torch.equal(one[f"{name} strided"], all_rows(PARTS[name]))
        assert one[f"{name} start"].item() == sum(PARTS[name][:rank])


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_the_gradient_of_a_ranks_rows_is_the_sum_of_what_all_ranks_ask_of_them(found, name):
    parts = PARTS[name]
    expected = 2 * all_rows(parts) * (weights(parts, 0) + weights(parts, 1))  # of the sum of w x^2
    ours = torch.cat([one[f"{name} gradient"] for one in found])
    assert [len(one[f"{name} gradient"]) for one in found] == list(parts)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_a_total_is_the_same_double_on_every_rank(found):
    assert [one["total"].item() for one in found] == [0.1 + 1.1] * 2


@pytest.mark.slow
def test_an_average_is_that_of_the_ranks_tensors(found):
    for one in found:
        torch.testing.assert_close(one["mean"], (normal(3) + normal(3, seed=1)) / 2)


def test_a_process_that_is_alone_needs_no_group():
    own = normal(3, 2)
    rows, start = ALONE.rows(own)
    assert rows is own
    assert start == 0
    assert ALONE.total(0.3) == 0.3
    assert ALONE.average_(own) is own
    ALONE.barrier()


@given(st.integers(0, 1000), st.integers(1, 17))
def test_parts_make_up_the_whole_in_order_and_differ_by_one_at_most(n, size):
    parts = [Ranks(rank, size).part(n) for rank in range(size)]
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(n))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
