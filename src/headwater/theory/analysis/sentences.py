"""What a table of simulated networks says, as plain values and one sentence a question; also what
it cannot say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import t_interval
from headwater.analysis.words import count, interval, listed, missing, percent, points
from headwater.theory.analysis import label_curves, transitions
from headwater.theory.analysis.error_rates import errors, phase
from headwater.theory.analysis.label_curves import curve_shape
from headwater.theory.analysis.responses import gradual, response_exponent, response_ratio
from headwater.theory.analysis.settings import (
    CONSTANTS,
    at_setting,
    constant_word,
    finished,
    label_kind,
    main_read_out,
    networks,
    same,
    seed_values,
    setting_words,
    tied,
)
from headwater.theory.analysis.shown import (
    shown_course,
    shown_curve,
    shown_errors,
    shown_phase,
    shown_ratio,
    shown_transition,
)
from headwater.theory.analysis.transitions import HALF, dependence, transition

if TYPE_CHECKING:
    import pandas as pd

Told = tuple[str, "pd.DataFrame"]
QUESTIONS = {
    "errors": "Do coarse labels leave hard samples wrong where fine labels do not?",
    "transition": "At how many subclasses do coarse labels stop being enough for hard samples?",
    "dependence": "What moves that number?",
    "ratio": "Do responses to fine features fall as 1/k of those to common ones under coarse "
    "labels?",
    "phase": "Over which k and noise of the hard samples do coarse and fine labels fail?",
    "curve": "Is the error a U in the number of labels?",
    "gradual": "Which features are learned first?",
}


def findings(table: pd.DataFrame) -> dict[str, Any]:
    """Everything that the table says, ready for JSON (no NaN: what is not known is None).

    networks, seeds, unconverged (counts), read_out (the one that sentences speak of), tied
    (constants that vary only together with labels or k, so that their effect cannot be told from
    theirs), and answers: for each key of `QUESTIONS` its question, answered (bool), sentence ("Not
    in this table: ..." where it is not answered) and lines (the records of the analysis that it
    rests on). Raises InputError where a column is missing.
    """
    ends = finished(table)
    own = networks(ends).drop_duplicates(["subclasses", "labels", "seed", *CONSTANTS])
    made: dict[str, Callable[[pd.DataFrame], Told]] = {
        "errors": _errors, "transition": _transition, "dependence": _dependence, "ratio": _ratio, "phase": _phase, "curve": _curve, "gradual": _gradual,
    }  # fmt: skip
    answers = {}
    for name, question in QUESTIONS.items():
        sentence, lines = made[name](table)
        answered = not sentence.startswith("Not in this table")
        answers[name] = {
            "question": question,
            "answered": answered,
            "sentence": sentence,
            "lines": _plain(lines),
        }
    facts = {
        "networks": len(own),
        "seeds": int(own["seed"].nunique()),
        "unconverged": int((~own["converged"].astype(bool)).sum()),
    }
    return facts | {"read_out": main_read_out(ends), "tied": tied(ends), "answers": answers}


def _plain(lines: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _value(value) for name, value in row.items()}
        for row in lines.astype(object).to_dict("records")
    ]


def _value(value: Any) -> Any:
    """Values as JSON has them: numpy's scalars as Python's, tuples as lists, nothing as None."""
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    if missing(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _at(setting: dict[str, Any]) -> str:
    words = setting_words(setting)
    return f" (at {words})" if words else ""


def spread(row: dict[Any, Any]) -> str:
    """How sure a mean error is, from a line of `errors` or `curve`."""
    seeds = int(row["num_seeds"])
    lost = (
        f"; {count(int(row['num_unmeasured']), 'seed')} not measured"
        if row["num_unmeasured"]
        else ""
    )
    if seeds < 2:
        return f"one seed: no interval{lost}"
    if not row["agree"]:
        return f"95 % interval {percent(row['low'])} to {percent(row['high'])}, {seeds} seeds{lost}"
    within = (
        ""
        if missing(row["within_low"])
        else f", whose test samples leave open {percent(row['within_low'])} to "
        f"{percent(row['within_high'])} for each"
    )
    return f"at every one of {seeds} seeds{within}{lost}"


def _errors(table: pd.DataFrame) -> Told:
    found = errors(table)
    setting, part = shown_errors(table)
    part = part[part["read_out"] == main_read_out(part)]
    if not len(part):
        return (
            "Not in this table: hard errors of networks on coarse and on fine labels at the same "
            "k.",
            found,
        )
    k = int(part["subclasses"].max())
    largest = part[part["subclasses"] == k]
    rows = {(row["labels"], row["samples"]): row for row in _rows(errors(largest))}
    told = [
        f"{labels} labels leave {percent(rows[labels, 'hard']['error'])} of hard samples wrong "
        f"({spread(rows[labels, 'hard'])}) and "
        f"{percent(rows[labels, 'easy']['error'])} of easy ones"
        for labels in ("coarse", "fine")
    ]
    values = {labels: seed_values(own, "hard_error") for labels, own in largest.groupby("labels")}
    mean = t_interval((values["coarse"] - values["fine"]).dropna().tolist())
    exactly = ", exactly so at each" if mean.sd == 0 else ""
    low, high = (None if end is None else min(max(end, -1.0), 1.0) for end in (mean.low, mean.high))
    difference = (
        f"Coarse minus fine on hard samples: {points(mean.mean)} "
        f"({interval(low, high, mean.num_seeds)}{exactly})."
    )
    unconverged = int((~largest["converged"].astype(bool)).sum())
    stopped = (
        f" {count(unconverged, 'network')} of these did not reach the loss at which training ends."
        if unconverged
        else ""
    )
    return (
        f"At {setting_words({'subclasses': k} | setting)}, {'; '.join(told)}. "
        f"{difference}{stopped}",
        found,
    )


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.to_dict("records")


def k_word(value: Any) -> str:
    """A k that was measured or interpolated: '16', '8.3'."""
    return f"{float(value):.3g}"


def transition_words(row: dict[Any, Any]) -> str:
    """A line of `transition` or `dependence` in words."""
    seeds = count(int(row["num_seeds"]), "seed")
    answer = row["answer"]
    if answer == transitions.CROSSES:
        gap = f"measured at {k_word(row['below'])} and {k_word(row['above'])} around it"
        if missing(row["low"]):
            return (
                f"crosses one half at about k = {k_word(row['transition'])} ({seeds}: no "
                f"interval; {gap})"
            )
        sure = (
            f"between {k_word(row['low'])} and {k_word(row['high'])}: 95 % over {seeds}, and what "
            "lies between the measured k"
        )
        return f"crosses one half at about k = {k_word(row['transition'])} ({sure})"
    if answer == transitions.NEVER:
        return f"stays below one half up to k = {k_word(row['below'])} ({seeds})"
    if answer == transitions.ALREADY:
        return f"is above one half already at the smallest k = {k_word(row['above'])} ({seeds})"
    parts = [
        ("crosses one half", row["num_crosses"]),
        ("stays below one half", row["num_never"]),
        ("is above it at the smallest k", row["num_already"]),
    ]
    told = ", ".join(f"{word} at {count(int(number), 'seed')}" for word, number in parts if number)
    middle = "" if missing(row["median"]) else f"; median k = {k_word(row['median'])}"
    return f"{told}: no mean{middle}"


def _cautions(row: dict[Any, Any]) -> str:
    told = []
    if row["num_unmeasured"]:
        told.append(f"{count(int(row['num_unmeasured']), 'seed')} could not be asked")
    if row["num_returns"]:
        told.append(
            f"at {count(int(row['num_returns']), 'seed')} the error falls below one half again at "
            "a larger k"
        )
    if row["num_unconverged"]:
        told.append(
            f"{count(int(row['num_unconverged']), 'network')} did not reach the loss at which "
            "training ends"
        )
    return f" Beware: {'; '.join(told)}." if told else ""


def _transition(table: pd.DataFrame) -> Told:
    found = transition(table)
    asked = found[found["answer"].notna() & (found["answer"] != transitions.ONE_K)]
    if not len(asked):
        return "Not in this table: networks on coarse labels at two k or more.", found
    setting, part = shown_transition(asked, table)
    row = _rows(part)[0]
    others = (
        f" The table has {count(len(asked) - 1, 'other setting')} of the constants."
        if len(asked) > 1
        else ""
    )
    return (
        f"With coarse labels{_at(setting)} the hard error "
        f"{transition_words(row)}.{_expected(table, setting)}{_cautions(row)}{others}",
        found,
    )


def _expected(table: pd.DataFrame, setting: dict[str, Any]) -> str:
    """Where the mechanism puts the transition, if the table has one alpha and one alpha_dagger
    there.
    """
    part = at_setting(finished(table), setting)
    found = part[["alpha", "alpha_dagger", "hard_share", "label_noise"]].drop_duplicates()
    if (
        len(found) != 1
        or not found["alpha_dagger"].iloc[0] > 0
        or found[["hard_share", "label_noise"]].iloc[0].any()
    ):
        return ""
    k = float(found["alpha"].iloc[0] / found["alpha_dagger"].iloc[0])
    return (
        f" Our reading of the mechanism expects it near alpha / alpha_dagger = {k_word(k)}: there "
        "a response to the own fine feature that is 1/k of that to "
        "the common one is outweighed by the wrong class's faint common feature."
    )


def _dependence(table: pd.DataFrame) -> Told:
    found = dependence(table)
    if not len(found):
        return (
            "Not in this table: transitions at several values of a constant while the others stay.",
            found,
        )
    shown = found[found["usual"]] if found["usual"].any() else found
    told = []
    for (constant, _), part in shown.groupby(["constant", "others"], sort=False):
        rows = sorted(_rows(part), key=lambda row: not same(row["value"], row["base"]))
        words = [
            f"{_short(row)} at {constant_word(str(constant), row['value'])}{_octaves(row)}"
            for row in rows
        ]
        told.append(f"{constant}: {', '.join(words)}.")
    comparisons = found["num_comparisons"].iloc[0]
    brackets = (
        "octaves of k from the first, with 95 % intervals over paired seeds, corrected for "
        f"{comparisons} comparisons"
    )
    told.append(
        f"In brackets: {brackets}; told where the interval excludes 0 and the shift is larger than "
        "the steps between measured k."
    )
    other = (
        found[["constant", "others"]].drop_duplicates().shape[0]
        - shown[["constant", "others"]].drop_duplicates().shape[0]
    )
    more = [f"The table has {other} more series, at other values of the rest."] if other else []
    return " ".join(
        ["The k at which the hard error under coarse labels crosses one half, by", *told, *more]
    ), found


def _short(row: dict[Any, Any]) -> str:
    if row["answer"] == transitions.CROSSES:
        return f"k = {k_word(row['transition'])}"
    if row["answer"] == transitions.SOME:
        return f"some seeds only ({row['num_crosses']} of {row['num_seeds']})"
    return (
        f"none up to {k_word(row['below'])}"
        if row["answer"] == transitions.NEVER
        else f"already at {k_word(row['above'])}"
    )


def _octaves(row: dict[Any, Any]) -> str:
    if missing(row["shift"]):
        return ""
    sure = (
        f"{row['shift_seeds']} paired seed: no interval"
        if missing(row["shift_low"])
        else f"{row['shift_low']:+.2f} to {row['shift_high']:+.2f}"
    )
    return f" ({row['shift']:+.2f}; {sure}{', told' if row['told'] else ''})"


def _ratio(table: pd.DataFrame) -> Told:
    ratios, fits = response_ratio(table), response_exponent(table)
    fits = fits[fits["exponent"].notna() & (fits["num_k"] > 2)]
    if not len(fits):
        return (
            "Not in this table: responses of networks on coarse labels at three k or more, above "
            "0.",
            ratios,
        )
    setting, part = shown_ratio(fits, table)
    left_out = int(part["num_left_out"].max())
    beware = (
        f" {count(left_out, 'ratio')} of 0 or less, or without a response to the common feature, "
        "could enter no fit."
        if left_out
        else ""
    )
    told = "; ".join(exponent_words(row) for row in _rows(part))
    return (
        f"Under coarse labels{_at(setting)} the ratio of the response to fine features to that to "
        f"common ones goes {told}.{beware}",
        ratios,
    )


def exponent_words(row: dict[Any, Any]) -> str:
    """A line of `response_exponent` in words."""
    seeds = count(int(row["num_seeds"]), "seed")
    told = [f"{seeds}: no interval"]
    if not missing(row["low"]):
        inside = row["low"] <= 1 <= row["high"]
        told = [
            f"95 % interval of the exponent {row['low']:.2f} to {row['high']:.2f}, {seeds}",
            f"1/k is {'' if inside else 'not '}inside",
        ]
    if not missing(row["r2"]):
        told.append(
            f"the line explains {percent(row['r2'])} of the spread in logs, and no ratio is off it "
            f"by more than a factor {row['worst']:.2f}"
        )
    return (
        f"as 1 / k^{row['exponent']:.2f} over k = {row['from_k']} to {row['to_k']} "
        f"({'; '.join(told)})"
    )


def _phase(table: pd.DataFrame) -> Told:
    found = phase(table)
    if not len(found):
        return "Not in this table: hard errors at several sigma_star.", found
    setting, part = shown_phase(found, table)
    told = []
    for labels in ("coarse", "fine"):
        own = part[part["labels"] == labels]
        if len(own):
            bad = own[own["error"] > HALF]
            where = ""
            if len(bad):
                first = [
                    f"k = {k_word(rows['subclasses'].min())} at sigma_star = {sigma:g}"
                    for sigma, rows in bad.groupby("sigma_star")
                ]
                where = f", first at {listed(first, most=6)}"
            told.append(f"{labels} labels in {len(bad)} of {len(own)} places{where}")
    return (
        f"More than half of the hard samples are told wrongly{_at(setting)} under "
        f"{'; under '.join(told)}.",
        found,
    )


def _curve(table: pd.DataFrame) -> Told:
    found = curve_shape(table)
    asked = found[found["shape"] != label_curves.TOO_FEW]
    if not len(asked):
        return (
            "Not in this table: errors on three kinds of labels or more, from coarse to fine and "
            "beyond.",
            found,
        )
    where, part = shown_curve(asked, table)
    told = [
        f"on {row['samples']} samples {shape_words(row)}"
        for row in _rows(part.sort_values("samples", ascending=False))
    ]
    unequal = sorted({name for names in part["unequal"] for name in names})
    beware = f" Not the same along the curve: {listed(unequal, most=9)}." if unequal else ""
    losses = at_setting(finished(table), where).groupby("labels")["train_loss"].mean()
    ends = dict.fromkeys(str(part[name].iloc[0]) for name in ("coarsest", "best", "finest"))
    beware += (
        " Training ended at "
        f"{listed([f'{losses[labels]:.2g} nats with {labels} labels' for labels in ends if labels in losses])}."
    )
    return (
        f"At {setting_words(where)}, read-out {main_read_out(asked)}: {'; '.join(told)}.{beware}",
        found,
    )


def shape_words(row: dict[Any, Any]) -> str:
    """A line of `curve_shape` in words."""
    told = [
        f"{row['best']} labels ({row['best_labels']:.0f}) have the lowest error, "
        f"{percent(row['best_error'])}"
    ]
    for side, end in (("coarse", "coarsest"), ("fine", "finest")):
        if row[end] not in row["tied"]:
            sure = interval(
                row[f"{side}_low"],
                row[f"{side}_high"],
                int(row["num_seeds"]),
                int(row["num_comparisons"]),
            )
            told.append(f"{row[end]} is worse by {points(row[side])} ({sure})")
    if row["agree"]:
        told.append("every seed gave exactly these differences")
    needed = (
        ""
        if missing(row["seeds_needed"]) or row["seeds_needed"] == 0
        else f"; about {count(int(row['seeds_needed']), 'more seed')} could tell"
    )
    meaning = {
        label_curves.U: "it is a U",
        label_curves.FINEST: f"no U: {row['finest']} labels are as good as the best",
        label_curves.COARSEST: f"no U: {row['coarsest']} labels are as good as the best",
        label_curves.FLAT: f"no U: {row['coarsest']} and {row['finest']} labels are exactly as "
        "good as the best",
        label_curves.UNKNOWN: f"whether it is a U cannot be told{needed}",
        label_curves.TOO_FEW: "a curve needs three kinds of labels",
    }[row["shape"]]
    return f"{'; '.join(told)}: {meaning}"


def _gradual(table: pd.DataFrame) -> Told:
    found = gradual(table)
    courses = found[found["read_out"].isna()]
    if not len(courses):
        return "Not in this table: looks at networks during training.", found
    where, part = shown_course(courses, table)
    told = []
    for labels in sorted(
        part["labels"].unique(), key=lambda word: (label_kind(word) != "coarse", word)
    ):
        own = part[part["labels"] == labels]
        halves = [
            f"that to {feature} features "
            f"{_half_risen(own[own['quantity'] == f'{feature}_aligned_mean'])}"
            for feature in ("common", "fine")
        ]
        told.append(f"under {labels} labels {listed(halves)}")
    return (
        "Mean response of neurons to their own class's features over seeds, at "
        f"{setting_words(where)}: {'; '.join(told)}.",
        found,
    )


def _half_risen(course: pd.DataFrame) -> str:
    """When a mean response has made half of its way, and where it ends; courses are few points, and
    so is the answer.
    """
    if not len(course):
        return "was not looked at twice"
    steps, means = course["steps"].tolist(), course["mean"].tolist()
    start, end = float(means[0]), float(means[-1])
    if end <= start:
        return f"does not grow (it ends at {end:.2g})"
    at = next(step for step, mean in zip(steps, means, strict=True) if mean >= (start + end) / 2)
    return f"is half risen by step {at} (it ends at {end:.2g})"
