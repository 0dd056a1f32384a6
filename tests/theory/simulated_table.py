"""Tables of simulated networks with known answers: no network is trained, errors and responses are
written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from headwater.theory.analysis.settings import RESPONSE_COLUMNS, SHARES

Line = dict[str, Any]
DEFAULTS: Line = (
    {
        "sweep": "test",
        "read_out": "max",
        "steps": 300,
        "final": True,
        "converged": True,
        "test_samples": 1000,
        "train_loss": 0.05,
        "d": 512,
        "patches": 8,
        "s": 2,
        "alpha": 1.0,
        "iota": 0.0,
        "alpha_dagger": 0.1,
        "sigma_zeta": 0.25,
        "sigma_star": 0.5,
        "hard_share": 0.0,
        "width": 32,
        "neurons": np.nan,
        "init": 0.02,
        "bias": -0.02,
        "batch": 256,
        "lr": 0.5,
        "stop_loss": 0.05,
        "max_steps": 1500,
        "train_samples": np.nan,
        "label_noise": 0.0,
        "tune_steps": 0,
        "precision": "fp32",
    }
    | dict.fromkeys(RESPONSE_COLUMNS, 0.1)
    | dict.fromkeys(SHARES, 0.5)
)


def line(
    k: int, labels: str, seed: int, *, easy: float = 0.0, hard: float = 0.0, **more: Any
) -> Line:
    """A network as training left it; heads of coarse, fine and named numbers of labels."""
    number = (
        labels.split(":")[1].split(" ")[0]
        if ":" in labels
        else {"coarse": "2", "fine": str(2 * k)}.get(labels, "4096")
    )
    return {
        **DEFAULTS,
        "subclasses": k,
        "labels": labels,
        "num_labels": int(number),
        "seed": seed,
        "easy_error": easy,
        "hard_error": hard,
        **more,
    }


def table(lines: Iterable[Line]) -> pd.DataFrame:
    return pd.DataFrame(list(lines))


def sigmoid(octaves: float, sharpness: float = 3.0) -> float:
    return float(1 / (1 + np.exp(-sharpness * octaves)))


def story(seeds: int = 5, ks: Sequence[int] = (1, 2, 4, 8, 16, 32)) -> pd.DataFrame:
    """A whole table that answers every question, much like what the paper's check shows: the
    transition is at k = 6 times (d / 512) ^ 0.5, later for less noise; the ratio is 1/k; a U;
    responses over time.
    """
    return table([*_main(seeds, ks), *_constants(seeds, ks), *_labels(seeds), *_looks(seeds)])


def _coarse_error(k: int, place: float, rng: np.random.Generator) -> float:
    return round(sigmoid(np.log2(k / place) + 0.15 * rng.normal()), 3)


def _main(seeds: int, ks: Sequence[int]) -> Iterator[Line]:
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for k in ks:
            ratio = rng.lognormal(0, 0.08) / k
            responses = {"common_aligned_mean": 0.5, "fine_aligned_mean": 0.5 * ratio}
            for sigma in (0.0, 0.25, 0.5, 1.0):
                yield line(
                    k,
                    "coarse",
                    seed,
                    hard=_coarse_error(k, 8 - 4 * sigma, rng),
                    sigma_star=sigma,
                    **responses,
                )
                for read_out in ("max", "sum", "tuned"):
                    hard = (
                        0.02 * sigma if read_out != "tuned" else 0.05 + 0.1 * sigma * rng.random()
                    )
                    yield line(
                        k,
                        "fine",
                        seed,
                        hard=hard,
                        sigma_star=sigma,
                        read_out=read_out,
                        common_aligned_mean=0.4,
                        fine_aligned_mean=0.4,
                    )


def _constants(seeds: int, ks: Sequence[int]) -> Iterator[Line]:
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        for k in ks:
            for d in (128, 2048):
                yield line(
                    k,
                    "coarse",
                    seed,
                    d=d,
                    hard=_coarse_error(k, 6 * (d / 512) ** 0.5, rng),
                    common_aligned_mean=0.5,
                    fine_aligned_mean=0.5 / k,
                )
            for dagger, place in ((0.0, 1e6), (0.05, 12.0), (0.2, 3.0)):
                yield line(
                    k,
                    "coarse",
                    seed,
                    alpha_dagger=dagger,
                    hard=_coarse_error(k, place, rng),
                    common_aligned_mean=0.5,
                    fine_aligned_mean=0.5 / k,
                )


def _labels(seeds: int) -> Iterator[Line]:
    errors = {
        "coarse": 0.95,
        "merge:4": 0.6,
        "merge:8": 0.2,
        "merge:16": 0.03,
        "fine": 0.0,
        "random:128 within fine": 0.04,
        "random:512 within fine": 0.18,
        "instance": 0.42,
        "random:32": 0.5,
        "random:128": 0.5,
        "shuffle:8": 0.47,
        "shuffle:16": 0.44,
        "random:32 within coarse": 0.9,
    }
    for seed in range(seeds):
        rng = np.random.default_rng(200 + seed)
        for labels, error in errors.items():
            for read_out in ("max", "sum"):
                hard = float(np.clip(error + 0.02 * rng.normal(), 0, 1)) if error else 0.0
                yield line(
                    16,
                    labels,
                    seed,
                    hard=round(hard, 3),
                    easy=round(hard / 8, 3),
                    read_out=read_out,
                    train_samples=4096.0,
                    sweep="labels",
                )


def _looks(seeds: int) -> Iterator[Line]:
    for seed in range(seeds):
        end = 260 + 20 * seed
        for step in [0, 25, 50, 75, 100, 150, 200, 250, end]:
            for labels, rate in (("coarse", 16), ("fine", 1)):
                common, fine = (
                    0.5 * (1 - np.exp(-step / 60)),
                    0.5
                    * (1 - np.exp(-step / (60 if labels == "fine" else 600)))
                    / rate
                    * 2 ** (0.1 * seed),
                )
                told = {
                    "common_aligned_mean": common,
                    "fine_aligned_mean": fine,
                    "common_other_mean": -0.1 * common,
                    "fine_other_mean": -0.02 * common,
                }
                told |= {
                    "hard": 0.5 * np.exp(-step / 90)
                    if labels == "fine"
                    else min(0.97, 0.5 + step / 300),
                    "easy": 0.5 * np.exp(-step / 40),
                }
                final = step == end
                yield line(
                    16,
                    labels,
                    seed,
                    steps=step,
                    final=final,
                    lr=0.1,
                    sweep="looks",
                    train_loss=3 * np.exp(-step / 80),
                    **told,
                )


def only(frame: pd.DataFrame, **where: Any) -> dict[Any, Any]:
    """The one line of a frame with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    (row,) = frame.to_dict("records")
    return row
