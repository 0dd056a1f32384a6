"""Claim: learning curves are foretold better than by the forms of their own paper, and 95 %
intervals hold what is measured later in 93 to 97 %, on public curves and on others.

    python benchmarks/curves.py [--write]       (HEADWATER_DATA: docs/data.md; five minutes)

Public curves: 72 few-shot curves of Alabdulmohsin et al. 2022, with their own split; most constants
of the engine were found on them. Learners: scikit-learn's on photos (learners.py), on which one
constant was found (that few points cannot show a knee). A line hides the
ends of all curves, predicts the point nearest to `ratio` times the last one that is shown, and
compares with the law fitted by least squares from the same start, with the delta method and t.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from curve_forms import FORMS, delta_t
from learners import learning_curves
from numpy.typing import NDArray
from pages import Page, table

from headwater.analysis.curves import Curve, Predictor, curves_of
from headwater.analysis.curves.law import LEAST_POINTS, knee

PAGE = Path(__file__).parent / "curves.md"
Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]
LOW, HIGH = 93.0, 97.0


def public(root: Path) -> dict[str, tuple[Points, Points]]:
    """Curve -> ((n, error) to fit, (n, error) to predict)."""
    rows = pd.read_csv(root / "scaling" / "fewshot_curves.csv", skipinitialspace=True)
    curves = {}
    for (task, model), part in rows.groupby(["Task", "Model"]):
        mean = part.groupby(["Training", "Seen Examples"])["Loss"].mean()
        sides = [(side.index.to_numpy(float), side.to_numpy(float)) for side in (mean[1], mean[0])]
        curves[f"{task} {model}"] = sides[0], sides[1]
    return curves


def thinned(n: Floats, error: Floats, step: float) -> Points:
    """Points about a factor `step` apart, from the last one back."""
    wanted = n[-1] / step ** np.arange(40)
    wanted = wanted[wanted >= 0.9 * n[0]]
    places = sorted({int(np.abs(np.log(n / one)).argmin()) for one in wanted})
    return n[places], error[places]


def predictor_of(curves: dict[str, Points]) -> Predictor:
    rows = [
        (name, *each) for name, (n, error) in curves.items() for each in zip(n, error, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["curve", "n", "score"])
    return Predictor.of(curves_of(frame, named="curves", better="lower"))


def official(page: Page, curves: dict[str, tuple[Points, Points]]) -> None:
    page.say("", "## Their split: fitted on its first part, up to 2 times further", "")
    ours = predictor_of({name: shown for name, (shown, _) in curves.items()})
    off: dict[str, list[float]] = {name: [] for name in (*FORMS, "ours")}
    held, width, peers, peer_width = [], [], [], []
    for number, (shown, later) in enumerate(curves.values()):
        for name, form in FORMS.items():
            off[name].append(_rms(form(*shown)(later[0]) - later[1]))
        found = ours.of_one(number, later[0])
        off["ours"].append(_rms(np.array([one.prediction for one in found]) - later[1]))
        inside = [one.low <= y <= one.high for one, y in zip(found, later[1], strict=True)]
        held.append(np.mean(inside))
        width.append(np.median([one.high - one.low for one in found]))
        mean, half = _delta(ours.curves[number], later[0])
        peers.append(np.mean(np.abs(later[1] - mean) <= half))
        peer_width.append(np.median(2 * half))
    body = [
        [name, f"{100 * np.mean(values):.2f}", f"{100 * np.median(values):.2f}"]
        for name, values in off.items()
    ]
    page.say(*table(["form", "error, points", "median"], body), "")
    page.say("Error: root mean square over the points of a curve, mean and median over 72 curves.")
    page.say("", *_widths([("ours", held, width), ("law, delta method, t", peers, peer_width)]))
    best = min(np.mean(off[name]) for name in FORMS)
    page.limit("a lower error than M1 to M4", float(np.mean(off["ours"])) < best)
    covered = 100 * float(np.mean(held))
    page.limit(f"intervals of their split hold in {covered:.1f} %", LOW <= covered <= HIGH)
    page.limit("narrower than the delta method's", np.median(width) < np.median(peer_width))


def hidden_ends(page: Page, name: str, curves: dict[str, Points], ratios: Iterable[float]) -> None:
    body = []
    for ratio in ratios:
        shown, later = {}, {}
        for curve, (n, error) in curves.items():
            first = n <= 1.02 * n[-1] / ratio
            if first.sum() >= 5:
                place = int(np.abs(np.log(n / (n[first][-1] * ratio))).argmin())
                shown[curve] = n[first], error[first]
                later[curve] = n[place : place + 1], error[place]
        if len(shown) < 20:
            continue
        ours = predictor_of(shown)
        held, width, off, peers, peer_width = [], [], [], [], []
        for number, (n, error) in enumerate(later.values()):
            (one,) = ours.of_one(number, n)
            held.append(one.low <= error <= one.high)
            width.append(one.high - one.low)
            off.append(one.prediction - error)
            mean, half = _delta(ours.curves[number], n)
            peers.append(abs(error - mean[0]) <= half[0])
            peer_width.append(2 * half[0])
        body.append(
            [
                f"{name}, {ratio:g} times",
                str(len(held)),
                f"{np.median([len(n) for n, _ in shown.values()]):.0f}",
                f"{100 * _rms(np.array(off)):.2f}",
                f"{100 * np.mean(held):.0f}",
                f"{100 * np.median(width):.1f}",
                f"{100 * np.mean(peers):.0f}",
                f"{100 * np.median(peer_width):.1f}",
            ]
        )
        _ALL.append((held, width, peer_width))
    page.say(*body_lines(body))


_ALL: list[tuple[list[bool], list[float], list[float]]] = []
_HEAD = ["hidden", "curves", "points", "error", "hold %", "width", "t holds %", "t width"]


def body_lines(body: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in body]


def hiding(page: Page, root: Path, curves: dict[str, tuple[Points, Points]]) -> None:
    page.say("", "## Ends that are hidden", "")
    page.say("Points and widths are of errors in percent; `t`: the law, delta method and t.", "")
    page.say(*table(_HEAD, []))
    whole = {
        name: (np.r_[shown[0], later[0]], np.r_[shown[1], later[1]])
        for name, (shown, later) in curves.items()
    }
    hidden_ends(page, "public", whole, (2, 4, 10))
    for step in (1.5, 2.0):
        thin = {name: thinned(*points, step) for name, points in whole.items()}
        hidden_ends(page, f"public, every {step:g} times", thin, (2, 4, 8))
    rng = np.random.default_rng(0)
    noisy = {}
    for name, points in whole.items():
        n, error = thinned(*points, 1.5)
        noisy[name] = n, error + 0.01 * rng.standard_normal(len(n))
    hidden_ends(page, "public, every 1.5 times, noise of 1 point", noisy, (2, 4, 8))
    others = {
        str(name): (part["n"].to_numpy(float), 1 - part["score"].to_numpy() / 100)
        for name, part in learning_curves(root).groupby("curve", sort=False)
    }
    hidden_ends(page, "learners", others, (1.6, 2.6, 4.1, 6.6, 10.5))
    held = np.concatenate([each for each, _, _ in _ALL])
    page.say("", f"All lines together: {100 * held.mean():.1f} % of {len(held):,} hold.")
    narrower = np.mean([np.median(ours) < np.median(t) for _, ours, t in _ALL])
    page.say(f"Median widths are below those of t in {100 * narrower:.0f} % of the lines.")
    page.limit("intervals hold in 93 % or more", float(held.mean()) >= LOW / 100)


def speed(page: Page) -> None:
    rng = np.random.default_rng(0)
    n = np.geomspace(1e3, 1e6, 10)
    curves = {}
    for number in range(1000):
        floor, fall, exponent = rng.uniform([0, 0.2, 0.2], [0.3, 0.5, 0.8])
        noise = 0.01 * rng.standard_normal(10)
        curves[f"c{number}"] = n, floor + fall * (n / 1e3) ** -exponent + noise
    begin = time.process_time()
    found = predictor_of(curves).at([2e6, 4e6])
    seconds = time.process_time() - begin
    page.say("", "## Speed", "")
    page.say(
        f"1,000 curves of 10 points, fitted, their ends hidden, {len(found):,} predictions with "
        f"intervals: {seconds:.1f} s of one core (limit 10)."
    )
    page.limit("1,000 curves in 10 s", seconds < 10)


def _delta(curve: Curve, n: Floats) -> Points:
    start = min(knee(curve), max(len(curve.n) - LEAST_POINTS, 0))
    return delta_t(curve.n[start:], curve.error[start:], n)


def _rms(off: Floats) -> float:
    return float(np.sqrt(np.mean(off**2)))


def _widths(lines: list[tuple[str, list[float], list[float]]]) -> list[str]:
    body = [
        [name, f"{100 * np.mean(held):.1f}", f"{100 * np.median(width):.2f}"]
        for name, held, width in lines
    ]
    return table(["95 % intervals", "hold %", "median width, points"], body)


def main() -> int:
    parser = argparse.ArgumentParser(description="learning curves")
    parser.add_argument("--write", action="store_true", help="write benchmarks/curves.md")
    given = parser.parse_args()
    root = Path(os.environ["HEADWATER_DATA"])
    page = Page()
    page.say("# Learning curves", "", "`python benchmarks/curves.py --write`.")
    curves = public(root)
    official(page, curves)
    hiding(page, root, curves)
    speed(page)
    return page.end(PAGE if given.write else None)


if __name__ == "__main__":
    sys.exit(main())
