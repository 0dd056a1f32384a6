"""Studies of the theory: which networks, what is measured of each, and the rows of one.

An arm is a network to be trained; a cell is one read-out of it on test samples of one kind, or its
responses, at the end of training or at a look on the way. Strong noise and the wrong class's
feature stand on hard samples alone, so that where training has none of these they are of the cell,
not of the arm.
"""

from __future__ import annotations

import functools
import itertools
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from headwater import device
from headwater.errors import InputError
from headwater.rows import SCHEMA_VERSION, to_frame
from headwater.store import Store
from headwater.study import canonical, identity
from headwater.theory.simulation.measuring import errors, looks, read, responses
from headwater.theory.simulation.model import World
from headwater.theory.simulation.training import Experiment, Recipe, Run, train
from headwater.theory.study import Sweep, TheoryStudy
from headwater.work.fields import attempt, now

if TYPE_CHECKING:
    import pandas as pd

RESPONSES = "responses"
"""The protocol of the cells that read neurons and no test sample."""
VERSION = 1
"""Raised by hand when networks are trained or read in another way, so that what the old code
computed is not taken for what the new code would.
"""
MOST_NETWORKS = 200_000
"""Of a study: more are a slip of the pen, and take minutes to list [ours]."""
_TYPICAL_STEPS = 700
_FLOPS_OF_NOISE = 100.0
_DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
_WORLD_AXES = tuple(field.name for field in fields(World) if field.name != "k")
_RECIPE_AXES = tuple(field.name for field in fields(Recipe))


@dataclass(frozen=True)
class Reading:
    """A cell in words: how a network is read (a read-out, or RESPONSES), on what world's test
    samples, and when (None: at the end of training).
    """

    id: str
    protocol: str
    world: World
    test_samples: int
    step: int | None = None
    tune_steps: int = 0
    """Steps of fine-tuning before it is read; 0 for read-outs that tune nothing."""


@dataclass(frozen=True)
class Network:
    """An arm: what to train, and all cells that some sweep wants of it."""

    id: str
    experiment: Experiment
    readings: tuple[Reading, ...]
    sweeps: tuple[str, ...]
    """Sweeps that name it, in the order of the study."""

    @property
    def flops(self) -> float:
        """Of one step: two matrix products, multiply-add = 2."""
        one = self.experiment
        return 4.0 * one.recipe.batch * one.world.patches * one.world.d * one.heads * one.width

    @property
    def likely_steps(self) -> int:
        """Steps of training, for shares and guesses of time alone [ours]: a loss that is never
        reached takes all of them.
        """
        recipe = self.experiment.recipe
        return (
            recipe.max_steps
            if not recipe.stop_loss or recipe.label_noise
            else min(recipe.max_steps, _TYPICAL_STEPS)
        )

    @property
    def work(self) -> float:
        """About what training and reading it cost, in FLOPs; making a number of noise costs as much
        as `_FLOPS_OF_NOISE` of them.
        """
        one = self.experiment
        numbers = one.recipe.batch * one.world.patches * one.world.d
        tuning = sum({reading.tune_steps for reading in self.readings})
        samples_read = sum(reading.test_samples for reading in self.readings)
        steps = self.likely_steps + tuning + 2 * samples_read / one.recipe.batch
        return steps * (self.flops + _FLOPS_OF_NOISE * numbers)

    @property
    def bytes_needed(self) -> int:
        """About the most that a process needs for this network alone: a batch, weights, a training
        set, test samples, and as much again to make them.
        """
        one = self.experiment
        sample = one.world.patches * one.world.d
        most = max(
            [
                one.recipe.batch,
                one.recipe.train_samples or 0,
                *(reading.test_samples for reading in self.readings),
            ]
        )
        return one.dtype.itemsize * (
            3 * most * sample
            + 4 * one.world.d * one.heads * one.width
            + 2 * one.recipe.batch * one.heads
        )

    @property
    def title(self) -> str:
        one = self.experiment
        return f"k={one.world.k} {one.labels} seed {one.seed}"


def networks(study: TheoryStudy) -> list[Network]:
    """All networks of a study, each once.

    Raises InputError that names the sweep for constants that do not go together.
    """
    found: dict[str, Network] = {}
    _check_count(study)
    for name, sweep in study.theory.items():
        for experiment, worlds in _crossed(study, name, sweep):
            arm = identity(_arm_words(experiment))
            wanted = _readings(arm, experiment, worlds, sweep)
            known = found.get(arm)
            if known is None:
                found[arm] = Network(arm, experiment, wanted, (name,))
                continue
            steps = tuple(sorted({*known.experiment.looks, *experiment.looks}))
            readings = tuple({one.id: one for one in (*known.readings, *wanted)}.values())
            sweeps = known.sweeps if name in known.sweeps else (*known.sweeps, name)
            found[arm] = Network(arm, replace(known.experiment, looks=steps), readings, sweeps)
    return list(found.values())


def _check_count(study: TheoryStudy) -> None:
    total = 0
    for name, sweep in study.theory.items():
        axes = ("subclasses", "labels", *_WORLD_AXES, *_RECIPE_AXES)
        total += math.prod(
            [
                len(sweep.seeds or study.seeds),
                *(len(getattr(sweep, axis) or (None,)) for axis in axes),
            ]
        )
        if total > MOST_NETWORKS:
            with study._origin.located():
                raise InputError(
                    f"theory.{name}: these sweeps cross to {total:,} networks and cells; at most "
                    f"{MOST_NETWORKS:,} are taken",
                    at=("theory", name),
                )


def _crossed(
    study: TheoryStudy, name: str, sweep: Sweep
) -> Iterator[tuple[Experiment, list[World]]]:
    """(what to train, worlds to test it on), axes crossed."""
    axes: dict[str, tuple[Any, ...]] = {
        axis: getattr(sweep, axis) or (None,)
        for axis in ("subclasses", "labels", *_WORLD_AXES, *_RECIPE_AXES)
    }
    tests = {axis: axes.pop(axis) for axis in ("alpha_dagger", "sigma_star")}
    for seed in sweep.seeds or study.seeds:
        for values in itertools.product(*axes.values()):
            words = dict(zip(axes, values, strict=True))
            k, labels = words.pop("subclasses"), words.pop("labels")
            try:
                worlds = [
                    World(
                        k=k,
                        alpha_dagger=dagger,
                        sigma_star=star,
                        **{axis: words[axis] for axis in _WORLD_AXES if axis not in tests},
                    )
                    for dagger in tests["alpha_dagger"]
                    for star in tests["sigma_star"]
                ]
                recipe = Recipe(**{axis: words[axis] for axis in _RECIPE_AXES})
                seen = worlds if worlds[0].hard_share else [_without_hard(worlds[0])]
                for world in seen:
                    experiment = Experiment(
                        world,
                        labels,
                        recipe,
                        seed,
                        looks(sweep.looks, recipe.max_steps),
                        _DTYPES[sweep.precision],
                    )
                    if not experiment.view.aligned and set(sweep.read_outs) != {"tuned"}:
                        raise ValueError(
                            f"labels {labels!r} mix superclasses, so that no head tells one: "
                            "read_outs should be tuned alone"
                        )
                    yield experiment, [world] if worlds[0].hard_share else worlds
            except ValueError as error:
                with study._origin.located():
                    raise InputError(f"theory.{name}: {error}", at=("theory", name)) from None


def _without_hard(world: World) -> World:
    """What a network sees of a world whose training samples are all easy."""
    return replace(world, alpha_dagger=0.0, sigma_star=0.0)


def _arm_words(one: Experiment) -> dict[str, Any]:
    recipe = {
        name: value
        for name, value in asdict(one.recipe).items()
        if not (name == "width" and one.recipe.neurons)
    }
    return {
        "theory": VERSION, "world": asdict(one.world), "labels": one.labels, "recipe": recipe, "seed": one.seed, "precision": str(one.dtype),
    }  # fmt: skip


def _readings(
    arm: str, one: Experiment, worlds: Sequence[World], sweep: Sweep
) -> tuple[Reading, ...]:
    """At the end every read-out on every world, and the responses; at a look the first read-out on
    the first world, and the responses.
    """
    found = []
    for step in (None, *one.looks):
        here = worlds if step is None else worlds[:1]
        for protocol in sweep.read_outs if step is None else sweep.read_outs[:1]:
            for world in here:
                words = {
                    "arm": arm,
                    "read_out": protocol,
                    "world": asdict(world),
                    "test_samples": sweep.test_samples,
                    "step": step,
                }
                tuned = (
                    {
                        "tune": {
                            "steps": sweep.tune_steps,
                            "output": "mean over the superclass's neurons",
                        }
                    }
                    if protocol == "tuned"
                    else {}
                )
                found.append(
                    Reading(
                        identity(words | tuned),
                        protocol,
                        world,
                        sweep.test_samples,
                        step,
                        sweep.tune_steps if tuned else 0,
                    )
                )
        found.append(
            Reading(
                identity({"arm": arm, "read_out": RESPONSES, "step": step}),
                RESPONSES,
                one.world,
                0,
                step,
            )
        )
    return tuple(found)


def unfinished(wanted: Sequence[Network], store: Store | None) -> list[Network]:
    """The networks that lack a cell in the store, with what they lack."""
    finished = store.finished_cells() if store else set()
    left = [
        replace(one, readings=tuple(r for r in one.readings if r.id not in finished))
        for one in wanted
    ]
    return [one for one in left if one.readings]


def run_networks(
    wanted: Sequence[Network],
    study: str,
    store: Store,
    told: Callable[[str], None] = lambda arm: None,
) -> None:
    """Train networks and write the rows of the cells that the store lacks; `told` hears of each
    network that is finished.
    """
    left = {one.id: one for one in unfinished(wanted, store)}
    for one in wanted:
        if one.id not in left:
            told(one.id)
    by_experiment = {one.experiment: one for one in left.values()}
    began = time.monotonic()
    for run in train(list(by_experiment)):
        network = by_experiment[run.experiment]
        ended = time.monotonic() - began
        asked = functools.lru_cache(maxsize=None)(
            functools.partial(read, run)
        )  # what is tuned is tuned once for all tests
        for reading in network.readings:
            late = (
                run.final and reading.step is not None and reading.step >= run.step
            )  # training ended before this look: it is as at the end
            if reading.step == (None if run.final else run.step) or late:
                rows = _rows(network, reading, run, asked, study, store)
                store.write_rows(
                    reading.id,
                    [{**row, "pretrain_seconds": ended, "finished": now()} for row in rows],
                )
        if run.final:
            told(network.id)


def network_rows(study: TheoryStudy, store: Store) -> pd.DataFrame:
    """The rows of a study's cells, each once, under its name and those of its sweeps.

    Cells that were not measured are missing.
    """
    found = []
    for network in networks(study):
        name = f"{study.study}: {', '.join(network.sweeps)}"
        for reading in network.readings:
            found += [{**row, "study": name} for row in store.read_cell(reading.id)]
    return to_frame(found)


def failed_network(network: Network, study: str, store: Store, reason: str) -> None:
    """A row of status failed for every cell of a network that the store lacks; the next run tries
    them again.
    """
    finished = store.finished_cells()
    for reading in network.readings:
        if reading.id not in finished:
            words = {
                **_fields(network, reading, None, study, store),
                **_unmeasured(reading),
                "status": "failed",
                "reason": reason,
            }
            store.write_rows(reading.id, [{**words, "finished": now(), "host": platform.node()}])


def _rows(
    network: Network,
    reading: Reading,
    run: Run,
    asked: Callable[[str, int], tuple[Run, str]],
    study: str,
    store: Store,
) -> list[dict[str, Any]]:
    """The rows of a cell.

    One that cannot be read (a finite set without a sample of a superclass has nothing to tune, say)
    has failed by itself.
    """
    common = _fields(network, reading, run, study, store)
    if run.diverged:
        return [
            {
                **common,
                **_unmeasured(reading),
                "status": "diverged",
                "reason": f"the loss was no longer finite at step {run.step}",
            }
        ]
    if reading.protocol == RESPONSES:
        named = {
            name if name.endswith(("neurons", "detected")) else f"response_{name}": value
            for name, value in responses(run).items()
        }
        return [
            {**common, "metric": name, "subset": "all", "status": "done", "value": value}
            for name, value in named.items()
        ]
    try:
        tested, how = asked(reading.protocol, reading.tune_steps)
    except ValueError as error:
        return [{**common, **_unmeasured(reading), "status": "failed", "reason": str(error)}]
    found = errors(tested, reading.world, how, reading.test_samples)
    return [
        {
            **common,
            "metric": "top1",
            "subset": subset,
            "status": "done",
            "value": 1 - error,
            "n_test": reading.test_samples,
        }
        for subset, error in found.items()
    ]


def _unmeasured(reading: Reading) -> dict[str, str]:
    return {
        "metric": "top1" if reading.protocol != RESPONSES else "common_neurons",
        "subset": "all",
    }


def _source_name(world: World) -> str:
    """k, and what else of the training data is not the default: equal names are equal data."""
    usual = _without_hard(World(k=world.k, d=max(World.d, 2 + 2 * world.k)))
    other = [
        f"{name}={value:g}"
        for name, value in asdict(world).items()
        if value != getattr(usual, name) and name != "k"
    ]
    return " ".join([f"simulated k={world.k}", *other])


def _fields(
    network: Network, reading: Reading, run: Run | None, study: str, store: Store
) -> dict[str, Any]:
    one, world, recipe = network.experiment, reading.world, network.experiment.recipe
    step = None if run is None else run.step
    seen = None if step is None else step * recipe.batch
    at = ({} if reading.step is None else {"look": reading.step}) | (
        {"tune_steps": reading.tune_steps} if reading.tune_steps else {}
    )
    return {
        "cell": reading.id,
        "arm": network.id,
        "study": study,
        "schema": SCHEMA_VERSION,
        "method": "supervised",
        "source": _source_name(one.world),
        "source_fingerprint": identity(asdict(one.world)),
        "unique_images": recipe.train_samples,
        "labels": one.labels,
        "num_labels": one.heads,
        "label_noise": recipe.label_noise or None,
        "constants": canonical(asdict(world)),
        "images_seen": seen,
        "epochs": seen / recipe.train_samples
        if seen is not None and recipe.train_samples
        else None,
        "steps": step,
        "pretrain_flops": None if step is None else network.flops * (step + 1),
        "backbone": "relu-patches",
        "batch": recipe.batch,
        "optimiser": "sgd",
        "lr": recipe.lr,
        "recipe": canonical({**asdict(recipe), "width": one.width} | at),
        "loss": "softmax",
        "seed": one.seed,
        "pretrain_loss": None if run is None or run.diverged else run.train_loss,
        "task": "neurons"
        if reading.protocol == RESPONSES
        else f"superclass sigma_star={world.sigma_star:g} alpha_dagger={world.alpha_dagger:g}",
        "task_labels": "coarse",
        "task_classes": 2,
        "protocol": reading.protocol,
        "precision": "fp64" if one.dtype == torch.float64 else "fp32",
        "fingerprint": f"cpu {'fp64' if one.dtype == torch.float64 else 'fp32'} "
        f"threads={torch.get_num_threads()} {device.processor()}",
        "versions": device.versions(),
        "commit": device.commit(),
        "host": platform.node(),
        "attempt": attempt(store, reading.id),
    }


class NetworkWorker:
    """Works the networks of a study of the theory in a worker process.

    A unit names networks that are trained side by side, as far as they have one shape.
    """

    def __init__(self, setting: dict[str, Any]) -> None:
        torch.set_num_threads(setting["threads"])
        self._store = Store(setting["store"])
        study = TheoryStudy.model_validate(setting["theory"])
        self._study = study.study
        self._networks = {network.id: network for network in networks(study)}

    def work(self, unit: dict[str, Any], tell: Callable[..., None]) -> None:
        """Train the networks that a unit names, and write their rows."""
        wanted = [self._networks[network] for network in unit["networks"]]
        run_networks(
            wanted, self._study, self._store, lambda network: tell("network", network=network)
        )
