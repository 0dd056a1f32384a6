"""Samples as the paper has them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwater.theory.simulation.model import COMMON, Samples, World, draws, samples

SMALL = World(k=3, d=24, patches=6, s=2)


def drawn(
    world: World,
    n: int,
    *,
    seed: int = 3,
    purpose: str = "t",
    step: int = 0,
    hard_share: float | None = None,
) -> Samples:
    return samples(
        world,
        draws(n, world.patches, world.d, seed=seed, purpose=purpose, step=step),
        hard_share=hard_share,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0),
        ("s", 0),
        ("patches", 4),
        ("d", 7),
        ("alpha", 0.0),
        ("alpha_dagger", 1.0),
        ("sigma_zeta", -1.0),
        ("sigma_star", float("inf")),
        ("hard_share", 1.5),
        ("iota", 1.0),
        ("iota", 0.5),
        ("sigma_zeta", float("nan")),
    ],
)
def test_constants_outside_their_range_are_refused_by_name(name, value):
    with pytest.raises(
        ValueError, match="patches" if name == "iota" and value == 0.5 else f"^{name} = "
    ):
        replace(SMALL, **{name: value})


def test_the_defaults_are_those_of_the_numerical_check():
    one = World()
    assert (
        one.d,
        one.patches,
        one.s,
        one.alpha,
        one.alpha_dagger,
        one.sigma_zeta,
        one.hard_share,
        one.iota,
    ) == (512, 8, 2, 1.0, 0.1, 0.25, 0.0, 0.0)


def test_an_easy_sample_is_its_features_and_noise():
    found = drawn(replace(SMALL, sigma_zeta=0.0), 500, hard_share=0.0)
    assert not found.hard.any()
    assert set(found.subclass.tolist()) == set(range(6))
    for x, c in zip(found.x, found.subclass.tolist(), strict=True):
        expected = torch.zeros(6, 24)
        expected[:2, c // 3] = 1
        expected[2:4, COMMON + c] = 1
        assert torch.equal(x, expected)


def test_a_hard_sample_shows_the_wrong_common_feature_faintly_and_strong_noise():
    found = drawn(
        replace(SMALL, sigma_zeta=0.0, sigma_star=2.0, alpha_dagger=0.1), 2000, hard_share=1.0
    )
    side, rows = found.subclass // 3, torch.arange(2000)
    assert torch.equal(found.x[rows, 0, 1 - side], torch.full((2000,), 0.1))
    assert found.x[rows, 0, side].abs().max() == 0
    assert torch.equal(found.x[rows, 2, COMMON + found.subclass], torch.ones(2000))
    assert found.x[:, 4].abs().max() == 0
    assert float(found.x[:, 5].std()) == pytest.approx(2.0 / 24**0.5, rel=0.02)


def test_spread_keeps_strengths_and_counts_in_their_range():
    world = replace(SMALL, patches=8, iota=0.5, sigma_zeta=0.0)
    found = drawn(world, 3000, hard_share=0.0)
    fine = found.x[torch.arange(3000), :, COMMON + found.subclass]
    counts = (fine > 0).sum(dim=1)
    assert counts.unique().tolist() == [1, 2, 3]
    assert float(counts.double().mean()) == pytest.approx(2.0, abs=0.05)
    strengths = fine[fine > 0]
    assert (
        0.5**0.5 <= float(strengths.min()) < 0.72
        and 1.21 < float(strengths.max()) <= 1.5**0.5 + 1e-6
    )


def test_noise_is_in_units_of_one_over_root_d_and_samples_hang_on_their_key_alone():
    world = World(k=1)
    one = drawn(world, 64, step=7)
    assert float(one.x[:, -1].std()) == pytest.approx(0.25 / 512**0.5, rel=0.02)
    assert torch.equal(one.x, drawn(world, 64, step=7).x)
    for other in ({"seed": 2}, {"purpose": "b"}, {"step": 8}):
        assert not torch.equal(one.x, drawn(world, 64, **{"step": 7, **other}).x)
    assert float(
        drawn(replace(world, hard_share=0.25), 4000).hard.double().mean()
    ) == pytest.approx(0.25, abs=0.03)


def test_worlds_share_the_noise_of_a_draw_and_leave_it_as_it_was():
    shared = draws(50, 6, 24, seed=0, purpose="t")
    first = samples(replace(SMALL, sigma_zeta=0.5, hard_share=0.5), shared)
    other = samples(replace(SMALL, k=5, sigma_zeta=1.0), shared)
    assert torch.allclose(first.x[:, 4] * 2, other.x[:, 4])
    again = samples(replace(SMALL, sigma_zeta=0.5, hard_share=0.5), shared)
    assert torch.equal(first.x, again.x) and torch.equal(first.hard, again.hard)
