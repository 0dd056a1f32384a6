"""Claim: where r images of one source hold as many creatures as one image of another, the exchange
rate that is measured is r: in six worlds that are really run, and in tables that are drawn from
their curves and their noise.

    python benchmarks/dilution.py --store DIR           six studies; exit code 1: a limit is missed
    python benchmarks/dilution.py --store DIR --write   writes the page and the rows as well
    python benchmarks/dilution.py                       from the committed rows; draws alone

Cost: 30 minutes on 2 cores beside other work. Each study is drawn, pre-trained and measured in a
store of its own under DIR, so that a benchmark that was killed goes on.

Each creature of the diluted source is there r times, in one pose and light, with other noise on its
pixels (`diluted_by: copies`). Arms see equally many images, so that every creature is seen as often
in r n images as in n undiluted ones: the rate is r by the plant, at every size. Noise is faint: of
the world's usual noise, copies show more than one image does (docs/log.md). How many images are
seen and the learning rate were chosen on worlds of seed 0; each rate has a world of its own here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pages import Page, share, table

import headwater
from headwater.analysis import Aim
from headwater.analysis.curves.hiding import fitter_of, hidden
from headwater.analysis.evidence import evidence_of
from headwater.analysis.exchange import Exchange, Rate, Seeds, curves_of_rows, exchange_rate
from headwater.rows import read_rows, write_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "dilution.md"
ROWS = ROOT / "benchmarks" / "dilution.parquet"
Floats = NDArray[np.float64]
RATES = (2, 4, 8)
DOMAINS = ("paint", "mosaic")
SIZES = (40, 70, 120, 200, 350)
"""Images of the undiluted source; the other one has r times as many."""
LOOK: dict[str, Any] = {"code_strength": 1.0, "code_cell": 2.6, "noise": 0.005}
EASY = {"hard_train": 0, "hard_test": 0}
DRAWN = 200


@dataclass(frozen=True)
class Plant:
    """A study whose exchange rate was planted."""

    rate: int
    domain: str

    @property
    def name(self) -> str:
        return f"dilution-{self.rate}-{self.domain}"

    @property
    def words(self) -> dict[str, Any]:
        most = max(SIZES)
        look = {"kind": "world", "domain": self.domain, "seed": self.rate, **LOOK}
        world = {**look, "val": 0, "test": 0}
        task = {**look, "collection": 1, **EASY}
        return {
            "study": self.name,
            "question": f"Are {self.rate} diluted images worth one?",
            "data": {
                "whole": {**world, "train": most},
                "diluted": {
                    **world,
                    "train": most * self.rate,
                    "dilution": self.rate,
                    "diluted_by": "copies",
                },
                "others": {**task, "train": 1600, "val": 400, "test": 1600},
            },
            "sources": {
                "whole": {"sizes": list(SIZES)},
                "diluted": {"sizes": [self.rate * size for size in SIZES]},
            },
            "methods": ["supervised"],
            "labels": "level:0",
            "seeds": 3,
            "budget": {"images_seen": 12_000},
            "recipe": {"batch": 32, "augmentation": {"crop_min": 0.6, "jitter": 0.2}},
            "tasks": {"species": {"data": "others", "labels": "level:0"}},
            "protocols": {"probe": {"shots": ["full"], "draws": 1}},
        }


PLANTS = tuple(Plant(rate, domain) for rate in RATES for domain in DOMAINS)


def run(plant: Plant, store: Path) -> pd.DataFrame:
    """Runs what the study's store lacks, in this process."""
    home = store / plant.name
    home.mkdir(parents=True, exist_ok=True)
    path = home / "study.yaml"
    path.write_text(yaml.safe_dump(plant.words, sort_keys=False), encoding="utf-8")
    rows = headwater.run(path, store=home / "store", engine="inline", device="cpu")
    failed = rows[rows["status"] == "failed"]
    if len(failed):
        raise RuntimeError(f"{plant.name}: {len(failed)} cells: {failed['reason'].iat[0]}")
    return rows


def run_all(store: Path, workers: int = 2) -> pd.DataFrame:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        jobs = [pool.submit(run, plant, store) for plant in PLANTS]
        return pd.concat([job.result() for job in jobs], ignore_index=True)


def sides(rows: pd.DataFrame) -> tuple[Seeds, Seeds]:
    """Scores of the diluted source and of the whole one."""
    found = evidence_of(rows)
    line = found.line("probe", None)
    assert line is not None
    by_source = {one.source: one.seeds(line, {}) for one in curves_of_rows(found)}
    return by_source["diluted"], by_source["whole"]


def drawn(sides: tuple[Seeds, Seeds], rate: int, rng: np.random.Generator) -> tuple[Seeds, Seeds]:
    """As many seeds of two sources that differ in dilution alone: r n images of the one have the
    mean error that was measured at n of the other. What is off by a seed is drawn with the
    covariance, over sizes, of both sources' seeds.
    """
    diluted, whole = sides
    left = np.concatenate([side.errors - side.errors.mean(axis=0) for side in sides])
    scale = len(left) - len(sides)
    out = []
    for side in sides:
        weights = rng.standard_normal((len(side.seeds), len(left)))
        errors = whole.errors.mean(axis=0) + weights @ left / np.sqrt(scale)
        n = whole.n * (rate if side is diluted else 1)
        out.append(Seeds(side.name, n, errors, side.seeds))
    return out[0], out[1]


def overall(pair: tuple[Seeds, Seeds]) -> Rate:
    curves = [side.curve for side in pair]
    fitter = fitter_of(curves, 0.0)
    return Exchange.of(*pair, fitter, hidden(curves, fitter)).overall()


def inside(rate: Rate, truth: float) -> bool:
    """Whether an interval with two ends holds it."""
    return rate.low is not None and rate.high is not None and rate.low <= truth <= rate.high


def wide(rate: Rate) -> float:
    """The upper end over the lower one."""
    if rate.low is None or rate.high is None:
        return float("inf")
    return rate.high / rate.low


def measured(page: Page, rows: pd.DataFrame) -> None:
    page.say("", "## Six worlds that were run", "")
    body, held = [], []
    for plant in PLANTS:
        own = rows[rows["study"] == plant.name]
        found = exchange_rate(own, "diluted", "whole", Aim(protocol="probe"))
        held.append(inside(found.overall, plant.rate))
        body.append(
            [
                f"{plant.rate}, {plant.domain}",
                found.overall.words,
                f"{wide(found.overall):.2f}",
                *(rate.words for rate in found.rates),
            ]
        )
    head = ["planted, world", "over all sizes", "wide", *(f"at {n:,} whole" for n in SIZES)]
    page.say(*table(head, body), "", f"The planted rate is inside in {sum(held)} of {len(held)}.")
    page.limit("the planted rate is inside all six intervals", all(held))


def simulated(page: Page, rows: pd.DataFrame, tables: int) -> None:
    page.say("", "## Tables that were drawn from them", "")
    rng = np.random.default_rng(0)
    body, every = [], []
    for plant in PLANTS:
        pair = sides(rows[rows["study"] == plant.name])
        found = [overall(drawn(pair, plant.rate, rng)) for _ in range(tables)]
        held = [inside(rate, plant.rate) for rate in found]
        every += held
        body.append(
            [
                f"{plant.rate}, {plant.domain}",
                share(held),
                f"{np.median([wide(rate) for rate in found]):.2f}",
            ]
        )
    page.say(*table(["planted, world", "hold %", "wide"], body))
    page.say("", f"All together: {share(every)} %.")
    page.limit("drawn rates hold in 93 to 97 %", 0.93 <= np.mean(every) <= 0.97)


def curves(page: Page, rows: pd.DataFrame) -> None:
    page.say("", "## Accuracy, %, mean of three seeds ± their standard deviation", "")
    body = []
    for plant in PLANTS:
        for side in reversed(sides(rows[rows["study"] == plant.name])):
            cells = [f"{100 - one.mean():.1f} ± {one.std(ddof=1):.1f}" for one in side.errors.T]
            body.append([f"{plant.rate}, {plant.domain}, {side.name.split(' · ')[-1]}", *cells])
    page.say(*table(["world and source", *(f"{n:,} creatures" for n in SIZES)], body))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="where the six studies are run")
    parser.add_argument("--tables", type=int, default=DRAWN, help="drawn of each world")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows = read_rows(ROWS) if given.store is None else run_all(given.store)
    page = Page()
    page.say("# Dilution: planted exchange rates, really run", "")
    page.say(f"`python benchmarks/dilution.py --store DIR --write`, {given.tables} tables a world.")
    measured(page, rows)
    simulated(page, rows, given.tables)
    curves(page, rows)
    if given.write and given.store is not None:
        write_rows(rows, ROWS)
    return page.end(PAGE if given.write else None)


if __name__ == "__main__":
    sys.exit(main())
