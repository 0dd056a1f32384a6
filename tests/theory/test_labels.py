"""Label views of simulated samples: nested, as many as they say, and noise at its rate."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from headwater.theory.simulation.labels import Labels


def named(
    words: str,
    k: int = 8,
    n: int = 4000,
    *,
    noise: float = 0.0,
    seed: int = 0,
    samples: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(subclass, label), [n]."""
    uniform = torch.rand(8, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    subclass = (uniform[0] * 2 * k).long()
    return subclass, Labels(words, k, samples).targets(subclass, uniform, seed=seed, noise=noise)


@pytest.mark.parametrize(
    ("words", "heads"),
    [
        ("coarse", 2),
        ("fine", 16),
        ("merge:8", 8),
        ("random:48 within fine", 48),
        ("random:10 within coarse", 10),
        ("shuffle:4", 4),
        ("random:7", 7),
    ],
)
def test_a_view_has_the_classes_that_it_says(words, heads):
    assert Labels(words, 8).heads == heads
    assert set(named(words)[1].tolist()) == set(range(heads))


@pytest.mark.parametrize(
    "words",
    ["coarse", "fine", "merge:8", "merge:6", "random:48 within fine", "random:10 within coarse"],
)
def test_aligned_classes_lie_in_one_superclass(words):
    view = Labels(words, 8)
    subclass, label = named(words)
    assert view.aligned
    assert torch.equal(view.superclass(None)[label], subclass // 8)


def test_merged_classes_hold_whole_neighbours_and_fine_parts_one_subclass():
    subclass, label = named("merge:8")
    assert all(len(set(label[subclass == c].tolist())) == 1 for c in range(16))
    assert all(len(set(subclass[label == c].tolist())) == 2 for c in range(8))
    subclass, label = named("random:48 within fine")
    assert all(len(set(subclass[label == c].tolist())) == 1 for c in range(48))


def test_shuffle_moves_whole_subclasses_and_random_follows_nothing():
    subclass, label = named("shuffle:4")
    groups = {c: set(label[subclass == c].tolist()) for c in range(16)}
    assert all(len(group) == 1 for group in groups.values())
    assert Counter(label for group in groups.values() for label in group) == dict.fromkeys(
        range(4), 4
    )
    assert not torch.equal(label, named("shuffle:4", seed=1)[1])
    subclass, label = named("random:2")
    assert float((label[subclass < 8] == 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert not Labels("random:2", 8).aligned and not Labels("shuffle:4", 8).aligned


def test_instance_gives_every_sample_a_class_of_its_own():
    subclass, label = named("instance", n=50, samples=50)
    view = Labels("instance", 8, 50)
    assert label.tolist() == list(range(50)) and view.heads == 50
    assert torch.equal(view.superclass(subclass), subclass // 8)


def test_noise_names_another_class_at_its_rate_and_is_nested():
    clean, half, tenth = (named("fine", noise=rate)[1] for rate in (0.0, 0.5, 0.1))
    assert float((half != clean).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((tenth != clean).double().mean()) == pytest.approx(0.1, abs=0.02)
    assert ((tenth == clean) | (half != clean)).all()
    assert (named("coarse", noise=1.0)[1] == 1 - named("coarse")[1]).all()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("corse", "are none of coarse"),
        ("merge:5", "an even K"),
        ("merge:40", "an even K"),
        ("random:7 within coarse", "an even K"),
        ("random:10 within fine", "2k = 16 divides"),
        ("shuffle:1", "a K from 2"),
        ("random:1", "a K of 2"),
        ("instance", "train_samples"),
        ("random:4 within subclass", "are none of"),
        ("merge:", "are none of"),
    ],
)
def test_words_that_mean_nothing_here_are_refused(words, reason):
    with pytest.raises(ValueError, match=reason):
        Labels(words, 8)
