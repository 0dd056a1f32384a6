"""What a network has learned: errors on easy and hard test samples, and the responses of its
neurons to the features.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from headwater.theory.simulation.model import COMMON, Samples, World, draws, samples
from headwater.theory.simulation.training import Run, superclass_scores, tuned

READ_OUTS = ("max", "sum", "tuned")


def errors(run: Run, world: World, read_out: str, count: int) -> dict[str, float]:
    """{easy, hard}: shares in [0, 1] of `count` test samples each, of `world`, whose superclass the
    run tells wrongly; ties are wrong by half.

    read_out: max or sum over a superclass's heads, as the run is (`headwater.theory.simulation.training.tuned`
    makes a fine-tuned one, which is read by sum).
    """
    one = run.experiment
    found = {}
    for name, share in (("easy", 0.0), ("hard", 1.0)):
        drawn = _test(world if share else _easy(world), count, one.seed, share, one.dtype)
        scores = superclass_scores(run, drawn.x, read_out)
        side = drawn.subclass // world.k
        own, other = (
            scores.gather(1, side[:, None])[:, 0],
            scores.gather(1, 1 - side[:, None])[:, 0],
        )
        found[name] = float((other > own).double().mean() + (other == own).double().mean() / 2)
    return found


def _easy(world: World) -> World:
    """The world without what only hard samples show, so that test samples are kept once."""
    return replace(world, alpha_dagger=0.0, sigma_star=0.0)


@functools.lru_cache(maxsize=8)
def _test(world: World, count: int, seed: int, hard_share: float, dtype: torch.dtype) -> Samples:
    drawn = draws(count, world.patches, world.d, seed=seed, purpose="test", dtype=dtype)
    return samples(world, drawn, hard_share=hard_share)


def read(run: Run, read_out: str, tune_steps: int = 0) -> tuple[Run, str]:
    """(the run that is asked, max or sum) for one of READ_OUTS; `tune_steps` are those of the
    last.
    """
    return (tuned(run, tune_steps), "sum") if read_out == "tuned" else (run, read_out)


def looks(count: int, max_steps: int) -> tuple[int, ...]:
    """`count` steps from 0 to max_steps, as even in the logarithm as whole numbers can be."""
    if count < 1:
        return ()
    top = (
        torch.linspace(0, 1, count, dtype=torch.float64)
        * torch.tensor(max_steps + 1, dtype=torch.float64).log()
    )
    return tuple(sorted({int(step) for step in (top.exp() - 1).round().tolist()}))


def responses(run: Run) -> dict[str, float]:
    """How neurons answer to a feature v, <w, v>, for the common and the fine features.

    *_aligned_mean, *_aligned_max: of the features of a neuron's own head; *_other_mean,
    *_other_max: of all others. *_neurons: share of neurons whose ReLU an aligned feature of
    strength alpha opens; *_detected: share of features that open some aligned neuron. Aligned is a
    fine feature with a head that holds its subclass, where classes follow subclasses, else with a
    head of its superclass.
    """
    one, heads = run.experiment, len(run.superclass)
    k, view = one.world.k, one.view
    by_head = run.weight.view(one.world.d, heads, -1)
    own_common = torch.arange(COMMON)[:, None] == run.superclass
    groups = view.groups
    if groups is None:
        own_fine = (torch.arange(2 * k) // k)[:, None] == run.superclass
    else:
        subclass = torch.arange(2 * k)
        group = subclass // k * groups + subclass % k * groups // k
        own_fine = group[:, None] == torch.arange(heads) // (heads // (2 * groups))
    found: dict[str, float] = {}
    for name, rows, own in (
        ("common", by_head[:COMMON], own_common),
        ("fine", by_head[COMMON : COMMON + 2 * k], own_fine),
    ):
        aligned, other = rows[own], rows[~own]
        opened = one.world.alpha * rows + one.recipe.bias > 0
        found |= {
            f"{name}_aligned_mean": float(aligned.mean()),
            f"{name}_aligned_max": float(aligned.max()),
            f"{name}_other_mean": float(other.mean()),
            f"{name}_other_max": float(other.max()),
            f"{name}_neurons": float(opened[own].double().mean()),
            f"{name}_detected": float(
                (opened & own[:, :, None]).any(dim=2).any(dim=1).double().mean()
            ),
        }
    return found
