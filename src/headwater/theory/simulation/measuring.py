"""What a network has learned: errors on test samples, and how its neurons answer to features."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from headwater.theory.simulation.model import COMMON, Samples, World, draws, samples
from headwater.theory.simulation.training import Experiment, Run, superclass_scores, tuned

READ_OUTS = ("max", "sum", "tuned")


def errors(run: Run, world: World, read_out: str, count: int) -> dict[str, float]:
    """{easy, hard}: shares in [0, 1] of test samples whose superclass the run tells wrongly.

    There are `count` samples of each, drawn from `world`; ties are wrong by half. read_out: max or
    sum over a superclass's heads, of the run as it is. `training.tuned` makes a fine-tuned run,
    which is read by sum.
    """
    experiment = run.experiment
    shares = {}
    for name, hard_share in (("easy", 0.0), ("hard", 1.0)):
        tested = world if hard_share else _easy(world)
        test = _test(tested, count, experiment.seed, hard_share, experiment.dtype)
        scores = superclass_scores(run, test.x, read_out)
        side = (test.subclass // world.k)[:, None]
        right, wrong = scores.gather(1, side)[:, 0], scores.gather(1, 1 - side)[:, 0]
        ties = (wrong == right).double().mean()
        shares[name] = float((wrong > right).double().mean() + ties / 2)
    return shares


def _easy(world: World) -> World:
    """The world without what only hard samples show, so that test samples are kept once."""
    return replace(world, alpha_dagger=0.0, sigma_star=0.0)


@functools.lru_cache(maxsize=8)
def _test(world: World, count: int, seed: int, hard_share: float, dtype: torch.dtype) -> Samples:
    drawn = draws(count, world.patches, world.d, seed=seed, purpose="test", dtype=dtype)
    return samples(world, drawn, hard_share=hard_share)


def read(run: Run, read_out: str, tune_steps: int = 0) -> tuple[Run, str]:
    """(the run that is asked, max or sum) for one of READ_OUTS.

    `tune_steps` are those of the read-out `tuned`.
    """
    return (tuned(run, tune_steps), "sum") if read_out == "tuned" else (run, read_out)


def looks(count: int, max_steps: int) -> tuple[int, ...]:
    """`count` steps from 0 to max_steps, as even in the logarithm as whole numbers can be."""
    if count < 1:
        return ()
    even = torch.linspace(0, 1, count, dtype=torch.float64)
    logs = even * torch.tensor(max_steps + 1, dtype=torch.float64).log()
    return tuple(sorted({int(step) for step in (logs.exp() - 1).round().tolist()}))


def responses(run: Run) -> dict[str, float]:
    """How neurons answer to a feature v, <w, v>, for the common and the fine features.

    A fine feature is aligned with a head that holds its subclass, where classes follow subclasses,
    else with a head of its superclass. By name, each for `common` and for `fine`:

    *_aligned_mean, *_aligned_max   responses to the features of a neuron's own head
    *_other_mean, *_other_max       to all others
    *_neurons                       share of neurons whose ReLU an aligned feature of strength alpha
                                    opens
    *_detected                      share of features that open some aligned neuron
    """
    experiment, heads, k = run.experiment, len(run.superclass), run.experiment.world.k
    by_head = run.weight.view(experiment.world.d, heads, -1)
    common, fine = by_head[:COMMON], by_head[COMMON : COMMON + 2 * k]
    is_common_aligned = torch.arange(COMMON)[:, None] == run.superclass
    return {
        **_answers("common", common, is_common_aligned, experiment),
        **_answers("fine", fine, _is_fine_aligned(run), experiment),
    }


def _is_fine_aligned(run: Run) -> Tensor:
    """bool [2k, heads]: whether a fine feature is aligned with a head."""
    heads, k, groups = len(run.superclass), run.experiment.world.k, run.experiment.view.groups
    subclass = torch.arange(2 * k)
    if groups is None:
        return (subclass // k)[:, None] == run.superclass
    group = subclass // k * groups + subclass % k * groups // k
    return group[:, None] == torch.arange(heads) // (heads // (2 * groups))


def _answers(
    name: str, response: Tensor, is_aligned: Tensor, experiment: Experiment
) -> dict[str, float]:
    """What is told of responses [features, heads, width]; is_aligned: bool [features, heads]."""
    aligned, other = response[is_aligned], response[~is_aligned]
    opens = experiment.world.alpha * response + experiment.recipe.bias > 0
    detects = opens & is_aligned[:, :, None]
    return {
        f"{name}_aligned_mean": float(aligned.mean()),
        f"{name}_aligned_max": float(aligned.max()),
        f"{name}_other_mean": float(other.mean()),
        f"{name}_other_max": float(other.max()),
        f"{name}_neurons": float(opens[is_aligned].double().mean()),
        f"{name}_detected": float(detects.any(dim=2).any(dim=1).double().mean()),
    }
