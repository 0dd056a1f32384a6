"""Rebuilds docs/theory.md and its figures from the committed rows: python tools/make_theory.py

The rows are what `headwater run studies/hong2023/theory.yaml` left behind, exported with

    headwater theory run studies/hong2023/theory.yaml --out docs/results/theory.parquet

A test checks that the page holds what this script writes. Figures: theory_model.png (a sample of
each kind, made anew), theory_NAME.png from rows.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from headwater.report.charts import SCHEMA, theme
from headwater.report.figures import draw
from headwater.rows import read_rows
from headwater.theory.analysis import (
    curve,
    dependence,
    errors,
    findings,
    response_exponent,
    response_ratio,
)
from headwater.theory.analysis.table import networks_table
from headwater.theory.report import theory_figures
from headwater.theory.simulation import World, draws, samples

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "docs" / "results" / "theory.parquet"
PAGE = ROOT / "docs" / "theory.md"
PARTS = {
    "check": ("check", "between", "course"),
    "tuned": ("tuned", "tuned-longer"),
    "u": ("u",),
    "u-slower": ("u-slower",),
    "u-width": ("u-width",),
}
"""Sweeps of the parts of the study that are concluded about apart; the constants are all others."""
FIGURES = {
    "check at one noise": ("errors", "ratio", "gradual"),
    "check": ("phase",),
    "constants": ("dependence",),
    "u": ("curve",),
}


def part_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The lines of networks of one part of the study; a network can be of several.

    Read-outs and tests that the part does not name are left out.
    """
    sweeps = table["sweep"].astype(str).str.split(", ")
    known = {sweep for part in PARTS.values() for sweep in part}
    if name == "constants":
        return table[
            sweeps.map(lambda names: bool(set(names) - known)) & (table["read_out"] == "max")
        ]
    of_part = table[[bool(set(PARTS[name]) & set(names)) for names in sweeps]]
    return (
        of_part[(of_part["sigma_star"] == 0.5) & (of_part["alpha_dagger"] == 0.1)]
        if name == "tuned"
        else of_part
    )


def usual_noise(check: pd.DataFrame) -> pd.DataFrame:
    """The part at the strong noise that the tables show; responses know of none."""
    return check[check["sigma_star"] == 0.5]


def percent(value: float) -> str:
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") if value else "0"


def error_word(row: dict[Any, Any]) -> str:
    """An error in percent with its interval; where every seed is the same, what its test samples
    leave open.
    """
    if not row["agree"]:
        return f"{percent(row['error'])} ({percent(row['low'])} to {percent(row['high'])})"
    within = (
        ""
        if pd.isna(row["within_high"])
        else f" ({percent(row['within_low'])} to {percent(row['within_high'])})"
    )
    return f"{percent(row['error'])} at each seed{within}"


def lines(head: list[str], body: list[list[str]], left: int = 1) -> str:
    rule = "|---" * left + "|---:" * (len(head) - left) + "|"
    return (
        "\n".join(
            ["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in body)]
        )
        + "\n"
    )


def check_table(check: pd.DataFrame) -> str:
    """Errors of the numerical check by the largest head, at sigma* = 0.5."""
    rates = errors(
        check[
            (check["sigma_star"] == 0.5)
            & (check["read_out"] == "max")
            & check["final"].astype(bool)
        ]
    )
    rows = {
        (row["subclasses"], row["labels"], row["samples"]): row for row in rates.to_dict("records")
    }
    body = []
    for k in sorted({key[0] for key in rows}):
        cells = [
            error_word(rows[k, labels, kind]) if (k, labels, kind) in rows else "\u2013"
            for kind in ("easy", "hard")
            for labels in ("coarse", "fine")
        ]
        body.append(
            [
                str(k),
                str(max(int(row["num_seeds"]) for key, row in rows.items() if key[0] == k)),
                *cells,
            ]
        )
    return lines(
        [
            "k",
            "seeds",
            "easy, coarse labels",
            "easy, fine labels",
            "hard, coarse labels",
            "hard, fine labels",
        ],
        body,
    )


def read_out_table(check: pd.DataFrame) -> str:
    """The worst mean hard error of fine labels over k, by read-out and sigma*."""
    rates = errors(check[check["final"].astype(bool)])
    hard = rates[
        (rates["samples"] == "hard")
        & (rates["labels"] == "fine")
        & rates["subclasses"].isin([1, 4, 16, 32])
    ]
    body = []
    for read_out in ("max", "sum"):
        of_read_out = hard[hard["read_out"] == read_out]
        worst = []
        for sigma in sorted(of_read_out["sigma_star"].unique()):
            of_sigma = of_read_out[of_read_out["sigma_star"] == sigma].to_dict("records")
            worst.append(max(of_sigma, key=lambda row: row["error"]))
        cells = [
            f"{error_word(row)}, k = {row['subclasses']}" if row["error"] else "0 at every k"
            for row in worst
        ]
        body.append([f"fine, {read_out}", *cells])
    return lines(
        [
            "labels, read-out",
            *[f"\u03c3* = {sigma:g}" for sigma in sorted(hard["sigma_star"].unique())],
        ],
        body,
    )


def tuned_table(tuned: pd.DataFrame) -> str:
    """Hard errors by read-out, and after fine-tuning on the superclasses, for coarse and fine
    labels.
    """
    rates = errors(tuned[tuned["final"].astype(bool)])
    hard = rates[rates["samples"] == "hard"].to_dict("records")
    body = []
    for labels in ("coarse", "fine"):
        for read_out, steps in (("max", 0), ("sum", 0), ("tuned", 100), ("tuned", 1000)):
            by_k = {
                row["subclasses"]: row
                for row in hard
                if (row["labels"], row["read_out"], row["tune_steps"]) == (labels, read_out, steps)
            }
            word = f"tuned for {steps:,} steps" if steps else read_out
            body.append([labels, word, *[error_word(by_k[k]) for k in sorted(by_k)]])
    counts = sorted({row["subclasses"] for row in hard})
    return lines(["labels", "read by", *[f"k = {k}" for k in counts]], body, left=2)


def ratio_table(check: pd.DataFrame) -> str:
    ratios = response_ratio(usual_noise(check))
    body = [
        [
            str(row["subclasses"]),
            f"{row['ratio']:.4f} ({row['low']:.4f} to {row['high']:.4f})",
            f"{row['ratio'] * row['subclasses']:.2f}",
        ]
        for row in ratios.to_dict("records")
    ]
    return lines(["k", "response to fine features / to the common one", "times k"], body)


def exponents(check: pd.DataFrame) -> str:
    fits = [
        f"over k = {row['from_k']} to {row['to_k']} as 1 / k^{row['exponent']:.3f} "
        f"(95 % interval {row['low']:.3f} to {row['high']:.3f}, {row['num_seeds']} seeds)"
        for row in response_exponent(usual_noise(check)).to_dict("records")
    ]
    return "; ".join(fits) + "."


def dependence_table(constants: pd.DataFrame) -> str:
    """Where the transition is for each value of each constant, and how far that is from the usual
    one.
    """
    shifts = dependence(constants)
    shifts = shifts[shifts["usual"].astype(bool)]
    body = []
    for row in shifts.to_dict("records"):
        same = row["value"] == row["base"] or (pd.isna(row["value"]) and pd.isna(row["base"]))
        shift = "the usual" if same else "\u2013"
        if not same and not pd.isna(row["shift_low"]):
            star = "*" if row["told"] else ""
            shift = (
                f"{row['shift']:+.2f} ({row['shift_low']:+.2f} to {row['shift_high']:+.2f}){star}"
            )
        value = "none" if pd.isna(row["value"]) else f"{row['value']:g}"
        body.append([str(row["constant"]), value, _where(row), shift])
    return lines(
        [
            "constant",
            "value",
            "k at which half of the hard samples are wrong",
            "octaves from the usual",
        ],
        body,
        left=2,
    )


def _where(row: dict[Any, Any]) -> str:
    if row["answer"] == "crosses":
        return f"{row['transition']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
    if row["answer"] == "never":
        return f"beyond {row['below']:g}"
    if row["answer"] == "already at the smallest k":
        return f"below {row['above']:g}"
    ends = {
        "num_crosses": "cross",
        "num_never": "never do",
        "num_already": "are past it at the smallest k",
    }
    return ", ".join(f"{row[name]} seeds {word}" for name, word in ends.items() if row[name])


def mechanism_table(constants: pd.DataFrame) -> str:
    """The transition beside alpha / alpha-dagger, where the mechanism puts it."""
    shifts = dependence(constants)
    shifts = shifts[
        shifts["usual"].astype(bool) & shifts["constant"].isin(["alpha_dagger", "alpha"])
    ]
    body = []
    for row in shifts.to_dict("records"):
        alpha, dagger = (row["value"], 0.1) if row["constant"] == "alpha" else (1.0, row["value"])
        expected = "none" if not dagger else f"{alpha / dagger:.3g}"
        body.append([f"{alpha:g}", f"{dagger:g}", expected, _where(row)])
    return lines(["\u03b1", "\u03b1\u2020", "\u03b1 / \u03b1\u2020", "measured k"], body, left=3)


def curve_table(table: pd.DataFrame) -> str:
    points = curve(table)
    losses = table[table["final"].astype(bool)].groupby("labels")["train_loss"].mean()
    by_labels: dict[tuple[str, str], dict[str, Any]] = {}
    for row in points.to_dict("records"):
        by_labels.setdefault((row["series"], row["labels"]), {})[row["samples"]] = row
    body = [
        [
            labels,
            series,
            f"{errors_of['hard']['num_labels']:.0f}",
            f"{losses[labels]:.3f}",
            error_word(errors_of["easy"]),
            error_word(errors_of["hard"]),
        ]
        for (series, labels), errors_of in sorted(
            by_labels.items(), key=lambda item: (item[0][0], item[1]["hard"]["num_labels"])
        )
    ]
    return lines(
        ["labels", "series", "classes", "training loss, nats", "easy", "hard"], body, left=2
    )


def sentence(table: pd.DataFrame, name: str) -> str:
    return str(findings(table)["answers"][name]["sentence"])


def block(table: pd.DataFrame) -> str:
    check, constants, tuned, u, slower, width = (
        part_of(table, name) for name in ("check", "constants", "tuned", "u", "u-slower", "u-width")
    )
    counts = findings(table)
    return "\n".join(
        [
            f"{counts['networks']:,} networks; {counts['unconverged']:,} of them were ended by "
            "their number of steps and not by their loss.\n",
            "### The numerical check, over ten seeds\n",
            "d = 512, 32 neurons a head, batches of 256; hard samples with \u03c3* = 0.5 and "
            f"\u03b1\u2020 = 0.1; {int(check['test_samples'].max()):,} easy "
            "and as many hard test samples a seed. Percent told wrongly, with Student's 95 % "
            "interval over seeds; where all seeds agree, with what their test "
            "samples leave open.\n",
            check_table(check),
            "Other read-outs and other \u03c3*, hard samples, worst of k = 1, 4, 16, 32:\n",
            read_out_table(check),
            sentence(usual_noise(check), "transition") + "\n",
            "Read-outs and fine-tuning, hard samples with \u03c3* = 0.5, at d = 128 and 16 "
            f"neurons a head, {tuned['seed'].nunique()} seeds:\n",
            tuned_table(tuned),
            "### Why: responses\n",
            "Under coarse labels the response of neurons to their class's fine features, over "
            f"that to its common feature, falls {exponents(check)}\n",
            ratio_table(check),
            sentence(usual_noise(check), "gradual") + "\n",
            "### What moves the transition\n",
            f"d = 128, 16 neurons a head, batches of 128, {constants['seed'].nunique()} seeds, "
            "coarse labels, one constant at a time. Octaves of k, with "
            "intervals over paired seeds corrected for all shifts of the table; * is told: the "
            "interval excludes 0, and the shift is larger than the steps "
            "between the measured k, within which a transition is not known.\n",
            mechanism_table(constants),
            dependence_table(constants),
            "### Ever finer labels: is it a U?\n",
            "Beyond the theorem: k = 16, 512 neurons, 512 training samples, \u03c3\u03b6 = 0.5, "
            "1,000 steps, then the superclass task is tuned for 100:\n",
            curve_table(u),
            sentence(u, "curve") + "\n",
            "The same slower and for longer (a quarter of the rate, 3,000 steps):\n",
            curve_table(slower),
            sentence(slower, "curve") + "\n",
            "The same as the first with 16 neurons for every label, so that the network grows with "
            "the labels:\n",
            curve_table(width),
            sentence(width, "curve") + "\n",
        ]
    )


def with_block(page: str, table: pd.DataFrame) -> str:
    """The page with what stands between its marks made anew."""
    made = block(table)
    return re.sub(
        r"(<!-- theory -->\n).*?(<!-- /theory -->)",
        lambda m: m[1] + made + m[2],
        page,
        flags=re.DOTALL,
    )


def model_figure() -> dict[str, Any]:
    """Inner products of the patches of one easy and one hard sample of subclass 3 of superclass +
    with the dictionary, k = 4.
    """
    world = World(k=4)
    features = [
        "common +",
        "common \u2212",
        *(f"fine {side}{i}" for side in "+\u2212" for i in range(1, 5)),
    ]
    drawn = draws(64, world.patches, world.d, seed=0, purpose="picture")
    panels = []
    for word, share in (("easy", 0.0), ("hard", 1.0)):
        made = samples(world, drawn, hard_share=share)
        sample = int((made.subclass == 2).nonzero()[0])
        patches = made.x[sample]
        values = [
            {"patch": patch + 1, "feature": name, "value": float(patches[patch, i])}
            for patch in range(world.patches)
            for i, name in enumerate(features)
        ]
        rest = patches[:, len(features) :].norm(dim=1)
        values += [
            {"patch": patch + 1, "feature": "noise, norm", "value": float(rest[patch])}
            for patch in range(world.patches)
        ]
        x = {
            "field": "feature",
            "type": "nominal",
            "sort": [*features, "noise, norm"],
            "axis": {"title": None, "labelAngle": -45},
        }
        y = {"field": "patch", "type": "ordinal", "axis": {"title": "patch"}}
        scale = {"domain": [-1, 1], "scheme": "blueorange"}
        colour = {
            "field": "value",
            "type": "quantitative",
            "scale": scale,
            "legend": {"title": "strength", "orient": "right"},
        }
        number = {"field": "value", "type": "quantitative", "format": ".1f"}
        layers = [
            {"mark": "rect", "encoding": {"color": colour}},
            {"mark": {"type": "text", "fontSize": 9}, "encoding": {"text": number}},
        ]
        panel = {
            "title": f"{word} sample of superclass +, subclass 3",
            "data": {"values": values},
            "width": {"step": 30},
            "height": {"step": 22},
            "encoding": {"x": x, "y": y},
            "layer": layers,
        }
        panels.append(panel)
    subtitle = "inner product of each patch with each feature, and the norm of the rest"
    title = {
        "text": "A sample as its patches meet the dictionary",
        "subtitle": subtitle,
        "fontSize": 14,
    }
    config = theme(dark=False) | {"background": "white", "font": "Helvetica, Arial, sans-serif"}
    return {
        "$schema": SCHEMA,
        "title": title,
        "hconcat": panels,
        "spacing": 30,
        "padding": 16,
        "config": config,
    }


def figures(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """File name -> specification."""
    made = {"theory_model": model_figure()}
    for part, names in FIGURES.items():
        specs = theory_figures(
            usual_noise(part_of(table, "check"))
            if part == "check at one noise"
            else part_of(table, part)
        )
        made |= {f"theory_{name}": specs[name] for name in names}
    return made


if __name__ == "__main__":
    told = networks_table(read_rows(ROWS))
    PAGE.write_text(with_block(PAGE.read_text(), told))
    for name, spec in figures(told).items():
        image = Image.open(io.BytesIO(draw(spec, "png"))).convert("RGB")
        image.quantize(96).save(PAGE.parent / f"{name}.png", optimize=True)
    print(f"wrote {PAGE.name} and its figures")
