"""Values in words: the same ones in findings, the verdict, the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from headwater.registry import PROTOCOLS


def missing(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    import pandas as pd

    return value is None or bool(pd.isna(value))


def number(value: Any) -> float | None:
    """A number of a table as a float; None where it is missing."""
    return None if missing(value) else float(value)


def percent(value: Any) -> str:
    """0.6123 -> '61.2 %'; nothing -> a dash."""
    return "\u2013" if missing(value) else f"{100 * float(value):.1f} %"


def points(value: Any) -> str:
    """A difference of shares in percentage points: 0.0123 -> '1.2 points'."""
    return "unknown" if missing(value) else f"{_signed(value)} points"


def _signed(value: Any) -> str:
    text = f"{100 * float(value):.1f}"
    return text[1:] if text == "-0.0" else text.replace("-", "\u2212")


def interval(low: Any, high: Any, num_seeds: int, num_comparisons: int = 1) -> str:
    """The ends of an interval in points, or why there is none."""
    if num_seeds == 0:
        return "no seed that both have"
    if missing(low) or missing(high):
        return f"{'one seed' if num_seeds == 1 else f'{num_seeds} seeds'}: no interval"
    corrected = f", corrected for {num_comparisons} comparisons" if num_comparisons > 1 else ""
    return f"95 % interval {_signed(low)} to {_signed(high)}, {num_seeds} paired seeds{corrected}"


def listed(items: Sequence[str], *, most: int = 4) -> str:
    """'a, b and c'; beyond `most`, 'a, b, c and 5 more'; 'none' of nothing."""
    shown = list(items)
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{len(items) - most + 1} more"]
    if not shown:
        return "none"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def money_word(amount: float) -> str:
    """An amount in the unit of the prices that were given: 1234.5 -> '1,234', 2.5 -> '2.50'."""
    return f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.2f}"


def count(number: int, noun: str) -> str:
    """'1 cell', '3 cells'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def saved_word(regret: float) -> str:
    """What a step saves, a share, in points: 0.0013 -> '0.13', what rounds to 0 -> 'less than
    0.01'.
    """
    return "less than 0.01" if 100 * regret < 0.005 else f"{100 * regret:.2f}"


def rate_word(rate: float) -> str:
    """A rate with about two digits, never as a power of ten: 121.4 -> '121', 0.0212 -> '0.021'."""
    if rate >= 10:
        return f"{rate:,.0f}"
    return "less than 0.001" if rate < 0.001 else f"{rate:.2g}"


def hours_word(hours: float) -> str:
    """0.2 -> '12 minutes', 3.4 -> '3.4 hours'."""
    if hours < 1:
        return count(max(1, round(60 * hours)), "minute")
    return f"{hours:.1f} hours"


def shots_number(shots: Any) -> int:
    """The number of shots with -1 for the full training split: how score matrices are indexed, as a
    null cannot be.
    """
    return -1 if missing(shots) else int(shots)


def shots_word(shots: Any) -> str:
    """'all' for the full training split (null or the internal -1), else the number."""
    return "all" if shots_number(shots) == -1 else str(int(shots))


def shots_place(word: str) -> tuple[bool, int]:
    """Where a word of `shots_word` stands: numbers ascend, and 'all' comes last."""
    return word == "all", int(word) if word.isdigit() else 0


def shots_words(shots: Iterable[Any]) -> str:
    """[1, 5, None] -> '1, 5 and all images per class', [None] -> 'all images'."""
    counts = shots_counts(shots)
    if counts == "all":
        return "all images"
    return f"{counts} {'image' if counts == '1' else 'images'} per class"


def shots_counts(shots: Iterable[Any]) -> str:
    """[1, 5, None] -> '1, 5 and all'."""
    return listed(sorted(map(shots_word, shots), key=shots_place))


def setting_word(task: str, protocol: str, shots: Any) -> str:
    """For example: birds, finetune, 5 images per class."""
    if protocol in PROTOCOLS and not PROTOCOLS[protocol].words.on_images:
        return f"{task}, {protocol}, no images"
    word = shots_word(shots)
    if word == "all":
        return f"{task}, {protocol}, all images"
    return f"{task}, {protocol}, {count(int(word), 'image')} per class"
